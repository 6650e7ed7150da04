//! What training rests on: the gradient is that of burn's own layers, data follow from the seed, mixtures are as loud as
//! asked for, and a run that was interrupted goes on as if it never had been.

use burn::module::Param;
use burn::nn::gru::{Gru, GruConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData, activation};

use std::sync::Arc;

use rustfft::num_complex::Complex32;

use super::checkpoint::Checkpoint;
use super::loss::loss;
use super::matrix::{Matrix, multiply};
use super::mixture::{Batch, Mixer};
use super::network::{Network, exp, sigmoid, tanh};
use super::signal::{Transform, active_rms, filter_pair, resampled, rms};
use super::speech::{Speech, Use};
use super::*;
use crate::random::Random;
use crate::regulariser::Resolvent;
use crate::stage::denoise::model::Model;

/// Voice-like pulses with pauses, so that no test needs espeak-ng.
fn speech(seconds: usize) -> Vec<i16> {
    let mut random = Random::new(3, 4);
    let mut samples = Vec::new();
    while samples.len() < seconds * SAMPLE_RATE_HZ {
        let (pitch, length) = (random.between(80.0, 250.0), 2000 + random.below(4000));
        let pulse = |index: usize| (index as f32 * pitch / SAMPLE_RATE_HZ as f32).fract() - 0.5;
        #[expect(clippy::cast_possible_truncation, reason = "far from the limits of the target")]
        samples.extend((0..length).map(|index| (pulse(index) * 20_000.0) as i16));
        samples.extend(std::iter::repeat_n(0, random.below(2000)));
    }
    samples.truncate(seconds * SAMPLE_RATE_HZ);
    samples
}

fn small_network(inputs: usize, units: usize, outputs: usize) -> Network {
    let mut description = description();
    let layers = &mut description.parts[0].layers;
    for (layer, (inputs, outputs)) in
        layers.iter_mut().zip([(inputs, units), (units, units), (units, units), (units, outputs)])
    {
        (layer.inputs, layer.outputs) = (inputs, outputs);
    }
    Network::new(&description)
}

#[test]
fn the_gradient_is_that_of_burns_own_layers() {
    let (inputs, units, outputs, windows, sequences) = (5, 4, 3, 7, 2);
    let network = small_network(inputs, units, outputs);
    let mut random = Random::new(1, 1);
    let weights: Vec<f32> = (0..network.weights()).map(|_| random.between(-0.7, 0.7)).collect();
    let features: Vec<f32> = (0..windows * sequences * inputs).map(|_| random.normal()).collect();
    let wanted: Vec<f32> = (0..windows * sequences * outputs).map(|_| random.unit()).collect();

    let trace = network.forward(&weights, features.clone(), sequences);
    let away: Vec<f32> = trace.output().iter().zip(&wanted).map(|(mask, wanted)| mask - wanted).collect();
    let mask = trace.output().to_vec();
    let ours = network.backward(&weights, trace, away, None);

    let mut reference = Reference::new(&weights, inputs, units, outputs);
    let (their_mask, theirs) = reference.run(&features, &wanted, [windows, sequences]);
    assert_close(&mask, &their_mask, 1e-5);
    assert_close(&ours, &theirs, 1e-4);
}

/// The slope along the gradient is its length squared, over the loss and what activations cost.
#[test]
fn the_gradient_with_a_resolvent_is_that_of_both_costs() {
    // So large that it counts as much as the loss.
    let (inputs, units, outputs, windows, sequences, lambda) = (5, 4, 3, 7, 2, 300.0);
    let network = small_network(inputs, units, outputs);
    let mut random = Random::new(1, 2);
    let weights: Vec<f32> = (0..network.weights()).map(|_| random.between(-0.7, 0.7)).collect();
    let features: Vec<f32> = (0..windows * sequences * inputs).map(|_| random.normal()).collect();
    let square = |value: f64| value * value;
    let costs = |weights: &[f32]| {
        let trace = network.forward(weights, features.clone(), sequences);
        let loss: f64 = trace.output().iter().map(|mask| square(f64::from(*mask)) / 2.0).sum();
        let damped = trace.hidden().iter().map(|hidden| {
            let columns = sequences * units;
            let energy = |column| damped_energy(hidden.iter().skip(column).step_by(columns).copied());
            (0..columns).map(energy).sum::<f64>() / hidden.len() as f64
        });
        (loss, f64::from(lambda) * damped.sum::<f64>())
    };
    let resolvent = Resolvent::new(lambda, network.tensors(), windows);
    let trace = network.forward(&weights, features.clone(), sequences);
    let mask = trace.output().to_vec();
    let gradient = network.backward(&weights, trace, mask, Some(&resolvent));
    let length = gradient.iter().map(|value| square(f64::from(*value))).sum::<f64>().sqrt();
    let moved = |by: f64| -> (f64, f64) {
        #[expect(clippy::cast_possible_truncation, reason = "weights are in f32")]
        let step = (by / length) as f32;
        costs(&weights.iter().zip(&gradient).map(|(weight, value)| weight + step * value).collect::<Vec<f32>>())
    };
    let step = 4e-3;
    let ((loss, damped), (earlier_loss, earlier_damped)) = (moved(step), moved(-step));
    let (of_loss, of_damped) = ((loss - earlier_loss) / (2.0 * step), (damped - earlier_damped) / (2.0 * step));
    assert!(of_damped.abs() > 0.01 * length, "the activations count: {of_damped} of {length}");
    let off = (of_loss + of_damped - length).abs() / length;
    assert!(off < 1e-3, "off by {off:.1e}");
}

/// Sum over a line of `((1 - R) h)^2`, from the definition.
fn damped_energy(line: impl Iterator<Item = f32>) -> f64 {
    let line: Vec<f64> = line.map(f64::from).collect();
    let len = line.len();
    let bin = |k: usize| {
        let turn = |n: usize| std::f64::consts::TAU * (n * k) as f64 / len as f64;
        let part = |f: fn(f64) -> f64| line.iter().enumerate().map(|(n, value)| value * f(turn(n))).sum::<f64>();
        let of_nyquist = 2.0 * k.min(len - k) as f64 / len as f64;
        let taken = 1.0 - 1.0 / (1.0 + crate::GOLDEN_RATIO * of_nyquist * of_nyquist);
        taken * taken * (part(f64::cos).powi(2) + part(f64::sin).powi(2))
    };
    (0..len).map(bin).sum::<f64>() / len as f64
}

fn assert_close(ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "as many values");
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() < tolerance * (1.0 + theirs.abs()), "{index}: {ours} is not {theirs}");
    }
}

/// The network in burn's layers, with its weights as parameters.
struct Reference {
    device: Device,
    encode: Linear,
    rnns: [Gru; 2],
    decode: Linear,
}

impl Reference {
    fn new(weights: &[f32], inputs: usize, units: usize, outputs: usize) -> Self {
        let device = Device::flex().autodiff();
        let mut rest = weights;
        let mut take = |length: usize| {
            let (values, after) = rest.split_at(length);
            rest = after;
            values
        };
        let encode = linear(take(units * inputs), take(units), &device);
        let rnns = [0, 1].map(|_| {
            let [input, recurrent] = [0, 1].map(|_| take(3 * units * units));
            let [input_bias, recurrent_bias] = [0, 1].map(|_| take(3 * units));
            let mut gru = GruConfig::new(units, units, true).init(&device);
            for (index, gate) in [&mut gru.reset_gate, &mut gru.update_gate, &mut gru.new_gate].into_iter().enumerate()
            {
                let (rows, biases) =
                    (index * units * units..(index + 1) * units * units, index * units..(index + 1) * units);
                gate.input_transform = linear(&input[rows.clone()], &input_bias[biases.clone()], &device);
                gate.hidden_transform = linear(&recurrent[rows], &recurrent_bias[biases], &device);
            }
            gru
        });
        let decode = linear(take(outputs * units), take(outputs), &device);
        Self { device, encode, rnns, decode }
    }

    /// The mask, and the gradient of half the squared distance to `wanted`, in our order.
    fn run(&mut self, features: &[f32], wanted: &[f32], [windows, sequences]: [usize; 2]) -> (Vec<f32>, Vec<f32>) {
        let tensor = |values: &[f32]| {
            let shape = [windows, sequences, values.len() / windows / sequences];
            Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), &self.device)
        };
        // Burn's layers take sequences first.
        let mut flow = activation::relu(self.encode.forward(tensor(features).swap_dims(0, 1)));
        for gru in &self.rnns {
            flow = gru.forward(flow, None);
        }
        let mask = activation::sigmoid(self.decode.forward(flow)).swap_dims(0, 1);
        let away = mask.clone() - tensor(wanted);
        let gradients = away.powi_scalar(2).sum().mul_scalar(0.5).backward();
        let of = |layer: &Linear| {
            let weights = layer.weight.val().grad(&gradients).expect("weights should have a gradient").transpose();
            let bias = layer.bias.as_ref().expect("there should be a bias").val().grad(&gradients);
            (values(weights), values(bias.expect("the bias should have a gradient")))
        };
        let (weights, bias) = of(&self.encode);
        let mut all = [weights, bias].concat();
        for gru in &self.rnns {
            let gates = [&gru.reset_gate, &gru.update_gate, &gru.new_gate];
            let (input, input_bias): (Vec<_>, Vec<_>) = gates.map(|gate| of(&gate.input_transform)).into_iter().unzip();
            let (hidden, hidden_bias): (Vec<_>, Vec<_>) =
                gates.map(|gate| of(&gate.hidden_transform)).into_iter().unzip();
            all.extend([input, hidden, input_bias, hidden_bias].concat().concat());
        }
        let (weights, bias) = of(&self.decode);
        all.extend([weights, bias].concat());
        (values(mask), all)
    }
}

/// Ours is `[outputs, inputs]`, burn's `[inputs, outputs]`.
fn linear(weights: &[f32], bias: &[f32], device: &Device) -> Linear {
    let (outputs, inputs) = (bias.len(), weights.len() / bias.len());
    let mut layer = LinearConfig::new(inputs, outputs).init(device);
    let matrix = Tensor::<2>::from_data(TensorData::new(weights.to_vec(), [outputs, inputs]), device);
    layer.weight = Param::from_tensor(matrix.transpose());
    layer.bias = Some(Param::from_tensor(Tensor::from_data(TensorData::new(bias.to_vec(), [outputs]), device)));
    layer
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("values should be f32")
}

#[test]
fn the_losss_gradient_is_its_slope() {
    let speech = Speech::new(speech(60));
    let batch = Mixer::new().batch(&speech, Use::Training, 2, 1, 0);
    let mut random = Random::new(5, 5);
    let mask: Vec<f32> = batch.noisy.iter().map(|_| random.between(0.05, 0.95)).collect();
    let mut slope = mask.clone();
    loss(&batch, &mut slope);
    // Along the slope itself, since one bin of so many moves the loss by less than its rounding.
    let length = slope.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
    let step = 1e-3 / length.sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "the mask is f32")]
    let at = |factor: f64| {
        let mut moved: Vec<f32> =
            mask.iter().zip(&slope).map(|(mask, slope)| mask + (factor * f64::from(*slope)) as f32).collect();
        loss(&batch, &mut moved)
    };
    let measured = (at(step) - at(-step)) / (2.0 * step);
    assert!((measured / length - 1.0).abs() < 0.02, "the slope along the gradient is {measured}, not {length}");
}

#[test]
fn data_follow_from_seed_and_step() {
    let speech = Speech::new(speech(60));
    let batch = |seed, step| Mixer::new().batch(&speech, Use::Training, 2, seed, step);
    assert!(batch(1, 5) == batch(1, 5), "the same step of the same seed is the same");
    assert!(batch(1, 5) != batch(2, 5), "another seed is another batch");
    assert!(batch(1, 5) != batch(1, 6), "another step is another batch");
    assert!(batch(1, 5).features.iter().all(|value| value.is_finite()), "features are numbers");
}

#[test]
fn mixtures_have_the_level_and_the_ratio_asked_for() {
    let speech = Speech::new(speech(60));
    let mixer = Mixer::new();
    for (stream, (snr_db, level_db)) in [(-5.0, -38.0), (0.0, -25.0), (20.0, -14.0)].into_iter().enumerate() {
        let mut random = Random::new(9, stream as u64);
        let mixture = mixer.mixture_at(&speech, Use::Training, snr_db, level_db, &mut random);
        let noise: Vec<f32> = mixture.noisy.iter().zip(&mixture.clean).map(|(noisy, clean)| noisy - clean).collect();
        let decibels = |level: f32| 20.0 * level.log10();
        let level = decibels(active_rms(&mixture.clean));
        let snr = level - decibels(rms(&noise));
        assert!((level - level_db).abs() < 0.01, "speech at {level} dBFS, not {level_db}");
        assert!((snr - snr_db).abs() < 0.05, "{snr} dB over the noise, not {snr_db}");
    }
}

#[test]
fn judged_speech_is_never_learned_from() {
    let mut samples = vec![1_i16; 20 * CLIP_LEN];
    samples[19 * CLIP_LEN..].fill(2);
    let speech = Speech::new(samples);
    let mut random = Random::new(1, 1);
    let is_all = |piece: Vec<f32>, value: f32| piece.iter().all(|sample| *sample == value / 32768.0);
    for _ in 0..200 {
        assert!(is_all(speech.piece(1000, Use::Training, &mut random), 1.0), "training takes the first part only");
        assert!(is_all(speech.piece(1000, Use::Validation, &mut random), 2.0), "validation takes the last part only");
    }
}

/// A short run with clips of the bank that [`keep_bank`] leaves.
fn short_run(directory: &Path, steps: usize) -> TrainOptions {
    TrainOptions {
        directory: directory.to_owned(),
        seed: 7,
        start: None,
        steps,
        sequences: 1,
        speech_seconds: 60,
        learning_rate: 1e-3,
        resolvent: 0.0,
        mark_every: 2,
    }
}

fn keep_bank(folder: &Path) {
    let bank: Vec<u8> = speech(60).iter().flat_map(|sample| sample.to_le_bytes()).collect();
    std::fs::write(folder.join("speech-7.i16"), &bank).expect("the bank should be written");
}

#[test]
fn a_resumed_run_is_an_uninterrupted_one() {
    let folders = [0, 1].map(|_| tempfile::tempdir().expect("a folder should be there"));
    let [straight, stopped] = folders.each_ref().map(tempfile::TempDir::path);
    keep_bank(straight);
    keep_bank(stopped);
    let weights = |trainer: &Trainer| trainer.model(None).expect("weights should make a model");

    let mut whole = Trainer::new(&short_run(straight, 4)).expect("there is no model to start from");
    whole.run(&mut |_| (), &|| false).expect("training should run");

    let step = std::cell::Cell::new(0);
    let mut part = Trainer::new(&short_run(stopped, 4)).expect("there is no model to start from");
    let count = &mut |report: Report<'_>| {
        if let Report::Step(done, _) = report {
            step.set(done);
        }
    };
    part.run(count, &|| step.get() >= 2).expect("training should stop");
    assert_eq!(part.progress().step, 2, "it stops where it is told");
    assert!(weights(&part) != weights(&whole), "two steps are not four");
    let mut resumed = Trainer::resume(stopped, None, 2).expect("the checkpoint should be read");
    resumed.run(&mut |_| (), &|| false).expect("training should go on");
    assert!(weights(&resumed) == weights(&whole), "the weights are the same to the bit");
    let plot = std::fs::read_to_string(stopped.join("loss.svg")).expect("the plot should be there");
    assert_eq!(plot.matches("<polyline").count(), 2, "the plot has both curves");
    // Fewer steps than are done already would be a model of another length than it says.
    let fewer = Trainer::resume(stopped, Some(3), 2).expect_err("it should be refused").to_string();
    assert!(fewer.contains("checkpoint.bin") && fewer.contains("4 steps are done already"), "{fewer}");
}

#[test]
fn a_run_that_fails_leaves_the_checkpoint_that_there_was() {
    let folder = tempfile::tempdir().expect("a folder should be there");
    keep_bank(folder.path());
    let path = Trainer::checkpoint_path(folder.path());
    let kept = || std::fs::read(&path).expect("the checkpoint should be there");
    let options = TrainOptions { learning_rate: 1e300, mark_every: 1, ..short_run(folder.path(), 4) };
    let mut wild = Trainer::new(&options).expect("there is no model to start from");
    wild.save().expect("the checkpoint should be written");
    let before = kept();
    let error = wild.run(&mut |_| (), &|| false).expect_err("no weight is a number after the first step");
    assert!(matches!(error, TrainError::Diverged { step: 1 }), "{error}");
    assert!(kept() == before, "what can be read stays");
    // A step so far on that its mixtures cannot be counted: where that is checked, their thread panics.
    if cfg!(debug_assertions) {
        let mut checkpoint = Checkpoint::read(&path, Network::new(&description()).weights()).expect("it is whole");
        (checkpoint.progress.step, checkpoint.progress.steps) = (usize::MAX - 2, usize::MAX);
        checkpoint.write(&path).expect("the checkpoint should be written");
        let mut lost = Trainer::resume(folder.path(), None, 1).expect("the checkpoint should be read");
        let error = lost.run(&mut |_| (), &|| false).expect_err("there is nothing to learn from");
        assert!(matches!(error, TrainError::Mixtures { .. }), "{error}");
    }
}

#[test]
fn checkpoints_that_are_none_are_refused() {
    let folder = tempfile::tempdir().expect("a folder should be there");
    let path = Trainer::checkpoint_path(folder.path());
    assert!(Trainer::resume(folder.path(), None, 1).is_err(), "a missing one");
    for bytes in [&b""[..], b"auricle training 1\n", b"auricle training 1\n\xff\xff\xff\xff\xff\xff\xff\xff{}"] {
        std::fs::write(&path, bytes).expect("the file should be written");
        let error = Trainer::resume(folder.path(), None, 1).expect_err("a broken one should be refused");
        assert!(error.to_string().contains("cut short"), "{error}");
    }
}

#[test]
fn products_are_sums_of_products() {
    let (a, b): (Vec<f32>, Vec<f32>) = ((0..6).map(|i| i as f32).collect(), (0..8).map(|i| 1.0 - i as f32).collect());
    let mut out = vec![1.0; 12];
    multiply(&mut out, true, Matrix::new(&a, 2), Matrix::new(&b, 4));
    for (index, value) in out.iter().enumerate() {
        let (row, column) = (index / 4, index % 4);
        assert_eq!(*value, 1.0 + a[2 * row] * b[column] + a[2 * row + 1] * b[4 + column], "{row}, {column}");
    }
}

#[test]
fn fast_functions_are_close() {
    for index in -2000..=2000 {
        let x = index as f32 * 0.02;
        assert!((exp(x) / x.exp() - 1.0).abs() < 3e-6, "exp({x})");
        assert!((sigmoid(x) - 1.0 / (1.0 + (-x).exp())).abs() < 1e-6, "sigmoid({x})");
        assert!((tanh(x) - x.tanh()).abs() < 2e-6, "tanh({x})");
    }
}

#[test]
fn a_filter_of_ones_changes_nothing_and_resampling_keeps_a_tone() {
    let mut random = Random::new(1, 2);
    let noise: Vec<f32> = (0..64).map(|_| random.normal()).collect();
    let (mut first, mut second) = (noise.clone(), noise.iter().map(|value| -2.0 * value).collect::<Vec<_>>());
    let one = Complex32::new(1.0, 0.0);
    filter_pair(&Transform::new(64), &mut first, &mut second, |_| (one, one * 0.5));
    for (value, (first, second)) in noise.iter().zip(first.iter().zip(&second)) {
        assert!((value - first).abs() < 1e-5 && (value + second).abs() < 1e-5, "{first} and {second} from {value}");
    }
    let tone: Vec<f32> = (0..4000).map(|index| (index as f32 * 0.1).sin()).collect();
    for (index, value) in resampled(&tone, 1.3).iter().enumerate().skip(50).take(2000) {
        assert!((value - (index as f32 * 0.13).sin()).abs() < 0.01, "sample {index} is {value}");
    }
}

#[test]
fn a_missing_voice_is_named() {
    let message = TrainError::NoSpeaker { program: "flite" }.to_string();
    assert!(message.starts_with("flite, ") && message.contains("apt install espeak-ng flite"), "{message}");
}

#[test]
fn silence_has_a_finite_loss() {
    let zeros = || vec![0.0; BINS];
    let batch = Batch { sequences: 1, features: zeros(), noisy: zeros(), clean: zeros(), cosine: zeros() };
    let mut mask = vec![0.5; BINS];
    assert!(loss(&batch, &mut mask).is_finite(), "the loss is a number");
    assert!(mask.iter().all(|slope| slope.is_finite()), "so is its slope");
}

#[test]
fn training_goes_on_from_a_model_of_its_kind_and_from_no_other() {
    let options = |start| TrainOptions {
        directory: Path::new("nowhere").to_owned(),
        seed: 1,
        start: Some(start),
        steps: 1,
        sequences: 1,
        speech_seconds: 60,
        learning_rate: 1e-3,
        resolvent: 0.0,
        mark_every: 1,
    };
    let trainer = Trainer::new(&options(Model::builtin())).expect("the built-in model was trained here");
    let model = trainer.model(None).expect("nothing has happened to it");
    for (name, tensor) in Model::builtin().tensors() {
        assert!(model.tensor(name).is_some_and(|ours| ours == tensor), "{name} is what it was");
    }
    let mut description = description();
    description.parts[0].layers[0].name = "enter".to_owned();
    let tensors =
        Model::builtin().tensors().map(|(name, tensor)| (name.replace("encode", "enter"), tensor.clone())).collect();
    let other = Arc::new(Model::new(description, tensors).expect("another name is no fault"));
    let error = Trainer::new(&options(other)).unwrap_err().to_string();
    assert!(error.contains("training cannot start from the model `"), "{error}");
}
