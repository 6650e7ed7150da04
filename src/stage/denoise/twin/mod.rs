//! The denoiser's CPU side: a model packed for this machine's vectors, and the work on a group of channels.
//!
//! Rows are windows. A block holds all channels of the group for as many hops as make it long enough to be worth the
//! weights that are read for it; its rows stand hop after hop, in each channel after channel:
//!
//! ```text
//! samples -> weigh -> | FFT -> features -> layers -> mask bins -> FFT back | -> overlap-add -> samples
//!                     | encode ----------> layers -> mask values -> decode |
//! ```
//!
//! All matrix products but the recurrent ones are over the whole block.
//!
//! A channel's state is one run of floats: history, overlapping end, then the layers' states and scales.

mod activation;

mod bytes;

mod layer;

pub(crate) mod matrix;

mod transform;

mod window;

#[cfg(test)]
mod tests;

use rustfft::num_complex::Complex32;

use self::activation::Multiply;
use self::layer::{Block, PackedLayer, Room};
use self::matrix::{Matrix, Rows, Start, stride};
use self::transform::RealTransform;
use self::window::{Features, MaskBins, OverlapAdd, Weigh};
use super::model::{Basis, Feature, Model, Part};
use super::network::{HopStep, NetworkOptions, NetworkState};
use crate::simd::SimdLevel;

/// Rows of a block, at most, unless there are more channels: enough that the weights are read seldom, few enough that
/// what the layers give stays in the cache.
pub(crate) const BLOCK_ROWS: usize = 64;

/// A model, packed for one machine; shared by all who work on its channels.
pub(crate) struct PackedModel {
    level: SimdLevel,
    window_len: usize,
    hop: usize,
    /// What samples are weighed by, on the way in and out.
    window: Vec<f32>,
    mask_floor: f32,
    parts: Vec<PackedPart>,
    /// Of a channel.
    initial_state: Vec<f32>,
    transform: RealTransform,
}

struct PackedPart {
    basis: PackedBasis,
    layers: Vec<PackedLayer>,
}

enum PackedBasis {
    Spectrum(Feature),
    Learned(Box<LearnedBasis>),
}

struct LearnedBasis {
    encoder: Matrix,
    decoder: Matrix,
    /// A bias of zeros.
    nothing: Vec<f32>,
}

impl std::fmt::Debug for PackedModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PackedModel").field("window_len", &self.window_len).finish_non_exhaustive()
    }
}

impl PackedModel {
    /// Packs a model for the vectors of `level`.
    pub(crate) fn new(model: &Model, level: SimdLevel, options: &NetworkOptions) -> Self {
        let description = model.description();
        let (window_len, hop) = (description.window_len, description.hop);
        let mut initial_state = vec![0.0; 2 * (window_len - hop)];
        let mut parts = Vec::new();
        for part in &description.parts {
            parts.push(PackedPart::new(model, part, level, options, &mut initial_state));
        }
        Self {
            level,
            window_len,
            hop,
            window: description.window.weights(window_len),
            mask_floor: options.mask_floor,
            parts,
            initial_state,
            transform: RealTransform::new(level, window_len),
        }
    }

    /// The state of a channel that was silent so far.
    pub(crate) fn initial_state(&self) -> Vec<f32> {
        self.initial_state.clone()
    }

    pub(crate) fn hop(&self) -> usize {
        self.hop
    }

    /// Where a layer's scale stands in a channel's state; none when it is not scaled.
    pub(crate) fn scale_at(&self, layer: usize) -> Option<usize> {
        self.parts.iter().flat_map(|part| &part.layers).nth(layer)?.scale_at
    }

    /// A channel's state as every device understands it.
    pub(crate) fn save(&self, state: &[f32]) -> NetworkState {
        let kept = self.kept();
        let mut saved = NetworkState {
            history: state[..kept].to_vec(),
            tails: state[kept..2 * kept].to_vec(),
            ..NetworkState::default()
        };
        for layer in self.parts.iter().flat_map(|part| &part.layers) {
            if layer.state_len > 0 {
                let runs = state[layer.state_at..layer.state_at + layer.state_len].chunks_exact(layer.outputs);
                saved.layers.push(runs.flat_map(|run| &run[..layer.units]).copied().collect());
            }
            saved.scales.extend(layer.scale_at.map(|at| state[at..at + layer.units].to_vec()));
        }
        saved
    }

    /// The way back; the states must be of the same model.
    pub(crate) fn restore(&self, state: &mut [f32], saved: &NetworkState) {
        let kept = self.kept();
        state.copy_from_slice(&self.initial_state);
        state[..kept].copy_from_slice(&saved.history);
        state[kept..2 * kept].copy_from_slice(&saved.tails);
        let (mut layers, mut scales) = (saved.layers.iter(), saved.scales.iter());
        for layer in self.parts.iter().flat_map(|part| &part.layers) {
            if layer.state_len > 0 {
                let runs = state[layer.state_at..layer.state_at + layer.state_len].chunks_exact_mut(layer.outputs);
                let saved = layers.next().map_or(&[][..], Vec::as_slice).chunks_exact(layer.units);
                runs.zip(saved).for_each(|(run, saved)| run[..layer.units].copy_from_slice(saved));
            }
            if let Some(at) = layer.scale_at
                && let Some(scale) = scales.next()
            {
                state[at..at + layer.units].copy_from_slice(scale);
            }
        }
    }

    fn kept(&self) -> usize {
        self.window_len - self.hop
    }
}

impl PackedPart {
    fn new(model: &Model, part: &Part, level: SimdLevel, options: &NetworkOptions, state: &mut Vec<f32>) -> Self {
        let window_len = model.description().window_len;
        let tensor =
            |name: &str| model.tensor(&format!("{}.{name}", part.name)).map_or(&[][..], |tensor| &*tensor.values);
        let basis = match part.basis {
            Basis::Spectrum(feature) => PackedBasis::Spectrum(feature),
            Basis::Learned { size } => PackedBasis::Learned(Box::new(LearnedBasis {
                encoder: Matrix::new(level, options.precision, window_len, tensor("encoder")),
                decoder: Matrix::new(level, options.precision, size, tensor("decoder")),
                nothing: vec![0.0; stride(size.max(window_len))],
            })),
        };
        let mut layers = Vec::new();
        for layer in &part.layers {
            let mut packed = PackedLayer::new(model, layer, level, options.precision, state.len());
            state.resize(state.len() + packed.state_len, 0.0);
            if let Some(scale) = model.tensor(&format!("{}.scale", layer.name)).filter(|_| layer.scaled) {
                let at = state.len();
                packed.scale_at = Some(at);
                state.extend_from_slice(&scale.values);
                state.resize(at + packed.outputs, 1.0);
            }
            layers.push(packed);
        }
        Self { basis, layers }
    }
}

/// Memory for the work on a group of channels; any group can use it in turn.
#[derive(Debug, Default)]
pub(crate) struct TwinRoom {
    /// Rows of windows: as they came, then as each part left them.
    windows: Vec<f32>,
    /// Rows of spectra, or of values in a learned basis.
    basis: Vec<f32>,
    /// What one layer gave, and what the next one gives.
    values: (Vec<f32>, Vec<f32>),
    layers: Room,
    signal: Vec<f32>,
    overlap: Vec<f32>,
    steps: Vec<HopStep>,
    scratch: Vec<Complex32>,
}

/// Some channels, all by the same number of hops.
pub(crate) struct Group<'a, 'b> {
    pub(crate) hops: usize,
    /// Of each channel.
    pub(crate) states: &'b mut [&'a mut [f32]],
    /// Of each channel, `hops * hop` samples.
    pub(crate) samples: &'b [f32],
    /// Of each channel, `hops` of them.
    pub(crate) steps: &'b [HopStep],
    /// As long as `samples`.
    pub(crate) output: &'b mut [f32],
}

impl PackedModel {
    /// Advances a group of channels.
    pub(crate) fn advance(&self, group: &mut Group<'_, '_>, room: &mut TwinRoom) {
        let channels = group.states.len();
        let most = (BLOCK_ROWS / channels.max(1)).max(1);
        let mut done = 0;
        while done < group.hops {
            let hops = most.min(group.hops - done);
            self.block(group, done, hops, room);
            done += hops;
        }
    }

    fn block(&self, group: &mut Group<'_, '_>, first: usize, hops: usize, room: &mut TwinRoom) {
        let channels = group.states.len();
        let mut steps = std::mem::take(&mut room.steps);
        steps.clear();
        for hop in first..first + hops {
            steps.extend((0..channels).map(|channel| group.steps[channel * group.hops + hop]));
        }
        let block = Block { channels, hops, steps: &steps };
        self.cut_windows(group, first, block, room);
        for part in &self.parts {
            part.run(self, block, group.states, room);
        }
        self.overlap_add(group, first, block, room);
        room.steps = steps;
    }

    /// From samples to rows of weighed windows; the history of each channel moves on.
    fn cut_windows(&self, group: &mut Group<'_, '_>, first: usize, block: Block<'_>, room: &mut TwinRoom) {
        let row_len = stride(self.window_len);
        room.windows.resize(block.rows() * row_len, 0.0);
        for (channel, state) in group.states.iter_mut().enumerate() {
            let history = &mut state[..self.kept()];
            let begin = (channel * group.hops + first) * self.hop;
            room.signal.clear();
            room.signal.extend_from_slice(history);
            room.signal.extend_from_slice(&group.samples[begin..begin + block.hops * self.hop]);
            for hop in 0..block.hops {
                let row = hop * block.channels + channel;
                let samples = &room.signal[hop * self.hop..][..self.window_len];
                let to = &mut room.windows[row * row_len..][..self.window_len];
                self.level.run(Weigh { samples, weights: &self.window, gain: block.steps[row].gain, to });
            }
            history.copy_from_slice(&room.signal[block.hops * self.hop..]);
        }
    }

    /// From rows of windows to finished samples.
    fn overlap_add(&self, group: &mut Group<'_, '_>, first: usize, block: Block<'_>, room: &mut TwinRoom) {
        let (row_len, kept) = (stride(self.window_len), self.kept());
        for (channel, state) in group.states.iter_mut().enumerate() {
            let end = &mut state[kept..2 * kept];
            room.overlap.clear();
            room.overlap.extend_from_slice(end);
            room.overlap.resize(kept + block.hops * self.hop, 0.0);
            for hop in 0..block.hops {
                let row = hop * block.channels + channel;
                let step = block.steps[row];
                if step.flags & HopStep::RUN != 0 {
                    let window = &room.windows[row * row_len..][..self.window_len];
                    let to = &mut room.overlap[hop * self.hop..][..self.window_len];
                    self.level.run(OverlapAdd { window, weights: &self.window, gain: 1.0 / step.gain, to });
                }
            }
            let (finished, pending) = room.overlap.split_at(block.hops * self.hop);
            let begin = (channel * group.hops + first) * self.hop;
            group.output[begin..begin + finished.len()].copy_from_slice(finished);
            end.copy_from_slice(pending);
        }
    }
}

impl PackedPart {
    fn run(&self, model: &PackedModel, block: Block<'_>, states: &mut [&mut [f32]], room: &mut TwinRoom) {
        let (mut from, mut to) = std::mem::take(&mut room.values);
        let mut from_stride = self.enter(model, block, room, &mut from);
        for layer in &self.layers {
            let rows = Rows { floats: &from, stride: from_stride, count: block.rows() };
            layer.run(block, rows, states, &mut to, &mut room.layers);
            std::mem::swap(&mut from, &mut to);
            from_stride = layer.outputs;
        }
        self.leave(model, block, room, &from, from_stride);
        room.values = (from, to);
    }

    /// From windows to the basis, and to what the first layer sees. Returns the stride of that.
    fn enter(&self, model: &PackedModel, block: Block<'_>, room: &mut TwinRoom, features: &mut Vec<f32>) -> usize {
        let row_len = stride(model.window_len);
        match &self.basis {
            PackedBasis::Spectrum(feature) => {
                let bins = model.window_len / 2 + 1;
                let width = stride(bins);
                room.basis.resize(block.rows() * 2 * bins, 0.0);
                features.resize(block.rows() * width, 0.0);
                let spectra = room.basis.chunks_exact_mut(2 * bins).zip(features.chunks_exact_mut(width));
                for (window, (spectrum, features)) in room.windows.chunks_exact_mut(row_len).zip(spectra) {
                    model.transform.forward(window, spectrum, &mut room.scratch);
                    model.level.run(Features { feature: *feature, spectrum, features });
                }
                width
            }
            PackedBasis::Learned(learned) => {
                let LearnedBasis { encoder, nothing, .. } = &**learned;
                let windows = Rows { floats: &room.windows, stride: row_len, count: block.rows() };
                features.resize(block.rows() * encoder.outputs(), 0.0);
                encoder.product(windows, Start::Bias(nothing), features, &mut room.layers.bytes);
                room.basis.clear();
                room.basis.extend_from_slice(features);
                encoder.outputs()
            }
        }
    }

    /// Masks the basis, and goes back to windows.
    fn leave(&self, model: &PackedModel, block: Block<'_>, room: &mut TwinRoom, masks: &[f32], mask_stride: usize) {
        let row_len = stride(model.window_len);
        let floor = model.mask_floor;
        match &self.basis {
            PackedBasis::Spectrum(_) => {
                let bins = model.window_len / 2 + 1;
                let spectra = room.basis.chunks_exact_mut(2 * bins).zip(masks.chunks_exact(mask_stride));
                for (window, (spectrum, mask)) in room.windows.chunks_exact_mut(row_len).zip(spectra) {
                    model.level.run(MaskBins { mask: &mask[..bins], floor, spectrum });
                    model.transform.inverse(spectrum, window, &mut room.scratch);
                }
            }
            PackedBasis::Learned(learned) => {
                let LearnedBasis { encoder, decoder, nothing } = &**learned;
                let width = encoder.outputs();
                for (values, mask) in room.basis.chunks_exact_mut(width).zip(masks.chunks_exact(mask_stride)) {
                    model.level.run(Multiply { factors: mask, values });
                }
                let values = Rows { floats: &room.basis, stride: width, count: block.rows() };
                room.windows.resize(block.rows() * decoder.outputs(), 0.0);
                decoder.product(values, Start::Bias(nothing), &mut room.windows, &mut room.layers.bytes);
            }
        }
    }
}
