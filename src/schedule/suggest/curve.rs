//! What jobs of each size take, as far as anybody knows: learned from all that came, whoever asked for it.

use super::SIZES;
use super::window::{Size, Window};

/// How much a new figure counts against what was known.
const NEW: f64 = 0.3;
/// A figure that is so many times another one, or the other so many times it, is no noise: things have changed.
const CHANGED: f64 = 1.5;
/// What a larger batch must save to be worth it on a busy device.
const WORTH: f64 = 0.02;
/// Windows after which a size is as good as never seen.
const REMEMBERED: u64 = 600;
/// Windows after which it may have been a bad moment that it was measured in.
const FRESH: u64 = 32;

/// The 95th percentile of the latency, and how long the world waits for a frame, for each size.
#[derive(Debug, Default)]
pub(super) struct Curve {
    seen: [Option<Seen>; SIZES],
    now: u64,
    /// The size that had most of the last window.
    most: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    p95_s: f64,
    /// What a frame costs the device, by the part of the time in which that is at work: so what a larger batch saves counts,
    /// and what of the device it puts to use. Only known of sizes that had most of it for a window.
    frame_s: Option<f64>,
    window: u64,
}

impl Curve {
    pub(super) fn learn(&mut self, window: &Window) {
        self.now = window.number;
        let Some(most) = window.sizes.iter().max_by(|one, other| one.load.total_cmp(&other.load)) else { return };
        let news = |size: &Size| Seen {
            p95_s: size.p95_s,
            frame_s: (size.size == most.size).then(|| size.cost_s / window.occupancy.max(1e-3)),
            window: window.number,
        };
        // What is compared with its like tells about others; load of another size changes what this one takes, but not by so
        // much: then everything has changed, or is again what it was.
        let is_like = self.most.replace(most.size) == Some(most.size);
        self.follow(most.size, news(most), is_like);
        for size in &window.sizes {
            self.seen[size.size] = Some(self.get(size.size).map_or(news(size), |old| old.with(news(size))));
        }
    }

    /// Other sizes change as this one does, whether it is load or the device's speed that has changed.
    fn follow(&mut self, of: usize, new: Seen, is_like: bool) {
        let Some(old) = self.get(of) else { return };
        let mixed = old.with(new);
        let p95 = mixed.p95_s / old.p95_s.max(1e-9);
        if !is_like && !has_changed(p95) {
            return;
        }
        let frame = mixed.frame_s.zip(old.frame_s).map_or(1.0, |(new_s, old_s)| new_s / old_s.max(1e-12));
        for (size, seen) in self.seen.iter_mut().enumerate() {
            if let Some(seen) = seen.as_mut().filter(|_| size != of) {
                seen.p95_s *= p95;
                seen.frame_s = seen.frame_s.map(|frame_s| frame_s * frame);
            }
        }
    }

    fn get(&self, size: usize) -> Option<Seen> {
        let seen = (*self.seen.get(size)?)?;
        (self.now - seen.window <= REMEMBERED).then_some(seen)
    }

    /// What was measured.
    pub(super) fn p95_s(&self, size: usize) -> Option<f64> {
        self.get(size).map(|seen| seen.p95_s)
    }

    /// What was measured of late: a size that nobody uses may have had one bad moment, which should not keep it out for long.
    pub(super) fn fresh_p95_s(&self, size: usize) -> Option<f64> {
        self.get(size).filter(|seen| self.now - seen.window <= FRESH).map(|seen| seen.p95_s)
    }

    /// What a size should take that was never seen: a fixed part and one for each frame, as the two below it; or those, for
    /// the second one above what was seen.
    pub(super) fn guess(&self, size: usize) -> Option<f64> {
        let above = |here: f64, below: f64| here + 2.0 * (here - below).clamp(0.0, here / 2.0);
        let (one, two) = (size.checked_sub(1)?, size.checked_sub(2)?);
        let here = self.p95_s(one).or_else(|| Some(above(self.p95_s(two)?, self.p95_s(two.checked_sub(1)?)?)));
        Some(above(here?, self.p95_s(two)?))
    }

    /// Where a device that is busy does best: the smallest size that does all but nothing less than any other. None while the
    /// next two sizes after it were not tried; `is_allowed` says which may be.
    pub(super) fn pays(&self, is_allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let frame_s = |size: usize| self.get(size).and_then(|seen| seen.frame_s);
        let frames_s = (0..SIZES).filter_map(|size| frame_s(size).map(|frame_s| (size, frame_s)));
        let least = frames_s.clone().map(|(_, frame_s)| frame_s).fold(f64::INFINITY, f64::min);
        let (best, _) = frames_s.clone().find(|(_, frame_s)| *frame_s <= (1.0 + WORTH) * least)?;
        let is_settled = |size: usize| size >= SIZES || frame_s(size).is_some() || !is_allowed(size);
        (is_settled(best + 1) && is_settled(best + 2)).then_some(best)
    }

    /// The largest size below one that takes `latency_s` of which is known that it takes no longer than the target; or by
    /// the rule of three, where nothing is known.
    pub(super) fn below(&self, size: usize, latency_s: f64, target_s: f64) -> usize {
        let expected =
            |below: usize| self.p95_s(below).unwrap_or_else(|| latency_s / (1_u64 << (size - below).min(SIZES)) as f64);
        (0..size).rev().find(|below| expected(*below) <= target_s).unwrap_or(0)
    }

    /// The largest size up to which all that is known takes no longer than so much.
    pub(super) fn within(&self, latency_s: f64) -> Option<usize> {
        let known = (0..SIZES).filter_map(|size| self.p95_s(size).map(|p95_s| (size, p95_s)));
        known.take_while(|(_, p95_s)| *p95_s <= latency_s).last().map(|(size, _)| size)
    }
}

impl Seen {
    /// What is known after a new figure.
    fn with(self, new: Self) -> Self {
        let mixed = |old: f64, new: f64| if has_changed(new / old.max(1e-12)) { new } else { old + NEW * (new - old) };
        let frame_s = new.frame_s.map(|new_s| self.frame_s.map_or(new_s, |old_s| mixed(old_s, new_s))).or(self.frame_s);
        Self { p95_s: mixed(self.p95_s, new.p95_s), frame_s, window: new.window }
    }
}

fn has_changed(ratio: f64) -> bool {
    !(1.0 / CHANGED..=CHANGED).contains(&ratio)
}
