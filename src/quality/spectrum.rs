//! Short-time power spectra, for the measures that look at frequencies.

use rustfft::num_complex::Complex;

use super::fft::RealFft;

/// A symmetric Hann window without its two zeros, as MATLAB's `hanning(len)`.
pub(super) fn hann(len: usize) -> Vec<f64> {
    let step = std::f64::consts::TAU / (len + 1) as f64;
    (1..=len).map(|n| 0.5 - 0.5 * (step * n as f64).cos()).collect()
}

/// Turns frames under a Hann window into `|X|^2`, unscaled, bins 0 to half the rate.
pub(super) struct PowerSpectrum {
    window: Vec<f64>,
    fft: RealFft,
    frame: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    powers: Vec<f64>,
}

impl PowerSpectrum {
    /// For frames of `frame_len` samples, filled up with zeros to `fft_len`.
    pub(super) fn new(frame_len: usize, fft_len: usize) -> Self {
        let fft = RealFft::new(fft_len);
        let (frame, spectrum) = (vec![0.0; fft.len()], vec![Complex::default(); fft.bins()]);
        let powers = vec![0.0; spectrum.len()];
        Self { window: hann(frame_len), fft, frame, spectrum, powers }
    }

    /// Of the frame at the start of `samples`.
    pub(super) fn of(&mut self, samples: &[f64]) -> &[f64] {
        let (head, tail) = self.frame.split_at_mut(self.window.len());
        for ((x, w), sample) in head.iter_mut().zip(&self.window).zip(samples) {
            *x = w * sample;
        }
        tail.fill(0.0);
        self.fft.spectrum(&self.frame, &mut self.spectrum);
        self.powers.iter_mut().zip(&self.spectrum).for_each(|(power, x)| *power = x.norm_sqr());
        &self.powers
    }
}
