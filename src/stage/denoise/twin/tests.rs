//! The CPU side against the definition in f64, at every level of this machine.

use super::matrix::{Matrix, Rows, Start, stride};
use super::{Group, PackedModel, TwinRoom};
use crate::simd::SimdLevel;
use crate::simd::tests::signals::noise;
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::{HopStep, NetworkOptions, Precision};
use crate::stage::denoise::tests::denoise_models;
use crate::stage::denoise::tests::denoise_oracle::{self, Step};

const F32: NetworkOptions = NetworkOptions { precision: Precision::F32, mask_floor: 0.0 };

/// Runs channels from silence, in calls of these numbers of hops.
fn twin(packed: &PackedModel, channels: usize, samples: &[f32], steps: &[HopStep], calls: &[usize]) -> Vec<f32> {
    let mut states = vec![packed.initial_state(); channels];
    let mut room = TwinRoom::default();
    let hops = steps.len() / channels;
    let mut output = vec![f32::NAN; samples.len()];
    let mut done = 0;
    for &count in calls {
        let rows = |floats: usize| {
            (0..channels).map(move |channel| (channel * hops + done) * floats..(channel * hops + done + count) * floats)
        };
        let cut: Vec<f32> = rows(packed.hop()).flat_map(|range| samples[range].to_vec()).collect();
        let cut_steps: Vec<HopStep> = rows(1).flat_map(|range| steps[range].to_vec()).collect();
        let mut part = vec![f32::NAN; cut.len()];
        let mut states: Vec<&mut [f32]> = states.iter_mut().map(Vec::as_mut_slice).collect();
        let mut group = Group { hops: count, states: &mut states, samples: &cut, steps: &cut_steps, output: &mut part };
        packed.advance(&mut group, &mut room);
        for (range, part) in rows(packed.hop()).zip(part.chunks(count * packed.hop())) {
            output[range].copy_from_slice(part);
        }
        done += count;
    }
    output
}

fn steps(of: &[Step]) -> Vec<HopStep> {
    let flag = |wanted: bool, flag: u32| if wanted { flag } else { 0 };
    of.iter()
        .map(|step| HopStep { gain: step.gain, flags: flag(step.run, HopStep::RUN) | flag(step.reset, HopStep::RESET) })
        .collect()
}

/// Hops of every kind: gains, pauses, resets.
fn eventful(hops: usize) -> Vec<Step> {
    let step = |hop: usize| Step { gain: [1.0, 0.5, 3.0][hop % 3], run: hop % 7 != 4, reset: hop == 9 };
    (0..hops).map(step).collect()
}

fn error(expected: &[f64], actual: &[f32]) -> f64 {
    let energy: f64 = expected.iter().map(|x| x * x).sum();
    let difference: f64 = expected.iter().zip(actual).map(|(x, y)| (x - f64::from(*y)).powi(2)).sum();
    (difference / energy).sqrt()
}

fn check(model: &Model, options: NetworkOptions, tolerance: f64) {
    let (hops, hop) = (23, model.description().hop);
    let samples = noise(hops * hop, 5);
    let events = eventful(hops);
    let expected = denoise_oracle::run(model, options.mask_floor, &samples, &events);
    for level in SimdLevel::available() {
        let packed = PackedModel::new(model, level, &options);
        let actual = twin(&packed, 1, &samples, &steps(&events), &[hops]);
        let error = error(&expected, &actual);
        assert!(error < tolerance, "{} at {level}, {:?}: {error:.2e}", model.description().name, options.precision);
    }
}

#[test]
fn every_small_model_is_as_defined() {
    for model in denoise_models::small_models() {
        check(&model, F32, 3e-6);
        check(&model, NetworkOptions { mask_floor: 0.25, ..F32 }, 3e-6);
    }
}

#[test]
fn halves_and_bytes_stay_near() {
    for model in denoise_models::small_models() {
        check(&model, NetworkOptions { precision: Precision::F16, ..F32 }, 3e-3);
        check(&model, NetworkOptions { precision: Precision::Int8, ..F32 }, 0.03);
    }
}

#[test]
fn a_channel_is_the_same_among_any_others_and_in_any_pieces() {
    for model in denoise_models::small_models() {
        let (hops, hop) = (12, model.description().hop);
        let events = steps(&eventful(hops));
        for level in SimdLevel::available() {
            for precision in [Precision::F32, Precision::F16, Precision::Int8] {
                let packed = PackedModel::new(&model, level, &NetworkOptions { precision, ..F32 });
                let alone: Vec<Vec<f32>> =
                    (0..11).map(|channel| twin(&packed, 1, &noise(hops * hop, channel), &events, &[hops])).collect();
                for channels in [2, 3, 11] {
                    let samples: Vec<f32> =
                        (0..channels as u64).flat_map(|channel| noise(hops * hop, channel)).collect();
                    let all: Vec<HopStep> = (0..channels).flat_map(|_| events.clone()).collect();
                    let count = alone[0].len();
                    for calls in [&[12][..], &[1; 12], &[5, 1, 6]] {
                        let together = twin(&packed, channels, &samples, &all, calls);
                        for (channel, part) in together.chunks(count).enumerate() {
                            assert!(part == alone[channel], "{}, {level}", model.description().name);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn products_of_any_shape_are_sums_in_order() {
    for level in SimdLevel::available() {
        for (inputs, outputs) in [(1, 1), (7, 16), (257, 5), (33, 48), (20, 160), (128, 200)] {
            let weights = noise(inputs * outputs, 3);
            let bias: Vec<f32> = (0..stride(outputs)).map(|n| n as f32 / 10.0).collect();
            let matrix = Matrix::new(level, Precision::F32, inputs, &weights);
            for count in [1, 2, 3, 5, 8, 13, 17] {
                let activations = noise(count * stride(inputs), 4);
                let mut results = vec![f32::NAN; count * matrix.outputs()];
                let rows = Rows { floats: &activations, stride: stride(inputs), count };
                matrix.product(rows, Start::Bias(&bias), &mut results, &mut Vec::new());
                for row in 0..count {
                    for output in 0..outputs {
                        let products = (0..inputs).map(|input| {
                            let activation = f64::from(activations[row * stride(inputs) + input]);
                            activation * f64::from(weights[output * inputs + input])
                        });
                        let expected = f64::from(bias[output]) + products.sum::<f64>();
                        let actual = f64::from(results[row * matrix.outputs() + output]);
                        assert!(
                            (actual - expected).abs() < 1e-5 * (1.0 + expected.abs()),
                            "{level}: {actual}, {expected}"
                        );
                    }
                }
            }
        }
    }
}
