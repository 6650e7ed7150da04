//! The part of a plan that goes frame by frame, and its session: the gate's hold and the filter's neighbours.

use std::sync::{Arc, Mutex, PoisonError};

use crate::device::{CompileReport, Device, PlanOptions, PreparedPlan};
use crate::error::{Error, Result};
use crate::frame::FrameShape;
use crate::recording::batch::{Batch, CONTEXT_LEN, History};
use crate::recording::results::RunOutput;
use crate::recording::{GateStep, Recording};
use crate::simd::SimdLevel;

/// A recording, ready to run.
#[derive(Debug)]
pub(super) struct Frames {
    recording: Arc<Recording>,
    report: CompileReport,
    device: Arc<dyn Device>,
    options: PlanOptions,
    /// What can be run on and is not: one for each thread that ran it at the same time as others.
    idle: Mutex<Vec<Box<dyn PreparedPlan>>>,
}

impl Frames {
    pub(super) fn new(device: &Arc<dyn Device>, recording: Recording, options: &PlanOptions) -> Result<Self> {
        let recording = Arc::new(recording);
        let prepared = device.prepare(Arc::clone(&recording), options)?;
        let report = prepared.report().clone();
        let idle = Mutex::new(vec![prepared]);
        Ok(Self { recording, report, device: Arc::clone(device), options: options.clone(), idle })
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

    /// 1 when a node looks at the neighbours of a frame, else 0.
    pub(super) fn latency_frames(&self) -> usize {
        usize::from(self.recording.looks_at_neighbours)
    }

    pub(super) fn run_into(&self, inputs: &[&[f32]], channels: usize, output: &mut RunOutput) -> Result<()> {
        self.run_batch(&Batch::new(self.inputs(), inputs, channels, None)?, output)
    }

    pub(super) fn session(&self, channels: usize) -> FramesSession {
        let history = History::new(&self.shapes(), channels);
        FramesSession { channels, history, pushed: 0, level: SimdLevel::detect() }
    }

    fn shapes(&self) -> Vec<FrameShape> {
        self.inputs().iter().map(|(_, shape)| *shape).collect()
    }

    fn run_batch(&self, batch: &Batch<'_>, output: &mut RunOutput) -> Result<()> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let one = idle().pop();
        let mut one = one.map_or_else(|| self.device.prepare(Arc::clone(&self.recording), &self.options), Ok)?;
        let run = one.run(batch, output).inspect_err(|_| output.clear());
        idle().push(one);
        run
    }

    fn gated_frame_len(&self) -> u64 {
        let input = self.gate().map_or(0, |step| step.input);
        self.inputs().get(input).map_or(0, |(_, shape)| shape.len() as u64)
    }
}

/// Channels that go on from one push to the next.
#[derive(Clone, Debug)]
pub(super) struct FramesSession {
    channels: usize,
    history: History,
    /// Frames of each channel so far.
    pushed: u64,
    level: SimdLevel,
}

impl FramesSession {
    /// Takes the next frames of every channel, and gives back those whose neighbours are there.
    pub(super) fn push(&mut self, frames: &Frames, inputs: &[&[f32]], output: &mut RunOutput) -> Result<()> {
        let mut batch = Batch::new(frames.inputs(), inputs, self.channels, Some(&self.history))?;
        if frames.latency_frames() > 0 {
            let held_back = batch.rows() - 1;
            batch.emit = self.first_pending().min(held_back)..held_back;
        }
        if batch.emit.is_empty() {
            // Frames are looked at when they, or their neighbours, come out; these do not yet, and must not slip through.
            self.refuse_faulty(frames, &batch).map_err(|error| self.since_start(frames, error))?;
        }
        frames.run_batch(&batch, output).map_err(|error| self.since_start(frames, error))?;
        let history = self.next_history(frames, &batch);
        self.pushed += batch.frames as u64;
        self.history = history;
        Ok(())
    }

    /// Gives back the frames that were held back, and starts over.
    pub(super) fn finish(&mut self, frames: &Frames, output: &mut RunOutput) -> Result<()> {
        let nothing: Vec<&[f32]> = frames.inputs().iter().map(|_| &[][..]).collect();
        let mut batch = Batch::new(frames.inputs(), &nothing, self.channels, Some(&self.history))?;
        if frames.latency_frames() > 0 {
            batch.emit = self.first_pending()..CONTEXT_LEN;
        }
        frames.run_batch(&batch, output)?;
        *self = frames.session(self.channels);
        Ok(())
    }

    fn refuse_faulty(&self, frames: &Frames, batch: &Batch<'_>) -> Result<()> {
        let rows = CONTEXT_LEN..batch.rows();
        let mut states = Vec::new();
        for channel in 0..self.channels {
            states.clear();
            crate::device::decide_rows(&frames.recording, self.level, batch, channel, rows.clone(), &mut states);
            crate::device::refuse_faulty(&frames.recording, batch, channel, rows.start, &states)?;
        }
        Ok(())
    }

    /// The row of the first frame that was pushed and has not come back.
    fn first_pending(&self) -> usize {
        if self.pushed > 0 { CONTEXT_LEN - 1 } else { CONTEXT_LEN }
    }

    fn since_start(&self, frames: &Frames, error: Error) -> Error {
        match error {
            Error::FaultyFrame { channel, frame, sample } => {
                let frame_len = frames.gated_frame_len();
                Error::FaultyFrame { channel, frame: frame + self.pushed, sample: sample + self.pushed * frame_len }
            }
            other => other,
        }
    }

    /// The last two rows of the batch become the context of the next one.
    fn next_history(&self, frames: &Frames, batch: &Batch<'_>) -> History {
        let mut next = self.history.clone();
        let kept = batch.rows() - CONTEXT_LEN..batch.rows();
        let mut states = Vec::new();
        for channel in 0..self.channels {
            states.clear();
            next.since_loud[channel] =
                crate::device::decide_rows(&frames.recording, self.level, batch, channel, kept.clone(), &mut states);
            for (index, row) in kept.clone().enumerate() {
                next.states[channel][index] = batch.has_frame(channel, row).then(|| states[index]);
                for input in 0..next.frames.len() {
                    let len = batch.shape(input).floats();
                    let place = (channel * CONTEXT_LEN + index) * len;
                    if let Some(frame) = batch.frame(input, channel, row) {
                        next.frames[input][place..place + len].copy_from_slice(frame);
                    }
                }
            }
        }
        next
    }
}
