//! What jobs of each size took, from one look to the next.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{SIZES, size_for};
use crate::telemetry::histogram;

/// So long is a window at least.
pub(super) const WINDOW: Duration = Duration::from_secs(1);
/// So many jobs should be in it, so that the 95th percentile means something.
const ENOUGH_JOBS: u64 = 20;
/// So many jobs of one size should be there, from as many windows as it takes.
const FEW_JOBS: u64 = 5;
/// So long one waits for either.
pub(super) const LONGEST_WINDOW: Duration = Duration::from_secs(10);

/// One job that was answered with a result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobTimes {
    /// Of all its channels.
    pub(crate) frames: usize,
    /// From submission to the first lane.
    pub(crate) waited: Duration,
    /// With lanes.
    pub(crate) worked: Duration,
    /// From submission to the answer.
    pub(crate) total: Duration,
}

/// What came of a window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Counts windows, from 1.
    pub(super) number: u64,
    pub(super) begin: Duration,
    pub(super) end: Duration,
    /// The part of it in which the device was at work.
    pub(super) occupancy: f64,
    /// All jobs that were done.
    pub(super) jobs: u64,
    pub(super) frames: u64,
    pub(super) mean_s: f64,
    pub(super) p95_s: f64,
    /// The sizes that there were, the smallest first. Of those with few jobs, which are collected over several windows, only
    /// the ones that are complete now.
    pub(super) sizes: Vec<Size>,
    /// Those that are not.
    pub(super) pending: Vec<usize>,
    /// The smallest size that had no room in memory.
    pub(super) no_room: Option<usize>,
}

/// Jobs of one size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) size: usize,
    pub(super) mean_s: f64,
    pub(super) p95_s: f64,
    /// The part of their time in which they waited for the first lane.
    pub(super) waiting: f64,
    /// What a frame took with lanes, and what all of them did.
    pub(super) cost_s: f64,
    /// What all of them took of each second with lanes.
    pub(super) load: f64,
}

impl Window {
    pub(super) fn seconds(&self) -> f64 {
        (self.end - self.begin).as_secs_f64()
    }

    pub(super) fn frames_per_s(&self) -> f64 {
        self.frames as f64 / self.seconds()
    }

    pub(super) fn size(&self, size: usize) -> Option<&Size> {
        self.sizes.iter().find(|known| known.size == size)
    }
}

/// Collects the window at hand.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// When the window began, and how long the device had been at work by then.
    begin: Option<(Duration, Duration)>,
    all: Jobs,
    sizes: Vec<Option<Box<Jobs>>>,
    no_room: Option<usize>,
    /// When something was noted last, and how long the device had been at work by then.
    noted: (Duration, Duration),
    last: Option<Window>,
}

/// Sums over jobs.
#[derive(Debug)]
struct Jobs {
    /// When the window began in which the first of them was answered.
    since: Duration,
    frames: u64,
    waited: Duration,
    worked: Duration,
    total: Duration,
    /// In microseconds.
    times: Histogram<u32>,
}

impl Collector {
    pub(super) fn done(&mut self, now: Duration, busy: Duration, times: JobTimes) {
        self.look(now, busy);
        self.noted = (now, busy);
        let begin = self.begin.map_or(now, |(begin, _)| begin);
        self.sizes.resize_with(SIZES, || None);
        self.sizes[size_for(times.frames)].get_or_insert_with(Box::default).add(begin, times);
        self.all.add(begin, times);
    }

    pub(super) fn had_no_room(&mut self, now: Duration, busy: Duration, frames: usize) {
        self.look(now, busy);
        self.noted = (now, busy);
        let size = size_for(frames);
        self.no_room = Some(self.no_room.map_or(size, |other| other.min(size)));
    }

    /// Ends the window if it is time.
    pub(super) fn look(&mut self, now: Duration, busy: Duration) {
        let &mut (begin, busy_before) = self.begin.get_or_insert((now, busy));
        let age = now.saturating_sub(begin);
        let (jobs, had_room) = (self.all.times.len(), self.no_room.is_none());
        if age < WINDOW || (jobs < ENOUGH_JOBS && had_room && age < LONGEST_WINDOW) {
            return;
        }
        self.begin = Some((now, busy));
        if jobs == 0 && had_room {
            return;
        }
        // Where nobody looked in time, the window ended with what came last.
        let (end, busy) = if age > LONGEST_WINDOW { self.noted } else { (now, busy) };
        let end = end.max(begin + WINDOW);
        let occupancy = busy.saturating_sub(busy_before).as_secs_f64() / (end - begin).as_secs_f64();
        let number = self.last.as_ref().map_or(0, |last| last.number) + 1;
        self.last = Some(self.window(number, (begin, end), occupancy.min(1.0)));
    }

    /// Sums up what is complete, and forgets it.
    fn window(&mut self, number: u64, (begin, end): (Duration, Duration), occupancy: f64) -> Window {
        let (mut sizes, mut pending) = (Vec::new(), Vec::new());
        for (size, jobs) in self.sizes.iter_mut().enumerate() {
            let Some(jobs) = jobs.as_deref_mut().filter(|jobs| !jobs.times.is_empty()) else { continue };
            let collected = end.saturating_sub(jobs.since);
            if jobs.times.len() < FEW_JOBS && collected < LONGEST_WINDOW {
                pending.push(size);
                continue;
            }
            sizes.push(jobs.sum_up(size, collected));
            jobs.forget();
        }
        let all = &mut self.all;
        let (jobs, frames, mean_s, p95_s) = (all.times.len(), all.frames, all.mean_s(), all.p95_s());
        all.forget();
        let no_room = self.no_room.take();
        Window { number, begin, end, occupancy, jobs, frames, mean_s, p95_s, sizes, pending, no_room }
    }

    /// The last window, unless it is over for long.
    pub(super) fn last(&self, now: Duration) -> Option<&Window> {
        self.last.as_ref().filter(|last| now.saturating_sub(last.end) <= LONGEST_WINDOW)
    }
}

impl Default for Jobs {
    fn default() -> Self {
        let (since, waited, worked, total) = Default::default();
        Self { since, frames: 0, waited, worked, total, times: histogram() }
    }
}

impl Jobs {
    fn add(&mut self, begin: Duration, job: JobTimes) {
        if self.times.is_empty() {
            self.since = begin;
        }
        self.frames += job.frames as u64;
        self.waited += job.waited;
        self.worked += job.worked;
        self.total += job.total;
        self.times.saturating_record(u64::try_from(job.total.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    fn mean_s(&self) -> f64 {
        self.total.as_secs_f64() / self.times.len().max(1) as f64
    }

    fn p95_s(&self) -> f64 {
        Duration::from_micros(self.times.value_at_quantile(0.95)).as_secs_f64()
    }

    fn sum_up(&self, size: usize, collected: Duration) -> Size {
        let worked_s = self.worked.as_secs_f64();
        Size {
            size,
            mean_s: self.mean_s(),
            p95_s: self.p95_s(),
            waiting: self.waited.as_secs_f64() / self.total.as_secs_f64().max(1e-9),
            cost_s: worked_s / self.frames.max(1) as f64,
            load: worked_s / collected.max(WINDOW).as_secs_f64(),
        }
    }

    fn forget(&mut self) {
        (self.since, self.frames, self.waited, self.worked, self.total) = Default::default();
        self.times.reset();
    }
}
