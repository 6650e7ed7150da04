//! Spectral subtraction: the oldest method, and the least to beat.

use super::frames::Frames;
use crate::quality::QualityError;

const NAME: &str = "spectral subtraction";

/// Frames at the start that are taken for noise: 0.1 s.
const NOISE_FRAMES: usize = 5;
/// What is left at least, in parts of the noise power.
const FLOOR: f64 = 0.002;
/// Frames with a lower SNR than this update the noise.
const SPEECH_SNR_DB: f64 = 3.0;
const NOISE_SMOOTHING: f64 = 0.9;

/// Power spectral subtraction with over-subtraction and a floor: a baseline, see the module.
///
/// With the noise power `N` of each bin, and the SNR of a frame over all bins in dB,
///
/// ```text
/// |Y|^2 = max( |X|^2 - a N, 0.002 N ),   a = 4 - 3/20 SNR, kept within 1 and 5,   with the phase of X
/// ```
///
/// after S. F. Boll, "Suppression of acoustic noise in speech using spectral subtraction", IEEE Trans. ASSP 27(2), 1979,
/// and M. Berouti, R. Schwartz and J. Makhoul, "Enhancement of speech corrupted by acoustic noise", ICASSP 1979. Frames,
/// noise and constants are those of `specsub.m` in P. Loizou, "Speech Enhancement", 2nd ed., CRC Press 2013: the noise
/// is learnt from the first five frames of 20 ms, and moved by 10 % of the difference in frames below 3 dB.
///
/// # Inputs
/// One channel at `rate_hz` samples per second, at any level, which begins with 0.1 s of noise alone.
///
/// # Output
/// As many samples, at the same level and time.
///
/// # Errors
/// [`QualityError`] when a sample is not finite, and when the rate is below 1 kHz or above 768 kHz.
pub fn spectral_subtraction(noisy: &[f32], rate_hz: u32) -> Result<Vec<f32>, QualityError> {
    let mut frames = Frames::new(NAME, noisy, rate_hz)?;
    let mut noise = frames.noise_from_start(NOISE_FRAMES);
    Ok(frames.filter(|powers, gains| step(&mut noise, powers, gains)))
}

fn step(noise: &mut [f64], powers: &[f64], gains: &mut [f64]) {
    let snr_db = 10.0 * (powers.iter().sum::<f64>() / noise.iter().sum::<f64>()).log10();
    let over = (4.0 - 3.0 / 20.0 * snr_db).clamp(1.0, 5.0);
    for ((gain, power), noise) in gains.iter_mut().zip(powers).zip(noise.iter()) {
        let left = (power - over * noise).max(FLOOR * noise);
        // A bin that is quieter than the floor stays as it is.
        *gain = (left / power).sqrt().min(1.0);
    }
    if snr_db < SPEECH_SNR_DB {
        let update = |(noise, power): (&mut f64, &f64)| {
            *noise = NOISE_SMOOTHING * *noise + (1.0 - NOISE_SMOOTHING) * power;
        };
        noise.iter_mut().zip(powers).for_each(update);
    }
}
