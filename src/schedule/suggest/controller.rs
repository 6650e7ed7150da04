//! Raise, hold or lower: one decision in a window, for one target.
//!
//! The size falls at once to what keeps the target when jobs take longer, or when memory is tight; it rises by one when they
//! keep it with room to spare, are as large as was suggested, and the device either has time left or does more in it with
//! larger batches. What is known of the next size keeps it from trying what must fail; what failed is tried again after a
//! pause that doubles each time.

use std::time::Duration;

use super::curve::Curve;
use super::hint::{BatchAction, BatchHint, BoundBy};
use super::window::{Size, WINDOW, Window};
use super::{SIZES, size_for};
use crate::qos::Qos;

/// Below this part of the target there is room for more.
const ROOM: f64 = 0.8;
/// Over the target by no more than this part of it, a window may be one odd moment.
const ODD: f64 = 1.1;
/// What was measured of a larger size must be under this part of the target, and what is only guessed under [`ODD`].
const SAFE: f64 = 0.95;
/// A device that is at work for this part of the time is busy.
const BUSY: f64 = 0.7;
/// Where jobs wait for this part of their time, it is the others that they are slow for.
const WAITING: f64 = 0.5;
/// Windows until a size that failed is tried again: the first time, and at most.
const FIRST_PAUSE: u64 = 32;
const LONGEST_PAUSE: u64 = 512;
/// Windows for which lowering is left alone after it did not help.
const USELESS: u64 = 16;
/// A size that takes this part of what it took when a larger one failed is another case.
const CHEAPER: f64 = 0.8;

#[derive(Debug)]
pub(super) struct Controller {
    target: Duration,
    size: usize,
    /// The window that it has seen.
    seen: u64,
    decision: Decision,
    /// Windows in a row that were over the target.
    over: u32,
    /// The last decision was to raise.
    is_trying: bool,
    /// The size that failed, if one did.
    ceiling: Option<Ceiling>,
    /// What there was before the last decision, if that was to lower because jobs took too long.
    before: Option<Before>,
    /// Until this window, lowering does not help.
    useless_until: u64,
}

#[derive(Clone, Debug)]
struct Decision {
    action: BatchAction,
    bound_by: BoundBy,
    reason: String,
    shift_to: Option<Qos>,
}

#[derive(Clone, Copy, Debug)]
struct Ceiling {
    size: usize,
    /// The window in which it may be tried again.
    until: u64,
    pause: u64,
    /// What it failed for.
    bound_by: BoundBy,
    /// What the size below it took.
    below_s: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    size: usize,
    p95_s: f64,
    frames_per_s: f64,
}

impl Controller {
    /// Starts where jobs are known to keep the target, or where they are now.
    pub(super) fn new(target: Duration, curve: &Curve, window: Option<&Window>) -> Self {
        let size = curve.within(ROOM * target.as_secs_f64()).unwrap_or(0);
        let decision = no_jobs();
        // It decides on the last window at once.
        let seen = window.map_or(0, |window| window.number - 1);
        let (over, is_trying, ceiling, before, useless_until) = Default::default();
        Self { target, size, seen, decision, over, is_trying, ceiling, before, useless_until }
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes note of a window.
    pub(super) fn step(&mut self, qos: Qos, window: &Window, curve: &Curve, is_tight: bool) {
        self.seen = window.number;
        let old = self.size;
        self.decision = self.decide(qos, window, curve, is_tight);
        self.is_trying = self.size > old;
    }

    fn decide(&mut self, qos: Qos, window: &Window, curve: &Curve, is_tight: bool) -> Decision {
        // Whoever sends what nobody suggested says nothing about what was.
        if let Some(size) = window.no_room.filter(|size| *size <= self.size + 1) {
            return self.make_room(size, "jobs had no room in the device's memory");
        }
        let known = window.sizes.iter().rev().find(|size| size.size <= self.size).copied();
        let coming = window.pending.iter().rev().find(|size| **size <= self.size).copied();
        // What says more than the jobs of others, but has had too few, is waited for.
        if let Some(size) = coming.filter(|size| known.is_none_or(|known| known.size < *size)) {
            let reason = format!("too few jobs of {} frames came yet", frames_of(size));
            return decision(BatchAction::Hold, BoundBy::NoJobs, reason);
        }
        let Some(jobs) = known else { return self.larger_only(curve) };
        if is_tight {
            return self.make_room(jobs.size, "buffers leave the device's memory for others all the time");
        }
        if jobs.p95_s > self.target.as_secs_f64() {
            return self.over(qos, window, curve, jobs);
        }
        self.under(window, curve, jobs)
    }

    /// No jobs were as small as what was suggested: they tell how far it may rise.
    fn larger_only(&mut self, curve: &Curve) -> Decision {
        let known = curve.within(ROOM * self.target.as_secs_f64()).filter(|known| *known > self.size);
        let Some(known) = known else {
            let reason = format!("no jobs of {} frames came yet", frames_of(self.size));
            return decision(BatchAction::Hold, BoundBy::Demand, reason);
        };
        self.size = known;
        let reason = format!("jobs of {} frames keep {}", frames_of(known), Millis(self.target.as_secs_f64()));
        decision(BatchAction::Raise, BoundBy::Nothing, reason)
    }

    fn make_room(&mut self, failed: usize, why: &str) -> Decision {
        let size = failed.saturating_sub(1).min(self.size);
        self.fail(failed, BoundBy::Memory, None);
        let reason = format!("{why}: {} frames are too many", frames_of(failed));
        let action = if size < self.size { BatchAction::Lower } else { BatchAction::Hold };
        self.size = size;
        decision(action, BoundBy::Memory, reason)
    }

    /// Jobs took too long.
    fn over(&mut self, qos: Qos, window: &Window, curve: &Curve, jobs: Size) -> Decision {
        self.over += 1;
        let (target, p95) = (Millis(self.target.as_secs_f64()), Millis(jobs.p95_s));
        if self.over == 1 && !self.is_trying && jobs.p95_s <= ODD * self.target.as_secs_f64() {
            let reason = format!("p95 {p95} is a little over {target}, for the first time");
            return decision(BatchAction::Hold, BoundBy::Latency, reason);
        }
        let before = self.before.take();
        let useless = before.filter(|before| jobs.waiting >= WAITING && before.is_no_worse_than(window, jobs));
        let old = self.size;
        if let Some(before) = useless {
            self.useless_until = window.number + USELESS;
            self.size = before.size;
        }
        if self.size == 0 || window.number < self.useless_until {
            let given_up = self.give_up(qos, jobs);
            let is_back = self.size > old && given_up.action == BatchAction::Hold;
            return if is_back { Decision { action: BatchAction::Raise, ..given_up } } else { given_up };
        }
        // Single frames that take too long wait for others; those may be what was suggested, too few to be seen.
        let from = if jobs.size == 0 { self.size } else { jobs.size };
        let size = if self.is_trying && from == self.size {
            self.fail(from, BoundBy::Latency, curve.p95_s(from - 1));
            from - 1
        } else {
            curve.below(from, jobs.p95_s, SAFE * self.target.as_secs_f64())
        };
        let frames_per_s = window.frames_per_s();
        self.before = Some(Before { size: from, p95_s: jobs.p95_s, frames_per_s });
        self.size = size;
        let reason = format!("p95 {p95} is over {target} with {} frames", frames_of(from));
        decision(BatchAction::Lower, BoundBy::Latency, reason)
    }

    /// No size of batch keeps the target.
    fn give_up(&self, qos: Qos, jobs: Size) -> Decision {
        let (target, p95) = (Millis(self.target.as_secs_f64()), Millis(jobs.p95_s));
        let waits = jobs.waiting >= WAITING;
        let bound_by = if waits { BoundBy::Queue } else { BoundBy::Latency };
        let waiting = 100.0 * jobs.waiting;
        let reason = if waits {
            format!(
                "p95 {p95} is over {target}, and smaller batches do not help: jobs wait for {waiting:.0} % of their time"
            )
        } else {
            format!("p95 {p95} is over {target}, and there is nothing smaller that would help")
        };
        let shift_to = match qos {
            Qos::High => None,
            Qos::Default => Some(Qos::High),
            Qos::Low => Some(Qos::Default),
        };
        let shift_to = shift_to.filter(|_| waits);
        let action = if shift_to.is_some() { BatchAction::ShiftQos } else { BatchAction::Hold };
        Decision { shift_to, ..decision(action, bound_by, reason) }
    }

    /// Jobs kept the target: is there room for more?
    fn under(&mut self, window: &Window, curve: &Curve, jobs: Size) -> Decision {
        (self.over, self.before) = (0, None);
        let hold = |bound_by, reason: String| decision(BatchAction::Hold, bound_by, reason);
        if self.is_trying && jobs.size == self.size {
            self.ceiling = self.ceiling.filter(|ceiling| ceiling.size > self.size);
        }
        let target_s = self.target.as_secs_f64();
        let (target, p95) = (Millis(target_s), Millis(jobs.p95_s));
        let here_s = curve.p95_s(jobs.size).unwrap_or(jobs.p95_s);
        if jobs.size < self.size {
            let frames = frames_of(self.size);
            return hold(BoundBy::Demand, format!("jobs are smaller than the {frames} frames that there is room for"));
        }
        let busy = 100.0 * window.occupancy;
        // Where there is little room, only what should leave half of it is tried.
        let now_s = jobs.p95_s.max(here_s).min(target_s);
        let risk = if now_s < ROOM * target_s { ODD } else { f64::midpoint(now_s / target_s, 1.0) };
        let refusal = self.refusal(window, curve, self.size + 1, risk);
        if window.occupancy >= BUSY {
            let is_allowed = |size: usize| match size.cmp(&(self.size + 1)) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Equal => refusal.is_none(),
                std::cmp::Ordering::Greater => refusal.is_none() && self.refusal(window, curve, size, risk).is_none(),
            };
            if let Some(best) = curve.pays(is_allowed).filter(|best| *best <= self.size) {
                let action = if best < self.size { BatchAction::Lower } else { BatchAction::Hold };
                let reason = format!(
                    "the device is busy for {busy:.0} % of the time, and does no more with batches over {}",
                    frames_of(best)
                );
                self.size = best;
                return decision(action, BoundBy::Device, reason);
            }
        }
        if let Some((bound_by, why)) = refusal {
            return hold(bound_by, format!("p95 {p95} keeps {target}; {why}"));
        }
        self.size += 1;
        let reason = format!("p95 {p95} keeps {target}, and the device is busy for {busy:.0} % of the time");
        decision(BatchAction::Raise, BoundBy::Nothing, reason)
    }

    /// Why a size should not be tried.
    fn refusal(&self, window: &Window, curve: &Curve, size: usize, risk: f64) -> Option<(BoundBy, String)> {
        if size >= SIZES {
            return Some((BoundBy::Size, "there are no larger batches".to_owned()));
        }
        let frames = frames_of(size);
        let below_s = curve.p95_s(size - 1);
        let is_cheaper = |ceiling: &Ceiling| {
            let pair = below_s.zip(ceiling.below_s);
            pair.is_some_and(|(now_s, then_s)| now_s < CHEAPER * then_s)
        };
        let ceiling = self.ceiling.filter(|ceiling| ceiling.size == size && window.number < ceiling.until);
        if let Some(ceiling) = ceiling.filter(|ceiling| !is_cheaper(ceiling)) {
            return Some((ceiling.bound_by, format!("{frames} frames failed of late")));
        }
        let (expected, most) = match curve.fresh_p95_s(size) {
            Some(measured) => (measured, risk.clamp(SAFE, 1.0)),
            None => (curve.guess(size)?, risk),
        };
        let why = || (BoundBy::Latency, format!("{frames} frames should take {}", Millis(expected)));
        (expected > most * self.target.as_secs_f64()).then(why)
    }

    /// Remembers a size that failed.
    fn fail(&mut self, size: usize, bound_by: BoundBy, below_s: Option<f64>) {
        let pause = match self.ceiling {
            Some(ceiling) if ceiling.size == size => (2 * ceiling.pause).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        self.ceiling = Some(Ceiling { size, until: self.seen + pause, pause, bound_by, below_s });
    }

    /// What the client is told.
    pub(super) fn hint(&self, qos: Qos, window: Option<&Window>, memory_pressure: Option<f64>) -> BatchHint {
        let Decision { action, bound_by, reason, shift_to } = match window {
            Some(_) => self.decision.clone(),
            None => no_jobs(),
        };
        let (mut avg_latency, mut p95_latency) = (None, None);
        if let Some(window) = window.filter(|window| window.jobs > 0) {
            let size = window.size(self.size);
            let (mean_s, p95_s) = size.map_or((window.mean_s, window.p95_s), |size| (size.mean_s, size.p95_s));
            avg_latency = Some(Duration::from_secs_f64(mean_s));
            p95_latency = Some(Duration::from_secs_f64(p95_s));
        }
        BatchHint {
            qos,
            target_latency: self.target,
            suggested_batch: frames_of(self.size),
            action,
            reason,
            bound_by,
            shift_to,
            avg_latency,
            p95_latency,
            jobs_per_s: window.map_or(0.0, |window| window.jobs as f64 / window.seconds()),
            occupancy: window.map_or(0.0, |window| window.occupancy),
            memory_pressure,
            window: window.map_or(WINDOW, |window| window.end - window.begin),
        }
    }
}

impl Before {
    /// Whether lowering did nothing for latency, and no good otherwise.
    fn is_no_worse_than(&self, window: &Window, jobs: Size) -> bool {
        jobs.p95_s >= SAFE * self.p95_s && window.frames_per_s() <= self.frames_per_s
    }
}

fn no_jobs() -> Decision {
    decision(BatchAction::Hold, BoundBy::NoJobs, "there were no jobs of this level of late".to_owned())
}

fn decision(action: BatchAction, bound_by: BoundBy, reason: String) -> Decision {
    Decision { action, bound_by, reason, shift_to: None }
}

fn frames_of(size: usize) -> usize {
    debug_assert_eq!(size_for(1 << size), size, "sizes are powers of two");
    1 << size
}

/// Seconds, written as milliseconds.
struct Millis(f64);

impl std::fmt::Display for Millis {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = 1e3 * self.0;
        if millis < 10.0 { write!(formatter, "{millis:.2} ms") } else { write!(formatter, "{millis:.1} ms") }
    }
}
