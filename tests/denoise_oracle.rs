//! What a denoiser computes, from the formulas in `stage::denoise::model` and `stage::denoise::network`, in f64: slow,
//! literal, and written from nothing else in this crate. The library's own tests use it too.

use std::f64::consts::TAU;

use auricle::stage::denoise::model::{Activation, Basis, Feature, Layer, LayerKind, Model, Part, Window};

/// A complex number.
type Complex = (f64, f64);

/// What happens to a channel in one hop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) gain: f32,
    pub(crate) run: bool,
    pub(crate) reset: bool,
}

impl Step {
    /// The usual one.
    pub(crate) const RUN: Self = Self { gain: 1.0, run: true, reset: false };
}

/// A row-major matrix of `rows` rows times a vector, plus a bias.
pub(crate) fn affine(weights: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    let row = |index: usize| -> f64 {
        let row = &weights[index * x.len()..(index + 1) * x.len()];
        bias[index] + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()
    };
    assert_eq!(weights.len(), bias.len() * x.len(), "one row for each bias, one column for each input");
    (0..bias.len()).map(row).collect()
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(crate) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Linear => x,
        Activation::Relu => x.max(0.0),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}

/// One step: the gates are input, forget, cell, output. Changes `h` and `c`.
pub(crate) fn lstm(input: &[f64], recurrent: &[f64], bias: &[f64], x: &[f64], h: &mut [f64], c: &mut [f64]) {
    let from_input = affine(input, bias, x);
    let from_state = affine(recurrent, &vec![0.0; bias.len()], h);
    let units = h.len();
    let gate = |gate: usize, unit: usize| from_input[gate * units + unit] + from_state[gate * units + unit];
    for unit in 0..units {
        c[unit] = sigmoid(gate(1, unit)) * c[unit] + sigmoid(gate(0, unit)) * gate(2, unit).tanh();
        h[unit] = sigmoid(gate(3, unit)) * c[unit].tanh();
    }
}

/// One step: the gates are reset, update, new. Changes `h`.
pub(crate) fn gru(input: &[f64], recurrent: &[f64], biases: [&[f64]; 2], x: &[f64], h: &mut [f64]) {
    let from_input = affine(input, biases[0], x);
    let from_state = affine(recurrent, biases[1], h);
    let units = h.len();
    for unit in 0..units {
        let reset = sigmoid(from_input[unit] + from_state[unit]);
        let update = sigmoid(from_input[units + unit] + from_state[units + unit]);
        let new = (from_input[2 * units + unit] + reset * from_state[2 * units + unit]).tanh();
        h[unit] = (1.0 - update) * new + update * h[unit];
    }
}

pub(crate) fn layer_norm(gain: &[f64], bias: &[f64], epsilon: f64, x: &[f64]) -> Vec<f64> {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    let deviation = (variance + epsilon).sqrt();
    x.iter().zip(gain).zip(bias).map(|((x, gain), bias)| gain * (x - mean) / deviation + bias).collect()
}

/// Cosine and sine of every multiple of a turn divided by `len`.
fn turns(len: usize) -> Vec<Complex> {
    (0..len).map(|n| (TAU * n as f64 / len as f64).sin_cos()).map(|(sin, cos)| (cos, sin)).collect()
}

/// The sum of its definition, for bins 0 to half of the length; any even length.
pub(crate) fn real_spectrum(x: &[f64]) -> Vec<Complex> {
    let turns = turns(x.len());
    let bin = |k: usize| {
        x.iter().enumerate().fold((0.0, 0.0), |(re, im), (n, x)| {
            let (cos, sin) = turns[k * n % turns.len()];
            (re + x * cos, im - x * sin)
        })
    };
    (0..=x.len() / 2).map(bin).collect()
}

/// The real signal of that spectrum, by the definition of the inverse.
pub(crate) fn signal_of_spectrum(spectrum: &[Complex]) -> Vec<f64> {
    let len = 2 * (spectrum.len() - 1);
    let turns = turns(len);
    let sample = |n: usize| {
        let bins = spectrum.iter().enumerate().map(|(k, (re, im))| {
            let (cos, sin) = turns[k * n % len];
            let once = if k == 0 || k == len / 2 { 1.0 } else { 2.0 };
            once * (re * cos - im * sin)
        });
        bins.sum::<f64>() / len as f64
    };
    (0..len).map(sample).collect()
}

pub(crate) fn feature(feature: Feature, (re, im): Complex) -> f64 {
    let power = re * re + im * im;
    match feature {
        Feature::Magnitude => power.sqrt(),
        Feature::LogMagnitude { floor } => (power.sqrt() + f64::from(floor)).ln(),
        Feature::Log10Power { floor, offset, scale } => {
            (power.max(f64::from(floor)).log10() + f64::from(offset)) * f64::from(scale)
        }
    }
}

/// The weight of each sample of a window.
pub(crate) fn window_weights(window: Window, len: usize) -> Vec<f64> {
    let hann = |n: usize, period: usize| (0.5 - 0.5 * (TAU * n as f64 / period as f64).cos()).max(0.0).sqrt();
    (0..len)
        .map(|n| match window {
            Window::Rectangular => 1.0,
            Window::SqrtHann => hann(n, len - 1),
            Window::SqrtHannPeriodic => hann(n, len),
        })
        .collect()
}

/// One channel of a model, with all that is kept of it.
pub(crate) struct Channel<'a> {
    model: &'a Model,
    mask_floor: f64,
    weights: Vec<f64>,
    /// For each layer of all parts: the factors of its outputs, where it is scaled.
    scales: Vec<Option<Vec<f64>>>,
    /// For each layer of all parts: h and c; empty where there is none.
    states: Vec<[Vec<f64>; 2]>,
    /// The last window of samples.
    history: Vec<f64>,
    /// What later windows add to: the next window of output.
    tail: Vec<f64>,
}

impl<'a> Channel<'a> {
    pub(crate) fn new(model: &'a Model, mask_floor: f32) -> Self {
        let description = model.description();
        let layers = || description.parts.iter().flat_map(|part| &part.layers);
        let scale = |layer: &Layer| layer.scaled.then(|| tensor(model, &layer.name, "scale"));
        Self {
            model,
            mask_floor: f64::from(mask_floor),
            weights: window_weights(description.window, description.window_len),
            scales: layers().map(scale).collect(),
            states: layers().map(|layer| [vec![0.0; layer.outputs], vec![0.0; layer.outputs]]).collect(),
            history: vec![0.0; description.window_len],
            tail: vec![0.0; description.window_len],
        }
    }

    /// Replaces the factors of a scaled layer's outputs; layers are counted through all parts.
    pub(crate) fn set_scale(&mut self, layer: usize, scale: &[f32]) {
        let replaced = self.scales[layer].replace(scale.iter().map(|x| f64::from(*x)).collect());
        assert!(replaced.is_some_and(|replaced| replaced.len() == scale.len()), "layer {layer} is scaled");
    }

    /// Takes the samples of one hop, and gives those that are finished by it.
    pub(crate) fn hop(&mut self, samples: &[f32], step: Step) -> Vec<f64> {
        let hop = self.model.description().hop;
        assert_eq!(samples.len(), hop, "one hop");
        if step.reset {
            self.states.iter_mut().flatten().for_each(|state| state.fill(0.0));
        }
        self.history.drain(..hop);
        self.history.extend(samples.iter().map(|x| f64::from(*x)));
        if step.run {
            let made = self.window(f64::from(step.gain));
            self.tail.iter_mut().zip(made).for_each(|(tail, made)| *tail += made);
        }
        let finished = self.tail.drain(..hop).collect();
        self.tail.extend(std::iter::repeat_n(0.0, hop));
        finished
    }

    /// What the network makes of the window that ends here.
    fn window(&mut self, gain: f64) -> Vec<f64> {
        let description = self.model.description();
        let mut window: Vec<f64> =
            self.history.iter().zip(&self.weights).map(|(x, weight)| gain * weight * x).collect();
        let mut first_layer = 0;
        for part in &description.parts {
            window = self.part(part, first_layer, &window);
            first_layer += part.layers.len();
        }
        // The weights of a rectangular window are ones.
        window.iter().zip(&self.weights).map(|(y, weight)| y * weight / gain).collect()
    }

    fn part(&mut self, part: &Part, first_layer: usize, window: &[f64]) -> Vec<f64> {
        match part.basis {
            Basis::Spectrum(of) => {
                let mut spectrum = real_spectrum(window);
                let features = spectrum.iter().map(|bin| feature(of, *bin)).collect();
                let mask = self.layers(part, first_layer, features);
                for ((re, im), mask) in spectrum.iter_mut().zip(mask) {
                    let mask = mask.max(self.mask_floor);
                    (*re, *im) = (*re * mask, *im * mask);
                }
                signal_of_spectrum(&spectrum)
            }
            Basis::Learned { size } => {
                let encoded = affine(&tensor(self.model, &part.name, "encoder"), &vec![0.0; size], window);
                let mask = self.layers(part, first_layer, encoded.clone());
                let masked: Vec<f64> = encoded.iter().zip(mask).map(|(x, mask)| x * mask).collect();
                affine(&tensor(self.model, &part.name, "decoder"), &vec![0.0; window.len()], &masked)
            }
        }
    }

    fn layers(&mut self, part: &Part, first_layer: usize, features: Vec<f64>) -> Vec<f64> {
        let mut x = features;
        for (layer, index) in part.layers.iter().zip(first_layer..) {
            x = self.layer(layer, index, &x);
            if let Some(scale) = &self.scales[index] {
                x.iter_mut().zip(scale).for_each(|(x, scale)| *x *= scale);
            }
        }
        x
    }

    fn layer(&mut self, layer: &Layer, index: usize, x: &[f64]) -> Vec<f64> {
        assert_eq!(x.len(), layer.inputs, "layer `{}`", layer.name);
        let get = |name: &str| tensor(self.model, &layer.name, name);
        let [h, c] = &mut self.states[index];
        match layer.kind {
            LayerKind::Dense(activation) => {
                let sums = affine(&get("weights"), &get("bias"), x);
                sums.into_iter().map(|sum| activate(activation, sum)).collect()
            }
            LayerKind::Lstm => {
                lstm(&get("input_weights"), &get("recurrent_weights"), &get("bias"), x, h, c);
                h.clone()
            }
            LayerKind::Gru => {
                let biases = [&get("input_bias")[..], &get("recurrent_bias")[..]];
                gru(&get("input_weights"), &get("recurrent_weights"), biases, x, h);
                h.clone()
            }
            LayerKind::LayerNorm { epsilon } => layer_norm(&get("gain"), &get("bias"), f64::from(epsilon), x),
        }
    }
}

fn tensor(model: &Model, owner: &str, name: &str) -> Vec<f64> {
    let name = format!("{owner}.{name}");
    let tensor = model.tensor(&name).unwrap_or_else(|| panic!("the model should have `{name}`"));
    tensor.values.iter().map(|x| f64::from(*x)).collect()
}

/// A new channel, fed with whole hops: `samples` are `steps.len() * hop`.
pub(crate) fn run(model: &Model, mask_floor: f32, samples: &[f32], steps: &[Step]) -> Vec<f64> {
    let hop = model.description().hop;
    assert_eq!(samples.len(), steps.len() * hop, "a step for each hop");
    let mut channel = Channel::new(model, mask_floor);
    samples.chunks(hop).zip(steps).flat_map(|(samples, step)| channel.hop(samples, *step)).collect()
}

/// Known signals prove the oracle.
#[test]
fn a_spectrum_goes_there_and_back() {
    for len in [2, 6, 64, 96, 320] {
        let x: Vec<f64> = (0..len).map(|n| ((n * n % 17) as f64 - 8.0) / 8.0).collect();
        let back = signal_of_spectrum(&real_spectrum(&x));
        assert!(x.iter().zip(&back).all(|(x, y)| (x - y).abs() < 1e-12), "{len}: {x:?}, {back:?}");
    }
    let tone: Vec<f64> = (0..32).map(|n| (TAU * 3.0 * f64::from(n) / 32.0).sin()).collect();
    for (k, (re, im)) in real_spectrum(&tone).into_iter().enumerate() {
        let expected = if k == 3 { -16.0 } else { 0.0 };
        assert!(re.abs() < 1e-12 && (im - expected).abs() < 1e-12, "bin {k}: {re}, {im}");
    }
}

#[test]
fn recurrent_cells_by_hand() {
    // One unit. LSTM: all gates see x = 1 with weights 1, 2, 3, 4, and h = 0.5 with weight 1.
    let (mut h, mut c) = ([0.5], [2.0]);
    lstm(&[1.0, 2.0, 3.0, 4.0], &[1.0; 4], &[0.0; 4], &[1.0], &mut h, &mut c);
    let expected = sigmoid(2.5) * 2.0 + sigmoid(1.5) * 3.5_f64.tanh();
    assert!((c[0] - expected).abs() < 1e-15 && (h[0] - sigmoid(4.5) * expected.tanh()).abs() < 1e-15, "{h:?}, {c:?}");
    // GRU: the recurrent bias of the new gate is inside the reset.
    let mut h = [0.5];
    gru(&[1.0, 2.0, 3.0], &[1.0; 3], [&[0.0; 3], &[0.0, 0.0, 0.25]], &[1.0], &mut h);
    let new = (3.0 + sigmoid(1.5) * 0.75).tanh();
    assert!((h[0] - (sigmoid(-2.5) * new + sigmoid(2.5) * 0.5)).abs() < 1e-15, "{h:?}");
}

#[test]
fn a_normalised_layer_has_mean_0_and_deviation_1() {
    let y = layer_norm(&[1.0; 4], &[0.0; 4], 0.0, &[1.0, 3.0, 5.0, 7.0]);
    let deviation = 5.0_f64.sqrt();
    assert!(y.iter().zip([-3.0, -1.0, 1.0, 3.0]).all(|(y, x)| (y - x / deviation).abs() < 1e-15), "{y:?}");
}
