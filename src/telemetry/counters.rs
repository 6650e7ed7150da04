//! What is counted while plans run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{CompiledSnapshot, WorkSnapshot};
use crate::qos::{PerQos, Qos};

/// What an engine counts of its plans. Each counter is exact; read together they may be of slightly different moments.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    batches: AtomicU64,
    frames: AtomicU64,
    live: AtomicU64,
    faulty: AtomicU64,
    largest_batch: AtomicU64,
    dropped: PerQos<AtomicU64>,
    compiled: Mutex<CompiledSnapshot>,
}

impl Counters {
    pub(crate) fn ran(&self, frames: u64, live: u64, faulty: u64) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.live.fetch_add(live, Ordering::Relaxed);
        self.faulty.fetch_add(faulty, Ordering::Relaxed);
        self.largest_batch.fetch_max(frames, Ordering::Relaxed);
    }

    /// A stream of that level dropped so many floats.
    pub(crate) fn dropped(&self, qos: Qos, floats: u64) {
        self.dropped[qos].fetch_add(floats, Ordering::Relaxed);
    }

    /// What streams of a level dropped so far.
    pub(crate) fn dropped_by(&self, qos: Qos) -> u64 {
        self.dropped[qos].load(Ordering::Relaxed)
    }

    pub(crate) fn compiled(&self, built: usize, reused: usize, time: Duration) {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.graphs += 1;
        compiled.pipelines_built += built as u64;
        compiled.pipelines_reused += reused as u64;
        compiled.time += time;
    }

    pub(crate) fn snapshot(&self) -> (WorkSnapshot, CompiledSnapshot) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let work = WorkSnapshot {
            batches: read(&self.batches),
            frames: read(&self.frames),
            live: read(&self.live),
            faulty: read(&self.faulty),
            largest_batch: read(&self.largest_batch),
        };
        (work, *self.compiled.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
