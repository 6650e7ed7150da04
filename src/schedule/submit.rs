//! What may be asked of the scheduler, and the job that most ask for: a plan on signals that are there as a whole.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Progress;
use super::dispatch::Bounds;
use super::lane::Lane;
use super::ticket::AnswerCell;
use super::work::Work;
use crate::device::DeviceKind;
use crate::error::{Error, Result};
use crate::memory::HostBuffer;
use crate::plan::{Compiled, CostModel, Session};
use crate::qos::{PerQos, Qos};
use crate::recording::results::RunOutput;
use crate::stage::filter::measure;

/// How the scheduler shares the device.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleOptions {
    /// Lanes of each level, 1 to 64: how many of its jobs may be worked on at once.
    pub lanes: PerQos<usize>,
    /// Jobs of each level that may wait; more are refused.
    pub capacity: PerQos<usize>,
    /// What pieces of jobs that are not `High` may take on the device: so long may a `High` job have to wait for each
    /// submission that is in flight. Shorter pieces cost more overhead.
    pub longest_piece: Duration,
    /// Submissions in flight on the device up to which a job that is not `High` may start; 0 takes 2 on a GPU, which keeps
    /// it busy while results are read, and 1 on the CPU, where one job has all cores.
    pub in_flight: usize,
    /// The part of the device's time that `Low` gets while it has work, 0 to 0.5; what it got from idle time of about the
    /// last second counts.
    pub low_floor: f64,
    /// Jobs with less [coherence](JobOptions::coherence) go behind the others of their level. `High` jobs never do.
    pub coherence_threshold: f32,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self {
            lanes: PerQos { high: 2, default: 2, low: 1 },
            capacity: PerQos { high: 1024, default: 1024, low: 1024 },
            longest_piece: Duration::from_millis(2),
            in_flight: 0,
            low_floor: 0.1,
            coherence_threshold: 0.3,
        }
    }
}

impl ScheduleOptions {
    pub(crate) fn checked(&self, kind: DeviceKind) -> Result<Bounds> {
        for (qos, &lanes) in self.lanes.iter() {
            if !(1..=64).contains(&lanes) {
                return Err(Error::setting(
                    "the number of lanes",
                    format!("{lanes} for `{qos}`"),
                    "1 to 64 are allowed",
                ));
            }
            if self.capacity[qos] == 0 {
                return Err(Error::setting("the queue's capacity", format!("0 for `{qos}`"), "it must be 1 at least"));
            }
        }
        if self.longest_piece < Duration::from_micros(10) {
            let expected = "it must be 10 us at least, so that pieces do more than they cost";
            return Err(Error::setting("the longest piece", format!("{:?}", self.longest_piece), expected));
        }
        if !(0.0..=0.5).contains(&self.low_floor) {
            return Err(Error::setting("the floor of `low`", self.low_floor, "it must be 0 to 0.5"));
        }
        if self.coherence_threshold.is_nan() {
            return Err(Error::setting("the threshold of coherence", "no number", "it must be one"));
        }
        let in_flight = self.submissions_in_flight(kind);
        Ok(Bounds {
            capacity: self.capacity,
            lanes: self.lanes,
            in_flight,
            low_floor: self.low_floor,
            coherence_threshold: self.coherence_threshold,
        })
    }

    pub(crate) fn submissions_in_flight(&self, kind: DeviceKind) -> usize {
        match (self.in_flight, kind) {
            (0, DeviceKind::Cpu) => 1,
            (0, _) => 2,
            (set, _) => set,
        }
    }
}

/// What is asked for with one job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobOptions {
    /// What it is promised.
    pub qos: Qos,
    /// What it is called in errors, snapshots and timelines.
    pub name: Cow<'static, str>,
    /// When it must be answered, from now; a job whose time is over is answered with [`Error::Expired`] then, whatever the
    /// device is doing. Of two jobs of a level, the one with the earlier deadline goes first.
    pub deadline: Option<Duration>,
    /// Channels of the inputs, 1 unless set.
    pub channels: usize,
    /// How far its data are a signal rather than noise, 0 to 1, as [`crate::Measure::Coherence`] tells of an earlier part
    /// of them. Below the [threshold](ScheduleOptions::coherence_threshold), the job goes behind the others.
    pub coherence: Option<f32>,
    /// The output in which a filter of the plan puts the powers that it measures for [`crate::Measure::Coherence`]: then
    /// each piece of the job tells its coherence, and the next one takes its place accordingly.
    pub coherence_from: Option<Cow<'static, str>>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            qos: Qos::Default,
            name: Cow::Borrowed("job"),
            deadline: None,
            channels: 1,
            coherence: None,
            coherence_from: None,
        }
    }
}

/// Samples that a job brings, or shares with others: a `Vec<f32>`, a [`HostBuffer`], or either behind an `Arc`.
///
/// Handing over a `Vec` copies nothing, but filling a new one for each job costs more than most jobs do: where the samples
/// stay as they are, share them.
#[derive(Clone)]
pub struct Samples {
    owner: Arc<dyn Deref<Target = [f32]> + Send + Sync>,
}

impl std::fmt::Debug for Samples {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Samples").field("len", &self.owner.len()).finish_non_exhaustive()
    }
}

impl Deref for Samples {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.owner
    }
}

impl From<Vec<f32>> for Samples {
    fn from(samples: Vec<f32>) -> Self {
        Arc::new(samples).into()
    }
}

impl From<HostBuffer> for Samples {
    fn from(samples: HostBuffer) -> Self {
        Arc::new(samples).into()
    }
}

impl From<Arc<Vec<f32>>> for Samples {
    fn from(owner: Arc<Vec<f32>>) -> Self {
        Self { owner }
    }
}

impl From<Arc<HostBuffer>> for Samples {
    fn from(owner: Arc<HostBuffer>) -> Self {
        Self { owner }
    }
}

impl From<Arc<[f32]>> for Samples {
    fn from(samples: Arc<[f32]>) -> Self {
        Self { owner: Arc::new(samples) }
    }
}

/// How an engine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutDown {
    /// All jobs that were taken in are done first.
    Drain,
    /// Jobs that are not done are given up.
    Abort,
}

/// A plan on whole signals, at once or in pieces of about equal time.
pub(crate) struct PlanJob {
    plan: Arc<Compiled>,
    inputs: Vec<Samples>,
    channels: usize,
    /// Of each channel.
    frames: usize,
    cell: Arc<AnswerCell<RunOutput>>,
    /// What the result is put into.
    output: RunOutput,
    /// Which output tells its coherence.
    coherence_from: Option<Cow<'static, str>>,
    pieces: Option<Pieces>,
}

impl PlanJob {
    /// # Errors
    /// [`Error::BatchShape`] when the samples do not fit the plan.
    pub(crate) fn new(
        plan: Arc<Compiled>,
        inputs: Vec<Samples>,
        channels: usize,
        mut output: RunOutput,
        coherence_from: Option<Cow<'static, str>>,
        cell: Arc<AnswerCell<RunOutput>>,
    ) -> Result<Self> {
        if let Some(name) = coherence_from.as_deref().filter(|name| !plan.measures_coherence(name)) {
            let expected = "it must be an output of `<filter>.powers`, of a filter with `Measure::Coherence`";
            return Err(Error::setting("the source of coherence", format!("`{name}`"), expected));
        }
        let slices: Vec<&[f32]> = inputs.iter().map(|samples| &**samples).collect();
        let frames = plan.frames_of(&slices, channels)?;
        output.make_dense();
        Ok(Self { plan, inputs, channels, frames, cell, output, coherence_from, pieces: None })
    }

    fn done(self: Box<Self>) -> Progress {
        let Self { cell, output, .. } = *self;
        Progress::Done(Box::new(move || cell.answer(Ok(output))))
    }

    fn whole(mut self: Box<Self>, lane: &Lane) -> Progress {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(|samples| &**samples).collect();
        let watch = Watch::start(lane);
        let run = self.plan.run_into(&inputs, self.channels, &mut self.output);
        watch.learn(self.plan.cost(), &self.output);
        match run {
            Ok(()) => self.done(),
            Err(error) => Progress::Failed(error),
        }
    }

    fn piece(mut self: Box<Self>, lane: &Lane, frames: usize) -> Progress {
        let mut pieces = self.pieces.take().unwrap_or_default();
        let mut output = std::mem::take(&mut self.output);
        let watch = Watch::start(lane);
        match pieces.advance(&self, frames, &mut output) {
            Ok(()) => watch.learn(self.plan.cost(), &pieces.part),
            Err(error) => return Progress::Failed(error),
        }
        self.output = output;
        if pieces.first_channel == self.channels {
            return self.done();
        }
        let powers = self.coherence_from.as_deref().and_then(|name| pieces.part.dense(name));
        #[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
        let coherence = powers.and_then(measure::coherence).map(|coherence| coherence as f32);
        self.pieces = Some(pieces);
        Progress::More(self, coherence)
    }
}

impl Work for PlanJob {
    fn advance(self: Box<Self>, lane: &Lane, budget: Option<Duration>) -> Progress {
        let within = budget.map_or(usize::MAX, |budget| self.plan.cost().frames_within(budget));
        if self.pieces.is_none() && self.frames * self.channels <= within {
            self.whole(lane)
        } else {
            self.piece(lane, within)
        }
    }
}

/// Times a piece. One that a more urgent submission disturbed says nothing about its size; nor do frames that were silent,
/// which cost next to nothing.
struct Watch<'a> {
    lane: &'a Lane,
    undisturbed: Option<u64>,
    start: Instant,
}

impl<'a> Watch<'a> {
    fn start(lane: &'a Lane) -> Self {
        Self { lane, undisturbed: lane.undisturbed(), start: Instant::now() }
    }

    fn learn(self, cost: &CostModel, output: &RunOutput) {
        if self.undisturbed.is_some() && self.lane.undisturbed() == self.undisturbed {
            cost.learn(usize::try_from(output.counts().live).unwrap_or(0), self.start.elapsed());
        }
    }
}

/// A job's course: channels one after the other, each in pieces; or several together, when a piece holds all their frames.
///
/// ```text
/// long   channel 0   | piece | piece | piece |        wide   channels 0 to g    | piece |
///        channel 1   | piece | ...                           channels g to 2 g  | piece |
/// ```
#[derive(Default)]
struct Pieces {
    /// The first channel that is not through.
    first_channel: usize,
    group: Option<Group>,
    /// Whether the result has its places.
    has_begun: bool,
    /// What the last piece gave.
    part: RunOutput,
}

/// Channels that go on together.
struct Group {
    session: Session,
    channels: usize,
    /// Frames of each that went in, and that came back.
    pushed: usize,
    back: usize,
}

impl Pieces {
    /// Goes on by about that many frames.
    fn advance(&mut self, job: &PlanJob, frames: usize, output: &mut RunOutput) -> Result<()> {
        let mut group = match self.group.take() {
            Some(group) => group,
            None => {
                let channels = (frames / job.frames).clamp(1, job.channels - self.first_channel);
                Group { session: Session::new(&job.plan, channels)?, channels, pushed: 0, back: 0 }
            }
        };
        let rows = (frames / group.channels).clamp(1, job.frames - group.pushed);
        let inputs = self.inputs(job, &group, rows);
        group.session.push(&inputs, &mut self.part).map_err(|error| self.in_job(error))?;
        group.pushed += rows;
        self.keep(job, &mut group, output);
        if group.pushed < job.frames {
            self.group = Some(group);
            return Ok(());
        }
        group.session.end(&mut self.part)?;
        self.keep(job, &mut group, output);
        self.first_channel += group.channels;
        Ok(())
    }

    /// The group's next rows of each input, which lie together: those of one channel, or all of several.
    fn inputs<'a>(&self, job: &'a PlanJob, group: &Group, rows: usize) -> Vec<&'a [f32]> {
        let first = self.first_channel * job.frames + group.pushed;
        let frames = first..first + rows * group.channels;
        let inputs = job.inputs.iter().zip(job.plan.inputs());
        inputs
            .map(|(samples, (_, shape))| &samples[frames.start * shape.floats()..frames.end * shape.floats()])
            .collect()
    }

    /// Puts what came back where it belongs.
    fn keep(&mut self, job: &PlanJob, group: &mut Group, output: &mut RunOutput) {
        if !std::mem::replace(&mut self.has_begun, true) {
            output.begin_parts(&self.part, job.channels, job.frames);
        }
        output.take_part(&self.part, self.first_channel, group.back);
        group.back += self.part.frames();
    }

    /// A session counts its channels from 0.
    fn in_job(&self, error: Error) -> Error {
        match error {
            Error::FaultyFrame { channel, frame, sample } => {
                Error::FaultyFrame { channel: channel + self.first_channel, frame, sample }
            }
            other => other,
        }
    }
}
