//! Gate, filter, both, and the denoiser on this machine's cores.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::Result;

use super::turns::Member;
use super::work::{
    COLD_FRAMES, Denoising, FILTER_FLOPS, FRAME_BYTES, FRAME_LEN, HOT_FRAMES, Work, cpu, filter_graph, gate_graph,
    pipeline_graph, signal,
};
use super::{Bench, limits, rust_peers};
use crate::cli::bench::ingest;
use crate::stage::denoise::model::Model;
use crate::{FilterMode, HostBuffer, Layout, Precision};

/// Frames of a hundred that are quiet.
pub(super) const SPARSE: [u32; 4] = [0, 50, 90, 99];
/// Channels that are denoised at once, and hops of each in a push.
const BATCHES: [(usize, usize); 5] = [(1, 1), (1, 64), (16, 1), (64, 1), (256, 1)];

/// Cores alone: what figures without a signal of their own are held against.
pub(super) fn limits(bench: &mut Bench) -> Result<()> {
    let samples = signal(COLD_FRAMES / 2, 0);
    let mut to = HostBuffer::zeroed(COLD_FRAMES / 2 * FRAME_LEN);
    for threads in bench.thread_counts() {
        let pool = limits::pool(threads)?;
        let copy = limits::copy(format!("copy.{threads}t"), &samples, &mut to, &pool);
        let group = vec![copy, limits::multiply_add(format!("fma.{threads}t"), &pool)];
        bench.group(group)?;
    }
    Ok(())
}

pub(super) fn gate(bench: &mut Bench) -> Result<()> {
    let quiet = signal(COLD_FRAMES, 100);
    for threads in bench.thread_counts() {
        let (engine, pool) = (cpu(threads)?, limits::pool(threads)?);
        let mut work = Work::new(&engine, &gate_graph(), Layout::Packed)?;
        let stream = format!("stream.{threads}t");
        let mut gate =
            Member::own(format!("gate.cold.{threads}t"), "frames/s", COLD_FRAMES as f64, || work.run(&quiet))
                .of(&stream, FRAME_BYTES);
        let mut group = vec![limits::stream(stream, &quiet, &pool)];
        if threads == 1 {
            let part = &quiet[..COLD_FRAMES / 4 * FRAME_LEN];
            gate = gate.vs("fold");
            group.push(Member::peer("fold", "frames/s", (COLD_FRAMES / 4) as f64, move || {
                black_box(rust_peers::fold_gate(part));
            }));
        }
        group.insert(1, gate);
        bench.group(group)?;
    }
    Ok(())
}

pub(super) fn filter(bench: &mut Bench) -> Result<()> {
    let cores = bench.cores;
    let hot = signal(HOT_FRAMES, 0);
    // As many frames for each core.
    let hot_on_all = signal(cores * HOT_FRAMES, 0);
    let (one, all) = (cpu(1)?, cpu(cores)?);
    let (one_pool, all_pool) = (limits::pool(1)?, limits::pool(cores)?);
    let block = filter_graph(FRAME_LEN, FilterMode::Block);
    let mut on_one = Work::new(&one, &block, Layout::Dense)?;
    let mut on_all = Work::new(&all, &block, Layout::Dense)?;
    let mut seamless = Work::new(&one, &filter_graph(FRAME_LEN, FilterMode::Seamless), Layout::Dense)?;
    let (mut realfft, mut realfft_out) = (rust_peers::RealFft::new(), HostBuffer::zeroed(HOT_FRAMES * FRAME_LEN));
    let (mut pairs, mut pairs_out) = (rust_peers::RustFftPairs::new(), HostBuffer::zeroed(HOT_FRAMES * FRAME_LEN));
    let frames = HOT_FRAMES as f64;
    let mut group = vec![
        limits::multiply_add("fma.1t".to_owned(), &one_pool),
        Member::own("filter.hot.1t", "frames/s", frames, || on_one.run(&hot))
            .of("fma.1t", FILTER_FLOPS)
            .vs("realfft")
            .vs("rustfft pairs"),
        Member::own("filter.seamless.hot.1t", "frames/s", frames, || seamless.run(&hot))
            .of("fma.1t", 2.0 * FILTER_FLOPS)
            .vs("realfft"),
        Member::peer("realfft", "frames/s", frames, || realfft.all(&hot, &mut realfft_out)),
        Member::peer("rustfft pairs", "frames/s", frames, || pairs.all(&hot, &mut pairs_out)),
    ];
    if cores > 1 {
        let fma = format!("fma.{cores}t");
        let frames = (cores * HOT_FRAMES) as f64;
        let own = Member::own(format!("filter.hot.{cores}t"), "frames/s", frames, || on_all.run(&hot_on_all));
        group.push(own.of(&fma, FILTER_FLOPS));
        group.push(limits::multiply_add(fma, &all_pool));
    }
    bench.group(group)
}

pub(super) fn pipeline(bench: &mut Bench) -> Result<()> {
    let cores = bench.cores;
    let (engine, pool) = (cpu(cores)?, limits::pool(cores)?);
    let (block, seamless) = (pipeline_graph(FilterMode::Block), pipeline_graph(FilterMode::Seamless));
    for sparse in SPARSE {
        let samples = signal(COLD_FRAMES, sparse);
        let mut packed = Work::new(&engine, &block, Layout::Packed)?;
        let mut dense = Work::new(&engine, &block, Layout::Dense)?;
        let mut joined = Work::new(&engine, &seamless, Layout::Packed)?;
        let mut peer = rust_peers::GateAndRealFft::new(COLD_FRAMES);
        let (frames, stream) = (COLD_FRAMES as f64, format!("stream.{cores}t"));
        let named = |what: &str| format!("pipeline.{what}sparse{sparse}.{cores}t");
        let group = vec![
            limits::stream(stream.clone(), &samples, &pool),
            Member::own(named(""), "frames/s", frames, || packed.run(&samples))
                .of(&stream, FRAME_BYTES)
                .vs("gate and realfft"),
            Member::own(named("dense."), "frames/s", frames, || dense.run(&samples)).of(&stream, FRAME_BYTES),
            Member::own(named("seamless."), "frames/s", frames, || joined.run(&samples)).of(&stream, FRAME_BYTES),
            Member::peer("gate and realfft", "frames/s", frames, || {
                black_box(peer.run(&pool, &samples));
            }),
        ];
        bench.group(group)?;
    }
    Ok(())
}

/// In channels that are denoised in real time.
pub(super) fn denoise(bench: &mut Bench) -> Result<()> {
    let (one, all) = (cpu(1)?, cpu(bench.cores)?);
    let cores = bench.cores;
    let models = [("dtln", bench.dtln()?), ("builtin", Model::builtin())];
    let precisions = [("", Precision::F32), ("f16.", Precision::F16), ("int8.", Precision::Int8)];
    for (channels, hops) in BATCHES {
        let what = if hops > 1 { "file".to_owned() } else { format!("{channels}ch") };
        let pool = limits::pool(1)?;
        let mut group = vec![limits::multiply_add("fma.1t".to_owned(), &pool)];
        for (model_name, model) in &models {
            for (precision_name, precision) in precisions {
                let work = Denoising::new(&one, model, precision, channels, hops)?;
                let name = format!("denoise.{model_name}.{precision_name}{what}.1t");
                let mut member = of_work(name, work);
                // What multiplies bytes has another limit.
                if precision != Precision::Int8 {
                    let flops = 2.0 * model.description().multiply_adds_per_s();
                    member = member.of("fma.1t", flops);
                }
                group.push(if *model_name == "builtin" && cfg!(feature = "peers") {
                    member.vs("nnnoiseless")
                } else {
                    member
                });
            }
        }
        if channels == 256 && cores > 1 {
            let work = Denoising::new(&all, &models[0].1, Precision::F32, channels, hops)?;
            group.push(of_work(format!("denoise.dtln.{what}.{cores}t"), work));
        }
        #[cfg(feature = "peers")]
        {
            let mut peer = rust_peers::NnNoiseless::new();
            group.push(Member::peer("nnnoiseless", "channels", rust_peers::NnNoiseless::SECONDS, move || peer.run()));
        }
        bench.group(group)?;
    }
    Ok(())
}

fn of_work(name: String, mut work: Denoising) -> Member<'static> {
    Member::own(name, "channels", work.seconds, move || work.run())
}

/// One stream as fast as it takes samples in, which a live source has just written: from a cache.
pub(super) fn ingest(bench: &mut Bench) -> Result<()> {
    let engine = cpu(bench.cores)?;
    let plan = engine.compile(&pipeline_graph(FilterMode::Seamless))?;
    for sparse in [99, 50] {
        let samples = Arc::new(signal(256, sparse));
        let pool = limits::pool(1)?;
        let (engine, plan, of_stream) = (&engine, &plan, Arc::clone(&samples));
        let own = Member::own_turn(format!("ingest.sparse{sparse}"), "frames/s", move |_| {
            let round = ingest::round(engine, plan, &of_stream, &ingest::Pushing { len: 65_536, ring: 1024 })?;
            Ok(ingest::FRAMES as f64 / round.all.as_secs_f64())
        });
        bench.group(vec![
            limits::stream("stream.cached.1t".to_owned(), &samples, &pool),
            own.of("stream.cached.1t", FRAME_BYTES),
        ])?;
    }
    Ok(())
}
