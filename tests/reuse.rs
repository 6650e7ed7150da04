//! Results whose memory is used again: what an earlier run left there must never show.

use auricle::{
    DeviceChoice, Error, FilterMode, FrameShape, FrameState, Gate, Graph, Layout, Measure, PhiResolvent, Quiet,
    RunOutput,
};

use crate::adapter::{engines, open};
use crate::signals::noise;

const LEN: usize = 64;

/// Frames of noise, those in `quiet` below the gate's threshold, those in `faulty` with a NaN.
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

/// One result serves graphs with frames of other lengths, too.
#[test]
fn a_result_moves_between_plans() {
    let engine = open(DeviceChoice::Cpu);
    let mut used = RunOutput::new(Layout::Dense);
    for len in [256, 64, 1024, 64] {
        let graph = Graph::new()
            .input("in", FrameShape::real(len))
            .gate("gate", "in", Gate::default())
            .filter("filter", "gate", PhiResolvent { mode: FilterMode::Block, ..PhiResolvent::default() })
            .output("out", "filter");
        let plan = engine.compile(&graph).expect("the graph should compile");
        let samples = signal(4096 / LEN, len as u64, |frame| (frame * LEN / len).is_multiple_of(2));
        plan.run_into(&[&samples], 1, &mut used).expect("the run should succeed");
        let fresh = plan.run(&[&samples], 1).expect("the run should succeed");
        assert_eq!(bits(used.dense("out").unwrap()), bits(fresh.dense("out").unwrap()), "frames of {len}");
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

/// Of several faulty frames the first is named, whichever thread finds its own sooner.
#[test]
fn the_first_faulty_frame_is_named() {
    let mut samples = signal(5000, 9, |_| false);
    for frame in [4900, 3210, 1777] {
        samples[frame * LEN + 5] = f32::NAN;
    }
    let engine = open(DeviceChoice::Cpu);
    let plan = engine.compile(&graph(Quiet::Zero)).expect("the graph should compile");
    for _ in 0..50 {
        match plan.run(&[&samples], 1) {
            Err(Error::FaultyFrame { channel: 0, frame: 1777, sample }) => assert_eq!(sample, 1777 * 64 + 5),
            other => panic!("expected the faulty frame 1777, got {other:?}"),
        }
    }
}

/// Many threads of somebody else's pool may share one plan.
#[test]
fn a_plan_that_is_called_from_a_rayon_pool_answers() {
    use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};
    let (done_in, done) = std::sync::mpsc::sync_channel(1);
    let work = move || {
        let graph = Graph::new().input("in", FrameShape::real(64)).gate("gate", "in", Gate::default());
        let plan = open(DeviceChoice::Cpu).compile(&graph.output("out", "gate")).unwrap();
        let samples = noise(64 * 200, 3);
        let live: u64 = (0..500).into_par_iter().map(|_| plan.run(&[&samples], 1).unwrap().counts().live).sum();
        done_in.send(live).unwrap();
    };
    std::thread::Builder::new().spawn(work).unwrap();
    let live = done.recv_timeout(std::time::Duration::from_secs(60));
    assert_eq!(live, Ok(500 * 200), "no call waits for another for ever");
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
