//! `auricle isolate`: the machine's cores and memory, and what keeping threads and memory in their places does here.

use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::ProgressBar;

use super::print;
use super::times::percentile;
use crate::{
    DeviceChoice, Engine, EngineOptions, FrameShape, Gate, Graph, HostBuffer, IsolationOptions, IsolationReport,
    MemoryTier, Qos, StreamOptions, Topology,
};

const DETAILS: &str = "\
Opens two engines on the CPU device, one as the system places its threads and
one isolated, and gives both in turn a small urgent job every millisecond: what
counts is how long it takes until a lane begins. Run it while the machine does
what it will do then.

Nothing here needs a privilege. More can be had from whoever runs the machine:
`ulimit -l` for locked memory, and processors that nothing else runs on
(`isolcpus=` on Linux's command line), which are taken first.

In an app: EngineOptions::isolation.

Examples:
  auricle isolate
  auricle isolate --cpus 2,3 --json";

/// Show the machine's cores, and try what keeping threads and memory in their places does here.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub(super) struct IsolateArguments {
    /// Processors to choose from, by the system's numbers; all that may be used unless set.
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,

    /// Jobs for each of the two engines.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    jobs: u32,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, serde::Serialize)]
struct Findings {
    topology: Topology,
    isolation: IsolationReport,
    /// What a large buffer reached.
    large_buffer: MemoryTier,
    /// Until a lane begins, in microseconds.
    as_placed: HandOver,
    isolated: HandOver,
}

#[derive(Debug, serde::Serialize)]
struct HandOver {
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

pub(super) fn isolate(arguments: &IsolateArguments) -> Result<()> {
    let findings = find(arguments)?;
    if arguments.json {
        return print(&serde_json::to_string_pretty(&findings)?);
    }
    print(&text(&findings))
}

/// Jobs in a turn of one engine.
const TURN: u32 = 50;

fn find(arguments: &IsolateArguments) -> Result<Findings> {
    let isolation = IsolationOptions { pin_threads: true, cpus: arguments.cpus.clone(), lock_memory: true };
    let open = |isolation| {
        let device = DeviceChoice::Cpu;
        Engine::open(&EngineOptions { device, isolation, ..EngineOptions::default() })
    };
    let (plain, isolated) = (open(IsolationOptions::default())?, open(isolation)?);
    let graph =
        Graph::new().input("in", FrameShape::real(1024)).gate("gate", "in", Gate::default()).output("out", "gate");
    let stream = isolated.open_stream(&isolated.compile(&graph)?, StreamOptions::default())?;

    let mut times = [Vec::new(), Vec::new()];
    let progress = ProgressBar::new(u64::from(2 * arguments.jobs));
    let mut left = arguments.jobs;
    while left > 0 {
        let turn = left.min(TURN);
        for (engine, times) in [&plain, &isolated].into_iter().zip(&mut times) {
            for _ in 0..turn {
                std::thread::sleep(Duration::from_millis(1));
                let submitted = Instant::now();
                let began = engine.run_on_lane(Qos::High, "beat", |_| Instant::now())?.wait()?;
                times.push(began - submitted);
                progress.inc(1);
            }
        }
        left -= turn;
    }
    progress.finish_and_clear();
    let report = isolated.isolation()?;
    drop(stream);
    let [as_placed, isolated] = times.map(HandOver::of);
    let large_buffer = HostBuffer::zeroed(1 << 20).settle();
    Ok(Findings { topology: Topology::of_this_machine(), isolation: report, large_buffer, as_placed, isolated })
}

impl HandOver {
    fn of(mut times: Vec<Duration>) -> Self {
        let mut at =
            |of_hundred| percentile(&mut times, of_hundred).map_or(0.0, |time: Duration| time.as_secs_f64() * 1e6);
        Self { p50_us: at(50), p99_us: at(99), max_us: at(100) }
    }
}

fn text(findings: &Findings) -> String {
    let Findings { topology, isolation, large_buffer, as_placed, isolated } = findings;
    let mut lines = vec![format!("{} processors on {} physical cores", topology.cpus.len(), topology.cores())];
    for cpu in &topology.cpus {
        let kept = if cpu.isolated { ", kept free by the system" } else { "" };
        let barred = if cpu.allowed || cpu.isolated { "" } else { ", not for this process" };
        lines.push(format!("  processor {}: core {}, NUMA node {}{kept}{barred}", cpu.id, cpu.core, cpu.node));
    }
    lines.push(String::new());
    for thread in &isolation.threads {
        let what = if thread.is_pinned { "stays on" } else { "was refused" };
        lines.push(format!("  {:24} {what} processor {} (node {})", thread.name, thread.cpu, thread.node));
    }
    let memory = &isolation.memory;
    lines.push(format!(
        "  rings of a stream: {}, {} bytes locked, {} touched; nodes {:?}",
        name(memory.tier),
        memory.locked_bytes,
        memory.prefaulted_bytes,
        memory.nodes
    ));
    lines.push(format!("  a buffer of 4 MiB: {}", name(*large_buffer)));
    lines.extend(isolation.notes.iter().map(|note| format!("  note: {note}")));
    lines.push(String::new());
    lines.push("from submission to a lane that begins, us      p50      p99      max".to_owned());
    for (what, times) in [("as the system places threads", as_placed), ("isolated", isolated)] {
        lines.push(format!("  {what:40} {:8.1} {:8.1} {:8.1}", times.p50_us, times.p99_us, times.max_us));
    }
    lines.join("\n")
}

fn name(tier: MemoryTier) -> &'static str {
    match tier {
        MemoryTier::Locked => "locked",
        MemoryTier::HugePages => "on huge pages, touched",
        MemoryTier::Prefaulted => "touched, not locked",
        MemoryTier::Plain => "as the system gives it",
    }
}
