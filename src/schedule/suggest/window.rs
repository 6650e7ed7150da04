//! What jobs of each size took, from one look to the next.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{SIZES, size_of};
use crate::telemetry::histogram;

/// So long is a window at least.
pub(super) const WINDOW: Duration = Duration::from_secs(1);
/// So many jobs should be in it, so that the 95th percentile means something.
const ENOUGH_JOBS: u64 = 20;
/// So long one waits for them.
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
    pub(super) mean_s: f64,
    pub(super) p95_s: f64,
    /// The sizes that there were, the smallest first.
    pub(super) sizes: Vec<Size>,
    /// The smallest size that had no room in memory.
    pub(super) no_room: Option<usize>,
}

/// Jobs of one size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) size: usize,
    pub(super) jobs: u64,
    pub(super) mean_s: f64,
    pub(super) p95_s: f64,
    /// The part of their time in which they waited for the first lane.
    pub(super) waiting: f64,
    /// What a frame took with lanes, and what all of them did.
    pub(super) cost_s: f64,
    pub(super) worked_s: f64,
}

impl Window {
    pub(super) fn seconds(&self) -> f64 {
        (self.end - self.begin).as_secs_f64()
    }
}

/// Collects the window at hand.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// When the window began, and how long the device had been at work by then.
    begin: Option<(Duration, Duration)>,
    jobs: u64,
    sizes: Vec<Option<Box<Jobs>>>,
    no_room: Option<usize>,
    /// When something was noted last, and how long the device had been at work by then.
    noted: (Duration, Duration),
    last: Option<Window>,
}

/// Sums over jobs of one size.
#[derive(Debug)]
struct Jobs {
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
        self.jobs += 1;
        self.sizes.resize_with(SIZES, || None);
        let jobs = self.sizes[size_of(times.frames)].get_or_insert_with(Box::default);
        jobs.frames += times.frames as u64;
        jobs.waited += times.waited;
        jobs.worked += times.worked;
        jobs.total += times.total;
        jobs.times.saturating_record(u64::try_from(times.total.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    pub(super) fn had_no_room(&mut self, now: Duration, busy: Duration, frames: usize) {
        self.look(now, busy);
        self.noted = (now, busy);
        let size = size_of(frames);
        self.no_room = Some(self.no_room.map_or(size, |other| other.min(size)));
    }

    /// Ends the window if it is time.
    pub(super) fn look(&mut self, now: Duration, busy: Duration) {
        let &mut (begin, busy_before) = self.begin.get_or_insert((now, busy));
        let age = now.saturating_sub(begin);
        let is_empty = self.jobs == 0 && self.no_room.is_none();
        if age < WINDOW || (self.jobs < ENOUGH_JOBS && self.no_room.is_none() && age < LONGEST_WINDOW) {
            return;
        }
        self.begin = Some((now, busy));
        if is_empty {
            return;
        }
        // Where nobody looked in time, the window ended with what came last.
        let (end, busy) = if age > LONGEST_WINDOW { self.noted } else { (now, busy) };
        let end = end.max(begin + WINDOW);
        let occupancy = busy.saturating_sub(busy_before).as_secs_f64() / (end - begin).as_secs_f64();
        let number = self.last.as_ref().map_or(0, |last| last.number) + 1;
        self.last = Some(self.window(number, (begin, end), occupancy.min(1.0)));
    }

    /// Sums up, and forgets.
    fn window(&mut self, number: u64, (begin, end): (Duration, Duration), occupancy: f64) -> Window {
        let mut all = Jobs::default();
        let mut sizes = Vec::new();
        for (size, jobs) in self.sizes.iter_mut().enumerate() {
            let Some(jobs) = jobs.as_deref_mut().filter(|jobs| !jobs.times.is_empty()) else { continue };
            all.total += jobs.total;
            // Same bounds, so it always fits.
            all.times.add(&jobs.times).ok();
            sizes.push(jobs.sum_up(size));
            jobs.forget();
        }
        let all_jobs = std::mem::take(&mut self.jobs);
        let mean_s = all.total.as_secs_f64() / all_jobs.max(1) as f64;
        let no_room = self.no_room.take();
        Window { number, begin, end, occupancy, jobs: all_jobs, mean_s, p95_s: all.p95_s(), sizes, no_room }
    }

    /// The last window, unless it is over for long.
    pub(super) fn last(&self, now: Duration) -> Option<&Window> {
        self.last.as_ref().filter(|last| now.saturating_sub(last.end) <= LONGEST_WINDOW)
    }
}

impl Default for Jobs {
    fn default() -> Self {
        let (waited, worked, total) = Default::default();
        Self { frames: 0, waited, worked, total, times: histogram() }
    }
}

impl Jobs {
    fn p95_s(&self) -> f64 {
        Duration::from_micros(self.times.value_at_quantile(0.95)).as_secs_f64()
    }

    fn sum_up(&self, size: usize) -> Size {
        let total_s = self.total.as_secs_f64();
        Size {
            size,
            jobs: self.times.len(),
            mean_s: total_s / self.times.len().max(1) as f64,
            p95_s: self.p95_s(),
            waiting: self.waited.as_secs_f64() / total_s.max(1e-9),
            worked_s: self.worked.as_secs_f64(),
            cost_s: self.worked.as_secs_f64() / self.frames.max(1) as f64,
        }
    }

    fn forget(&mut self) {
        (self.frames, self.waited, self.worked, self.total) = Default::default();
        self.times.reset();
    }
}
