//! Results whose memory is used again: what an earlier run left there must never show.

use auricle::{
    DeviceChoice, FilterMode, FrameShape, FrameState, Gate, Graph, Layout, Measure, PhiResolvent, Quiet, RunOutput,
};

use crate::adapter::{engines, open, plans};
use crate::batches::{block, dense, filtered};
use crate::compare::assert_same_bits;
use crate::signals::{bursts, noise};

const LEN: usize = 64;

/// Frames of noise, those that are `quiet` below the gate's threshold.
fn signal(frames: usize, seed: u64, quiet: impl Fn(usize) -> bool) -> Vec<f32> {
    let mut samples = noise(frames * LEN, seed);
    for (index, frame) in samples.chunks_exact_mut(LEN).enumerate() {
        frame.iter_mut().for_each(|sample| *sample *= if quiet(index) { 1e-4 } else { 0.5 });
    }
    samples
}

fn graph(quiet: Quiet) -> Graph {
    let filter = PhiResolvent { mode: FilterMode::Block, measure: Measure::Coherence, ..PhiResolvent::default() };
    Graph::new()
        .input("in", FrameShape::real(LEN))
        .gate("gate", "in", Gate { quiet, ..Gate::default() })
        .filter("filter", "gate", filter)
        .output("out", "filter")
        .output("powers", "filter.powers")
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|float| float.to_bits()).collect()
}

/// Longer, shorter, all loud, all quiet, and back: each run in the same memory equals one in fresh memory.
#[test]
fn a_used_result_equals_a_fresh_one_on_every_device() {
    let signals = [
        signal(300, 1, |frame| frame % 3 != 0),
        signal(300, 2, |_| false),
        signal(120, 3, |frame| frame % 2 == 0),
        signal(300, 4, |frame| frame % 7 != 0),
        signal(300, 5, |_| true),
        signal(700, 6, |frame| frame / 50 % 2 == 0),
        signal(300, 7, |frame| frame != 150),
    ];
    for engine in engines() {
        for quiet in [Quiet::Zero, Quiet::Pass] {
            let plan = engine.compile(&graph(quiet)).expect("the graph should compile");
            let mut used = RunOutput::new(Layout::Dense);
            for (index, samples) in signals.iter().enumerate() {
                plan.run_into(&[samples], 1, &mut used).expect("the run should succeed");
                let fresh = plan.run(&[samples], 1).expect("the run should succeed");
                let what = format!("signal {index}, {quiet:?}, on {}", engine.device().name);
                assert_eq!(used.states(), fresh.states(), "states of {what}");
                for output in ["out", "powers"] {
                    let used = used.dense(output).expect("the output is there");
                    assert_eq!(bits(used), bits(fresh.dense(output).expect("it is there")), "`{output}` of {what}");
                }
                let out = used.dense("out").expect("the output is there");
                for (frame, (state, cleaned)) in used.states().iter().zip(out.chunks_exact(LEN)).enumerate() {
                    let source = &samples[frame * LEN..(frame + 1) * LEN];
                    match (state, quiet) {
                        (FrameState::Live, _) => assert_ne!(cleaned[0], 0.0, "frame {frame} of {what} is live"),
                        (_, Quiet::Pass) => assert_eq!(cleaned, source, "frame {frame} of {what} passes"),
                        (_, Quiet::Zero) => assert_eq!(cleaned, [0.0; LEN], "frame {frame} of {what} is silent"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_result_serves_any_plan_after_any_other() {
    let mut output = RunOutput::new(Layout::Dense);
    let two = filtered(FrameShape::real(64), Gate::default(), PhiResolvent { measure: Measure::Coherence, ..block() })
        .output("powers", "filter.powers");
    let one = filtered(FrameShape::complex(256), Gate::default(), block());
    let (two, one) = (plans(&two, &[16]), plans(&one, &[16]));
    for ((name, two), (_, one)) in two.iter().zip(&one) {
        for (plan, frames) in [(two, 3), (one, 50), (two, 700), (one, 1), (one, 900), (two, 0), (one, 5)] {
            let floats = plan.inputs()[0].1.floats();
            let samples = bursts(floats, frames, 15, |index| index % 2 == 0);
            plan.run_into(&[&samples], 1, &mut output).expect("the run should succeed");
            let fresh = dense(plan, &samples, 1);
            assert_same_bits(output.dense("out").expect("it is there"), &fresh, &format!("{frames} frames on {name}"));
        }
        assert_eq!(output.dense("powers"), None, "an output of an earlier plan, on {name}");
    }
}

#[test]
fn what_a_loud_batch_leaves_behind_reaches_no_later_result() {
    let loud: Vec<f32> = noise(64 * 100, 17).iter().map(|x| x * 1e30).collect();
    for mode in [FilterMode::Block, FilterMode::Seamless] {
        let graph = filtered(FrameShape::real(64), Gate::default(), PhiResolvent { mode, ..block() });
        for ((name, used), (_, fresh)) in plans(&graph, &[8, 128]).iter().zip(plans(&graph, &[8, 128])) {
            for (channels, frames) in [(1, 1), (1, 9), (3, 3), (1, 77)] {
                let quiet = noise(64 * channels * frames, 18);
                let expected = dense(&fresh, &quiet, channels);
                dense(used, &loud, 1);
                let what = format!("{channels} x {frames}, {mode:?} on {name}");
                assert_same_bits(&dense(used, &quiet, channels), &expected, &what);
            }
        }
    }
}

/// The packed layout holds the live frames of the dense one, whatever the number of threads.
#[test]
fn layouts_and_threads_agree() {
    let samples = signal(5000, 8, |frame| frame % 11 < 7);
    let mut answers = Vec::new();
    for threads in [1, 2, 3] {
        let device = DeviceChoice::Cpu;
        let options = auricle::EngineOptions { device, threads, ..auricle::EngineOptions::default() };
        let engine = auricle::Engine::open(&options).expect("the CPU should open");
        let plan = engine.compile(&graph(Quiet::Zero)).expect("the graph should compile");
        for layout in [Layout::Dense, Layout::Packed] {
            let mut output = RunOutput::new(layout);
            plan.run_into(&[&samples], 2, &mut output).expect("the run should succeed");
            let live: Vec<_> = output.live("out").map(|live| (live.channel, live.frame, bits(live.samples))).collect();
            answers.push(live);
        }
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "every way gives the same frames");
}

#[test]
fn a_run_that_failed_leaves_no_frames() {
    let graph = Graph::new().input("in", FrameShape::real(64)).gate("gate", "in", Gate::default());
    let plan = open(DeviceChoice::Cpu).compile(&graph.output("out", "gate")).unwrap();
    let mut output = RunOutput::new(Layout::Dense);
    plan.run_into(&[&[0.5; 640]], 1, &mut output).unwrap();
    assert_eq!(output.counts().live, 10);
    let mut samples = [0.5; 640];
    samples[100] = f32::NAN;
    plan.run_into(&[&samples], 1, &mut output).expect_err("a faulty frame is rejected");
    assert_eq!((output.counts().total, output.dense("out")), (0, None), "not half of them");
    plan.run_into(&[&[0.5; 640]], 1, &mut output).unwrap();
    assert_eq!(output.dense("out").map(<[f32]>::len), Some(640), "and it can be used again");
}
