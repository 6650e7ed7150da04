//! What the baselines share: frames of a signal, a gain for every bin of their spectra, and the way back.

use rustfft::num_complex::Complex;

use crate::quality::fft::RealFft;
use crate::quality::{QualityError, check_finite, check_rate, samples_from_ms};

const FRAME_MS: f64 = 20.0;

/// A signal cut into half-overlapping frames, under a Hann window that adds up to 1.
pub(super) struct Frames {
    samples: Vec<f64>,
    window: Vec<f64>,
    hop: usize,
    fft: RealFft,
    /// Twice as long as a frame; the second half is zeros.
    time: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    powers: Vec<f64>,
    gains: Vec<f64>,
}

impl Frames {
    pub(super) fn new(baseline: &'static str, noisy: &[f32], rate_hz: u32) -> Result<Self, QualityError> {
        check_rate(baseline, rate_hz)?;
        check_finite(baseline, "noisy signal", noisy)?;
        let hop = samples_from_ms(FRAME_MS / 2.0, rate_hz);
        let fft = RealFft::new(4 * hop);
        let (time, spectrum) = (vec![0.0; fft.len()], vec![Complex::default(); fft.bins()]);
        let bins = spectrum.len();
        let angle = |n: usize| std::f64::consts::PI * (n as f64 + 0.5) / hop as f64;
        let window = (0..2 * hop).map(|n| 0.5 - 0.5 * angle(n).cos()).collect();
        let samples = noisy.iter().map(|x| f64::from(*x)).collect();
        Ok(Self { samples, window, hop, fft, time, spectrum, powers: vec![0.0; bins], gains: vec![0.0; bins] })
    }

    /// The squared mean magnitude of each bin over the first `count` frames, one after the other: the first idea of the
    /// noise. A shorter signal is filled up with zeros.
    pub(super) fn noise_from_start(&mut self, count: usize) -> Vec<f64> {
        let mut means = vec![0.0; self.powers.len()];
        for index in 0..count {
            self.analyse(2 * index * self.hop, 0);
            means.iter_mut().zip(&self.powers).for_each(|(mean, power)| *mean += power.sqrt() / count as f64);
        }
        means.into_iter().map(|mean| (mean * mean).max(SILENCE)).collect()
    }

    /// The whole signal, each frame's spectrum multiplied by the gains that `rule` writes from its powers.
    pub(super) fn filter(mut self, mut rule: impl FnMut(&[f64], &mut [f64])) -> Vec<f32> {
        let len = self.samples.len();
        // The first frame begins half a frame early, so that every sample lies in two.
        let mut cleaned = vec![0.0; len + 3 * self.hop];
        for begin in (0..len + self.hop).step_by(self.hop) {
            self.analyse(begin, self.hop);
            rule(&self.powers, &mut self.gains);
            self.synthesise(&mut cleaned[begin..begin + 2 * self.hop]);
        }
        #[expect(clippy::cast_possible_truncation, reason = "samples are f32 again")]
        cleaned[self.hop..self.hop + len].iter().map(|x| *x as f32).collect()
    }

    /// The spectrum of the frame that begins `early` samples before `begin`.
    fn analyse(&mut self, begin: usize, early: usize) {
        self.time.fill(0.0);
        for (n, (x, w)) in self.time.iter_mut().zip(&self.window).enumerate() {
            let sample = (begin + n).checked_sub(early).and_then(|index| self.samples.get(index));
            *x = w * sample.copied().unwrap_or(0.0);
        }
        self.fft.spectrum(&self.time, &mut self.spectrum);
        self.powers.iter_mut().zip(&self.spectrum).for_each(|(power, x)| *power = x.norm_sqr());
    }

    fn synthesise(&mut self, out: &mut [f64]) {
        self.spectrum.iter_mut().zip(&self.gains).for_each(|(x, gain)| *x *= *gain);
        self.fft.samples(&self.spectrum, &mut self.time);
        let scale = 1.0 / self.time.len() as f64;
        out.iter_mut().zip(&self.time).for_each(|(out, x)| *out += scale * x);
    }
}

/// A noise of nothing would be divided by; this is far below the last bit of any recording.
const SILENCE: f64 = 1e-20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_of_one_changes_nothing() {
        for (len, rate_hz) in [(0, 8_000), (1, 16_000), (5, 11_025), (997, 44_100), (16_000, 16_000)] {
            let samples: Vec<f32> = (0..len).map(|n| (n as f32 * 0.3).sin()).collect();
            let frames = Frames::new("test", &samples, rate_hz).unwrap();
            let same = frames.filter(|_, gains| gains.fill(1.0));
            assert_eq!(same.len(), samples.len(), "{len} samples at {rate_hz} Hz");
            let worst = same.iter().zip(&samples).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-6, "{len} samples at {rate_hz} Hz are off by {worst}");
        }
    }
}
