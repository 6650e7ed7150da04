//! The end of a stream that samples are pushed into, with the gate: what is silent goes no further than this core.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::Poll;
use std::time::Duration;

use super::front::Front;
use super::options::BackPressure;
use super::ring::RingWriter;
use super::{Shared, StreamControl};
use crate::error::{Error, Result};
use crate::frame::{Faulty, FrameState, Quiet};
use crate::recording::GateStep;
use crate::recording::batch::LONG_AGO;
use crate::simd::{SimdLevel, max_abs_bits};
use crate::stage::gate;

/// The end that samples are pushed into. When it is dropped, the input is [finished](Self::finish).
///
/// Its own ring stays until then; of a stream that is over, nothing else does: not its plan, nor its device.
#[derive(Debug)]
pub struct StreamInput {
    shared: Arc<Shared>,
    writer: RingWriter,
    back_pressure: BackPressure,
    gate: Option<GateStep>,
    level: SimdLevel,
    /// That of the group that works on it, as of this version of the stream's home.
    front: (u64, Arc<Front>),
    /// For each channel, how far behind the last loud frame is; and how far it is after the frame at hand.
    since_loud: Vec<u32>,
    next_since_loud: Vec<u32>,
    /// The beginning of a frame of all channels, interleaved, and its largest magnitude as bits.
    partial: Vec<f32>,
    partial_peak: u32,
    /// Floats of the push at hand that complete the frame that was begun before it.
    head: usize,
    /// The largest magnitudes in the push at hand, as bits: of its head, each whole frame, and the rest. Only with one
    /// channel; several are taken apart first.
    peaks: Vec<u32>,
    /// The frame at hand: its channels one after the other, and whether each goes into the ring.
    apart: Vec<f32>,
    sounds: Vec<bool>,
    /// Floats that were taken and not counted yet.
    uncounted: u64,
    /// Frames of channels that went into the ring, of the push at hand.
    sounded: usize,
}

impl StreamInput {
    pub(super) fn new(
        shared: &Arc<Shared>,
        writer: RingWriter,
        back_pressure: BackPressure,
        gate: Option<GateStep>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            writer,
            back_pressure,
            gate,
            level: SimdLevel::detect(),
            front: shared.front(),
            since_loud: vec![LONG_AGO; shared.channels],
            next_since_loud: vec![LONG_AGO; shared.channels],
            partial: Vec::with_capacity(shared.block_floats()),
            partial_peak: 0,
            head: 0,
            peaks: Vec::new(),
            apart: Vec::new(),
            sounds: Vec::new(),
            uncounted: 0,
            sounded: 0,
        }
    }

    /// What can be asked of the stream from anywhere.
    pub fn control(&self) -> StreamControl {
        StreamControl::new(&self.shared)
    }

    /// Floats that complete the frame at hand: pushes of this length hold no sample back.
    pub fn recommended_push_len(&self) -> usize {
        self.shared.block_floats() - self.partial.len()
    }

    /// Takes the next samples, interleaved, in any number; returns how many floats had to be dropped by that, older ones
    /// included. Waits for room only where [`BackPressure::Block`] says so; then somebody else has to pull.
    ///
    /// # Errors
    /// [`Error::FaultyFrame`] when the gate rejects a NaN or an infinity in them: nothing of the push is taken then.
    /// [`Error::StreamFinished`] after [`finish`](Self::finish) or when nobody is there to pull, [`Error::ShutDown`], and
    /// [`Error::Stream`] when the device failed.
    pub fn push(&mut self, samples: &[f32]) -> Result<u64> {
        self.look_at(samples)?;
        let (mut taken, mut dropped) = (0, 0);
        loop {
            dropped += self.take(samples, &mut taken)?;
            if taken == samples.len() {
                return Ok(dropped);
            }
            let (shared, this) = (&self.shared, &*self);
            shared.room.wait(None, || this.has_room() || shared.is_over());
        }
    }

    /// The same, for a task that must not block its thread. A push that is not awaited to its end has taken some of the
    /// samples, and the [counters](StreamControl::counters) tell how many.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub async fn push_async(&mut self, samples: &[f32]) -> Result<u64> {
        self.look_at(samples)?;
        let (mut taken, mut dropped) = (0, 0);
        std::future::poll_fn(|context| {
            loop {
                dropped += self.take(samples, &mut taken)?;
                if taken == samples.len() {
                    return Poll::Ready(Ok(dropped));
                }
                self.shared.room.await_with(context.waker().clone());
                if !self.has_room() && !self.shared.is_over() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Ends the input: what was pushed comes out to its last sample, and then nothing more. Does not wait.
    pub fn finish(&mut self) {
        if self.shared.is_finished.load(Ordering::Relaxed) {
            return;
        }
        if !self.partial.is_empty() {
            self.partial.resize(self.shared.block_floats(), 0.0);
            let block = std::mem::take(&mut self.partial);
            self.decide(&block, self.partial_peak);
            // There is room for this one: pushes leave it.
            self.put(&block);
        }
        // Before the last frame is seen, with the silence that fills it up.
        self.shared.end.store(self.shared.pushed.load(Ordering::Acquire), Ordering::Release);
        self.writer.publish();
        self.shared.is_finished.store(true, Ordering::Release);
        self.shared.poke();
    }

    /// The same, and waits so long until all has come out; false when that took longer. For a stream with a callback: an
    /// output that is pulled says itself when it is at its end.
    ///
    /// # Errors
    /// [`Error::Stream`] when the device failed or the callback panicked, and [`Error::ShutDown`].
    pub fn finish_and_wait(&mut self, timeout: Duration) -> Result<bool> {
        self.finish();
        let is_over = self.shared.room.wait(Some(timeout), || self.shared.is_over());
        self.shared.failure().map_or(Ok(is_over), Err)
    }

    /// Looks at all samples before any is taken.
    fn look_at(&mut self, samples: &[f32]) -> Result<()> {
        self.check_open()?;
        let block = self.shared.block_floats();
        self.head = (block - self.partial.len()).min(samples.len());
        self.peaks.clear();
        let Some(gate) = &self.gate else { return Ok(()) };
        let rejects = gate.faulty == Faulty::Reject;
        let level = self.level;
        let is_faulty = if self.shared.channels > 1 {
            rejects && gate::is_faulty(max_abs_bits(level, samples))
        } else {
            let (head, rest) = samples.split_at(self.head);
            self.peaks.push(max_abs_bits(level, head));
            self.peaks.extend(rest.chunks(block).map(|frame| max_abs_bits(level, frame)));
            rejects && self.peaks.iter().any(|peak| gate::is_faulty(*peak))
        };
        if is_faulty { Err(self.faulty(samples)) } else { Ok(()) }
    }

    fn check_open(&self) -> Result<()> {
        match self.shared.failure() {
            Some(error) => Err(error),
            None if self.shared.is_over() || self.shared.is_finished.load(Ordering::Relaxed) => {
                Err(Error::StreamFinished { stream: self.shared.name.to_string() })
            }
            None => Ok(()),
        }
    }

    /// Where the first sample stands that is none.
    fn faulty(&self, samples: &[f32]) -> Error {
        let shared = &self.shared;
        let per_sample = shared.shape.domain().floats_per_sample() as u64;
        let channels = shared.channels as u64;
        let at = samples.iter().position(|sample| !sample.is_finite()).unwrap_or(0);
        let sample = (shared.pushed.load(Ordering::Relaxed) + at as u64) / per_sample;
        Error::FaultyFrame {
            channel: usize::try_from(sample % channels).unwrap_or(0),
            frame: sample / channels / shared.shape.len() as u64,
            sample: sample / channels,
        }
    }

    /// Takes samples from `taken` on until there is no room; returns how many floats were dropped by that.
    fn take(&mut self, samples: &[f32], taken: &mut usize) -> Result<u64> {
        if self.shared.is_over() {
            self.check_open()?;
        }
        let block = self.shared.block_floats();
        let before = self.writer.frames();
        self.sounded = 0;
        let mut dropped = 0;
        while *taken < samples.len() {
            let silent = self.pass_silence(*taken, (samples.len() - *taken) / block);
            if silent > 0 {
                *taken += silent * block;
                continue;
            }
            let begun = self.partial.len();
            let (missing, rest) = (block - begun, &samples[*taken..]);
            let peak = self.peak_at(*taken);
            if rest.len() < missing {
                self.partial.extend_from_slice(rest);
                self.partial_peak = self.partial_peak.max(peak);
                self.uncounted += rest.len() as u64;
                *taken = samples.len();
                break;
            }
            let entered = if begun == 0 {
                self.enter(&rest[..block], peak, missing)
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(&rest[..missing]);
                let entered = self.enter(&whole, self.partial_peak.max(peak), missing);
                whole.truncate(if entered.is_some() { 0 } else { begun });
                self.partial = whole;
                entered
            };
            let Some(more) = entered else { break };
            (*taken, dropped) = (*taken + missing, dropped + more);
            self.partial_peak = 0;
        }
        self.count();
        self.publish(before);
        Ok(dropped)
    }

    /// Passes over whole frames at `taken` that the gate finds quiet: the quick way, for one channel.
    fn pass_silence(&mut self, taken: usize, frames: usize) -> usize {
        let Some(gate) = self.gate.as_ref().filter(|gate| gate.quiet == Quiet::Zero) else { return 0 };
        if !self.partial.is_empty() {
            return 0;
        }
        let first = self.peak_index(taken);
        let [since_loud] = &mut self.since_loud[..] else { return 0 };
        let mut count = 0;
        for peak in self.peaks.iter().skip(first).take(frames) {
            let mut behind = *since_loud;
            let state = gate::hold(gate, &mut behind, gate::state_from_peak(*peak, gate.threshold_bits));
            if state != FrameState::Quiet {
                break;
            }
            *since_loud = behind;
            count += 1;
        }
        self.writer.advance(count as u64);
        self.uncounted += (count * self.shared.block_floats()) as u64;
        count
    }

    /// Which of the peaks is that of the frame at `taken`.
    fn peak_index(&self, taken: usize) -> usize {
        if taken < self.head { 0 } else { 1 + (taken - self.head) / self.shared.block_floats() }
    }

    /// The largest magnitude of what the push at hand adds to the frame at `taken`.
    fn peak_at(&self, taken: usize) -> u32 {
        self.peaks.get(self.peak_index(taken)).copied().unwrap_or(0)
    }

    /// Takes a whole frame, of which `new` floats were not there before; none when it has to wait for room, else how many
    /// floats were dropped.
    fn enter(&mut self, block: &[f32], peak: u32, new: usize) -> Option<u64> {
        self.decide(block, peak);
        let has_room = self.has_room();
        if !has_room && self.back_pressure == BackPressure::Block {
            return None;
        }
        self.uncounted += new as u64;
        let (fits, dropped) = if has_room { (true, 0) } else { self.make_room() };
        if fits {
            self.put(block);
        } else {
            std::mem::swap(&mut self.since_loud, &mut self.next_since_loud);
            self.writer.advance(1);
        }
        let dropped = dropped * self.shared.block_floats() as u64;
        if dropped > 0 {
            self.shared.front().1.has_dropped(dropped);
        }
        Some(dropped)
    }

    /// Drops what the stream's options say; returns whether the frame at hand fits then, and how many frames were dropped.
    fn make_room(&mut self) -> (bool, u64) {
        // What is dropped has to be counted as pushed.
        self.count();
        let mut dropped = 0;
        let mut waiting = self.shared.waiting();
        // There may be room by now.
        let mut fits = self.has_room();
        if !fits && self.back_pressure == BackPressure::DropNewest {
            dropped = waiting.reader.note_dropped(self.writer.frames());
        }
        // Of a stream that is over, there may be nothing left to drop.
        while !fits && self.back_pressure == BackPressure::DropOldest && !self.shared.is_over() {
            dropped += waiting.reader.drop_oldest();
            fits = self.has_room();
        }
        waiting.dropped += dropped;
        (fits, dropped)
    }

    fn count(&mut self) {
        self.shared.pushed.fetch_add(std::mem::take(&mut self.uncounted), Ordering::Release);
    }

    /// Whether the frame at hand fits, and one more after it, which is kept for the end of the input.
    fn has_room(&self) -> bool {
        let sounding = self.sounds.iter().filter(|sounds| **sounds).count();
        sounding == 0 || self.writer.room() >= sounding + self.shared.channels
    }

    /// The gate, channel by channel.
    fn decide(&mut self, block: &[f32], peak: u32) {
        let (channels, frame_floats) = (self.shared.channels, self.shared.frame_floats());
        self.sounds.clear();
        if channels > 1 {
            take_apart(block, channels, self.shared.shape.domain().floats_per_sample(), &mut self.apart);
        }
        let Some(gate) = &self.gate else {
            self.sounds.resize(channels, true);
            return;
        };
        self.next_since_loud.clone_from(&self.since_loud);
        for (channel, since_loud) in self.next_since_loud.iter_mut().enumerate() {
            let peak = match channels {
                1 => peak,
                _ => max_abs_bits(self.level, &self.apart[channel * frame_floats..(channel + 1) * frame_floats]),
            };
            let state = gate::hold(gate, since_loud, gate::state_from_peak(peak, gate.threshold_bits));
            // Those that are faulty go on, to be counted where they are worked on.
            self.sounds.push(state != FrameState::Quiet || gate.quiet == Quiet::Pass);
        }
    }

    /// Puts the frame at hand, for which there is room, into the ring.
    fn put(&mut self, block: &[f32]) {
        let (channels, frame_floats) = (self.shared.channels, self.shared.frame_floats());
        let apart = if channels > 1 { &self.apart } else { block };
        for (channel, samples) in apart.chunks_exact(frame_floats).enumerate() {
            if self.sounds[channel] {
                self.writer.sound(channel, samples);
                self.sounded += 1;
            }
        }
        std::mem::swap(&mut self.since_loud, &mut self.next_since_loud);
        self.writer.advance(1);
    }

    /// Lets the engine see what came in after `before`.
    fn publish(&mut self, before: u64) {
        if self.writer.frames() == before {
            return;
        }
        self.writer.publish();
        // Either this sees that the stream has moved, or who moved it sees the frames.
        fence(Ordering::SeqCst);
        if self.shared.home_version.load(Ordering::Relaxed) != self.front.0 {
            self.front = self.shared.front();
        }
        if self.sounded > 0 {
            self.shared.sounded.fetch_add(self.sounded as u64, Ordering::Relaxed);
        }
        // Silence makes no batch, but time goes on.
        self.front.1.due.has_more(self.sounded.max(1));
    }
}

impl Drop for StreamInput {
    fn drop(&mut self) {
        // Nobody may be left who could resume it.
        self.shared.is_paused.store(false, Ordering::Release);
        self.finish();
        self.shared.poke();
    }
}

/// From interleaved samples to channels one after the other.
fn take_apart(block: &[f32], channels: usize, floats_per_sample: usize, apart: &mut Vec<f32>) {
    apart.resize(block.len(), 0.0);
    let frame_floats = block.len() / channels;
    for (channel, to) in apart.chunks_exact_mut(frame_floats).enumerate() {
        let from = block.chunks_exact(channels * floats_per_sample);
        for (to, from) in to.chunks_exact_mut(floats_per_sample).zip(from) {
            to.copy_from_slice(&from[channel * floats_per_sample..(channel + 1) * floats_per_sample]);
        }
    }
}
