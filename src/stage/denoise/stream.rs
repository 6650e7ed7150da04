//! Channels on their way through a denoiser: from frames to hops at the network's rate, and back.
//!
//! ```text
//! frames -> resample -> hops (idle ones left out) -> network, all channels at once -> resample -> mix -> frames
//! ```
//!
//! A hop is live when a live frame overlaps it. The network runs for every window that holds a live hop; after the last
//! of them come as many empty hops as it takes to bring out what still overlaps, and then nothing, until the channel is
//! live again. What the hops of a quiet channel would have cost is thus saved, and what is kept of it does not depend on
//! how long it was quiet, except that after `reset_after` the network forgets.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::level::LevelFollower;
use super::network::{Advance, HopStep, Network, NetworkState};
use super::{Denoise, Level};
use crate::error::Result;
use crate::frame::{FrameState, Quiet};
use crate::resample::{Resampler, latency_between};
use crate::simd::{SimdLevel, max_abs_bits};

/// What all channels of a stream have in common.
#[derive(Clone, Debug)]
struct Terms {
    frame_len: usize,
    hop: usize,
    window_len: usize,
    /// Samples of the signal for each of the network's.
    ratio: f64,
    strength: f32,
    quiet: Quiet,
    /// Quiet hops after which the network forgets.
    reset_after: u64,
    simd: SimdLevel,
    /// Samples per second: of the signal, and of the network.
    rates_hz: (u32, u32),
    /// What each channel's level is followed with.
    level: Option<LevelFollower>,
}

/// Channels on their way through a denoiser, each for itself.
#[derive(Debug)]
pub(crate) struct DenoiseStream {
    terms: Terms,
    network: Box<dyn Network>,
    channels: Vec<Channel>,
    /// For each call since they were taken: its time, by hop.
    hop_times: Vec<Duration>,
}

impl DenoiseStream {
    /// Starts with silence. `quiet` says what becomes of frames that the gate found quiet.
    pub(crate) fn new(
        denoise: &Denoise,
        network: Box<dyn Network>,
        channels: usize,
        frame_len: usize,
        quiet: Quiet,
    ) -> Result<Self> {
        let description = denoise.model.description();
        let model_rate_hz = description.sample_rate_hz;
        let rate_hz = denoise.sample_rate_hz.unwrap_or(model_rate_hz);
        let hop_s = description.hop as f64 / f64::from(model_rate_hz);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
        let reset_after = (denoise.reset_after.as_secs_f64() / hop_s) as u64;
        #[expect(clippy::cast_possible_truncation, reason = "a hop lasts some milliseconds")]
        let level = match (denoise.level, description.level_dbfs) {
            (Level::Auto, Some(target_dbfs)) => Some(LevelFollower::new(target_dbfs, hop_s as f32)),
            _ => None,
        };
        let terms = Terms {
            frame_len,
            hop: description.hop,
            window_len: description.window_len,
            ratio: f64::from(rate_hz) / f64::from(model_rate_hz),
            strength: denoise.strength,
            quiet,
            reset_after,
            simd: SimdLevel::detect(),
            rates_hz: (rate_hz, model_rate_hz),
            level,
        };
        let channels = (0..channels).map(|_| terms.channel()).collect::<Result<_>>()?;
        Ok(Self { terms, network, channels, hop_times: Vec::new() })
    }

    /// Goes on with a network of more channels; what the old one kept moves there.
    pub(crate) fn grow(&mut self, mut network: Box<dyn Network>, channels: usize) -> Result<()> {
        let all: Vec<u32> = (0..).take(self.channels.len()).collect();
        let states = self.network.save(&all)?;
        for (channel, state) in all.iter().zip(&states) {
            network.restore(*channel, state)?;
        }
        while self.channels.len() < channels {
            self.channels.push(self.terms.channel()?);
        }
        self.network = network;
        Ok(())
    }

    /// Some channels begin anew.
    pub(crate) fn clear(&mut self, which: &[u32]) -> Result<()> {
        for channel in which {
            self.channels[*channel as usize] = self.terms.channel()?;
        }
        self.network.clear(which)
    }

    /// Takes a channel's state out, for a stream of the same terms on any device; it begins anew.
    pub(crate) fn take_channel(&mut self, channel: u32) -> Result<DenoiseChannel> {
        let mut states = self.network.save(&[channel])?;
        let network = states.pop().unwrap_or_default();
        self.network.clear(&[channel])?;
        let state = std::mem::replace(&mut self.channels[channel as usize], self.terms.channel()?);
        Ok(DenoiseChannel { state, network })
    }

    pub(crate) fn put_channel(&mut self, channel: u32, state: DenoiseChannel) -> Result<()> {
        self.network.restore(channel, &state.network)?;
        self.channels[channel as usize] = state.state;
        Ok(())
    }

    /// Frames by which what comes out is late, at most.
    pub(crate) fn latency_frames(denoise: &Denoise, frame_len: usize) -> Result<usize> {
        let description = denoise.model.description();
        let model_rate_hz = description.sample_rate_hz;
        let rate_hz = denoise.sample_rate_hz.unwrap_or(model_rate_hz);
        let mut samples = (description.window_len - 1) as f64 * f64::from(rate_hz) / f64::from(model_rate_hz);
        if rate_hz != model_rate_hz {
            for (from_hz, to_hz) in [(rate_hz, model_rate_hz), (model_rate_hz, rate_hz)] {
                samples += latency_between(from_hz, to_hz)?.as_secs_f64() * f64::from(rate_hz);
            }
            samples += 1.0;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousand samples")]
        Ok((samples / frame_len as f64).ceil() as usize)
    }

    /// Brings the network back to the device, if it is not there.
    pub(crate) fn wake(&mut self) -> Result<()> {
        self.network.wake()
    }

    /// What the network knows of some channels.
    pub(crate) fn save_network(&mut self, which: &[u32]) -> Result<Vec<NetworkState>> {
        self.network.save(which)
    }

    /// The network of a channel that begins remembers what another one knew, but nothing of that one's sound.
    pub(crate) fn restore_network(&mut self, channel: u32, state: &NetworkState) -> Result<()> {
        let silence = vec![0.0; state.history.len()];
        let state = NetworkState { history: silence.clone(), tails: silence, ..state.clone() };
        self.network.restore(channel, &state)
    }

    /// Takes the next frames of some channels, channel after channel, with what the gate decided about each. What is
    /// finished by them waits in the channels.
    pub(crate) fn push(&mut self, which: &[u32], frames: &[f32], states: &[FrameState]) -> Result<()> {
        let count = states.len() / which.len().max(1);
        if count == 0 {
            return Ok(());
        }
        let rows = frames.chunks(count * self.terms.frame_len).zip(states.chunks(count));
        for (channel, (samples, states)) in which.iter().zip(rows) {
            self.channels[*channel as usize].take_frames(&self.terms, samples, states);
        }
        self.run()
    }

    /// Some channels take silence until all that was pushed is finished.
    pub(crate) fn finish(&mut self, which: &[u32]) -> Result<()> {
        for channel in which {
            self.channels[*channel as usize].take_end(&self.terms);
        }
        self.run()?;
        for channel in which {
            self.channels[*channel as usize].end(&self.terms);
        }
        Ok(())
    }

    /// Whole frames of a channel that are finished.
    pub(crate) fn finished_frames(&self, channel: u32) -> usize {
        self.channels[channel as usize].finished.len() / self.terms.frame_len
    }

    /// Appends the next finished frames of some channels, channel after channel.
    pub(crate) fn take(&mut self, which: &[u32], frames: usize, to: &mut Vec<f32>) {
        for channel in which {
            to.extend(self.channels[*channel as usize].finished.drain(..frames * self.terms.frame_len));
        }
    }

    /// Replaces the factors of a scaled layer's outputs for one channel.
    pub(crate) fn set_scale(&mut self, channel: usize, layer: usize, scale: &[f32]) -> Result<()> {
        self.network.set_scale(u32::try_from(channel).unwrap_or(u32::MAX), layer, scale)
    }

    /// For each call since this was asked last: its time, by hop of all channels in it.
    pub(crate) fn take_hop_times(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.hop_times)
    }

    /// Runs the network on all hops that are there: calls for the channels that have some left, by as many as all of
    /// those have.
    fn run(&mut self) -> Result<()> {
        let hop = self.terms.hop;
        let (mut samples, mut steps, mut output) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let left = |channel: &Channel| channel.steps.len() - channel.steps_done;
            let Some(hops) = self.channels.iter().map(left).filter(|left| *left > 0).min() else { break };
            let busy = self.channels.iter().filter(|channel| left(channel) > 0).count();
            let hops = hops.min((self.network.call_rows() / busy).max(1));
            let in_call = |channel: &Channel| left(channel) > 0;
            let all = (0_u32..).zip(&self.channels);
            let channels: Vec<u32> = all.filter(|(_, channel)| in_call(channel)).map(|(index, _)| index).collect();
            samples.clear();
            steps.clear();
            output.clear();
            for channel in self.channels.iter().filter(|channel| in_call(channel)) {
                let done = channel.steps_done;
                samples.extend_from_slice(&channel.hops[done * hop..(done + hops) * hop]);
                steps.extend_from_slice(&channel.steps[done..done + hops]);
            }
            output.resize(samples.len(), 0.0);
            let call = Advance { channels: &channels, hops, samples: &samples, steps: &steps };
            let start = Instant::now();
            self.network.advance(&call, &mut output)?;
            self.hop_times.push(start.elapsed() / u32::try_from(hops).unwrap_or(u32::MAX));
            let advanced = self.channels.iter_mut().filter(|channel| channel.steps.len() > channel.steps_done);
            for (channel, output) in advanced.zip(output.chunks(hops * hop)) {
                let done = channel.steps_done;
                channel.hops[done * hop..(done + hops) * hop].copy_from_slice(output);
                channel.steps_done += hops;
            }
        }
        for channel in &mut self.channels {
            channel.give_hops(&self.terms);
        }
        Ok(())
    }
}

impl Terms {
    /// A channel that begins.
    fn channel(&self) -> Result<Channel> {
        let (rate_hz, model_rate_hz) = self.rates_hz;
        let resampler = |from_hz, to_hz| (from_hz != to_hz).then(|| Resampler::new(from_hz, to_hz)).transpose();
        Ok(Channel {
            down: resampler(rate_hz, model_rate_hz)?,
            up: resampler(model_rate_hz, rate_hz)?,
            level: self.level.clone(),
            to_drop: self.window_len - self.hop,
            ..Channel::default()
        })
    }
}

/// All that is known of a channel, on its way from one stream to another.
#[derive(Debug)]
pub(crate) struct DenoiseChannel {
    state: Channel,
    network: NetworkState,
}

/// One channel between frames and hops.
#[derive(Debug, Default)]
struct Channel {
    down: Option<Resampler>,
    up: Option<Resampler>,
    level: Option<LevelFollower>,
    /// Samples of the signal so far, and of them those that were finished.
    pushed: u64,
    given: u64,
    /// For each frame from `first_frame` on, whether it is live.
    live: VecDeque<bool>,
    first_frame: u64,
    /// Samples at the network's rate that are no whole hop yet.
    pending: Vec<f32>,
    /// Hops that were cut so far.
    hops_cut: u64,
    /// Hops since the last live one; none before the first.
    since_live: Option<u64>,
    /// For each hop of this push, whether the network takes it.
    taken: Vec<bool>,
    /// Of those: samples in, and then samples out; and what to do.
    hops: Vec<f32>,
    steps: Vec<HopStep>,
    steps_done: usize,
    /// Samples at the start that belong to the time before the signal.
    to_drop: usize,
    /// What is added to the network's output, at the signal's rate.
    dry: VecDeque<f32>,
    finished: Vec<f32>,
    resampled: Vec<f32>,
    /// The frame at hand, as the network hears it.
    heard: Vec<f32>,
}

/// Far above any full scale; what is beyond would overflow inside the network, and stay in its state.
const LARGEST_SAMPLE: f32 = 1e6;

fn bounded(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-LARGEST_SAMPLE, LARGEST_SAMPLE) } else { 0.0 }
}

impl Channel {
    fn take_frames(&mut self, terms: &Terms, samples: &[f32], states: &[FrameState]) {
        self.pushed += samples.len() as u64;
        self.live.extend(states.iter().map(|state| *state == FrameState::Live));
        for (frame, state) in samples.chunks(terms.frame_len).zip(states) {
            let dry = match (state, terms.quiet) {
                (FrameState::Live, _) => 1.0 - terms.strength,
                (FrameState::Quiet, Quiet::Pass) => 1.0,
                _ => 0.0,
            };
            self.dry.extend(frame.iter().map(|sample| if dry > 0.0 { dry * sample } else { 0.0 }));
            self.heard.clear();
            match state {
                FrameState::Live => self.heard.extend(frame.iter().map(|sample| bounded(*sample))),
                _ => self.heard.resize(frame.len(), 0.0),
            }
            match &mut self.down {
                Some(down) => down.push(&self.heard, &mut self.pending),
                None => self.pending.extend_from_slice(&self.heard),
            }
        }
        self.cut_hops(terms);
    }

    /// What the resampler still holds, and silence until the network has nothing more to finish.
    fn take_end(&mut self, terms: &Terms) {
        if let Some(down) = &mut self.down {
            down.finish(&mut self.pending);
        }
        let whole = (self.pending.len() + terms.window_len - terms.hop).next_multiple_of(terms.hop);
        self.pending.resize(whole, 0.0);
        self.cut_hops(terms);
    }

    fn cut_hops(&mut self, terms: &Terms) {
        let mut pending = std::mem::take(&mut self.pending);
        let whole = pending.len() / terms.hop * terms.hop;
        for hop in pending[..whole].chunks(terms.hop) {
            self.cut_hop(terms, hop);
        }
        pending.drain(..whole);
        self.pending = pending;
    }

    fn cut_hop(&mut self, terms: &Terms, hop: &[f32]) {
        let behind = (terms.window_len / terms.hop - 1) as u64;
        let was_quiet_for = self.since_live;
        self.since_live = if self.next_is_live(terms) { Some(0) } else { was_quiet_for.map(|hops| hops + 1) };
        self.hops_cut += 1;
        let run = self.since_live.is_some_and(|hops| hops <= behind);
        // Empty hops that bring out what overlaps the last window.
        let flush = self.since_live.is_some_and(|hops| hops <= 2 * behind);
        self.taken.push(flush);
        if !flush {
            return;
        }
        let forgets = self.since_live == Some(0) && was_quiet_for.is_some_and(|hops| hops > terms.reset_after);
        if forgets && let Some(level) = &mut self.level {
            level.reset();
        }
        let gain = match &mut self.level {
            Some(level) if self.since_live == Some(0) => level.gain(f32::from_bits(max_abs_bits(terms.simd, hop))),
            Some(level) => level.held(),
            None => 1.0,
        };
        let flag = |wanted: bool, flag: u32| if wanted { flag } else { 0 };
        self.steps.push(HopStep { gain, flags: flag(run, HopStep::RUN) | flag(forgets, HopStep::RESET) });
        self.hops.extend_from_slice(hop);
    }

    /// True when a live frame overlaps the next hop.
    fn next_is_live(&mut self, terms: &Terms) -> bool {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are not negative")]
        let frame_at = |sample: u64| (sample as f64 * terms.ratio) as u64 / terms.frame_len as u64;
        let hop = terms.hop as u64;
        let (first, last) = (frame_at(self.hops_cut * hop), frame_at((self.hops_cut + 1) * hop - 1));
        while self.first_frame < first && !self.live.is_empty() {
            self.live.pop_front();
            self.first_frame += 1;
        }
        let count = usize::try_from(last.saturating_sub(self.first_frame)).unwrap_or(usize::MAX).saturating_add(1);
        self.live.iter().take(count).any(|live| *live)
    }

    /// Brings what the network made back to the signal's rate.
    fn give_hops(&mut self, terms: &Terms) {
        let mut made = self.hops.chunks(terms.hop);
        let silence = vec![0.0; terms.hop];
        for taken in self.taken.drain(..) {
            let hop = if taken { made.next().unwrap_or(&silence) } else { &silence };
            let dropped = self.to_drop.min(hop.len());
            self.to_drop -= dropped;
            match &mut self.up {
                Some(up) => up.push(&hop[dropped..], &mut self.resampled),
                None => self.resampled.extend_from_slice(&hop[dropped..]),
            }
        }
        self.hops.clear();
        self.steps.clear();
        self.steps_done = 0;
        self.mix(terms);
    }

    fn mix(&mut self, terms: &Terms) {
        let wanted = usize::try_from(self.pushed - self.given).unwrap_or(usize::MAX).min(self.resampled.len());
        for (sample, dry) in self.resampled.drain(..wanted).zip(self.dry.drain(..wanted)) {
            self.finished.push(terms.strength * sample + dry);
        }
        self.given += wanted as u64;
    }

    fn end(&mut self, terms: &Terms) {
        if let Some(up) = &mut self.up {
            up.finish(&mut self.resampled);
        }
        let missing = usize::try_from(self.pushed - self.given).unwrap_or(0).saturating_sub(self.resampled.len());
        self.resampled.resize(self.resampled.len() + missing, 0.0);
        self.mix(terms);
    }
}
