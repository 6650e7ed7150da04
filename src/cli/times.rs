//! How long things took, of many.

use std::time::Duration;

/// The time that so many of a hundred keep, by nearest rank; none where there are no times.
pub(super) fn percentile(times: &mut [Duration], of_hundred: usize) -> Option<Duration> {
    times.sort_unstable();
    let rank = (times.len() * of_hundred).div_ceil(100).max(1);
    times.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_a_hundred_keep_it() {
        let percentile = |count: u64, of_hundred| {
            let mut times: Vec<_> = (1..=count).rev().map(Duration::from_millis).collect();
            percentile(&mut times, of_hundred).map(|time| time.as_millis())
        };
        for (count, of_hundred, expected) in
            [(100, 50, 50), (100, 99, 99), (100, 100, 100), (100, 0, 1), (3, 50, 2), (4, 50, 2), (7, 99, 7), (1, 1, 1)]
        {
            assert_eq!(percentile(count, of_hundred), Some(expected), "{of_hundred} of a hundred, of {count}");
        }
        assert_eq!(percentile(0, 50), None);
    }
}
