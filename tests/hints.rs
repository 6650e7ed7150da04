//! Suggestions for the next batch, through the engine: what they say follows from the jobs that were done.

use std::time::{Duration, Instant};

use auricle::{
    BatchAction, BoundBy, DeviceChoice, Engine, EngineOptions, Error, FrameShape, Graph, JobOptions, PhiResolvent,
    Plan, Qos,
};

fn engine() -> (Engine, Plan) {
    let options = EngineOptions { device: DeviceChoice::Cpu, threads: 1, ..EngineOptions::default() };
    let engine = Engine::open(&options).unwrap();
    let graph = Graph::new()
        .input("samples", FrameShape::real(1024))
        .filter("filter", "samples", PhiResolvent::default())
        .output("clean", "filter");
    let plan = engine.compile(&graph).unwrap();
    (engine, plan)
}

#[test]
fn a_client_that_follows_gets_larger_batches() {
    let (engine, plan) = engine();
    let target = Duration::from_millis(40);
    let start = Instant::now();
    let mut largest = 0;
    let mut last = engine.suggest_batch(Qos::Low, target).unwrap();
    assert_eq!((last.suggested_batch, last.bound_by, last.p95_latency), (1, BoundBy::NoJobs, None));
    while start.elapsed() < Duration::from_secs(9) {
        last = engine.suggest_batch(Qos::Low, target).unwrap();
        largest = largest.max(last.suggested_batch);
        let options = JobOptions { qos: Qos::Low, ..JobOptions::default() };
        engine.submit(&plan, [vec![0.5; 1024 * last.suggested_batch]], options).unwrap().wait().unwrap();
    }
    // How far it goes, and that it keeps its target, is proven where time is a number (`schedule/suggest/tests.rs`).
    assert!(largest >= 8, "it rose to {largest} only: {last:?}");
    assert!(last.jobs_per_s > 0.0 && last.occupancy > 0.0 && last.occupancy <= 1.0, "{last:?}");
    assert!(last.avg_latency <= last.p95_latency && last.window >= Duration::from_secs(1), "{last:?}");
    // Nobody works at this level, and nobody has learned anything from the other.
    let other = engine.suggest_batch(Qos::High, target).unwrap();
    assert_eq!((other.suggested_batch, other.bound_by, other.action), (1, BoundBy::NoJobs, BatchAction::Hold));
}

#[test]
fn targets_that_make_no_sense_are_refused() {
    let (engine, _) = engine();
    for target in [Duration::ZERO, Duration::from_micros(9), Duration::from_secs(3601), Duration::MAX] {
        let error = engine.suggest_batch(Qos::Default, target).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error}");
        assert!(error.to_string().contains("10 us to 1 h"), "{error}");
    }
}
