//! The denoiser: a recurrent network that looks at the spectrum of each window of a channel, and says how much of
//! every bin is signal.
//!
//! ```text
//! samples -> window -> part (features -> layers -> mask -> masked window), one or more -> window -> overlap-add
//! ```

pub mod model;

mod check;

mod cost;

mod file;

pub(crate) mod network;

mod level;

pub(crate) mod stream;

pub(crate) mod twin;

pub(crate) mod kernel;

pub(crate) mod packing;

pub(crate) mod program;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use self::model::Model;
use self::network::NetworkOptions;
pub use self::network::Precision;
use crate::error::{Error, Result};
use crate::frame::{Domain, FrameShape};

/// Whether the level of a channel is brought to what the model knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Each channel is followed slowly, raised or lowered towards the model's level, and brought back at the output.
    #[default]
    Auto,
    /// The network sees the samples as they are.
    Off,
}

/// A recurrent mask network on every channel.
///
/// # Inputs
/// Real frames of one channel, one after the other, full scale 1.
///
/// # Outputs
/// Frames of the same length, each in the place of the one that it was made from: a session gives them back late
/// ([`crate::Plan::latency_frames`]), but with the right samples in them.
///
/// Quiet frames are silence to the network. After the last live frame its output fades out over one window, which may
/// reach into the quiet ones. Where the gate passes quiet frames, they are added as they were.
///
/// # Parameters
/// See the fields. [`Denoise::new`] sets all but the model to what suits speech.
///
/// # Example
/// ```no_run
/// use std::sync::Arc;
/// use auricle::stage::denoise::model::Model;
/// use auricle::{Denoise, Engine, EngineOptions, FrameShape, Gate, Graph};
///
/// let model = Arc::new(Model::read("dtln.safetensors")?);
/// let graph = Graph::new()
///     .input("samples", FrameShape::real(1024))
///     .gate("gate", "samples", Gate::default())
///     .denoise("denoise", "gate", Denoise::new(model))
///     .output("clean", "denoise");
/// let plan = Engine::open(&EngineOptions::default())?.compile(&graph)?;
/// # Ok::<(), auricle::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Denoise {
    /// The network.
    pub model: Arc<Model>,
    /// Samples per second of the signal, which is resampled around the network when that differs from the model's;
    /// none when it is the model's.
    pub sample_rate_hz: Option<u32>,
    /// How weights are kept and multiplied.
    pub precision: Precision,
    /// 0 to 1: how much of the output is the network's; the rest is the input as it was.
    pub strength: f32,
    /// Whether the level is brought to what the model knows.
    pub level: Level,
    /// The least that a bin of the spectrum is multiplied by, in dB, 0 or less; none for what the model says.
    pub mask_floor_db: Option<f32>,
    /// How long a channel is quiet before the network forgets what it heard.
    pub reset_after: Duration,
}

impl Denoise {
    /// All of the network's output, in f32, at the level and with the floor that the model asks for.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            model,
            sample_rate_hz: None,
            precision: Precision::F32,
            strength: 1.0,
            level: Level::Auto,
            mask_floor_db: None,
            reset_after: Duration::from_secs(1),
        }
    }

    /// Checks the parameters against each other and against the frames.
    ///
    /// # Errors
    /// [`Error::Setting`], naming the parameter.
    pub fn check(&self, shape: FrameShape) -> Result<()> {
        shape.check()?;
        if shape.domain() != Domain::Real || shape.rows() != 1 {
            return Err(Error::setting(
                "the frame shape",
                shape,
                "a denoiser takes real frames of one channel in time",
            ));
        }
        self.check_settings()?;
        stream::DenoiseStream::latency_frames(self, shape.len()).map(|_| ())
    }

    /// Checks what does not depend on the frames.
    ///
    /// # Errors
    /// [`Error::Setting`], naming the parameter.
    pub fn check_settings(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.strength) {
            return Err(Error::setting("the strength of the denoiser", self.strength, "it must be from 0 to 1"));
        }
        if let Some(floor_db) = self.mask_floor_db.filter(|floor_db| !(-200.0..=0.0).contains(floor_db)) {
            return Err(Error::setting("the mask floor", format!("{floor_db} dB"), "it must be from -200 to 0 dB"));
        }
        Ok(())
    }

    pub(crate) fn network_options(&self) -> NetworkOptions {
        let floor_db = self.mask_floor_db.or(self.model.description().mask_floor_db);
        let mask_floor = floor_db.map_or(0.0, |floor_db| 10.0_f32.powf(floor_db / 20.0));
        NetworkOptions { precision: self.precision, mask_floor }
    }
}
