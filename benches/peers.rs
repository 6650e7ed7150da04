//! What the figures are held against: how fast memory can be read at all, and what a user would write without us.

use std::sync::Arc;

use auricle::{GOLDEN_RATIO, HostBuffer};
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner, num_complex::Complex};

use crate::workload::FRAME_LEN;

/// Reads all of `samples` on `threads` threads, and does no more with it than it must.
pub fn read_stream(pool: &rayon::ThreadPool, samples: &[f32]) -> u32 {
    let threads = pool.current_num_threads();
    if threads == 1 {
        return read(samples);
    }
    // Both threads walk through the same megabytes: two streams far apart are no faster, and a static half each would
    // measure the slower core.
    let pieces = samples.chunks(1 << 20);
    pool.install(|| {
        use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};
        let pieces: Vec<&[f32]> = pieces.collect();
        pieces.into_par_iter().map(read).reduce(|| 0, |a, b| a | b)
    })
}

/// The faster of two ways: with the help of prefetches, as the gate reads.
#[cfg(target_arch = "x86_64")]
fn read(samples: &[f32]) -> u32 {
    if is_x86_feature_detected!("avx512f") {
        #[expect(unsafe_code, reason = "calls a function that needs AVX-512")]
        // SAFETY: the CPU was asked.
        return unsafe { read_avx512(samples) };
    }
    if is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "calls a function that needs AVX2")]
        // SAFETY: the CPU was asked.
        return unsafe { read_wide(samples) };
    }
    read_wide_portable(samples)
}

#[cfg(not(target_arch = "x86_64"))]
fn read(samples: &[f32]) -> u32 {
    read_wide_portable(samples)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn read_avx512(samples: &[f32]) -> u32 {
    use std::arch::x86_64 as x86;
    /// Eight lines a round, each with its own sum; the lines 4 KiB on are asked for.
    const ROUND: usize = 8 * 16;
    let mut sums = [x86::_mm512_setzero_si512(); 8];
    for round in samples.chunks_exact(ROUND) {
        for (i, sum) in sums.iter_mut().enumerate() {
            let line = round[16 * i..].as_ptr();
            #[expect(unsafe_code, reason = "SIMD loads")]
            // SAFETY: 16 floats from here lie in the round; a prefetch reads nothing.
            let loaded = unsafe {
                x86::_mm_prefetch::<{ x86::_MM_HINT_T0 }>(line.wrapping_add(1024).cast());
                x86::_mm512_loadu_si512(line.cast())
            };
            *sum = x86::_mm512_or_si512(*sum, loaded);
        }
    }
    let all = sums.into_iter().fold(x86::_mm512_setzero_si512(), |a, b| x86::_mm512_or_si512(a, b));
    x86::_mm512_reduce_or_epi32(all).cast_unsigned()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn read_wide(samples: &[f32]) -> u32 {
    read_wide_portable(samples)
}

#[inline(always)]
fn read_wide_portable(samples: &[f32]) -> u32 {
    let mut sums = [0_u32; 64];
    for round in samples.chunks_exact(64) {
        sums.iter_mut().zip(round).for_each(|(sum, sample)| *sum |= sample.to_bits());
    }
    sums.into_iter().fold(0, |a, b| a | b)
}

/// The gate that everybody writes first.
pub fn fold_gate(samples: &[f32]) -> usize {
    samples
        .chunks_exact(FRAME_LEN)
        .filter(|frame| frame.iter().fold(0.0_f32, |max, x| max.max(x.abs())) > 0.001)
        .count()
}

/// A gate whose loop the compiler can turn into vectors.
pub fn is_live(frame: &[f32]) -> bool {
    let mut largest = [0_u32; 64];
    for round in frame.chunks_exact(64) {
        largest.iter_mut().zip(round).for_each(|(max, x)| *max = (*max).max(x.to_bits() & 0x7fff_ffff));
    }
    largest.into_iter().max().unwrap_or(0) > 0.001_f32.to_bits()
}

fn response(bin: usize) -> f32 {
    let k = bin as f64 / FRAME_LEN as f64;
    (1.0 / (1.0 + GOLDEN_RATIO * k * k) / FRAME_LEN as f64) as f32
}

/// One frame at a time through realfft, its plan and its memory used again.
pub struct RealFft {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    response: Vec<f32>,
    samples: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl RealFft {
    pub fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(FRAME_LEN), planner.plan_fft_inverse(FRAME_LEN));
        Self {
            response: (0..=FRAME_LEN / 2).map(response).collect(),
            samples: forward.make_input_vec(),
            spectrum: forward.make_output_vec(),
            scratch: vec![Complex::default(); forward.get_scratch_len().max(inverse.get_scratch_len())],
            forward,
            inverse,
        }
    }

    pub fn frame(&mut self, frame: &[f32], out: &mut [f32]) {
        self.samples.copy_from_slice(frame);
        let (spectrum, scratch) = (&mut self.spectrum, &mut self.scratch);
        self.forward.process_with_scratch(&mut self.samples, spectrum, scratch).expect("lengths should fit");
        spectrum.iter_mut().zip(&self.response).for_each(|(bin, response)| *bin *= *response);
        self.inverse.process_with_scratch(spectrum, out, scratch).expect("lengths should fit");
    }

    pub fn all(&mut self, samples: &[f32], out: &mut [f32]) {
        let frames = samples.chunks_exact(FRAME_LEN).zip(out.chunks_exact_mut(FRAME_LEN));
        frames.for_each(|(frame, out)| self.frame(frame, out));
    }
}

/// Two frames at a time through rustfft, as real and imaginary part.
pub struct RustFftPairs {
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    response: Vec<f32>,
    values: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl RustFftPairs {
    pub fn new() -> Self {
        let mut planner = FftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(FRAME_LEN), planner.plan_fft_inverse(FRAME_LEN));
        let scratch = forward.get_inplace_scratch_len().max(inverse.get_inplace_scratch_len());
        Self {
            response: (0..FRAME_LEN).map(|bin| response(bin.min(FRAME_LEN - bin))).collect(),
            values: vec![Complex::default(); FRAME_LEN],
            scratch: vec![Complex::default(); scratch],
            forward,
            inverse,
        }
    }

    pub fn all(&mut self, samples: &[f32], out: &mut [f32]) {
        for (pair, out) in samples.chunks_exact(2 * FRAME_LEN).zip(out.chunks_exact_mut(2 * FRAME_LEN)) {
            let (a, b) = pair.split_at(FRAME_LEN);
            self.values.iter_mut().zip(a.iter().zip(b)).for_each(|(value, (a, b))| *value = Complex::new(*a, *b));
            self.forward.process_with_scratch(&mut self.values, &mut self.scratch);
            self.values.iter_mut().zip(&self.response).for_each(|(bin, response)| *bin *= *response);
            self.inverse.process_with_scratch(&mut self.values, &mut self.scratch);
            let (a, b) = out.split_at_mut(FRAME_LEN);
            a.iter_mut().zip(b).zip(&self.values).for_each(|((a, b), value)| (*a, *b) = (value.re, value.im));
        }
    }
}

/// Gate and realfft on all threads, live frames written side by side within each piece: what a good Rust programmer
/// has after an afternoon.
pub struct GateAndRealFft {
    out: HostBuffer,
}

impl GateAndRealFft {
    /// Frames of a piece.
    const PIECE: usize = 256;

    pub fn new(frames: usize) -> Self {
        Self { out: HostBuffer::zeroed(frames * FRAME_LEN) }
    }

    pub fn run(&mut self, pool: &rayon::ThreadPool, samples: &[f32]) -> usize {
        use rayon::prelude::ParallelSliceMut as _;
        use rayon::prelude::{IndexedParallelIterator as _, ParallelIterator as _, ParallelSlice as _};
        let pieces = samples.par_chunks(Self::PIECE * FRAME_LEN);
        let out = self.out.par_chunks_mut(Self::PIECE * FRAME_LEN);
        let work = |fft: &mut RealFft, (piece, out): (&[f32], &mut [f32])| {
            let live = piece.chunks_exact(FRAME_LEN).filter(|frame| is_live(frame));
            let mut count = 0;
            for (frame, out) in live.zip(out.chunks_exact_mut(FRAME_LEN)) {
                fft.frame(frame, out);
                count += 1;
            }
            count
        };
        pool.install(|| pieces.zip(out).map_init(RealFft::new, work).sum())
    }
}
