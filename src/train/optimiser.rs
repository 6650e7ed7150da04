//! Burn's Adam over all weights at once, as one long tensor.

use burn::optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, Optimizer as _};
use burn::tensor::{Device, Tensor, TensorData};

/// Gradients longer than this are shortened to it.
const LONGEST: f32 = 5.0;

pub(crate) struct Optimiser {
    adam: Adam,
    device: Device,
    weights: Tensor<1>,
    state: Option<AdamState<1>>,
}

impl std::fmt::Debug for Optimiser {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Adam over {:?}", self.weights.dims())
    }
}

impl Optimiser {
    /// Begins, or goes on after `time` steps with these moments.
    pub(crate) fn new(weights: Vec<f32>, time: usize, moments: [Vec<f32>; 2]) -> Self {
        let device = Device::flex();
        let [first, second] = moments.map(|moment| tensor(moment, &device));
        let state = (time > 0).then(|| AdamState::new(AdaptiveMomentumState::new(time, first, second)));
        let adam = AdamConfig::new().with_epsilon(1e-8).build();
        Self { adam, weights: tensor(weights, &device), device, state }
    }

    /// One step against the gradient.
    pub(crate) fn step(&mut self, learning_rate: f64, mut gradient: Vec<f32>) {
        let length = gradient.iter().map(|value| value * value).sum::<f32>().sqrt();
        let shortened = (LONGEST / length).min(1.0);
        gradient.iter_mut().for_each(|value| *value *= shortened);
        let gradient = tensor(gradient, &self.device);
        let (weights, state) = self.adam.step(learning_rate, self.weights.clone(), gradient, self.state.take());
        (self.weights, self.state) = (weights, state);
    }

    pub(crate) fn weights(&self) -> Vec<f32> {
        values(self.weights.clone())
    }

    /// Mean and variance of each gradient; zeros before the first step.
    pub(crate) fn moments(&self) -> [Vec<f32>; 2] {
        let [weights] = self.weights.dims();
        let moments = self.state.as_ref().map(|state| [&state.momentum.moment_1, &state.momentum.moment_2]);
        moments.map_or_else(
            || [vec![0.0; weights], vec![0.0; weights]],
            |moments| moments.map(|moment| values(moment.clone())),
        )
    }
}

fn tensor(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn values(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap_or_default()
}
