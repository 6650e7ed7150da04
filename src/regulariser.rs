//! The phi-resolvent as a regulariser of trainings: gradients are smoothed by it, and what it would take out of the
//! activations costs.

use std::ops::Range;
use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use crate::stage::filter::{FilterOutput, Measure, PhiResolvent, Wavenumber};

/// Smooths gradients and damps activations, both as signals.
///
/// Each tensor's gradient g becomes `(1 - lambda) g + lambda R g`, with R the resolvent of its numbers in their order, k
/// as a fraction of Nyquist. What hidden values h cost, along bands or windows, is lambda times the mean of `((1 - R) h)^2`.
pub(crate) struct Resolvent {
    lambda: f32,
    /// Ranges of the tensors, each with its transform and multipliers.
    tensors: Vec<(Range<usize>, Line)>,
    activations: Line,
}

impl std::fmt::Debug for Resolvent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Resolvent with lambda {}", self.lambda)
    }
}

impl Resolvent {
    /// For tensors of these ranges of the gradient, and activations along lines of `line_len`.
    pub(crate) fn new(lambda: f32, tensors: impl Iterator<Item = Range<usize>>, line_len: usize) -> Self {
        let tensors = tensors.map(|range| (range.clone(), Line::new(range.len(), FilterOutput::Smoothed))).collect();
        Self { lambda, tensors, activations: Line::new(line_len, FilterOutput::DampedGradient) }
    }

    pub(crate) fn smooth_gradient(&self, gradient: &mut [f32]) {
        for (range, line) in &self.tensors {
            let part = &mut gradient[range.clone()];
            let smooth = line.filter(part.iter().copied());
            for (value, smooth) in part.iter_mut().zip(smooth) {
                *value += self.lambda * (smooth - *value);
            }
        }
    }

    /// The gradient of what activations cost: `[line_len, columns]`, each column a line.
    pub(crate) fn activation_gradient(&self, hidden: &[f32], columns: usize) -> Vec<f32> {
        let count = hidden.len() as f32;
        let mut gradient = vec![0.0; hidden.len()];
        for column in 0..columns {
            let damped = self.activations.filter(hidden.iter().skip(column).step_by(columns).copied());
            for (value, damped) in gradient.iter_mut().skip(column).step_by(columns).zip(damped) {
                *value = self.lambda * damped / count;
            }
        }
        gradient
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
