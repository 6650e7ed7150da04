//! How the filter scales: with the batch, with cores, with the length of frames.

use anyhow::Result;

use super::Bench;
use super::turns::Member;
use super::work::{FRAME_LEN, Work, cpu, filter_graph, signal};
use crate::cli::bench::signal::gated_noise;
use crate::{FilterMode, Layout};

/// Frames of a batch, by four from one to 65,536.
const BATCHES: [usize; 9] = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536];
const LENGTHS: [usize; 7] = [64, 128, 256, 512, 1024, 2048, 4096];

pub(super) fn curves(bench: &mut Bench) -> Result<()> {
    let samples = signal(BATCHES[BATCHES.len() - 1], 0);
    let (engine, graph) = (cpu(bench.cores)?, filter_graph(FRAME_LEN, FilterMode::Block));
    let mut group = Vec::new();
    for frames in BATCHES {
        let mut work = Work::new(&engine, &graph, Layout::Dense)?;
        let part = &samples[..frames * FRAME_LEN];
        group.push(Member::own(format!("curve.batch.{frames}"), "frames/s", frames as f64, move || work.run(part)));
    }
    bench.group(group)?;

    let part = &samples[..4096 * FRAME_LEN];
    let mut group = Vec::new();
    for threads in threads_up_to(bench.cores) {
        let mut work = Work::new(&cpu(threads)?, &graph, Layout::Dense)?;
        group.push(Member::own(format!("curve.threads.{threads}"), "frames/s", 4096.0, move || work.run(part)));
    }
    bench.group(group)?;

    let mut group = Vec::new();
    let one = cpu(1)?;
    for len in LENGTHS {
        let frames = (128 * FRAME_LEN / len).max(1);
        let samples = gated_noise(frames, len, 0);
        let mut work = Work::new(&one, &filter_graph(len, FilterMode::Block), Layout::Dense)?;
        let member =
            Member::own(format!("curve.length.{len}"), "samples/s", (frames * len) as f64, move || work.run(&samples));
        group.push(member);
    }
    bench.group(group)
}

/// 1, 2, 4 and so on, and all.
fn threads_up_to(cores: usize) -> Vec<usize> {
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |count| Some(count * 2)).take_while(|count| *count < cores).collect();
    counts.push(cores);
    counts
}
