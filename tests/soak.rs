//! Days in a process of somebody else's: streams, jobs and plans that come and go on a device that fails now and then.
//!
//! Some seconds each time. The long one, in which memory must not grow by more than a hundredth, is
//! `MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=65536 AURICLE_SOAK_SECONDS=1800 cargo nextest run soak --success-output final`:
//! else what glibc keeps in the holes of many arenas is more than a hundredth of what a small process holds, and comes and
//! goes with what else the machine does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use auricle::{
    DeviceChoice, DeviceKind, Engine, EngineOptions, Fault, FaultPlan, FilterMode, FrameShape, Gate, Graph,
    HealthState, JobOptions, PhiResolvent, PipelineCacheDir, Plan, Qos, ShutDown, StreamOptions,
};

use crate::HEAP;
use crate::adapter::{adapter_names, skipped};
use crate::signals::bursts;

const FRAME_LEN: usize = 1024;
/// Frames after which the streams' signals repeat.
const PERIOD: usize = 48;
/// Streams that go through all of it.
const STREAMS: u64 = 4;
/// What a device should do of all that it can.
const LOAD: f64 = 0.9;
/// From one fault to the next.
const FAULT_SECONDS: u64 = 60;
/// From one rest to the next, in which nothing is in flight.
const REST_SECONDS: u64 = 3;
/// How often it is looked at what the process holds.
const LOOKS_PER_SECOND: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

fn graph() -> Graph {
    Graph::new()
        .input("in", FrameShape::real(FRAME_LEN))
        .gate("gate", "in", Gate { hold: 2, ..Gate::default() })
        .filter("filter", "gate", PhiResolvent { mode: FilterMode::Seamless, ..PhiResolvent::default() })
        .output("clean", "filter")
}

/// Of work, without the rests.
fn seconds() -> u64 {
    let seconds = std::env::var("AURICLE_SOAK_SECONDS").map_or(8, |text| text.parse().expect("a number of seconds"));
    assert!(seconds >= REST_SECONDS, "a soak takes {REST_SECONDS} seconds at least");
    seconds
}

/// Lost devices are always replaced, so that it is the same one to the end.
fn open(device: &DeviceChoice, faults: FaultPlan) -> Engine {
    let options = EngineOptions {
        device: device.clone(),
        threads: 2,
        pipeline_cache: PipelineCacheDir::Off,
        most_replacements: Some(10_000),
        faults,
        ..EngineOptions::default()
    };
    Engine::open(&options).expect("the device should open")
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Resident, with all that allocators and drivers keep for later.
    bytes: u64,
    /// On Rust's heap, and in use.
    used_bytes: u64,
    threads: usize,
    descriptors: usize,
}

impl Held {
    /// None where there is no /proc, and where other tests share the process.
    fn now() -> Option<Self> {
        std::env::var_os("NEXTEST")?;
        let count = |folder: &str| std::fs::read_dir(folder).ok().map(Iterator::count);
        let pages = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok()?;
        let used_bytes = HEAP.current_usage() as u64;
        Some(Self {
            bytes: pages * 4096,
            used_bytes,
            threads: count("/proc/self/task")?,
            descriptors: count("/proc/self/fd")?,
        })
    }
}

/// Whether streams, jobs and passers-by go on.
#[derive(Debug, Default)]
struct Works {
    stops: AtomicBool,
    rests: AtomicBool,
}

impl Works {
    /// False at the end. While there is a rest, it waits.
    fn goes_on(&self) -> bool {
        while self.rests.load(Ordering::Relaxed) && !self.is_over() {
            std::thread::sleep(Duration::from_millis(5));
        }
        !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }

    /// Looks at what is there when nothing is in flight; says how long that took.
    fn rest_for(&self, engine: &Engine, look: impl FnOnce()) -> Duration {
        self.rests.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        let is_busy = || {
            let qos = engine.snapshot().expect("a snapshot").qos;
            qos.iter().any(|(_, level)| level.waiting + level.in_flight > 0)
        };
        // Streams and passers-by end their turn meanwhile.
        std::thread::sleep(Duration::from_millis(800));
        while is_busy() && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        look();
        self.rests.store(false, Ordering::Relaxed);
        begin.elapsed()
    }
}

/// One signal, for ever: pushes its period again and again, and holds what comes out against what a quiet engine gave.
fn stream(engine: &Engine, plan: &Plan, seed: u64, expected: &[f32], work: &Works) -> u64 {
    let period = bursts(FRAME_LEN, PERIOD, seed, |frame| frame % 7 < 3);
    let options = StreamOptions { qos: Qos::ALL[seed as usize % Qos::ALL.len()], ..StreamOptions::default() };
    let (mut input, output) = engine.open_stream(plan, options).expect("it opens").split();
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| {
            let mut pushed = 0;
            while work.goes_on() {
                for piece in period.chunks(5000) {
                    input.push(piece).expect("it goes on");
                    pushed += piece.len() as u64;
                }
                // It leaves room for the others.
                std::thread::sleep(Duration::from_millis(5));
            }
            input.finish();
            pushed
        });
        // Here, so that whoever pushes does not wait for what has panicked.
        let mut output = output;
        let mut clean = vec![0.0; period.len()];
        let mut checked = 0;
        loop {
            let count = output.pull_all(&mut clean, PATIENCE).expect("it goes on");
            // The first period has silence before it, and the last one behind it.
            let from = if checked == 0 { FRAME_LEN } else { 0 };
            let to = if work.is_over() { count.saturating_sub(2 * FRAME_LEN) } else { count };
            let differs = (from..to).find(|&at| clean[at].to_bits() != expected[at].to_bits());
            assert_eq!(differs, None, "stream {seed} after {checked} samples");
            checked += count as u64;
            if count < clean.len() {
                break;
            }
        }
        assert_eq!(checked, pushing.join().expect("pushing should end"), "stream {seed}: all that was pushed");
        checked
    })
}

/// Two periods between two others: its third one is that of a signal that never ends.
fn expected(plan: &Plan, seed: u64) -> Vec<f32> {
    let period = bursts(FRAME_LEN, PERIOD, seed, |frame| frame % 7 < 3);
    let output = plan.run(&[&period.repeat(4)], 1).expect("it runs");
    output.dense("clean").expect("its output")[2 * period.len()..3 * period.len()].to_vec()
}

/// Jobs of all levels, short and long, some cancelled, some forgotten; each that is waited for is right.
fn jobs(engine: &Engine, plan: &Plan, work: &Works) -> u64 {
    let samples = bursts(FRAME_LEN, 600, 99, |frame| frame % 3 < 2);
    let expected = plan.run(&[&samples], 1).expect("it runs").dense("clean").expect("its output").to_vec();
    let mut done = 0;
    while work.goes_on() {
        let start = Instant::now();
        let qos = Qos::ALL[done as usize % Qos::ALL.len()];
        let options = JobOptions { qos, ..JobOptions::default() };
        let frames = if done % 5 == 0 { 600 } else { 20 };
        let signal = samples[..frames * FRAME_LEN].to_vec();
        let ticket = engine.submit(plan, [signal], options).expect("there should be room");
        match done % 8 {
            3 => drop(ticket),
            6 => {
                ticket.cancel();
            }
            _ => {
                let output = ticket.wait().expect("it is done all the same");
                let clean = output.dense("clean").expect("its output");
                // But for the last frame, which hears silence behind it.
                let same = (frames - 1) * FRAME_LEN;
                assert!(clean[..same] == expected[..same], "job {done} of {frames} frames");
            }
        }
        done += 1;
        std::thread::sleep(start.elapsed().mul_f64(1.0 / LOAD - 1.0));
    }
    done
}

/// Plans and streams that come and go.
fn passers_by(engine: &Engine, work: &Works) -> u64 {
    let mut passed = 0;
    while work.goes_on() {
        let plan = engine.compile(&graph()).expect("it compiles");
        let mut streams: Vec<_> =
            (0..3).map(|_| engine.open_stream(&plan, StreamOptions::default()).expect("it opens")).collect();
        for stream in &mut streams {
            stream.push(&[0.5; 3 * FRAME_LEN]).expect("there is room");
        }
        // One ends well, one is let go with samples in it, and one is never asked.
        streams[0].finish();
        let count = streams[0].pull_all(&mut vec![0.0; 4 * FRAME_LEN], PATIENCE).expect("all of it");
        assert_eq!(count, 3 * FRAME_LEN, "passer-by {passed}");
        passed += 1;
        drop(streams);
        std::thread::sleep(Duration::from_millis(50));
    }
    passed
}

/// How many runs of the device go by from one fault to the next: those are counted, not time.
fn runs_between_faults(device: &DeviceChoice, expected: &[Vec<f32>]) -> u64 {
    let trial = open(device, FaultPlan::new());
    let plan = trial.compile(&graph()).expect("it compiles");
    let work = Works::default();
    std::thread::scope(|scope| {
        for (seed, expected) in (0..).zip(expected) {
            let (trial, plan, work) = (&trial, &plan, &work);
            scope.spawn(move || stream(trial, plan, seed, expected, work));
        }
        scope.spawn(|| jobs(&trial, &plan, &work));
        std::thread::sleep(Duration::from_secs(2));
        work.stop();
    });
    let runs: u64 = trial.snapshot().expect("a snapshot").work.batches;
    (runs / 2).max(1) * fault_seconds()
}

fn fault_seconds() -> u64 {
    FAULT_SECONDS.min(seconds() / 4).max(1)
}

/// A fault a minute, of one kind after the other. One comes early, however slow the device is then.
fn faults(each: u64) -> FaultPlan {
    let kinds = [Fault::Lost, Fault::Failed, Fault::Hung(Duration::from_millis(100))];
    let first = FaultPlan::new().at(each / 8, Fault::Lost);
    (1..=seconds() / fault_seconds()).fold(first, |plan, k| plan.at(k * each, kinds[k as usize % kinds.len()]))
}

fn soak(device: &DeviceChoice) {
    let quiet = open(device, FaultPlan::new());
    let reference = quiet.compile(&graph()).expect("it compiles");
    let expected: Vec<Vec<f32>> = (0..STREAMS).map(|seed| expected(&reference, seed)).collect();
    drop((reference, quiet));

    let engine = open(device, faults(runs_between_faults(device, &expected)));
    let plan = engine.compile(&graph()).expect("it compiles");
    let work = Works::default();
    let (checked, done, passed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let looks = usize::try_from(seconds() * LOOKS_PER_SECOND).expect("hours, not years");
    // What it takes is there from the beginning.
    let mut held = vec![Held::default(); looks];
    held.clear();
    let mut resting = Vec::with_capacity(looks);
    std::thread::scope(|scope| {
        for (seed, expected) in (0..).zip(&expected) {
            let (engine, plan, work, checked) = (&engine, &plan, &work, &checked);
            scope.spawn(move || checked.fetch_add(stream(engine, plan, seed, expected, work), Ordering::Relaxed));
        }
        scope.spawn(|| done.fetch_add(jobs(&engine, &plan, &work), Ordering::Relaxed));
        scope.spawn(|| passed.fetch_add(passers_by(&engine, &work), Ordering::Relaxed));
        let (begin, mut rested) = (Instant::now(), Duration::ZERO);
        for look in 0..looks {
            let next = Duration::from_secs(1) / LOOKS_PER_SECOND as u32 * (look as u32 + 1) + rested;
            std::thread::sleep(next.saturating_sub(begin.elapsed()));
            if (look as u64 + 1).is_multiple_of(REST_SECONDS * LOOKS_PER_SECOND) {
                rested += work.rest_for(&engine, || resting.extend(Held::now()));
            }
            held.extend(Held::now());
        }
        work.stop();
    });
    let (checked, done, passed) = (checked.into_inner(), done.into_inner(), passed.into_inner());
    eprintln!(
        "{}: {checked} samples of {STREAMS} streams as they should be, {done} jobs, {passed} passers-by",
        engine.device().name
    );
    assert!(checked > 100_000 && done > 10 && passed > 2, "there was something to do");
    drop(plan);
    assert_went_on_and_ended(&engine);
    assert_nothing_grew(&held, &resting);
}

/// On the same kind of device to the end, and with an answer for everybody.
fn assert_went_on_and_ended(engine: &Engine) {
    let snapshot = engine.snapshot().expect("a snapshot");
    eprintln!("health: {:?}", snapshot.health);
    assert_eq!(snapshot.health.state, HealthState::Degraded, "there were faults, and it went on");
    for (qos, serving) in snapshot.devices.iter() {
        let kind = serving.as_ref().map(|device| device.kind);
        assert!(kind.is_none_or(|kind| kind == engine.device().kind), "{qos}: not by the same device to the end");
    }
    assert_eq!(engine.shutdown(ShutDown::Drain, PATIENCE), 0, "nobody waits for an answer");
    let snapshot = engine.snapshot().expect("a snapshot");
    for (qos, level) in snapshot.qos.iter() {
        assert_eq!((level.waiting, level.in_flight), (0, 0), "{qos}: nothing is left");
        assert_eq!(level.admitted, level.answered(), "{qos}: every job has its answer, and one only");
    }
    let used = snapshot.memory.map(|memory| memory.used_bytes);
    let expected = (engine.device().kind != DeviceKind::Cpu).then_some(0);
    assert_eq!(used, expected, "no buffer is left");
}

/// The median of a tenth of the time, early and late, of which the first sixth warms up.
fn medians(what: &str, held: &[Held], of: impl Fn(&Held) -> u64) -> (u64, u64) {
    let tenth = held.len().div_ceil(10);
    let (early, late) = (&held[held.len() / 6..held.len() / 6 + tenth], &held[held.len() - tenth..]);
    let median = |part: &[Held]| {
        let mut values: Vec<u64> = part.iter().map(&of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let (before, after) = (median(early), median(late));
    let most = held.iter().map(&of).max().unwrap_or_default();
    eprintln!("{what}: {before} early, {after} late, {most} at most");
    (before, after)
}

fn assert_nothing_grew(held: &[Held], resting: &[Held]) {
    if resting.is_empty() {
        return skipped("what the process holds, which `cargo nextest` on Linux gives");
    }
    // What is in flight comes and goes with what else the machine does.
    let used = medians("bytes in use, at rest", resting, |held| held.used_bytes);
    let resident = medians("resident bytes, at rest", resting, |held| held.bytes);
    // In seconds nothing is warm.
    let is_level = |(before, after): (u64, u64)| seconds() < 600 || after as f64 <= 1.01 * before as f64;
    assert!(is_level(used), "the heap grew");
    assert!(is_level(resident), "the process grew");
    // A driver's threads come and go.
    let (before, after) = medians("threads", held, |held| held.threads as u64);
    assert!(after <= before + 2, "from {before} to {after} threads");
    let (before, after) = medians("descriptors", held, |held| held.descriptors as u64);
    assert!(after <= before + 2, "from {before} to {after} descriptors");
}

#[test]
fn the_cpu_goes_on() {
    soak(&DeviceChoice::Cpu);
}

#[test]
fn an_adapter_goes_on() {
    let Some(name) = adapter_names().first() else { return };
    soak(&DeviceChoice::Named(name.clone()));
}
