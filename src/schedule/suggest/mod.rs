//! How large the next batch should be: for a level, the most frames in a job that keep a target of latency.
//!
//! ```text
//! answered jobs -> window: what jobs of each size took in the last second
//!                    -> curve: what each size takes, as far as anybody knows
//!                         -> controller, one for each target that is asked for: raise, hold or lower, once in a window
//! ```
//!
//! All clients of a level that have one target get one answer, so they share what there is in equal parts, and what one of
//! them learns serves the others. Time and figures come from outside, so tests drive this through hours of load.

mod controller;

mod curve;

mod hint;

mod window;

#[cfg(test)]
mod tests;

use std::time::Duration;

use self::controller::Controller;
use self::curve::Curve;
pub use self::hint::{BatchAction, BatchHint, BoundBy};
pub(crate) use self::window::JobTimes;
use self::window::{Collector, LONGEST_WINDOW};
use crate::plan::power_of_two_below;
use crate::qos::Qos;

/// Sizes of batches are powers of two, up to 2^16 frames.
pub(super) const SIZES: usize = 17;
/// Controllers of a level, at most.
const MOST_TARGETS: usize = 16;

/// The largest size that is no more than the frames.
fn size_for(frames: usize) -> usize {
    power_of_two_below(frames).min(SIZES - 1)
}

/// What a device's memory tells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemoryState {
    /// The part of the budget that is used.
    pub(crate) pressure: Option<f64>,
    /// How often something had to leave for others, so far; none where nobody can tell just now.
    pub(crate) evicted: Option<u64>,
}

/// What one level's clients are told.
#[derive(Debug, Default)]
pub(crate) struct Suggestions {
    collector: Collector,
    curve: Curve,
    /// The number of the window that the curve knows.
    learned: u64,
    controllers: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    latency: Duration,
    controller: Controller,
    /// When it was asked for last.
    asked: Duration,
    /// Evictions when it last decided.
    evicted: Option<u64>,
}

impl Suggestions {
    /// A job was answered with a result; `busy` is how long the device has been at work in all.
    pub(crate) fn done(&mut self, now: Duration, busy: Duration, times: JobTimes) {
        self.collector.done(now, busy, times);
    }

    /// A job had no room in the device's memory.
    pub(crate) fn had_no_room(&mut self, now: Duration, busy: Duration, frames: usize) {
        self.collector.had_no_room(now, busy, frames);
    }

    /// The answer. At most once in a window does it change.
    pub(crate) fn suggest(
        &mut self,
        (now, busy): (Duration, Duration),
        qos: Qos,
        latency: Duration,
        memory: MemoryState,
    ) -> BatchHint {
        self.collector.look(now, busy);
        let window = self.collector.last(now);
        if let Some(window) = window.filter(|window| window.number != self.learned) {
            self.learned = window.number;
            self.curve.learn(window);
        }
        let latency = to_two_digits(latency);
        let known = self.controllers.iter().position(|target| target.latency == latency);
        let new = || Target {
            latency,
            controller: Controller::new(latency, &self.curve, window),
            asked: now,
            evicted: memory.evicted,
        };
        let index = known.or_else(|| place(&self.controllers, now));
        // Where so many ask for so much that is different, nobody follows the last ones, but what is known is told.
        let mut unfollowed = None;
        let target = match index {
            None => unfollowed.insert(new()),
            Some(index) => {
                if index == self.controllers.len() {
                    self.controllers.push(new());
                } else if known.is_none() {
                    self.controllers[index] = new();
                }
                &mut self.controllers[index]
            }
        };
        target.asked = now;
        if let Some(window) = window.filter(|window| window.number != target.controller.seen()) {
            let more = memory.evicted.zip(target.evicted).is_some_and(|(now, before)| now > before);
            let is_tight = more && memory.pressure.is_some_and(|pressure| pressure >= TIGHT);
            target.evicted = memory.evicted.or(target.evicted);
            target.controller.step(qos, window, &self.curve, is_tight);
        }
        target.controller.hint(qos, window, memory.pressure)
    }
}

/// From this part of the budget on, memory is tight if something has to leave for others all the time.
const TIGHT: f64 = 0.9;

/// Where a new one has room: behind the others, or in the place of the one that was not asked for longest, if that is a while
/// ago.
fn place(targets: &[Target], now: Duration) -> Option<usize> {
    if targets.len() < MOST_TARGETS {
        return Some(targets.len());
    }
    let (index, oldest) = targets.iter().enumerate().min_by_key(|(_, target)| target.asked)?;
    (now.saturating_sub(oldest.asked) > LONGEST_WINDOW).then_some(index)
}

/// Targets that are nearly the same are one, the shortest of them: 47.3 ms is 47.
fn to_two_digits(latency: Duration) -> Duration {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
    let unit = 10_u64.pow(micros.ilog10().saturating_sub(1));
    Duration::from_micros(micros / unit * unit)
}
