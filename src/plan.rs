//! What embedders run: a plan for signals that are there as a whole, a session for signals that keep coming.

use std::sync::{Arc, Mutex, PoisonError};

use crate::device::{CompileReport, Device, DeviceInfo, PlanOptions, PreparedPlan};
use crate::error::{Error, Result};
use crate::frame::FrameShape;
use crate::graph::Graph;
use crate::recording::Recording;
use crate::recording::batch::{Batch, CONTEXT_LEN, History};
use crate::recording::results::{Layout, RunOutput};
use crate::simd::SimdLevel;

/// A compiled graph, ready to run on its device. Clones share everything; runs on one plan take turns, so a custom
/// kernel's twin must not run the plan that it is part of.
#[derive(Clone, Debug)]
pub struct Plan {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    recording: Arc<Recording>,
    device: DeviceInfo,
    report: CompileReport,
    prepared: Mutex<Box<dyn PreparedPlan>>,
}

impl Plan {
    pub(crate) fn new(device: &dyn Device, graph: &Graph, options: &PlanOptions) -> Result<Self> {
        let recording = Arc::new(graph.record()?);
        let prepared = device.prepare(Arc::clone(&recording), options)?;
        let (device, report) = (device.info().clone(), prepared.report().clone());
        Ok(Self { inner: Arc::new(Inner { recording, device, report, prepared: Mutex::new(prepared) }) })
    }

    /// The device that it runs on.
    pub fn device(&self) -> &DeviceInfo {
        &self.inner.device
    }

    /// What compiling it did.
    pub fn report(&self) -> &CompileReport {
        &self.inner.report
    }

    /// The graph's inputs, in the order in which `run` and `push` take them.
    pub fn inputs(&self) -> &[(String, FrameShape)] {
        &self.inner.recording.inputs
    }

    /// Frames by which a session's output is late: 1 when a node looks at the neighbours of a frame, else 0.
    pub fn latency_frames(&self) -> usize {
        usize::from(self.inner.recording.looks_at_neighbours)
    }

    /// Runs whole signals: for each input the frames of every channel, channel after channel. Before the first frame
    /// and after the last one of a channel there is silence.
    ///
    /// # Errors
    /// [`Error::BatchShape`] when the samples are not whole frames, [`Error::FaultyFrame`] when the gate rejects one,
    /// and what the device reports.
    pub fn run(&self, inputs: &[&[f32]], channels: usize) -> Result<RunOutput> {
        let mut output = RunOutput::new(Layout::Dense);
        self.run_into(inputs, channels, &mut output)?;
        Ok(output)
    }

    /// The same, into a result whose memory is used again.
    pub fn run_into(&self, inputs: &[&[f32]], channels: usize, output: &mut RunOutput) -> Result<()> {
        self.run_batch(&Batch::new(self.inputs(), inputs, channels, None)?, output)
    }

    /// Opens a session for signals that come in pieces, with the state of `channels` channels: two frames of each.
    pub fn session(&self, channels: usize) -> Session {
        let history = History::new(&self.shapes(), channels);
        Session { plan: self.clone(), channels, history, pushed: 0, level: SimdLevel::detect() }
    }

    fn shapes(&self) -> Vec<FrameShape> {
        self.inputs().iter().map(|(_, shape)| *shape).collect()
    }

    fn run_batch(&self, batch: &Batch<'_>, output: &mut RunOutput) -> Result<()> {
        let mut prepared = self.inner.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.run(batch, output).inspect_err(|_| output.clear())
    }
}

/// Channels that go on from one push to the next: the gate's hold and the filter's neighbours carry over, so that
/// the pieces come out as the whole would have.
///
/// With [`Plan::latency_frames`] of 1, a push gives back the frames up to the last but one, and `finish` gives the
/// last. A push that is refused because of its samples changes nothing: other samples can be pushed in their place.
/// After an error of the device the plan has to be compiled again, and the session opened anew.
#[derive(Clone, Debug)]
pub struct Session {
    plan: Plan,
    channels: usize,
    history: History,
    /// Frames of each channel so far.
    pushed: u64,
    level: SimdLevel,
}

impl Session {
    /// Takes the next frames of every channel, the same number for each, and gives back those that are ready.
    ///
    /// # Errors
    /// As [`Plan::run`]; frames are then counted from the start of the session.
    pub fn push(&mut self, inputs: &[&[f32]], output: &mut RunOutput) -> Result<()> {
        let mut batch = Batch::new(self.plan.inputs(), inputs, self.channels, Some(&self.history))?;
        if self.plan.latency_frames() > 0 {
            let held_back = batch.rows() - 1;
            batch.emit = self.first_pending().min(held_back)..held_back;
        }
        self.plan.run_batch(&batch, output).map_err(|error| self.since_start(error))?;
        let history = self.next_history(&batch);
        self.pushed += batch.frames as u64;
        self.history = history;
        Ok(())
    }

    /// Gives back the frames that were held back, and starts over: what is pushed next is a new signal.
    pub fn finish(&mut self, output: &mut RunOutput) -> Result<()> {
        let nothing: Vec<&[f32]> = self.plan.inputs().iter().map(|_| &[][..]).collect();
        let mut batch = Batch::new(self.plan.inputs(), &nothing, self.channels, Some(&self.history))?;
        if self.plan.latency_frames() > 0 {
            batch.emit = self.first_pending()..CONTEXT_LEN;
        }
        self.plan.run_batch(&batch, output)?;
        *self = self.plan.session(self.channels);
        Ok(())
    }

    /// The row of the first frame that was pushed and has not come back.
    fn first_pending(&self) -> usize {
        if self.pushed > 0 { CONTEXT_LEN - 1 } else { CONTEXT_LEN }
    }

    fn since_start(&self, error: Error) -> Error {
        match error {
            Error::FaultyFrame { channel, frame, sample } => {
                let frame_len = self.plan.gated_frame_len();
                Error::FaultyFrame { channel, frame: frame + self.pushed, sample: sample + self.pushed * frame_len }
            }
            other => other,
        }
    }

    /// The last two rows of the batch become the context of the next one.
    fn next_history(&self, batch: &Batch<'_>) -> History {
        let mut next = self.history.clone();
        let kept = batch.rows() - CONTEXT_LEN..batch.rows();
        let mut states = Vec::new();
        for channel in 0..self.channels {
            states.clear();
            let recording = &self.plan.inner.recording;
            next.since_loud[channel] =
                crate::device::decide_rows(recording, self.level, batch, channel, kept.clone(), &mut states);
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

impl Plan {
    fn gated_frame_len(&self) -> u64 {
        let input = self.inner.recording.gate.as_ref().map_or(0, |step| step.input);
        self.inputs().get(input).map_or(0, |(_, shape)| shape.len() as u64)
    }
}
