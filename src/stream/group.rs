//! Streams that go together: those of one plan, one output and one level. A lane takes what is there of all of them in one
//! batch, each with its own state.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::members::{Member, Members, Turn};
use super::options::StreamOptions;
use super::sink::Sink;
use super::{Failure, Shared};
use crate::error::{Error, Result};
use crate::plan::{ChannelState, Compiled};
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
    members: Mutex<Members>,
    figures: Mutex<Figures>,
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

impl Group {
    /// A group without streams, whose bell is `observer`.
    pub(super) fn new(plan: &Arc<Compiled>, output: &str, qos: Qos, observer: &Arc<Bell>) -> Result<Self> {
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
            members: Mutex::new(Members::new(plan, output)?),
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

    /// Ends all streams.
    pub(super) fn end(&self, failure: &Failure) {
        self.is_over.store(true, Ordering::Release);
        let members = std::mem::take(&mut self.members().all);
        members.iter().for_each(|member| member.stream.end(Some(failure.clone())));
        self.count_members(&[]);
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut members = self.members();
        let mut opened = Vec::new();
        for _ in 0..count {
            match members.channels.open() {
                Ok(channel) => opened.push(channel),
                Err(error) => {
                    members.channels.close(&opened)?;
                    return Err(error);
                }
            }
        }
        // Calls name channels in this order.
        opened.sort_unstable();
        Ok(opened)
    }

    fn add(&self, member: Member) -> Result<()> {
        let mut members = self.members();
        if self.is_over() {
            return Err(Error::ShutDown { job: member.stream.name.to_string() });
        }
        members.all.push(member);
        self.count_members(&members.all);
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
                to.members().channels.close(&channels)?;
                return Err(error);
            }
        };
        let mut members = to.members();
        for (channel, state) in channels.iter().zip(states) {
            if let Err(error) = members.channels.put(*channel, state) {
                stream.end(Some(Failure::Failed(error.to_string())));
                return Err(error);
            }
        }
        drop(members);
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
        let mut members = self.members();
        let Some(index) = members.all.iter().position(|member| Arc::ptr_eq(&member.stream, stream)) else {
            return Err(stream.failure().unwrap_or(Error::StreamFinished { stream: stream.name.to_string() }));
        };
        let states = members.all[index].channels.clone();
        let states = states.into_iter().map(|channel| members.channels.take(channel)).collect::<Result<_>>();
        let Member { sink, max_batch, max_delay, .. } = members.all.remove(index);
        self.count_members(&members.all);
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
        let mut members = self.members();
        let first_came = self.since.load(Ordering::Relaxed);
        let waited = self.fresh.swap(0, Ordering::AcqRel) > 0;
        self.is_poked.store(false, Ordering::Release);
        fence(Ordering::SeqCst);
        let before = members.all.len();
        let turn = members.turn(most)?;
        if members.all.len() != before {
            self.count_members(&members.all);
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
