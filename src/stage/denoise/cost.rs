//! What a model costs: parameters, multiply-adds, delay.
//!
//! Only matrix products are counted. What is done once for each value, and the transforms, are small beside them.

use std::time::Duration;

use super::model::{Basis, Description, Layer, LayerKind, Part};

impl Layer {
    /// Numbers in its tensors.
    pub fn parameters(&self) -> u64 {
        self.expected_tensors().iter().map(|(_, shape)| numbers(shape)).sum()
    }

    /// Multiply-adds of its matrix products, for each window.
    pub fn multiply_adds(&self) -> u64 {
        let (inputs, outputs) = (self.inputs as u64, self.outputs as u64);
        match self.kind {
            LayerKind::Dense(_) => inputs * outputs,
            LayerKind::Lstm => 4 * outputs * (inputs + outputs),
            LayerKind::Gru => 3 * outputs * (inputs + outputs),
            LayerKind::LayerNorm { .. } => 0,
        }
    }
}

impl Part {
    /// Multiply-adds of its basis, there and back, for each window; the layers come on top.
    pub fn basis_multiply_adds(&self, window_len: usize) -> u64 {
        match self.basis {
            Basis::Spectrum(_) => 0,
            Basis::Learned { size } => 2 * size as u64 * window_len as u64,
        }
    }
}

impl Description {
    /// Numbers in all tensors.
    pub fn parameters(&self) -> u64 {
        self.expected_tensors().iter().map(|(_, shape)| numbers(shape)).sum()
    }

    /// Rows of all tensors: each matrix has as many as outputs, each vector one.
    pub fn rows(&self) -> u64 {
        let rows = |shape: &[usize]| if shape.len() < 2 { 1 } else { shape[0] as u64 };
        self.expected_tensors().iter().map(|(_, shape)| rows(shape)).sum()
    }

    /// Multiply-adds of all matrix products, for each window.
    pub fn multiply_adds(&self) -> u64 {
        let part = |part: &Part| {
            let layers: u64 = part.layers.iter().map(Layer::multiply_adds).sum();
            part.basis_multiply_adds(self.window_len) + layers
        };
        self.parts.iter().map(part).sum()
    }

    /// Multiply-adds for each second of one channel.
    pub fn multiply_adds_per_s(&self) -> f64 {
        self.multiply_adds() as f64 * f64::from(self.sample_rate_hz) / self.hop as f64
    }

    /// How long a sample takes to come out when no time is spent on computing: one window, since it is finished with
    /// the last window that holds it, and that one ends with the hop in which the sample would be `window_len` old.
    pub fn latency(&self) -> Duration {
        Duration::from_secs_f64(self.window_len as f64 / f64::from(self.sample_rate_hz))
    }
}

fn numbers(shape: &[usize]) -> u64 {
    shape.iter().map(|&len| len as u64).product()
}
