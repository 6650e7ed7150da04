//! What the ends of a stream know of the group that works on it: little, so that it can stay when the group is gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::due::Due;
use super::members::Turn;
use crate::plan::{Plan, Profile};
use crate::qos::Qos;
use crate::schedule::Bell;
use crate::telemetry::{Counters, Rolling, StreamsSnapshot};

/// It is there as long as its group, and as long as somebody holds an end or a control of a stream that lived there. The
/// next group of the same plan, output and level goes on with it.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) output: String,
    pub(super) qos: Qos,
    pub(super) due: Due,
    opened: Instant,
    counters: Arc<Counters>,
    /// Which plan it is of.
    profile: Weak<Profile>,
    figures: Mutex<Figures>,
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

impl Front {
    /// That of a group without streams, whose observer has this bell.
    pub(super) fn new(plan: &Plan, output: &str, qos: Qos, bell: &Arc<Bell>) -> Self {
        Self {
            output: output.to_owned(),
            qos,
            due: Due::new(bell),
            opened: Instant::now(),
            counters: Arc::clone(plan.counters()),
            profile: Arc::downgrade(plan.profile()),
            figures: Mutex::default(),
        }
    }

    /// Whether it is that of a plan's output at a level.
    pub(super) fn is_of(&self, plan: &Plan, output: &str, qos: Qos) -> bool {
        self.output == output && self.qos == qos && std::ptr::eq(self.profile.as_ptr(), Arc::as_ptr(plan.profile()))
    }

    /// A stream of it dropped so many floats.
    pub(super) fn has_dropped(&self, floats: u64) {
        self.counters.dropped(self.qos, floats);
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many streams live there now, of so many channels in all.
    pub(super) fn count_streams(&self, streams: usize, channels: usize) {
        let mut figures = self.figures();
        (figures.streams, figures.channels) = (streams, channels);
    }

    /// Whether all have left.
    pub(super) fn is_empty(&self) -> bool {
        self.figures().streams == 0
    }

    /// A turn came to this, so long after the first of its frames had come.
    pub(super) fn count_turn(&self, turn: &Turn, delay: Option<Duration>) {
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
        if let Some(delay) = delay.filter(|_| turn.batch > 0) {
            figures.delay.record(now, delay);
        }
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
}
