//! The phi-resolvent as a regulariser: gradients are smoothed by it, and what it would take out of the activations costs.

use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use crate::locate::PolicyDescription;
use crate::stage::filter::{FilterOutput, Measure, PhiResolvent, Wavenumber};

/// Smooths gradients and damps activations, both as signals.
///
/// Each tensor's gradient g becomes `(1 - lambda) g + lambda R g`, with R the resolvent of its numbers in their order. The
/// hidden layer costs lambda times the mean damped energy of each unit along the bands, `sum of (1 - R)^2 |H|^2`.
pub(super) struct Resolvent {
    lambda: f32,
    /// Ranges of the tensors, each with its transform and multipliers.
    tensors: Vec<(std::ops::Range<usize>, Line)>,
    bands: Line,
}

impl std::fmt::Debug for Resolvent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Resolvent with lambda {}", self.lambda)
    }
}

impl Resolvent {
    pub(super) fn new(lambda: f32, description: &PolicyDescription) -> Self {
        let mut tensors = Vec::new();
        let mut begin = 0;
        for (_, shape) in description.tensors() {
            let count: usize = shape.iter().product();
            tensors.push((begin..begin + count, Line::new(count, FilterOutput::Smoothed)));
            begin += count;
        }
        Self { lambda, tensors, bands: Line::new(description.bands, FilterOutput::DampedGradient) }
    }

    pub(super) fn smooth_gradient(&self, gradient: &mut [f32]) {
        for (range, line) in &self.tensors {
            let part = &mut gradient[range.clone()];
            let smooth = line.filter(part.iter().copied());
            for (value, smooth) in part.iter_mut().zip(smooth) {
                *value += self.lambda * (smooth - *value);
            }
        }
    }

    /// Takes the gradient of what the activations cost off `slopes`; both band after band, so many units each.
    pub(super) fn damp_activations(&self, hidden: &[f32], units: usize, slopes: &mut [f32]) {
        let count = hidden.len() as f32;
        for unit in 0..units {
            let damped = self.bands.filter(hidden.iter().skip(unit).step_by(units).copied());
            for (slope, damped) in slopes.iter_mut().skip(unit).step_by(units).zip(damped) {
                *slope -= self.lambda * damped / count;
            }
        }
    }
}

/// The phi-resolvent of a line of numbers, with k as a fraction of Nyquist.
struct Line {
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    multipliers: Vec<f32>,
}

impl Line {
    fn new(len: usize, output: FilterOutput) -> Self {
        let mut planner = FftPlanner::new();
        let filter = PhiResolvent {
            wavenumber: Wavenumber::Nyquist,
            measure: Measure::Nothing,
            output,
            ..PhiResolvent::default()
        };
        #[expect(clippy::cast_possible_truncation, reason = "multipliers are in f32")]
        let multiplier = |k: usize| (filter.multiplier(0.0, k.min(len - k) as f64 / len as f64) / len as f64) as f32;
        Self {
            forward: planner.plan_fft_forward(len),
            inverse: planner.plan_fft_inverse(len),
            multipliers: (0..len).map(multiplier).collect(),
        }
    }

    fn filter(&self, values: impl Iterator<Item = f32>) -> Vec<f32> {
        let mut bins: Vec<Complex32> = values.map(Complex32::from).collect();
        self.forward.process(&mut bins);
        bins.iter_mut().zip(&self.multipliers).for_each(|(bin, multiplier)| *bin *= multiplier);
        self.inverse.process(&mut bins);
        bins.into_iter().map(|bin| bin.re).collect()
    }
}
