//! Frames that are not finite: the error that names them, and what is left unchanged by it.

use auricle::{Error, Faulty, FilterMode, FrameShape, Gate, Graph, Layout, PhiResolvent, RunOutput, Threshold};

use crate::adapter::{engines, plans};
use crate::compare::assert_same_bits;
use crate::gate::graph;
use crate::signals::noise;

fn filtered(shape: FrameShape, mode: FilterMode, faulty: Faulty) -> Graph {
    Graph::new()
        .input("in", shape)
        .gate("gate", "in", Gate { threshold: Threshold::Off, faulty, ..Gate::default() })
        .filter("filter", "gate", PhiResolvent { mode, ..PhiResolvent::default() })
        .output("out", "filter")
}

#[test]
fn the_error_names_channel_frame_and_sample() {
    for shape in [FrameShape::real(64), FrameShape::complex(128)] {
        let floats = shape.floats();
        let parts = shape.domain().floats_per_sample();
        // In each channel of 30 frames: (channel, frame, float in the frame).
        for (channel, frame, float) in [(0, 0, 0), (0, 29, floats - 1), (2, 17, 9), (1, 13, 8)] {
            let mut samples = noise(3 * 30 * floats, 5);
            samples[(channel * 30 + frame) * floats + float] = f32::NAN;
            for (name, plan) in plans(&graph(shape, Gate::default()), &[8]) {
                let error = plan.run(&[&samples], 3).expect_err("a faulty frame is rejected by default");
                let Error::FaultyFrame { channel: c, frame: f, sample: s } = error else {
                    panic!("{name}: {error}");
                };
                let sample = (frame * shape.len() + float / parts) as u64;
                assert_eq!((c, f, s), (channel, frame as u64, sample), "{shape} on {name}");
                let message = error.to_string();
                let named = [format!("channel {channel}"), format!("frame {frame}"), format!("sample {sample}")];
                assert!(named.iter().all(|part| message.contains(part)), "{message}");
                assert!(message.contains("Faulty::Silence"), "names the mend: {message}");
            }
        }
    }
}

/// Of several faulty frames the first is named, whichever thread finds its own sooner.
#[test]
fn the_first_faulty_frame_is_named() {
    let mut samples = noise(5000 * 64, 9);
    for frame in [4900, 3210, 1777] {
        samples[frame * 64 + 5] = f32::NAN;
    }
    let graph = filtered(FrameShape::real(64), FilterMode::Block, Faulty::Reject);
    let plan = engines()[0].compile(&graph).expect("the graph should compile");
    for _ in 0..50 {
        match plan.run(&[&samples], 1) {
            Err(Error::FaultyFrame { channel: 0, frame: 1777, sample }) => assert_eq!(sample, 1777 * 64 + 5),
            other => panic!("expected the faulty frame 1777, got {other:?}"),
        }
    }
}

#[test]
fn a_rejected_push_changes_nothing() {
    let shape = FrameShape::real(64);
    let samples = noise(2 * 20 * 64, 6);
    let (first, second) = (&samples[..20 * 64], &samples[20 * 64..]);
    let mut bad = second.to_vec();
    bad[15 * 64 + 3] = f32::NEG_INFINITY;
    for mode in [FilterMode::Block, FilterMode::Seamless] {
        for (name, plan) in plans(&filtered(shape, mode, Faulty::Reject), &[8]) {
            let run = |with_fault: bool| {
                let (mut session, mut output) = (plan.session(2).expect("a session"), RunOutput::new(Layout::Dense));
                let mut floats = Vec::new();
                let mut keep = |output: &RunOutput| floats.extend_from_slice(output.dense("out").expect("it is there"));
                session.push(&[first], &mut output).expect("the push should succeed");
                keep(&output);
                if with_fault {
                    let error = session.push(&[&bad], &mut output).expect_err("a faulty frame is rejected");
                    // Two channels of ten frames: 15 is the sixth of the second channel, after ten in the first push.
                    assert!(
                        matches!(error, Error::FaultyFrame { channel: 1, frame: 15, sample: 963 }),
                        "counted from the start of the session, {mode:?} on {name}: {error}"
                    );
                }
                session.push(&[second], &mut output).expect("the push should succeed");
                keep(&output);
                session.finish(&mut output).expect("the session should finish");
                keep(&output);
                floats
            };
            assert_same_bits(&run(true), &run(false), &format!("{mode:?} on {name}"));
        }
    }
}

#[test]
fn a_silenced_frame_counts_as_zeros_for_its_neighbours() {
    let shape = FrameShape::real(256);
    let mut samples = noise(9 * 256, 7);
    samples[4 * 256 + 200] = f32::NAN;
    let mut silenced = samples.clone();
    silenced[4 * 256..5 * 256].fill(0.0);
    for (name, plan) in plans(&filtered(shape, FilterMode::Seamless, Faulty::Silence), &[4, 16]) {
        let output = plan.run(&[&samples], 1).expect("faulty frames are silenced");
        assert_eq!((output.counts().faulty, output.counts().live), (1, 8), "{name}");
        let mut expected = plan.run(&[&silenced], 1).expect("the run should succeed").dense("out").unwrap().to_vec();
        // A frame of zeros is filtered, and its neighbours ring into it; a faulty one stays silent.
        expected[4 * 256..5 * 256].fill(0.0);
        assert_same_bits(output.dense("out").unwrap(), &expected, &name);
    }
}
