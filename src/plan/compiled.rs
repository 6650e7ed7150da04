//! A graph, compiled for one command queue.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::cost::CostModel;
use super::frames::{Frames, RunFigures};
use super::{Profile, Session};
use crate::device::{CompileReport, Device, Hold, PlanOptions};
use crate::error::{Error, Result};
use crate::frame::{FrameShape, Quiet};
use crate::graph::{DenoiseStep, Flow};
use crate::recording::batch::Batch;
use crate::recording::results::RunOutput;
use crate::recording::{GateStep, Recording};
use crate::stage::denoise::network::Network;
use crate::stage::denoise::stream::DenoiseStream;
use crate::telemetry::Counters;

/// What a plan is on one device: its two recordings, ready to run, and the network between them.
#[derive(Debug)]
pub(crate) struct Compiled {
    device: Arc<dyn Device>,
    flow: Arc<Flow>,
    pub(super) first: Frames,
    /// Holds the weights.
    _network: Mutex<Option<Box<dyn Network>>>,
    pub(super) then: Option<Frames>,
    latency_frames: usize,
    report: CompileReport,
    /// How long pieces of jobs take.
    cost: CostModel,
    profile: Arc<Profile>,
}

impl Compiled {
    pub(super) fn new(
        device: &Arc<dyn Device>,
        flow: &Arc<Flow>,
        options: &PlanOptions,
        counters: &Arc<Counters>,
        profile: &Arc<Profile>,
    ) -> Result<Self> {
        let start = Instant::now();
        let frames = |recording: &Arc<Recording>, is_then: bool| {
            let figures = RunFigures { counters: Arc::clone(counters), profile: Arc::clone(profile), is_then };
            Frames::new(device, recording, options, figures)
        };
        let first = frames(&flow.first, false)?;
        let then = flow.then.as_ref().map(|then| frames(then, true)).transpose()?;
        let mut latency_frames = first.latency_frames() + then.as_ref().map_or(0, Frames::latency_frames);
        if let Some(step) = &flow.denoise {
            latency_frames += DenoiseStream::latency_frames(&step.denoise, step.shape.len())?;
        }
        // Packs or uploads the weights, and keeps them: opening a session then costs little.
        let open = |step: &DenoiseStep| device.open_network(&step.denoise.model, 1, &step.denoise.network_options());
        let network = flow.denoise.as_ref().map(open).transpose()?;
        let mut report = first.report().clone();
        if let Some(then) = &then {
            report.pipelines_built += then.report().pipelines_built;
            report.pipelines_reused += then.report().pipelines_reused;
            report.buffer_bytes += then.report().buffer_bytes;
        }
        report.time = start.elapsed();
        counters.compiled(report.pipelines_built, report.pipelines_reused, report.time);
        Ok(Self {
            device: Arc::clone(device),
            flow: Arc::clone(flow),
            first,
            _network: Mutex::new(network),
            then,
            latency_frames,
            report,
            cost: CostModel::default(),
            profile: Arc::clone(profile),
        })
    }

    pub(super) fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    pub(super) fn report(&self) -> &CompileReport {
        &self.report
    }

    pub(super) fn denoise(&self) -> Option<&DenoiseStep> {
        self.flow.denoise.as_ref()
    }

    /// Frames that it holds back.
    pub(super) fn latency_frames(&self) -> usize {
        self.latency_frames
    }

    /// As long as these are held, its buffers do not leave the device for others.
    pub(super) fn hold(&self) -> Vec<Hold> {
        [Some(&self.first), self.then.as_ref()].into_iter().flatten().map(Frames::hold).collect()
    }

    /// Sees to it that all buffers of frames are there, before anything is taken that could not be given back.
    pub(super) fn wake(&self) -> Result<()> {
        [Some(&self.first), self.then.as_ref()].into_iter().flatten().try_for_each(Frames::wake)
    }

    pub(crate) fn inputs(&self) -> &[(String, FrameShape)] {
        self.first.inputs()
    }

    /// Frames of each channel of these inputs.
    ///
    /// # Errors
    /// [`crate::Error::BatchShape`] when they do not fit.
    pub(crate) fn frames_of(&self, inputs: &[&[f32]], channels: usize) -> Result<usize> {
        Ok(Batch::whole(self.inputs(), inputs, channels)?.frames)
    }

    /// Whether an output of this name holds what a filter measured for its coherence.
    pub(crate) fn measures_coherence(&self, output: &str) -> bool {
        self.flow.coherence_outputs.iter().any(|name| name == output)
    }

    /// Whether pieces of so many channels come out side by side, as their frames lie in the whole. Of several channels, a
    /// piece must be all frames.
    pub(crate) fn gives_in_place(&self, channels: usize) -> bool {
        self.denoise().is_none() && (channels == 1 || self.latency_frames == 0)
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn cost(&self) -> &CostModel {
        &self.cost
    }

    pub(crate) fn run_into(self: &Arc<Self>, inputs: &[&[f32]], channels: usize, output: &mut RunOutput) -> Result<()> {
        if self.denoise().is_none() {
            return self.first.run_into(inputs, channels, output);
        }
        // Before there is a state for each channel.
        self.frames_of(inputs, channels)?;
        Session::new(self, channels)?.run_whole(inputs, output).inspect_err(|_| output.clear())
    }

    /// Outputs, and the shape of their frames.
    pub(crate) fn outputs(&self) -> Vec<(String, FrameShape)> {
        let of = |recording: &Recording, hidden: Option<&str>| -> Vec<(String, FrameShape)> {
            let visible = recording.outputs.iter().filter(|port| hidden != Some(&port.name));
            visible.map(|port| (port.name.clone(), recording.buffers[port.buffer].shape)).collect()
        };
        let step = self.denoise();
        let mut outputs = of(&self.flow.first, step.map(|step| step.source.as_str()));
        outputs.extend(step.iter().flat_map(|step| step.outputs.iter().map(|name| (name.clone(), step.shape))));
        outputs.extend(self.flow.then.iter().flat_map(|then| of(then, None)));
        outputs
    }

    /// The network of the denoiser, with room for so many channels; none where there is no denoiser.
    pub(crate) fn open_network(&self, channels: usize) -> Result<Option<Box<dyn Network>>> {
        let open = |step: &DenoiseStep| {
            self.device.open_network(&step.denoise.model, channels, &step.denoise.network_options())
        };
        self.denoise().map(open).transpose()
    }

    pub(crate) fn gate(&self) -> Option<&GateStep> {
        self.first.gate()
    }

    /// What becomes of quiet frames.
    pub(super) fn quiet(&self) -> Quiet {
        self.first.gate().map_or(Quiet::Zero, |step| step.quiet)
    }

    /// Refuses more channels than can be counted.
    pub(super) fn check_channels(channels: usize) -> Result<()> {
        match u32::try_from(channels) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::setting("the number of channels", channels, format!("{} are the most", u32::MAX))),
        }
    }
}
