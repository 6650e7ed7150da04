//! Numbers at the ends of what an `f32` holds, through every kernel on every device.
//!
//! From 1e-30 to 1e36 the tolerances are what they are elsewhere. Below, where numbers lose their last digits, kernels are
//! within 256 times the smallest normal number, since GPUs may take the smaller ones for zero. Above, a frame whose sums are
//! more than an `f32` holds comes out of a filter without one finite number, and of a transform with some that are not, the
//! same ones on every device; a denoiser keeps its input within bounds, and its output is finite.

use auricle::stage::denoise::model::Model;
use auricle::{
    CustomKernel, Denoise, Faulty, FilterMode, Fourier, FrameShape, Gate, Graph, Level, Measure, PhiResolvent, Taper,
    Threshold,
};

use crate::adapter::plans;
use crate::custom::wgsl;
use crate::signals::noise;

const FLOATS: usize = 256;
const FRAMES: usize = 6;

/// Each with how far devices may be apart, of the largest float.
fn graphs() -> Vec<(&'static str, f32, Graph)> {
    let gate = Gate { threshold: Threshold::Linear(0.0), faulty: Faulty::Silence, ..Gate::default() };
    let gated = |shape| Graph::new().input("in", shape).gate("gate", "in", gate);
    let filtered = |shape, filter| gated(shape).filter("node", "gate", filter).output("out", "node");
    let filter = |mode| PhiResolvent { mode, measure: Measure::Coherence, ..PhiResolvent::default() };
    let (real, complex) = (FrameShape::real(FLOATS), FrameShape::complex(FLOATS / 2));
    let fourier = |fourier| gated(complex).fourier("node", "gate", fourier).output("out", "node");
    let denoise = |level| gated(real).denoise("node", "gate", Denoise { level, ..Denoise::new(Model::builtin()) });
    let halves =
        CustomKernel::new(&wgsl("", 1, "value = 0.5 * source_0[frame * params.frame_len + i];"), |sources, result| {
            result.iter_mut().zip(sources[0]).for_each(|(y, x)| *y = 0.5 * x);
        });
    vec![
        ("block filter", 1e-6, filtered(real, filter(FilterMode::Block))),
        ("seamless filter", 1e-6, filtered(real, filter(FilterMode::Seamless))),
        ("complex filter", 1e-6, filtered(complex, filter(FilterMode::Block))),
        ("transform", 1e-6, fourier(Fourier::Forward(Taper::Hann))),
        ("transform back", 1e-6, fourier(Fourier::Inverse)),
        ("denoiser", 1e-5, denoise(Level::Off).output("out", "node")),
        ("denoiser with a level", 1e-5, denoise(Level::Auto).output("out", "node")),
        ("custom kernel", 0.0, gated(real).kernel("node", &["gate"], halves).output("out", "node")),
    ]
}

fn scaled(scale: f32) -> Vec<f32> {
    noise(FLOATS * FRAMES, 3).into_iter().map(|x| x * scale).collect()
}

fn alternating(most: f32) -> Vec<f32> {
    (0..FLOATS * FRAMES).map(|n| if n % 2 == 0 { most } else { -most }).collect()
}

#[test]
fn every_kernel_takes_every_level_alike_on_every_device() {
    let levels = [1e-44, 1e-40, 1e-38, 1e-30, 1e-20, 1.0, 1e18, 1e30, 1e36].map(scaled);
    for (name, tolerance, graph) in graphs() {
        let plans = plans(&graph, &[4, 64]);
        for samples in levels.iter().chain(&[alternating(1.0), alternating(1e-40), alternating(1e36)]) {
            let mut expected: Option<Vec<f32>> = None;
            for (device, plan) in &plans {
                let output = plan.run(&[samples], 1).expect("all of them are numbers");
                let what = format!("{name} of {:e} on {device}", samples[0]);
                assert_eq!(output.counts().live, FRAMES as u64, "{what}: above zero is above the threshold");
                let out = output.dense("out").expect("its output");
                assert!(out.iter().all(|x| x.is_finite()), "{what}: finite");
                let expected = expected.get_or_insert_with(|| out.to_vec());
                let most = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                let off = expected.iter().zip(out).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                let allowed = tolerance * most + 256.0 * f32::MIN_POSITIVE;
                assert!(off <= allowed, "{what}: off by {off:e} of {most:e}");
                let loss = 1e-30 < samples[0].abs() && most == 0.0;
                assert!(!loss, "{what}: something comes out");
            }
        }
    }
}

#[test]
fn what_an_f32_cannot_hold_is_told_by_the_same_numbers_on_every_device() {
    for (name, _, graph) in graphs() {
        for samples in [scaled(f32::MAX), alternating(f32::MAX)] {
            let mut expected: Option<Vec<bool>> = None;
            for (device, plan) in plans(&graph, &[4, 64]) {
                let output = plan.run(&[&samples], 1).expect("all of them are numbers");
                let out: Vec<bool> = output.dense("out").expect("its output").iter().map(|x| x.is_finite()).collect();
                if name.starts_with("denoiser") || name.starts_with("custom") {
                    assert!(out.iter().all(|is_finite| *is_finite), "{name} on {device}: finite");
                }
                if name.ends_with("filter") {
                    assert!(!out.contains(&true), "{name} on {device}: all is lost, and says so");
                }
                let expected = expected.get_or_insert_with(|| out.clone());
                assert!(out == *expected, "{name} on {device}: other floats are finite");
            }
        }
    }
}

#[test]
fn frames_with_any_nan_are_silenced_alike_in_every_kernel() {
    let nans = [0x7F80_0001, 0x7FC0_0000, 0xFFFF_FFFF, 0xFF80_0001, 0x7FAB_CDEF].map(f32::from_bits);
    let mut samples = scaled(0.5);
    for (frame, nan) in [0, 2, 5].into_iter().zip(nans.chunks(2)) {
        samples[frame * FLOATS + 17..][..nan.len()].copy_from_slice(nan);
    }
    samples[2 * FLOATS + 100] = f32::NEG_INFINITY;
    let mut silent = samples.clone();
    for frame in [0, 2, 5] {
        silent[frame * FLOATS..(frame + 1) * FLOATS].fill(0.0);
    }
    for (name, _, graph) in graphs() {
        for (device, plan) in plans(&graph, &[4, 64]) {
            let [faulty, silent] = [&samples, &silent].map(|samples| plan.run(&[samples], 1).expect("it runs"));
            assert_eq!((faulty.counts().faulty, silent.counts().faulty), (3, 0), "{name} on {device}");
            assert_eq!(faulty.dense("out"), silent.dense("out"), "{name} on {device}: as if they were silence");
        }
    }
}
