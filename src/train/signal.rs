//! Small operations on whole signals that several kinds of training data need.

use std::f32::consts::TAU;
use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use crate::random::Random;

/// Forward and inverse transforms of one length, without scaling.
pub(crate) struct Transform {
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
}

impl std::fmt::Debug for Transform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Transform of {}", self.forward.len())
    }
}

impl Transform {
    pub(crate) fn new(length: usize) -> Self {
        let mut planner = FftPlanner::new();
        Self { forward: planner.plan_fft_forward(length), inverse: planner.plan_fft_inverse(length) }
    }

    pub(crate) fn forward(&self, values: &mut [Complex32]) {
        self.forward.process(values);
    }

    /// Divided by the length.
    pub(crate) fn inverse(&self, values: &mut [Complex32]) {
        self.inverse.process(values);
        let scale = 1.0 / values.len() as f32;
        values.iter_mut().for_each(|value| *value *= scale);
    }
}

/// Multiplies the spectra of two real signals, each by its own response: `[k]` is that of bin k, up to half the length.
pub(crate) fn filter_pair(
    transform: &Transform,
    first: &mut [f32],
    second: &mut [f32],
    responses: impl Fn(usize) -> (Complex32, Complex32),
) {
    let length = first.len();
    let mut both: Vec<Complex32> = first.iter().zip(second.iter()).map(|(&a, &b)| Complex32::new(a, b)).collect();
    transform.forward(&mut both);
    for k in 0..=length / 2 {
        let mirror = (length - k) % length;
        let (a, b) = split(both[k], both[mirror]);
        let (for_first, for_second) = responses(k);
        let (a, b) = if k == mirror { (a * for_first.re, b * for_second.re) } else { (a * for_first, b * for_second) };
        let turned = |value: Complex32| Complex32::new(-value.im, value.re);
        both[k] = a + turned(b);
        both[mirror] = a.conj() + turned(b.conj());
    }
    transform.inverse(&mut both);
    for (value, (a, b)) in both.iter().zip(first.iter_mut().zip(second)) {
        (*a, *b) = (value.re, value.im);
    }
}

/// The spectra of `a` and `b` from bin k and its mirror of the transform of `a + ib`.
pub(crate) fn split(at: Complex32, mirror: Complex32) -> (Complex32, Complex32) {
    let (sum, difference) = (at + mirror.conj(), at - mirror.conj());
    (sum * 0.5, Complex32::new(difference.im, -difference.re) * 0.5)
}

/// A random response over frequency: a slope, and bumps between knots.
#[derive(Debug)]
pub(crate) struct Colour {
    knots: Vec<f32>,
    /// Exponent of the frequency's reciprocal, of the magnitude.
    slope: f32,
}

impl Colour {
    /// Bumps up to so many decibels either way.
    pub(crate) fn new(bumps_db: f32, slope: f32, random: &mut Random) -> Self {
        let count = 4 + random.below(14);
        let knots = (0..count).map(|_| random.between(-bumps_db, bumps_db) * std::f32::consts::LN_10 / 20.0);
        Self { knots: knots.collect(), slope }
    }

    /// The magnitude at a fraction of half the sample rate.
    pub(crate) fn at(&self, frequency: f32) -> f32 {
        // Knots lie closer together at the bottom, as ears do.
        let place = frequency.clamp(0.0, 1.0).sqrt() * (self.knots.len() - 1) as f32 * 0.9999;
        let (below, part) = (whole(place), place.fract());
        let level = self.knots[below] * (1.0 - part) + self.knots[below + 1] * part;
        (level - self.slope * (frequency + 0.004).ln()).exp()
    }
}

/// Band-limited resampling: one sample out for every `step` in.
pub(crate) fn resampled(samples: &[f32], step: f32) -> Vec<f32> {
    const HALF: usize = 12;
    let cut = (1.0 / step).min(1.0) * 0.94;
    let mut out = Vec::with_capacity(whole(samples.len() as f32 / step));
    for index in 0.. {
        let (centre, part) = place(f64::from(step) * f64::from(index));
        if centre >= samples.len() {
            break;
        }
        let taps = (0..2 * HALF).filter_map(|tap| {
            let sample = samples.get((centre + tap + 1).checked_sub(HALF)?)?;
            let away = tap as f32 - (HALF - 1) as f32 - part;
            let window = 0.5 + 0.5 * (away / (HALF as f32 + 0.5) * std::f32::consts::PI).cos();
            Some(sample * window * cut * sinc(cut * away))
        });
        out.push(taps.sum());
    }
    out
}

/// A place in a signal: the sample before it, and how far behind that it is.
fn place(samples: f64) -> (usize, f32) {
    #[expect(clippy::cast_possible_truncation, reason = "no signal is that long, and a part may be rounded")]
    let split = (samples as usize, samples.fract() as f32);
    split
}

/// The whole part; 0 for what is below.
pub(crate) fn whole(value: f32) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "lengths and places, all far from the limits")]
    let whole = value as usize;
    whole
}

fn sinc(x: f32) -> f32 {
    let angle = std::f32::consts::PI * x;
    if angle.abs() < 1e-4 { 1.0 } else { angle.sin() / angle }
}

/// `length` values from `samples`, read at a speed that `speed` tells sample by sample (about 1), by cubic interpolation.
pub(crate) fn warped(samples: &[f32], length: usize, mut speed: impl FnMut(usize) -> f32) -> Vec<f32> {
    let mut reading = 1.0;
    (0..length)
        .map(|index| {
            let (at, part) = place(reading);
            reading += f64::from(speed(index));
            let Some(&[a, b, c, d]) = samples.get(at - 1..at + 3).and_then(|four| four.first_chunk()) else {
                return 0.0;
            };
            let (first, second) = (0.5 * (c - a), 0.5 * (d - b));
            let (square, cube) = (3.0 * (c - b) - 2.0 * first - second, 2.0 * (b - c) + first + second);
            b + part * (first + part * (square + part * cube))
        })
        .collect()
}

/// Root of the mean square, never 0.
pub(crate) fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32).sqrt().max(1e-9)
}

/// The RMS where the signal is active: over blocks of 256 samples within 30 dB of the loudest.
pub(crate) fn active_rms(samples: &[f32]) -> f32 {
    let powers: Vec<f32> = samples.chunks(256).map(|block| rms(block).powi(2)).collect();
    let loudest = powers.iter().copied().fold(0.0, f32::max);
    let active: Vec<f32> = powers.into_iter().filter(|power| *power >= loudest * 1e-3).collect();
    (active.iter().sum::<f32>() / active.len().max(1) as f32).sqrt().max(1e-9)
}

/// A slow random curve about 0 with variance near 1: normal values every `spacing` samples, joined by cosines.
pub(crate) fn wander(length: usize, spacing: usize, random: &mut Random) -> Vec<f32> {
    let spacing = spacing.max(1);
    let knots: Vec<f32> = (0..length / spacing + 2).map(|_| random.normal()).collect();
    let blend: Vec<f32> = (0..spacing).map(|i| 0.5 - 0.5 * (TAU * 0.5 * i as f32 / spacing as f32).cos()).collect();
    let pairs = knots.windows(2).flat_map(|pair| blend.iter().map(|part| pair[0] + (pair[1] - pair[0]) * part));
    pairs.take(length).collect()
}
