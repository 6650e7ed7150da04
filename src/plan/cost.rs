//! How long a piece of a job takes: learned from the pieces that were run, by the number of their frames.
//!
//! The model is conservative: a size is used while the 99.9th percentile of its times is within the budget, and it never
//! guesses at more than twice the frames that it has seen. Only what hits pieces of every size alike, as a system that
//! takes the core away for some milliseconds does, must not make them smaller and smaller: so a size is also used while 95
//! of 100 of its times are within half of the budget.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Frames of the first piece, of which nobody knows anything.
const FIRST_FRAMES: usize = 16;
/// Sizes are powers of two, up to 2^31 frames.
const BUCKETS: usize = 32;
/// Times of one size that are kept, 4 bytes each; the older half goes when there is no room.
const KEPT: usize = 1024;
/// Between exact looks at the percentiles of so many times, the longest counts.
const LOOK_EVERY: usize = 64;

/// The times of one plan on one device.
#[derive(Debug, Default)]
pub(crate) struct CostModel {
    pieces: Mutex<Pieces>,
}

#[derive(Debug, Default)]
struct Pieces {
    count: usize,
    sizes: [Times; BUCKETS],
}

/// The times of pieces of one size.
#[derive(Clone, Debug, Default)]
struct Times {
    /// The last ones, in microseconds rounded up.
    micros: Vec<u32>,
    /// The 99.9th percentile, or more.
    high: Option<Duration>,
    /// The 95th; none before there are enough.
    usual: Option<Duration>,
    /// Which piece of all was the last of this size.
    last: usize,
}

impl CostModel {
    /// A piece of that many frames took so long.
    pub(crate) fn learn(&self, frames: usize, took: Duration) {
        if frames > 0 {
            let mut pieces = self.lock();
            pieces.count += 1;
            let count = pieces.count;
            pieces.sizes[power_of_two_below(frames).min(BUCKETS - 1)].learn(took, count);
        }
    }

    /// The most frames that should be done within `budget`: 16 while nothing is known, else at least 1.
    pub(crate) fn frames_within(&self, budget: Duration) -> usize {
        let pieces = self.lock();
        let mut known = (0..BUCKETS).filter(|size| pieces.times(*size).is_some());
        let Some(first) = known.next() else { return FIRST_FRAMES };
        let last = known.next_back().unwrap_or(first);
        // One step beyond what was seen, twice the time counts.
        let fits = |size: &usize| match pieces.times(*size) {
            Some(times) => times.fits(budget),
            None => *size > 0 && pieces.times(*size - 1).is_some_and(|times| times.fits(budget / 2)),
        };
        if let Some(size) = (first..=(last + 1).min(BUCKETS - 1)).rev().find(fits) {
            return 1 << size;
        }
        // All that was seen took too long: a part of the smallest, in proportion.
        let time = pieces.times(first).and_then(|times| times.high).unwrap_or(budget);
        let frames = (1_u64 << first) as f64;
        let part = frames * budget.as_secs_f64() / time.as_secs_f64().max(1e-9);
        #[expect(clippy::cast_possible_truncation, reason = "it is less than what was seen")]
        let part = part.clamp(1.0, frames) as usize;
        part
    }

    fn lock(&self) -> MutexGuard<'_, Pieces> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which power of two is the largest that is no more than the frames: so nothing vouches for a larger piece.
pub(crate) fn power_of_two_below(frames: usize) -> usize {
    frames.max(1).ilog2() as usize
}

impl Pieces {
    /// Those of a size, unless there are none, or none of late.
    fn times(&self, size: usize) -> Option<&Times> {
        let times = &self.sizes[size];
        (times.high.is_some() && self.count - times.last <= times.remembered_for()).then_some(times)
    }
}

impl Times {
    fn fits(&self, budget: Duration) -> bool {
        self.high.is_some_and(|time| time <= budget) || self.usual.is_some_and(|time| time <= budget / 2)
    }

    /// For how many pieces of other sizes: longer when more is known. So one bad moment, of which nobody can tell whether
    /// the size was to blame, is not held against it for ever.
    fn remembered_for(&self) -> usize {
        (32 + 8 * self.micros.len()).min(KEPT)
    }

    fn learn(&mut self, took: Duration, piece: usize) {
        if piece - self.last > self.remembered_for() {
            (self.high, self.usual) = (None, None);
            self.micros.clear();
        }
        self.last = piece;
        if self.micros.len() == KEPT {
            self.micros.drain(..KEPT / 2);
        }
        // All of it at once: so what a plan holds does not grow for hours.
        self.micros.reserve_exact(KEPT - self.micros.len());
        let micros = u32::try_from(took.as_nanos().div_ceil(1000)).unwrap_or(u32::MAX);
        self.micros.push(micros);
        let took = Duration::from_micros(micros.into());
        self.high = self.high.max(Some(took));
        // A time that is not usual is looked at once: the next piece must not be of this size for want of a look.
        let is_unusual = self.usual.is_some_and(|usual| took > usual);
        if is_unusual || self.micros.len().is_multiple_of(LOOK_EVERY) || self.micros.len() < LOOK_EVERY {
            let mut all = self.micros.clone();
            all.sort_unstable();
            let at = |thousandths: usize| {
                let micros = all.get((all.len() * thousandths / 1000).min(all.len() - 1))?;
                Some(Duration::from_micros((*micros).into()))
            };
            (self.high, self.usual) = (at(999), at(950));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CostModel;
    use std::time::Duration;

    const BUDGET: Duration = Duration::from_millis(2);

    /// 100 us, and 10 us for each frame.
    fn time(frames: usize) -> Duration {
        Duration::from_micros(100 + 10 * frames as u64)
    }

    /// Runs pieces as large as the model says; returns the size of the last one.
    fn run(model: &CostModel, pieces: usize) -> usize {
        let mut frames = 0;
        for _ in 0..pieces {
            frames = model.frames_within(BUDGET);
            assert!(time(frames) <= BUDGET, "{frames} frames take {:?}", time(frames));
            model.learn(frames, time(frames));
        }
        frames
    }

    #[test]
    fn pieces_grow_until_they_fill_the_budget_and_never_pass_it() {
        let model = CostModel::default();
        assert_eq!(run(&model, 1), 16);
        assert_eq!(run(&model, 20), 128);
    }

    #[test]
    fn a_first_piece_that_is_far_too_long_shrinks_in_proportion() {
        let model = CostModel::default();
        model.learn(16, 100 * BUDGET);
        assert_eq!(model.frames_within(BUDGET), 1);
        let model = CostModel::default();
        model.learn(1024, 4 * BUDGET);
        assert_eq!(model.frames_within(BUDGET), 256);
    }

    #[test]
    fn one_bad_moment_counts_and_is_forgotten() {
        let model = CostModel::default();
        assert_eq!(run(&model, 20), 128);
        model.learn(128, 10 * BUDGET);
        assert_eq!(run(&model, 100), 64, "what took too long once is left alone");
        assert_eq!(run(&model, 1000), 128, "but not for ever");
    }

    #[test]
    fn a_machine_that_stumbles_does_not_make_pieces_tiny() {
        let model = CostModel::default();
        let mut frames = 0;
        for piece in 0..5000 {
            frames = model.frames_within(BUDGET);
            // Every fiftieth piece, whatever its size, is interrupted.
            let interrupted = if piece % 50 == 49 { 4 * BUDGET } else { Duration::ZERO };
            model.learn(frames, time(frames) + interrupted);
        }
        assert!(frames >= 64, "{frames}");
    }
}
