//! What a snapshot says of an engine's plans.

use std::time::{Duration, Instant};

use auricle::{
    DeviceChoice, Engine, FilterMode, FrameShape, Gate, Graph, JobOptions, PhiResolvent, Qos, StreamOptions,
};

use crate::adapter::{adapter_names, open};
use crate::signals::noise;

const LEN: usize = 256;

fn gated() -> Graph {
    Graph::new().input("in", FrameShape::real(LEN)).gate("gate", "in", Gate::default()).output("out", "gate")
}

/// Engines of which nobody else counts.
fn new_engines() -> Vec<Engine> {
    let names = adapter_names().iter().map(|name| DeviceChoice::Named((*name).to_owned()));
    std::iter::once(DeviceChoice::Cpu).chain(names).map(open).collect()
}

/// Frames of which every fourth sounds.
fn sparse(frames: usize) -> Vec<f32> {
    let mut samples = noise(frames * LEN, 1);
    for (index, frame) in samples.chunks_mut(LEN).enumerate() {
        if index % 4 != 0 {
            frame.fill(0.0);
        }
    }
    samples
}

#[test]
fn every_frame_is_counted_once_whoever_brought_it() {
    for engine in new_engines() {
        let name = &engine.device().name;
        let plan = engine.compile(&gated()).expect("it compiles");
        assert_eq!(engine.snapshot().expect("a snapshot").work, Default::default(), "{name}: nothing was done");
        plan.run(&[&sparse(40)], 1).expect("it runs");
        let job = engine.submit(&plan, [sparse(80)], JobOptions { qos: Qos::Default, ..JobOptions::default() });
        job.expect("it is taken").wait().expect("it is done");
        let work = engine.snapshot().expect("a snapshot").work;
        assert_eq!((work.frames, work.live, work.faulty), (120, 30, 0), "{name}: {work:?}");
        assert_eq!(work.sparsity(), 0.75, "{name}");
        assert!(work.batches >= 2 && work.largest_batch >= 40 && work.mean_batch() <= 60.0, "{name}: {work:?}");

        // Silence of a stream goes to no device.
        let mut stream = engine.open_stream(&plan, StreamOptions::default()).expect("a stream");
        stream.push(&sparse(40)).expect("there is room");
        stream.finish();
        let mut pulled = vec![0.0; 40 * LEN];
        stream.pull_all(&mut pulled, Duration::from_secs(60)).expect("it comes out");
        // A batch's figures are there a moment after its samples.
        let start = Instant::now();
        let frames = || {
            let snapshot = engine.snapshot().expect("a snapshot");
            snapshot.work.frames + snapshot.streams.iter().map(|streams| streams.passed).sum::<u64>()
        };
        while frames() < 160 && start.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        let snapshot = engine.snapshot().expect("a snapshot");
        assert_eq!(snapshot.work.live, 40, "{name}: {:?}", snapshot.work);
        let passed: u64 = snapshot.streams.iter().map(|streams| streams.passed).sum();
        assert_eq!(snapshot.work.frames + passed, 160, "{name}: {:?}", snapshot.work);
    }
}

#[test]
fn what_compiling_took_is_counted() {
    for engine in new_engines() {
        let name = &engine.device().name;
        let first = engine.compile(&gated()).expect("it compiles");
        let second = engine.compile(&gated()).expect("it compiles");
        let compiled = engine.snapshot().expect("a snapshot").compiled;
        assert_eq!(compiled.graphs, 2, "{name}");
        let of = [first.report(), second.report()];
        let built: usize = of.iter().map(|report| report.pipelines_built).sum();
        let reused: usize = of.iter().map(|report| report.pipelines_reused).sum();
        assert_eq!((compiled.pipelines_built, compiled.pipelines_reused), (built as u64, reused as u64), "{name}");
        assert!(compiled.time >= of[0].time + of[1].time, "{name}: {compiled:?}");
    }
}

#[test]
fn the_last_coherence_is_told() {
    let engine = open(DeviceChoice::Cpu);
    let plan = engine.compile(&gated()).expect("it compiles");
    assert_eq!(engine.snapshot().expect("a snapshot").qos.low.coherence, None);
    let options = JobOptions { qos: Qos::Low, coherence: Some(0.25), ..JobOptions::default() };
    engine.submit(&plan, [sparse(4)], options).expect("it is taken").wait().expect("it is done");
    assert_eq!(engine.snapshot().expect("a snapshot").qos.low.coherence, Some(0.25));
}

/// What the nodes of a plan are said to have done is what they did, on every device; and a snapshot can be read back.
#[test]
fn plans_say_what_each_node_did() {
    for engine in new_engines() {
        let graph = Graph::new()
            .input("in", FrameShape::real(1024))
            .gate("gate", "in", Gate::default())
            .filter("smooth", "gate", PhiResolvent::default())
            .filter("smoother", "smooth", PhiResolvent { mode: FilterMode::Block, ..PhiResolvent::default() })
            .output("out", "smoother");
        let plan = engine.compile(&graph).unwrap();
        let mut samples = vec![0.5; 6 * 1024];
        samples.resize(16 * 1024, 0.0);
        for _ in 0..3 {
            plan.run(&[&samples], 1).unwrap();
        }
        let snapshot = engine.snapshot().unwrap();
        let mine = snapshot.plans.last().expect("the plan should be listed");
        let of = |name: &str| {
            let node = mine.nodes.iter().find(|node| node.name == name).unwrap();
            (node.frames, node.read_bytes, node.written_bytes)
        };
        let (all, live) = (48 * 4096, 18 * 4096);
        assert_eq!([of("in"), of("gate"), of("out")], [(48, 0, all), (48, all, 0), (48, all, 0)]);
        for name in ["smooth", "smoother"] {
            let (frames, read, written) = of(name);
            assert_eq!((frames, read), (18, live), "{name}");
            // A filter writes what it measured, too: a few numbers for each frame.
            assert!((live..live + 18 * 64).contains(&written), "{name}: {written}");
        }
        assert_eq!(mine.nodes[3].sources, ["smooth"]);
        // Every filter's time is in a stage that names it.
        let stage = |name: &str| mine.stages.iter().find(|stage| stage.nodes.iter().any(|node| node == name)).unwrap();
        assert!(stage("smooth").time > Duration::ZERO && stage("smoother").time > Duration::ZERO);
        let json = serde_json::to_string(&snapshot).unwrap();
        let back: auricle::Snapshot = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), json);
        let id = mine.id;
        drop(plan);
        assert!(engine.snapshot().unwrap().plans.iter().all(|plan| plan.id != id), "a plan that is gone is not listed");
    }
}
