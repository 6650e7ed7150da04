//! The log-spectral amplitude estimator of Ephraim and Malah: the strongest of the classical methods here.

use super::exp_integral::e1;
use super::frames::Frames;
use crate::quality::QualityError;

const NAME: &str = "log-MMSE";

/// Frames at the start that are taken for noise: 0.12 s.
const NOISE_FRAMES: usize = 6;
/// How much of the last frame's estimate goes into the a-priori SNR: the decision-directed approach.
const PRIOR_SMOOTHING: f64 = 0.98;
/// -25 dB.
const LOWEST_PRIOR: f64 = 0.003_162_277_660_168_379_4;
const HIGHEST_POSTERIOR: f64 = 40.0;
/// Frames with less evidence of speech than this update the noise.
const SPEECH_EVIDENCE: f64 = 0.15;
const NOISE_SMOOTHING: f64 = 0.98;
/// The gain has a pole at 0, where there is nothing to amplify.
const LEAST_V: f64 = 1e-10;

/// Minimum mean-square error estimate of the log-spectral amplitude: a baseline, see the module.
///
/// For each bin, with the noise power `N`, `gamma = |X|^2 / N` (at most 40), the a-priori SNR
/// `xi = 0.98 A_prev^2 / N + 0.02 max(gamma - 1, 0)` (at least -25 dB), where `A_prev` is the last frame's estimate, and
/// `v = gamma xi / (1 + xi)`:
///
/// ```text
/// gain = xi / (1 + xi) * exp( E1(v) / 2 )
/// ```
///
/// after Y. Ephraim and D. Malah, "Speech enhancement using a minimum mean-square error log-spectral amplitude
/// estimator", IEEE Trans. ASSP 33(2), 1985. Frames, noise and constants are those of `logmmse.m` in P. Loizou, "Speech
/// Enhancement", 2nd ed., CRC Press 2013: the noise is learnt from the first six frames of 20 ms, and moved by 2 % of
/// the difference in frames in which the mean of `gamma xi / (1 + xi) - ln(1 + xi)` says that nobody speaks.
///
/// # Inputs
/// One channel at `rate_hz` samples per second, at any level, which begins with 0.12 s of noise alone.
///
/// # Output
/// As many samples, at the same level and time.
///
/// # Errors
/// [`QualityError`] when a sample is not finite, and when the rate is below 1 kHz or above 768 kHz.
pub fn log_mmse(noisy: &[f32], rate_hz: u32) -> Result<Vec<f32>, QualityError> {
    let mut frames = Frames::new(NAME, noisy, rate_hz)?;
    let mut state = State::new(frames.noise_from_start(NOISE_FRAMES));
    Ok(frames.filter(|powers, gains| state.step(powers, gains)))
}

struct State {
    noise: Vec<f64>,
    /// The power of the last frame's estimate; none before the first.
    estimate: Option<Vec<f64>>,
    prior: Vec<f64>,
    posterior: Vec<f64>,
}

impl State {
    fn new(noise: Vec<f64>) -> Self {
        let bins = noise.len();
        Self { noise, estimate: None, prior: vec![0.0; bins], posterior: vec![0.0; bins] }
    }

    fn step(&mut self, powers: &[f64], gains: &mut [f64]) {
        self.judge(powers);
        if self.speech_evidence() < SPEECH_EVIDENCE {
            let update = |(noise, power): (&mut f64, &f64)| {
                *noise = NOISE_SMOOTHING * *noise + (1.0 - NOISE_SMOOTHING) * power;
            };
            self.noise.iter_mut().zip(powers).for_each(update);
        }
        let snrs = self.prior.iter().zip(&self.posterior);
        gains.iter_mut().zip(snrs).for_each(|(gain, (prior, posterior))| *gain = log_gain(*prior, *posterior));
        self.estimate = Some(powers.iter().zip(gains).map(|(power, gain)| power * *gain * *gain).collect());
    }

    /// Both SNRs of every bin.
    fn judge(&mut self, powers: &[f64]) {
        for (bin, (power, noise)) in powers.iter().zip(&self.noise).enumerate() {
            let posterior = (power / noise).min(HIGHEST_POSTERIOR);
            let before = self.estimate.as_ref().map_or(1.0, |estimate| estimate[bin] / noise);
            let prior = PRIOR_SMOOTHING * before + (1.0 - PRIOR_SMOOTHING) * (posterior - 1.0).max(0.0);
            self.prior[bin] = prior.max(LOWEST_PRIOR);
            self.posterior[bin] = posterior;
        }
    }

    /// The mean log-likelihood ratio of speech against noise, over the samples of a frame: of its bins twice, as
    /// `logmmse.m` sums both halves of a spectrum that is twice as long as the frame.
    fn speech_evidence(&self) -> f64 {
        let snrs = self.prior.iter().zip(&self.posterior);
        let ratios = snrs.map(|(prior, posterior)| posterior * prior / (1.0 + prior) - prior.ln_1p());
        2.0 * ratios.sum::<f64>() / self.prior.len() as f64
    }
}

fn log_gain(prior: f64, posterior: f64) -> f64 {
    let wiener = prior / (1.0 + prior);
    wiener * (0.5 * e1((wiener * posterior).max(LEAST_V))).exp()
}
