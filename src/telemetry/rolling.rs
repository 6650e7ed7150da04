//! Times of the last while, and what they come to.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{Latency, Snapshot};

/// Parts of the window, each of which is forgotten as a whole.
const PARTS: u32 = 4;

/// Times of the last while, in microseconds.
#[derive(Debug)]
pub(crate) struct Rolling {
    parts: Vec<(u128, Histogram<u32>)>,
}

impl Default for Rolling {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| (0, histogram())).collect() }
    }
}

/// Of times in microseconds, to a hundredth of each.
#[expect(clippy::expect_used, reason = "the bounds are constants")]
pub(crate) fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("up to an hour, to a hundredth, should be possible")
}

impl Rolling {
    fn part_len() -> Duration {
        Snapshot::WINDOW / PARTS
    }

    pub(crate) fn record(&mut self, now: Duration, time: Duration) {
        let turn = now.as_nanos() / Self::part_len().as_nanos();
        let index = usize::try_from(turn % u128::from(PARTS)).unwrap_or(0);
        let (of, times) = &mut self.parts[index];
        if *of != turn {
            *of = turn;
            times.reset();
        }
        let micros = u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        times.saturating_record(micros.max(1));
    }

    /// All that is recent.
    pub(crate) fn latency(&self, now: Duration) -> Latency {
        let turn = now.as_nanos() / Self::part_len().as_nanos();
        let is_recent = |of: u128| turn.saturating_sub(of) < u128::from(PARTS);
        let mut recent =
            self.parts.iter().filter(|(of, times)| is_recent(*of) && !times.is_empty()).map(|(_, times)| times);
        let Some(first) = recent.next() else { return Latency::default() };
        let mut sum = first.clone();
        for times in recent {
            // Same bounds, so it always fits.
            sum.add(times).ok();
        }
        latency_of(&sum)
    }

    /// How far back that goes.
    pub(crate) fn covers(now: Duration) -> Duration {
        let turn = now.as_nanos() / Self::part_len().as_nanos();
        let first = u32::try_from(turn.saturating_sub(u128::from(PARTS) - 1)).unwrap_or(u32::MAX);
        now.saturating_sub(Self::part_len() * first)
    }
}

fn latency_of(times: &Histogram<u32>) -> Latency {
    let at = |quantile: f64| Duration::from_micros(times.value_at_quantile(quantile));
    let max = Duration::from_micros(times.max());
    Latency { count: times.len(), p50: at(0.5), p95: at(0.95), p99: at(0.99), max }
}
