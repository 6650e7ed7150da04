//! Streams that go together: those of one plan, one output and one level. A lane takes what is there of all of them in one
//! batch, each with its own state.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use super::front::Front;
use super::inside::{Inside, refuse_inside};
use super::members::{Member, Members, Turn};
use super::options::StreamOptions;
use super::sink::Sink;
use super::{Failure, Shared};
use crate::error::{Error, Result};
use crate::plan::{ChannelState, Compiled, Plan};
use crate::schedule::{Answer, Answered, Lane, Progress, Watch, Work, outside};

/// Streams of one plan, output and level.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) plan: Plan,
    pub(super) front: Arc<Front>,
    /// The plan, on the device that serves the level now.
    compiled: Mutex<Arc<Compiled>>,
    /// Its device failed, or its engine shut down; and why.
    is_over: AtomicBool,
    failure: OnceLock<Failure>,
    members: Mutex<Members>,
}

/// Ends a group's streams when it goes, if the group is over.
struct EndIfOver<'a>(&'a Group);

impl Drop for EndIfOver<'_> {
    fn drop(&mut self) {
        self.0.end_if_over();
    }
}

/// A stream on its way from one group to another.
struct Moving {
    states: Result<Vec<ChannelState>>,
    sink: Sink,
    given: u64,
    max_batch: usize,
    max_delay: Duration,
}

impl Group {
    /// A group without streams.
    pub(super) fn new(plan: &Plan, front: &Arc<Front>) -> Result<Self> {
        let compiled = plan.on(front.qos)?;
        let members = Mutex::new(Members::new(&compiled, &front.output)?);
        Ok(Self {
            plan: plan.clone(),
            front: Arc::clone(front),
            compiled: Mutex::new(compiled),
            is_over: AtomicBool::new(false),
            failure: OnceLock::new(),
            members,
        })
    }

    /// Whether a lane should look after it now; else when, if that is known.
    pub(super) fn is_due(&self) -> Result<(), Option<Duration>> {
        let due = self.front.due.is_due();
        if self.is_over() { Err(None) } else { due }
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
        if members.is_empty() {
            return;
        }
        members.iter().for_each(|member| member.stream.end(Some(failure.clone())));
        self.count_members(&[]);
        for member in members {
            member.stream.moves_out();
            outside(|| drop(member));
        }
    }

    /// Works on the members. Nothing that this calls may ask for them again: on the same thread that is refused before.
    fn with_members<T>(&self, work: impl FnOnce(&mut Members) -> T) -> T {
        // After the lock, and also by a panic.
        let _end = EndIfOver(self);
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let _inside = Inside::enter();
        work(&mut members)
    }

    pub(super) fn compiled(&self) -> Arc<Compiled> {
        Arc::clone(&self.compiled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on on another device where this one has failed; false when that can't be done.
    fn recover(&self, members: &mut Members, error: &Error, failed_again: bool) -> bool {
        let qos = self.front.qos;
        if !self.plan.goes_on_after(error, qos, &self.compiled(), failed_again) {
            return false;
        }
        let recovered = self.plan.on(qos).and_then(|compiled| self.go_on(members, compiled));
        recovered.inspect_err(|error| tracing::error!("streams can't go on: {error}")).is_ok()
    }

    fn go_on(&self, members: &mut Members, compiled: Arc<Compiled>) -> Result<()> {
        members.recover(&compiled)?;
        *self.compiled.lock().unwrap_or_else(PoisonError::into_inner) = compiled;
        Ok(())
    }

    /// A job saw the device fail, and here it works all the same: where the plan runs on the new one already, so does this
    /// group from now on, and the old one can go. Nobody waits for a driver because of that.
    fn follow(&self, members: &mut Members) -> Result<()> {
        if !members.channels.loses_nothing_elsewhere() {
            return Ok(());
        }
        match self.plan.served_elsewhere(self.front.qos, &self.compiled()) {
            Some(compiled) => self.go_on(members, compiled),
            None => Ok(()),
        }
    }

    /// Takes in a new stream.
    pub(super) fn join(self: &Arc<Self>, stream: &Arc<Shared>, sink: Sink, options: &StreamOptions) -> Result<()> {
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

    /// From here on the stream lives here.
    fn add(self: &Arc<Self>, member: Member) -> Result<()> {
        let mut refused = None;
        let added = self.with_members(|members| {
            if let Some(failure) = self.failure.get().filter(|_| self.is_over()) {
                let error = failure.error(&member.stream.name);
                refused = Some(member);
                return Err(error);
            }
            member.stream.moves_in(self);
            members.all.push(member);
            self.count_members(&members.all);
            Ok(())
        });
        outside(|| drop(refused));
        added
    }

    fn count_members(&self, members: &[Member]) {
        let least_batch = members.iter().map(|member| member.max_batch).min().unwrap_or(1);
        let least_delay = members.iter().map(|member| member.max_delay).min().unwrap_or_default();
        self.front.due.gathers(least_batch, least_delay);
        self.front.count_streams(members.len(), members.iter().map(|member| member.channels.len()).sum());
    }

    /// Moves a stream to another group of a like plan. Frames that come meanwhile wait. One move of a stream at a time.
    pub(super) fn move_to(&self, stream: &Arc<Shared>, to: &Arc<Self>) -> Result<()> {
        // Room comes first: without it, the stream stays where it is.
        let channels = to.open_channels(stream.channels)?;
        let moved = self.leave(stream).and_then(|moving| to.take_in(stream, moving, &channels));
        if let Err(error) = moved {
            // Why it was not moved is what counts, whatever comes of this.
            to.with_members(|members| members.channels.close(&channels)).ok();
            return Err(error);
        }
        // Either whoever pushes sees the new home, or this sees what was pushed; and who poked the old one is heard.
        fence(Ordering::SeqCst);
        to.front.due.poke();
        Ok(())
    }

    fn leave(&self, stream: &Arc<Shared>) -> Result<Moving> {
        self.with_members(|members| {
            let Some(index) = members.all.iter().position(|member| Arc::ptr_eq(&member.stream, stream)) else {
                return Err(stream.end_error());
            };
            let Member { channels, sink, given, max_batch, max_delay, .. } = members.all.remove(index);
            self.count_members(&members.all);
            // First all of them: also where the device fails at one, none stays behind.
            let taken: Vec<_> = channels.into_iter().map(|channel| members.channels.take(channel)).collect();
            Ok(Moving { states: taken.into_iter().collect(), sink, given, max_batch, max_delay })
        })
    }

    /// Goes on with a stream that has left another group. It is in neither now: where it can't go on, it ends.
    fn take_in(self: &Arc<Self>, stream: &Arc<Shared>, moving: Moving, channels: &[u32]) -> Result<()> {
        let Moving { states, sink, given, max_batch, max_delay } = moving;
        let put = states.and_then(|states| {
            self.with_members(|members| {
                let mut all = channels.iter().zip(states);
                all.try_for_each(|(channel, state)| members.channels.put(*channel, state))
            })
        });
        let channels = channels.to_vec();
        let member = Member { stream: Arc::clone(stream), channels, sink, given, max_batch, max_delay };
        let taken_in = match put {
            Ok(()) => self.add(member),
            Err(error) => {
                outside(|| drop(member));
                Err(error)
            }
        };
        taken_in.inspect_err(|error| {
            stream.end(Some(Failure::Failed(error.to_string())));
            stream.moves_out();
        })
    }

    /// One batch, of so many frames of channels at most.
    fn turn(&self, most: usize) -> Result<Turn> {
        let mut gone = Vec::new();
        let turn = self.with_members(|members| {
            let first_came = self.front.due.begins();
            let before = members.all.len();
            self.follow(members)?;
            let mut failures = 0;
            let turn = loop {
                match members.turn(most, &mut gone) {
                    Err(error) if failures < 2 && self.recover(members, &error, failures > 0) => failures += 1,
                    done => break done,
                }
            };
            if members.all.len() != before {
                self.count_members(&members.all);
            }
            turn.inspect(|turn| self.front.count_turn(turn, first_came.map(|came| came.elapsed())))
        });
        // Their ends are apps' code, which may do anything.
        gone.into_iter().for_each(|member| outside(|| drop(member)));
        turn
    }
}

/// A group's wish for a lane.
pub(super) struct GroupTurn(pub(super) Arc<Group>);

impl Work for GroupTurn {
    fn advance(self: Box<Self>, lane: &Lane, budget: Option<Duration>) -> Progress {
        let group = &self.0;
        let compiled = group.compiled();
        let within = budget.map_or(usize::MAX, |budget| compiled.cost().frames_within(budget));
        let watch = Watch::start(lane);
        match group.turn(within.min(group.front.due.max_batch())) {
            Err(error) => Progress::Failed(error),
            Ok(turn) => {
                watch.learn_of(compiled.cost(), turn.live, turn.took);
                if turn.has_more {
                    return Progress::Again(self);
                }
                group.front.due.lands();
                // A group that all have left may go with this job, and takes its time.
                let is_kept = !group.front.is_empty();
                Progress::Done(Box::new(move || Answered { waker: None, is_kept }))
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
