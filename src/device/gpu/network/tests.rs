//! Networks on every adapter there is, held against their definition in f64, and against themselves.

use std::sync::Arc;

use super::memory::READ_AT_ONCE;
use super::{Bounds, GpuNetwork};
use crate::device::adapter::all_for_tests;
use crate::device::gpu::GpuDevice;
use crate::error::Result;
use crate::stage::denoise::model::{Model, Window};
use crate::stage::denoise::network::{Advance, HopStep, Network as _, NetworkOptions, Precision};
use crate::stage::denoise::tests::denoise_models::{
    description, open_mask, signal, small_models, with_part, with_random_weights,
};
use crate::stage::denoise::tests::denoise_oracle::{self, Channel, Step};
use compare::relative_l2;

#[path = "../../../../tests/compare.rs"]
#[expect(dead_code, clippy::cast_possible_truncation, reason = "shared with the tests of the whole crate")]
mod compare;

/// Relative to the level of a channel's output: tanh and sigmoid are good to 4e-7, and sums of some hundred products to
/// as much; a state adds up the errors of some hops.
const TOLERANCE: f64 = 2e-6;

const F32: NetworkOptions = NetworkOptions { precision: Precision::F32, mask_floor: 0.0 };

fn step(step: Step) -> HopStep {
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    HopStep { gain: step.gain, flags: flag(step.run, HopStep::RUN) | flag(step.reset, HopStep::RESET) }
}

fn open_with(
    device: &GpuDevice,
    model: &Arc<Model>,
    channels: usize,
    options: NetworkOptions,
    change: impl FnOnce(&mut Bounds),
) -> Result<GpuNetwork> {
    let mut bounds = Bounds::of(&device.shared.device, device.info.kind);
    change(&mut bounds);
    GpuNetwork::open(Arc::clone(&device.shared), model, channels, options, bounds)
}

fn open(device: &GpuDevice, model: &Arc<Model>, channels: usize) -> GpuNetwork {
    open_with(device, model, channels, F32, |_| {}).expect("the network should open")
}

/// Samples and steps of each channel, all equally long.
struct Signals {
    hop: usize,
    samples: Vec<Vec<f32>>,
    steps: Vec<Vec<Step>>,
}

impl Signals {
    /// Channels of noise in which every kind of step occurs.
    fn new(model: &Model, channels: usize, hops: usize) -> Self {
        let hop = model.description().hop;
        let samples = (0..channels).map(|channel| signal(hops * hop, 1 + channel as u64)).collect();
        let step = |channel: usize, hop: usize| {
            let kind = (5 * channel + 3 * hop) % 11;
            Step { gain: 0.5 + 0.25 * kind as f32, run: kind != 4, reset: kind == 7 || (kind == 4 && channel == 1) }
        };
        let steps = (0..channels).map(|channel| (0..hops).map(|hop| step(channel, hop)).collect()).collect();
        Self { hop, samples, steps }
    }

    /// Advances `channels` of the network by the hops in `range`, all in one call.
    fn advance(&self, network: &mut GpuNetwork, channels: &[u32], range: std::ops::Range<usize>) -> Vec<Vec<f32>> {
        let of = |channel: &u32| *channel as usize;
        let span = range.start * self.hop..range.end * self.hop;
        let samples: Vec<f32> = channels.iter().flat_map(|c| self.samples[of(c)][span.clone()].to_vec()).collect();
        let steps: Vec<HopStep> =
            channels.iter().flat_map(|c| self.steps[of(c)][range.clone()].iter().map(|s| step(*s))).collect();
        let call = Advance { channels, hops: range.len(), samples: &samples, steps: &steps };
        // Whatever was there before has to be overwritten.
        let mut output = vec![f32::NAN; samples.len()];
        network.advance(&call, &mut output).expect("the network should run");
        let len = range.len() * self.hop;
        (0..channels.len()).map(|index| output[index * len..(index + 1) * len].to_vec()).collect()
    }
}

fn bits(channels: &[Vec<f32>]) -> Vec<Vec<u32>> {
    channels.iter().map(|channel| channel.iter().map(|x| x.to_bits()).collect()).collect()
}

/// The largest error of all channels.
fn error_of(device: &GpuDevice, model: &Arc<Model>, options: NetworkOptions, hops: usize) -> f64 {
    let channels = 5;
    let signals = Signals::new(model, channels, hops);
    let mut network = open_with(device, model, channels, options, |_| {}).expect("the network should open");
    let all: Vec<u32> = (0..5).collect();
    let made = signals.advance(&mut network, &all, 0..hops);
    let errors = made.iter().enumerate().map(|(channel, made)| {
        let (samples, steps) = (&signals.samples[channel], &signals.steps[channel]);
        relative_l2(made, &denoise_oracle::run(model, options.mask_floor, samples, steps))
    });
    errors.fold(0.0, f64::max)
}

#[test]
#[expect(clippy::print_stderr, reason = "measured errors are worth reading")]
fn every_kind_of_layer_computes_what_it_should() {
    for device in all_for_tests() {
        for (index, model) in small_models().into_iter().map(Arc::new).enumerate() {
            let mask_floor = if index % 2 == 0 { 0.0 } else { 0.125 };
            let error = error_of(&device, &model, NetworkOptions { mask_floor, ..F32 }, 9);
            let name = &model.description().name;
            eprintln!("{}, {name}: {error:.2e}", device.info.name);
            assert!(error < TOLERANCE, "{}, {name}: relative error {error:.2e}", device.info.name);
        }
    }
}

#[test]
fn windows_of_every_length_are_transformed_there_and_back() {
    for device in all_for_tests() {
        // Powers of two, other small factors, a large prime, and no factor at all.
        for (window_len, hop) in
            [(16, 1), (18, 6), (64, 16), (98, 49), (254, 127), (320, 160), (960, 480), (2046, 341), (2048, 512)]
        {
            let model = Arc::new(open_mask(window_len, hop, Window::SqrtHannPeriodic));
            let error = error_of(&device, &model, F32, 2 * window_len / hop + 3);
            assert!(error < 1e-6, "{}, {window_len}: relative error {error:.2e}", device.info.name);
        }
    }
}

#[test]
fn a_channel_does_not_depend_on_its_neighbours_nor_on_how_its_hops_are_cut() {
    for device in all_for_tests() {
        for model in small_models().into_iter().take(6).map(Arc::new) {
            // So many that the walk takes 16 at once, where so many fit.
            let count = if model.description().name.starts_with("more-units") { 19 } else { 40 };
            let what = format!("{}, {}", device.info.name, model.description().name);
            let signals = Signals::new(&model, count, 7);
            let all: Vec<u32> = (0..).take(count).collect();
            let whole = signals.advance(&mut open(&device, &model, count), &all, 0..7);
            // Alone, one of a few, and with every channel in calls of its own.
            let mut alone = open(&device, &model, count);
            let lone = signals.advance(&mut alone, &[3], 0..7);
            assert_eq!(bits(&lone), bits(&whole[3..4]), "{what}: alone");
            let few = signals.advance(&mut alone, &[1, 2, 8, 17], 0..7);
            let expected: Vec<Vec<f32>> = [1, 2, 8, 17].map(|channel| whole[channel].clone()).to_vec();
            assert_eq!(bits(&few), bits(&expected), "{what}: after another, with three");
            // Cut anywhere, with pauses for some.
            let mut cut = open(&device, &model, count);
            let first = signals.advance(&mut cut, &all, 0..1);
            let second = signals.advance(&mut cut, &[0, 3, 18], 1..3);
            let third = signals.advance(&mut cut, &[3], 3..7);
            let joined = [first[3].clone(), second[1].clone(), third[0].clone()].concat();
            assert_eq!(bits(&[joined]), bits(&whole[3..4]), "{what}: cut");
        }
    }
}

#[test]
fn small_memory_is_used_over_and_over() {
    for device in all_for_tests() {
        let model = Arc::new(small_models().swap_remove(6));
        assert!(model.description().name.ends_with("scaled"), "factors are kept by channel, too");
        let signals = Signals::new(&model, 19, 7);
        let all: Vec<u32> = (0..19).collect();
        let whole = signals.advance(&mut open(&device, &model, 19), &all, 0..7);
        for (most_rows, bank) in [(1, 19), (2, 5), (7, 4), (40, 1), (1000, 18)] {
            let kept = model.description().window_len - model.description().hop;
            let tight = |bounds: &mut Bounds| {
                bounds.most_rows = most_rows;
                bounds.binding_bytes = 4 * (bank * kept.max(516)) as u64;
            };
            let mut network = open_with(&device, &model, 19, F32, tight).expect("it should still open");
            assert!(network.banks.len() >= 19 / bank, "there are several banks");
            let made = signals.advance(&mut network, &all, 0..7);
            assert_eq!(bits(&made), bits(&whole), "{}: {most_rows} rows, banks of {bank}", device.info.name);
        }
    }
}

#[test]
fn factors_of_a_channel_are_its_own() {
    for device in all_for_tests() {
        let model = Arc::new(small_models().swap_remove(7));
        let layers: Vec<usize> = model.description().parts.iter().flat_map(|p| &p.layers).map(|l| l.outputs).collect();
        let signals = Signals::new(&model, 3, 6);
        let mut network = open(&device, &model, 3);
        let factors: Vec<Vec<f32>> =
            layers.iter().map(|n| (0..*n).map(|i| 0.5 + (i % 7) as f32 / 8.0).collect()).collect();
        for (layer, factors) in factors.iter().enumerate() {
            network.set_scale(1, layer, factors).expect("every layer is scaled");
        }
        let made = signals.advance(&mut network, &[0, 1, 2], 0..6);
        for (channel, made) in made.iter().enumerate() {
            let mut oracle = Channel::new(&model, 0.0);
            if channel == 1 {
                factors.iter().enumerate().for_each(|(layer, factors)| oracle.set_scale(layer, factors));
            }
            let hops = signals.samples[channel].chunks(signals.hop).zip(&signals.steps[channel]);
            let expected: Vec<f64> = hops.flat_map(|(samples, step)| oracle.hop(samples, *step)).collect();
            let error = relative_l2(made, &expected);
            assert!(error < TOLERANCE, "{}, channel {channel}: {error:.2e}", device.info.name);
        }
        for (channel, layer, len) in [(3, 0, layers[0]), (0, layers.len(), 1), (0, 0, layers[0] + 1)] {
            network.set_scale(channel, layer, &vec![1.0; len]).expect_err("there is no such channel, layer or factor");
        }
        network.set_scale(0, 0, &vec![f32::NAN; layers[0]]).expect_err("a factor is a number");
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "measured errors are worth reading")]
fn fewer_bits_cost_what_they_must() {
    for device in all_for_tests() {
        for (precision, tolerance) in [(Precision::F16, 2e-3), (Precision::Int8, 0.1)] {
            for model in small_models().into_iter().map(Arc::new) {
                let error = error_of(&device, &model, NetworkOptions { precision, mask_floor: 0.0 }, 9);
                let what = format!("{}, {}, {precision:?}", device.info.name, model.description().name);
                eprintln!("{what}: {error:.2e}");
                assert!(error < tolerance && error > 1e-6, "{what}: relative error {error:.2e}");
            }
        }
    }
}

#[test]
fn one_channels_nonsense_stays_its_own() {
    for device in all_for_tests() {
        let model = Arc::new(small_models().swap_remove(1));
        for precision in [Precision::F32, Precision::Int8] {
            let options = NetworkOptions { precision, mask_floor: 0.0 };
            let mut signals = Signals::new(&model, 9, 5);
            let run = |signals: &Signals| {
                let mut network = open_with(&device, &model, 9, options, |_| {}).expect("the network should open");
                let all: Vec<u32> = (0..9).collect();
                signals.advance(&mut network, &all, 0..5)
            };
            let before = run(&signals);
            signals.samples[4][200] = f32::NAN;
            signals.samples[5].fill(3e38);
            signals.samples[6].fill(0.0);
            let after = run(&signals);
            for channel in [0, 1, 2, 3, 7, 8] {
                assert_eq!(bits(&after[channel..=channel]), bits(&before[channel..=channel]), "channel {channel}");
            }
            assert!(after[6].iter().all(|x| x.is_finite()), "silence is silence");
        }
    }
}

#[test]
fn nothing_to_do_is_nothing_done_and_wrong_calls_are_refused() {
    for device in all_for_tests() {
        let model = Arc::new(small_models().swap_remove(3));
        let mut network = open(&device, &model, 4);
        let hop = model.description().hop;
        let step = HopStep { gain: 1.0, flags: HopStep::RUN };
        let call = Advance { channels: &[], hops: 3, samples: &[], steps: &[] };
        network.advance(&call, &mut []).expect("no channels");
        let call = Advance { channels: &[0, 2], hops: 0, samples: &[], steps: &[] };
        network.advance(&call, &mut []).expect("no hops");
        let (samples, steps) = (vec![0.0; 2 * hop], [step; 2]);
        let call = Advance { channels: &[0, 2], hops: 1, samples: &samples, steps: &steps };
        for wrong in [
            Advance { channels: &[2, 0], ..call },
            Advance { channels: &[2, 2], ..call },
            Advance { channels: &[0, 4], ..call },
            Advance { hops: 2, ..call },
            Advance { samples: &samples[1..], ..call },
            Advance { steps: &steps[1..], ..call },
        ] {
            network.advance(&wrong, &mut vec![0.0; 2 * hop]).expect_err("it should be refused");
        }
        network.advance(&call, &mut vec![0.0; hop]).expect_err("there is no room for the output");
        network.advance(&call, &mut vec![0.0; 2 * hop]).expect("refusing broke nothing");
        open_with(&device, &model, 0, F32, |_| {}).expect_err("a network has channels");
    }
}

#[test]
fn what_the_kernels_cannot_do_is_refused_by_name() {
    use crate::stage::denoise::model::{Basis, Feature, LayerKind};
    use crate::stage::denoise::tests::denoise_models::SIGMOID;
    let Some(device) = all_for_tests().into_iter().next() else { return };
    let spectrum = Basis::Spectrum(Feature::Magnitude);
    let long = with_part(description("long", 4096, 2048, Window::Rectangular), spectrum, &[(SIGMOID, 2049)]);
    let kept =
        with_part(description("kept", 8192, 2048, Window::Rectangular), Basis::Learned { size: 1 }, &[(SIGMOID, 1)]);
    let short = || description("units", 64, 32, Window::Rectangular);
    let units = with_part(short(), spectrum, &[(LayerKind::Gru, 2049), (SIGMOID, 33)]);
    for (model, named) in [(long, "4096"), (kept, "6144"), (units, "2049")] {
        let model = Arc::new(with_random_weights(model, 1));
        let error = open_with(&device, &model, 1, F32, |_| {}).expect_err("it should be refused").to_string();
        assert!(error.contains(named), "{error}");
    }
}

fn tables(network: &GpuNetwork) -> &Arc<super::Tables> {
    network.tables.as_ref().expect("it is awake")
}

#[test]
fn networks_of_one_model_share_its_weights() {
    let Some(device) = all_for_tests().into_iter().next() else { return };
    let model = Arc::new(small_models().swap_remove(0));
    let (first, second) = (open(&device, &model, 1), open(&device, &model, 3));
    assert!(Arc::ptr_eq(tables(&first), tables(&second)), "uploaded once");
    let other = NetworkOptions { precision: Precision::F16, ..F32 };
    let other = open_with(&device, &model, 1, other, |_| {}).expect("the network should open");
    assert!(!Arc::ptr_eq(tables(&first), tables(&other)), "other bits are others");
}

#[test]
fn the_state_of_many_channels_is_read_back_in_pieces() {
    for device in all_for_tests() {
        let model = Arc::new(small_models().swap_remove(0));
        let floats: usize = open(&device, &model, 1).program.per_channel.values().sum();
        let at_once = READ_AT_ONCE / (size_of::<f32>() * floats);
        let count = 2 * at_once + 3;
        let all: Vec<u32> = (0..).take(count).collect();
        let mut network = open(&device, &model, count);
        let silent = network.save(&[0]).expect("it can be read").swap_remove(0);
        let marked = |channel: usize| {
            let mut state = silent.clone();
            state.history.fill(1.0 + channel as f32);
            state
        };
        let at_the_ends = [0, at_once - 1, at_once, 2 * at_once - 1, 2 * at_once, count - 1];
        for channel in at_the_ends {
            network.restore(all[channel], &marked(channel)).expect("it is there");
        }
        let states = network.save(&all).expect("all of them can be read");
        assert_eq!(states.len(), count, "{}", device.info.name);
        for (channel, state) in states.iter().enumerate() {
            let expected = if at_the_ends.contains(&channel) { marked(channel) } else { silent.clone() };
            assert!(*state == expected, "{}: channel {channel} of {count}", device.info.name);
        }
    }
}

#[test]
fn calls_are_as_long_as_a_few_pieces_of_this_device() {
    for device in all_for_tests() {
        let model = Arc::new(small_models().swap_remove(0));
        let network = open_with(&device, &model, 1, F32, |bounds| bounds.most_rows = 100);
        assert_eq!(network.expect("the network should open").call_rows(), 400, "{}", device.info.name);
    }
}
