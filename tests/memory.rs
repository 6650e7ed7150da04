//! Device memory: what is used, and what is refused before the driver sees it.

use std::time::Duration;

use auricle::stage::denoise::model::Model;
use auricle::{
    Denoise, DeviceChoice, Engine, EngineOptions, Error, FilterMode, FrameShape, Gate, GatePlacement, Graph,
    MemorySnapshot, PhiResolvent, PipelineCacheDir, PlanOptions, Qos, RunOutput, StreamOptions,
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

fn gated() -> Graph {
    Graph::new()
        .input("in", FrameShape::real(1024))
        .gate("gate", "in", Gate::default())
        .filter("filter", "gate", PhiResolvent { mode: FilterMode::Block, ..PhiResolvent::default() })
        .output("clean", "filter")
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
fn pieces_that_take_turns_take_one_set_of_buffers() {
    for name in adapter_names() {
        let engine = with_budget(name, None);
        let bytes = |gate_on| {
            let options = PlanOptions { buckets: vec![256], gate_on };
            engine.compile_with(&gated(), &options).expect("it compiles").report().buffer_bytes
        };
        let (on_host, on_device) = (bytes(GatePlacement::Host), bytes(GatePlacement::Device));
        assert!(3 * on_device < 2 * on_host, "{name}: {on_device} bytes of {on_host}");
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

/// Buffers for 2048 frames at once: two such plans do not fit into the budget below.
fn wide() -> PlanOptions {
    PlanOptions { buckets: vec![16, 2048], ..PlanOptions::default() }
}

#[test]
fn plans_that_do_not_fit_together_take_turns() {
    for name in adapter_names() {
        let engine = with_budget(name, None);
        let samples = noise(1024 * 3000, 4);
        let expected = engine.compile_with(&filtered(), &wide()).expect("it compiles").run(&[&samples], 1);
        let expected = expected.expect("it runs").dense("clean").expect("its output").to_vec();
        let one = engine.compile_with(&filtered(), &wide()).expect("it compiles").report().buffer_bytes;

        let engine = with_budget(name, Some(one + one / 2));
        let plans = [0; 3].map(|_| engine.compile_with(&filtered(), &wide()).expect("it fits by itself"));
        // From threads of their own, so that one wants room while others are in flight.
        std::thread::scope(|scope| {
            for plan in &plans {
                scope.spawn(|| {
                    for _ in 0..3 {
                        let output = plan.run(&[&samples], 1).expect("there is room in turn");
                        assert!(output.dense("clean").expect("its output") == expected, "{name}: the same samples");
                    }
                });
            }
        });
        let memory = memory(&engine);
        assert!(memory.most_bytes <= one + one / 2, "{name}: {memory:?}");
        assert!(memory.evicted > 2, "{name}: {memory:?}");
    }
}

#[test]
fn sleep_frees_the_device_and_signals_go_on_as_if_it_had_not_been() {
    for name in adapter_names() {
        let run = |sleeps: bool| {
            let engine = with_budget(name, None);
            let small = PlanOptions { buckets: vec![16], ..PlanOptions::default() };
            let plan = engine.compile_with(&denoised(), &small).expect("it compiles");
            let mut session = plan.session(3).expect("a session");
            let options = StreamOptions { channels: 2, qos: Qos::High, ..StreamOptions::default() };
            let mut stream = engine.open_stream(&plan, options).expect("a stream");
            let (mut from_session, mut from_stream) = (Vec::new(), Vec::new());
            let mut awake = 0;
            for part in 0..4 {
                let mut output = RunOutput::default();
                session.push(&[&noise(3 * 256 * 8, 10 + part)], &mut output).expect("it goes on");
                from_session.extend_from_slice(output.dense("clean").expect("its output"));
                stream.push(&noise(2 * 256 * 8, 20 + part)).expect("it goes on");
                let mut pulled = vec![0.0; 2 * 256 * 8];
                // All that can have come out by now, so that nothing is in flight.
                let due = (2 * 256 * (8 * (part as usize + 1) - plan.latency_frames())) - from_stream.len();
                let got = stream.pull_all(&mut pulled[..due], Duration::from_secs(60)).expect("it comes out");
                from_stream.extend_from_slice(&pulled[..got]);
                if sleeps {
                    let before = memory(&engine).used_bytes;
                    awake = awake.max(before);
                    let freed = until_all_sleeps(&engine);
                    assert_eq!((freed, memory(&engine).used_bytes), (before, 0), "{name}: everything left");
                    if part % 2 == 0 {
                        engine.wake().expect("there is room");
                        assert_eq!(memory(&engine).used_bytes, awake, "{name}: everything is back");
                    }
                }
            }
            (from_session, from_stream)
        };
        assert!(run(true) == run(false), "{name}: to the bit");
    }
    assert_eq!(open(DeviceChoice::Cpu).sleep().expect("it may"), 0, "the CPU has nothing to free");
}

/// A stream's last batch may not have ended when its samples are out.
fn until_all_sleeps(engine: &Engine) -> u64 {
    let start = std::time::Instant::now();
    let mut freed = 0;
    while memory(engine).used_bytes > 0 && start.elapsed() < Duration::from_secs(30) {
        freed += engine.sleep().expect("it can be read back");
    }
    freed
}

#[test]
fn who_wakes_without_room_is_told_and_can_try_again() {
    for name in adapter_names() {
        let engine = with_budget(name, Some(24 << 20));
        let small = PlanOptions { buckets: vec![16], ..PlanOptions::default() };
        let plan = engine.compile_with(&denoised(), &small).expect("it fits");
        let mut session = plan.session(100).expect("it fits");
        let mut twin = plan.session(100).expect("it fits, too");
        let (frames, mut output, mut expected) = (noise(100 * 256 * 4, 5), RunOutput::default(), RunOutput::default());
        session.push(&[&frames], &mut output).expect("it runs");
        twin.push(&[&frames], &mut expected).expect("it runs");
        twin.push(&[&frames], &mut expected).expect("it runs");
        drop(twin);
        assert!(engine.sleep().expect("it can be read back") > 0, "{name}");
        let mut others = Vec::new();
        while let Ok(other) = plan.session(1) {
            others.push(other);
            assert!(others.len() < 1000, "{name}: the budget should end this");
        }
        assert!(matches!(engine.wake(), Err(Error::OutOfMemory { .. })), "{name}");
        assert!(matches!(session.push(&[&frames], &mut output), Err(Error::OutOfMemory { .. })), "{name}");
        drop(others);
        session.push(&[&frames], &mut output).expect("there is room again");
        let clean = output.dense("clean").expect("its output");
        assert!(!clean.is_empty() && Some(clean) == expected.dense("clean"), "{name}: as if nothing had been");
    }
}

#[test]
fn a_silent_stream_keeps_its_buffers_and_what_has_no_room_is_refused_at_once() {
    // After its device is lost, also those of the next one.
    for (name, is_lost) in adapter_names().iter().flat_map(|name| [(name, false), (name, true)]) {
        let engine = with_budget(name, Some(40 << 20));
        let small = PlanOptions { buckets: vec![16, 256], ..PlanOptions::default() };
        let plan = engine.compile_with(&gated(), &small).expect("it fits");
        let mut stream = engine.open_stream(&plan, StreamOptions::default()).expect("a stream");
        let (samples, mut pulled) = (noise(1024 * 20, 6), vec![0.0; 1024 * 20]);
        stream.push(&samples).expect("there is room");
        assert_eq!(
            stream.pull_all(&mut pulled, Duration::from_secs(60)).expect("it comes out"),
            pulled.len(),
            "{name}"
        );
        let first = pulled.clone();
        if is_lost {
            engine.possession(Qos::Default).expect("a lane").wgpu().expect("a device").0.destroy();
            stream.push(&samples).expect("there is room");
            let count = stream.pull_all(&mut pulled, Duration::from_secs(60)).expect("it goes on on another device");
            assert_eq!(count, pulled.len(), "{name}");
            let serving = engine.snapshot().expect("a snapshot").devices.default.expect("it was asked for");
            assert_eq!(serving.name, engine.device().name, "on another one like it");
        }

        let denoising = engine.compile_with(&denoised(), &small).expect("it fits");
        let mut sessions = Vec::new();
        let refused = loop {
            let start = std::time::Instant::now();
            match denoising.session(16) {
                Ok(session) => sessions.push(session),
                Err(error) => break (error, start.elapsed()),
            }
            assert!(sessions.len() < 1000, "{name}: the budget should end this");
        };
        assert!(matches!(refused.0, Error::OutOfMemory { .. }), "{name}: {}", refused.0);
        assert!(refused.1 < Duration::from_secs(5), "{name}: nobody waits for what cannot be: {:?}", refused.1);
        stream.push(&samples).expect("there is room");
        let count = stream.pull_all(&mut pulled, Duration::from_secs(60)).expect("it sounds again, and comes out");
        assert_eq!(count, pulled.len(), "{name}");
        assert!(pulled == first, "{name}: the same to the bit");
    }
}
