//! Streams that go together: those of one plan, one output and one level. A lane takes what is there of all of them in one
//! batch, each with its own state.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::options::StreamOptions;
use super::sink::Sink;
use super::{Failure, Shared};
use crate::error::{Error, Result};
use crate::plan::{ChannelState, Channels, Compiled};
use crate::qos::Qos;
use crate::schedule::{Answer, Bell, Lane, Progress, Watch, Work};
use crate::telemetry::{Rolling, StreamsSnapshot};

/// Streams of one plan, output and level.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) plan: Arc<Compiled>,
    pub(super) output: String,
    pub(super) qos: Qos,
    opened: Instant,
    /// Frames of channels that came since a lane looked last; and when the first of them did, in nanoseconds since
    /// `opened`.
    fresh: AtomicUsize,
    since: AtomicU64,
    /// There is something to do besides.
    is_poked: AtomicBool,
    /// A turn waits for a lane, or is on one.
    in_flight: AtomicBool,
    /// Its device failed, or its engine shut down.
    is_over: AtomicBool,
    max_batch: AtomicUsize,
    max_delay_nanos: AtomicU64,
    observer: Arc<Bell>,
    core: Mutex<Core>,
    figures: Mutex<Figures>,
}

/// What only one thread at a time works on.
#[derive(Debug)]
struct Core {
    channels: Channels,
    members: Vec<Member>,
    /// Who comes first in the next batch.
    first: usize,
    frame_floats: usize,
    /// A batch's frames, those that sound; whether each does; and a silent one.
    samples: Vec<f32>,
    sounds: Vec<bool>,
    silence: Vec<f32>,
}

/// A stream with its channels.
#[derive(Debug)]
struct Member {
    stream: Arc<Shared>,
    channels: Vec<u32>,
    sink: Sink,
    max_batch: usize,
    max_delay: Duration,
}

/// A stream on its way from one group to another.
struct Moving {
    states: Vec<ChannelState>,
    sink: Sink,
    max_batch: usize,
    max_delay: Duration,
}

#[derive(Debug, Default)]
struct Figures {
    streams: usize,
    channels: usize,
    batches: u64,
    frames: u64,
    live: u64,
    passed: u64,
    largest_batch: usize,
    delay: Rolling,
}

/// What a turn came to.
struct Turn {
    /// Frames of channels in the batch; of them live; and those that were silence and passed over.
    batch: usize,
    live: u64,
    passed: u64,
    has_more: bool,
}

impl Group {
    /// A group without streams, whose bell is `observer`.
    pub(super) fn new(plan: &Arc<Compiled>, output: &str, qos: Qos, observer: &Arc<Bell>) -> Result<Self> {
        let frame_floats = plan.inputs().first().map_or(1, |(_, shape)| shape.floats());
        let core = Core {
            channels: Channels::new(plan, output)?,
            members: Vec::new(),
            first: 0,
            frame_floats,
            samples: Vec::new(),
            sounds: Vec::new(),
            silence: vec![0.0; frame_floats],
        };
        Ok(Self {
            plan: Arc::clone(plan),
            output: output.to_owned(),
            qos,
            opened: Instant::now(),
            fresh: AtomicUsize::new(0),
            since: AtomicU64::new(0),
            is_poked: AtomicBool::new(false),
            in_flight: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            max_batch: AtomicUsize::new(1),
            max_delay_nanos: AtomicU64::new(0),
            observer: Arc::clone(observer),
            core: Mutex::new(core),
            figures: Mutex::default(),
        })
    }

    /// Frames of channels have come; the observer learns of it when that changes what it does.
    pub(super) fn has_more(&self, frames: usize) {
        let before = self.fresh.fetch_add(frames, Ordering::AcqRel);
        let max_batch = self.max_batch.load(Ordering::Relaxed);
        if before == 0 {
            self.since.store(self.now(), Ordering::Relaxed);
        }
        if before == 0 || (before < max_batch && before + frames >= max_batch) {
            self.observer.ring();
        }
    }

    /// There is something to do besides frames that came.
    pub(super) fn poke(&self) {
        self.is_poked.store(true, Ordering::Release);
        self.observer.ring();
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether a lane should look after it now; else when, if that is known.
    pub(super) fn is_due(&self) -> Result<(), Option<Duration>> {
        if self.is_over() || self.in_flight.load(Ordering::Acquire) {
            return Err(None);
        }
        if self.is_poked.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.fresh.load(Ordering::Acquire) {
            0 => Err(None),
            fresh if fresh >= self.max_batch.load(Ordering::Relaxed) => Ok(()),
            _ => {
                let at = self.since.load(Ordering::Relaxed) + self.max_delay_nanos.load(Ordering::Relaxed);
                match at.saturating_sub(self.now()) {
                    0 => Ok(()),
                    left => Err(Some(Duration::from_nanos(left))),
                }
            }
        }
    }

    /// A turn of it is about to be asked for.
    pub(super) fn takes_off(&self) {
        self.in_flight.store(true, Ordering::Release);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.figures().streams == 0
    }

    /// Ends all streams.
    pub(super) fn end(&self, failure: &Failure) {
        self.is_over.store(true, Ordering::Release);
        let members = std::mem::take(&mut self.core().members);
        members.iter().for_each(|member| member.stream.end(Some(failure.clone())));
        self.count_members(&[]);
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a new stream.
    pub(super) fn join(&self, stream: &Arc<Shared>, sink: Sink, options: &StreamOptions) -> Result<()> {
        let channels = self.open_channels(stream.channels)?;
        let (max_batch, max_delay) = (options.max_batch, options.max_delay);
        let stream = Arc::clone(stream);
        self.add(Member { stream, channels, sink, max_batch, max_delay })
    }

    fn open_channels(&self, count: usize) -> Result<Vec<u32>> {
        let mut core = self.core();
        let mut opened = Vec::new();
        for _ in 0..count {
            match core.channels.open() {
                Ok(channel) => opened.push(channel),
                Err(error) => {
                    core.channels.close(&opened)?;
                    return Err(error);
                }
            }
        }
        // Calls name channels in this order.
        opened.sort_unstable();
        Ok(opened)
    }

    fn add(&self, member: Member) -> Result<()> {
        let mut core = self.core();
        if self.is_over() {
            return Err(Error::ShutDown { job: member.stream.name.to_string() });
        }
        core.members.push(member);
        self.count_members(&core.members);
        Ok(())
    }

    fn count_members(&self, members: &[Member]) {
        let least_batch = members.iter().map(|member| member.max_batch).min().unwrap_or(1);
        let least_delay = members.iter().map(|member| member.max_delay).min().unwrap_or_default();
        self.max_batch.store(least_batch, Ordering::Relaxed);
        let nanos = u64::try_from(least_delay.as_nanos()).unwrap_or(u64::MAX);
        self.max_delay_nanos.store(nanos, Ordering::Relaxed);
        let mut figures = self.figures();
        figures.streams = members.len();
        figures.channels = members.iter().map(|member| member.channels.len()).sum();
    }

    /// Moves a stream to another group of a like plan. Frames that come meanwhile wait.
    pub(super) fn move_to(&self, stream: &Arc<Shared>, to: &Arc<Self>) -> Result<()> {
        // Room comes first: without it, the stream stays where it is.
        let channels = to.open_channels(stream.channels)?;
        let Moving { states, sink, max_batch, max_delay } = match self.leave(stream) {
            Ok(moving) => moving,
            Err(error) => {
                to.core().channels.close(&channels)?;
                return Err(error);
            }
        };
        let mut core = to.core();
        for (channel, state) in channels.iter().zip(states) {
            if let Err(error) = core.channels.put(*channel, state) {
                stream.end(Some(Failure::Failed(error.to_string())));
                return Err(error);
            }
        }
        drop(core);
        let mut home = stream.home.lock().unwrap_or_else(PoisonError::into_inner);
        to.add(Member { stream: Arc::clone(stream), channels, sink, max_batch, max_delay })
            .inspect_err(|_| stream.end(Some(Failure::ShutDown)))?;
        *home = Arc::clone(to);
        stream.home_version.fetch_add(1, Ordering::AcqRel);
        drop(home);
        // Either whoever pushes sees the new home, or this sees what was pushed.
        fence(Ordering::SeqCst);
        to.poke();
        Ok(())
    }

    fn leave(&self, stream: &Arc<Shared>) -> Result<Moving> {
        let mut core = self.core();
        let Some(index) = core.members.iter().position(|member| Arc::ptr_eq(&member.stream, stream)) else {
            return Err(stream.failure().unwrap_or(Error::StreamFinished { stream: stream.name.to_string() }));
        };
        let states = core.members[index].channels.clone();
        let states = states.into_iter().map(|channel| core.channels.take(channel)).collect::<Result<_>>();
        let Member { sink, max_batch, max_delay, .. } = core.members.remove(index);
        self.count_members(&core.members);
        let states = states.inspect_err(|error| stream.end(Some(Failure::Failed(error.to_string()))))?;
        Ok(Moving { states, sink, max_batch, max_delay })
    }

    pub(super) fn snapshot(&self) -> StreamsSnapshot {
        let figures = self.figures();
        StreamsSnapshot {
            qos: self.qos,
            output: self.output.clone(),
            streams: figures.streams,
            channels: figures.channels,
            batches: figures.batches,
            frames: figures.frames,
            live: figures.live,
            passed: figures.passed,
            largest_batch: figures.largest_batch,
            delay: figures.delay.latency(self.opened.elapsed()),
        }
    }

    /// One batch, of so many frames of channels at most.
    fn turn(&self, most: usize) -> Result<Turn> {
        let mut core = self.core();
        let first_came = self.since.load(Ordering::Relaxed);
        let waited = self.fresh.swap(0, Ordering::AcqRel) > 0;
        self.is_poked.store(false, Ordering::Release);
        fence(Ordering::SeqCst);
        let members = core.members.len();
        let turn = core.turn(most)?;
        if core.members.len() != members {
            self.count_members(&core.members);
        }
        let mut figures = self.figures();
        figures.batches += u64::from(turn.batch > 0);
        figures.frames += turn.batch as u64 + turn.passed;
        figures.live += turn.live;
        figures.passed += turn.passed;
        figures.largest_batch = figures.largest_batch.max(turn.batch);
        if waited && turn.batch > 0 {
            let delay = self.now().saturating_sub(first_came);
            figures.delay.record(self.opened.elapsed(), Duration::from_nanos(delay));
        }
        Ok(turn)
    }
}

/// A group's wish for a lane.
pub(super) struct GroupTurn(pub(super) Arc<Group>);

impl Work for GroupTurn {
    fn advance(self: Box<Self>, lane: &Lane, budget: Option<Duration>) -> Progress {
        let group = &self.0;
        let within = budget.map_or(usize::MAX, |budget| group.plan.cost().frames_within(budget));
        let watch = Watch::start(lane);
        match group.turn(within.min(group.max_batch.load(Ordering::Relaxed))) {
            Err(error) => Progress::Failed(error),
            Ok(turn) => {
                watch.learn(group.plan.cost(), turn.live);
                if turn.has_more {
                    return Progress::More(self, None);
                }
                group.in_flight.store(false, Ordering::Release);
                fence(Ordering::SeqCst);
                if group.fresh.load(Ordering::Acquire) > 0 || group.is_poked.load(Ordering::Acquire) {
                    group.observer.ring();
                }
                Progress::Done(Box::new(|| {}))
            }
        }
    }
}

impl Answer for Group {
    fn fail(&self, error: Error) {
        let failure = match error {
            Error::ShutDown { .. } => Failure::ShutDown,
            other => Failure::Failed(other.to_string()),
        };
        self.end(&failure);
    }
}

/// Frames of a member that are there, and those of them that it can give now.
#[derive(Clone, Copy)]
struct Ready {
    member: usize,
    available: usize,
    frames: usize,
}

impl Core {
    fn turn(&mut self, most: usize) -> Result<Turn> {
        self.let_go()?;
        let passed = self.pass_silence();
        let ready = self.ready();
        let (mut batch, mut live) = (0, 0);
        // What comes from here on may wait for others; what was there and had to stay behind may not.
        let mut has_more = false;
        if let Some(first) = ready.first() {
            let chosen = self.choose(&ready, first.member, most);
            let frames = chosen.first().map_or(0, |ready| ready.frames);
            batch = self.batch(&chosen)?;
            live = self.channels.live();
            let stayed =
                |ready: &&Ready| ready.available > frames || !chosen.iter().any(|one| one.member == ready.member);
            has_more = ready.iter().filter(stayed).any(|ready| self.room(ready.member) > 0);
        }
        self.finish()?;
        Ok(Turn { batch, live, passed, has_more })
    }

    /// Lets streams go whose other side is gone.
    fn let_go(&mut self) -> Result<()> {
        let mut index = 0;
        while index < self.members.len() {
            let stream = &self.members[index].stream;
            if stream.is_abandoned.load(Ordering::Acquire) || stream.is_over() {
                stream.end(None);
                self.remove(index)?;
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    fn remove(&mut self, member: usize) -> Result<()> {
        let member = self.members.remove(member);
        self.channels.close(&member.channels)
    }

    /// Frames that are silent, where nothing is heard of what came before, go out as they came in.
    fn pass_silence(&mut self) -> u64 {
        let mut all = 0;
        for Member { stream, channels, sink, .. } in &mut self.members {
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
                deliver(stream, sink.silence(frames));
                all += frames * channels.len() as u64;
            }
        }
        all
    }

    /// Who has frames to take, in turn.
    fn ready(&self) -> Vec<Ready> {
        let count = self.members.len();
        let in_turn = (0..count).map(|index| (self.first + index) % count.max(1));
        let ready = in_turn.filter_map(|member| {
            let stream = &self.members[member].stream;
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
        let Member { stream, channels, sink, .. } = &self.members[member];
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
        let is_new = |member: usize| self.channels.is_new(self.members[member].channels[0]);
        let mut chosen: Vec<Ready> = Vec::new();
        let mut channels = 0;
        for ready in ready.iter().filter(|ready| is_new(ready.member) == is_new(first)) {
            let more = self.members[ready.member].channels.len();
            if !chosen.is_empty() && channels + more > most {
                break;
            }
            channels += more;
            chosen.push(*ready);
        }
        let frames = chosen.iter().map(|ready| ready.frames).min().unwrap_or(0).min((most / channels.max(1)).max(1));
        chosen.iter_mut().for_each(|ready| ready.frames = frames);
        self.first = chosen.last().map_or(0, |last| last.member + 1);
        chosen
    }

    /// Takes frames of the chosen members through the plan; returns how many, of all channels.
    fn batch(&mut self, chosen: &[Ready]) -> Result<usize> {
        let frames = chosen.first().map_or(0, |ready| ready.frames);
        let mut which: Vec<u32> =
            chosen.iter().flat_map(|ready| self.members[ready.member].channels.iter().copied()).collect();
        which.sort_unstable();
        let place = |channel: u32| which.binary_search(&channel).unwrap_or(0);
        let len = self.frame_floats;
        self.samples.resize(which.len() * frames * len, 0.0);
        self.sounds.clear();
        self.sounds.resize(which.len() * frames, false);
        for ready in chosen {
            let Member { stream, channels, .. } = &self.members[ready.member];
            let mut waiting = stream.waiting();
            for frame in 0..frames {
                while let Some(channel) = waiting.reader.sounding() {
                    let at = place(channels[channel]) * frames + frame;
                    waiting.reader.read(&mut self.samples[at * len..(at + 1) * len]);
                    self.sounds[at] = true;
                }
                waiting.popped += waiting.reader.advance(1);
            }
            drop(waiting);
            stream.room.ring();
        }
        let all = self.samples.chunks_exact(len).zip(&self.sounds);
        let all: Vec<&[f32]> = all.map(|(frame, sounds)| if *sounds { frame } else { &self.silence[..] }).collect();
        self.channels.advance(&which, &all)?;
        for ready in chosen {
            let Member { stream, channels, sink, .. } = &mut self.members[ready.member];
            give(&self.channels, stream, channels, sink, place, None);
        }
        Ok(which.len() * frames)
    }

    /// Ends streams whose input has ended and is used up.
    fn finish(&mut self) -> Result<()> {
        let mut index = 0;
        while index < self.members.len() {
            if self.may_finish(index) {
                let Member { stream, channels, sink, .. } = &mut self.members[index];
                if !self.channels.is_new(channels[0]) {
                    self.channels.finish(channels)?;
                    let place = |channel: u32| channels.binary_search(&channel).unwrap_or(0);
                    let pushed = stream.pushed.load(Ordering::Acquire);
                    give(&self.channels, stream, channels, sink, place, Some(pushed));
                }
                stream.end(None);
                self.remove(index)?;
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    fn may_finish(&self, member: usize) -> bool {
        let stream = &self.members[member].stream;
        let is_done = stream.is_finished.load(Ordering::Acquire)
            && !stream.is_paused.load(Ordering::Acquire)
            && stream.waiting().reader.available() == 0;
        let held_back = self.channels.latency_frames();
        is_done && self.room_for(member, held_back) >= held_back
    }
}

/// Puts what the last call gave for a stream's channels into its sink.
fn give(
    results: &Channels,
    stream: &Shared,
    channels: &[u32],
    sink: &mut Sink,
    place: impl Fn(u32) -> usize,
    pushed: Option<u64>,
) {
    for frame in 0..results.given(place(channels[0])) {
        for (index, channel) in channels.iter().enumerate() {
            if let Some(samples) = results.frame(place(*channel), frame) {
                sink.sound(index, samples);
            }
        }
        sink.advance();
    }
    deliver(stream, sink.publish(pushed));
}

/// The other side learns of what came.
fn deliver(stream: &Shared, published: Result<(), String>) {
    match published {
        Ok(()) => stream.output.ring(),
        Err(reason) => stream.end(Some(Failure::Failed(reason))),
    }
}
