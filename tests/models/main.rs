//! Models of what waits and wakes without a lock: the crate's own files, on loom's primitives. Each test goes through all
//! orders in which its threads can meet; a wake-up that gets lost is a deadlock there, which loom finds.
//!
//! Locks, queues and counters are std's, crossbeam's and rtrb's; what is here is what is ours.

mod sync;

/// What the files want besides.
mod schedule {
    pub(crate) fn outside(run: impl FnOnce()) {
        run();
    }
}

#[path = "../../src/schedule/bell.rs"]
mod bell;

#[path = "../../src/stream/signal.rs"]
mod signal;

use std::sync::Arc as StdArc;
use std::sync::atomic::Ordering;

use bell::Bell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering as LoomOrdering};
use signal::Signal;
use sync::Parker;

/// All orders in which no thread is interrupted more than three times: with three threads, all would take minutes.
fn of_three(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
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
