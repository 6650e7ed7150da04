//! Short-time power spectra, for the measures that look at frequencies.

use std::sync::Arc;

use realfft::RealToComplex;
use realfft::num_complex::Complex;

/// A symmetric Hann window without its two zeros, as MATLAB's `hanning(len)`.
pub(super) fn hann(len: usize) -> Vec<f64> {
    let step = std::f64::consts::TAU / (len + 1) as f64;
    (1..=len).map(|n| 0.5 - 0.5 * (step * n as f64).cos()).collect()
}

/// Turns frames under a Hann window into `|X|^2`, unscaled, bins 0 to half the rate.
pub(super) struct PowerSpectrum {
    window: Vec<f64>,
    fft: Arc<dyn RealToComplex<f64>>,
    frame: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    powers: Vec<f64>,
}

impl PowerSpectrum {
    /// For frames of `frame_len` samples, filled up with zeros to `fft_len`.
    pub(super) fn new(frame_len: usize, fft_len: usize) -> Self {
        let fft = realfft::RealFftPlanner::new().plan_fft_forward(fft_len);
        let (frame, spectrum, scratch) = (fft.make_input_vec(), fft.make_output_vec(), fft.make_scratch_vec());
        let powers = vec![0.0; spectrum.len()];
        Self { window: hann(frame_len), fft, frame, spectrum, scratch, powers }
    }

    /// Of the frame at the start of `samples`.
    #[expect(clippy::expect_used, reason = "the buffers were made by the transform itself")]
    pub(super) fn of(&mut self, samples: &[f64]) -> &[f64] {
        let (head, tail) = self.frame.split_at_mut(self.window.len());
        for ((x, w), sample) in head.iter_mut().zip(&self.window).zip(samples) {
            *x = w * sample;
        }
        tail.fill(0.0);
        let (fft, scratch) = (&self.fft, &mut self.scratch);
        fft.process_with_scratch(&mut self.frame, &mut self.spectrum, scratch).expect("the buffers should fit");
        self.powers.iter_mut().zip(&self.spectrum).for_each(|(power, x)| *power = x.norm_sqr());
        &self.powers
    }
}
