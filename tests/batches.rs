//! Batches of every size through gate and filter: buckets, layouts, and results that repeat to the bit.

use auricle::{
    FilterMode, FrameShape, FrameState, Gate, Graph, Layout, LiveFrame, Measure, PhiResolvent, Plan, Quiet, RunOutput,
    Threshold,
};

use crate::adapter::plans;
use crate::compare::assert_same_bits;
use crate::gate::{check, expected_states, graph};
use crate::signals::{bursts, noise, random};

pub(crate) fn filtered(shape: FrameShape, gate: Gate, filter: PhiResolvent) -> Graph {
    Graph::new().input("in", shape).gate("gate", "in", gate).filter("filter", "gate", filter).output("out", "filter")
}

pub(crate) fn block() -> PhiResolvent {
    PhiResolvent { mode: FilterMode::Block, ..PhiResolvent::default() }
}

pub(crate) fn dense(plan: &Plan, samples: &[f32], channels: usize) -> Vec<f32> {
    plan.run(&[samples], channels).expect("the run should succeed").dense("out").expect("it is there").to_vec()
}

#[test]
fn batches_of_every_size_are_gated_right() {
    let gate = Gate { hold: 2, ..Gate::default() };
    let plans = plans(&graph(FrameShape::real(64), gate), &[16, 64]);
    for frames in [0, 1, 2, 13, 14, 15, 16, 17, 61, 62, 63, 64, 65, 123, 255, 256, 257, 2049] {
        for channels in [1, 3] {
            let mut next = random(frames as u64 + 1);
            let loud: Vec<bool> = (0..frames * channels).map(|_| next().is_multiple_of(4)).collect();
            let samples = bursts(64, frames * channels, 8, |index| loud[index]);
            let states = expected_states(&samples, 64, channels, Some(0.001), 2);
            for (name, plan) in &plans {
                let what = format!("{channels} channels of {frames} on {name}");
                check(&what, plan, &samples, channels, &states, Quiet::Zero);
            }
        }
    }
}

#[test]
fn many_channels_with_few_frames() {
    let gate = Gate { hold: 1, ..Gate::default() };
    let plans = plans(&graph(FrameShape::complex(64), gate), &[32]);
    for (channels, frames) in [(100, 1), (257, 3), (31, 29), (7, 30), (5, 31)] {
        let samples = bursts(128, channels * frames, 9, |index| index % 5 == 0);
        let states = expected_states(&samples, 128, channels, Some(0.001), 1);
        for (name, plan) in &plans {
            check(&format!("{channels} x {frames} on {name}"), plan, &samples, channels, &states, Quiet::Zero);
        }
    }
}

#[test]
fn the_smallest_buckets_hold_what_they_must() {
    let samples = bursts(64, 2 * 9, 10, |index| index % 3 != 1);
    let states = expected_states(&samples, 64, 2, Some(0.001), 0);
    for bucket in [1, 2, 3, 4, 5] {
        for (name, plan) in plans(&graph(FrameShape::real(64), Gate::default()), &[bucket]) {
            check(&format!("a bucket of {bucket} on {name}"), &plan, &samples, 2, &states, Quiet::Zero);
        }
        for mode in [FilterMode::Block, FilterMode::Seamless] {
            let graph = filtered(FrameShape::real(64), Gate::default(), PhiResolvent { mode, ..block() });
            let small = plans(&graph, &[bucket]);
            for ((name, small), (_, large)) in small.iter().zip(plans(&graph, &[64])) {
                let what = format!("{mode:?}, a bucket of {bucket} on {name}");
                assert_same_bits(&dense(small, &samples, 2), &dense(&large, &samples, 2), &what);
                let pieces = crate::pieces::push_in_pieces(small, &samples, 2, &[1, 2], "out");
                assert_same_bits(&pieces.floats.concat(), &dense(&large, &samples, 2), &format!("pieces, {what}"));
            }
        }
    }
}

#[test]
fn seventy_thousand_frames_at_once() {
    // Past the largest bucket there can be; on the CPU, long enough for chunks of several spans.
    let frames = 70_000;
    let samples = bursts(64, frames, 12, |index| index % 7 < 3);
    let states = expected_states(&samples, 64, 1, Some(0.001), 1);
    let live = || states.iter().enumerate().filter(|(_, state)| **state == FrameState::Live).map(|(index, _)| index);
    for (name, plan) in plans(&graph(FrameShape::real(64), Gate { hold: 1, ..Gate::default() }), &[1_000_000]) {
        check(&name, &plan, &samples, 1, &states, Quiet::Zero);
        let mut packed = RunOutput::new(Layout::Packed);
        plan.run_into(&[&samples], 1, &mut packed).expect("the run should succeed");
        for (found, index) in packed.live("out").zip(live()) {
            assert_eq!(found.frame, index, "packed, on {name}");
            assert_same_bits(found.samples, &samples[index * 64..(index + 1) * 64], &name);
        }
        assert_eq!(packed.live("out").count(), live().count(), "packed, on {name}");
    }
}

#[test]
fn the_largest_batch_agrees_with_the_cpu() {
    // 32,500 workgroups of two windows each: nearly as many frames as one dispatch of a plan gets.
    let shape = FrameShape::real(64);
    let samples = noise(64 * 32_500, 13);
    let gate = Gate { threshold: Threshold::Off, ..Gate::default() };
    // A weak filter reaches little, so that a frame has two windows.
    let filter = PhiResolvent { phi: 1e-3, measure: Measure::Coherence, ..PhiResolvent::default() };
    let graph = filtered(shape, gate, filter).output("powers", "filter.powers");
    let [(_, cpu), adapters @ ..] = &plans(&graph, &[40_000])[..] else { panic!("the CPU is always there") };
    let expected = cpu.run(&[&samples], 1).expect("the run should succeed");
    assert_eq!(expected.dense("powers").map(<[f32]>::len), Some(32_500 * 2 * 2), "two windows for each frame");
    let as_f64 =
        |floats: Option<&[f32]>| floats.expect("it is there").iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    for (name, plan) in adapters {
        let output = plan.run(&[&samples], 1).expect("the run should succeed");
        for port in ["out", "powers"] {
            let (actual, expected) = (output.dense(port).expect("it is there"), as_f64(expected.dense(port)));
            let frame = actual.len() / 32_500;
            for (index, (a, e)) in actual.chunks(frame).zip(expected.chunks(frame)).enumerate() {
                let error = crate::compare::relative_l2(a, e);
                assert!(error < 2e-6, "{port} of frame {index} on {name}: {error:e}");
            }
        }
    }
}

fn owned(output: &RunOutput, port: &str) -> Vec<(usize, usize, Vec<f32>)> {
    output.live(port).map(|LiveFrame { channel, frame, samples }| (channel, frame, samples.to_vec())).collect()
}

#[test]
fn packed_and_dense_results_hold_the_same_live_frames() {
    let filter = PhiResolvent { measure: Measure::Coherence, ..block() };
    let graph = filtered(FrameShape::real(128), Gate::default(), filter).output("powers", "filter.powers");
    for (name, plan) in plans(&graph, &[16, 64]) {
        let (mut packed, mut whole) = (RunOutput::new(Layout::Packed), RunOutput::new(Layout::Dense));
        for (channels, frames, every) in [(1, 0, 1), (2, 3, 2), (3, 400, 3), (1, 700, 50), (4, 90, 1), (1, 300, 1000)] {
            let samples = bursts(128, channels * frames, 14, |index| index % every == every / 2);
            plan.run_into(&[&samples], channels, &mut packed).expect("the run should succeed");
            plan.run_into(&[&samples], channels, &mut whole).expect("the run should succeed");
            let live: Vec<_> = (0..channels * frames).filter(|index| index % every == every / 2).collect();
            let places: Vec<_> = live.iter().map(|index| (index / frames, index % frames)).collect();
            for port in ["out", "powers"] {
                let (packed, whole) = (owned(&packed, port), owned(&whole, port));
                assert!(packed == whole, "{port} of {channels} x {frames} on {name}");
                let found: Vec<_> = packed.iter().map(|(channel, frame, _)| (*channel, *frame)).collect();
                assert_eq!(found, places, "{port} of {channels} x {frames} on {name}");
            }
            assert_eq!(packed.dense("out"), None, "a packed result has no dense frames");
            assert_eq!(packed.states(), whole.states(), "on {name}");
            assert_eq!(owned(&packed, "nothing").len(), 0, "there is no such output");
        }
    }
}

#[test]
fn runs_repeat_to_the_bit() {
    let samples = bursts(1024, 3 * 70, 16, |index| index % 3 != 0);
    for mode in [FilterMode::Block, FilterMode::Seamless] {
        let filter = PhiResolvent { mode, measure: Measure::Coherence, ..PhiResolvent::default() };
        let graph = filtered(FrameShape::real(1024), Gate::default(), filter).output("powers", "filter.powers");
        for (name, plan) in plans(&graph, &[32]) {
            let first = plan.run(&[&samples], 3).expect("the run should succeed");
            for _ in 0..3 {
                let again = plan.run(&[&samples], 3).expect("the run should succeed");
                for port in ["out", "powers"] {
                    let (first, again) = (first.dense(port).unwrap(), again.dense(port).unwrap());
                    assert_same_bits(first, again, &format!("{port}, {mode:?} on {name}"));
                }
            }
        }
    }
}

#[test]
fn a_frames_bits_do_not_depend_on_its_neighbours() {
    for shape in [FrameShape::real(64), FrameShape::complex(64), FrameShape::real(1024), FrameShape::complex(4096)] {
        let floats = shape.floats();
        let graph = filtered(shape, Gate { threshold: Threshold::Off, ..Gate::default() }, block());
        let frame = noise(floats, 19);
        for (name, plan) in plans(&graph, &[64]) {
            let alone = dense(&plan, &frame, 1);
            for (place, gain) in [(0, 1e6), (1, 1e-6), (7, 1e20), (20, 0.0), (33, 1.0)] {
                let mut samples: Vec<f32> = noise(34 * floats, 20 + place as u64).iter().map(|x| x * gain).collect();
                samples[place * floats..(place + 1) * floats].copy_from_slice(&frame);
                let among = dense(&plan, &samples, 1);
                let what = format!("{shape} at {place} on {name}");
                assert_same_bits(&among[place * floats..(place + 1) * floats], &alone, &what);
            }
        }
    }
}

#[test]
fn samples_that_are_no_whole_frames_are_refused() {
    for (name, plan) in plans(&graph(FrameShape::real(64), Gate::default()), &[8]) {
        let samples = vec![1.0; 64 * 6];
        for (samples, channels) in [(&samples[..100], 1), (&samples[..], 4), (&samples[..64], 0)] {
            let error = plan.run(&[samples], channels).expect_err("no whole frames").to_string();
            assert!(error.contains("`in`") && error.contains(&samples.len().to_string()), "{name}: {error}");
        }
        let error = plan.run(&[], 1).expect_err("no input").to_string();
        assert!(error.contains("`in`") && error.contains('0'), "{name}: {error}");
        let output = plan.run(&[&samples], 2).expect("a refused run leaves the plan as it was");
        assert_eq!(output.states(), [FrameState::Live; 6], "{name}");
    }
}
