//! The policy: what it makes of what it sees, and its file.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::features::{Features, SEEN, SEEN_OF_ALL};
use crate::format::pending::PendingFile;
use crate::tensors::{ModelError, StoredAs, Tensor, described, read_bounded, read_tensors, write_tensors};

const KEY: &str = "auricle_policy";
const BUILTIN: &[u8] = include_bytes!("../../assets/auricle-policy.safetensors");

/// What is made of each band: a mask and how much of the magnitude is taken out.
pub(crate) const MADE: usize = 2;
/// The most that a bin counts for standing out, as a logarithm.
const MOST_STANDING_OUT: f32 = 4.0;

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
    /// [`ModelError`] when it cannot be read, is not laid out as described, tensor after tensor up to the last byte of
    /// the file, or when a tensor is missing, of another shape than described, not known or not finite.
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
            tensor.check(name, &shape)?;
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
