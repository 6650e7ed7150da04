//! How well delays come out: many pairs of a scene, every method on the same ones.

use rayon::prelude::*;
use serde::Serialize;

use super::bound::{cramer_rao, mean_spectrum};
use super::emitter::{Emitters, Heard, Scene};
use super::{DelayEstimator, Policy, weighting};
use crate::error::Result;
use crate::random::Random;

/// Pairs that are worked on at once: some 70 MiB with their spectra.
const AT_ONCE: usize = 2048;
/// Samples of pairs, with replacement, that a confidence interval is from.
const RESAMPLES: usize = 400;
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
    /// Hannan and Thomson with the true mean spectrum and the true noise, which no receiver knows.
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
    /// The least standard deviation that an unbiased estimate can have, without a jammer, in samples.
    pub(crate) bound: f64,
    pub(crate) scores: Vec<Score>,
}

/// Tries all methods on pairs of a scene. The pairs follow from the seed alone.
pub(crate) fn try_scene(
    estimator: &DelayEstimator,
    emitters: &Emitters,
    policy: &Policy,
    scene: &Scene,
    pairs: usize,
    seed: u64,
) -> Result<Row> {
    let len = estimator.options().frame_len;
    let ratio = 10_f64.powf(scene.snr_db / 10.0);
    let mut random = Random::new(seed, SPECTRUM_STREAM);
    let snr: Vec<f64> =
        mean_spectrum(emitters, &scene.origin, len, &mut random).into_iter().map(|power| power * ratio).collect();
    #[expect(clippy::cast_possible_truncation, reason = "weights are in f32")]
    let oracle = weighting::hannan_thomson(&snr.iter().map(|&snr| snr as f32).collect::<Vec<f32>>());
    let mut errors = vec![Vec::with_capacity(pairs); Method::ALL.len()];
    for begin in (0..pairs).step_by(AT_ONCE) {
        let heard: Vec<Heard> = (begin..pairs.min(begin + AT_ONCE))
            .into_par_iter()
            .map(|pair| emitters.hear(scene, &mut Random::new(seed, pair as u64)))
            .collect();
        let delays: Vec<f64> = heard.iter().map(|pair| pair.delay).collect();
        let all = errors_of(estimator, policy, &oracle, &heard)?;
        for (errors, estimates) in errors.iter_mut().zip(all) {
            #[expect(clippy::cast_possible_truncation, reason = "errors are in f32")]
            let error = |(estimate, delay): (f32, &f64)| (f64::from(estimate) - delay) as f32;
            errors.extend(estimates.into_iter().zip(&delays).map(error));
        }
    }
    let mut random = Random::new(seed, RESAMPLE_STREAM);
    let scores = Method::ALL.into_iter().zip(&errors).map(|(method, errors)| score(method, errors, &mut random));
    Ok(Row {
        signal: scene.origin.name().to_owned(),
        jammer: scene.has_jammer,
        snr_db: scene.snr_db,
        pairs,
        bound: cramer_rao(&snr),
        scores: scores.collect(),
    })
}

/// The delays that each method finds.
pub(crate) fn errors_of(
    estimator: &DelayEstimator,
    policy: &Policy,
    oracle: &[f32],
    heard: &[Heard],
) -> Result<Vec<Vec<f32>>> {
    let spectra = |of: fn(&Heard) -> &[num_complex::Complex32]| {
        let frames: Vec<f32> = heard.iter().flat_map(of).flat_map(|z| [z.re, z.im]).collect();
        estimator.spectra(&frames)
    };
    let (first, second) = (spectra(|pair| &pair.first)?, spectra(|pair| &pair.second)?);
    let floats = 2 * estimator.options().frame_len;
    let all = Method::ALL.into_iter().map(|method| {
        let weights: Vec<Vec<f32>> = first
            .par_chunks(floats)
            .zip(second.par_chunks(floats))
            .map(|(first, second)| match method {
                Method::CrossCorrelation => weighting::cross_correlation(first, second),
                Method::Phat => vec![1.0; first.len() / 2],
                Method::HannanThomson => weighting::estimated_hannan_thomson(first, second),
                Method::Policy => policy.weights(first, second),
                Method::Oracle => oracle.to_vec(),
            })
            .collect();
        let delays = estimator.delays(&first, &second, &weights.concat())?;
        Ok(delays.into_iter().map(|delay| delay.samples).collect())
    });
    all.collect()
}

fn score(method: Method, errors: &[f32], random: &mut Random) -> Score {
    let count = errors.len() as f64;
    let squares: Vec<f64> = errors.iter().map(|&error| f64::from(error).powi(2)).collect();
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| (squares.iter().map(|_| squares[random.below(squares.len())]).sum::<f64>() / count).sqrt())
        .collect();
    resampled.sort_unstable_by(f64::total_cmp);
    let far = errors.iter().filter(|error| error.is_nan() || error.abs() > FAR_OFF).count() as f64;
    Score {
        method,
        rmse: Estimate {
            value: (squares.iter().sum::<f64>() / count).sqrt(),
            low: resampled[RESAMPLES / 40],
            high: resampled[RESAMPLES - 1 - RESAMPLES / 40],
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
