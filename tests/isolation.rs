//! Threads on cores of their own, and memory that stays.

use std::time::Duration;

use auricle::{
    DeviceChoice, Engine, EngineOptions, Error, FrameShape, Gate, Graph, IsolationOptions, MemoryTier, StreamOptions,
};
#[cfg(target_os = "linux")]
use auricle::{Qos, Topology};

#[cfg(target_os = "linux")]
use crate::adapter::skipped;
use crate::signals::noise;

fn open(isolation: IsolationOptions) -> auricle::Result<Engine> {
    Engine::open(&EngineOptions { device: DeviceChoice::Cpu, threads: 1, isolation, ..EngineOptions::default() })
}

fn gated() -> Graph {
    Graph::new().input("in", FrameShape::real(256)).gate("gate", "in", Gate::default()).output("out", "gate")
}

#[test]
fn nothing_is_asked_of_the_system_unless_set() {
    let engine = open(IsolationOptions::default()).expect("the CPU opens");
    let stream = engine.open_stream(&engine.compile(&gated()).expect("it compiles"), StreamOptions::default());
    let report = engine.isolation().expect("the lanes start");
    assert!(report.threads.is_empty() && report.notes.is_empty(), "{report:?}");
    assert_eq!((report.memory.tier, report.memory.locked_bytes), (MemoryTier::Plain, 0));
    drop(stream);
}

#[cfg(target_os = "linux")]
#[test]
fn each_lane_stays_where_the_report_says() {
    let topology = Topology::of_this_machine();
    let engine = open(IsolationOptions { pin_threads: true, ..IsolationOptions::default() }).expect("it opens");
    let report = engine.isolation().expect("the lanes start");
    if topology.cores() < 2 {
        assert!(report.threads.is_empty() && report.notes[0].contains("physical core"), "{report:?}");
        return skipped("one core, on which nothing can be isolated");
    }
    assert_eq!(report.threads.len(), 5, "{report:?}");
    for thread in report.threads.iter().filter(|thread| thread.is_pinned) {
        let (_, lane) = thread.name.split_at("auricle.lane.".len());
        let (qos, index) = lane.split_once('.').expect("a level and a number");
        let qos = Qos::ALL.into_iter().find(|level| level.to_string() == qos).expect("a level");
        // Lanes of one level take turns: ask until this one has answered.
        let on = || {
            let here = || (std::thread::current().name().map(str::to_owned), allowed_here());
            engine.run_on_lane(qos, "where", move |_| here()).expect("it is taken").wait().expect("it runs")
        };
        let answer = (0..10_000).map(|_| on()).find(|(name, _)| name.as_deref() == Some(&thread.name));
        let (_, allowed) = answer.unwrap_or_else(|| panic!("lane {index} of {qos} never worked"));
        assert_eq!(allowed, [thread.cpu], "{thread:?}");
    }
}

/// The processors that the calling thread may run on.
#[cfg(target_os = "linux")]
fn allowed_here() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("Linux tells");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("this, too").trim();
    list.split(',')
        .flat_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            first.parse::<usize>().expect("a number")..=last.parse::<usize>().expect("a number")
        })
        .collect()
}

#[test]
fn a_processor_that_is_not_there_is_refused() {
    let refused = open(IsolationOptions { pin_threads: true, cpus: vec![4000], lock_memory: false });
    let error = refused.expect_err("no machine has so many");
    assert!(matches!(error, Error::Setting { .. }) && error.to_string().contains("4000"), "{error}");
}

#[test]
fn rings_are_locked_or_touched_and_work_all_the_same() {
    let engine = open(IsolationOptions { lock_memory: true, ..IsolationOptions::default() }).expect("it opens");
    let plan = engine.compile(&gated()).expect("it compiles");
    let options = || StreamOptions { channels: 2, ring: 16, ..StreamOptions::default() };
    let mut stream = engine.open_stream(&plan, options()).expect("a stream");
    let memory = engine.isolation().expect("the lanes start").memory;
    // Two rings, of a frame or two more than asked for.
    let least = 2 * 16 * 256 * 2 * 4;
    assert!(memory.locked_bytes + memory.prefaulted_bytes >= least, "{memory:?}");
    assert!(matches!(memory.tier, MemoryTier::Locked | MemoryTier::Prefaulted), "{memory:?}");
    // What is locked is given back with the stream: so ever more can be opened.
    for _ in 0..50 {
        drop(engine.open_stream(&plan, options()).expect("a stream"));
    }
    let samples = noise(2 * 256 * 40, 1);
    let mut pulled = Vec::new();
    for part in samples.chunks(2 * 256 * 4) {
        stream.push(part).expect("there is room");
        let mut output = vec![0.0; part.len()];
        let count = stream.pull_all(&mut output, Duration::from_secs(60)).expect("it comes out");
        pulled.extend_from_slice(&output[..count]);
    }
    assert!(pulled == samples, "the gate lets all of it through");
}

/// A system that locks little: what it refuses is touched instead, and the report says why.
#[cfg(target_os = "linux")]
#[test]
fn what_the_system_does_not_lock_is_touched_and_said() {
    let engine = open(IsolationOptions { lock_memory: true, ..IsolationOptions::default() }).expect("it opens");
    let plan = engine.compile(&gated()).expect("it compiles");
    let limit = std::fs::read_to_string("/proc/self/limits").expect("Linux tells");
    let limit = limit.lines().find(|line| line.starts_with("Max locked memory")).expect("this, too");
    let Some(bytes) = limit.split_whitespace().nth(3).and_then(|soft| soft.parse::<usize>().ok()) else {
        return skipped("the system locks without limit");
    };
    let ring = bytes / (256 * 4) + 1;
    if ring > 1 << 20 {
        return skipped("the system locks more than a test should take");
    }
    let stream = engine.open_stream(&plan, StreamOptions { ring, ..StreamOptions::default() }).expect("a stream");
    let report = engine.isolation().expect("the lanes start");
    if report.memory.prefaulted_bytes == 0 {
        return skipped("this process may lock more than its limit says");
    }
    assert_eq!(report.memory.tier, MemoryTier::Prefaulted);
    assert!(report.notes.iter().any(|note| note.contains("ulimit -l")), "{report:?}");
    drop(stream);
}
