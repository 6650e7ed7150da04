//! The streams of a group, and how a batch is made of what is there of them.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use super::ring::RingReader;
use super::sink::Sink;
use super::{Failure, Shared};
use crate::error::Result;
use crate::plan::{Channels, Compiled};

/// All streams of a group, with the state of their channels.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) channels: Channels,
    pub(super) all: Vec<Member>,
    /// Who comes first in the next batch.
    first: usize,
    batch: Batch,
    /// Whose frames have been read into the batch and not gone through the plan: the device failed at them.
    unfinished: Option<Vec<Ready>>,
    /// A silent frame.
    silence: Vec<f32>,
}

/// Frames that go together: of each channel, the same number.
#[derive(Debug, Default)]
struct Batch {
    frame_floats: usize,
    /// Channels, ascending; frames of each; and how many there is room for.
    which: Vec<u32>,
    frames: usize,
    room: usize,
    /// What sounds; what is silent is garbage.
    samples: Vec<f32>,
    sounds: Vec<bool>,
    /// Silence that was left out: after so many of the frames that come out, so many more are silent.
    left_out: Vec<(usize, u64)>,
}

impl Batch {
    fn begin(&mut self, which: Vec<u32>, room: usize) {
        self.room = room;
        self.samples.resize(which.len() * room * self.frame_floats, 0.0);
        self.sounds.clear();
        self.sounds.resize(which.len() * room, false);
        self.left_out.clear();
        (self.which, self.frames) = (which, 0);
    }

    fn place(&self, channel: u32) -> usize {
        self.which.binary_search(&channel).unwrap_or(0)
    }

    /// Reads the next frame of a stream's channels, to stand at `frame`; returns how many counted as popped.
    fn read(&mut self, reader: &mut RingReader, channels: &[u32], frame: usize) -> u64 {
        let len = self.frame_floats;
        while let Some(channel) = reader.sounding() {
            let at = self.place(channels[channel]) * self.room + frame;
            reader.read(&mut self.samples[at * len..(at + 1) * len]);
            self.sounds[at] = true;
        }
        reader.advance(1)
    }

    /// Reads so many frames of a stream at most, and leaves long silence out; returns how many counted as popped.
    ///
    /// Of silent frames in a row, so many go through the plan that everything before them has faded, the gate's hold
    /// included, and one more, with which everything after them begins. What lies between is left out.
    fn read_without_silence(
        &mut self,
        reader: &mut RingReader,
        channels: &[u32],
        mut available: u64,
        hold: u32,
    ) -> u64 {
        let (fade, mut popped) = (hold as usize + 2, 0);
        let kept = fade as u64 + 1;
        while available > 0 && self.frames < self.room {
            let silent = reader.silent(available);
            let left = (self.room - self.frames) as u64;
            let mut now = silent.min(left).max(1);
            if silent > kept && left >= kept {
                now = kept;
                self.left_out.push((self.frames + fade, silent - kept));
                popped += reader.advance(silent - kept);
                available -= silent - kept;
            }
            for _ in 0..now {
                popped += self.read(reader, channels, self.frames);
                self.frames += 1;
            }
            available -= now;
        }
        popped
    }

    /// Silent frames of each channel that were left out.
    fn left_out(&self) -> u64 {
        self.left_out.iter().map(|(_, frames)| frames).sum()
    }

    /// All frames, channel after channel.
    fn frames<'a>(&'a self, silence: &'a [f32]) -> Vec<&'a [f32]> {
        let len = self.frame_floats;
        let frame = |at: usize| if self.sounds[at] { &self.samples[at * len..(at + 1) * len] } else { silence };
        let places = (0..self.which.len()).flat_map(|channel| {
            let first = channel * self.room;
            first..first + self.frames
        });
        places.map(frame).collect()
    }
}

/// A stream with its channels.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) stream: Arc<Shared>,
    pub(super) channels: Vec<u32>,
    pub(super) sink: Sink,
    /// Frames that went into the sink.
    pub(super) given: u64,
    pub(super) max_batch: usize,
    pub(super) max_delay: Duration,
}

/// What a turn came to.
#[derive(Default)]
pub(super) struct Turn {
    /// Frames of channels in the batch; of them live; and those that were silence and passed over.
    pub(super) batch: usize,
    pub(super) live: u64,
    pub(super) passed: u64,
    /// What the batch took on the device.
    pub(super) took: Duration,
    pub(super) has_more: bool,
}

/// Frames of a member that are there, and those of them that it can give now.
#[derive(Clone, Copy, Debug)]
struct Ready {
    member: usize,
    available: usize,
    frames: usize,
}

impl Members {
    /// None, of a plan of whose outputs one is wanted.
    pub(super) fn new(plan: &Arc<Compiled>, output: &str) -> Result<Self> {
        let frame_floats = plan.inputs().first().map_or(1, |(_, shape)| shape.floats());
        Ok(Self {
            channels: Channels::new(plan, output)?,
            all: Vec::new(),
            first: 0,
            batch: Batch { frame_floats, ..Batch::default() },
            unfinished: None,
            silence: vec![0.0; frame_floats],
        })
    }

    /// One batch, of so many frames of channels at most. After a failure of the device, it is to be called again when
    /// [`recover`](Self::recover) has succeeded. Streams that have ended are gone, to be dropped when nobody works on the
    /// others.
    pub(super) fn turn(&mut self, most: usize, gone: &mut Vec<Member>) -> Result<Turn> {
        let mut turn = Turn::default();
        let mut ready = Vec::new();
        let chosen = match self.unfinished.take() {
            Some(unfinished) => {
                turn.has_more = true;
                unfinished
            }
            None => {
                self.let_go(gone)?;
                turn.passed = self.pass_silence();
                ready = self.ready();
                let chosen = ready.first().map_or_else(Vec::new, |first| self.choose(&ready, first.member, most));
                self.read(&chosen);
                chosen
            }
        };
        if !chosen.is_empty() {
            turn.took = self.run(&chosen).inspect_err(|_| self.unfinished = Some(chosen.clone()))?;
            let (channels, left_out) = (self.batch.which.len(), self.batch.left_out());
            turn.batch = channels * self.batch.frames;
            turn.passed += left_out * channels as u64;
            turn.live = self.channels.live();
            // What comes from here on may wait for others; what was there and had to stay behind may not.
            let taken = self.batch.frames.saturating_add(usize::try_from(left_out).unwrap_or(usize::MAX));
            let stayed =
                |ready: &&Ready| ready.available > taken || !chosen.iter().any(|chosen| chosen.member == ready.member);
            turn.has_more |= ready.iter().filter(stayed).any(|ready| self.room(ready.member) > 0);
        }
        self.finish(gone)?;
        self.channels.keep_safe();
        Ok(turn)
    }

    /// Goes on on another device. What a denoiser had not given back comes out as silence: its state was on the old one.
    pub(super) fn recover(&mut self, plan: &Arc<Compiled>) -> Result<()> {
        if self.channels.recover(plan)? {
            return Ok(());
        }
        // All channels begin anew; with the batch at which the device failed, whose frames are still here.
        let unfinished = self.unfinished.as_deref().unwrap_or(&[]);
        for (index, Member { stream, sink, given, .. }) in self.all.iter_mut().enumerate() {
            let comes_again = unfinished.iter().any(|ready| ready.member == index);
            let again = if comes_again { self.batch.frames as u64 } else { 0 };
            let over = stream.waiting().reader.frames() - again;
            deliver(stream, sink.silence(over - *given, stream.end.load(Ordering::Acquire)));
            *given = over;
        }
        Ok(())
    }

    /// Lets streams go whose other side is gone.
    fn let_go(&mut self, gone: &mut Vec<Member>) -> Result<()> {
        let mut index = 0;
        while index < self.all.len() {
            let stream = &self.all[index].stream;
            if stream.is_abandoned.load(Ordering::Acquire) || stream.is_over() {
                stream.end(None);
                self.remove(index, gone)?;
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    fn remove(&mut self, member: usize, gone: &mut Vec<Member>) -> Result<()> {
        let member = self.all.remove(member);
        member.stream.moves_out();
        let channels = member.channels.clone();
        gone.push(member);
        self.channels.close(&channels)
    }

    /// Frames that are silent, where nothing is heard of what came before, go out as they came in.
    fn pass_silence(&mut self) -> u64 {
        let mut all = 0;
        for Member { stream, channels, sink, given, .. } in &mut self.all {
            let is_paused = stream.is_paused.load(Ordering::Acquire);
            if is_paused || !channels.iter().all(|channel| self.channels.is_silent(*channel)) {
                continue;
            }
            let frames = {
                let mut waiting = stream.waiting();
                let available = waiting.reader.available();
                let frames = waiting.reader.silent(available);
                waiting.popped += waiting.reader.advance(frames);
                frames
            };
            if frames > 0 {
                channels.iter().for_each(|channel| self.channels.pass_silence(*channel, frames));
                let end = stream.end.load(Ordering::Acquire);
                deliver(stream, sink.silence(frames, end));
                *given += frames;
                all += frames * channels.len() as u64;
            }
        }
        all
    }

    /// Who has frames to take, in turn.
    fn ready(&self) -> Vec<Ready> {
        let count = self.all.len();
        let in_turn = (0..count).map(|index| (self.first + index) % count.max(1));
        let ready = in_turn.filter_map(|member| {
            let stream = &self.all[member].stream;
            if stream.is_paused.load(Ordering::Acquire) || stream.is_over() {
                return None;
            }
            let available = usize::try_from(stream.waiting().reader.available()).unwrap_or(usize::MAX);
            let frames = if available > 0 { available.min(self.room(member)) } else { 0 };
            (frames > 0).then_some(Ready { member, available, frames })
        });
        ready.collect()
    }

    /// Frames that a member's sink has room for. Where it has none, whoever pulls pokes the group.
    fn room(&self, member: usize) -> usize {
        self.room_for(member, 1)
    }

    fn room_for(&self, member: usize, frames: usize) -> usize {
        let Member { stream, channels, sink, .. } = &self.all[member];
        let room = sink.room(channels.len());
        if room >= frames {
            return room;
        }
        stream.is_stuck.store(true, Ordering::Release);
        // Either whoever pulls sees that, or this sees the room.
        fence(Ordering::SeqCst);
        sink.room(channels.len())
    }

    /// The members of a batch, and how many frames each of them gives: those that are as new as the first one.
    fn choose(&mut self, ready: &[Ready], first: usize, most: usize) -> Vec<Ready> {
        let is_new = |member: usize| self.channels.is_new(self.all[member].channels[0]);
        let mut chosen: Vec<Ready> = Vec::new();
        let mut channels = 0;
        for ready in ready.iter().filter(|ready| is_new(ready.member) == is_new(first)) {
            let more = self.all[ready.member].channels.len();
            if !chosen.is_empty() && channels + more > most {
                break;
            }
            channels += more;
            chosen.push(*ready);
        }
        let frames = chosen.iter().map(|ready| ready.frames).min().unwrap_or(0).min((most / channels.max(1)).max(1));
        chosen.iter_mut().for_each(|ready| ready.frames = frames);
        // Who was passed over comes first the next time.
        let passed_over = ready.iter().find(|ready| !chosen.iter().any(|chosen| chosen.member == ready.member));
        let behind = chosen.last().map_or(0, |last| last.member + 1);
        self.first = passed_over.map_or(behind, |ready| ready.member);
        chosen
    }

    /// Reads frames of the chosen members into the batch.
    fn read(&mut self, chosen: &[Ready]) {
        let frames = chosen.first().map_or(0, |ready| ready.frames);
        let mut which: Vec<u32> =
            chosen.iter().flat_map(|ready| self.all[ready.member].channels.iter().copied()).collect();
        which.sort_unstable();
        self.batch.begin(which, frames);
        let leaves_out = if chosen.len() == 1 { self.channels.hold_of_silence() } else { None };
        for ready in chosen {
            let Member { stream, channels, .. } = &self.all[ready.member];
            let mut waiting = stream.waiting();
            if let Some(hold) = leaves_out {
                let available = ready.available as u64;
                waiting.popped += self.batch.read_without_silence(&mut waiting.reader, channels, available, hold);
            } else {
                for frame in 0..frames {
                    waiting.popped += self.batch.read(&mut waiting.reader, channels, frame);
                }
                self.batch.frames = frames;
            }
            drop(waiting);
            stream.room.ring();
        }
    }

    /// Takes the batch through the plan, and gives the chosen members what comes out.
    fn run(&mut self, chosen: &[Ready]) -> Result<Duration> {
        let start = Instant::now();
        self.channels.advance(&self.batch.which, &self.batch.frames(&self.silence))?;
        let took = start.elapsed();
        for ready in chosen {
            let batch = &self.batch;
            give(&self.channels, &mut self.all[ready.member], |channel| batch.place(channel), &batch.left_out);
        }
        Ok(took)
    }

    /// Ends streams whose input has ended and is used up, and lets go of those that are over.
    fn finish(&mut self, gone: &mut Vec<Member>) -> Result<()> {
        let mut index = 0;
        while index < self.all.len() {
            if self.all[index].stream.is_over() || self.may_finish(index) {
                let member = &mut self.all[index];
                if !self.channels.is_new(member.channels[0]) && !member.stream.is_over() {
                    self.channels.finish(&member.channels)?;
                    let channels = member.channels.clone();
                    let place = |channel: u32| channels.binary_search(&channel).unwrap_or(0);
                    give(&self.channels, member, place, &[]);
                }
                member.stream.end(None);
                self.remove(index, gone)?;
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    fn may_finish(&self, member: usize) -> bool {
        let stream = &self.all[member].stream;
        let is_done = stream.is_finished.load(Ordering::Acquire)
            && !stream.is_paused.load(Ordering::Acquire)
            && stream.waiting().reader.available() == 0;
        let held_back = self.channels.latency_frames();
        is_done && self.room_for(member, held_back) >= held_back
    }
}

/// Puts what the last call gave for a stream's channels into its sink, and the silence that was left out.
fn give(results: &Channels, member: &mut Member, place: impl Fn(u32) -> usize, left_out: &[(usize, u64)]) {
    let Member { stream, channels, sink, given, .. } = member;
    let end = stream.end.load(Ordering::Acquire);
    let mut left_out = left_out.iter().peekable();
    let frames = results.given(place(channels[0]));
    for frame in 0..=frames {
        if let Some((_, silent)) = left_out.next_if(|(after, _)| *after == frame) {
            *given += *silent;
            if !deliver(stream, sink.silence(*silent, end)) {
                return;
            }
        }
        if frame == frames {
            break;
        }
        for (index, channel) in channels.iter().enumerate() {
            if let Some(samples) = results.frame(place(*channel), frame) {
                sink.sound(index, samples);
            }
        }
        sink.advance();
    }
    *given += frames as u64;
    deliver(stream, sink.publish(end));
}

/// The other side learns of what came; false when it is gone.
fn deliver(stream: &Shared, published: Result<(), String>) -> bool {
    match published {
        Ok(()) => {
            stream.output.ring();
            true
        }
        Err(reason) => {
            stream.end(Some(Failure::Failed(reason)));
            false
        }
    }
}
