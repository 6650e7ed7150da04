//! Training of the built-in denoiser, from data that it makes itself.
//!
//! ```text
//! sentences -> voices ----> speech bank -+
//!                     rooms, noise ------+-> mixtures -> network -> loss -> gradient -> Adam -> checkpoint, model
//! ```
//!
//! Everything follows from a seed: the speech, and the mixtures of each step. So a run that was stopped goes on as if it
//! never had been. The forward and backward passes are our own (see `network.rs`), because walking a recurrent network
//! through recorded tensor operations costs several times the arithmetic; the optimiser is burn's, and burn's recurrent
//! layers with automatic differentiation are what a test holds our gradient against.

mod checkpoint;

mod loss;

mod matrix;

mod mixture;

mod network;

mod noise;

mod optimiser;

mod plot;

mod room;

mod sentences;

mod signal;

mod speech;

mod trainer;

mod voice;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use checkpoint::{Mark, Progress};
pub use trainer::{Report, TrainOptions, Trainer};

use crate::stage::denoise::model::{Activation, Basis, Description, Feature, Layer, LayerKind, Part, Window};

const SAMPLE_RATE_HZ: usize = 16_000;
const WINDOW_LEN: usize = 512;
const HOP: usize = 256;
const BINS: usize = WINDOW_LEN / 2 + 1;
/// Windows in a clip, and its samples: a power of two, which is quick to transform as a whole.
const WINDOWS: usize = 255;
const CLIP_LEN: usize = (WINDOWS + 1) * HOP;
/// About the power of a bin that 16-bit rounding leaves.
const FEATURE_FLOOR: f32 = 1e-8;
/// What brings logarithms of powers to around 0 and 1.
const FEATURE_OFFSET: f32 = 3.0;
const FEATURE_SCALE: f32 = 0.5;
const UNITS: usize = 256;

/// What goes wrong in training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A program that speaks is not there.
    #[error(
        "{program}, which speaks training data, is not installed: on Debian and Ubuntu, `apt install espeak-ng flite \
         festival` and the voices that `auricle train denoiser --help` names"
    )]
    NoSpeaker {
        /// Which one.
        program: &'static str,
    },

    /// A program that speaks does not.
    #[error("{program} did not speak in the voice `{voice}`: {problem}; is that voice installed?")]
    Speaker {
        /// Which one.
        program: &'static str,
        /// As whom.
        voice: String,
        /// What it did.
        problem: String,
    },

    /// A model of another kind than the one that is trained.
    #[error("training cannot start from the model `{model}`: it is not of the layers and sizes that are trained here")]
    OtherModel {
        /// Its name.
        model: String,
    },

    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },

    /// A checkpoint that is none.
    #[error("the checkpoint {path}: {problem}")]
    Checkpoint {
        /// Which.
        path: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A file that cannot be put in its place.
    #[error(transparent)]
    Output(#[from] crate::format::FileError),

    /// Nothing to learn from is made any more.
    #[error("the mixtures of the next steps are not made: {problem}")]
    Mixtures {
        /// Why.
        problem: String,
    },

    /// The loss or a weight is no number any more.
    #[error("the loss or a weight is not finite at step {step}; a lower --learning-rate may help")]
    Diverged {
        /// When.
        step: usize,
    },
}

impl TrainError {
    fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.display().to_string(), source }
    }

    fn broken(path: &Path, problem: &dyn std::fmt::Display) -> Self {
        Self::Checkpoint { path: path.display().to_string(), problem: problem.to_string() }
    }
}

/// The network that is trained: its feature is `feature`.
fn description() -> Description {
    let layer =
        |name: &str, inputs, outputs, kind| Layer { name: name.to_owned(), inputs, outputs, kind, scaled: false };
    Description {
        name: "auricle-small".to_owned(),
        version: "1".to_owned(),
        licence: "MIT OR Apache-2.0".to_owned(),
        source: "trained by `auricle train denoiser` on synthetic speech and noise".to_owned(),
        sample_rate_hz: 16_000,
        window_len: WINDOW_LEN,
        hop: HOP,
        window: Window::SqrtHannPeriodic,
        level_dbfs: Some(-25.0),
        mask_floor_db: Some(-17.0),
        parts: vec![Part {
            name: "mask".to_owned(),
            basis: Basis::Spectrum(Feature::Log10Power {
                floor: FEATURE_FLOOR,
                offset: FEATURE_OFFSET,
                scale: FEATURE_SCALE,
            }),
            layers: vec![
                layer("encode", BINS, UNITS, LayerKind::Dense(Activation::Relu)),
                layer("first", UNITS, UNITS, LayerKind::Gru),
                layer("second", UNITS, UNITS, LayerKind::Gru),
                layer("decode", UNITS, BINS, LayerKind::Dense(Activation::Sigmoid)),
            ],
        }],
    }
}

/// What the network sees of a bin with this power.
fn feature(power: f32) -> f32 {
    (power.max(FEATURE_FLOOR).log10() + FEATURE_OFFSET) * FEATURE_SCALE
}
