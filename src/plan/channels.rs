//! Channels that come and go: each has a state of its own, and any of them go on together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Compiled;
use super::denoising::{Denoising, DenoisingChannel};
use super::frames::{FramesChannel, FramesSession};
use crate::device::Hold;
use crate::error::Result;
use crate::frame::{FrameState, Quiet};
use crate::recording::batch::InputSamples;
use crate::recording::results::{Layout, RunOutput};
use crate::simd::{SimdLevel, max_abs_bits};
use crate::stage::denoise::network::{Network, NetworkState};

/// Channels of a plan with one input, of whose outputs one is wanted.
#[derive(Debug)]
pub(crate) struct Channels {
    plan: Arc<Compiled>,
    output: String,
    first: FramesSession,
    denoising: Option<Denoising>,
    /// Channels that there is room for, and those of them that are not open.
    room: u32,
    free: Vec<u32>,
    results: Results,
    level: SimdLevel,
    /// What the network knew of open channels at some time, for when its device fails; and when that was.
    safe: Vec<(u32, NetworkState)>,
    safe_at: Instant,
    /// Live signals do not wait for buffers that others took.
    holds: Vec<Hold>,
}

/// All that is known of a channel, on its way from one place to another.
#[derive(Debug)]
pub(crate) struct ChannelState {
    first: FramesChannel,
    denoising: Option<DenoisingChannel>,
}

/// What the last call gave for each of its channels.
#[derive(Debug)]
enum Results {
    /// The same number of frames for each.
    Run(RunOutput),
    Each(Vec<ChannelResult>),
}

#[derive(Debug, Default)]
struct ChannelResult {
    states: Vec<FrameState>,
    samples: Vec<f32>,
}

/// How often the state of networks is read back, and of how many channels at most: reading takes time of the device.
const KEEP_SAFE_EVERY: Duration = Duration::from_secs(1);
const MOST_KEPT_SAFE: usize = 1024;
/// Channels that there is room for at first.
const FIRST_ROOM: u32 = 4;

impl Channels {
    pub(crate) fn new(plan: &Arc<Compiled>, output: &str) -> Result<Self> {
        let room = FIRST_ROOM as usize;
        let denoising = plan.denoise().map(|step| Denoising::new(plan, step, room)).transpose()?;
        let results = match denoising {
            None => Results::Run(RunOutput::new(Layout::Dense)),
            Some(_) => Results::Each(Vec::new()),
        };
        Ok(Self {
            holds: plan.hold(),
            plan: Arc::clone(plan),
            output: output.to_owned(),
            first: plan.first.session(room),
            denoising,
            room: FIRST_ROOM,
            free: (0..FIRST_ROOM).rev().collect(),
            results,
            level: SimdLevel::detect(),
            safe: Vec::new(),
            safe_at: Instant::now(),
        })
    }

    /// How many channels there has to be room for, so that so many more can be opened; none where there is.
    pub(crate) fn wanted_room(&self, more: usize) -> Option<u32> {
        let missing = u32::try_from(more.saturating_sub(self.free.len())).unwrap_or(u32::MAX);
        let room = self.room.saturating_add(missing);
        (missing > 0).then(|| room.checked_next_power_of_two().unwrap_or(room))
    }

    /// Makes room. Where there is a denoiser, it takes the network that [`Compiled::open_network`] made for so many
    /// channels of this plan; that takes a while, and is done before.
    pub(crate) fn grow(&mut self, plan: &Arc<Compiled>, room: u32, network: Option<Box<dyn Network>>) -> Result<()> {
        if room <= self.room || !Arc::ptr_eq(plan, &self.plan) {
            return Ok(());
        }
        if let (Some(denoising), Some(network)) = (&mut self.denoising, network) {
            denoising.grow(network, room as usize)?;
        }
        self.first.grow(room as usize);
        self.free.extend((self.room..room).rev());
        self.free.sort_unstable_by(|a, b| b.cmp(a));
        self.room = room;
        Ok(())
    }

    /// Opens a channel, with silence before it; none where there is no [room](Self::wanted_room).
    pub(crate) fn open(&mut self) -> Option<u32> {
        self.free.pop()
    }

    /// Goes on with an open channel where another one left off.
    pub(crate) fn put(&mut self, channel: u32, state: ChannelState) -> Result<()> {
        let ChannelState { first, denoising } = state;
        self.first.put_channel(channel, first);
        match (&mut self.denoising, denoising) {
            (Some(denoising), Some(state)) => denoising.put_channel(channel, state),
            _ => Ok(()),
        }
    }

    /// Frames that the plan holds back.
    pub(crate) fn latency_frames(&self) -> usize {
        self.plan.latency_frames()
    }

    /// Takes a channel out; its place is free again, also where the device fails at it.
    pub(crate) fn take(&mut self, channel: u32) -> Result<ChannelState> {
        let first = self.first.take_channel(channel);
        let denoising = self.denoising.as_mut().map(|denoising| denoising.take_channel(channel)).transpose();
        match denoising {
            Ok(denoising) => {
                self.safe.retain(|(safe, _)| *safe != channel);
                self.free.push(channel);
                Ok(ChannelState { first, denoising })
            }
            Err(error) => {
                // Whoever has the place next begins anew; what the device says to that is no news.
                self.close(&[channel]).ok();
                Err(error)
            }
        }
    }

    /// Closes channels.
    pub(crate) fn close(&mut self, which: &[u32]) -> Result<()> {
        self.safe.retain(|(safe, _)| !which.contains(safe));
        which.iter().for_each(|channel| drop(self.first.take_channel(*channel)));
        self.free.extend(which.iter().rev());
        self.denoising.as_mut().map_or(Ok(()), |denoising| denoising.clear(which))
    }

    /// Whether nothing was pushed to a channel so far. New channels go on apart from the others.
    pub(crate) fn is_new(&self, channel: u32) -> bool {
        self.first.is_new(channel)
    }

    /// Whether silent frames of a channel can be passed over: nothing of it is heard any more.
    pub(crate) fn is_silent(&self, channel: u32) -> bool {
        self.denoising.is_none() && self.first.is_silent(&self.plan.first, channel)
    }

    /// The gate's hold, where channels that have been silent for longer, and two frames more, can pass over silence.
    pub(crate) fn hold_of_silence(&self) -> Option<u32> {
        let gate = self.plan.gate().filter(|_| self.denoising.is_none() && self.plan.first.silence_is_nothing())?;
        Some(gate.hold)
    }

    /// Passes over silent frames of a silent channel; as many come out, as silent as these.
    pub(crate) fn pass_silence(&mut self, channel: u32, frames: u64) {
        self.first.pass_silence(channel, frames);
    }

    /// Whether it [goes on elsewhere](Self::recover) as if nothing had been.
    pub(crate) fn loses_nothing_elsewhere(&self) -> bool {
        self.denoising.is_none()
    }

    /// Goes on on another device. True when nothing was lost; else, with a denoiser, all channels begin anew but for what
    /// the network knew when it was [kept safe](Self::keep_safe).
    pub(crate) fn recover(&mut self, plan: &Arc<Compiled>) -> Result<bool> {
        self.plan = Arc::clone(plan);
        self.holds = plan.hold();
        let Some(step) = plan.denoise().filter(|_| self.denoising.is_some()) else { return Ok(true) };
        let mut denoising = Denoising::new(plan, step, self.room as usize)?;
        // It stays safe: this device may fail before any of it is saved anew.
        for (channel, state) in &self.safe {
            denoising.restore_network(*channel, state)?;
        }
        self.first = plan.first.session(self.room as usize);
        self.denoising = Some(denoising);
        Ok(false)
    }

    /// Now and then, reads back what the network knows, where its device may fail.
    pub(crate) fn keep_safe(&mut self) {
        if self.safe_at.elapsed() < KEEP_SAFE_EVERY {
            return;
        }
        self.safe_at = Instant::now();
        let Some(denoising) = self.denoising.as_mut().filter(|_| self.plan.device().has_fallback()) else { return };
        if self.room as usize - self.free.len() > MOST_KEPT_SAFE {
            return;
        }
        let mut is_open = vec![true; self.room as usize];
        self.free.iter().for_each(|channel| is_open[*channel as usize] = false);
        let open: Vec<u32> = (0..self.room).filter(|channel| is_open[*channel as usize]).collect();
        // If the device has failed, the next batch tells.
        if let Ok(states) = denoising.save_network(&open) {
            self.safe = open.into_iter().zip(states).collect();
        }
    }

    /// Takes the next frames of some channels, ascending, which are all new or all not: the same number for each, channel
    /// after channel.
    pub(crate) fn advance(&mut self, which: &[u32], frames: &[&[f32]]) -> Result<()> {
        let inputs = [InputSamples::Apart(frames)];
        match (&mut self.denoising, &mut self.results) {
            (Some(denoising), Results::Each(results)) => {
                denoising.advance(&self.plan, &mut self.first, which, &inputs)?;
                collect(denoising, which, self.plan.latency_frames(), &self.output, results);
                Ok(())
            }
            (_, Results::Run(output)) => self.first.push(&self.plan.first, which, &inputs, output),
            _ => Ok(()),
        }
    }

    /// Brings out all that is there of some channels, as [`advance`](Self::advance). They are to be closed then.
    pub(crate) fn finish(&mut self, which: &[u32]) -> Result<()> {
        match (&mut self.denoising, &mut self.results) {
            (Some(denoising), Results::Each(results)) => {
                denoising.finish(&self.plan, &mut self.first, which)?;
                collect(denoising, which, 0, &self.output, results);
                Ok(())
            }
            (_, Results::Run(output)) => self.first.finish(&self.plan.first, which, output),
            _ => Ok(()),
        }
    }

    /// Frames that the last call gave for the channel that stood at `index` in it.
    pub(crate) fn given(&self, index: usize) -> usize {
        match &self.results {
            Results::Run(output) => output.frames(),
            Results::Each(results) => results[index].states.len(),
        }
    }

    /// One of them; none where it is silent.
    pub(crate) fn frame(&self, index: usize, frame: usize) -> Option<&[f32]> {
        match &self.results {
            Results::Run(output) => {
                let at = index * output.frames() + frame;
                let is_heard = match output.states()[at] {
                    FrameState::Live => true,
                    FrameState::Quiet => self.plan.quiet() == Quiet::Pass,
                    FrameState::Faulty => false,
                };
                let all = output.dense(&self.output).filter(|_| is_heard)?;
                let len = all.len() / output.states().len();
                Some(&all[at * len..(at + 1) * len])
            }
            Results::Each(results) => {
                let ChannelResult { states, samples } = &results[index];
                let len = samples.len() / states.len();
                let samples = &samples[frame * len..(frame + 1) * len];
                (max_abs_bits(self.level, samples) > 0).then_some(samples)
            }
        }
    }

    /// Live frames that the last call gave.
    pub(crate) fn live(&self) -> u64 {
        let live = |states: &[FrameState]| states.iter().filter(|state| **state == FrameState::Live).count() as u64;
        match &self.results {
            Results::Run(output) => live(output.states()),
            Results::Each(results) => results.iter().map(|result| live(&result.states)).sum(),
        }
    }
}

fn collect(denoising: &mut Denoising, which: &[u32], late: usize, output: &str, results: &mut Vec<ChannelResult>) {
    results.resize_with(which.len(), ChannelResult::default);
    for (channel, result) in which.iter().zip(results) {
        result.states.clear();
        result.samples.clear();
        let ready = denoising.ready(*channel, late);
        denoising.take_output(*channel, ready, output, &mut result.states, &mut result.samples);
    }
}
