//! What the README's table is made of: gate, filter and both together, beside what limits them and what else one
//! could use.
//!
//! ```text
//! cargo bench                       criterion, figure by figure, then the summary
//! cargo bench -- --quick            the summary alone, in half a minute
//! cargo bench -- --json FILE        the summary alone, also as JSON
//! AURICLE_BENCH_JSON=FILE cargo bench
//! ```
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench reports to the terminal")]
#![expect(unreachable_pub, clippy::cast_possible_truncation, reason = "a binary of its own, with small numbers")]

mod denoise;

mod peers;

mod summary;

mod workload;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use auricle::{DeviceChoice, DeviceKind, Devices, FilterMode, HostBuffer, Layout, Precision};
use criterion::{Criterion, Throughput};
use serde_json::Value;

use denoise::Denoising;
use peers::{GateAndRealFft, RealFft, RustFftPairs, fold_gate, read_stream};
use summary::{Effort, Figure, measure};
use workload::{COLD_FRAMES, FRAME_LEN, HOT_FRAMES, Work, engine, filter_graph, gate_graph, pipeline_graph, signal};

const SPARSE: [u64; 4] = [0, 50, 90, 99];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value_of =
        |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let json = value_of("--json").cloned().or_else(|| std::env::var("AURICLE_BENCH_JSON").ok()).map(PathBuf::from);
    // Without `--bench`, cargo wants to know only whether the benches run.
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    if !quick && value_of("--json").is_none() {
        let mut criterion = Criterion::default()
            .configure_from_args()
            .without_plots()
            .sample_size(10)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        criterion_figures(&mut criterion);
        criterion.final_summary();
    }
    if is_bench {
        let rounds = value_of("--rounds").and_then(|rounds| rounds.parse().ok()).unwrap_or(if quick { 5 } else { 21 });
        let effort = Effort { rounds, turn_s: 0.02 };
        let summary = summarize(effort, quick);
        println!("\n{}", summary::table(&summary));
        println!("{}", serde_json::to_string(&summary).expect("a summary is JSON"));
        if let Some(path) = json {
            let text = serde_json::to_string_pretty(&summary).expect("a summary is JSON");
            std::fs::write(&path, text + "\n").expect("the JSON file should be writable");
        }
    }
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads should start")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn criterion_figures(criterion: &mut Criterion) {
    let cpu = engine(DeviceChoice::Cpu, 0).expect("the CPU is always there");
    let quiet = signal(COLD_FRAMES, 100);
    let mut group = criterion.benchmark_group("gate");
    group.throughput(Throughput::Elements(COLD_FRAMES as u64));
    let mut gate = Work::new(&cpu, &gate_graph(), Layout::Packed);
    group.bench_function("cold", |bencher| bencher.iter(|| gate.run(&quiet)));
    let threads = pool(cores());
    group.bench_function("stream", |bencher| bencher.iter(|| read_stream(&threads, &quiet)));
    group.finish();
    drop(quiet);

    let hot = signal(HOT_FRAMES, 0);
    let mut group = criterion.benchmark_group("filter");
    group.throughput(Throughput::Elements(HOT_FRAMES as u64));
    for (name, mode) in [("block", FilterMode::Block), ("seamless", FilterMode::Seamless)] {
        let mut filter = Work::new(&cpu, &filter_graph(mode), Layout::Dense);
        group.bench_function(name, |bencher| bencher.iter(|| filter.run(&hot)));
    }
    let (mut realfft, mut out) = (RealFft::new(), HostBuffer::zeroed(HOT_FRAMES * FRAME_LEN));
    group.bench_function("realfft", |bencher| bencher.iter(|| realfft.all(&hot, &mut out)));
    group.finish();

    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(COLD_FRAMES as u64));
    for sparse in SPARSE {
        let samples = signal(COLD_FRAMES, sparse);
        let mut pipeline = Work::new(&cpu, &pipeline_graph(FilterMode::Block), Layout::Packed);
        group.bench_function(format!("sparse{sparse}"), |bencher| bencher.iter(|| pipeline.run(&samples)));
    }
    group.finish();
}

fn summarize(effort: Effort, quick: bool) -> Value {
    let load_before = summary::load_average();
    let mut figures = Vec::new();
    let cpu = engine(DeviceChoice::Cpu, 1).expect("the CPU is always there");
    let simd = cpu.device().driver.split(' ').next().unwrap_or_default().to_owned();
    gate_figures(effort, &mut figures);
    filter_figures(effort, &mut figures);
    pipeline_figures(effort, &mut figures);
    denoise_figures(effort, &mut figures);
    lavapipe_figures(effort, &mut figures);
    summary::complete(figures, &simd, cores(), quick, load_before)
}

fn gate_figures(effort: Effort, into: &mut Vec<Value>) {
    let quiet = signal(COLD_FRAMES, 100);
    for (threads, stream) in [(1, "stream.cold.1t"), (2, "stream.cold.2t")] {
        let cpu = engine(DeviceChoice::Cpu, threads).expect("the CPU is always there");
        let threads_of_stream = pool(threads);
        let mut gate = Work::new(&cpu, &gate_graph(), Layout::Packed);
        let mut group = vec![
            Figure::new(stream, COLD_FRAMES, || {
                black_box(read_stream(&threads_of_stream, &quiet));
            }),
            Figure::new(format!("gate.cold.{threads}t"), COLD_FRAMES, || {
                black_box(gate.run(&quiet));
            })
            .against(stream),
        ];
        if threads == 1 {
            let part = &quiet[..COLD_FRAMES / 4 * FRAME_LEN];
            let fold = move || {
                black_box(fold_gate(part));
            };
            group.push(Figure::new("fold.cold.1t", COLD_FRAMES / 4, fold).against(stream));
        }
        measure(group, effort, into);
    }
}

fn filter_figures(effort: Effort, into: &mut Vec<Value>) {
    let hot = signal(HOT_FRAMES, 0);
    let one = engine(DeviceChoice::Cpu, 1).expect("the CPU is always there");
    let two = engine(DeviceChoice::Cpu, 2).expect("the CPU is always there");
    let block = filter_graph(FilterMode::Block);
    let mut filter = Work::new(&one, &block, Layout::Dense);
    // Twice the frames, so that each core has as many.
    let hot_twice = signal(2 * HOT_FRAMES, 0);
    let mut filter_twice = Work::new(&two, &block, Layout::Dense);
    let batch = signal(4 * HOT_FRAMES, 0);
    let mut batch_on_one = Work::new(&one, &block, Layout::Dense);
    let mut batch_on_two = Work::new(&two, &block, Layout::Dense);
    let mut seamless = Work::new(&one, &filter_graph(FilterMode::Seamless), Layout::Dense);
    let (mut realfft, mut realfft_out) = (RealFft::new(), HostBuffer::zeroed(HOT_FRAMES * FRAME_LEN));
    let (mut pairs, mut pairs_out) = (RustFftPairs::new(), HostBuffer::zeroed(HOT_FRAMES * FRAME_LEN));
    let group = vec![
        Figure::new("realfft.hot.1t", HOT_FRAMES, || realfft.all(&hot, &mut realfft_out)),
        Figure::new("rustfft_pairs.hot.1t", HOT_FRAMES, || pairs.all(&hot, &mut pairs_out)).against("realfft.hot.1t"),
        Figure::new("filter.hot.1t", HOT_FRAMES, || {
            black_box(filter.run(&hot));
        })
        .against("realfft.hot.1t"),
        Figure::new("filter.hot.2t", 2 * HOT_FRAMES, || {
            black_box(filter_twice.run(&hot_twice));
        })
        .against("filter.hot.1t"),
        Figure::new("filter.batch.1t", 4 * HOT_FRAMES, || {
            black_box(batch_on_one.run(&batch));
        })
        .against("realfft.hot.1t"),
        Figure::new("filter.batch.2t", 4 * HOT_FRAMES, || {
            black_box(batch_on_two.run(&batch));
        })
        .against("filter.batch.1t"),
        Figure::new("filter.seamless.hot.1t", HOT_FRAMES, || {
            black_box(seamless.run(&hot));
        })
        .against("realfft.hot.1t"),
    ];
    measure(group, effort, into);
}

fn pipeline_figures(effort: Effort, into: &mut Vec<Value>) {
    let two = engine(DeviceChoice::Cpu, 2).expect("the CPU is always there");
    let threads = pool(2);
    let (block, seamless) = (pipeline_graph(FilterMode::Block), pipeline_graph(FilterMode::Seamless));
    for sparse in SPARSE {
        let samples = signal(COLD_FRAMES, sparse);
        let mut packed = Work::new(&two, &block, Layout::Packed);
        let mut dense = Work::new(&two, &block, Layout::Dense);
        let mut joined = Work::new(&two, &seamless, Layout::Packed);
        let mut peer = GateAndRealFft::new(COLD_FRAMES);
        const STREAM: [&str; 4] =
            ["stream.sparse0.2t", "stream.sparse50.2t", "stream.sparse90.2t", "stream.sparse99.2t"];
        let stream = STREAM[SPARSE.iter().position(|other| *other == sparse).unwrap_or(0)];
        let group = vec![
            Figure::new(stream, COLD_FRAMES, || {
                black_box(read_stream(&threads, &samples));
            }),
            Figure::new(format!("pipeline.sparse{sparse}.2t"), COLD_FRAMES, || {
                black_box(packed.run(&samples));
            })
            .against(stream),
            Figure::new(format!("pipeline.dense.sparse{sparse}.2t"), COLD_FRAMES, || {
                black_box(dense.run(&samples));
            })
            .against(stream),
            Figure::new(format!("pipeline.seamless.sparse{sparse}.2t"), COLD_FRAMES, || {
                black_box(joined.run(&samples));
            })
            .against(stream),
            Figure::new(format!("realfft_pipeline.sparse{sparse}.2t"), COLD_FRAMES, || {
                black_box(peer.run(&threads, &samples));
            })
            .against(stream),
        ];
        measure(group, effort, into);
    }
}

/// Frames are hops of 8 ms here: 125 of them a second are one channel in real time.
fn denoise_figures(effort: Effort, into: &mut Vec<Value>) {
    let model = denoise::dtln_shape();
    let one = engine(DeviceChoice::Cpu, 1).expect("the CPU is always there");
    let two = engine(DeviceChoice::Cpu, 2).expect("the CPU is always there");
    let precisions = [("f32", Precision::F32), ("f16", Precision::F16), ("int8", Precision::Int8)];
    for (channels, hops) in [(1, 1), (1, 64), (16, 1), (64, 1), (256, 1)] {
        const F32: [&str; 5] =
            ["denoise.f32.1x1", "denoise.f32.1x64", "denoise.f32.16x1", "denoise.f32.64x1", "denoise.f32.256x1"];
        let suffix = format!(".{channels}x{hops}");
        let f32 = F32.iter().find(|name| name.ends_with(&suffix)).copied().unwrap_or("");
        let mut group = Vec::new();
        for (name, precision) in precisions {
            let mut work = Denoising::new(&one, &model, precision, channels, hops);
            let figure = Figure::new(format!("denoise.{name}{suffix}"), channels * hops, move || work.run());
            group.push(if precision == Precision::F32 { figure } else { figure.against(f32) });
        }
        if channels == 256 {
            let mut work = Denoising::new(&two, &model, Precision::F32, channels, hops);
            group.push(Figure::new("denoise.f32.256x1.2t", channels * hops, move || work.run()).against(f32));
        }
        measure(group, effort, into);
    }
}

/// A software adapter checks kernels; nobody should wait for it. The figure is there so that nobody has to guess.
fn lavapipe_figures(effort: Effort, into: &mut Vec<Value>) {
    let frames = 2048;
    let effort = Effort { rounds: effort.rounds.min(5), ..effort };
    let Ok(devices) = Devices::find(1) else { return };
    for device in devices.list().into_iter().filter(|device| device.kind == DeviceKind::SoftwareGpu) {
        let Some(engine) = engine(DeviceChoice::Named(device.name.clone()), 2) else { continue };
        let name = if device.name.contains("llvmpipe") { "lavapipe" } else { "software" };
        let samples = signal(frames, 0);
        let mut filter = Work::new(&engine, &filter_graph(FilterMode::Block), Layout::Dense);
        let figure = Figure::new(format!("{name}.filter"), frames, || {
            black_box(filter.run(&samples));
        });
        measure(vec![figure], effort, into);
    }
}
