//! The job that most ask for: a plan on signals that are there as a whole.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Progress;
use super::lane::Lane;
use super::samples::Samples;
use super::ticket::AnswerCell;
use super::work::Work;
use crate::error::{Error, Result};
use crate::plan::{Compiled, CostModel, Plan, Session};
use crate::qos::Qos;
use crate::recording::results::RunOutput;
use crate::stage::filter::measure;

/// A plan on whole signals, at once or in pieces of about equal time.
pub(crate) struct PlanJob {
    source: Plan,
    qos: Qos,
    /// It, on the command queue of the level.
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
    /// Devices that failed at it.
    failures: usize,
}

impl PlanJob {
    /// # Errors
    /// [`Error::BatchShape`] when the samples do not fit the plan.
    pub(crate) fn new(
        (source, qos): (&Plan, Qos),
        inputs: Vec<Samples>,
        channels: usize,
        mut output: RunOutput,
        coherence_from: Option<Cow<'static, str>>,
        cell: Arc<AnswerCell<RunOutput>>,
    ) -> Result<Self> {
        let plan = source.on(qos)?;
        if let Some(name) = coherence_from.as_deref().filter(|name| !plan.measures_coherence(name)) {
            let expected = "it must be an output of `<filter>.powers`, of a filter with `Measure::Coherence`";
            return Err(Error::setting("the source of coherence", format!("`{name}`"), expected));
        }
        let slices: Vec<&[f32]> = inputs.iter().map(|samples| &**samples).collect();
        let frames = plan.frames_of(&slices, channels)?;
        output.make_dense();
        let (source, pieces, failures) = (source.clone(), None, 0);
        Ok(Self { source, qos, plan, inputs, channels, frames, cell, output, coherence_from, pieces, failures })
    }

    /// Frames of all its channels.
    pub(crate) fn frames(&self) -> usize {
        self.frames * self.channels
    }

    fn done(self: Box<Self>) -> Progress {
        let Self { cell, mut output, .. } = *self;
        output.aim_at_all();
        Progress::Done(Box::new(move || cell.answer(Ok(output))))
    }

    fn whole(mut self: Box<Self>, lane: &Lane) -> Progress {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(|samples| &**samples).collect();
        let watch = Watch::start(lane);
        let run = self.plan.run_into(&inputs, self.channels, &mut self.output);
        watch.learn(self.plan.cost(), self.output.counts().live);
        match run {
            Ok(()) => self.done(),
            Err(error) => self.again_after(error),
        }
    }

    /// Begins anew on another device, if it was the device that failed.
    fn again_after(mut self: Box<Self>, error: Error) -> Progress {
        if self.failures >= 2 || !self.source.goes_on_after(&error, self.qos, &self.plan, self.failures > 0) {
            return Progress::Failed(error);
        }
        match self.source.on(self.qos) {
            Ok(plan) => {
                self.failures += 1;
                (self.plan, self.pieces) = (plan, None);
                Progress::More(self, None)
            }
            Err(error) => Progress::Failed(error),
        }
    }

    fn piece(mut self: Box<Self>, lane: &Lane, frames: usize) -> Progress {
        let mut pieces = self.pieces.take().unwrap_or_default();
        let mut output = std::mem::take(&mut self.output);
        let watch = Watch::start(lane);
        match pieces.advance(&self, frames, &mut output) {
            Ok(()) => watch.learn(self.plan.cost(), pieces.last(&output).part_counts().live),
            Err(error) => {
                output.aim_at_all();
                self.output = output;
                return self.again_after(error);
            }
        }
        let powers = self.coherence_from.as_deref().and_then(|name| pieces.last(&output).part_dense(name));
        #[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
        let coherence = powers.and_then(measure::coherence).map(|coherence| coherence as f32);
        self.output = output;
        if pieces.first_channel == self.channels {
            return self.done();
        }
        self.pieces = Some(pieces);
        Progress::More(self, coherence)
    }
}

impl Work for PlanJob {
    fn advance(mut self: Box<Self>, lane: &Lane, budget: Option<Duration>) -> Progress {
        if self.pieces.is_none() {
            // The device may have been replaced while the job waited.
            match self.source.on(self.qos) {
                Ok(plan) => self.plan = plan,
                Err(error) => return self.again_after(error),
            }
        }
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
pub(crate) struct Watch<'a> {
    lane: &'a Lane,
    undisturbed: Option<u64>,
    start: Instant,
}

impl<'a> Watch<'a> {
    pub(crate) fn start(lane: &'a Lane) -> Self {
        Self { lane, undisturbed: lane.undisturbed(), start: Instant::now() }
    }

    pub(crate) fn learn(self, cost: &CostModel, live: u64) {
        let took = self.start.elapsed();
        self.learn_of(cost, live, took);
    }

    /// The same, of a part of the time.
    pub(crate) fn learn_of(self, cost: &CostModel, live: u64, took: Duration) {
        if self.undisturbed.is_some() && self.lane.undisturbed() == self.undisturbed {
            cost.learn(usize::try_from(live).unwrap_or(0), took);
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
    /// What the last piece gave, where that is not how it lies in the whole.
    part: RunOutput,
    is_in_place: bool,
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
        self.is_in_place = job.plan.gives_in_place(group.channels) && (group.channels == 1 || rows == job.frames);
        let inputs = self.inputs(job, &group, rows);
        group.session.push(&inputs, self.room(job, &group, output)).map_err(|error| self.in_job(error))?;
        group.pushed += rows;
        self.keep(job, &mut group, output);
        if group.pushed < job.frames {
            self.group = Some(group);
            return Ok(());
        }
        if group.back < job.frames {
            group.session.end(self.room(job, &group, output))?;
            self.keep(job, &mut group, output);
        }
        self.first_channel += group.channels;
        Ok(())
    }

    /// What the next piece is put into.
    fn room<'a>(&'a mut self, job: &PlanJob, group: &Group, output: &'a mut RunOutput) -> &'a mut RunOutput {
        if !self.is_in_place {
            return &mut self.part;
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            output.clear();
        }
        output.aim((job.channels, job.frames), self.first_channel * job.frames + group.back);
        output
    }

    /// What the last piece was put into.
    fn last<'a>(&'a self, output: &'a RunOutput) -> &'a RunOutput {
        if self.is_in_place { output } else { &self.part }
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

    /// Puts what came back where it belongs, where it is not there already.
    fn keep(&mut self, job: &PlanJob, group: &mut Group, output: &mut RunOutput) {
        if self.is_in_place {
            group.back += output.part_frames() / group.channels;
            return;
        }
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
