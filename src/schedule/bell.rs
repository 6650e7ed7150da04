//! What wakes a thread of the engine's.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::sync::{AWAKE, AtomicBool, Parker, Unparker};

/// What wakes a lane, or whoever holds its parker.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: AtomicBool,
    unparker: Unparker,
}

impl Bell {
    pub(crate) fn new(unparker: Unparker) -> Self {
        Self { rung: AtomicBool::new(false), unparker }
    }

    /// To be called after what the waiter looks at has changed.
    pub(crate) fn ring(&self) {
        // Not a store: the order of two rings and a look between them would be harder to tell, also for the models.
        self.rung.swap(true, Ordering::Release);
        self.unparker.unpark();
    }

    /// Waits until it was rung since the last time, or so long: a moment awake, then asleep.
    pub(crate) fn wait(&self, parker: &Parker, timeout: Option<Duration>) {
        let start = Instant::now();
        while !self.rung.swap(false, Ordering::Acquire) {
            if start.elapsed() < AWAKE {
                std::hint::spin_loop();
                continue;
            }
            match timeout.map(|timeout| timeout.checked_sub(start.elapsed())) {
                None => parker.park(),
                Some(Some(left)) => parker.park_timeout(left),
                Some(None) => return,
            }
        }
    }
}
