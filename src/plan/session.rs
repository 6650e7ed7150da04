//! A session: channels that go on from one push to the next, through everything that a graph is made of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Compiled;
use super::frames::FramesSession;
use super::queue::Queue;
use crate::error::{Error, Result};
use crate::frame::{FrameShape, FrameState};
use crate::recording::results::{Layout, RunOutput, add_time};
use crate::recording::{DenoiseStep, Recording};
use crate::stage::denoise::stream::DenoiseStream;

/// Channels that go on from one push to the next: the gate's hold, the filter's neighbours and the denoiser's state carry
/// over, so that the pieces come out as the whole would have.
///
/// A push gives back the frames up to the last but [`Plan::latency_frames`](crate::Plan::latency_frames), and `finish` gives the rest. A push that is
/// refused because of its samples changes nothing: other samples can be pushed in their place. After an error of the
/// device the plan has to be compiled again, and the session opened anew.
#[derive(Debug)]
pub struct Session {
    plan: Arc<Compiled>,
    channels: usize,
    first: FramesSession,
    /// Frames of each channel so far, and of those that were given back.
    pushed: u64,
    given: u64,
    denoising: Option<Denoising>,
}

/// What a graph with a denoiser needs besides.
#[derive(Debug)]
struct Denoising {
    step: DenoiseStep,
    stream: DenoiseStream,
    then: Option<FramesSession>,
    /// What the first recording gave, what the denoiser gave, what the second recording gave.
    first_output: RunOutput,
    denoised: Vec<f32>,
    then_output: RunOutput,
    /// Results that wait for those of the same time.
    states: Queue<FrameState>,
    waiting: Vec<Waiting>,
    times: Vec<(String, Duration)>,
}

#[derive(Debug)]
struct Waiting {
    name: String,
    shape: FrameShape,
    from: From,
    queue: Queue<f32>,
}

/// Where an output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    First,
    Denoiser,
    Then,
}

impl Session {
    pub(crate) fn new(plan: &Arc<Compiled>, channels: usize) -> Result<Self> {
        let first = plan.first.session(channels);
        let denoising = plan.denoise.as_ref().map(|step| Denoising::new(plan, step, channels)).transpose()?;
        Ok(Self { plan: Arc::clone(plan), channels, first, pushed: 0, given: 0, denoising })
    }

    /// Takes the next frames of every channel, the same number for each, and gives back those that are ready.
    ///
    /// # Errors
    /// As [`Plan::run`](crate::Plan::run); frames are then counted from the start of the session.
    pub fn push(&mut self, inputs: &[&[f32]], output: &mut RunOutput) -> Result<()> {
        self.take(inputs, output).inspect_err(|_| output.clear())
    }

    /// Gives back the frames that were held back, and starts over: what is pushed next is a new signal.
    pub fn finish(&mut self, output: &mut RunOutput) -> Result<()> {
        self.end(output).inspect_err(|_| output.clear())?;
        *self = Self::new(&self.plan, self.channels)?;
        Ok(())
    }

    /// Replaces, for one channel, the factors that the outputs of a scaled layer of the denoiser are multiplied by: so one
    /// model serves channels of many kinds. Layers are counted from 0 through all parts of the model.
    ///
    /// They hold until the session is finished; then those of the model do again.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is no denoiser, no such channel, or no such layer, when the layer is not scaled, when
    /// it has another number of outputs, or when a factor is not finite. What the device reports.
    pub fn set_scale(&mut self, channel: usize, layer: usize, scale: &[f32]) -> Result<()> {
        let refused = |expected: String| {
            let actual = format!("{} factors for channel {channel}, layer {layer}", scale.len());
            Err(Error::setting("the scale", actual, expected))
        };
        let Some(denoising) = &mut self.denoising else { return refused("the graph has no denoiser".to_owned()) };
        if channel >= self.channels {
            return refused(format!("the session has {} channels", self.channels));
        }
        let parts = &denoising.step.denoise.model.description().parts;
        let Some(layer_is) = parts.iter().flat_map(|part| &part.layers).nth(layer) else {
            return refused("the model has no such layer".to_owned());
        };
        if !layer_is.scaled {
            return refused(format!("layer `{}` is not scaled", layer_is.name));
        }
        if scale.len() != layer_is.outputs || scale.iter().any(|factor| !factor.is_finite()) {
            return refused(format!("layer `{}` takes {} finite factors", layer_is.name, layer_is.outputs));
        }
        denoising.stream.set_scale(channel, layer, scale)
    }

    /// Everything at once.
    pub(super) fn run_whole(&mut self, inputs: &[&[f32]], output: &mut RunOutput) -> Result<()> {
        self.advance(inputs)?;
        self.end(output)
    }

    fn take(&mut self, inputs: &[&[f32]], output: &mut RunOutput) -> Result<()> {
        if self.denoising.is_none() {
            return self.first.push(&self.plan.first, inputs, output);
        }
        self.advance(inputs)?;
        let late = self.plan.latency_frames as u64;
        let ready = self.pushed.saturating_sub(late).saturating_sub(self.given);
        self.give(ready, output);
        Ok(())
    }

    /// Through everything that is there; what comes out waits.
    fn advance(&mut self, inputs: &[&[f32]]) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let Some(denoising) = &mut self.denoising else { return Ok(()) };
        self.first.push(&plan.first, inputs, &mut denoising.first_output)?;
        let frames: usize = inputs.first().map_or(0, |samples| samples.len());
        let frame_floats = plan.first.inputs().first().map_or(1, |(_, shape)| shape.floats());
        self.pushed += (frames / (self.channels * frame_floats).max(1)) as u64;
        denoising.take_first()?;
        denoising.take_denoised(&plan)
    }

    /// Gives back the frames that were held back. It has to be the last thing that is asked of the session.
    pub(crate) fn end(&mut self, output: &mut RunOutput) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let Some(denoising) = &mut self.denoising else { return self.first.finish(&plan.first, output) };
        self.first.finish(&plan.first, &mut denoising.first_output)?;
        denoising.take_first()?;
        denoising.finish(&plan)?;
        self.give(self.pushed - self.given, output);
        Ok(())
    }

    fn give(&mut self, frames: u64, output: &mut RunOutput) {
        let Some(denoising) = &mut self.denoising else { return };
        self.given += frames;
        let frames = usize::try_from(frames).unwrap_or(usize::MAX);
        let states = denoising.states.take(frames);
        let outputs = denoising
            .waiting
            .iter_mut()
            .map(|waiting| (waiting.name.clone(), waiting.shape, waiting.queue.take(frames)));
        output.assemble(self.channels, &states, outputs);
        output.set_stage_times(by_name(&mut denoising.times));
        output.set_hop_times(denoising.stream.take_hop_times());
    }
}

impl Denoising {
    fn new(plan: &Compiled, step: &DenoiseStep, channels: usize) -> Result<Self> {
        // Without channels there is nothing to do, but a network needs one.
        let options = step.denoise.network_options();
        let network = plan.device.open_network(&step.denoise.model, channels.max(1), &options)?;
        let stream = DenoiseStream::new(&step.denoise, network, channels, step.shape.len(), plan.quiet())?;
        let waits = |name: &str, shape: FrameShape, from: From| Waiting {
            name: name.to_owned(),
            shape,
            from,
            queue: Queue::new(shape.floats(), channels),
        };
        let of = |recording: &Recording, from: From| -> Vec<Waiting> {
            let visible = recording.outputs.iter().filter(|port| port.name != step.source);
            visible.map(|port| waits(&port.name, recording.buffers[port.buffer].shape, from)).collect()
        };
        let mut waiting = of(plan.first.recording(), From::First);
        waiting.extend(step.outputs.iter().map(|name| waits(name, step.shape, From::Denoiser)));
        waiting.extend(plan.then.iter().flat_map(|then| of(then.recording(), From::Then)));
        Ok(Self {
            step: step.clone(),
            stream,
            then: plan.then.as_ref().map(|then| then.session(channels)),
            first_output: RunOutput::new(Layout::Dense),
            denoised: Vec::new(),
            then_output: RunOutput::new(Layout::Dense),
            states: Queue::new(1, channels),
            waiting,
            times: Vec::new(),
        })
    }

    /// What the first recording gave goes to the denoiser, and to the outputs.
    fn take_first(&mut self) -> Result<()> {
        self.times.extend_from_slice(self.first_output.stage_times());
        self.states.push(self.first_output.states());
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.from == From::First) {
            waiting.queue.push(self.first_output.dense(&waiting.name).unwrap_or(&[]));
        }
        let start = Instant::now();
        let frames = self.first_output.dense(&self.step.source).unwrap_or(&[]);
        self.stream.push(frames, self.first_output.states())?;
        self.times.push((self.step.node.clone(), start.elapsed()));
        Ok(())
    }

    /// What the denoiser finished goes to the second recording, and to the outputs.
    fn take_denoised(&mut self, plan: &Compiled) -> Result<()> {
        let frames = self.stream.finished_frames();
        self.denoised.clear();
        self.stream.take(frames, &mut self.denoised);
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.from == From::Denoiser) {
            waiting.queue.push(&self.denoised);
        }
        if let (Some(session), Some(then)) = (&mut self.then, &plan.then) {
            session.push(then, &[&self.denoised], &mut self.then_output)?;
            self.take_then();
        }
        Ok(())
    }

    fn take_then(&mut self) {
        self.times.extend_from_slice(self.then_output.stage_times());
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.from == From::Then) {
            waiting.queue.push(self.then_output.dense(&waiting.name).unwrap_or(&[]));
        }
    }

    fn finish(&mut self, plan: &Compiled) -> Result<()> {
        let start = Instant::now();
        self.stream.finish()?;
        self.times.push((self.step.node.clone(), start.elapsed()));
        self.take_denoised(plan)?;
        if let (Some(session), Some(then)) = (&mut self.then, &plan.then) {
            session.finish(then, &mut self.then_output)?;
            self.take_then();
        }
        Ok(())
    }
}

/// The times of each stage, summed up, in the order in which they came first.
fn by_name(times: &mut Vec<(String, Duration)>) -> Vec<(String, Duration)> {
    let mut sums: Vec<(String, Duration)> = Vec::new();
    times.drain(..).for_each(|(name, time)| add_time(&mut sums, &name, time));
    sums
}
