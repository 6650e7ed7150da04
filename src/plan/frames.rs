//! The part of a plan that goes frame by frame, and its session: the gate's hold and the filter's neighbours.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::{CompileReport, Device, Hold, Keeper, PlanOptions, PreparedPlan};
use crate::error::{Error, Result};
use crate::frame::{FrameShape, FrameState, Quiet};
use crate::recording::batch::{Batch, CONTEXT_LEN, History, InputSamples, LONG_AGO};
use crate::recording::results::RunOutput;
use crate::recording::{GateStep, Recording};
use crate::simd::SimdLevel;
use crate::stage::gate::ALWAYS_LOUD;
use crate::telemetry::Counters;

use super::Profile;

/// A recording, ready to run.
#[derive(Debug)]
pub(super) struct Frames {
    recording: Arc<Recording>,
    report: CompileReport,
    device: Arc<dyn Device>,
    options: PlanOptions,
    figures: RunFigures,
    /// Live signals that count on it.
    keeper: Keeper,
    /// What can be run on and is not: one for each thread that ran it at the same time as others, and so many at most.
    idle: Mutex<Vec<Box<dyn PreparedPlan>>>,
    most_idle: usize,
}

/// Who is told what its runs did.
#[derive(Debug)]
pub(super) struct RunFigures {
    pub(super) counters: Arc<Counters>,
    pub(super) profile: Arc<Profile>,
    /// Whether it is what follows a denoiser.
    pub(super) is_then: bool,
}

impl RunFigures {
    fn ran(&self, output: &RunOutput) {
        let counts = output.part_counts();
        if counts.total > 0 {
            self.counters.ran(counts.total, counts.live, counts.faulty);
            self.profile.ran(output.batch_times(), counts, self.is_then);
        }
    }
}

impl Frames {
    pub(super) fn new(
        device: &Arc<dyn Device>,
        recording: &Arc<Recording>,
        options: &PlanOptions,
        figures: RunFigures,
    ) -> Result<Self> {
        let mut frames = Self {
            recording: Arc::clone(recording),
            report: CompileReport::default(),
            device: Arc::clone(device),
            options: options.clone(),
            figures,
            keeper: Keeper::default(),
            idle: Mutex::default(),
            most_idle: 2 * std::thread::available_parallelism().map_or(4, usize::from),
        };
        let first = frames.prepare()?;
        frames.report = first.report().clone();
        frames.put_back(first);
        Ok(frames)
    }

    fn prepare(&self) -> Result<Box<dyn PreparedPlan>> {
        let mut one = self.device.prepare(Arc::clone(&self.recording), &self.options)?;
        one.keep_for(&self.keeper);
        Ok(one)
    }

    pub(super) fn recording(&self) -> &Recording {
        &self.recording
    }

    pub(super) fn report(&self) -> &CompileReport {
        &self.report
    }

    pub(super) fn inputs(&self) -> &[(String, FrameShape)] {
        &self.recording.inputs
    }

    pub(super) fn gate(&self) -> Option<&GateStep> {
        self.recording.gate.as_ref()
    }

    /// Whether the gate finds silent frames quiet, and keeps them from everything behind it.
    pub(super) fn silence_is_nothing(&self) -> bool {
        self.gate().is_some_and(|gate| gate.quiet == Quiet::Zero && gate.threshold_bits != ALWAYS_LOUD)
    }

    /// 1 when a node looks at the neighbours of a frame, else 0.
    pub(super) fn latency_frames(&self) -> usize {
        usize::from(self.recording.looks_at_neighbours)
    }

    pub(super) fn run_into(&self, inputs: &[&[f32]], channels: usize, output: &mut RunOutput) -> Result<()> {
        self.run_batch(&Batch::whole(self.inputs(), inputs, channels)?, output)
    }

    pub(super) fn session(&self, channels: usize) -> FramesSession {
        let shapes = self.inputs().iter().map(|(_, shape)| *shape).collect();
        let mut session = FramesSession { channels: Vec::new(), shapes, level: SimdLevel::detect() };
        session.grow(channels);
        session
    }

    fn run_batch(&self, batch: &Batch<'_>, output: &mut RunOutput) -> Result<()> {
        let mut one = self.take_idle()?;
        let run = one.run(batch, output).inspect_err(|_| output.clear());
        if run.is_ok() {
            self.figures.ran(output);
        }
        self.put_back(one);
        run
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Box<dyn PreparedPlan>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_idle(&self) -> Result<Box<dyn PreparedPlan>> {
        let one = self.idle().pop();
        one.map_or_else(|| self.prepare(), Ok)
    }

    /// For the next run. What a burst of many threads needed does not stay.
    fn put_back(&self, one: Box<dyn PreparedPlan>) {
        let mut idle = self.idle();
        if idle.len() < self.most_idle {
            idle.push(one);
        } else {
            drop(idle);
            drop(one);
        }
    }

    /// As long as this is held, its buffers do not leave the device for others.
    pub(super) fn hold(&self) -> Hold {
        self.keeper.hold()
    }

    /// Sees to it that the next run finds its buffers, also after a sleep.
    pub(super) fn wake(&self) -> Result<()> {
        let mut one = self.take_idle()?;
        let woken = one.wake();
        self.put_back(one);
        woken
    }

    fn gated_frame_len(&self) -> u64 {
        let input = self.gate().map_or(0, |step| step.input);
        self.inputs().get(input).map_or(0, |(_, shape)| shape.len() as u64)
    }
}

/// Channels that go on from one push to the next, each for itself.
#[derive(Clone, Debug)]
pub(super) struct FramesSession {
    channels: Vec<FramesChannel>,
    shapes: Vec<FrameShape>,
    level: SimdLevel,
}

/// What is kept of one channel.
#[derive(Clone, Debug)]
pub(super) struct FramesChannel {
    history: History,
    /// Frames so far.
    pushed: u64,
}

impl FramesSession {
    /// Makes it so many channels; new ones begin.
    pub(super) fn grow(&mut self, channels: usize) {
        let Self { shapes, .. } = self;
        self.channels.resize_with(channels, || FramesChannel { history: History::new(shapes), pushed: 0 });
    }

    /// Takes a channel's state out; it begins anew.
    pub(super) fn take_channel(&mut self, channel: u32) -> FramesChannel {
        let new = FramesChannel { history: History::new(&self.shapes), pushed: 0 };
        std::mem::replace(&mut self.channels[channel as usize], new)
    }

    pub(super) fn put_channel(&mut self, channel: u32, state: FramesChannel) {
        self.channels[channel as usize] = state;
    }

    /// Whether nothing of a channel has been pushed: its first frames come out apart from those of the others where frames
    /// are held back.
    pub(super) fn is_new(&self, channel: u32) -> bool {
        self.channels[channel as usize].pushed == 0
    }

    /// Whether a silent frame of a channel changes nothing: the gate would find it quiet, and nobody hears what came before.
    pub(super) fn is_silent(&self, frames: &Frames, channel: u32) -> bool {
        let FramesChannel { history, pushed } = &self.channels[channel as usize];
        let hold = frames.gate().map_or(0, |gate| gate.hold);
        let is_quiet = |state: &Option<FrameState>| state.is_some_and(|state| state != FrameState::Live);
        frames.silence_is_nothing() && *pushed > 0 && history.since_loud > hold && history.states.iter().all(is_quiet)
    }

    /// Passes over silent frames of a [silent](Self::is_silent) channel.
    pub(super) fn pass_silence(&mut self, channel: u32, frames: u64) {
        let FramesChannel { history, pushed } = &mut self.channels[channel as usize];
        *pushed += frames;
        history.states = [Some(FrameState::Quiet); CONTEXT_LEN];
        let behind = u32::try_from(frames).unwrap_or(u32::MAX);
        history.since_loud = history.since_loud.saturating_add(behind).min(LONG_AGO);
    }

    /// Takes the next frames of some channels, ascending, which are all new or all not; and gives back those whose
    /// neighbours are there.
    pub(super) fn push(
        &mut self,
        frames: &Frames,
        which: &[u32],
        inputs: &[InputSamples<'_>],
        output: &mut RunOutput,
    ) -> Result<()> {
        let mut batch = self.batch(frames, which, inputs.to_vec())?;
        if frames.latency_frames() > 0 {
            let held_back = batch.rows() - 1;
            batch.emit = self.first_pending(which).min(held_back)..held_back;
        }
        if batch.emit.is_empty() {
            // Frames are looked at when they, or their neighbours, come out; these do not yet, and must not slip through.
            self.refuse_faulty(frames, &batch).map_err(|error| self.since_start(frames, which, error))?;
        }
        frames.run_batch(&batch, output).map_err(|error| self.since_start(frames, which, error))?;
        let decided = self.decide_kept(frames, &batch);
        self.keep(which, inputs, &decided);
        Ok(())
    }

    /// Gives back the frames of some channels that were held back, and starts those over.
    pub(super) fn finish(&mut self, frames: &Frames, which: &[u32], output: &mut RunOutput) -> Result<()> {
        let nothing = vec![InputSamples::Together(&[]); self.shapes.len()];
        let mut batch = self.batch(frames, which, nothing)?;
        if frames.latency_frames() > 0 {
            batch.emit = self.first_pending(which)..CONTEXT_LEN;
        }
        frames.run_batch(&batch, output)?;
        which.iter().for_each(|channel| drop(self.take_channel(*channel)));
        Ok(())
    }

    fn batch<'a>(&'a self, frames: &Frames, which: &[u32], inputs: Vec<InputSamples<'a>>) -> Result<Batch<'a>> {
        let history = which.iter().map(|channel| &self.channels[*channel as usize].history).collect();
        Batch::new(frames.inputs(), inputs, which.len(), history)
    }

    fn refuse_faulty(&self, frames: &Frames, batch: &Batch<'_>) -> Result<()> {
        let rows = CONTEXT_LEN..batch.rows();
        let mut states = Vec::new();
        for channel in 0..batch.channels {
            states.clear();
            crate::device::decide_rows(&frames.recording, self.level, batch, channel, rows.clone(), &mut states);
            crate::device::refuse_faulty(&frames.recording, batch, channel, rows.start, &states)?;
        }
        Ok(())
    }

    /// The row of the first frame that was pushed and has not come back.
    fn first_pending(&self, which: &[u32]) -> usize {
        let is_new = which.first().is_none_or(|channel| self.is_new(*channel));
        if is_new { CONTEXT_LEN } else { CONTEXT_LEN - 1 }
    }

    fn since_start(&self, frames: &Frames, which: &[u32], error: Error) -> Error {
        match error {
            Error::FaultyFrame { channel, frame, sample } => {
                let channel = which[channel] as usize;
                let (frame_len, pushed) = (frames.gated_frame_len(), self.channels[channel].pushed);
                Error::FaultyFrame { channel, frame: frame + pushed, sample: sample + pushed * frame_len }
            }
            other => other,
        }
    }

    /// What the last two rows of each channel are, which become the context of the next batch.
    fn decide_kept(&self, frames: &Frames, batch: &Batch<'_>) -> Vec<([Option<FrameState>; CONTEXT_LEN], u32)> {
        let kept = batch.rows() - CONTEXT_LEN..batch.rows();
        let mut states = Vec::new();
        let decide = |channel| {
            states.clear();
            let since_loud =
                crate::device::decide_rows(&frames.recording, self.level, batch, channel, kept.clone(), &mut states);
            let state = |index: usize| batch.has_frame(channel, kept.start + index).then(|| states[index]);
            (std::array::from_fn(state), since_loud)
        };
        (0..batch.channels).map(decide).collect()
    }

    fn keep(
        &mut self,
        which: &[u32],
        inputs: &[InputSamples<'_>],
        decided: &[([Option<FrameState>; CONTEXT_LEN], u32)],
    ) {
        for (index, (channel, (states, since_loud))) in which.iter().zip(decided).enumerate() {
            let FramesChannel { history, pushed } = &mut self.channels[*channel as usize];
            (history.states, history.since_loud) = (*states, *since_loud);
            let mut new = 0;
            for (input, (samples, shape)) in inputs.iter().zip(&self.shapes).enumerate() {
                let (len, kept) = (shape.floats(), &mut history.frames[input]);
                new = samples.count(len) / which.len();
                let last = index * new..(index + 1) * new;
                for frame in last.skip(new.saturating_sub(CONTEXT_LEN)) {
                    kept.copy_within(len.., 0);
                    kept[len..].copy_from_slice(samples.frame(frame, len));
                }
            }
            *pushed += new as u64;
        }
    }
}
