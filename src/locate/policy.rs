//! The policy: what it sees of two spectra, what it makes of that, and its file.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use num_complex::Complex32;
use serde::{Deserialize, Serialize};

use super::weighting::bins;
use crate::format::pending::PendingFile;
use crate::stage::denoise::file::{StoredAs, described, read_bounded, read_tensors, write_tensors};
use crate::stage::denoise::model::{LARGEST_WEIGHT, ModelError, Tensor};

const KEY: &str = "auricle_policy";
const BUILTIN: &[u8] = include_bytes!("../../assets/auricle-policy.safetensors");

/// What is seen of each band: the mean level, the lower one, how far apart they are, the coherence, how peaked it is.
const SEEN: usize = 5;
/// What is seen of the whole: see [`Features::new`].
const SEEN_OF_ALL: usize = 4;
/// What is made of each band: a mask and how much of the magnitude is taken out.
pub(crate) const MADE: usize = 2;
/// Bins over which a magnitude is held against its neighbours': so many to either side.
const NEIGHBOURS: usize = 16;
/// The most that a bin counts for standing out, as a logarithm.
const MOST_STANDING_OUT: f32 = 4.0;
/// Keeps logarithms of silence finite.
const TINY: f32 = 1e-12;

/// What a policy file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDescription {
    /// A name.
    pub name: String,
    /// Which one of that name.
    pub version: String,
    /// What one may do with it.
    pub licence: String,
    /// Where it comes from.
    pub source: String,
    /// Bins of the spectra that it was trained on.
    pub bins: usize,
    /// Bands that they are divided into, which all go through the same network.
    pub bands: usize,
    /// Bands to either side that are seen with each.
    pub context: usize,
    /// Units of the hidden layer.
    pub hidden: usize,
}

impl PolicyDescription {
    /// What the network sees for each band.
    pub(crate) fn inputs(&self) -> usize {
        SEEN * (2 * self.context + 1) + SEEN_OF_ALL
    }

    /// Name and shape of each tensor, in order.
    pub(crate) fn tensors(&self) -> [(&'static str, Vec<usize>); 5] {
        [
            ("hidden.weight", vec![self.inputs(), self.hidden]),
            ("hidden.bias", vec![self.hidden]),
            ("output.weight", vec![MADE, self.hidden]),
            ("output.bias", vec![MADE]),
            // Of the Gaussian that training drew logits from; what uses the policy takes its mean.
            ("output.log_deviation", vec![MADE]),
        ]
    }

    /// Where each tensor lies among the numbers of all.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let sizes = self.tensors().into_iter().map(|(_, shape)| shape.iter().product::<usize>());
        sizes.scan(0, |end, size| {
            *end += size;
            Some(*end - size..*end)
        })
    }

    /// Numbers in all tensors.
    pub(crate) fn weights(&self) -> usize {
        self.ranges().last().map_or(0, |range| range.end)
    }

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let field = |field, value: usize, is_right: bool, expected: &str| match is_right {
            true => Ok(()),
            false => Err(ModelError::description(field, format!("expected {expected}, got {value}"))),
        };
        field(
            "bins",
            self.bins,
            self.bins.is_power_of_two() && (64..=1024).contains(&self.bins),
            "a power of two from 64 to 1024",
        )?;
        let divides = self.bands.is_power_of_two() && (4..=self.bins / 2).contains(&self.bands);
        field("bands", self.bands, divides, "a power of two from 4 to half the bins")?;
        field("context", self.context, self.context < self.bands / 2, "less than half the bands")?;
        field("hidden", self.hidden, (1..=1024).contains(&self.hidden), "1 to 1024")
    }
}

/// A trained weighting of bins.
///
/// A network of one hidden layer looks at each band and its neighbours in the spectra of both receivers and gives the
/// band a mask and a whitening, both from 0 to 1, which are interpolated to bins:
///
/// ```text
/// w[k] = mask[k]^2 * (|G[k]| / mean of |G| over 33 bins around k)^(1 - whitening[k])
/// ```
///
/// With a mask and a whitening of 1 everywhere that is the phase transform.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    description: PolicyDescription,
    /// All tensors, one after the other.
    weights: Arc<[f32]>,
}

impl Policy {
    /// The one that comes with the crate; `assets/README.md` says how it was made.
    ///
    /// # Panics
    /// Never: a test reads it.
    #[expect(clippy::expect_used, reason = "a test reads it")]
    pub fn builtin() -> Self {
        Self::from_bytes(BUILTIN).expect("the policy that is built in should be whole")
    }

    /// Reads a policy file: safetensors with a description, as `auricle train policy` writes them.
    ///
    /// # Errors
    /// [`ModelError`] when it cannot be read, is laid out in another way to the last byte, or when a tensor is missing, of
    /// another shape than described, not known or not finite.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        Self::from_bytes(&read_bounded(path)?).map_err(|problem| problem.in_file(path))
    }

    /// Reads what a policy file holds.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let (description, mut tensors) = read_tensors(bytes, KEY)?;
        let description: PolicyDescription = described(KEY, &description)?;
        description.check()?;
        let mut weights = Vec::with_capacity(description.weights());
        for (name, shape) in description.tensors() {
            let tensor = tensors.remove(name).ok_or_else(|| ModelError::tensor(name, "it is missing"))?;
            if tensor.shape != shape {
                let problem = format!("expected shape {shape:?}, got {:?}", tensor.shape);
                return Err(ModelError::tensor(name, problem));
            }
            if let Some(value) = tensor.values.iter().find(|value| value.is_nan() || value.abs() > LARGEST_WEIGHT) {
                let problem = format!("expected finite weights of at most {LARGEST_WEIGHT}, got {value:e}");
                return Err(ModelError::tensor(name, problem));
            }
            weights.extend_from_slice(&tensor.values);
        }
        match tensors.keys().next() {
            Some(name) => Err(ModelError::tensor(name, "no policy has it")),
            None => Ok(Self { description, weights: weights.into() }),
        }
    }

    /// The bytes of a policy file.
    pub fn to_bytes(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "plain data with texts for keys is always JSON")]
        let description = serde_json::to_string(&self.description).expect("a description should become JSON");
        let mut rest: &[f32] = &self.weights;
        let tensors = self.description.tensors().map(|(name, shape)| {
            let (values, after) = rest.split_at(shape.iter().product());
            rest = after;
            (name.to_owned(), Tensor { shape, values: values.into() })
        });
        let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
        write_tensors(KEY, &description, &tensors, StoredAs::F32)
    }

    /// Writes a policy file. It appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) when it is there already and `force` is not given, or cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, force: bool) -> crate::Result<()> {
        let mut file = PendingFile::create(path.as_ref(), &[], force)?;
        file.write_all(&self.to_bytes())?;
        Ok(file.publish()?)
    }

    /// What it says of itself.
    pub fn description(&self) -> &PolicyDescription {
        &self.description
    }

    /// The weight of each bin, from the spectra of both receivers: pairs of floats, bins in their natural order, of frames
    /// that were multiplied by a Hann window.
    ///
    /// # Panics
    /// If a spectrum has another number of bins than [`PolicyDescription::bins`].
    pub fn weights(&self, first: &[f32], second: &[f32]) -> Vec<f32> {
        let features = Features::new(&self.description, first, second);
        let mut hidden = self.room_for_hidden();
        let logits = self.logits(&features, &mut hidden);
        logits.weights(&features)
    }

    /// The mask of each bin alone, from 0 to 1; as [`Self::weights`].
    ///
    /// # Panics
    /// If a spectrum has another number of bins than [`PolicyDescription::bins`].
    pub fn mask(&self, first: &[f32], second: &[f32]) -> Vec<f32> {
        let features = Features::new(&self.description, first, second);
        let bins = self.description.bins;
        let mask = self.logits(&features, &mut self.room_for_hidden()).mask(bins);
        (0..bins).map(|k| mask[k ^ (bins / 2)]).collect()
    }

    /// All weights, in the order of the tensors.
    #[cfg(feature = "cli")]
    pub(crate) fn flat(&self) -> &[f32] {
        &self.weights
    }

    /// A policy with these weights, in the order of the tensors.
    #[cfg(feature = "cli")]
    pub(crate) fn new(description: PolicyDescription, weights: Vec<f32>) -> Self {
        assert_eq!(weights.len(), description.weights(), "one weight for each number of the tensors");
        Self { description, weights: weights.into() }
    }

    /// Room for what the hidden units of all bands give.
    pub(crate) fn room_for_hidden(&self) -> Vec<f32> {
        vec![0.0; self.description.bands * self.description.hidden]
    }

    /// What the network makes of each band. `hidden` is left with what its hidden units gave, band after band.
    pub(crate) fn logits(&self, features: &Features, hidden: &mut [f32]) -> Logits {
        let PolicyDescription { bands, hidden: units, .. } = self.description;
        let inputs = self.description.inputs();
        let (weight, rest) = self.weights.split_at(units * inputs);
        let (bias, rest) = rest.split_at(units);
        let (out_weight, rest) = rest.split_at(MADE * units);
        let out_bias = &rest[..MADE];
        let mut logits = Logits { masks: vec![0.0; bands], whitenings: vec![0.0; bands] };
        for (band, hidden) in hidden.chunks_exact_mut(units).enumerate() {
            let seen = features.of_band(band);
            hidden.copy_from_slice(bias);
            for (seen, row) in seen.iter().zip(weight.chunks_exact(units)) {
                hidden.iter_mut().zip(row).for_each(|(unit, weight)| *unit += weight * seen);
            }
            hidden.iter_mut().for_each(|unit| *unit = unit.max(0.0));
            logits.masks[band] = dot(&out_weight[..units], hidden) + out_bias[0];
            logits.whitenings[band] = dot(&out_weight[units..], hidden) + out_bias[1];
        }
        logits
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What the network gives each band, before the sigmoid.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Logits {
    pub(crate) masks: Vec<f32>,
    pub(crate) whitenings: Vec<f32>,
}

impl Logits {
    /// The mask of each bin, in the order of frequency.
    pub(crate) fn mask(&self, bins: usize) -> Vec<f32> {
        between_bands(&self.masks, bins)
    }

    /// The weight of each bin, in natural order.
    pub(crate) fn weights(&self, features: &Features) -> Vec<f32> {
        let bins = features.standing_out.len();
        let (mask, whitening) = (self.mask(bins), between_bands(&self.whitenings, bins));
        let weight = |k: usize| {
            let magnitude = ((1.0 - whitening[k]) * features.standing_out[k]).min(MOST_STANDING_OUT);
            mask[k] * mask[k] * magnitude.exp()
        };
        (0..bins).map(|k| weight(k ^ (bins / 2))).collect()
    }
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Sigmoids of bands, interpolated to bins: linear between the middles of bands, constant beyond the outermost.
fn between_bands(logits: &[f32], bins: usize) -> Vec<f32> {
    let values: Vec<f32> = logits.iter().map(|&logit| sigmoid(logit)).collect();
    let width = (bins / logits.len()) as f32;
    let value = |k: usize| {
        let at = ((k as f32 + 0.5) / width - 0.5).clamp(0.0, (values.len() - 1) as f32);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between two bands")]
        let band = (at as usize).min(values.len() - 2);
        let part = at - band as f32;
        values[band] + part * (values[band + 1] - values[band])
    };
    (0..bins).map(value).collect()
}

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
        let (first, second) = (&leveled(bins(first)), &leveled(bins(second)));
        let width = count / bands;
        let at = |k: usize| k ^ (count / 2);
        let cross: Vec<Complex32> = (0..count).map(|k| first[at(k)] * second[at(k)].conj()).collect();
        let magnitude: Vec<f32> = cross.iter().map(|z| z.norm()).collect();
        let level = |spectrum: &[Complex32]| {
            let powers: Vec<f32> = (0..bands)
                .map(|band| (0..width).map(|k| spectrum[at(band * width + k)].norm_sqr()).sum::<f32>() / width as f32)
                .collect();
            let logs: Vec<f32> = powers.iter().map(|power| (power + TINY).log10()).collect();
            let middle = median(&logs);
            let most = powers.iter().fold(0.0_f32, |most, power| most.max(*power));
            // How far the highest band is above the mean of all, as logarithms.
            let peak = (most + TINY).log10() - logs.iter().sum::<f32>() / bands as f32;
            (powers, logs.into_iter().map(|log| log - middle).collect::<Vec<f32>>(), peak)
        };
        let (first_power, first_level, first_peak) = level(first);
        let (second_power, second_level, second_peak) = level(second);
        let mut of_bands = vec![[0.0; SEEN]; bands];
        for (band, seen) in of_bands.iter_mut().enumerate() {
            let part = band * width..(band + 1) * width;
            let sum: Complex32 = cross[part.clone()].iter().sum();
            let mean = magnitude[part.clone()].iter().sum::<f32>() / width as f32;
            let most = magnitude[part].iter().fold(0.0_f32, |most, magnitude| most.max(*magnitude));
            let both = width as f32 * (first_power[band] * second_power[band]).sqrt();
            let (a, b) = (first_level[band], second_level[band]);
            *seen = [
                0.5 * (a + b),
                a.min(b),
                (a - b).abs(),
                2.0 * sum.norm() / (both + TINY),
                2.0 * ((most + TINY) / (mean + TINY)).log10(),
            ];
        }
        let mean = |of: fn(&[f32; SEEN]) -> f32| of_bands.iter().map(of).sum::<f32>() / bands as f32;
        // What kind of signal it may be: how far the highest band stands out, how coherent and how peaked all are, and how
        // many bands are 5 dB above the middle one.
        let of_all: [f32; SEEN_OF_ALL] = [
            0.5 * (first_peak + second_peak),
            mean(|seen| seen[3]) / 2.0,
            mean(|seen| seen[4]) / 2.0,
            mean(|seen| f32::from(seen[0] > 0.5)),
        ];
        let inputs = description.inputs();
        let mut seen = Vec::with_capacity(bands * inputs);
        for band in 0..bands {
            for near in band..=band + 2 * context {
                seen.extend(of_bands[near.saturating_sub(context).min(bands - 1)]);
            }
            seen.extend(of_all);
        }
        let power = (0..count).map(|k| 0.5 * (first[at(k)].norm_sqr() + second[at(k)].norm_sqr())).collect();
        Self { inputs, seen, standing_out: standing_out(&magnitude), power }
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

fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let middle = sorted.len() / 2;
    0.5 * (sorted[middle - 1] + sorted[middle])
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
