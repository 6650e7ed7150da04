//! What a graph with a denoiser needs besides its first recording: the denoiser's channels, the second recording, and what
//! waits for frames of the same time.

use std::time::{Duration, Instant};

use super::Compiled;
use super::frames::{FramesChannel, FramesSession};
use super::queue::Queue;
use crate::error::Result;
use crate::frame::{FrameShape, FrameState};
use crate::graph::DenoiseStep;
use crate::recording::Recording;
use crate::recording::batch::InputSamples;
use crate::recording::results::{Layout, RunOutput, add_time};
use crate::stage::denoise::network::{Network, NetworkState};
use crate::stage::denoise::stream::{DenoiseChannel, DenoiseStream};

/// Channels on their way from the first recording to the outputs.
#[derive(Debug)]
pub(super) struct Denoising {
    step: DenoiseStep,
    stream: DenoiseStream,
    then: Option<FramesSession>,
    /// Frames of each channel so far, and of those that were given back.
    pushed: Vec<u64>,
    given: Vec<u64>,
    /// What the first recording gave, what the denoiser gave, what the second recording gave.
    first_output: RunOutput,
    denoised: Vec<f32>,
    then_output: RunOutput,
    /// Results that wait for those of the same time.
    states: Queue<FrameState>,
    waiting: Vec<Waiting>,
    has_taken: bool,
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

/// All that is known of a channel behind the first recording.
#[derive(Debug)]
pub(super) struct DenoisingChannel {
    stream: DenoiseChannel,
    then: Option<FramesChannel>,
    pushed: u64,
    given: u64,
    states: Vec<FrameState>,
    waiting: Vec<Vec<f32>>,
}

impl Denoising {
    pub(super) fn new(plan: &Compiled, step: &DenoiseStep, channels: usize) -> Result<Self> {
        // Without channels there is nothing to do, but a network needs one.
        let options = step.denoise.network_options();
        let network = plan.device().open_network(&step.denoise.model, channels.max(1), &options)?;
        let stream = DenoiseStream::new(&step.denoise, network, channels, step.shape.len(), plan.quiet())?;
        let waits = |name: &str, shape: FrameShape, from: From| Waiting {
            name: name.to_owned(),
            shape,
            from,
            queue: Queue::new(shape.floats()),
        };
        let of = |recording: &Recording, from: From| -> Vec<Waiting> {
            let visible = recording.outputs.iter().filter(|port| port.name != step.source);
            visible.map(|port| waits(&port.name, recording.buffers[port.buffer].shape, from)).collect()
        };
        let mut waiting = of(plan.first.recording(), From::First);
        waiting.extend(step.outputs.iter().map(|name| waits(name, step.shape, From::Denoiser)));
        waiting.extend(plan.then.iter().flat_map(|then| of(then.recording(), From::Then)));
        let mut denoising = Self {
            step: step.clone(),
            stream,
            then: plan.then.as_ref().map(|then| then.session(channels)),
            pushed: Vec::new(),
            given: Vec::new(),
            first_output: RunOutput::new(Layout::Dense),
            denoised: Vec::new(),
            then_output: RunOutput::new(Layout::Dense),
            states: Queue::new(1),
            waiting,
            has_taken: false,
            times: Vec::new(),
        };
        denoising.make_room(channels);
        Ok(denoising)
    }

    /// Makes it so many channels, with a network that was opened for them; new ones begin.
    pub(super) fn grow(&mut self, network: Box<dyn Network>, channels: usize) -> Result<()> {
        self.stream.grow(network, channels)?;
        self.make_room(channels);
        Ok(())
    }

    fn make_room(&mut self, channels: usize) {
        self.pushed.resize(channels, 0);
        self.given.resize(channels, 0);
        self.states.grow(channels);
        self.waiting.iter_mut().for_each(|waiting| waiting.queue.grow(channels));
        self.then.iter_mut().for_each(|then| then.grow(channels));
    }

    /// Some channels begin anew, whatever the device says.
    pub(super) fn clear(&mut self, which: &[u32]) -> Result<()> {
        for channel in which {
            let index = *channel as usize;
            (self.pushed[index], self.given[index]) = (0, 0);
            self.states.take_channel(*channel);
            self.waiting.iter_mut().for_each(|waiting| drop(waiting.queue.take_channel(*channel)));
            self.then.iter_mut().for_each(|then| drop(then.take_channel(*channel)));
        }
        self.stream.clear(which)
    }

    /// Takes a channel's state out; it begins anew.
    pub(super) fn take_channel(&mut self, channel: u32) -> Result<DenoisingChannel> {
        let index = channel as usize;
        Ok(DenoisingChannel {
            stream: self.stream.take_channel(channel)?,
            then: self.then.as_mut().map(|then| then.take_channel(channel)),
            pushed: std::mem::take(&mut self.pushed[index]),
            given: std::mem::take(&mut self.given[index]),
            states: self.states.take_channel(channel),
            waiting: self.waiting.iter_mut().map(|waiting| waiting.queue.take_channel(channel)).collect(),
        })
    }

    pub(super) fn put_channel(&mut self, channel: u32, state: DenoisingChannel) -> Result<()> {
        let index = channel as usize;
        self.stream.put_channel(channel, state.stream)?;
        if let (Some(then), Some(state)) = (&mut self.then, state.then) {
            then.put_channel(channel, state);
        }
        (self.pushed[index], self.given[index]) = (state.pushed, state.given);
        self.states.put_channel(channel, state.states);
        for (waiting, values) in self.waiting.iter_mut().zip(state.waiting) {
            waiting.queue.put_channel(channel, values);
        }
        Ok(())
    }

    /// Takes the next frames of some channels through everything; what comes out waits. Those channels are all new, or
    /// all not.
    pub(super) fn advance(
        &mut self,
        plan: &Compiled,
        first: &mut FramesSession,
        which: &[u32],
        inputs: &[InputSamples<'_>],
    ) -> Result<()> {
        self.wake(plan)?;
        first.push(&plan.first, which, inputs, &mut self.first_output)?;
        self.has_taken = true;
        let frame_floats = plan.inputs().first().map_or(1, |(_, shape)| shape.floats());
        let frames = inputs.first().map_or(0, |samples| samples.count(frame_floats)) / which.len().max(1);
        which.iter().for_each(|channel| self.pushed[*channel as usize] += frames as u64);
        self.take_first(plan, which)?;
        self.take_denoised(plan, which)
    }

    /// After this, nothing that went to sleep is missing: what is taken in could not be given back.
    fn wake(&mut self, plan: &Compiled) -> Result<()> {
        self.has_taken = false;
        plan.wake()?;
        self.stream.wake()
    }

    /// Whether the last call had taken its input when it ended.
    pub(super) fn has_taken(&self) -> bool {
        self.has_taken
    }

    /// Brings out all that is there of some channels, as [`advance`](Self::advance).
    pub(super) fn finish(&mut self, plan: &Compiled, first: &mut FramesSession, which: &[u32]) -> Result<()> {
        self.wake(plan)?;
        self.has_taken = true;
        first.finish(&plan.first, which, &mut self.first_output)?;
        self.take_first(plan, which)?;
        let start = Instant::now();
        self.stream.finish(which)?;
        let took = start.elapsed();
        plan.profile().denoised(&self.step.node, 0, took);
        self.times.push((self.step.node.clone(), took));
        self.take_denoised(plan, which)?;
        if let (Some(session), Some(then)) = (&mut self.then, &plan.then) {
            for group in groups(which, |channel| usize::from(session.is_new(channel))) {
                session.finish(then, &group, &mut self.then_output)?;
                take_then(&mut self.times, &mut self.waiting, &group, &self.then_output);
            }
        }
        Ok(())
    }

    /// Frames of a channel that are to be given back: all that are not as late as a frame can be.
    pub(super) fn ready(&self, channel: u32, late: usize) -> usize {
        let index = channel as usize;
        let ready = self.pushed[index].saturating_sub(late as u64).saturating_sub(self.given[index]);
        usize::try_from(ready).unwrap_or(usize::MAX)
    }

    /// Takes the next frames of one output of a channel, and what the gate decided about them.
    pub(super) fn take_output(
        &mut self,
        channel: u32,
        frames: usize,
        output: &str,
        states: &mut Vec<FrameState>,
        samples: &mut Vec<f32>,
    ) {
        self.given[channel as usize] += frames as u64;
        self.states.take(&[channel], frames, states);
        let mut rest = Vec::new();
        for waiting in &mut self.waiting {
            rest.clear();
            let to = if waiting.name == output { &mut *samples } else { &mut rest };
            waiting.queue.take(&[channel], frames, to);
        }
        // Nobody asks how long hops of streams took.
        self.times.clear();
        self.stream.take_hop_times();
    }

    /// Gives back the same number of frames of each channel.
    pub(super) fn give(&mut self, which: &[u32], frames: usize, output: &mut RunOutput) {
        which.iter().for_each(|channel| self.given[*channel as usize] += frames as u64);
        let mut states = Vec::new();
        self.states.take(which, frames, &mut states);
        let outputs = self.waiting.iter_mut().map(|waiting| {
            let mut samples = Vec::new();
            waiting.queue.take(which, frames, &mut samples);
            (waiting.name.clone(), waiting.shape, samples)
        });
        output.assemble(which.len(), &states, outputs);
        output.add_stage_times(&by_name(&mut self.times));
        output.set_hop_times(self.stream.take_hop_times());
    }

    /// What the network knows of some channels.
    pub(super) fn save_network(&mut self, which: &[u32]) -> Result<Vec<NetworkState>> {
        self.stream.save_network(which)
    }

    /// A new channel's network remembers what another one knew; but nothing of that one's sound.
    pub(super) fn restore_network(&mut self, channel: u32, state: &NetworkState) -> Result<()> {
        self.stream.restore_network(channel, state)
    }

    pub(super) fn step(&self) -> &DenoiseStep {
        &self.step
    }

    pub(super) fn set_scale(&mut self, channel: usize, layer: usize, scale: &[f32]) -> Result<()> {
        self.stream.set_scale(channel, layer, scale)
    }

    /// What the first recording gave goes to the denoiser, and to the outputs.
    fn take_first(&mut self, plan: &Compiled, which: &[u32]) -> Result<()> {
        self.times.extend_from_slice(self.first_output.stage_times());
        self.states.push(which, self.first_output.states());
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.from == From::First) {
            waiting.queue.push(which, self.first_output.dense(&waiting.name).unwrap_or(&[]));
        }
        let start = Instant::now();
        let frames = self.first_output.dense(&self.step.source).unwrap_or(&[]);
        self.stream.push(which, frames, self.first_output.states())?;
        let (took, frames) = (start.elapsed(), self.first_output.states().len());
        plan.profile().denoised(&self.step.node, frames as u64, took);
        self.times.push((self.step.node.clone(), took));
        Ok(())
    }

    /// What the denoiser finished goes to the second recording, and to the outputs.
    fn take_denoised(&mut self, plan: &Compiled, which: &[u32]) -> Result<()> {
        let is_new = |channel| self.then.as_ref().is_some_and(|then| then.is_new(channel));
        for group in groups(which, |channel| 2 * self.stream.finished_frames(channel) + usize::from(is_new(channel))) {
            let frames = self.stream.finished_frames(group[0]);
            self.denoised.clear();
            self.stream.take(&group, frames, &mut self.denoised);
            for waiting in self.waiting.iter_mut().filter(|waiting| waiting.from == From::Denoiser) {
                waiting.queue.push(&group, &self.denoised);
            }
            if let (Some(session), Some(then)) = (&mut self.then, &plan.then) {
                let denoised = [InputSamples::Together(&self.denoised)];
                session.push(then, &group, &denoised, &mut self.then_output)?;
                take_then(&mut self.times, &mut self.waiting, &group, &self.then_output);
            }
        }
        Ok(())
    }
}

fn take_then(times: &mut Vec<(String, Duration)>, waiting: &mut [Waiting], which: &[u32], output: &RunOutput) {
    times.extend_from_slice(output.stage_times());
    for waiting in waiting.iter_mut().filter(|waiting| waiting.from == From::Then) {
        waiting.queue.push(which, output.dense(&waiting.name).unwrap_or(&[]));
    }
}

/// Channels, ascending, put together by what they have in common.
pub(super) fn groups(which: &[u32], key: impl Fn(u32) -> usize) -> Vec<Vec<u32>> {
    let mut groups: Vec<(usize, Vec<u32>)> = Vec::new();
    for channel in which {
        let key = key(*channel);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(*channel),
            None => groups.push((key, vec![*channel])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The times of each stage, summed up, in the order in which they came first.
fn by_name(times: &mut Vec<(String, Duration)>) -> Vec<(String, Duration)> {
    let mut sums: Vec<(String, Duration)> = Vec::new();
    times.drain(..).for_each(|(name, time)| add_time(&mut sums, &name, time));
    sums
}
