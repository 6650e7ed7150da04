//! What the policy sees of a pair of spectra.

use num_complex::Complex32;

use super::policy::PolicyDescription;
use super::weighting::bins;

/// What is seen of each band: the mean level, the lower one, how far apart they are, the coherence, how peaked it is.
pub(super) const SEEN: usize = 5;
/// What is seen of the whole: see [`of_all`].
pub(super) const SEEN_OF_ALL: usize = 4;
/// Bins over which a magnitude is held against its neighbours': so many to either side.
const NEIGHBOURS: usize = 16;
/// Keeps logarithms of silence finite.
const TINY: f32 = 1e-12;

/// What is seen of a pair of spectra.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    inputs: usize,
    /// Band after band, with its neighbours and with what is seen of the whole.
    seen: Vec<f32>,
    /// How far each bin's cross-spectrum stands out from its neighbours', as a logarithm; in the order of frequency.
    pub(crate) standing_out: Vec<f32>,
    /// Mean power of both in each bin, in the order of frequency.
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "the distortion term of training reads it"))]
    pub(crate) power: Vec<f32>,
}

impl Features {
    pub(crate) fn new(description: &PolicyDescription, first: &[f32], second: &[f32]) -> Self {
        let PolicyDescription { bins: count, bands, context, .. } = *description;
        assert!(first.len() == 2 * count && second.len() == 2 * count, "spectra should have {count} bins");
        let (first, second) = (by_frequency(&leveled(bins(first))), by_frequency(&leveled(bins(second))));
        let cross: Vec<Complex32> = first.iter().zip(&second).map(|(first, second)| first * second.conj()).collect();
        let magnitude: Vec<f32> = cross.iter().map(|z| z.norm()).collect();
        let levels = [Levels::new(&first, bands), Levels::new(&second, bands)];
        let of_bands = of_bands(&cross, &magnitude, &levels);
        let of_all = of_all(&of_bands, &levels);
        let inputs = description.inputs();
        let mut seen = Vec::with_capacity(bands * inputs);
        for band in 0..bands {
            for near in band..=band + 2 * context {
                seen.extend(of_bands[near.saturating_sub(context).min(bands - 1)]);
            }
            seen.extend(of_all);
        }
        let power = first.iter().zip(&second).map(|(first, second)| 0.5 * (first.norm_sqr() + second.norm_sqr()));
        Self { inputs, seen, standing_out: standing_out(&magnitude), power: power.collect() }
    }

    pub(crate) fn of_band(&self, band: usize) -> &[f32] {
        &self.seen[band * self.inputs..(band + 1) * self.inputs]
    }
}

/// The same spectrum with a mean power of 1: how loud it is says nothing.
fn leveled(spectrum: &[Complex32]) -> Vec<Complex32> {
    let largest = spectrum.iter().fold(0.0_f32, |largest, z| largest.max(z.re.abs()).max(z.im.abs()));
    if !(largest > 0.0 && largest.is_finite()) {
        return vec![Complex32::default(); spectrum.len()];
    }
    let scaled: Vec<Complex32> = spectrum.iter().map(|z| z / largest).collect();
    let power = scaled.iter().map(Complex32::norm_sqr).sum::<f32>() / scaled.len() as f32;
    scaled.into_iter().map(|z| z / power.sqrt()).collect()
}

/// From natural order.
fn by_frequency(spectrum: &[Complex32]) -> Vec<Complex32> {
    (0..spectrum.len()).map(|k| spectrum[k ^ (spectrum.len() / 2)]).collect()
}

/// How loud the bands of one spectrum are.
struct Levels {
    powers: Vec<f32>,
    /// Logarithms of those, against the middle one.
    levels: Vec<f32>,
    /// How far the highest band is above the mean of all, as logarithms.
    peak: f32,
}

impl Levels {
    fn new(spectrum: &[Complex32], bands: usize) -> Self {
        let width = spectrum.len() / bands;
        let power = |band: &[Complex32]| band.iter().map(Complex32::norm_sqr).sum::<f32>() / width as f32;
        let powers: Vec<f32> = spectrum.chunks_exact(width).map(power).collect();
        let logs: Vec<f32> = powers.iter().map(|power| (power + TINY).log10()).collect();
        let middle = median(&logs);
        let most = powers.iter().fold(0.0_f32, |most, power| most.max(*power));
        let peak = (most + TINY).log10() - logs.iter().sum::<f32>() / bands as f32;
        Self { powers, levels: logs.into_iter().map(|log| log - middle).collect(), peak }
    }
}

fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let middle = sorted.len() / 2;
    0.5 * (sorted[middle - 1] + sorted[middle])
}

/// What is seen of each band by itself.
fn of_bands(cross: &[Complex32], magnitude: &[f32], [first, second]: &[Levels; 2]) -> Vec<[f32; SEEN]> {
    let bands = first.powers.len();
    let width = cross.len() / bands;
    let of_band = |band: usize| {
        let part = band * width..(band + 1) * width;
        let sum: Complex32 = cross[part.clone()].iter().sum();
        let mean = magnitude[part.clone()].iter().sum::<f32>() / width as f32;
        let most = magnitude[part].iter().fold(0.0_f32, |most, magnitude| most.max(*magnitude));
        let both = width as f32 * (first.powers[band] * second.powers[band]).sqrt();
        let (a, b) = (first.levels[band], second.levels[band]);
        [
            0.5 * (a + b),
            a.min(b),
            (a - b).abs(),
            2.0 * sum.norm() / (both + TINY),
            2.0 * ((most + TINY) / (mean + TINY)).log10(),
        ]
    };
    (0..bands).map(of_band).collect()
}

/// What kind of signal it may be: how far the highest band stands out, how coherent and how peaked all are, and how
/// many bands are 5 dB above the middle one.
fn of_all(of_bands: &[[f32; SEEN]], [first, second]: &[Levels; 2]) -> [f32; SEEN_OF_ALL] {
    let mean = |of: fn(&[f32; SEEN]) -> f32| of_bands.iter().map(of).sum::<f32>() / of_bands.len() as f32;
    [
        0.5 * (first.peak + second.peak),
        mean(|seen| seen[3]) / 2.0,
        mean(|seen| seen[4]) / 2.0,
        mean(|seen| f32::from(seen[0] > 0.5)),
    ]
}

/// The logarithm of each magnitude against the mean of those around it; beyond the ends stand the outermost ones.
fn standing_out(magnitude: &[f32]) -> Vec<f32> {
    let last = magnitude.len() - 1;
    let around = |k: usize| {
        let sum: f32 = (k..=k + 2 * NEIGHBOURS).map(|at| magnitude[at.saturating_sub(NEIGHBOURS).min(last)]).sum();
        sum / (2 * NEIGHBOURS + 1) as f32
    };
    magnitude.iter().enumerate().map(|(k, magnitude)| ((magnitude + TINY) / (around(k) + TINY) + 1e-6).ln()).collect()
}
