//! What embedders hold: opens a device, compiles graphs for it, and takes jobs.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::device::{self, DeviceChoice, FaultPlan, PipelineCacheDir, PlanOptions, Processor};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::isolation::{Isolation, IsolationOptions, IsolationReport};
use crate::plan::{Plan, Profile};
use crate::qos::Qos;
use crate::recording::results::RunOutput;
use crate::schedule::{
    BatchHint, Bounds, JobOptions, Lane, LaneGuard, Lanes, MemoryState, Samples, ScheduleOptions, ShutDown, Ticket,
};
use crate::stream::{Home, Observer, Stream, StreamControl, StreamInput, StreamOptions};
use crate::telemetry::{DeviceInfo, Health, PlanSnapshot, Snapshot};

/// How many lost devices are replaced within an hour, unless set.
const MOST_REPLACEMENTS: usize = 3;

/// How an engine is opened.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// The device; a hardware GPU, else the CPU, unless set.
    pub device: DeviceChoice,
    /// Workers on the CPU; one per core when 0.
    pub threads: usize,
    /// Where compiled pipelines are kept between runs.
    pub pipeline_cache: PipelineCacheDir,
    /// How jobs share the device.
    pub schedule: ScheduleOptions,
    /// Bytes of device memory that the engine's buffers may take, on all its command queues together; no end unless set.
    /// For what would take more, buffers leave that are not in use; what has no room even so is refused with
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), before the driver sees it.
    /// The `cpu` device has no memory of its own, and no budget.
    pub memory_budget: Option<u64>,
    /// Whether the command queues of the levels get priorities from the driver, too, where it grants them: Vulkan's global
    /// ones (`auricle devices` tries it; those above the default may need a privilege). What is not granted is logged, and
    /// [`QosSnapshot::hardware_priority`](crate::QosSnapshot::hardware_priority) says what was.
    pub hardware_priority: bool,
    /// Cores for the engine's threads, and memory that stays where it is.
    pub isolation: IsolationOptions,
    /// Devices that are opened within an hour in place of lost ones: 3 unless set. When more are lost, the CPU goes on.
    pub most_replacements: Option<usize>,
    /// Faults that the device makes, for tests.
    pub faults: FaultPlan,
}

/// A device, ready for plans. Clones share everything; the last one to go gives up what jobs are left.
///
/// Whoever has the device alone runs a [`Plan`] directly. Whoever shares it submits jobs, each with a [`Qos`]: lanes, which
/// are threads of the engine's, start with the first job and work on them in the order of their urgency.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    processor: Arc<Processor>,
    bounds: Bounds,
    longest_piece: Duration,
    isolation: Arc<Isolation>,
    lanes: Mutex<Option<Arc<Lanes>>>,
    /// Looks after the streams, once there was one.
    observer: Mutex<Option<Arc<Observer>>>,
    plans: Mutex<Plans>,
}

/// The plans that were compiled and are still there, by their numbers.
#[derive(Debug, Default)]
struct Plans {
    compiled: u64,
    known: Vec<(u64, Weak<Profile>)>,
}

impl Plans {
    fn add(&mut self, profile: &Arc<Profile>) {
        self.known.retain(|(_, profile)| profile.strong_count() > 0);
        self.known.push((self.compiled, Arc::downgrade(profile)));
        self.compiled += 1;
    }

    fn snapshot(&self) -> Vec<PlanSnapshot> {
        self.known.iter().filter_map(|(id, profile)| Some(profile.upgrade()?.snapshot(*id))).collect()
    }
}

impl Engine {
    /// Opens the device.
    ///
    /// # Errors
    /// [`crate::Error::NoGpu`] or [`crate::Error::UnknownDevice`] when what was asked for is not there, and what the
    /// driver says when it cannot be opened. `Auto` and `Cpu` need no driver. [`crate::Error::Setting`] when an option is
    /// out of its range.
    pub fn open(options: &EngineOptions) -> Result<Self> {
        let EngineOptions { device, threads, pipeline_cache, memory_budget, hardware_priority, .. } = options;
        let device = device::open(device, *threads, pipeline_cache, *memory_budget, *hardware_priority)?;
        let device = options.faults.around(device);
        let bounds = options.schedule.checked(device.info().kind)?;
        let isolation = Isolation::new(&options.isolation, &bounds.lanes)?;
        let (processor, longest_piece) = (
            Arc::new(Processor::new(device, options.most_replacements.unwrap_or(MOST_REPLACEMENTS))),
            options.schedule.longest_piece,
        );
        let (lanes, observer) = (Mutex::new(None), Mutex::new(None));
        let plans = Mutex::default();
        let inner = Inner { processor, bounds, longest_piece, isolation, lanes, observer, plans };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The device that was opened.
    pub fn device(&self) -> &DeviceInfo {
        self.inner.processor.info()
    }

    /// Frees the device memory of everything that is not in use just now: the buffers of plans, and of streams and
    /// sessions, whose state is kept on the host meanwhile. Returns how many bytes that was; 0 on the CPU, whose memory is
    /// the host's. What is used next comes back by itself, as if nothing had been; [`wake`](Self::wake) brings everything
    /// back ahead of that.
    ///
    /// For an app in the background, and before another one needs the device. Work that goes on keeps its memory: pause
    /// streams and wait for jobs first. What somebody else takes meanwhile may be missing then: a stream that is pushed to
    /// and finds no room any more ends with that error.
    ///
    /// # Errors
    /// What the device reports when it cannot be read; what could not be saved stays.
    pub fn sleep(&self) -> Result<u64> {
        self.inner.processor.sleep()
    }

    /// Brings back what [`sleep`](Self::sleep) freed, so that the next work need not wait for it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when there is no room any more, and what else the device reports. What could not come back
    /// tries again when it is used.
    pub fn wake(&self) -> Result<()> {
        self.inner.processor.wake()
    }

    /// Compiles a graph: checks it, builds its pipelines, makes its buffers, and warms it up.
    ///
    /// # Errors
    /// [`crate::Error::Graph`] or [`crate::Error::CustomKernel`], naming the node, and what the device reports.
    pub fn compile(&self, graph: &Graph) -> Result<Plan> {
        self.compile_with(graph, &PlanOptions::default())
    }

    /// The same, with buckets and the gate's place chosen.
    pub fn compile_with(&self, graph: &Graph, options: &PlanOptions) -> Result<Plan> {
        let plan = Plan::new(&self.inner.processor, graph, options)?;
        self.inner.plans.lock().unwrap_or_else(PoisonError::into_inner).add(plan.profile());
        Ok(plan)
    }

    /// Asks for a run of a plan on whole signals: for each input the frames of every channel, channel after channel. The
    /// answer equals that of [`Plan::run`] to the bit; a job that is not `High` may be done in pieces, between which more
    /// urgent ones come in. (With a denoiser, pieces may change the last bits: how a network's hops are cut into calls
    /// changes the order of sums.)
    ///
    /// ```
    /// use auricle::{Engine, EngineOptions, FrameShape, Graph, JobOptions, PhiResolvent, Qos};
    ///
    /// let graph = Graph::new()
    ///     .input("samples", FrameShape::real(1024))
    ///     .filter("filter", "samples", PhiResolvent::default())
    ///     .output("clean", "filter");
    /// let engine = Engine::open(&EngineOptions::default())?;
    /// let plan = engine.compile(&graph)?;
    ///
    /// let background = JobOptions { qos: Qos::Low, name: "archive".into(), ..JobOptions::default() };
    /// let urgent = JobOptions { qos: Qos::High, name: "call".into(), ..JobOptions::default() };
    /// let slow = engine.submit(&plan, vec![vec![0.5; 1024 * 1024]], background)?;
    /// let quick = engine.submit(&plan, vec![vec![0.5; 1024]], urgent)?;
    /// assert_eq!(quick.wait()?.frames(), 1);
    /// assert_eq!(slow.wait()?.frames(), 1024);
    /// # Ok::<(), auricle::Error>(())
    /// ```
    ///
    /// # Errors
    /// At once: [`Error::BatchShape`] when the samples do not fit, [`Error::QueueFull`] when too many jobs of the level
    /// wait, [`Error::ShutDown`], and what the device reports while the plan is prepared for the level. All else comes
    /// through the ticket.
    pub fn submit(
        &self,
        plan: &Plan,
        inputs: impl IntoIterator<Item = impl Into<Samples>>,
        options: JobOptions,
    ) -> Result<Ticket<RunOutput>> {
        self.submit_into(plan, inputs, RunOutput::default(), options)
    }

    /// The same, with a result whose memory is used again: it comes back through the ticket, in the dense layout. Where
    /// jobs are large, new memory for each costs as much as the work.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_into(
        &self,
        plan: &Plan,
        inputs: impl IntoIterator<Item = impl Into<Samples>>,
        output: RunOutput,
        options: JobOptions,
    ) -> Result<Ticket<RunOutput>> {
        self.check_own(plan)?;
        let lanes = self.lanes()?;
        let inputs = inputs.into_iter().map(Into::into).collect();
        lanes.submit_plan(plan, inputs, output, options)
    }

    /// Runs an app's own code on a lane: on a thread of the engine's, after more urgent jobs, beside as many others as
    /// there are lanes. A panic in it becomes [`Error::JobPanicked`].
    ///
    /// # Errors
    /// [`Error::QueueFull`] and [`Error::ShutDown`].
    pub fn run_on_lane<T: Send + 'static>(
        &self,
        qos: Qos,
        name: impl Into<Cow<'static, str>>,
        run: impl FnOnce(&Lane) -> T + Send + 'static,
    ) -> Result<Ticket<T>> {
        let name = name.into();
        self.lanes()?.run_on_lane(qos, Arc::from(name), |lane| Ok(run(lane)))
    }

    /// Runs an app's own code over many items, `size` of them at a time, on lanes: between two batches, more urgent jobs
    /// and others of the level come in. The answer has what each batch gave, in the order of the items.
    ///
    /// ```
    /// use auricle::{Engine, EngineOptions, Qos};
    ///
    /// let engine = Engine::open(&EngineOptions::default())?;
    /// let sums = engine.microbatch(Qos::Low, "sums", (1..=10).collect(), 4, |_, batch| batch.iter().sum::<i32>())?;
    /// assert_eq!(sums.wait()?, [10, 26, 19]);
    /// # Ok::<(), auricle::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] when `size` is 0, [`Error::QueueFull`] and [`Error::ShutDown`]. A panic in the code becomes
    /// [`Error::JobPanicked`].
    pub fn microbatch<I: Send + 'static, T: Send + 'static>(
        &self,
        qos: Qos,
        name: impl Into<Cow<'static, str>>,
        items: Vec<I>,
        size: usize,
        run: impl FnMut(&Lane, Vec<I>) -> T + Send + 'static,
    ) -> Result<Ticket<Vec<T>>> {
        let name = name.into();
        self.lanes()?.microbatch(qos, Arc::from(name), items, size, run)
    }

    /// Waits for a lane of a level, and keeps it until the guard is dropped: for an app with kernels of its own. What it
    /// submits goes into the level's command queue, which it shares with the level's other lanes, if there are any;
    /// [`ScheduleOptions::lanes`] says how many. Code on a lane that asks for another one of its own level may
    /// wait for itself.
    ///
    /// # Errors
    /// [`Error::QueueFull`] and [`Error::ShutDown`].
    pub fn possession(&self, qos: Qos) -> Result<LaneGuard> {
        self.lanes()?.possess(qos)
    }

    /// Opens a stream: a signal that is pushed and pulled as it comes, together with all others of the plan and the level.
    ///
    /// # Errors
    /// [`Error::Setting`] when an option is out of its range, when the plan has more than one input, or none or several
    /// outputs that could be pulled and none is named; [`Error::ShutDown`]; and what the device reports when it has no room
    /// for the state of more channels.
    pub fn open_stream(&self, plan: &Plan, options: StreamOptions) -> Result<Stream> {
        self.stream_home(plan, options.qos)?.open(&options)
    }

    /// The same, with a callback that gets what comes out, interleaved, on a thread of the engine's. While it runs, no other
    /// stream of the plan and the level goes on: it should hand samples over, and not work on them, nor wait for a stream.
    ///
    /// # Errors
    /// As [`open_stream`](Self::open_stream).
    pub fn open_stream_with(
        &self,
        plan: &Plan,
        options: StreamOptions,
        on_output: impl FnMut(&[f32]) + Send + 'static,
    ) -> Result<StreamInput> {
        self.stream_home(plan, options.qos)?.open_with(&options, Box::new(on_output))
    }

    /// Moves a stream here: to another level, or from another engine's device, with its state; what comes out goes on without
    /// a gap. The plan must be of the same graph as the one that the stream was opened with, and compiled by this engine.
    /// What was pushed and waits moves along.
    ///
    /// # Errors
    /// [`Error::Setting`] when the plan is of another graph, and in a stream's callback; [`Error::StreamFinished`] when there
    /// is nothing left to move; and what the new device reports while it makes room: the stream then stays where it was.
    /// When a device fails with the state on its way, the stream fails.
    pub fn move_stream(&self, stream: &StreamControl, plan: &Plan, qos: Qos) -> Result<()> {
        stream.move_to(&self.stream_home(plan, qos)?)
    }

    fn check_own(&self, plan: &Plan) -> Result<()> {
        if plan.is_of(&self.inner.processor) {
            return Ok(());
        }
        Err(Error::setting("the plan", "that of another engine", "an engine runs those that it compiled"))
    }

    /// Where streams of a plan and a level live.
    fn stream_home(&self, plan: &Plan, qos: Qos) -> Result<Home> {
        self.check_own(plan)?;
        let lanes = self.lanes()?;
        let mut observer = self.inner.observer.lock().unwrap_or_else(PoisonError::into_inner);
        let observer = match &*observer {
            Some(observer) => Arc::clone(observer),
            None => Arc::clone(observer.insert(Observer::start(&lanes)?)),
        };
        Ok(Home { observer, plan: plan.clone(), qos })
    }

    /// How large the next job of a level should be, so that 95 of 100 are answered within the target: for clients that have
    /// more to do than fits one job, and ask now and then, or before each. It begins small, or with what is known already,
    /// and changes at most once in a window of about a second, so all who ask for the same get the same.
    ///
    /// It rises by a factor of two when the 95th percentile keeps the target with room to spare, jobs are as large as was
    /// suggested, and the device has time left (it is busy for less than 0.7 of it) or does more with larger jobs. It falls
    /// when jobs take longer than the target or have no room in memory: at once to the largest size that is known to keep
    /// it. What was measured of a larger size, or can be guessed from smaller ones, keeps it from trying what must fail;
    /// what failed all the same is tried again after 32 windows, then 64, up to 512. Where no size keeps the target because
    /// jobs wait for others, it suggests another level.
    ///
    /// Targets count to two digits: 47.3 ms is 47. Sixteen of a level are followed at once; who asks for one more gets what is
    /// known. Frames of all channels count. Jobs of all plans do, too: who has a quick one and a slow one on a level gets what the
    /// mix allows. Live streams do not, whose batches the engine sizes itself.
    ///
    /// ```
    /// use auricle::{Engine, EngineOptions, FrameShape, Graph, JobOptions, PhiResolvent, Qos};
    /// use std::time::Duration;
    ///
    /// let graph = Graph::new()
    ///     .input("samples", FrameShape::real(1024))
    ///     .filter("filter", "samples", PhiResolvent::default())
    ///     .output("clean", "filter");
    /// let engine = Engine::open(&EngineOptions::default())?;
    /// let plan = engine.compile(&graph)?;
    /// for _ in 0..10 {
    ///     let hint = engine.suggest_batch(Qos::Default, Duration::from_millis(20))?;
    ///     let samples = vec![0.5; 1024 * hint.suggested_batch];
    ///     engine.submit(&plan, [samples], JobOptions::default())?.wait()?;
    /// }
    /// # Ok::<(), auricle::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] when the target is not 10 us to 1 h, and when the lanes cannot be started.
    pub fn suggest_batch(&self, qos: Qos, target_latency: Duration) -> Result<BatchHint> {
        if !(Duration::from_micros(10)..=Duration::from_hours(1)).contains(&target_latency) {
            let actual = format!("{target_latency:?}");
            return Err(Error::setting("the target latency", actual, "10 us to 1 h are allowed"));
        }
        let memory = self.inner.processor.memory();
        let memory = memory.map_or_else(MemoryState::default, |memory| MemoryState {
            pressure: memory.pressure,
            evicted: Some(memory.evicted),
        });
        Ok(self.lanes()?.schedule().suggest_batch(qos, target_latency, memory))
    }

    /// How the devices are; a quick look at what the [snapshot](Self::snapshot) has, too.
    pub fn health(&self) -> Health {
        self.inner.processor.health()
    }

    /// All figures, as they are now; of an engine that never had a job, those of none.
    ///
    /// # Errors
    /// When the lanes cannot be started.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let mut snapshot = self.lanes()?.snapshot();
        let observer = self.inner.observer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (snapshot.work, snapshot.compiled) = self.inner.processor.counters().snapshot();
        snapshot.plans = self.inner.plans.lock().unwrap_or_else(PoisonError::into_inner).snapshot();
        for qos in Qos::ALL {
            let serving = self.inner.processor.serving(qos);
            snapshot.qos[qos].hardware_priority = serving.as_ref().is_some_and(|device| device.has_priority());
            snapshot.qos[qos].dropped = self.inner.processor.counters().dropped_by(qos);
            snapshot.devices[qos] = serving.map(|device| device.info().clone());
        }
        snapshot.memory = self.inner.processor.memory();
        snapshot.health = self.inner.processor.health();
        snapshot.streams = observer.map_or_else(Vec::new, |observer| observer.snapshot());
        Ok(snapshot)
    }

    /// What came of [`EngineOptions::isolation`]: where threads stay, what memory is locked, and what the system refused.
    /// It starts the lanes if they have not been; memory counts from the first stream on.
    ///
    /// # Errors
    /// What the device reports when the lanes cannot be started.
    pub fn isolation(&self) -> Result<IsolationReport> {
        self.lanes()?;
        let lanes = self.inner.bounds.lanes.iter().map(|(_, lanes)| lanes).sum();
        Ok(self.inner.isolation.report(lanes))
    }

    /// The most submissions on the device at once: what [`ScheduleOptions::in_flight`] came to.
    pub fn most_in_flight(&self) -> usize {
        self.inner.bounds.in_flight
    }

    /// Ends the engine's threads: takes no more jobs, and waits so long at most for those that are there. Returns how many
    /// were given up, each of which is answered with [`Error::ShutDown`]. Called on a lane it does not wait, and gives up all
    /// jobs, its own included. Streams end at once, with the same error; finish their inputs and pull what comes out to get
    /// all of it.
    ///
    /// Dropping the last clone of an engine aborts too.
    pub fn shutdown(&self, how: ShutDown, grace: Duration) -> usize {
        // Where there are no lanes yet, there never will be: what comes later is refused.
        let refusing = || Arc::new(Lanes::refusing(self.inner.bounds));
        let mut lanes = self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = Arc::clone(lanes.get_or_insert_with(refusing));
        drop(lanes);
        mine.shut_down(how, grace)
    }

    /// The lanes, started when they are first asked for.
    fn lanes(&self) -> Result<Arc<Lanes>> {
        let inner = &self.inner;
        let mut lanes = inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lanes) = &*lanes {
            return Ok(Arc::clone(lanes));
        }
        let started = Arc::new(Lanes::start(&inner.processor, inner.bounds, inner.longest_piece, &inner.isolation)?);
        *lanes = Some(Arc::clone(&started));
        Ok(started)
    }
}
