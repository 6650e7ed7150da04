//! The gate's decisions, equal to the bit on every device and in both places: thresholds, special values, every
//! length. `hold` covers what happens over time.

use auricle::{Faulty, FrameShape, FrameState, Gate, Graph, Plan, Quiet, Threshold};

use crate::adapter::plans;
use crate::compare::assert_same_bits;
use crate::oracle;
use crate::signals::{noise, random};

pub(crate) const LENGTHS: [usize; 7] = [64, 128, 256, 512, 1024, 2048, 4096];

pub(crate) fn graph(shape: FrameShape, gate: Gate) -> Graph {
    Graph::new().input("in", shape).gate("gate", "in", gate).output("out", "gate")
}

/// What the oracle decides about the frames of each channel, channel after channel. `threshold` is linear; none is
/// off, when every finite frame is above it.
pub(crate) fn expected_states(
    samples: &[f32],
    floats: usize,
    channels: usize,
    threshold: Option<f32>,
    hold: u32,
) -> Vec<FrameState> {
    let frames: Vec<&[f32]> = samples.chunks(floats).collect();
    let row = (frames.len() / channels.max(1)).max(1);
    let decide = |frames: &[&[f32]]| oracle::gate(frames, threshold.unwrap_or(-1.0), hold as usize);
    let state = |decision| match decision {
        None => FrameState::Faulty,
        Some(true) => FrameState::Live,
        Some(false) => FrameState::Quiet,
    };
    frames.chunks(row).flat_map(decide).map(state).collect()
}

/// What comes out when nothing stands between the gate and the output.
pub(crate) fn expected_frames(samples: &[f32], floats: usize, states: &[FrameState], quiet: Quiet) -> Vec<f32> {
    let passes = |state| state == FrameState::Live || (state == FrameState::Quiet && quiet == Quiet::Pass);
    let frame = |(frame, state): (&[f32], &FrameState)| match passes(*state) {
        true => frame.to_vec(),
        false => vec![0.0; floats],
    };
    samples.chunks(floats).zip(states).flat_map(frame).collect()
}

/// Runs a plan of `graph`, and fails unless its states and frames are the expected ones.
pub(crate) fn check(what: &str, plan: &Plan, samples: &[f32], channels: usize, states: &[FrameState], quiet: Quiet) {
    let output = plan.run(&[samples], channels).unwrap_or_else(|error| panic!("{what}: {error}"));
    let wrong = output.states().iter().zip(states).position(|(actual, expected)| actual != expected);
    assert_eq!(wrong, None, "{what}: the first frame that is decided wrongly of {}", states.len());
    assert_eq!(output.states().len(), states.len(), "{what}: number of states");
    let frames = expected_frames(samples, plan.inputs()[0].1.floats(), states, quiet);
    assert_same_bits(output.dense("out").expect("the output is there"), &frames, what);
}

/// The next float away from zero.
fn above(x: f32) -> f32 {
    f32::from_bits(x.to_bits() + 1)
}

/// One frame for each value: the value at some place, on a ground of -0.0.
fn frames_with(values: &[f32], floats: usize) -> Vec<f32> {
    let mut next = random(floats as u64);
    let frame = |value: &f32| {
        let mut frame = vec![-0.0; floats];
        frame[next() as usize % floats] = *value;
        frame
    };
    values.iter().flat_map(frame).collect()
}

#[test]
fn the_threshold_is_strict_for_every_kind_of_value() {
    let smallest = f32::from_bits(1);
    let minus_60 = 10_f64.powf(-60.0 / 20.0) as f32;
    let thresholds = [
        (Threshold::Linear(0.001), Some(0.001)),
        (Threshold::Linear(0.0), Some(0.0)),
        (Threshold::Linear(-0.0), Some(0.0)),
        (Threshold::Linear(smallest), Some(smallest)),
        (Threshold::Linear(f32::MIN_POSITIVE), Some(f32::MIN_POSITIVE)),
        (Threshold::Linear(1e38), Some(1e38)),
        (Threshold::Linear(f32::MAX), Some(f32::MAX)),
        (Threshold::Decibels(-60.0), Some(minus_60)),
        (Threshold::Decibels(0.0), Some(1.0)),
        (Threshold::Decibels(-23.5), Some(10_f64.powf(-23.5 / 20.0) as f32)),
        (Threshold::Off, None),
    ];
    let mut values = vec![0.0, -0.0, 1.0, -1.0, f32::MAX, f32::MIN, 1e-40, smallest, 2.0 * smallest];
    for threshold in thresholds.iter().filter_map(|(_, linear)| *linear).filter(|linear| *linear < f32::MAX) {
        let just_below = f32::from_bits(threshold.to_bits().saturating_sub(1));
        values.extend([threshold, -threshold, above(threshold), -above(threshold), just_below, -just_below]);
    }
    let shape = FrameShape::real(64);
    let samples = frames_with(&values, 64);
    for (threshold, linear) in thresholds {
        let states = expected_states(&samples, 64, 1, linear, 0);
        let gate = Gate { threshold, ..Gate::default() };
        for (name, plan) in plans(&graph(shape, gate), &[64]) {
            check(&format!("{threshold:?} on {name}"), &plan, &samples, 1, &states, Quiet::Zero);
        }
    }
}

#[test]
fn a_frame_that_is_not_finite_is_faulty_whatever_its_bits() {
    let payload = f32::from_bits(0x7fc0_1234);
    let signalling = f32::from_bits(0x7f80_0001);
    let values = [
        f32::NAN,
        -f32::NAN,
        payload,
        -payload,
        signalling,
        f32::from_bits(0xff80_0001),
        f32::from_bits(0xffff_ffff),
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.5,
        0.0,
        f32::MAX,
    ];
    let mut samples = frames_with(&values, 128);
    samples[0] = f32::MAX;
    let faulty = expected_states(&samples, 128, 1, Some(0.001), 0);
    assert_eq!(faulty.iter().filter(|state| **state == FrameState::Faulty).count(), 9, "NaN and infinities");
    for threshold in [Threshold::Linear(0.001), Threshold::Off] {
        let gate = Gate { threshold, faulty: Faulty::Silence, ..Gate::default() };
        let linear = (threshold != Threshold::Off).then_some(0.001);
        for quiet in [Quiet::Zero, Quiet::Pass] {
            let states = expected_states(&samples, 128, 1, linear, 0);
            for (name, plan) in plans(&graph(FrameShape::real(128), Gate { quiet, ..gate }), &[16]) {
                check(&format!("{threshold:?}, {quiet:?} on {name}"), &plan, &samples, 1, &states, quiet);
            }
        }
    }
}

#[test]
fn every_place_of_every_length_is_looked_at() {
    let shapes = LENGTHS.iter().flat_map(|len| [FrameShape::real(*len), FrameShape::complex(*len)]);
    let blocks = [FrameShape::block(auricle::Domain::Real, 8, 8), FrameShape::block(auricle::Domain::Complex, 16, 64)];
    for shape in shapes.chain(blocks) {
        let floats = shape.floats();
        // The first frame is silent. In each other one, a single float is loud, at places that cover the whole frame.
        let places: Vec<usize> = (0..48).map(|n| n * floats / 48).chain([floats - 1, 1, 3]).collect();
        let mut samples = vec![1e-4; floats * (places.len() + 1)];
        for (frame, place) in samples.chunks_mut(floats).skip(1).zip(&places) {
            frame[*place] = -0.5;
        }
        let states = expected_states(&samples, floats, 1, Some(0.001), 0);
        assert_eq!(states.iter().filter(|state| **state == FrameState::Quiet).count(), 1, "the first one");
        for (name, plan) in plans(&graph(shape, Gate::default()), &[8, 64]) {
            check(&format!("{shape} on {name}"), &plan, &samples, 1, &states, Quiet::Zero);
        }
    }
}

#[test]
fn quiet_frames_pass_bit_by_bit() {
    let shape = FrameShape::complex(64);
    let mut samples: Vec<f32> = noise(40 * shape.floats(), 3).iter().map(|x| x * 1e-3).collect();
    for frame in samples.chunks_mut(shape.floats()).step_by(3) {
        frame[5] = 0.75;
        frame[6] = f32::from_bits(7);
    }
    samples[200] = -0.0;
    samples[201] = -f32::from_bits(3);
    let states = expected_states(&samples, shape.floats(), 2, Some(0.5), 0);
    let gate = Gate { threshold: Threshold::Linear(0.5), quiet: Quiet::Pass, ..Gate::default() };
    for (name, plan) in plans(&graph(shape, gate), &[4, 16]) {
        check(&name, &plan, &samples, 2, &states, Quiet::Pass);
        let output = plan.run(&[&samples], 2).expect("the run should succeed");
        assert_same_bits(output.dense("out").expect("the output is there"), &samples, "everything passes");
    }
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let engine = &crate::adapter::engines()[0];
    let refused = |gate: Gate| {
        let error = engine.compile(&graph(FrameShape::real(64), gate)).expect_err("the gate should be refused");
        let message = error.to_string();
        assert!(message.contains("`gate`"), "names the node: {message}");
        message
    };
    for level in [-0.001, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let message = refused(Gate { threshold: Threshold::Linear(level), ..Gate::default() });
        assert!(message.contains("threshold"), "{message}");
    }
    for level in [f32::NAN, f32::INFINITY, 800.0] {
        let message = refused(Gate { threshold: Threshold::Decibels(level), ..Gate::default() });
        assert!(message.contains("threshold"), "{message}");
    }
    assert!(refused(Gate { hold: 1_000_001, ..Gate::default() }).contains("hold"), "names the setting");
}
