//! What this machine can do at most: reading, copying and multiplying on its cores, and a device's memory.

use std::hint::black_box;

use anyhow::Result;
use rayon::prelude::{IndexedParallelIterator as _, ParallelIterator as _, ParallelSlice as _, ParallelSliceMut as _};

use super::turns::Member;
use crate::HostBuffer;
use crate::simd::{Simd, SimdLevel, Vector as _, Work};

/// Bytes of a float.
const FLOAT: f64 = 4.0;

pub(super) fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?)
}

/// Reading samples and doing no more with them than it must, in bytes per second.
pub(super) fn stream<'a>(name: String, samples: &'a [f32], threads: &'a rayon::ThreadPool) -> Member<'a> {
    let level = SimdLevel::detect();
    Member::limit(name, "bytes/s", FLOAT * samples.len() as f64, move || {
        let read = |samples: &[f32]| level.run(Read { samples });
        if threads.current_num_threads() == 1 {
            black_box(read(samples));
            return Ok(());
        }
        // All threads walk through the same megabytes: streams far apart are no faster, and equal shares would measure the
        // slowest core.
        let sum: f32 = threads.install(|| samples.par_chunks(chunk(samples.len(), threads)).map(read).sum());
        black_box(sum);
        Ok(())
    })
}

/// Floats that a thread takes at a time: some megabytes, but so few that there are many for each thread.
fn chunk(len: usize, threads: &rayon::ThreadPool) -> usize {
    (len / (16 * threads.current_num_threads())).clamp(1 << 14, 1 << 20)
}

/// Copying samples: bytes read and bytes written, per second.
pub(super) fn copy<'a>(
    name: String,
    samples: &'a [f32],
    to: &'a mut HostBuffer,
    threads: &'a rayon::ThreadPool,
) -> Member<'a> {
    let len = samples.len().min(to.len());
    Member::limit(name, "bytes/s", 2.0 * FLOAT * len as f64, move || {
        threads.install(|| {
            let to = to[..len].par_chunks_mut(chunk(len, threads));
            to.zip(samples[..len].par_chunks(chunk(len, threads))).for_each(|(to, from)| to.copy_from_slice(from));
        });
        Ok(())
    })
}

/// Multiplications and additions of `f32` in registers, per second: two for each fused one.
pub(super) fn multiply_add(name: String, threads: &rayon::ThreadPool) -> Member<'_> {
    let level = SimdLevel::detect();
    let count = threads.current_num_threads();
    // So long that it does not matter when the last thread wakes.
    let times = if count == 1 { 1 } else { 50 };
    let flops = (count * times) as f64 * 2.0 * (ROUNDS * SUMS * level.lanes()) as f64;
    Member::limit(name, "flops/s", flops, move || {
        let sum: f32 = if count == 1 {
            level.run(MultiplyAdd)
        } else {
            let work = |_: rayon::BroadcastContext<'_>| (0..times).map(|_| level.run(MultiplyAdd)).sum::<f32>();
            threads.broadcast(work).into_iter().sum()
        };
        black_box(sum);
        Ok(())
    })
}

/// The largest of all samples, in eight vectors that do not wait for each other; the lines 4 KiB on are asked for, as the gate
/// does.
struct Read<'a> {
    samples: &'a [f32],
}

impl Work for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        const VECTORS: usize = 8;
        let mut sums = [simd.splat(0.0); VECTORS];
        for round in self.samples.chunks_exact(VECTORS * S::LANES) {
            for (index, sum) in sums.iter_mut().enumerate() {
                let part = &round[index * S::LANES..];
                if (index * S::LANES).is_multiple_of(16) {
                    simd.prefetch(part, 1024);
                }
                *sum = sum.max(simd.load(part));
            }
        }
        let mut first = [0.0; 64];
        let mut all = sums[0];
        for sum in &sums[1..] {
            all = all.max(*sum);
        }
        all.store(&mut first);
        first[0]
    }
}

/// So many sums at once hide how long one takes.
const SUMS: usize = 12;
const ROUNDS: usize = 100_000;

struct MultiplyAdd;

impl Work for MultiplyAdd {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let (factor, addend) = (simd.splat(black_box(0.999)), simd.splat(black_box(0.001)));
        let mut sums = [simd.splat(black_box(1.0)); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = sum.mul_add(factor, addend);
            }
        }
        let mut all = sums[0];
        for sum in &sums[1..] {
            all = all + *sum;
        }
        let mut first = [0.0; 64];
        all.store(&mut first);
        first[0]
    }
}
