//! The snapshot that everything reads, and what it is made of.

mod counters;

mod device;

mod rolling;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::counters::Counters;
pub use self::device::{DeviceInfo, DeviceKind};
pub(crate) use self::rolling::{Rolling, histogram};
use crate::qos::{PerQos, Qos};

/// The engine at one moment.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Time since the scheduler started.
    pub uptime: Duration,
    /// Each level.
    pub qos: PerQos<QosSnapshot>,
    /// Each lane, the most urgent level first.
    pub lanes: Vec<LaneSnapshot>,
    /// Live streams: those that go together, together.
    pub streams: Vec<StreamsSnapshot>,
    /// What all plans have worked on, for jobs, streams, sessions and runs.
    pub work: WorkSnapshot,
    /// The plans that there are, the oldest first: what each node of them has done.
    pub plans: Vec<PlanSnapshot>,
    /// What compiling them took.
    pub compiled: CompiledSnapshot,
    /// What serves each level now, which after a loss is not what was opened first; none until there is work for the level, and
    /// while another device takes the place of a lost one.
    pub devices: PerQos<Option<DeviceInfo>>,
    /// Device memory; none on the CPU, whose memory is the host's.
    pub memory: Option<MemorySnapshot>,
    /// How the devices are.
    pub health: Health,
}

/// What an engine's buffers take on its device: those of plans, of streams and of denoisers; not what the driver and the
/// pipelines take besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct MemorySnapshot {
    /// Bytes now.
    pub used_bytes: u64,
    /// The most bytes at any time.
    pub most_bytes: u64,
    /// What they may be, where there is a budget.
    pub budget_bytes: Option<u64>,
    /// The part of the budget that is used, 0 to 1.
    pub pressure: Option<f64>,
    /// How often buffers that were not in use had to leave so that others had room. When this grows all the time, the
    /// budget is too small for what runs in turn.
    pub evicted: u64,
}

/// What plans have worked on since the engine opened, for jobs, streams, sessions and runs alike. A frame is of one channel;
/// with a denoiser between two stages, each of the stages counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct WorkSnapshot {
    /// Batches that went to a device. None of them is padded: what is dispatched is as large as the batch.
    pub batches: u64,
    /// Frames in them.
    pub frames: u64,
    /// Those of them that a gate found live, or that no gate looked at.
    pub live: u64,
    /// Those with a NaN or an infinity.
    pub faulty: u64,
    /// Frames of the largest batch.
    pub largest_batch: u64,
}

impl WorkSnapshot {
    /// The part of all frames that cost no more than a look, 0 to 1.
    pub fn sparsity(&self) -> f64 {
        1.0 - self.live as f64 / self.frames.max(self.live).max(1) as f64
    }

    /// Frames in a batch, on average.
    pub fn mean_batch(&self) -> f64 {
        self.frames as f64 / self.batches.max(1) as f64
    }
}

/// One plan: the nodes of its graph, and where its time went, since it was compiled, for all its runs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct PlanSnapshot {
    /// Counts the engine's plans, from 0.
    pub id: u64,
    /// The nodes of the graph, in the order in which it was built.
    pub nodes: Vec<NodeSnapshot>,
    /// What the device spends its time with: nodes, and what goes on around them (`upload`, `readback`, and `collect`, which puts
    /// results into their places).
    pub stages: Vec<StageSnapshot>,
}

/// A node of a graph: an edge leads to it from each of its sources.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct NodeSnapshot {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// What it reads: nodes by their names, or `<filter>.powers`.
    pub sources: Vec<String>,
    /// Frames of channels that it worked on.
    pub frames: u64,
    /// Bytes of samples that it read for that; for an output, those that were given back.
    pub read_bytes: u64,
    /// Bytes of samples that it wrote. What a denoiser keeps to itself, weights and state, does not count.
    pub written_bytes: u64,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NodeKind {
    /// Where samples come in.
    Input,
    /// The max-abs gate.
    Gate,
    /// A phi-resolvent filter.
    Filter,
    /// A Fourier transform.
    Fourier,
    /// A denoiser.
    Denoise,
    /// A kernel of the app's own.
    Kernel,
    /// Where samples come out.
    Output,
}

/// What a device does in one go, and how long it did it. Times of command queues that work at once add up.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct StageSnapshot {
    /// Its name: that of its node, those of its nodes with `+` between them, or what it does.
    pub name: String,
    /// The nodes whose work it is; more than one where the device cannot tell them apart, none where it is no node's.
    pub nodes: Vec<String>,
    /// Time in all.
    pub time: Duration,
}

/// What compiling has taken since the engine opened: the kernels of graphs. Those of a denoiser's network are built when it
/// is opened, and are not in here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct CompiledSnapshot {
    /// Graphs that were compiled: once for each command queue that they run on, and anew after a loss.
    pub graphs: u64,
    /// Pipelines that were built for them.
    pub pipelines_built: u64,
    /// Pipelines that the device had built before.
    pub pipelines_reused: u64,
    /// Time that it took.
    pub time: Duration,
}

/// How an engine's devices are.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// Good, or what became of it.
    pub state: HealthState,
    /// What happened last; none while all is good.
    pub reason: Option<String>,
    /// Devices that failed so far.
    pub losses: u64,
}

/// Whether an engine does what it was opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HealthState {
    /// No device has failed.
    #[default]
    Good,
    /// A device has failed, and another one does its work.
    Degraded,
    /// A device has failed, and nothing can do its work.
    Failed,
}

/// One level at one moment.
///
/// Counts are since the start: `admitted` is the sum of `waiting`, of what lanes work on, and of all the answers. What a lane
/// does for streams counts as jobs, too, until nothing is left to do for them.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct QosSnapshot {
    /// Whether its command queue has a priority of the driver's, too.
    pub hardware_priority: bool,
    /// Jobs in the queue, those included of which a part is done.
    pub waiting: usize,
    /// Submissions on the device.
    pub in_flight: usize,
    /// Jobs that came in.
    pub admitted: u64,
    /// How often a job went behind the others because its data were not coherent: when it came, or after a piece of it.
    pub put_behind: u64,
    /// How far the last data that were asked about it were a signal, 0 to 1: what a job was submitted with, or what a piece
    /// of one told.
    pub coherence: Option<f32>,
    /// Jobs that were turned away because the queue was full; these never came in.
    pub refused: u64,
    /// Jobs answered with a result.
    pub done: u64,
    /// Jobs answered with an error of their own.
    pub failed: u64,
    /// Jobs that somebody cancelled.
    pub cancelled: u64,
    /// Jobs whose time was over.
    pub expired: u64,
    /// Jobs that were given up when the engine shut down.
    pub shut_down: u64,
    /// Floats that live streams dropped because there was no room, those of streams that are closed included.
    pub dropped: u64,
    /// Results per second, over the last [`Snapshot::WINDOW`].
    pub rate_hz: f64,
    /// Time from submission to the first lane.
    pub queue: Latency,
    /// Time with lanes.
    pub compute: Latency,
    /// Time from submission to the answer.
    pub total: Latency,
}

/// Times over the last [`Snapshot::WINDOW`], each to a hundredth of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Latency {
    /// How many there are.
    pub count: u64,
    /// Half of them are no longer.
    pub p50: Duration,
    /// 95 of 100 are no longer.
    pub p95: Duration,
    /// 99 of 100 are no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// One lane at one moment.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// Whose jobs it takes.
    pub qos: Qos,
    /// Which of its level's lanes it is, from 0.
    pub index: usize,
    /// The part of the last second in which it was busy, 0 to 1.
    pub occupancy: f64,
    /// What it did last, oldest first; what it does now ends with the snapshot.
    pub spans: Vec<Span>,
}

impl LaneSnapshot {
    /// How many spans a lane remembers once they are over: of one that has so many, earlier ones may be forgotten.
    pub const MOST_SPANS: usize = 256;
}

/// A stretch of time in which a lane was busy with one job, or a piece of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// The job's name.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub job: Arc<str>,
    /// When it began, since the start of the scheduler.
    pub begin: Duration,
    /// When it ended.
    pub end: Duration,
}

fn as_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn from_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    <String as serde::Deserialize>::deserialize(deserializer).map(Arc::from)
}

impl Snapshot {
    /// How far back latencies and rates look, give or take a quarter.
    pub const WINDOW: Duration = Duration::from_secs(10);

    /// Jobs that came in and have no answer yet.
    pub fn unanswered(&self) -> u64 {
        self.qos.iter().map(|(_, qos)| qos.admitted - qos.answered()).sum()
    }
}

impl QosSnapshot {
    /// Jobs that have their answer.
    pub fn answered(&self) -> u64 {
        self.done + self.failed + self.cancelled + self.expired + self.shut_down
    }
}

/// Streams that go together: those of one plan, one output and one level. Counts are since the first of them.
///
/// Where all of them are over, this is there until nobody holds an end of one any more; those that are opened meanwhile
/// begin another.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct StreamsSnapshot {
    /// Their level.
    pub qos: Qos,
    /// The output of the plan that they give.
    pub output: String,
    /// How many there are.
    pub streams: usize,
    /// Channels of them all.
    pub channels: usize,
    /// Batches so far.
    pub batches: u64,
    /// Frames of channels that came through.
    pub frames: u64,
    /// Those of them that the gate found live.
    pub live: u64,
    /// Those of them that were silence and were passed over, in no batch.
    pub passed: u64,
    /// Frames of the largest batch.
    pub largest_batch: usize,
    /// From the first frame that waits for a batch to that batch's results.
    pub delay: Latency,
    /// What a batch takes on the device.
    pub compute: Latency,
}

impl StreamsSnapshot {
    /// Frames in a batch, on average.
    pub fn mean_batch(&self) -> f64 {
        (self.frames - self.passed) as f64 / self.batches.max(1) as f64
    }
}
