//! What embedders run: a plan for signals that are there as a whole, a session for signals that keep coming.
//!
//! A graph is compiled once for each command queue that it runs on: that of the engine, and those of the levels of service
//! as they are asked for.

mod channels;

mod cost;

mod denoising;

mod frames;

mod profile;

mod queue;

mod session;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::device::{CompileReport, Device, DeviceInfo, Hold, PlanOptions, Processor};
use crate::error::{Error, Result};
use crate::frame::{FrameShape, Quiet};
use crate::graph::Graph;
use crate::qos::{PerQos, Qos};
use crate::recording::batch::Batch;
use crate::recording::results::{Layout, RunOutput};
use crate::recording::{DenoiseStep, GateStep, Recording};
use crate::stage::denoise::network::Network;
use crate::stage::denoise::stream::DenoiseStream;
use crate::telemetry::Counters;

pub(crate) use self::channels::{ChannelState, Channels};
pub(crate) use self::cost::CostModel;
use self::frames::{Frames, Telling};
pub(crate) use self::profile::Profile;
pub use self::session::Session;

/// A compiled graph, ready to run on its device. Clones share everything. Several threads may run one plan at once; a
/// custom kernel's twin must not run the plan that it is part of.
#[derive(Clone, Debug)]
pub struct Plan {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    processor: Arc<Processor>,
    graph: Graph,
    options: PlanOptions,
    /// What it was compiled to first: for the engine's own command queue.
    main: Arc<Compiled>,
    /// For those of the levels, as they are asked for, and anew when a device was replaced.
    levels: PerQos<Mutex<Option<Arc<Compiled>>>>,
    profile: Arc<Profile>,
}

/// A graph, compiled for one command queue.
#[derive(Debug)]
pub(crate) struct Compiled {
    device: Arc<dyn Device>,
    info: DeviceInfo,
    first: Frames,
    denoise: Option<DenoiseStep>,
    /// Holds the weights.
    _network: Mutex<Option<Box<dyn Network>>>,
    then: Option<Frames>,
    latency_frames: usize,
    /// Outputs that hold what a filter measured for its coherence.
    coherence_outputs: Vec<String>,
    /// How long pieces of jobs take.
    cost: CostModel,
    profile: Arc<Profile>,
}

impl Plan {
    pub(crate) fn new(processor: &Arc<Processor>, graph: &Graph, options: &PlanOptions) -> Result<Self> {
        let profile = Arc::new(Profile::new(graph, &graph.record()?));
        let main = compile(processor, Qos::Default, graph, options, &profile)?;
        let inner = Inner {
            processor: Arc::clone(processor),
            graph: graph.clone(),
            options: options.clone(),
            main: Arc::new(main),
            levels: PerQos::default(),
            profile,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes it ready for the jobs of a level, whose command queue has pipelines, buffers and weights of its own. Without
    /// this, the first job of the level does it while it is submitted. On the CPU there is nothing to do.
    ///
    /// # Errors
    /// What the device reports.
    pub fn prepare(&self, qos: Qos) -> Result<()> {
        self.on(qos).map(drop)
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.inner.processor.counters()
    }

    /// The plan on the command queue of a level.
    pub(crate) fn on(&self, qos: Qos) -> Result<Arc<Compiled>> {
        let inner = &self.inner;
        let device = inner.processor.device(qos)?;
        if Arc::ptr_eq(&device, &inner.main.device) {
            return Ok(Arc::clone(&inner.main));
        }
        let mut level = inner.levels[qos].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = level.as_ref().filter(|compiled| Arc::ptr_eq(&device, &compiled.device)) {
            return Ok(Arc::clone(compiled));
        }
        // What was for a device that is gone need not stay while another is made.
        *level = None;
        let compiled = Arc::new(compile(&inner.processor, qos, &inner.graph, &inner.options, &inner.profile)?);
        *level = Some(Arc::clone(&compiled));
        Ok(compiled)
    }

    /// Sees to another device where this one has failed; false when there is none, or it is not the device's fault.
    pub(crate) fn goes_on_after(&self, error: &Error, qos: Qos, failed: &Compiled, failed_again: bool) -> bool {
        error.is_of_device() && self.inner.processor.replace(qos, &failed.device, error, failed_again)
    }

    /// Runs something on the command queue of a level: where the device fails, once more on a new one, and then on the CPU.
    pub(crate) fn run_on(&self, qos: Qos, mut run: impl FnMut(&Arc<Compiled>) -> Result<()>) -> Result<()> {
        let mut failures = 0;
        loop {
            let compiled = self.on(qos)?;
            match run(&compiled) {
                Err(error) if failures < 2 && self.goes_on_after(&error, qos, &compiled, failures > 0) => failures += 1,
                done => return done,
            }
        }
    }

    /// Whether it is of the same graph, so that channels of either can go on where those of the other left off.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.inner.graph.is_same(&other.inner.graph)
    }

    /// Whether it is the same plan, and not only a like one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether it was compiled for this processor.
    pub(crate) fn is_of(&self, processor: &Arc<Processor>) -> bool {
        Arc::ptr_eq(&self.inner.processor, processor)
    }

    /// What its nodes have done.
    pub(crate) fn profile(&self) -> &Arc<Profile> {
        &self.inner.profile
    }

    /// The device that it runs on.
    pub fn device(&self) -> &DeviceInfo {
        &self.inner.main.info
    }

    /// What compiling it did.
    pub fn report(&self) -> &CompileReport {
        self.inner.main.first.report()
    }

    /// The graph's inputs, in the order in which `run` and `push` take them.
    pub fn inputs(&self) -> &[(String, FrameShape)] {
        self.inner.main.first.inputs()
    }

    /// Frames by which a session's output is late: 1 when a node looks at the neighbours of a frame, and with a denoiser
    /// as many as its window and its resampling take.
    pub fn latency_frames(&self) -> usize {
        self.inner.main.latency_frames
    }

    /// Runs whole signals: for each input the frames of every channel, channel after channel. Before the first frame
    /// and after the last one of a channel there is silence. When the device fails, the run is done once more on a new
    /// one, else on the CPU, and [`Snapshot::health`](crate::Snapshot::health) says so.
    ///
    /// # Errors
    /// [`crate::Error::BatchShape`] when the samples are not whole frames, [`crate::Error::FaultyFrame`] when the gate
    /// rejects one, [`crate::Error::CustomKernel`] when a kernel's loops do not end, and what the device reports.
    pub fn run(&self, inputs: &[&[f32]], channels: usize) -> Result<RunOutput> {
        let mut output = RunOutput::new(Layout::Dense);
        self.run_into(inputs, channels, &mut output)?;
        Ok(output)
    }

    /// The same, into a result whose memory is used again.
    pub fn run_into(&self, inputs: &[&[f32]], channels: usize, output: &mut RunOutput) -> Result<()> {
        self.run_on(Qos::Default, |compiled| compiled.run_into(inputs, channels, output))
    }

    /// Opens a session for signals that come in pieces, with the state of `channels` channels: two frames of each, and
    /// what a denoiser keeps of them.
    ///
    /// # Errors
    /// What the device reports when it has no room for the state.
    pub fn session(&self, channels: usize) -> Result<Session> {
        Session::open(self, Qos::Default, channels)
    }
}

/// Compiles a graph for the command queue of a level: where the device turns out to be lost, for a new one, and then for
/// the CPU. Where it fails otherwise, that may be the graph's own kernels.
fn compile(
    processor: &Processor,
    qos: Qos,
    graph: &Graph,
    options: &PlanOptions,
    profile: &Arc<Profile>,
) -> Result<Compiled> {
    let mut failures = 0;
    loop {
        let device = processor.device(qos)?;
        match Compiled::new(&device, graph, options, processor.counters(), profile) {
            Err(error @ Error::DeviceLost { .. })
                if failures < 2 && processor.replace(qos, &device, &error, failures > 0) =>
            {
                failures += 1;
            }
            compiled => return compiled,
        }
    }
}

impl Compiled {
    fn new(
        device: &Arc<dyn Device>,
        graph: &Graph,
        options: &PlanOptions,
        counters: &Arc<Counters>,
        profile: &Arc<Profile>,
    ) -> Result<Self> {
        let start = Instant::now();
        let flow = graph.record()?;
        let frames = |recording: Recording, is_then: bool| {
            Frames::new(
                device,
                recording,
                options,
                Telling { counters: Arc::clone(counters), profile: Arc::clone(profile), is_then },
            )
        };
        let first = frames(flow.first, false)?;
        let then = flow.then.map(|then| frames(then, true)).transpose()?;
        let mut latency_frames = first.latency_frames() + then.as_ref().map_or(0, Frames::latency_frames);
        if let Some(step) = &flow.denoise {
            latency_frames += DenoiseStream::latency_frames(&step.denoise, step.shape.len())?;
        }
        // Packs or uploads the weights, and keeps them: opening a session then costs little.
        let open = |step: &DenoiseStep| device.open_network(&step.denoise.model, 1, &step.denoise.network_options());
        let network = flow.denoise.as_ref().map(open).transpose()?;
        let reports = || [Some(&first), then.as_ref()].into_iter().flatten().map(Frames::report);
        let built = reports().map(|report| report.pipelines_built).sum();
        counters.compiled(built, reports().map(|report| report.pipelines_reused).sum(), start.elapsed());
        Ok(Self {
            device: Arc::clone(device),
            info: device.info().clone(),
            first,
            denoise: flow.denoise,
            _network: Mutex::new(network),
            then,
            latency_frames,
            coherence_outputs: graph.coherence_outputs(),
            cost: CostModel::default(),
            profile: Arc::clone(profile),
        })
    }

    /// As long as these are held, its buffers do not leave the device for others.
    fn hold(&self) -> Vec<Hold> {
        [Some(&self.first), self.then.as_ref()].into_iter().flatten().map(Frames::hold).collect()
    }

    /// Sees to it that all buffers of frames are there, before anything is taken that could not be given back.
    fn wake(&self) -> Result<()> {
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
        self.coherence_outputs.iter().any(|name| name == output)
    }

    /// Whether pieces of so many channels come out side by side, as their frames lie in the whole. Of several channels, a
    /// piece must be all frames.
    pub(crate) fn gives_in_place(&self, channels: usize) -> bool {
        self.denoise.is_none() && (channels == 1 || self.latency_frames == 0)
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn cost(&self) -> &CostModel {
        &self.cost
    }

    pub(crate) fn run_into(self: &Arc<Self>, inputs: &[&[f32]], channels: usize, output: &mut RunOutput) -> Result<()> {
        match self.denoise {
            None => self.first.run_into(inputs, channels, output),
            Some(_) => Session::new(self, channels)?.run_whole(inputs, output).inspect_err(|_| output.clear()),
        }
    }

    /// Outputs, and the shape of their frames.
    pub(crate) fn outputs(&self) -> Vec<(String, FrameShape)> {
        let of = |recording: &Recording, hidden: Option<&str>| -> Vec<(String, FrameShape)> {
            let visible = recording.outputs.iter().filter(|port| hidden != Some(&port.name));
            visible.map(|port| (port.name.clone(), recording.buffers[port.buffer].shape)).collect()
        };
        let step = self.denoise.as_ref();
        let mut outputs = of(self.first.recording(), step.map(|step| step.source.as_str()));
        outputs.extend(step.iter().flat_map(|step| step.outputs.iter().map(|name| (name.clone(), step.shape))));
        outputs.extend(self.then.iter().flat_map(|then| of(then.recording(), None)));
        outputs
    }

    /// The network of the denoiser, with room for so many channels; none where there is no denoiser.
    pub(crate) fn open_network(&self, channels: usize) -> Result<Option<Box<dyn Network>>> {
        let open = |step: &DenoiseStep| {
            self.device.open_network(&step.denoise.model, channels, &step.denoise.network_options())
        };
        self.denoise.as_ref().map(open).transpose()
    }

    pub(crate) fn gate(&self) -> Option<&GateStep> {
        self.first.gate()
    }

    /// What becomes of quiet frames.
    fn quiet(&self) -> Quiet {
        self.first.gate().map_or(Quiet::Zero, |step| step.quiet)
    }
}
