//! Models of what waits and wakes without a lock: the crate's own files, on loom's primitives. Each test goes through all
//! orders in which its threads can meet; a wake-up that gets lost is a deadlock there, which loom finds.
//!
//! Locks, queues and counters are std's, crossbeam's and rtrb's; what is here is what is ours.

#![expect(
    clippy::expect_used,
    reason = "a test may stop at a surprise; Clippy's own exception leaves out what tests share"
)]

mod sync;

/// Stands in for `crate::schedule`, of which signal.rs uses `outside` and due.rs the bell.
mod schedule {
    pub(crate) use crate::bell::Bell;

    pub(crate) fn outside(run: impl FnOnce()) {
        run();
    }
}

#[path = "../../src/schedule/bell.rs"]
mod bell;

#[path = "../../src/stream/due.rs"]
mod due;

#[path = "../../src/stream/signal.rs"]
mod signal;

use std::sync::Arc as StdArc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bell::Bell;
use due::Due;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering as LoomOrdering};
use signal::Signal;
use sync::Parker;

/// All orders in which no thread is interrupted more than three times: with three threads, all would take minutes.
fn of_three(model: impl Fn() + Sync + Send + 'static) {
    interrupted(3, model);
}

/// The same with four threads, which do more than those.
fn of_four(model: impl Fn() + Sync + Send + 'static) {
    interrupted(2, model);
}

fn interrupted(times: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(times);
    builder.check(model);
}

#[test]
fn a_bell_is_heard_by_a_lane_that_looks_and_then_sleeps() {
    loom::model(|| {
        let work = Arc::new(AtomicUsize::new(0));
        let parker = Parker::new();
        let bell = StdArc::new(Bell::new(parker.unparker().clone()));
        let (their_work, their_bell) = (Arc::clone(&work), StdArc::clone(&bell));
        let submitter = loom::thread::spawn(move || {
            their_work.store(1, LoomOrdering::Relaxed);
            their_bell.ring();
        });
        // As a lane does: look, and wait for the bell where there is nothing.
        while work.load(LoomOrdering::Relaxed) == 0 {
            bell.wait(&parker, None);
        }
        submitter.join().expect("it ends");
    });
}

#[test]
fn two_rings_are_at_least_one_wake_up_and_show_what_came_before_them() {
    of_three(|| {
        let work = Arc::new(AtomicUsize::new(0));
        let parker = Parker::new();
        let bell = StdArc::new(Bell::new(parker.unparker().clone()));
        let submitters = [(); 2].map(|()| {
            let (work, bell) = (Arc::clone(&work), StdArc::clone(&bell));
            loom::thread::spawn(move || {
                work.fetch_add(1, LoomOrdering::Relaxed);
                bell.ring();
            })
        });
        while work.load(LoomOrdering::Relaxed) < 2 {
            bell.wait(&parker, None);
        }
        submitters.into_iter().for_each(|submitter| submitter.join().expect("it ends"));
    });
}

#[test]
fn a_signal_wakes_a_thread_however_late_it_asks() {
    loom::model(|| {
        let ready = Arc::new(AtomicUsize::new(0));
        let signal = Arc::new(Signal::default());
        let (their_ready, their_signal) = (Arc::clone(&ready), Arc::clone(&signal));
        let other = loom::thread::spawn(move || {
            their_ready.store(1, LoomOrdering::Relaxed);
            their_signal.ring();
        });
        assert!(signal.wait(None, || ready.load(LoomOrdering::Relaxed) == 1), "there is no time to run out");
        other.join().expect("it ends");
    });
}

#[test]
fn a_signal_that_several_ring_wakes_for_the_last_of_them() {
    of_three(|| {
        let ready = Arc::new(AtomicUsize::new(0));
        let signal = Arc::new(Signal::default());
        let others = [(); 2].map(|()| {
            let (ready, signal) = (Arc::clone(&ready), Arc::clone(&signal));
            loom::thread::spawn(move || {
                ready.fetch_add(1, LoomOrdering::Relaxed);
                signal.ring();
            })
        });
        signal.wait(None, || ready.load(LoomOrdering::Relaxed) == 2);
        others.into_iter().for_each(|other| other.join().expect("it ends"));
    });
}

/// A waker that only counts, as a task's runtime would.
struct Count(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Count {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_task_that_saw_nothing_ready_is_woken_once() {
    loom::model(|| {
        let ready = Arc::new(AtomicUsize::new(0));
        let signal = Arc::new(Signal::default());
        let (their_ready, their_signal) = (Arc::clone(&ready), Arc::clone(&signal));
        let other = loom::thread::spawn(move || {
            their_ready.store(1, LoomOrdering::Relaxed);
            their_signal.ring();
        });
        let count = StdArc::new(Count(std::sync::atomic::AtomicUsize::new(0)));
        signal.await_with(StdArc::clone(&count).into());
        let saw_it = ready.load(LoomOrdering::Relaxed) == 1;
        other.join().expect("it ends");
        let woken = count.0.load(Ordering::SeqCst);
        assert!(woken <= 1 && (saw_it || woken == 1), "saw it: {saw_it}, woken {woken} times");
    });
}

/// Frames that go into a group, and turns that take them.
struct Group {
    due: Due,
    bell: StdArc<Bell>,
    pushed: AtomicUsize,
    taken: AtomicUsize,
}

/// Frames that each of these models is about.
const FRAMES: usize = 2;

impl Group {
    fn new(parker: &Parker, max_batch: usize, max_delay: Duration) -> Arc<Self> {
        let bell = StdArc::new(Bell::new(parker.unparker().clone()));
        let due = Due::new(&bell);
        due.gathers(max_batch, max_delay);
        Arc::new(Self { due, bell, pushed: AtomicUsize::new(0), taken: AtomicUsize::new(0) })
    }

    /// As whoever pushes does it: the frame, and then word of it.
    fn push(&self, tell: fn(&Due)) {
        self.pushed.fetch_add(1, LoomOrdering::Release);
        tell(&self.due);
    }

    /// As a lane does it: turn after turn, until nothing is left of what the last one saw.
    fn turn(&self) {
        loop {
            self.due.begins();
            let taken = self.taken.load(LoomOrdering::Relaxed);
            let here = self.pushed.load(LoomOrdering::Acquire) - taken;
            let now = here.min(self.due.max_batch());
            self.taken.store(taken + now, LoomOrdering::Release);
            if now == here {
                break;
            }
        }
        self.due.lands();
        // Not the group's: the model ends when all is taken.
        if self.taken.load(LoomOrdering::Relaxed) == FRAMES {
            self.bell.ring();
        }
    }
}

/// As the observer does it, until all frames are taken. One that is forgotten is a deadlock.
fn observe(group: &Arc<Group>, parker: &Parker) {
    let mut turns = Vec::new();
    while group.taken.load(LoomOrdering::Acquire) < FRAMES {
        match group.due.is_due() {
            Ok(()) => {
                group.due.takes_off();
                let group = Arc::clone(group);
                turns.push(loom::thread::spawn(move || group.turn()));
            }
            Err(when) => group.bell.wait(parker, when),
        }
    }
    turns.into_iter().for_each(|turn| turn.join().expect("it ends"));
    assert!(!group.due.is_in_flight(), "all have landed");
}

/// One frame is there; the other one comes at any time, also while the turn of the first lands.
fn all_are_taken(tell: fn(&Due)) {
    of_four(move || {
        let parker = Parker::new();
        let group = Group::new(&parker, 1, Duration::ZERO);
        group.push(tell);
        let theirs = Arc::clone(&group);
        let pushing = loom::thread::spawn(move || theirs.push(tell));
        observe(&group, &parker);
        pushing.join().expect("it ends");
    });
}

#[test]
fn what_comes_while_a_turn_lands_is_in_it_or_in_the_next() {
    all_are_taken(|due| due.has_more(1));
}

#[test]
fn a_poke_while_a_turn_lands_is_heard_by_it_or_by_the_next() {
    all_are_taken(Due::poke);
}

#[test]
fn two_streams_that_fill_a_batch_need_not_wait_for_its_time() {
    of_four(|| {
        let parker = Parker::new();
        let group = Group::new(&parker, FRAMES, Duration::from_hours(1));
        let pushing = [(); FRAMES].map(|()| {
            let group = Arc::clone(&group);
            loom::thread::spawn(move || group.push(|due| due.has_more(1)))
        });
        observe(&group, &parker);
        pushing.into_iter().for_each(|pushing| pushing.join().expect("it ends"));
    });
}
