//! What a device does with a model: it keeps the state of some channels, and advances them hop by hop.
//!
//! ```text
//! window t of a channel ends with its newest hop:      |-- history --|-- hop t --|
//! finished by it, since no later window reaches them:  |-- hop --|
//! ```
//!
//! So what comes out is late by `window_len - hop` samples. All that a device keeps of a channel between calls is the
//! last `window_len - hop` samples, the recurrent state of every layer, and the overlapping ends of what it made.

use std::fmt::Debug;

use crate::error::Result;

/// How the weights are kept and multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Weights in 16-bit floats, sums in 32.
    F16,
    /// Weights in 8-bit integers with a scale for each row, activations with one for each vector (on a GPU a fixed one for
    /// the state of recurrent layers, and raw magnitudes and learned bases in floats); sums are exact.
    Int8,
}

/// How a model is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NetworkOptions {
    pub(crate) precision: Precision,
    /// Masks of spectra are raised to this where they are less; 0 for no floor.
    pub(crate) mask_floor: f32,
}

/// What happens to a channel in one hop.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct HopStep {
    /// What the window is multiplied by before the network, and divided by after it. Finite and above 0.
    pub(crate) gain: f32,
    /// `RUN` and `RESET`, together or not.
    pub(crate) flags: u32,
}

impl HopStep {
    /// The network runs. Without it the recurrent state stays as it is, and the window adds nothing to the output.
    pub(crate) const RUN: u32 = 1;
    /// The recurrent state is set to zeros first.
    pub(crate) const RESET: u32 = 2;
}

/// One call: some channels, all by the same number of hops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advance<'a> {
    /// Ascending, each at most once, each less than the number that the network was opened for.
    pub(crate) channels: &'a [u32],
    pub(crate) hops: usize,
    /// The next `hops * hop` samples of each of those channels, channel after channel.
    pub(crate) samples: &'a [f32],
    /// What to do in each hop, channel after channel.
    pub(crate) steps: &'a [HopStep],
}

/// What a device keeps of a channel, in the same order on every one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NetworkState {
    /// The last `window_len - hop` samples.
    pub(crate) history: Vec<f32>,
    /// The overlapping ends of what was made, as long.
    pub(crate) tails: Vec<f32>,
    /// Of each recurrent layer: its output, and then the cell of an LSTM.
    pub(crate) layers: Vec<Vec<f32>>,
    /// Of each scaled layer.
    pub(crate) scales: Vec<Vec<f32>>,
}

/// A model that is ready on one device, with the state of its channels. A new one is all silence.
///
/// What comes out for a channel depends on that channel alone, to the bit: not on which others are in the call. How
/// its hops are cut into calls may change the rounding.
pub(crate) trait Network: Send + Debug {
    /// Writes the next `hops * hop` finished samples of each channel, channel after channel, to `output`.
    fn advance(&mut self, call: &Advance<'_>, output: &mut [f32]) -> Result<()>;

    /// Windows of all channels in one call that it likes best: more would only take more memory.
    fn call_rows(&self) -> usize;

    /// Brings back to the device what went to sleep, so that no call fails for want of it.
    fn wake(&mut self) -> Result<()> {
        Ok(())
    }

    /// What is kept of some channels.
    fn save(&mut self, channels: &[u32]) -> Result<Vec<NetworkState>>;

    /// Goes on with a channel where any network of the same model left it.
    fn restore(&mut self, channel: u32, state: &NetworkState) -> Result<()>;

    /// Some channels, ascending, are all silence again, and their scales those of the model.
    fn clear(&mut self, channels: &[u32]) -> Result<()>;

    /// Replaces the factors of a scaled layer's outputs for one channel. `layer` counts through all parts.
    fn set_scale(&mut self, channel: u32, layer: usize, scale: &[f32]) -> Result<()>;
}
