//! Streams that go together: those of one plan, one output and one level. A lane takes what is there of all of them in one
//! batch, each with its own state.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::members::{Member, Members, Turn};
use super::options::StreamOptions;
use super::sink::Sink;
use super::{Failure, Shared};
use crate::error::{Error, Result};
use crate::plan::{ChannelState, Compiled, Plan};
use crate::qos::Qos;
use crate::schedule::{Answer, Answered, Bell, Lane, Progress, Watch, Work};
use crate::telemetry::{Rolling, StreamsSnapshot};

/// Streams of one plan, output and level.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) plan: Plan,
    /// It, on the device that serves the level now.
    compiled: Mutex<Arc<Compiled>>,
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
    /// Its device failed, or its engine shut down; and why.
    is_over: AtomicBool,
    failure: OnceLock<Failure>,
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
    given: u64,
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
    compute: Rolling,
}

impl Group {
    /// A group without streams, whose bell is `observer`.
    pub(super) fn new(plan: &Plan, output: &str, qos: Qos, observer: &Arc<Bell>) -> Result<Self> {
        let compiled = plan.on(qos)?;
        let members = Mutex::new(Members::new(&compiled, output)?);
        Ok(Self {
            plan: plan.clone(),
            compiled: Mutex::new(compiled),
            output: output.to_owned(),
            qos,
            opened: Instant::now(),
            fresh: AtomicUsize::new(0),
            since: AtomicU64::new(0),
            is_poked: AtomicBool::new(false),
            in_flight: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            failure: OnceLock::new(),
            max_batch: AtomicUsize::new(1),
            max_delay_nanos: AtomicU64::new(0),
            observer: Arc::clone(observer),
            members,
            figures: Mutex::default(),
        })
    }

    /// Frames of channels have come; the observer learns of it when that changes what it does.
    pub(super) fn has_more(&self, frames: usize) {
        if self.fresh.load(Ordering::Relaxed) == 0 {
            self.since.store(self.now(), Ordering::Relaxed);
        }
        let before = self.fresh.fetch_add(frames, Ordering::AcqRel);
        let max_batch = self.max_batch.load(Ordering::Relaxed);
        if before == 0 || (before < max_batch && before + frames >= max_batch) {
            self.observer.ring();
        }
    }

    /// There is something to do besides frames that came.
    pub(super) fn poke(&self) {
        self.is_poked.store(true, Ordering::Release);
        self.observer.ring();
    }

    /// A stream of it dropped so many floats.
    pub(super) fn has_dropped(&self, floats: u64) {
        self.plan.counters().dropped(self.qos, floats);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether a lane should look after it now; else when, if that is known.
    pub(super) fn is_due(&self) -> Result<(), Option<Duration>> {
        // Either this sees that the last turn is over, or that turn sees what has come since.
        fence(Ordering::SeqCst);
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

    /// Ends all streams, without waiting: whoever works on them just now ends them then.
    pub(super) fn end(&self, failure: &Failure) {
        self.failure.set(failure.clone()).ok();
        self.is_over.store(true, Ordering::Release);
        self.end_if_over();
    }

    fn end_if_over(&self) {
        // Either whoever holds the members sees on leaving that it is over, or they can be had here.
        fence(Ordering::SeqCst);
        let Some(failure) = self.failure.get().filter(|_| self.is_over()) else { return };
        let members = match self.members.try_lock() {
            Ok(mut members) => std::mem::take(&mut members.all),
            Err(TryLockError::Poisoned(poisoned)) => std::mem::take(&mut poisoned.into_inner().all),
            Err(TryLockError::WouldBlock) => return,
        };
        members.iter().for_each(|member| member.stream.end(Some(failure.clone())));
        if !members.is_empty() {
            self.count_members(&[]);
        }
    }

    /// Works on the members. Nothing that this calls may ask for them again: on the same thread that is refused before.
    fn with_members<T>(&self, work: impl FnOnce(&mut Members) -> T) -> T {
        let done = {
            let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            let _inside = Inside::enter();
            work(&mut members)
        };
        self.end_if_over();
        done
    }

    pub(super) fn compiled(&self) -> Arc<Compiled> {
        Arc::clone(&self.compiled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on on another device where this one has failed; false when that can't be done.
    fn recover(&self, members: &mut Members, error: &Error, failed_again: bool) -> bool {
        if !self.plan.goes_on_after(error, self.qos, &self.compiled(), failed_again) {
            return false;
        }
        let recovered = self.plan.on(self.qos).and_then(|compiled| {
            members.recover(&compiled)?;
            *self.compiled.lock().unwrap_or_else(PoisonError::into_inner) = compiled;
            Ok(())
        });
        recovered.inspect_err(|error| tracing::error!("streams can't go on: {error}")).is_ok()
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a new stream.
    pub(super) fn join(&self, stream: &Arc<Shared>, sink: Sink, options: &StreamOptions) -> Result<()> {
        refuse_inside("a stream is opened")?;
        let channels = self.open_channels(stream.channels)?;
        let (max_batch, max_delay) = (options.max_batch, options.max_delay);
        let stream = Arc::clone(stream);
        self.add(Member { stream, channels, sink, given: 0, max_batch, max_delay })
    }

    fn open_channels(&self, count: usize) -> Result<Vec<u32>> {
        loop {
            // What is missing is made while the others go on.
            let wanted = self.with_members(|members| members.channels.wanted_room(count));
            let compiled = self.compiled();
            let larger = match wanted {
                Some(room) => Some((room, compiled.open_network(room as usize)?)),
                None => None,
            };
            let opened = self.with_members(|members| -> Result<_> {
                if let Some(failure) = self.failure.get().filter(|_| self.is_over()) {
                    return Err(failure.error("stream"));
                }
                if let Some((room, network)) = larger {
                    members.channels.grow(&compiled, room, network)?;
                }
                // Others may have been quicker.
                let is_room = members.channels.wanted_room(count).is_none();
                Ok(is_room.then(|| (0..count).map_while(|_| members.channels.open()).collect::<Vec<_>>()))
            })?;
            if let Some(mut opened) = opened {
                // Calls name channels in this order.
                opened.sort_unstable();
                return Ok(opened);
            }
        }
    }

    fn add(&self, member: Member) -> Result<()> {
        self.with_members(|members| {
            if let Some(failure) = self.failure.get().filter(|_| self.is_over()) {
                return Err(failure.error(&member.stream.name));
            }
            members.all.push(member);
            self.count_members(&members.all);
            Ok(())
        })
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

    /// Moves a stream to another group of a like plan. Frames that come meanwhile wait. One move of a stream at a time.
    pub(super) fn move_to(&self, stream: &Arc<Shared>, to: &Arc<Self>) -> Result<()> {
        // Room comes first: without it, the stream stays where it is.
        let channels = to.open_channels(stream.channels)?;
        let moved = self.leave(stream).and_then(|moving| {
            let Moving { states, sink, given, max_batch, max_delay } = moving;
            let put = to.with_members(|members| {
                let all = channels.iter().zip(states);
                all.into_iter().try_for_each(|(channel, state)| members.channels.put(*channel, state))
            });
            let member =
                Member { stream: Arc::clone(stream), channels: channels.clone(), sink, given, max_batch, max_delay };
            // It is in neither group now: where it can't go on, it ends.
            put.and_then(|()| to.add(member)).inspect_err(|error| stream.end(Some(Failure::Failed(error.to_string()))))
        });
        if let Err(error) = moved {
            to.with_members(|members| members.channels.close(&channels))?;
            return Err(error);
        }
        {
            let mut home = stream.home.lock().unwrap_or_else(PoisonError::into_inner);
            *home = Arc::clone(to);
            stream.home_version.fetch_add(1, Ordering::AcqRel);
        }
        // Either whoever pushes sees the new home, or this sees what was pushed; and who poked the old one is heard.
        fence(Ordering::SeqCst);
        to.poke();
        Ok(())
    }

    fn leave(&self, stream: &Arc<Shared>) -> Result<Moving> {
        self.with_members(|members| {
            let Some(index) = members.all.iter().position(|member| Arc::ptr_eq(&member.stream, stream)) else {
                return Err(stream.failure().unwrap_or(Error::StreamFinished { stream: stream.name.to_string() }));
            };
            let states = members.all[index].channels.clone();
            let states = states.into_iter().map(|channel| members.channels.take(channel)).collect::<Result<_>>();
            let Member { sink, given, max_batch, max_delay, .. } = members.all.remove(index);
            self.count_members(&members.all);
            let states = states.inspect_err(|error| stream.end(Some(Failure::Failed(error.to_string()))))?;
            Ok(Moving { states, sink, given, max_batch, max_delay })
        })
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
            compute: figures.compute.latency(self.opened.elapsed()),
        }
    }

    /// One batch, of so many frames of channels at most.
    fn turn(&self, most: usize) -> Result<Turn> {
        let turn = self.with_members(|members| -> Result<Turn> {
            let first_came = self.since.load(Ordering::Relaxed);
            let waited = self.fresh.swap(0, Ordering::AcqRel) > 0;
            self.is_poked.swap(false, Ordering::AcqRel);
            fence(Ordering::SeqCst);
            let before = members.all.len();
            let mut failures = 0;
            let turn = loop {
                match members.turn(most) {
                    Err(error) if failures < 2 && self.recover(members, &error, failures > 0) => failures += 1,
                    done => break done?,
                }
            };
            if members.all.len() != before {
                self.count_members(&members.all);
            }
            self.count_turn(&turn, waited.then(|| self.now().saturating_sub(first_came)));
            Ok(turn)
        })?;
        // Their ends are apps' code, which may do anything.
        drop(turn.gone);
        Ok(Turn { gone: Vec::new(), ..turn })
    }

    fn count_turn(&self, turn: &Turn, delay_nanos: Option<u64>) {
        let mut figures = self.figures();
        figures.batches += u64::from(turn.batch > 0);
        figures.frames += turn.batch as u64 + turn.passed;
        figures.live += turn.live;
        figures.passed += turn.passed;
        figures.largest_batch = figures.largest_batch.max(turn.batch);
        let now = self.opened.elapsed();
        if turn.batch > 0 {
            figures.compute.record(now, turn.took);
        }
        if let Some(nanos) = delay_nanos.filter(|_| turn.batch > 0) {
            figures.delay.record(now, Duration::from_nanos(nanos));
        }
    }
}

thread_local! {
    /// Whether this thread works on the members of a group.
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// This thread works on the members of a group as long as this is there.
struct Inside;

impl Inside {
    fn enter() -> Self {
        IS_INSIDE.set(true);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        IS_INSIDE.set(false);
    }
}

/// # Errors
/// When this thread works on the members of a group: it would wait for itself, or for another that waits for it.
pub(super) fn refuse_inside(what: &'static str) -> Result<()> {
    if IS_INSIDE.get() {
        let expected = "a callback of a stream hands its samples over; this is for other threads";
        return Err(Error::setting("the thread", format!("that of a stream's callback where {what}"), expected));
    }
    Ok(())
}

/// A group's wish for a lane.
pub(super) struct GroupTurn(pub(super) Arc<Group>);

impl Work for GroupTurn {
    fn advance(self: Box<Self>, lane: &Lane, budget: Option<Duration>) -> Progress {
        let group = &self.0;
        let compiled = group.compiled();
        let within = budget.map_or(usize::MAX, |budget| compiled.cost().frames_within(budget));
        let watch = Watch::start(lane);
        match group.turn(within.min(group.max_batch.load(Ordering::Relaxed))) {
            Err(error) => Progress::Failed(error),
            Ok(turn) => {
                watch.learn_of(compiled.cost(), turn.live, turn.took);
                if turn.has_more {
                    return Progress::Again(self);
                }
                group.in_flight.store(false, Ordering::Release);
                fence(Ordering::SeqCst);
                if group.fresh.load(Ordering::Acquire) > 0 || group.is_poked.load(Ordering::Acquire) {
                    group.observer.ring();
                }
                Progress::Done(Box::new(|| Answered { waker: None, is_kept: true }))
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
