//! The gate over time: hold, across batches, buckets, sessions and channels.

use auricle::{FilterMode, FrameShape, FrameState, Gate, Graph, PhiResolvent, Quiet, Threshold};

use crate::adapter::{engines, plans};
use crate::compare::assert_same_bits;
use crate::gate::{check, expected_frames, expected_states, graph};
use crate::oracle;
use crate::pieces::push_in_pieces;
use crate::signals::{bursts, random};

const SHAPE: FrameShape = FrameShape::real(64);

fn gate(hold: u32) -> Gate {
    Gate { threshold: Threshold::Linear(0.001), hold, ..Gate::default() }
}

/// One frame in `every`, by chance, is loud.
fn sparse(frames: usize, every: u64, seed: u64) -> Vec<f32> {
    let mut next = random(seed);
    let loud: Vec<bool> = (0..frames).map(|_| next().is_multiple_of(every)).collect();
    bursts(SHAPE.floats(), frames, seed, |index| loud[index])
}

#[test]
fn hold_keeps_exactly_that_many_frames_live() {
    for (hold, every) in [(0, 3), (1, 4), (3, 9), (1000, 2500)] {
        // Two channels: what is loud at the end of the first must not hold the start of the second.
        for frames in [1, 2, 13, 14, 15, 26, 27, 40, 1300] {
            let mut samples = sparse(2 * frames, every, u64::from(hold) + frames as u64);
            samples[(frames - 1) * 64] = 0.5;
            let states = expected_states(&samples, 64, 2, Some(0.001), hold);
            // With a bucket of 16 frames, a row of 27 has one frame too many for two runs of the device's gate.
            for (name, plan) in plans(&graph(SHAPE, gate(hold)), &[16]) {
                check(&format!("hold {hold}, {frames} frames on {name}"), &plan, &samples, 2, &states, Quiet::Zero);
            }
        }
    }
}

#[test]
fn a_held_last_frame_is_decided_once_whatever_the_cut() {
    // The last frame stands exactly `hold` frames after the only loud one, and each length cuts the row elsewhere.
    let hold = 3;
    for frames in 4..60 {
        let samples = bursts(64, frames, 1, |index| index + 1 + hold == frames);
        let states = expected_states(&samples, 64, 1, Some(0.001), hold as u32);
        assert_eq!(states.last(), Some(&FrameState::Live), "the last one is held");
        for (name, plan) in plans(&graph(SHAPE, gate(hold as u32)), &[8]) {
            check(&format!("{frames} frames on {name}"), &plan, &samples, 1, &states, Quiet::Zero);
        }
    }
}

#[test]
fn a_session_holds_across_its_pushes() {
    for (hold, every) in [(0, 3), (1, 4), (3, 9), (1000, 1200)] {
        let (frames, channels) = (if hold == 1000 { 2600 } else { 150 }, 3);
        let samples = sparse(channels * frames, every, 11 + u64::from(hold));
        let states = expected_states(&samples, 64, channels, Some(0.001), hold);
        let floats = expected_frames(&samples, 64, &states, Quiet::Zero);
        for (name, plan) in plans(&graph(SHAPE, gate(hold)), &[4, 32]) {
            assert_eq!(plan.latency_frames(), 0, "a gate alone does not look ahead");
            let cuts: &[&[usize]] = if hold == 1000 { &[&[700, 1, 333]] } else { &[&[1], &[2, 0, 5, 1, 40]] };
            for lengths in cuts {
                let what = format!("hold {hold}, pieces of {lengths:?} on {name}");
                let pieces = push_in_pieces(&plan, &samples, channels, lengths, "out");
                assert_eq!(pieces.states.concat(), states, "{what}");
                assert_same_bits(&pieces.floats.concat(), &floats, &what);
            }
        }
    }
}

#[test]
fn a_finished_session_forgets() {
    let loud = bursts(64, 1, 1, |_| true);
    let silent = vec![0.0; 64];
    for (name, plan) in plans(&graph(SHAPE, gate(5)), &[4]) {
        let mut session = plan.session(1).expect("a session");
        let mut output = auricle::RunOutput::default();
        session.push(&[&loud], &mut output).expect("the push should succeed");
        session.push(&[&silent], &mut output).expect("the push should succeed");
        assert_eq!(output.states(), [FrameState::Live], "held, on {name}");
        session.finish(&mut output).expect("the session should finish");
        assert_eq!(output.frames(), 0, "nothing was held back, on {name}");
        session.push(&[&silent], &mut output).expect("the push should succeed");
        assert_eq!(output.states(), [FrameState::Quiet], "a new signal, on {name}");
    }
}

#[test]
fn a_faulty_frame_neither_holds_nor_ends_a_hold() {
    let mut samples = bursts(64, 8, 1, |index| index == 0);
    samples[2 * 64 + 7] = f32::NAN;
    samples[5 * 64] = f32::INFINITY;
    let states = expected_states(&samples, 64, 1, Some(0.001), 3);
    let (live, quiet, faulty) = (FrameState::Live, FrameState::Quiet, FrameState::Faulty);
    assert_eq!(states, [live, live, faulty, live, quiet, faulty, quiet, quiet], "by the definition");
    let gate = Gate { faulty: auricle::Faulty::Silence, ..gate(3) };
    for (name, plan) in plans(&graph(SHAPE, gate), &[4]) {
        check(&name, &plan, &samples, 1, &states, Quiet::Zero);
        let pieces = push_in_pieces(&plan, &samples, 1, &[1], "out");
        assert_eq!(pieces.states[0], states, "in pieces, on {name}");
    }
}

/// A long hold is decided ahead, for all frames; a short one where it is needed. Both are the same function.
#[test]
fn a_hold_of_any_length_costs_no_memory_and_decides_the_same() {
    let frames = 3_000;
    let shape = FrameShape::real(64);
    let mut samples = vec![0.0; frames * shape.floats()];
    for loud in [7, 50, 51, 900, 2_500] {
        samples[loud * 64 + 3] = 0.5;
    }
    let slices: Vec<&[f32]> = samples.chunks(64).collect();
    let block = || PhiResolvent { mode: FilterMode::Block, ..PhiResolvent::default() };
    let graph_of = |gate: Gate| {
        Graph::new()
            .input("in", shape)
            .gate("gate", "in", gate)
            .filter("first", "gate", block())
            .filter("second", "first", block())
            .output("out", "second")
    };
    for hold in [15, 16, 17, 300, 1_000_000] {
        let gate = Gate { threshold: Threshold::Linear(0.1), hold, ..Gate::default() };
        let expected = oracle::gate(&slices, 0.1, hold as usize);
        for engine in engines() {
            let plan = engine.compile(&graph_of(gate)).unwrap();
            let without = engine.compile(&graph_of(Gate { hold: 0, ..gate })).unwrap();
            assert_eq!(plan.report().buffer_bytes, without.report().buffer_bytes, "hold {hold}: no more memory");
            let output = plan.run(&[&samples], 1).unwrap();
            let live: Vec<Option<bool>> = output.states().iter().map(|s| Some(*s == FrameState::Live)).collect();
            assert!(live == expected, "hold {hold} on {}", engine.device().name);
        }
    }
}
