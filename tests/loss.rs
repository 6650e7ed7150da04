//! Devices that fail: jobs are done all the same, streams go on, and the engine says what happened.

use std::time::Duration;

use auricle::stage::denoise::model::Model;
use auricle::{
    Denoise, DeviceChoice, DeviceKind, Engine, EngineOptions, Fault, FaultPlan, FilterMode, FrameShape, Gate, Graph,
    HealthState, JobOptions, PhiResolvent, PipelineCacheDir, Plan, Qos, RunOutput, ScheduleOptions, StreamOptions,
};

use crate::adapter::{adapter_names, engines};
use crate::compare::{FILTER_TOLERANCE, assert_close, assert_same_bits};
use crate::signals::noise;

/// Nobody waits so long on a machine that works.
const LONG: Duration = Duration::from_secs(60);

fn filtered() -> Graph {
    Graph::new()
        .input("in", FrameShape::real(256))
        .gate("gate", "in", Gate::default())
        .filter("filter", "gate", PhiResolvent { mode: FilterMode::Seamless, ..PhiResolvent::default() })
        .output("clean", "filter")
}

fn denoised() -> Graph {
    Graph::new()
        .input("in", FrameShape::real(256))
        .denoise("denoise", "in", Denoise::new(Model::builtin()))
        .output("clean", "denoise")
}

fn open(device: DeviceChoice, faults: FaultPlan) -> Engine {
    let schedule = ScheduleOptions { longest_piece: Duration::from_micros(50), ..ScheduleOptions::default() };
    let pipeline_cache = PipelineCacheDir::Off;
    let options = EngineOptions { device, threads: 2, pipeline_cache, schedule, faults, ..EngineOptions::default() };
    Engine::open(&options).expect("the device should open")
}

fn health(engine: &Engine) -> (HealthState, u64, String) {
    let health = engine.snapshot().expect("a snapshot").health;
    (health.state, health.losses, health.reason.unwrap_or_default())
}

fn job(engine: &Engine, plan: &Plan, samples: &[f32], qos: Qos) -> Vec<f32> {
    let options = JobOptions { qos, ..JobOptions::default() };
    let ticket = engine.submit(plan, [samples.to_vec()], options).expect("the job should be taken");
    ticket.wait().expect("it is done all the same").dense("clean").expect("its output").to_vec()
}

fn faults() -> [Fault; 3] {
    [Fault::Lost, Fault::Failed, Fault::Hung(Duration::from_millis(20))]
}

#[test]
fn a_session_ends_with_its_device_and_the_next_one_has_another() {
    let samples = noise(256 * 8, 5);
    for graph in [filtered(), denoised()] {
        for fault in faults() {
            let engine = open(DeviceChoice::Cpu, FaultPlan::new().at(1, fault));
            let plan = engine.compile(&graph).expect("it compiles");
            let mut session = plan.session(1).expect("a session");
            let mut output = RunOutput::default();
            let error = loop {
                if let Err(error) = session.push(&[&samples], &mut output) {
                    break error;
                }
            };
            assert!(error.to_string().contains("on purpose"), "{error}");
            let (state, losses, reason) = health(&engine);
            assert_eq!((state, losses), (HealthState::Degraded, 1), "{reason}");
            let mut next = plan.session(1).expect("a session on another device");
            next.push(&[&samples], &mut output).expect("it runs");
            next.finish(&mut output).expect("to its end");
            assert!(engine.compile(&graph).is_ok(), "and so do new plans");
        }
    }
}

#[test]
fn a_lost_device_is_no_reason_not_to_compile() {
    let samples = noise(256 * 8, 5);
    for graph in [filtered(), denoised()] {
        // The second one is that of another level's command queue.
        for compilation in [0, 1] {
            let engine = open(DeviceChoice::Cpu, FaultPlan::new().at_compiling(compilation));
            let plan = engine.compile(&graph).expect("it compiles");
            plan.run(&[&samples], 1).expect("it runs");
            for _ in 0..2 {
                job(&engine, &plan, &samples, Qos::Low);
            }
            let (state, losses, reason) = health(&engine);
            assert_eq!((state, losses), (HealthState::Degraded, 1), "{reason}");
        }
    }
}

#[test]
fn jobs_are_done_on_another_device_as_if_nothing_had_happened() {
    let samples = noise(256 * 400, 1);
    for graph in [filtered(), denoised()] {
        let plan = engines()[0].compile(&graph).expect("it compiles");
        let expected = plan.run(&[&samples], 1).expect("it runs").dense("clean").expect("its output").to_vec();
        for fault in faults() {
            for run in [0, 1, 5] {
                let engine = open(DeviceChoice::Cpu, FaultPlan::new().at(run, fault));
                let plan = engine.compile(&graph).expect("it compiles");
                assert_eq!(health(&engine), (HealthState::Good, 0, String::new()), "nothing has failed");
                for qos in Qos::ALL {
                    let what = format!("{fault:?} in run {run}, {qos}");
                    assert_same_bits(&job(&engine, &plan, &samples, qos), &expected, &what);
                }
                // Three runs are too few to get to the last fault where a job is done at once.
                job(&engine, &plan, &samples, Qos::Low);
                let (state, losses, reason) = health(&engine);
                assert_eq!((state, losses), (HealthState::Degraded, 1), "{fault:?} in run {run}: {reason}");
                assert!(reason.contains("a new device") && reason.contains("on purpose"), "{reason}");
            }
        }
    }
}

#[test]
fn when_no_new_device_opens_the_cpu_goes_on() {
    let samples = noise(256 * 50, 2);
    let plan = engines()[0].compile(&filtered()).expect("it compiles");
    let expected = plan.run(&[&samples], 1).expect("it runs").dense("clean").expect("its output").to_vec();
    let exact: Vec<f64> = expected.iter().map(|x| f64::from(*x)).collect();
    let adapter = adapter_names().first().map(|name| DeviceChoice::Named(name.clone()));
    for device in std::iter::once(DeviceChoice::Cpu).chain(adapter) {
        let check = |actual: &[f32], what: &str| match device {
            DeviceChoice::Cpu => assert_same_bits(actual, &expected, what),
            _ => assert_close(actual, &exact, FILTER_TOLERANCE, &format!("{what}, at first on {device:?}")),
        };
        let refused = FaultPlan::new().at(0, Fault::Lost).refuse_to_open(9);
        // The new device fails too.
        let twice = FaultPlan::new().at(0, Fault::Lost).at(1, Fault::Lost);
        for faults in [refused, twice] {
            let engine = open(device.clone(), faults);
            let plan = engine.compile(&filtered()).expect("it compiles");
            check(&job(&engine, &plan, &samples, Qos::High), "done all the same");
            let (state, _, reason) = health(&engine);
            assert_eq!(state, HealthState::Degraded, "{reason}");
            assert!(reason.contains("`high` work goes on on the CPU"), "{reason}");
            // The other levels have devices of their own, and these are well.
            check(&job(&engine, &plan, &samples, Qos::Low), "another level");
        }
        // Device after device fails: in the end nothing is tried again.
        let all = (0..100).fold(FaultPlan::new(), |faults, run| faults.at(run, Fault::Lost));
        let engine = open(device.clone(), all);
        let plan = engine.compile(&filtered()).expect("it compiles");
        for qos in [Qos::High, Qos::Default, Qos::Low] {
            check(&job(&engine, &plan, &samples, qos), "done on the CPU");
        }
        let run = plan.run(&[&samples], 1).expect("a run without a job, too");
        check(run.dense("clean").expect("its output"), "a plain run");
    }
}

#[test]
fn plain_runs_are_done_again_and_many_threads_replace_a_device_once() {
    let samples = noise(256 * 20, 3);
    let plan = engines()[0].compile(&filtered()).expect("it compiles");
    let expected = plan.run(&[&samples], 1).expect("it runs").dense("clean").expect("its output").to_vec();
    let engine = open(DeviceChoice::Cpu, FaultPlan::new().at(20, Fault::Lost));
    let plan = engine.compile(&filtered()).expect("it compiles");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let run = plan.run(&[&samples], 1).expect("it is done all the same");
                    assert_same_bits(run.dense("clean").expect("its output"), &expected, "a plain run");
                }
            });
        }
    });
    let (state, losses, reason) = health(&engine);
    assert_eq!((state, losses), (HealthState::Degraded, 1), "{reason}");
}

#[test]
fn streams_go_on_over_a_lost_device() {
    let samples = noise(256 * 100 + 17, 4);
    let plan = engines()[0].compile(&filtered()).expect("it compiles");
    let mut whole = samples.clone();
    whole.resize(whole.len().next_multiple_of(256), 0.0);
    let expected = plan.run(&[&whole], 1).expect("it runs").dense("clean").expect("its output").to_vec();
    // The last two in one batch: the device that replaces the first one fails at it too.
    for (fault, runs) in faults().into_iter().flat_map(|fault| [(fault, [0, 3, 9]), (fault, [0, 5, 6])]) {
        let faults = runs.iter().fold(FaultPlan::new(), |faults, run| faults.at(*run, fault));
        let engine = open(DeviceChoice::Cpu, faults);
        let plan = engine.compile(&filtered()).expect("it compiles");
        let actual = stream(&engine, &plan, &samples);
        let what = format!("{fault:?} in runs {runs:?}: nothing of it is missing");
        assert_same_bits(&actual, &expected[..samples.len()], &what);
        let (state, losses, reason) = health(&engine);
        assert_eq!((state, losses), (HealthState::Degraded, 3), "{reason}");
        let again = if runs == [0, 5, 6] { "goes on on the CPU" } else { "goes on on a new device" };
        assert!(reason.contains(again), "{runs:?}: {reason}");
    }
}

#[test]
fn a_denoised_stream_goes_on_in_time_with_a_gap_of_silence() {
    let samples: Vec<f32> = noise(256 * 200, 5).iter().map(|x| 0.1 * x).collect();
    let plan = engines()[0].compile(&denoised()).expect("it compiles");
    let expected = plan.run(&[&samples], 1).expect("it runs").dense("clean").expect("its output").to_vec();
    for losses in [1, 2] {
        // The second one in the same batch.
        let faults = (0..losses).fold(FaultPlan::new(), |faults, loss| faults.at(12 + loss, Fault::Lost));
        let engine = open(DeviceChoice::Cpu, faults);
        let plan = engine.compile(&denoised()).expect("it compiles");
        let actual = stream(&engine, &plan, &samples);
        assert_eq!(health(&engine).1, losses, "devices were lost");
        assert_goes_on_in_time(&actual, &expected);
    }
}

fn assert_goes_on_in_time(actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "time goes on");
    let differs = |index: &usize| actual[*index].to_bits() != expected[*index].to_bits();
    let first = (0..actual.len()).find(differs).expect("the gap shows");
    assert!(first >= 256, "all that came out before is as it was");
    // After the gap the network knows less than it did; from what it makes of noise, not much differs.
    let gap = actual[first..].iter().take_while(|x| **x == 0.0).count();
    assert!((1..=256 * 4).contains(&gap), "a gap of {gap} samples");
    let after = first + gap + 16_000;
    let power = |of: &[f32]| of.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    let ratio = power(&actual[after..]) / power(&expected[after..]);
    assert!((0.8..1.25).contains(&ratio), "a second later it sounds as it did: {ratio}");
}

/// A stream's device fails while it is quiet, others see it first, and the stream moves then: what its network knew is gone.
#[test]
fn a_stream_that_moves_off_a_lost_device_ends_and_leaves_no_place_taken() {
    let loses = || (1..50).fold(FaultPlan::new(), |faults, k| faults.at(20 * k, Fault::Lost));
    let adapter = adapter_names().first().map(|name| DeviceChoice::Named(name.clone()));
    for device in std::iter::once(DeviceChoice::Cpu).chain(adapter) {
        let options = EngineOptions {
            device: device.clone(),
            threads: 2,
            pipeline_cache: PipelineCacheDir::Off,
            most_replacements: Some(1000),
            faults: loses(),
            ..EngineOptions::default()
        };
        let engine = Engine::open(&options).expect("the device should open");
        let (plan, runs) = [denoised(), filtered()].map(|graph| engine.compile(&graph).expect("it compiles")).into();
        let open = |qos| {
            let options = StreamOptions { qos, ring: 8, ..StreamOptions::default() };
            let mut stream = engine.open_stream(&plan, options).expect("it opens");
            stream.push(&[0.1; 256 * 4]).expect("there is room");
            assert_eq!(stream.pull_all(&mut [0.0; 256], LONG).expect("it comes out"), 256, "it has begun");
            stream
        };
        let mut used = Vec::new();
        for _ in 0..9 {
            let (_stays, stream) = (open(Qos::Low), open(Qos::Default));
            let losses = health(&engine).1;
            while health(&engine).1 == losses {
                runs.run(&[&[0.1; 256]], 1).expect("it is done all the same");
            }
            let control = stream.control();
            match engine.move_stream(&control, &plan, Qos::Low) {
                Err(error) => assert!(error.to_string().contains("on purpose"), "{device:?}: {error}"),
                Ok(()) => panic!("{device:?}: its device is gone, and what the network knew with it"),
            }
            assert!(control.is_over(), "{device:?}: it is nowhere now");
            used.push(engine.snapshot().expect("a snapshot").memory.map(|memory| memory.used_bytes));
        }
        assert!(used.iter().all(|bytes| *bytes == used[0]), "{device:?}: {used:?}");
    }
}

/// A driver's error need not end a device: a job of the level saw it, a stream did not, and goes on with the job all the same.
#[test]
fn a_stream_follows_its_level_to_the_new_device() {
    for name in adapter_names() {
        let engine = open(DeviceChoice::Named(name.clone()), FaultPlan::new().at(40, Fault::Failed));
        let plan = engine.compile(&filtered()).expect("it compiles");
        let used = || engine.snapshot().expect("a snapshot").memory.expect("an adapter has some").used_bytes;
        let mut stream = engine.open_stream(&plan, StreamOptions::default()).expect("it opens");
        let samples = noise(256 * 24, 7);
        let expected = plan.run(&[&samples], 1).expect("it runs").dense("clean").expect("its output").to_vec();
        let mut clean = Vec::new();
        let mut sounds = |part: usize| {
            stream.push(&samples[256 * 8 * part..256 * 8 * (part + 1)]).expect("there is room");
            let due = 256 * (8 * (part + 1) - 1) - clean.len();
            let mut pulled = vec![f32::NAN; due];
            assert_eq!(stream.pull_all(&mut pulled, LONG).expect("it comes out"), due, "{name}: all of it");
            clean.extend(pulled);
        };
        sounds(0);
        let before = used();
        while health(&engine).1 == 0 {
            plan.run(&[&samples], 1).expect("it is done all the same");
        }
        sounds(1);
        sounds(2);
        assert_same_bits(&clean, &expected[..clean.len()], &format!("{name}: as if nothing had been"));
        let begin = std::time::Instant::now();
        while used() > before && begin.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!((used(), health(&engine).1), (before, 1), "{name}: nothing of the old device is left");
    }
}

fn stream(engine: &Engine, plan: &Plan, samples: &[f32]) -> Vec<f32> {
    let options = StreamOptions { qos: Qos::High, ..StreamOptions::default() };
    let (mut input, mut output) = engine.open_stream(plan, options).expect("the stream should open").split();
    let mut all = vec![f32::NAN; samples.len() + 1];
    let count = std::thread::scope(|scope| {
        scope.spawn(move || {
            for piece in samples.chunks(300) {
                input.push(piece).expect("pushing never fails by this");
            }
        });
        output.pull_all(&mut all, LONG).expect("pulling never fails by this")
    });
    let counters = output.control().counters();
    assert_eq!((counters.dropped, counters.queued), (0, 0), "{counters:?}");
    all.truncate(count);
    all
}

/// The real thing: the wgpu device is destroyed while the engine uses it.
#[test]
fn a_wgpu_device_that_is_gone_is_replaced() {
    let samples = noise(256 * 40, 6);
    for name in adapter_names() {
        let engine = open(DeviceChoice::Named(name.clone()), FaultPlan::new());
        assert_ne!(engine.device().kind, DeviceKind::Cpu, "an adapter was asked for");
        let plan = engine.compile(&filtered()).expect("it compiles");
        let expected = job(&engine, &plan, &samples, Qos::High);
        let destroy = |qos| {
            let guard = engine.possession(qos).expect("a lane");
            guard.wgpu().expect("a device").0.destroy();
        };
        destroy(Qos::High);
        assert_same_bits(&job(&engine, &plan, &samples, Qos::High), &expected, &format!("{name}: a job"));
        let (state, losses, reason) = health(&engine);
        assert_eq!((state, losses), (HealthState::Degraded, 1), "{reason}");
        assert!(reason.contains("a new device"), "{reason}");

        let options = StreamOptions { qos: Qos::High, ring: 64, ..StreamOptions::default() };
        let mut stream = engine.open_stream(&plan, options).expect("the stream should open");
        let (first, second) = samples.split_at(samples.len() / 2);
        stream.push(first).expect("taken");
        let mut all = vec![f32::NAN; samples.len()];
        let begin = stream.pull_all(&mut all[..first.len() - 512], LONG).expect("it comes out");
        destroy(Qos::High);
        stream.push(second).expect("taken");
        stream.finish();
        let rest = stream.pull_all(&mut all[begin..], LONG).expect("it comes out");
        assert_eq!(begin + rest, samples.len(), "{name}: no gap");
        assert_same_bits(&all, &expected, &format!("{name}: a stream over a lost device"));
        assert_eq!(health(&engine).1, 2, "{name}: two were lost");
    }
}
