//! When a group's next turn is due: what whoever pushes tells, what the observer looks at, and what a turn leaves
//! behind. None of them waits for another.
//!
//! ```text
//! push     has_more, poke -> bell
//! observer bell -> is_due -> takes_off
//! lane                                 -> begins, ..., lands -> bell, if more has come
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::schedule::Bell;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, fence};

/// Whether a group's next turn is due.
#[derive(Debug)]
pub(super) struct Due {
    opened: Instant,
    /// Frames of channels that came since a lane looked last; and when the first of them did, in nanoseconds since
    /// `opened`.
    fresh: AtomicUsize,
    since: AtomicU64,
    /// There is something to do besides.
    is_poked: AtomicBool,
    /// A turn waits for a lane, or is on one.
    in_flight: AtomicBool,
    max_batch: AtomicUsize,
    max_delay_nanos: AtomicU64,
    /// The observer's.
    bell: Arc<Bell>,
}

impl Due {
    pub(super) fn new(bell: &Arc<Bell>) -> Self {
        Self {
            opened: Instant::now(),
            fresh: AtomicUsize::new(0),
            since: AtomicU64::new(0),
            is_poked: AtomicBool::new(false),
            in_flight: AtomicBool::new(false),
            max_batch: AtomicUsize::new(1),
            max_delay_nanos: AtomicU64::new(0),
            bell: Arc::clone(bell),
        }
    }

    /// From now on, so many frames are a batch, and none waits longer for others.
    pub(super) fn gathers(&self, max_batch: usize, max_delay: Duration) {
        self.max_batch.store(max_batch, Ordering::Relaxed);
        let nanos = u64::try_from(max_delay.as_nanos()).unwrap_or(u64::MAX);
        self.max_delay_nanos.store(nanos, Ordering::Relaxed);
    }

    /// Frames of channels in a batch, at most.
    pub(super) fn max_batch(&self) -> usize {
        self.max_batch.load(Ordering::Relaxed)
    }

    /// Frames of channels have come; the observer learns of it when that changes what it does.
    pub(super) fn has_more(&self, frames: usize) {
        if self.fresh.load(Ordering::Relaxed) == 0 {
            self.since.store(self.now(), Ordering::Relaxed);
        }
        let before = self.fresh.fetch_add(frames, Ordering::AcqRel);
        let max_batch = self.max_batch();
        if before == 0 || (before < max_batch && before + frames >= max_batch) {
            self.bell.ring();
        }
    }

    /// There is something to do besides frames that came.
    pub(super) fn poke(&self) {
        // Not a store: its order with a turn's look would be harder to tell, also for the models.
        self.is_poked.swap(true, Ordering::Release);
        self.bell.ring();
    }

    /// Whether a lane should look after it now; else when, if that is known.
    pub(super) fn is_due(&self) -> Result<(), Option<Duration>> {
        // Either this sees that the last turn is over, or that turn sees what has come since.
        fence(Ordering::SeqCst);
        if self.in_flight.load(Ordering::Acquire) {
            return Err(None);
        }
        if self.is_poked.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.fresh.load(Ordering::Acquire) {
            0 => Err(None),
            fresh if fresh >= self.max_batch() => Ok(()),
            _ => {
                let at = self.since.load(Ordering::Relaxed) + self.max_delay_nanos.load(Ordering::Relaxed);
                match at.saturating_sub(self.now()) {
                    0 => Ok(()),
                    left => Err(Some(Duration::from_nanos(left))),
                }
            }
        }
    }

    /// Whether a turn was asked for and has not landed.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Acquire)
    }

    /// A turn is about to be asked for.
    pub(super) fn takes_off(&self) {
        self.in_flight.store(true, Ordering::Release);
    }

    /// A turn begins: it sees all that has come so far, if only it looks after this. Since when the first of it has
    /// waited; none where no frames came.
    pub(super) fn begins(&self) -> Option<Instant> {
        let first_came = self.since.load(Ordering::Relaxed);
        let waited = self.fresh.swap(0, Ordering::AcqRel) > 0;
        self.is_poked.swap(false, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        waited.then(|| self.opened + Duration::from_nanos(first_came))
    }

    /// It is over, with nothing left of what it saw.
    pub(super) fn lands(&self) {
        self.in_flight.store(false, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.fresh.load(Ordering::Acquire) > 0 || self.is_poked.load(Ordering::Acquire) {
            self.bell.ring();
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
