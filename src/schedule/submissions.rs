//! How many submissions of each level have been on the device: whether somebody more urgent came between.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::qos::{PerQos, Qos};

/// Submissions that lanes have begun, and those that have ended.
#[derive(Debug, Default)]
pub(super) struct Submissions {
    begun: PerQos<AtomicU64>,
    ended: PerQos<AtomicU64>,
}

impl Submissions {
    pub(super) fn begins(&self, qos: Qos) {
        self.begun[qos].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ends(&self, qos: Qos) {
        self.ended[qos].fetch_add(1, Ordering::Relaxed);
    }

    /// Submissions of more urgent levels so far, if none of them is on the device. Where that is not the same
    /// afterwards, what was done in between was disturbed.
    pub(super) fn undisturbed_by_more_urgent(&self, qos: Qos) -> Option<u64> {
        let higher = || Qos::ALL.into_iter().filter(|higher| *higher < qos);
        let sum = |of: &PerQos<AtomicU64>| higher().map(|higher| of[higher].load(Ordering::Relaxed)).sum::<u64>();
        let begun = sum(&self.begun);
        (begun == sum(&self.ended)).then_some(begun)
    }
}
