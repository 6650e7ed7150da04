//! Small models of every kind of layer, feature, basis and window, with random weights that are the same on every run.
//! The library's own tests use them too.

use std::collections::BTreeMap;

use auricle::stage::denoise::model::{
    Activation, Basis, Description, Feature, Layer, LayerKind, Model, Part, Tensor, Window,
};

use super::signals::noise;

pub(crate) const LOG10_POWER: Feature = Feature::Log10Power { floor: 1e-12, offset: 0.5, scale: 0.75 };
pub(crate) const LOG_MAGNITUDE: Feature = Feature::LogMagnitude { floor: 1e-7 };
pub(crate) const SIGMOID: LayerKind = LayerKind::Dense(Activation::Sigmoid);
pub(crate) const RELU: LayerKind = LayerKind::Dense(Activation::Relu);
pub(crate) const TANH: LayerKind = LayerKind::Dense(Activation::Tanh);
pub(crate) const LINEAR: LayerKind = LayerKind::Dense(Activation::Linear);
pub(crate) const NORM: LayerKind = LayerKind::LayerNorm { epsilon: 1e-7 };

/// Layers, each with its outputs.
type Layers<'a> = &'a [(LayerKind, usize)];

/// A model without parts yet.
pub(crate) fn description(name: &str, window_len: usize, hop: usize, window: Window) -> Description {
    Description {
        name: name.to_owned(),
        version: "1".to_owned(),
        licence: "MIT OR Apache-2.0".to_owned(),
        source: "random".to_owned(),
        sample_rate_hz: 16_000,
        window_len,
        hop,
        window,
        level_dbfs: None,
        mask_floor_db: None,
        parts: Vec::new(),
    }
}

/// Adds a part. What the last layer gives has to be as many as the basis has features.
pub(crate) fn with_part(mut description: Description, basis: Basis, layers: Layers<'_>) -> Description {
    let index = description.parts.len();
    let mut part = Part { name: format!("part{index}"), basis, layers: Vec::new() };
    let mut inputs = part.features(description.window_len);
    for (number, (kind, outputs)) in layers.iter().enumerate() {
        let name = format!("part{index}.layer{number}");
        part.layers.push(Layer { name, inputs, outputs: *outputs, kind: *kind, scaled: false });
        inputs = *outputs;
    }
    assert_eq!(inputs, part.features(description.window_len), "{}: the mask's length", description.name);
    description.parts.push(part);
    description
}

/// The same with factors on the outputs of all layers.
pub(crate) fn scaled(mut description: Description) -> Description {
    description.parts.iter_mut().flat_map(|part| &mut part.layers).for_each(|layer| layer.scaled = true);
    description.name.push_str("-scaled");
    description
}

/// A model of that description with random weights, such that no layer is saturated and none falls silent.
pub(crate) fn with_random_weights(description: Description, seed: u64) -> Model {
    let expected = description.expected_tensors();
    let tensors: BTreeMap<String, Tensor> = expected
        .into_iter()
        .zip(seed..)
        .map(|((name, shape), seed)| {
            let (centre, spread) = match name.rsplit('.').next() {
                Some("bias" | "input_bias" | "recurrent_bias") => (0.0, 0.3),
                Some("gain" | "scale") => (1.0, 0.4),
                _ => (0.0, (3.0 / shape[1] as f32).sqrt()),
            };
            let values = noise(shape.iter().product(), seed).iter().map(|x| centre + spread * x).collect();
            (name, Tensor { shape, values })
        })
        .collect();
    Model::new(description, tensors).expect("the tensors are those that the description asks for")
}

/// Every kind of everything, in sizes that no tile divides. All are fast enough for a software adapter.
pub(crate) fn small_descriptions() -> Vec<Description> {
    use Basis::{Learned, Spectrum};
    use LayerKind::{Gru, Lstm};
    let magnitude = Spectrum(Feature::Magnitude);
    let dtln = description("dtln-like", 512, 128, Window::Rectangular);
    let dtln = with_part(dtln, magnitude, &[(Lstm, 20), (Lstm, 7), (SIGMOID, 257)]);
    let dtln = with_part(dtln, Learned { size: 40 }, &[(NORM, 40), (Lstm, 20), (SIGMOID, 40)]);
    let nsnet = description("nsnet-like", 320, 160, Window::SqrtHann);
    let nsnet = with_part(nsnet, Spectrum(LOG10_POWER), &[(RELU, 20), (Gru, 33), (Gru, 7), (TANH, 20), (SIGMOID, 161)]);
    let thirds = description("three-windows-overlap", 96, 32, Window::SqrtHannPeriodic);
    let thirds = with_part(thirds, Spectrum(LOG_MAGNITUDE), &[(NORM, 49), (Lstm, 7), (Gru, 20), (SIGMOID, 49)]);
    let short = description("short-windows", 64, 32, Window::SqrtHann);
    let short = with_part(short, Spectrum(LOG10_POWER), &[(LINEAR, 5), (Lstm, 1), (SIGMOID, 33)]);
    let apart = description("windows-side-by-side", 64, 64, Window::Rectangular);
    let apart = with_part(apart, Learned { size: 20 }, &[(Gru, 20), (SIGMOID, 20)]);
    let apart = with_part(apart, magnitude, &[(SIGMOID, 33)]);
    let large = description("more-units-than-a-workgroup", 64, 32, Window::SqrtHannPeriodic);
    let large = with_part(large, magnitude, &[(Lstm, 257), (Gru, 300), (SIGMOID, 33)]);
    let all = [dtln, nsnet, thirds, short, apart, large];
    all.iter().cloned().chain(all.iter().take(3).cloned().map(scaled)).collect()
}

/// The same with weights.
pub(crate) fn small_models() -> Vec<Model> {
    small_descriptions().into_iter().zip((100..).step_by(100)).map(|(of, seed)| with_random_weights(of, seed)).collect()
}

/// A model whose masks let everything through: what comes in comes out, weighted twice by the window.
pub(crate) fn open_mask(window_len: usize, hop: usize, window: Window) -> Model {
    let open = description("open", window_len, hop, window);
    let bins = open.bins();
    let open = with_part(open, Basis::Spectrum(Feature::Magnitude), &[(SIGMOID, bins)]);
    let tensor = |shape: Vec<usize>, value: f32| {
        let values = vec![value; shape.iter().product()].into();
        Tensor { shape, values }
    };
    let weights = ("part0.layer0.weights".to_owned(), tensor(vec![bins, bins], 0.0));
    let bias = ("part0.layer0.bias".to_owned(), tensor(vec![bins], 60.0));
    Model::new(open, [weights, bias].into()).expect("the tensors are those that the description asks for")
}

/// A channel's samples: noise that comes and goes, with a tone.
pub(crate) fn signal(len: usize, seed: u64) -> Vec<f32> {
    let swell = |n: usize| 0.3 * (0.55 - 0.45 * (n as f32 / 700.0 + seed as f32).cos());
    let tone = |n: usize| 0.2 * (n as f32 * 0.11).sin();
    noise(len, seed).iter().enumerate().map(|(n, x)| swell(n) * (x + tone(n))).collect()
}

/// The oracle on models whose output is known.
#[test]
fn open_masks_give_the_signal_back_late() {
    use super::denoise_oracle::{Step, run};
    // The square of the root of the periodic Hann window adds up to 1 at half its length, to 1.5 at a third of it.
    for (window_len, hop, window, sum) in [
        (64, 32, Window::SqrtHannPeriodic, 1.0),
        (96, 32, Window::SqrtHannPeriodic, 1.5),
        (64, 16, Window::Rectangular, 4.0),
        (64, 64, Window::Rectangular, 1.0),
    ] {
        let model = open_mask(window_len, hop, window);
        let samples = signal(10 * hop, 3);
        let steps: Vec<Step> = (1..=10).map(|n| Step { gain: n as f32 / 3.0, ..Step::RUN }).collect();
        let made = run(&model, 0.0, &samples, &steps);
        let late = window_len - hop;
        assert!(made[..late].iter().all(|x| x.abs() < 1e-12), "silence comes first");
        for (n, (made, x)) in made[late..].iter().zip(&samples).enumerate() {
            assert!((made - sum * f64::from(*x)).abs() < 1e-7, "{window_len}/{hop}, sample {n}: {made} from {x}");
        }
    }
}

#[test]
fn a_hop_that_does_not_run_adds_nothing_and_keeps_the_state() {
    use super::denoise_oracle::{Step, run};
    let model = with_random_weights(small_descriptions().swap_remove(5), 7);
    let (hop, late) = (32, 32);
    let samples = signal(8 * hop, 5);
    let pause = Step { run: false, ..Step::RUN };
    let paused = run(&model, 0.0, &samples, &[Step::RUN, Step::RUN, pause, pause, pause, Step::RUN, Step::RUN, pause]);
    assert!(paused[3 * hop..4 * hop + late].iter().all(|x| *x == 0.0), "two windows in a row are missing");
    // Windows that run after the pause see the samples of the pause, and the state of before it.
    let joined: Vec<f32> = [&samples[..2 * hop], &samples[4 * hop..7 * hop]].concat();
    let seam = Step { run: false, ..Step::RUN };
    let whole = run(&model, 0.0, &joined, &[Step::RUN, Step::RUN, seam, Step::RUN, Step::RUN]);
    assert_eq!(whole[4 * hop..], paused[6 * hop..7 * hop], "as if the pause had been one hop long");
    let reset = Step { reset: true, ..Step::RUN };
    let with_reset = run(&model, 0.0, &samples[..4 * hop], &[Step::RUN, Step::RUN, reset, Step::RUN]);
    let mut fresh = super::denoise_oracle::Channel::new(&model, 0.0);
    fresh.hop(&samples[hop..2 * hop], pause);
    let fresh: Vec<f64> = samples[2 * hop..4 * hop].chunks(hop).flat_map(|x| fresh.hop(x, Step::RUN)).collect();
    assert_eq!(fresh[hop..], with_reset[3 * hop..], "a reset forgets");
}

#[test]
fn small_models_answer_and_their_factors_count() {
    use super::denoise_oracle::{Channel, Step, run};
    for model in small_models() {
        let (name, hop) = (&model.description().name, model.description().hop);
        let samples = signal(6 * hop, 1);
        let made = run(&model, 0.0, &samples, &[Step::RUN; 6]);
        let level = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>();
        let ratio = level(&mut made.iter().copied()) / level(&mut samples.iter().map(|x| f64::from(*x)));
        assert!((1e-3..30.0).contains(&ratio), "{name}: {ratio} as loud");
        if model.description().parts[0].layers[0].scaled {
            let mut channel = Channel::new(&model, 0.0);
            channel.set_scale(0, &vec![1.0; model.description().parts[0].layers[0].outputs]);
            let other: Vec<f64> = samples.chunks(hop).flat_map(|x| channel.hop(x, Step::RUN)).collect();
            assert_ne!(made, other, "{name}: other factors");
        }
    }
}
