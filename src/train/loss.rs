//! How far the masked mixture is from the speech.
//!
//! Three terms, in the balance that the literature found for small networks (as GTCRN and others): the distance of
//! compressed magnitudes, that of compressed complex spectra, and the logarithm of the error's energy over the speech's.
//! With a real mask m, a mixture of magnitude x and speech of magnitude s at an angle, the two compressed terms come
//! down to one square: `(m^c x^c - t)^2` with `t = s^c (w + (1 - w) cos)`, and what no mask can change.

use super::BINS;
use super::mixture::Batch;

/// The power to which magnitudes are compressed.
const COMPRESSION: f32 = 0.3;
/// Weight of magnitudes alone; the rest is that of complex values.
const MAGNITUDES: f32 = 0.8;
/// How much worse it is to take speech away than to leave noise: speech of real people is not quite what was learned, and
/// what is in doubt should stay.
const TAKEN: f32 = 3.0;
/// Weight of the compressed terms.
const COMPRESSED: f32 = 100.0;
/// Weight of the error's energy, in bels.
const ENERGY: f64 = 2.0;
/// The error that is not worth reducing, as a part of the speech's energy: 30 dB down.
const ENOUGH: f64 = 1e-3;

/// The mean loss over the clips of a batch; `mask` becomes its gradient.
pub(crate) fn loss(batch: &Batch, mask: &mut [f32]) -> f64 {
    let energies = energies(batch, mask);
    let clips = batch.sequences as f64;
    let weight = COMPRESSED / mask.len() as f32;
    let (mut sum, mut fixed) = (0.0_f64, 0.0_f64);
    for (row, mask) in mask.chunks_exact_mut(BINS).enumerate() {
        let energy = energies[row % batch.sequences];
        let error_weight = energy.weight(clips);
        let at = row * BINS..(row + 1) * BINS;
        let values = batch.noisy[at.clone()].iter().zip(&batch.clean[at.clone()]).zip(&batch.cosine[at]);
        let (mut row_sum, mut row_fixed) = (0.0_f32, 0.0_f32);
        for (mask, ((&noisy, &clean), &cosine)) in mask.iter_mut().zip(values) {
            let m = mask.max(1e-5);
            let (estimate, speech) = (compress(m * noisy), compress(clean));
            let target = speech * (MAGNITUDES + (1.0 - MAGNITUDES) * cosine);
            let away = estimate - target;
            let weighted = if away < 0.0 { TAKEN * away } else { away };
            row_sum += weighted * away;
            row_fixed += speech * speech - target * target;
            *mask = weight * 2.0 * weighted * COMPRESSION * estimate / m
                + error_weight * noisy * (m * noisy - clean * cosine);
        }
        sum += f64::from(row_sum);
        fixed += f64::from(row_fixed);
    }
    f64::from(weight) * (sum + fixed) + energies.iter().map(Energy::term).sum::<f64>() / clips
}

/// Of one clip.
#[derive(Clone, Copy, Default)]
struct Energy {
    speech: f64,
    error: f64,
}

impl Energy {
    /// Zero where nobody speaks.
    fn term(&self) -> f64 {
        if self.speech > 0.0 { ENERGY * (self.error / self.speech + ENOUGH).log10() } else { 0.0 }
    }

    /// What the derivative of one bin's square, halved, counts for.
    fn weight(&self, clips: f64) -> f32 {
        if self.speech <= 0.0 {
            return 0.0;
        }
        let floored = self.error + ENOUGH * self.speech;
        #[expect(clippy::cast_possible_truncation, reason = "the gradient is kept in f32")]
        let weight = (2.0 * ENERGY / (floored * std::f64::consts::LN_10 * clips)) as f32;
        weight
    }
}

fn energies(batch: &Batch, mask: &[f32]) -> Vec<Energy> {
    let mut energies = vec![Energy::default(); batch.sequences];
    for (row, mask) in mask.chunks_exact(BINS).enumerate() {
        let at = row * BINS..(row + 1) * BINS;
        let values = batch.noisy[at.clone()].iter().zip(&batch.clean[at.clone()]).zip(&batch.cosine[at]);
        let (mut speech, mut error) = (0.0_f32, 0.0_f32);
        for (&mask, ((&noisy, &clean), &cosine)) in mask.iter().zip(values) {
            let estimate = mask * noisy;
            speech += clean * clean;
            error += estimate * estimate + clean * clean - 2.0 * estimate * clean * cosine;
        }
        let energy = &mut energies[row % batch.sequences];
        energy.speech += f64::from(speech);
        energy.error += f64::from(error.max(0.0));
    }
    energies
}

/// `x` to the power of [`COMPRESSION`]; near 0 it stays above, so that its slope is finite.
fn compress(x: f32) -> f32 {
    super::network::exp(COMPRESSION * logarithm(x.max(1e-5)))
}

/// To about 1e-5, which is plenty here, without a branch.
fn logarithm(x: f32) -> f32 {
    let bits = x.to_bits();
    let exponent = (bits >> 23) as f32 - 127.0;
    let part = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000) - 1.0;
    // Abramowitz and Stegun, 4.1.43.
    let polynomial = part
        * (0.999_495_56 + part * (-0.491_908_96 + part * (0.289_474_8 + part * (-0.136_062_75 + part * 0.032_158_45))));
    exponent * std::f32::consts::LN_2 + polynomial
}
