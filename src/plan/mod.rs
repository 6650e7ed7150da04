//! What embedders run: a plan for signals that are there as a whole, a session for signals that keep coming.
//!
//! A graph is compiled once for each command queue that it runs on: that of the engine, and those of the levels of service
//! as they are asked for.

mod channels;

mod compiled;

mod cost;

mod denoising;

mod frames;

mod profile;

mod queue;

mod session;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::{CompileReport, PlanOptions, Processor};
use crate::error::{Error, Result};
use crate::frame::FrameShape;
use crate::graph::{Flow, Graph};
use crate::qos::{PerQos, Qos};
use crate::recording::results::{Layout, RunOutput};
use crate::telemetry::{Counters, DeviceInfo};

pub(crate) use self::channels::{ChannelState, Channels};
pub(crate) use self::compiled::Compiled;
pub(crate) use self::cost::{CostModel, power_of_two_below};
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
    flow: Arc<Flow>,
    options: PlanOptions,
    /// What it was compiled to first.
    info: DeviceInfo,
    report: CompileReport,
    latency_frames: usize,
    /// That, for the engine's own command queue, which on the CPU is that of all levels; until its device was replaced.
    main: Mutex<Option<Arc<Compiled>>>,
    /// For those of the levels, as they are asked for, and anew when a device was replaced.
    levels: PerQos<Mutex<Option<Arc<Compiled>>>>,
    profile: Arc<Profile>,
}

impl Plan {
    pub(crate) fn new(processor: &Arc<Processor>, graph: &Graph, options: &PlanOptions) -> Result<Self> {
        let flow = Arc::new(graph.record()?);
        let profile = Arc::new(Profile::new(graph, &flow));
        let main = compile(processor, Qos::Default, &flow, options, &profile)?;
        let inner = Inner {
            processor: Arc::clone(processor),
            graph: graph.clone(),
            flow,
            options: options.clone(),
            info: main.device().info().clone(),
            report: main.report().clone(),
            latency_frames: main.latency_frames(),
            main: Mutex::new(Some(Arc::new(main))),
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

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        self.inner.processor.counters()
    }

    /// The plan on the command queue of a level.
    pub(crate) fn on(&self, qos: Qos) -> Result<Arc<Compiled>> {
        let inner = &self.inner;
        let device = inner.processor.device(qos)?;
        let is_for_it = |compiled: &&Arc<Compiled>| Arc::ptr_eq(&device, compiled.device());
        let mut main = inner.main();
        if let Some(compiled) = main.as_ref().filter(is_for_it) {
            return Ok(Arc::clone(compiled));
        }
        // What was for a device that is gone need not stay.
        let gone = if qos == Qos::Default { main.take() } else { None };
        drop(main);
        drop(gone);
        let mut level = inner.levels[qos].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = level.as_ref().filter(is_for_it) {
            return Ok(Arc::clone(compiled));
        }
        *level = None;
        let compiled = Arc::new(compile(&inner.processor, qos, &inner.flow, &inner.options, &inner.profile)?);
        *level = Some(Arc::clone(&compiled));
        Ok(compiled)
    }

    /// Sees to another device where this one has failed; false when there is none, or it is not the device's fault.
    pub(crate) fn goes_on_after(&self, error: &Error, qos: Qos, failed: &Compiled, failed_again: bool) -> bool {
        error.is_of_device() && self.inner.processor.replace(qos, failed.device(), error, failed_again)
    }

    /// What it is on the device that serves a level by now, where that is another one and somebody has compiled it there.
    pub(crate) fn served_elsewhere(&self, qos: Qos, compiled: &Compiled) -> Option<Arc<Compiled>> {
        let device = self.inner.processor.serving(qos).filter(|device| !Arc::ptr_eq(device, compiled.device()))?;
        [&self.inner.main, &self.inner.levels[qos]].into_iter().find_map(|known| {
            let known = known.try_lock().ok()?;
            known.as_ref().filter(|known| Arc::ptr_eq(&device, known.device())).cloned()
        })
    }

    /// Runs something on the command queue of a level: where the device fails, once more on a new one, and then on the CPU.
    pub(crate) fn run_on<T>(&self, qos: Qos, mut run: impl FnMut(&Arc<Compiled>) -> Result<T>) -> Result<T> {
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

    /// Whether it was compiled for this processor.
    pub(crate) fn is_of(&self, processor: &Arc<Processor>) -> bool {
        Arc::ptr_eq(&self.inner.processor, processor)
    }

    /// What its nodes have done.
    pub(crate) fn profile(&self) -> &Arc<Profile> {
        &self.inner.profile
    }

    /// The device that it was compiled for. After a loss it runs on another one, as
    /// [`Snapshot::devices`](crate::Snapshot::devices) says.
    pub fn device(&self) -> &DeviceInfo {
        &self.inner.info
    }

    /// What compiling it did, for that device.
    pub fn report(&self) -> &CompileReport {
        &self.inner.report
    }

    /// The graph's inputs, in the order in which `run` and `push` take them.
    pub fn inputs(&self) -> &[(String, FrameShape)] {
        &self.inner.flow.first.inputs
    }

    /// Frames by which a session's output is late: 1 when a node looks at the neighbours of a frame, and with a denoiser
    /// as many as its window and its resampling take.
    pub fn latency_frames(&self) -> usize {
        self.inner.latency_frames
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
    /// [`Error::Setting`] for more channels than can be counted in 32 bits, and what the device reports when it has no room
    /// for the state.
    pub fn session(&self, channels: usize) -> Result<Session> {
        Session::open(self, Qos::Default, channels)
    }
}

impl Inner {
    fn main(&self) -> MutexGuard<'_, Option<Arc<Compiled>>> {
        self.main.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compiles a graph for the command queue of a level: where the device turns out to be lost, for a new one, and then for
/// the CPU. Where it fails otherwise, that may be the graph's own kernels.
fn compile(
    processor: &Processor,
    qos: Qos,
    flow: &Arc<Flow>,
    options: &PlanOptions,
    profile: &Arc<Profile>,
) -> Result<Compiled> {
    let mut failures = 0;
    loop {
        let device = processor.device(qos)?;
        match Compiled::new(&device, flow, options, processor.counters(), profile) {
            Err(error @ Error::DeviceLost { .. })
                if failures < 2 && processor.replace(qos, &device, &error, failures > 0) =>
            {
                failures += 1;
            }
            compiled => return compiled,
        }
    }
}
