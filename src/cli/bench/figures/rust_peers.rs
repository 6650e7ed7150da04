//! Peers in this process: what a Rust programmer would write without us.

use std::sync::Arc;

use anyhow::Result;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner, num_complex::Complex};

use super::work::FRAME_LEN;
use crate::{GOLDEN_RATIO, HostBuffer};

/// The gate that everybody writes first.
pub(super) fn fold_gate(samples: &[f32]) -> usize {
    let frames = samples.chunks_exact(FRAME_LEN);
    frames.filter(|frame| frame.iter().fold(0.0_f32, |max, x| max.max(x.abs())) > 0.001).count()
}

/// A gate whose loop the compiler can turn into vectors.
fn is_live(frame: &[f32]) -> bool {
    let mut largest = [0_u32; 64];
    for round in frame.chunks_exact(64) {
        largest.iter_mut().zip(round).for_each(|(max, x)| *max = (*max).max(x.to_bits() & 0x7fff_ffff));
    }
    largest.into_iter().max().unwrap_or(0) > 0.001_f32.to_bits()
}

fn response(bin: usize) -> f32 {
    let k = bin as f64 / FRAME_LEN as f64;
    #[expect(clippy::cast_possible_truncation, reason = "rounded on purpose")]
    let response = (1.0 / (1.0 + GOLDEN_RATIO * k * k) / FRAME_LEN as f64) as f32;
    response
}

/// One frame at a time through realfft, its plan and its memory used again.
#[derive(Clone)]
pub(super) struct RealFft {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    response: Vec<f32>,
    samples: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl RealFft {
    pub(super) fn new() -> Self {
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

    fn frame(&mut self, frame: &[f32], out: &mut [f32]) -> Result<()> {
        self.samples.copy_from_slice(frame);
        let (spectrum, scratch) = (&mut self.spectrum, &mut self.scratch);
        self.forward.process_with_scratch(&mut self.samples, spectrum, scratch)?;
        spectrum.iter_mut().zip(&self.response).for_each(|(bin, response)| *bin *= *response);
        Ok(self.inverse.process_with_scratch(spectrum, out, scratch)?)
    }

    pub(super) fn all(&mut self, samples: &[f32], out: &mut [f32]) {
        for (frame, out) in samples.chunks_exact(FRAME_LEN).zip(out.chunks_exact_mut(FRAME_LEN)) {
            // Lengths are those of the plan, the only thing that could be wrong.
            self.frame(frame, out).ok();
        }
    }
}

/// Two frames at a time through rustfft, as real and imaginary part.
pub(super) struct RustFftPairs {
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    response: Vec<f32>,
    values: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl RustFftPairs {
    pub(super) fn new() -> Self {
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

    pub(super) fn all(&mut self, samples: &[f32], out: &mut [f32]) {
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
pub(super) struct GateAndRealFft {
    fft: RealFft,
    out: HostBuffer,
}

impl GateAndRealFft {
    /// Frames of a piece.
    const PIECE: usize = 256;

    pub(super) fn new(frames: usize) -> Self {
        Self { fft: RealFft::new(), out: HostBuffer::zeroed(frames * FRAME_LEN) }
    }

    pub(super) fn run(&mut self, pool: &rayon::ThreadPool, samples: &[f32]) -> usize {
        use rayon::prelude::{
            IndexedParallelIterator as _, ParallelIterator as _, ParallelSlice as _, ParallelSliceMut as _,
        };
        let pieces = samples.par_chunks(Self::PIECE * FRAME_LEN);
        let out = self.out.par_chunks_mut(Self::PIECE * FRAME_LEN);
        let work = |fft: &mut RealFft, (piece, out): (&[f32], &mut [f32])| {
            let live = piece.chunks_exact(FRAME_LEN).filter(|frame| is_live(frame));
            let mut count = 0;
            for (frame, out) in live.zip(out.chunks_exact_mut(FRAME_LEN)) {
                fft.frame(frame, out).ok();
                count += 1;
            }
            count
        };
        let fft = &self.fft;
        pool.install(|| pieces.zip(out).map_init(|| fft.clone(), work).sum())
    }
}

/// `RNNoise` in Rust, one channel at 48 kHz, as many as fit into a second one after the other.
#[cfg(feature = "peers")]
pub(super) struct NnNoiseless {
    state: Box<nnnoiseless::DenoiseState<'static>>,
    input: Vec<f32>,
    output: Vec<f32>,
}

#[cfg(feature = "peers")]
impl NnNoiseless {
    /// Frames of a call, 10 ms each.
    const FRAMES: usize = 100;
    /// Seconds of one channel.
    pub(super) const SECONDS: f64 = 1.0;

    pub(super) fn new() -> Self {
        let len = Self::FRAMES * nnnoiseless::FRAME_SIZE;
        // It wants samples as large as those of 16 bits.
        let input = (0..len).map(|n| 3000.0 * (n as f32 * 0.13).sin()).collect();
        Self { state: nnnoiseless::DenoiseState::new(), input, output: vec![0.0; nnnoiseless::FRAME_SIZE] }
    }

    pub(super) fn run(&mut self) {
        for frame in self.input.chunks_exact(nnnoiseless::FRAME_SIZE) {
            std::hint::black_box(self.state.process_frame(&mut self.output, frame));
        }
    }
}
