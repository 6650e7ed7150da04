//! Adam (D. P. Kingma and J. Ba, 2015) over a list of weights.

const FIRST_DECAY: f32 = 0.9;
const SECOND_DECAY: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// What it remembers of the gradients so far.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Adam {
    pub(super) steps: i32,
    /// Mean of each gradient, and of its square.
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
}

impl Adam {
    pub(super) fn new(weights: usize) -> Self {
        Self { steps: 0, first: vec![0.0; weights], second: vec![0.0; weights] }
    }

    /// Moves the weights along the gradient, upwards.
    pub(super) fn ascend(&mut self, weights: &mut [f32], gradient: &[f32], learning_rate: f32) {
        self.steps += 1;
        let (first_left, second_left) = (1.0 - FIRST_DECAY.powi(self.steps), 1.0 - SECOND_DECAY.powi(self.steps));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((weight, slope), (first, second)) in weights.iter_mut().zip(gradient).zip(moments) {
            *first += (1.0 - FIRST_DECAY) * (slope - *first);
            *second += (1.0 - SECOND_DECAY) * (slope * slope - *second);
            *weight += learning_rate * (*first / first_left) / ((*second / second_left).sqrt() + EPSILON);
        }
    }
}
