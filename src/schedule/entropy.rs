//! How uncertain a signal is, and the level of service that this suggests.

use std::f32::consts::TAU;

use realfft::RealFftPlanner;

use crate::qos::Qos;

/// Samples of the windows of which the spectrum is the mean.
const WINDOW_LEN: usize = 1024;
/// Above this, a signal is uncertain: nothing in its spectrum stands out.
const UNCERTAIN: f32 = 0.8;
/// Below this, it is ordered: a few lines hold it all.
const ORDERED: f32 = 0.4;

/// The level that a signal should be worked on with, by its [spectral entropy](spectral_entropy).
///
/// [`Qos::High`] above 0.8, so that what is uncertain is looked at soon; [`Qos::Low`] below 0.4, since what is ordered can
/// wait; else [`Qos::Default`], also where there is no telling.
///
/// ```
/// use auricle::{Qos, qos_from_entropy};
/// let tone: Vec<f32> = (0..4096).map(|n| (n as f32 * 0.3).sin()).collect();
/// assert_eq!(qos_from_entropy(&tone), Qos::Low);
/// ```
pub fn qos_from_entropy(samples: &[f32]) -> Qos {
    Qos::from_entropy(spectral_entropy(samples))
}

impl Qos {
    /// The level for a [`spectral_entropy`] or an [`entropy_of_powers`]: see [`qos_from_entropy`].
    pub fn from_entropy(entropy: Option<f32>) -> Self {
        match entropy {
            Some(entropy) if entropy > UNCERTAIN => Self::High,
            Some(entropy) if entropy < ORDERED => Self::Low,
            _ => Self::Default,
        }
    }
}

/// The normalised entropy of a real signal's spectrum, 0 to 1.
///
/// It is [that](entropy_of_powers) of the mean power of windows of 1024 samples (Hann, half overlapping), or of one window
/// where there are fewer. A tone has 0.2 or less, white noise 0.93 in a single window and 0.99 in many.
///
/// None for less than 16 samples, for silence, and where a sample is not finite.
pub fn spectral_entropy(samples: &[f32]) -> Option<f32> {
    let len = WINDOW_LEN.min(samples.len());
    if len < 16 || samples.iter().any(|sample| !sample.is_finite()) {
        return None;
    }
    // Louder than any square could stand.
    let peak = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    let weights: Vec<f32> = (0..len).map(|n| 0.5 - 0.5 * (TAU * n as f32 / len as f32).cos()).collect();
    let transform = RealFftPlanner::new().plan_fft_forward(len);
    let (mut window, mut bins) = (transform.make_input_vec(), transform.make_output_vec());
    let mut powers = vec![0.0_f32; bins.len()];
    for start in (0..=samples.len() - len).step_by((len / 2).max(1)) {
        for ((to, sample), weight) in window.iter_mut().zip(&samples[start..]).zip(&weights) {
            *to = sample / peak * weight;
        }
        transform.process(&mut window, &mut bins).ok()?;
        powers.iter_mut().zip(&bins).for_each(|(power, bin)| *power += bin.norm_sqr());
    }
    entropy_of_powers(&powers)
}

/// The normalised entropy of powers, 0 to 1: `-sum p ln p / ln n` (Shannon 1948).
///
/// p is the part that each of the n powers has of their sum: 1 when all are equal, 0 when one has everything.
///
/// None for less than two powers, where one is negative or not finite, and where all are zero.
pub fn entropy_of_powers(powers: &[f32]) -> Option<f32> {
    let usable = powers.len() > 1 && powers.iter().all(|power| *power >= 0.0 && power.is_finite());
    let sum: f64 = powers.iter().map(|power| f64::from(*power)).sum();
    if !usable || sum <= 0.0 {
        return None;
    }
    let part = |power: &f32| f64::from(*power) / sum;
    let entropy: f64 = powers.iter().map(part).filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum();
    #[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
    let normalised = (entropy / (powers.len() as f64).ln()).clamp(0.0, 1.0) as f32;
    Some(normalised)
}
