//! How well delays come out: many pairs of a scene, every method on the same ones.

use num_complex::Complex32;
use rayon::prelude::*;
use serde::Serialize;

use super::bound::{cramer_rao, mean_spectrum};
use super::emitter::{Emitters, Heard, Origin, Scene};
use super::{DelayEstimator, Policy, weighting};
use crate::error::Result;
use crate::random::Random;
use crate::stage::fourier::{Fourier, Taper};

/// Pairs that are worked on at once: some 70 MiB with their spectra.
const AT_ONCE: usize = 2048;
/// Samples of pairs, with replacement, that a confidence interval is from.
const RESAMPLES: usize = 400;
const LEAST_RESAMPLES: usize = 80;
const MOST_DRAWN: usize = 20_000_000;
/// An error beyond this many samples counts as one that picked another peak.
const FAR_OFF: f32 = 1.0;
/// Streams of the seed for what is no pair.
const SPECTRUM_STREAM: u64 = u64::MAX;
const RESAMPLE_STREAM: u64 = u64::MAX - 1;

/// What weights the bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// Plain cross-correlation.
    CrossCorrelation,
    /// GCC-PHAT: every bin alike.
    Phat,
    /// Hannan and Thomson with estimated spectra.
    HannanThomson,
    /// The policy.
    Policy,
    /// Hannan and Thomson with the true mean spectrum, the true noise and the pair's true jammers, which no receiver knows.
    Oracle,
}

impl Method {
    pub(crate) const ALL: [Self; 5] =
        [Self::CrossCorrelation, Self::Phat, Self::HannanThomson, Self::Policy, Self::Oracle];
}

/// A number with the interval that it is in with a probability of 95 %.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// How a method did in a scene.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Score {
    pub(crate) method: Method,
    /// Root of the mean square of the errors, in samples.
    pub(crate) rmse: Estimate,
    /// Mean of their magnitudes, in samples.
    pub(crate) residual: f64,
    /// Share of the errors beyond one sample, from 0 to 1.
    pub(crate) far_off: Estimate,
}

/// A scene, and how every method did in it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) signal: String,
    pub(crate) jammer: bool,
    pub(crate) snr_db: f64,
    pub(crate) pairs: usize,
    /// The Cramer-Rao bound of a Gaussian signal with this spectrum in white noise alone, in samples; for frames without a
    /// taper.
    pub(crate) bound: f64,
    pub(crate) scores: Vec<Score>,
}

/// Tries all methods on the same pairs.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    pub(crate) estimator: &'a DelayEstimator,
    pub(crate) emitters: &'a Emitters,
    pub(crate) policy: &'a Policy,
    /// Pairs of each scene.
    pub(crate) pairs: usize,
    /// What the pairs follow from.
    pub(crate) seed: u64,
}

/// What is true of all signals of an origin: mean powers of its bins where the noise has the same power as the signal.
#[derive(Clone, Debug)]
pub(crate) struct Spectrum {
    /// As the methods see it, after the taper of their frames.
    tapered: Vec<f64>,
    plain: Vec<f64>,
}

impl Trial<'_> {
    /// The mean spectrum of signals from there.
    pub(crate) fn spectrum(&self, origin: &Origin) -> Spectrum {
        let options = self.estimator.options();
        let of = |taper| {
            let taper = Fourier::Forward(taper).weights(options.frame_len);
            mean_spectrum(self.emitters, origin, &taper, &mut Random::new(self.seed, SPECTRUM_STREAM))
        };
        Spectrum { tapered: of(options.taper), plain: of(Taper::Rectangular) }
    }

    /// How every method does in a scene; none when `is_enough` says so before it is known. `number` tells scenes apart, so
    /// that each has pairs of its own.
    pub(crate) fn scene(
        &self,
        scene: &Scene,
        spectrum: &Spectrum,
        number: u64,
        is_enough: &dyn Fn() -> bool,
    ) -> Result<Option<Row>> {
        let ratio = 10_f64.powf(scene.snr_db / 10.0);
        let seed = self.seed.wrapping_add(number << 32);
        let mut errors = vec![Vec::with_capacity(self.pairs); Method::ALL.len()];
        for begin in (0..self.pairs).step_by(AT_ONCE) {
            if is_enough() {
                return Ok(None);
            }
            let heard: Vec<Heard> = (begin..self.pairs.min(begin + AT_ONCE))
                .into_par_iter()
                .map(|pair| self.emitters.hear(scene, &mut Random::new(seed, pair as u64)))
                .collect();
            for (errors, estimates) in errors.iter_mut().zip(self.delays(&heard, spectrum, ratio)?) {
                #[expect(clippy::cast_possible_truncation, reason = "errors are in f32")]
                let error = |(estimate, pair): (f32, &Heard)| (f64::from(estimate) - pair.delay) as f32;
                errors.extend(estimates.into_iter().zip(&heard).map(error));
            }
        }
        let mut random = Random::new(seed, RESAMPLE_STREAM);
        let scores = Method::ALL.into_iter().zip(&errors).map(|(method, errors)| score(method, errors, &mut random));
        Ok(Some(Row {
            signal: scene.origin.name().to_owned(),
            jammer: scene.has_jammer,
            snr_db: scene.snr_db,
            pairs: self.pairs,
            bound: cramer_rao(&spectrum.plain.iter().map(|power| power * ratio).collect::<Vec<f64>>()),
            scores: scores.collect(),
        }))
    }

    /// The delays that each method finds.
    fn delays(&self, heard: &[Heard], spectrum: &Spectrum, ratio: f64) -> Result<Vec<Vec<f32>>> {
        let spectra = |of: fn(&Heard) -> &[Complex32]| {
            let frames: Vec<f32> = heard.iter().flat_map(of).flat_map(|z| [z.re, z.im]).collect();
            self.estimator.spectra(&frames)
        };
        let (first, second) = (spectra(|pair| &pair.first)?, spectra(|pair| &pair.second)?);
        let jammers = [spectra(|pair| &pair.jammers[0])?, spectra(|pair| &pair.jammers[1])?];
        let options = self.estimator.options();
        let floats = 2 * options.frame_len;
        #[expect(clippy::cast_possible_truncation, reason = "powers are in f32")]
        let signal: Vec<f32> = spectrum.tapered.iter().map(|power| (power * ratio) as f32).collect();
        // The power of white noise in a bin.
        #[expect(clippy::cast_possible_truncation, reason = "powers are in f32")]
        let white = Fourier::Forward(options.taper).weights(options.frame_len).iter().map(|w| w * w).sum::<f32>()
            / ratio as f32;
        let noise = |jammers: &[f32], pair: usize| -> Vec<f32> {
            match jammers.get(pair * floats..(pair + 1) * floats) {
                Some(jammer) => jammer.chunks_exact(2).map(|z| 1.0 + (z[0] * z[0] + z[1] * z[1]) / white).collect(),
                None => vec![1.0; options.frame_len],
            }
        };
        let all = Method::ALL.into_iter().map(|method| {
            let pairs = first.par_chunks(floats).zip(second.par_chunks(floats)).enumerate();
            let weights: Vec<Vec<f32>> = pairs
                .map(|(pair, (first, second))| match method {
                    Method::CrossCorrelation => weighting::cross_correlation(first, second),
                    Method::Phat => vec![1.0; options.frame_len],
                    Method::HannanThomson => weighting::estimated_hannan_thomson(first, second),
                    Method::Policy => self.policy.weights(first, second),
                    Method::Oracle => {
                        let [first_noise, second_noise] = [0, 1].map(|receiver| noise(&jammers[receiver], pair));
                        weighting::hannan_thomson(first, second, &signal, &first_noise, &second_noise)
                    }
                })
                .collect();
            let delays = self.estimator.delays(&first, &second, &weights.concat())?;
            Ok(delays.into_iter().map(|delay| delay.samples).collect())
        });
        all.collect()
    }
}

fn score(method: Method, errors: &[f32], random: &mut Random) -> Score {
    let count = errors.len() as f64;
    let squares: Vec<f64> = errors.iter().map(|&error| f64::from(error).powi(2)).collect();
    // Of very many, the mean is nearly normal whatever is resampled.
    let resamples = (MOST_DRAWN / squares.len()).clamp(LEAST_RESAMPLES, RESAMPLES);
    let mut resampled: Vec<f64> = (0..resamples)
        .map(|_| (squares.iter().map(|_| squares[random.below(squares.len())]).sum::<f64>() / count).sqrt())
        .collect();
    resampled.sort_unstable_by(f64::total_cmp);
    let far = errors.iter().filter(|error| error.is_nan() || error.abs() > FAR_OFF).count() as f64;
    Score {
        method,
        rmse: Estimate {
            value: (squares.iter().sum::<f64>() / count).sqrt(),
            low: resampled[resamples / 40],
            high: resampled[resamples - 1 - resamples / 40],
        },
        residual: errors.iter().map(|&error| f64::from(error.abs())).sum::<f64>() / count,
        far_off: wilson(far, count),
    }
}

/// Wilson's interval of a share.
fn wilson(hits: f64, count: f64) -> Estimate {
    const DEVIATIONS: f64 = 1.959_964;
    let (share, z) = (hits / count, DEVIATIONS * DEVIATIONS / count);
    let middle = (share + 0.5 * z) / (1.0 + z);
    let half = DEVIATIONS * (share * (1.0 - share) / count + 0.25 * z / count).sqrt() / (1.0 + z);
    Estimate { value: share, low: (middle - half).max(0.0), high: (middle + half).min(1.0) }
}
