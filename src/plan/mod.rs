//! What embedders run: a plan for signals that are there as a whole, a session for signals that keep coming.

mod frames;

mod queue;

mod session;

use std::sync::{Arc, Mutex};

use crate::device::{CompileReport, Device, DeviceInfo, PlanOptions};
use crate::error::Result;
use crate::frame::{FrameShape, Quiet};
use crate::graph::Graph;
use crate::recording::DenoiseStep;
use crate::recording::results::{Layout, RunOutput};
use crate::stage::denoise::network::Network;
use crate::stage::denoise::stream::DenoiseStream;

use self::frames::Frames;
pub use self::session::Session;

/// A compiled graph, ready to run on its device. Clones share everything; runs on one plan take turns, so a custom
/// kernel's twin must not run the plan that it is part of.
#[derive(Clone, Debug)]
pub struct Plan {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    device: Arc<dyn Device>,
    info: DeviceInfo,
    first: Frames,
    denoise: Option<DenoiseStep>,
    /// Holds the weights.
    _network: Mutex<Option<Box<dyn Network>>>,
    then: Option<Frames>,
    latency_frames: usize,
}

impl Plan {
    pub(crate) fn new(device: &Arc<dyn Device>, graph: &Graph, options: &PlanOptions) -> Result<Self> {
        let flow = graph.record()?;
        let first = Frames::new(device.as_ref(), flow.first, options)?;
        let then = flow.then.map(|then| Frames::new(device.as_ref(), then, options)).transpose()?;
        let mut latency_frames = first.latency_frames() + then.as_ref().map_or(0, Frames::latency_frames);
        if let Some(step) = &flow.denoise {
            latency_frames += DenoiseStream::latency_frames(&step.denoise, step.shape.len())?;
        }
        // Packs or uploads the weights, and keeps them: opening a session then costs little.
        let open = |step: &DenoiseStep| device.open_network(&step.denoise.model, 1, &step.denoise.network_options());
        let network = flow.denoise.as_ref().map(open).transpose()?;
        let info = device.info().clone();
        let device = Arc::clone(device);
        Ok(Self {
            inner: Arc::new(Inner {
                device,
                info,
                first,
                denoise: flow.denoise,
                _network: Mutex::new(network),
                then,
                latency_frames,
            }),
        })
    }

    /// The device that it runs on.
    pub fn device(&self) -> &DeviceInfo {
        &self.inner.info
    }

    /// What compiling it did.
    pub fn report(&self) -> &CompileReport {
        self.inner.first.report()
    }

    /// The graph's inputs, in the order in which `run` and `push` take them.
    pub fn inputs(&self) -> &[(String, FrameShape)] {
        self.inner.first.inputs()
    }

    /// Frames by which a session's output is late: 1 when a node looks at the neighbours of a frame, and with a denoiser
    /// as many as its window and its resampling take.
    pub fn latency_frames(&self) -> usize {
        self.inner.latency_frames
    }

    /// Runs whole signals: for each input the frames of every channel, channel after channel. Before the first frame
    /// and after the last one of a channel there is silence.
    ///
    /// # Errors
    /// [`crate::Error::BatchShape`] when the samples are not whole frames, [`crate::Error::FaultyFrame`] when the gate
    /// rejects one, and what the device reports.
    pub fn run(&self, inputs: &[&[f32]], channels: usize) -> Result<RunOutput> {
        let mut output = RunOutput::new(Layout::Dense);
        self.run_into(inputs, channels, &mut output)?;
        Ok(output)
    }

    /// The same, into a result whose memory is used again.
    pub fn run_into(&self, inputs: &[&[f32]], channels: usize, output: &mut RunOutput) -> Result<()> {
        match self.inner.denoise {
            None => self.inner.first.run_into(inputs, channels, output),
            Some(_) => self.session(channels)?.run_whole(inputs, output).inspect_err(|_| output.clear()),
        }
    }

    /// Opens a session for signals that come in pieces, with the state of `channels` channels: two frames of each, and
    /// what a denoiser keeps of them.
    ///
    /// # Errors
    /// What the device reports when it has no room for the state.
    pub fn session(&self, channels: usize) -> Result<Session> {
        Session::new(self, channels)
    }

    /// What becomes of quiet frames.
    fn quiet(&self) -> Quiet {
        self.inner.first.gate().map_or(Quiet::Zero, |step| step.quiet)
    }
}
