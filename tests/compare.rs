//! Tolerances, and tests that they reject a wrong answer.

/// Relative L2 error of the filter: a transform of n points in f32 has about 1e-7 * log2(n) at worst, twice.
pub(crate) const FILTER_TOLERANCE: f64 = 1e-6;

/// `|actual - expected| / |expected|` as vectors; not a number counts as infinitely wrong.
pub(crate) fn relative_l2(actual: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len(), "lengths should agree");
    let error: f64 = actual.iter().zip(expected).map(|(a, e)| (f64::from(*a) - e).powi(2)).sum();
    let level: f64 = expected.iter().map(|e| e * e).sum();
    let relative = (error / level.max(f64::MIN_POSITIVE)).sqrt();
    if relative.is_nan() { f64::INFINITY } else { relative }
}

/// Fails with the figure when the relative error is above `tolerance`.
pub(crate) fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    let error = relative_l2(actual, expected);
    assert!(error <= tolerance, "{what}: relative error {error:.3e}, tolerated {tolerance:.1e}");
}

/// Fails unless both are equal to the bit.
pub(crate) fn assert_same_bits(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}: lengths should agree");
    let first = a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(first, None, "{what}: the first float that differs");
}

#[test]
fn a_wrong_answer_is_rejected() {
    let right: Vec<f64> = (0..1000).map(|n| (n as f64 * 0.1).sin()).collect();
    let rounded: Vec<f32> = right.iter().map(|x| *x as f32).collect();
    assert!(relative_l2(&rounded, &right) < 1e-7, "rounding alone is small");
    let mut one_off = rounded.clone();
    one_off[500] += 1e-4;
    assert!(relative_l2(&one_off, &right) > FILTER_TOLERANCE, "one sample off by 1e-4");
    let louder: Vec<f32> = rounded.iter().map(|x| x * 1.000_01).collect();
    assert!(relative_l2(&louder, &right) > FILTER_TOLERANCE, "a gain error of 1e-5");
    let shifted: Vec<f32> = rounded.iter().cycle().skip(1).take(1000).copied().collect();
    assert!(relative_l2(&shifted, &right) > 0.01, "one sample late");
    let mut faulty = rounded;
    faulty[3] = f32::NAN;
    assert_eq!(relative_l2(&faulty, &right), f64::INFINITY, "NaN is never close");
}
