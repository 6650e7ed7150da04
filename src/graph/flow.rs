//! What a graph becomes: one recording, or two with a denoiser between them.

use std::sync::Arc;

use crate::frame::FrameShape;
use crate::recording::Recording;
use crate::stage::denoise::Denoise;

/// A graph that was checked and recorded: frame by frame, but for a denoiser, which has a state and a hop of its own. Every
/// device that it is compiled for runs the same.
///
/// ```text
/// inputs -> first -> outputs
///             |
///             +----> denoise -> outputs
///                       |
///                       +----> then -> outputs
/// ```
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) first: Arc<Recording>,
    pub(crate) denoise: Option<DenoiseStep>,
    /// Its input is what the denoiser gives.
    pub(crate) then: Option<Arc<Recording>>,
    /// Outputs that hold what a filter measured for its coherence.
    pub(crate) coherence_outputs: Vec<String>,
}

/// A denoiser between two recordings.
#[derive(Clone, Debug)]
pub(crate) struct DenoiseStep {
    pub(crate) node: String,
    /// The output of the first recording that it reads.
    pub(crate) source: String,
    pub(crate) shape: FrameShape,
    pub(crate) denoise: Denoise,
    /// Outputs of the graph that read it.
    pub(crate) outputs: Vec<String>,
}

impl Flow {
    /// Floats of a frame that the gate looks at.
    pub(crate) fn gated_floats(&self) -> usize {
        let input = self.first.gate.as_ref().map_or(0, |gate| gate.input);
        self.first.inputs.get(input).map_or(0, |(_, shape)| shape.floats())
    }

    /// Floats of a frame of an output of the graph.
    pub(crate) fn output_floats(&self, name: &str) -> usize {
        let of = |recording: &Recording| {
            let port = recording.outputs.iter().find(|port| port.name == name)?;
            Some(recording.buffers[port.buffer].shape.floats())
        };
        let of_denoise = || {
            let step = self.denoise.as_ref()?;
            step.outputs.iter().any(|output| output == name).then(|| step.shape.floats())
        };
        of(&self.first).or_else(of_denoise).or_else(|| self.then.as_deref().and_then(of)).unwrap_or(0)
    }
}
