//! What the optional terms do: the same training with and without each, over several seeds.

use std::time::Instant;

use anyhow::Result;

use super::super::super::progress::Interrupt;
use crate::Engine;
use crate::locate::training::{PolicyOptions, PolicyTrainer};

const SEEDS: u64 = 5;
/// Steps at the end whose residual counts, as a part of all.
const LAST: usize = 4;
/// How many steps are looked at together for when training gets somewhere.
const SMOOTHED: usize = 25;

struct Outcome {
    residual: f64,
    seconds: f64,
    /// Steps until the residual was within a tenth of where plain training ends.
    until: Option<usize>,
}

/// Trains all variants and prints a table.
#[expect(clippy::print_stdout, reason = "the table is what was asked for")]
pub(super) fn ablate(engine: &Engine, options: &PolicyOptions, interrupt: &Interrupt) -> Result<()> {
    let plain = PolicyOptions { correlation_entropy: 0.0, resolvent: 0.0, distortion: 0.0, ..options.clone() };
    let variants = [
        ("plain", plain.clone()),
        ("correlation entropy 0.5", PolicyOptions { correlation_entropy: 0.5, ..plain.clone() }),
        ("distortion 0.5", PolicyOptions { distortion: 0.5, ..plain.clone() }),
        ("resolvent 0.1", PolicyOptions { resolvent: 0.1, ..plain.clone() }),
        ("resolvent 0.5", PolicyOptions { resolvent: 0.5, ..plain }),
    ];
    println!("{} steps of {} pairs, seeds 1 to {SEEDS}; mean and range over the seeds", options.steps, options.pairs);
    println!("{:<26} {:<28} {:<28} seconds", "", "residual, samples", "steps to 1.1 x plain's");
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
            let last = &residuals[residuals.len() - residuals.len().div_ceil(LAST)..];
            let residual = last.iter().sum::<f64>() / last.len() as f64;
            if name == "plain" {
                targets.push(1.1 * residual);
            }
            let target = targets[outcomes.len()];
            let until =
                residuals.windows(SMOOTHED).position(|part| part.iter().sum::<f64>() / SMOOTHED as f64 <= target);
            let until = until.map(|step| step + SMOOTHED);
            outcomes.push(Outcome { residual, seconds: start.elapsed().as_secs_f64(), until });
        }
        let residual = spread(outcomes.iter().map(|outcome| outcome.residual), 4);
        let seconds = spread(outcomes.iter().map(|outcome| outcome.seconds), 1);
        let reached: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.until).map(|steps| steps as f64).collect();
        let until = match reached.len() {
            0 => "never".to_owned(),
            all if all == outcomes.len() => spread(reached.into_iter(), 0),
            some => format!("{} ({some} of {SEEDS})", spread(reached.into_iter(), 0)),
        };
        println!("{name:<26} {residual:<28} {until:<28} {seconds}");
    }
    Ok(())
}

fn spread(values: impl Iterator<Item = f64> + Clone, digits: usize) -> String {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    format!("{mean:.digits$} ({low:.digits$} to {high:.digits$})")
}
