//! Draws of the policy for one pair, and the gradient of what they say.

use crate::locate::features::Features;
use crate::locate::policy::{Logits, MADE, Policy};
use crate::random::Random;
use crate::regulariser::Resolvent;

/// Several masks and whitenings that the policy drew for one pair, and what they were worth.
#[derive(Clone, Debug)]
pub(super) struct Draws {
    /// Logits of each draw.
    pub(super) logits: Vec<Logits>,
    /// The reward of each, once it is known.
    pub(super) rewards: Vec<f32>,
}

impl Draws {
    pub(super) fn new(policy: &Policy, features: &Features, count: usize, random: &mut Random) -> Self {
        let mut hidden = policy.room_for_hidden();
        let means = policy.logits(features, &mut hidden);
        let [mask, whitening] = deviations(policy);
        let mut drawn = |means: &[f32], deviation: f32| -> Vec<f32> {
            #[expect(clippy::cast_possible_truncation, reason = "logits are in f32")]
            let draw = |mean: &f32| mean + deviation * random.gaussian() as f32;
            means.iter().map(draw).collect()
        };
        let logits = (0..count)
            .map(|_| Logits { masks: drawn(&means.masks, mask), whitenings: drawn(&means.whitenings, whitening) });
        Self { logits: logits.collect(), rewards: Vec::new() }
    }

    /// How much better each draw was than the others were, in deviations of all.
    pub(super) fn advantages(&self) -> Vec<f32> {
        let count = self.rewards.len() as f32;
        let sum: f32 = self.rewards.iter().sum();
        let mean = sum / count;
        let variance = self.rewards.iter().map(|reward| (reward - mean).powi(2)).sum::<f32>() / count;
        let advantage = |reward: &f32| (reward - (sum - reward) / (count - 1.0)) / (variance.sqrt() + 1e-3);
        self.rewards.iter().map(advantage).collect()
    }

    /// The gradient, over all weights of the policy, of the mean of each draw's logarithmic density times its advantage;
    /// minus, with a resolvent, that of the damped energy of the hidden layer.
    pub(super) fn gradient(&self, policy: &Policy, features: &Features, resolvent: Option<&Resolvent>) -> Vec<f32> {
        let description = policy.description();
        let (bands, units, inputs) = (description.bands, description.hidden, description.inputs());
        let mut hidden = policy.room_for_hidden();
        let means = policy.logits(features, &mut hidden);
        let deviations = deviations(policy);
        let advantages = self.advantages();
        // Of the two outputs of each band, and of the two deviations.
        let mut of_outputs = vec![[0.0_f32; MADE]; bands];
        let mut of_deviations = [0.0_f32; MADE];
        for (logits, advantage) in self.logits.iter().zip(&advantages) {
            let advantage = advantage / self.logits.len() as f32;
            let both = [(&logits.masks, &means.masks), (&logits.whitenings, &means.whitenings)];
            for (output, (drawn, mean)) in both.into_iter().enumerate() {
                for (band, (drawn, mean)) in drawn.iter().zip(mean).enumerate() {
                    let away = (drawn - mean) / deviations[output];
                    of_outputs[band][output] += advantage * away / deviations[output];
                    of_deviations[output] += advantage * (away * away - 1.0);
                }
            }
        }
        let mut of_hidden = vec![0.0; hidden.len()];
        let weights = policy.flat();
        let out_weight = &weights[(inputs + 1) * units..(inputs + 1 + MADE) * units];
        let mut gradient = vec![0.0; weights.len()];
        let (of_weight, rest) = gradient.split_at_mut(inputs * units);
        let (of_bias, rest) = rest.split_at_mut(units);
        let (of_out_weight, rest) = rest.split_at_mut(MADE * units);
        let (of_out_bias, of_log_deviation) = rest.split_at_mut(MADE);
        of_log_deviation.copy_from_slice(&of_deviations);
        for (band, of_output) in of_outputs.iter().enumerate() {
            let hidden = &hidden[band * units..(band + 1) * units];
            let of_hidden = &mut of_hidden[band * units..(band + 1) * units];
            for (output, &slope) in of_output.iter().enumerate() {
                of_out_bias[output] += slope;
                let row = output * units..(output + 1) * units;
                of_out_weight[row.clone()].iter_mut().zip(hidden).for_each(|(sum, unit)| *sum += slope * unit);
                of_hidden.iter_mut().zip(&out_weight[row]).for_each(|(sum, weight)| *sum += slope * weight);
            }
        }
        if let Some(resolvent) = resolvent {
            let costs = resolvent.activation_gradient(&hidden, units);
            of_hidden.iter_mut().zip(costs).for_each(|(slope, cost)| *slope -= cost);
        }
        for band in 0..bands {
            let range = band * units..(band + 1) * units;
            let (hidden, of_hidden) = (&hidden[range.clone()], &mut of_hidden[range]);
            // Where a unit gave nothing, it would not give more.
            of_hidden.iter_mut().zip(hidden).for_each(|(slope, unit)| *slope *= f32::from(*unit > 0.0));
            of_bias.iter_mut().zip(&*of_hidden).for_each(|(sum, slope)| *sum += slope);
            for (seen, row) in features.of_band(band).iter().zip(of_weight.chunks_exact_mut(units)) {
                row.iter_mut().zip(&*of_hidden).for_each(|(sum, slope)| *sum += seen * slope);
            }
        }
        gradient
    }

    /// What [`Self::gradient`] is the gradient of, in f64, without a resolvent.
    #[cfg(test)]
    pub(super) fn score(&self, policy: &Policy, features: &Features) -> f64 {
        let means = policy.logits(features, &mut policy.room_for_hidden());
        let deviations = deviations(policy).map(f64::from);
        let density = |drawn: &[f32], mean: &[f32], deviation: f64| -> f64 {
            let away = |(drawn, mean): (&f32, &f32)| (f64::from(*drawn) - f64::from(*mean)) / deviation;
            drawn.iter().zip(mean).map(away).map(|away| -0.5 * away * away - deviation.ln()).sum()
        };
        let each = self.logits.iter().zip(self.advantages()).map(|(logits, advantage)| {
            let both = density(&logits.masks, &means.masks, deviations[0])
                + density(&logits.whitenings, &means.whitenings, deviations[1]);
            f64::from(advantage) * both
        });
        each.sum::<f64>() / self.logits.len() as f64
    }
}

/// Standard deviations of the logits: of masks and of whitenings.
fn deviations(policy: &Policy) -> [f32; MADE] {
    let log = policy.flat().last_chunk::<MADE>().copied().unwrap_or_default();
    log.map(f32::exp)
}
