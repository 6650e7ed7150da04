//! What the optional terms do: the same training with and without each, over several seeds.

use std::time::Instant;

use anyhow::Result;

use super::super::super::print;
use super::super::super::progress::Interrupt;
use crate::Engine;
use crate::locate::emitter::{Emitters, Kind, Origin, Scene};
use crate::locate::training::{PolicyOptions, PolicyTrainer};
use crate::locate::trial::{Method, Trial};
use crate::locate::{DelayEstimator, DelayOptions, Policy};

const SEEDS: u64 = 5;
/// Plain training ends where the mean of its last quarter of steps is: one in so many.
const LAST: usize = 4;
/// Pairs of each scene that a trained policy is judged on, at this ratio; training has never seen them.
const HELD_OUT: usize = 400;
const HELD_OUT_SEED: u64 = 7_000_003;
const HELD_OUT_SNR_DB: f64 = 10.0;
/// Steps averaged before they are held against that.
const SMOOTHED: usize = 25;

struct Outcome {
    /// Mean magnitude of the errors of the policy's means on held-out pairs.
    residual: f64,
    seconds: f64,
    /// Steps until the residual of the draws was within a tenth of where plain training ends.
    until: Option<usize>,
}

/// Trains all variants and prints a table.
pub(super) fn ablate(engine: &Engine, options: &PolicyOptions, interrupt: &Interrupt) -> Result<()> {
    let plain = PolicyOptions { correlation_entropy: 0.0, resolvent: 0.0, distortion: 0.0, ..options.clone() };
    let variants = [
        ("plain", plain.clone()),
        ("correlation entropy 0.5", PolicyOptions { correlation_entropy: 0.5, ..plain.clone() }),
        ("distortion 0.5", PolicyOptions { distortion: 0.5, ..plain.clone() }),
        ("resolvent 0.1", PolicyOptions { resolvent: 0.1, ..plain.clone() }),
        ("resolvent 0.5", PolicyOptions { resolvent: 0.5, ..plain }),
    ];
    print(&format!(
        "{} steps of {} pairs, seeds 1 to {SEEDS}; mean and range over the seeds",
        options.steps, options.pairs
    ))?;
    print(&format!("{:<26} {:<28} {:<28} seconds", "", "residual, held-out pairs", "steps to 1.1 x plain's end"))?;
    let mut targets = Vec::new();
    for (name, variant) in variants {
        let mut outcomes = Vec::new();
        for seed in 1..=SEEDS {
            let mut trainer = PolicyTrainer::new(engine, &PolicyOptions { seed, ..variant.clone() })?;
            let start = Instant::now();
            for _ in 0..variant.steps {
                anyhow::ensure!(!interrupt.is_wanted(), "interrupted");
                trainer.step()?;
            }
            let residuals: Vec<f64> = trainer.history().iter().map(|step| step.residual).collect();
            if name == "plain" {
                let last = &residuals[residuals.len() - residuals.len().div_ceil(LAST)..];
                targets.push(1.1 * last.iter().sum::<f64>() / last.len() as f64);
            }
            let target = targets[outcomes.len()];
            let until =
                residuals.windows(SMOOTHED).position(|part| part.iter().sum::<f64>() / SMOOTHED as f64 <= target);
            let until = until.map(|step| step + SMOOTHED);
            let seconds = start.elapsed().as_secs_f64();
            outcomes.push(Outcome { residual: held_out(engine, &trainer.policy())?, seconds, until });
        }
        let residual = spread(outcomes.iter().map(|outcome| outcome.residual), 4);
        let seconds = spread(outcomes.iter().map(|outcome| outcome.seconds), 1);
        let reached: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.until).map(|steps| steps as f64).collect();
        let until = match reached.len() {
            0 => "never".to_owned(),
            all if all == outcomes.len() => spread(reached.into_iter(), 0),
            some => format!("{} ({some} of {SEEDS})", spread(reached.into_iter(), 0)),
        };
        print(&format!("{name:<26} {residual:<28} {until:<28} {seconds}"))?;
    }
    Ok(())
}

/// Mean magnitude of a policy's errors over all kinds of signals, with and without jammers.
fn held_out(engine: &Engine, policy: &Policy) -> Result<f64> {
    let estimator = DelayEstimator::new(engine, &DelayOptions::default())?;
    let emitters = Emitters::new(estimator.options().frame_len);
    let trial = Trial { estimator: &estimator, emitters: &emitters, policy, pairs: HELD_OUT, seed: HELD_OUT_SEED };
    let mut residuals = Vec::new();
    for kind in Kind::ALL {
        let origin = Origin::Made(kind);
        let spectrum = trial.spectrum(&origin);
        for has_jammer in [false, true] {
            let scene = Scene { origin: origin.clone(), snr_db: HELD_OUT_SNR_DB, has_jammer };
            let row = trial.scene(&scene, &spectrum, residuals.len() as u64, &|| false)?;
            let scores = row.into_iter().flat_map(|row| row.scores);
            residuals.extend(scores.filter(|score| score.method == Method::Policy).map(|score| score.residual));
        }
    }
    Ok(residuals.iter().sum::<f64>() / residuals.len() as f64)
}

fn spread(values: impl Iterator<Item = f64> + Clone, digits: usize) -> String {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    format!("{mean:.digits$} ({low:.digits$} to {high:.digits$})")
}
