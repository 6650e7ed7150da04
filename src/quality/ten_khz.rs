//! To 10 kHz, the rate at which STOI is defined, exactly as the published implementations get there.
//!
//! `crate::resample` is cleaner, but a score depends on the flank of this filter near 5 kHz: pystoi and Octave take a
//! Kaiser-windowed sinc with 60 dB rejection, and so does this. It is zero-phase, over the whole signal at once, in f64.

use crate::resample::greatest_common_divisor;

/// The rate of STOI.
pub(super) const RATE_HZ: u32 = 10_000;

const REJECTION_DB: f64 = 60.0;

/// `samples` at `RATE_HZ`: `ceil(len * RATE_HZ / from_hz)` of them.
pub(super) fn resample(samples: Vec<f64>, from_hz: u32) -> Vec<f64> {
    if from_hz == RATE_HZ {
        return samples;
    }
    let common = greatest_common_divisor(RATE_HZ, from_hz);
    let (up, down) = ((RATE_HZ / common) as usize, (from_hz / common) as usize);
    let filter = low_pass(up, down);
    let half = filter.len() / 2;
    // Output n is the filter centred on tick n * down of a clock that ticks `up` times per sample.
    let output = |n: usize| {
        let centre = n * down;
        let first = centre.saturating_sub(half).div_ceil(up);
        let last = ((centre + half) / up).min(samples.len() - 1);
        (first..=last).map(|index| samples[index] * filter[centre + half - index * up]).sum::<f64>()
    };
    (0..(samples.len() * up).div_ceil(down)).map(output).collect()
}

/// The filter at `up` times the input's rate; its sum is `up`, so that the level is kept.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a filter's length is small and positive")]
fn low_pass(up: usize, down: usize) -> Vec<f64> {
    let cutoff = 0.5 / up.max(down) as f64;
    let half = ((REJECTION_DB - 8.0) / (28.714 * cutoff / 10.0)).ceil();
    let beta = 0.1102 * (REJECTION_DB - 8.7);
    let tap = |n: f64| {
        let window = bessel_i0(beta * (1.0 - (n / half).powi(2)).max(0.0).sqrt());
        window * sinc(2.0 * cutoff * n)
    };
    let mut filter: Vec<f64> = (0..=2 * half as usize).map(|n| tap(n as f64 - half)).collect();
    let scale = up as f64 / filter.iter().sum::<f64>();
    filter.iter_mut().for_each(|tap| *tap *= scale);
    filter
}

fn sinc(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if angle == 0.0 { 1.0 } else { angle.sin() / angle }
}

/// The modified Bessel function of order 0: its power series, which for arguments below 10 needs under 40 terms.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let terms = (1..60).scan(1.0, |term, k| {
        *term *= quarter / f64::from(k * k);
        Some(*term)
    });
    1.0 + terms.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bessel_has_its_published_values() {
        // Abramowitz and Stegun, table 9.8.
        for (x, value) in [(0.0, 1.0), (1.0, 1.266_065_877_752_008_4), (5.0, 27.239_871_823_604_44)] {
            assert!((bessel_i0(x) / value - 1.0).abs() < 1e-14, "I0({x}) = {}", bessel_i0(x));
        }
    }

    #[test]
    fn a_tone_keeps_its_time_and_level() {
        for from_hz in [8_000_u32, 16_000, 44_100, 48_000] {
            let tone = |n: usize, rate_hz: u32| (700.0 * n as f64 / f64::from(rate_hz)).sin();
            let out = resample((0..from_hz as usize).map(|n| tone(n, from_hz)).collect(), from_hz);
            assert_eq!(out.len(), 10_000, "a second of {from_hz} Hz");
            let worst = (2_000..8_000).map(|n| (out[n] - tone(n, RATE_HZ)).abs()).fold(0.0, f64::max);
            assert!(worst < 2e-3, "{from_hz} Hz is off by {worst}");
        }
    }

    #[test]
    fn the_shortest_signals_do_not_fail() {
        for len in 1..9 {
            assert_eq!(resample(vec![1.0; len], 48_000).len(), (len * 5).div_ceil(24), "{len} samples");
        }
    }
}
