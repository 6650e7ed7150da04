//! Waiting for the other side of a stream: a thread that sleeps, or a task that is woken.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use crate::schedule::outside;
use crate::sync::{AWAKE, AtomicBool, Mutex, Parker, Unparker, fence};

/// Wakes the one who waits. Costs whoever rings next to nothing while nobody does.
#[derive(Debug, Default)]
pub(super) struct Signal {
    is_awaited: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    /// To be called after what the waiter looks at has changed.
    pub(super) fn ring(&self) {
        // Either the waiter sees the change, or this sees the waiter.
        fence(Ordering::SeqCst);
        if self.is_awaited.load(Ordering::Relaxed) && self.is_awaited.swap(false, Ordering::AcqRel) {
            let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Wakers are apps' code.
            waker.into_iter().for_each(|waker| outside(|| waker.wake()));
        }
    }

    /// Asks to be woken; whoever asks has to look once more before it waits.
    pub(super) fn await_with(&self, waker: Waker) {
        let before = self.waker.lock().unwrap_or_else(PoisonError::into_inner).replace(waker);
        self.is_awaited.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        drop(before);
    }

    /// Waits on this thread until `is_ready`; false when that took longer than `timeout`.
    pub(super) fn wait(&self, timeout: Option<Duration>, is_ready: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        while start.elapsed() < AWAKE.min(timeout.unwrap_or(AWAKE)) {
            if is_ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        let parker = Parker::new();
        let waker = Waker::from(Arc::new(ThisThread(parker.unparker().clone())));
        loop {
            self.await_with(waker.clone());
            if is_ready() {
                return true;
            }
            match timeout {
                None => parker.park(),
                Some(timeout) => match timeout.checked_sub(start.elapsed()) {
                    Some(left) => parker.park_timeout(left),
                    None => return false,
                },
            }
        }
    }
}

struct ThisThread(Unparker);

impl Wake for ThisThread {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
