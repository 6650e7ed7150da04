//! Device memory: what is used, and what is refused before the driver sees it.

use std::time::Duration;

use auricle::stage::denoise::model::Model;
use auricle::{
    Denoise, DeviceChoice, Engine, EngineOptions, Error, FrameShape, Graph, MemorySnapshot, PhiResolvent,
    PipelineCacheDir, PlanOptions, Qos, RunOutput, StreamOptions,
};

use crate::adapter::{adapter_names, open};
use crate::signals::noise;

fn with_budget(name: &str, budget: Option<u64>) -> Engine {
    let options = EngineOptions {
        device: DeviceChoice::Named(name.to_owned()),
        pipeline_cache: PipelineCacheDir::Off,
        memory_budget: budget,
        ..EngineOptions::default()
    };
    Engine::open(&options).expect("the device should open")
}

fn memory(engine: &Engine) -> MemorySnapshot {
    engine.snapshot().expect("a snapshot").memory.expect("an adapter has memory of its own")
}

fn filtered() -> Graph {
    Graph::new()
        .input("in", FrameShape::real(1024))
        .filter("filter", "in", PhiResolvent::default())
        .output("clean", "filter")
}

fn denoised() -> Graph {
    Graph::new()
        .input("in", FrameShape::real(256))
        .denoise("denoise", "in", Denoise::new(Model::builtin()))
        .output("clean", "denoise")
}

#[test]
fn what_plans_take_is_counted_and_given_back() {
    assert!(open(DeviceChoice::Cpu).snapshot().expect("a snapshot").memory.is_none(), "the CPU's is the host's");
    for name in adapter_names() {
        let engine = with_budget(name, None);
        assert_eq!((memory(&engine).used_bytes, memory(&engine).pressure), (0, None), "{name}");
        let plan = engine.compile(&filtered()).expect("it compiles");
        assert_eq!(memory(&engine).used_bytes, plan.report().buffer_bytes, "{name}: as the plan says");
        let denoising = engine.compile(&denoised()).expect("it compiles");
        let before = memory(&engine).used_bytes;
        let session = denoising.session(100).expect("a session");
        assert!(memory(&engine).used_bytes > before + 100 * 1000, "{name}: the state of a hundred channels");
        drop(session);
        assert_eq!(memory(&engine).used_bytes, before, "{name}: given back");
        drop((plan, denoising));
        let at_last = memory(&engine);
        assert_eq!(at_last.used_bytes, 0, "{name}: all of it");
        assert!(at_last.most_bytes > before, "{name}: {at_last:?}");
    }
}

#[test]
fn what_the_budget_does_not_allow_is_refused_and_harms_nothing() {
    const BUDGET: u64 = 48 << 20;
    for name in adapter_names() {
        let engine = with_budget(name, Some(BUDGET));
        let small = PlanOptions { buckets: vec![16, 64], ..PlanOptions::default() };
        let plan = engine.compile_with(&filtered(), &small).expect("it fits");
        let samples = noise(1024 * 20, 1);
        let expected = plan.run(&[&samples], 1).expect("it runs").dense("clean").expect("its output").to_vec();
        let before = memory(&engine);
        let large = PlanOptions { buckets: vec![8192], ..PlanOptions::default() };
        match engine.compile_with(&filtered(), &large) {
            Err(Error::OutOfMemory { reason, .. }) => {
                assert!(reason.contains(&format!("the budget is {BUDGET}")), "{reason}");
            }
            other => panic!("{name}: expected a refusal, got {:?}", other.map(|plan| plan.report().buffer_bytes)),
        }
        assert_eq!(memory(&engine).used_bytes, before.used_bytes, "{name}: nothing of it stays");
        let again = plan.run(&[&samples], 1).expect("the other plan runs on");
        assert_eq!(again.dense("clean").expect("its output"), expected, "{name}");

        let denoising = engine.compile_with(&denoised(), &small).expect("it fits");
        assert!(matches!(denoising.session(50_000), Err(Error::OutOfMemory { .. })), "{name}: too many channels");
        let mut session = denoising.session(10).expect("ten channels fit");
        let frames = noise(10 * 256, 2);
        session.push(&[&frames], &mut RunOutput::default()).expect("and run");
        assert_eq!(engine.snapshot().expect("a snapshot").health.losses, 0, "{name}: no device was lost by this");
        let pressure = memory(&engine).pressure.expect("there is a budget");
        assert!((0.05..1.0).contains(&pressure), "{name}: {pressure}");
    }
}

#[test]
fn streams_that_have_no_room_are_refused_and_the_others_go_on() {
    for name in adapter_names() {
        let engine = with_budget(name, Some(40 << 20));
        let small = PlanOptions { buckets: vec![16], ..PlanOptions::default() };
        let plan = engine.compile_with(&denoised(), &small).expect("it fits");
        let options = || StreamOptions { channels: 64, qos: Qos::Default, ring: 2, ..StreamOptions::default() };
        let mut streams = Vec::new();
        let refused = loop {
            match engine.open_stream(&plan, options()) {
                Ok(stream) => streams.push(stream),
                Err(error) => break error,
            }
            assert!(streams.len() < 1000, "{name}: the budget should end this");
        };
        assert!(matches!(refused, Error::OutOfMemory { .. }), "{name}: {refused}");
        let first = streams.first_mut().expect("some fit");
        first.push(&noise(64 * 300, 3)).expect("it goes on");
        first.finish();
        let mut all = vec![0.0; 64 * 400];
        assert_eq!(first.pull_all(&mut all, Duration::from_secs(60)).expect("and comes out"), 64 * 300, "{name}");
    }
}
