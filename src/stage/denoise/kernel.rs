//! The network's layers as kernels: their source, their parameters, and what they need to stay within the limits of
//! every adapter. How tensors lie for them is in `packing`.

use super::model::{Activation, Feature};

macro_rules! wgsl {
    ($($file:literal),+) => {
        concat!(
            include_str!("../../../shaders/dispatch.wgsl"),
            $(include_str!(concat!("../../../shaders/", $file))),+
        )
    };
}

pub(crate) const FRAME: &str = wgsl!("denoise/rows.wgsl", "denoise/frame.wgsl");
pub(crate) const SPECTRUM: &str = wgsl!(
    "complex.wgsl",
    "denoise/rows.wgsl",
    "denoise/functions.wgsl",
    "denoise/transform.wgsl",
    "denoise/spectrum.wgsl"
);
pub(crate) const DENSE: &str =
    wgsl!("denoise/rows.wgsl", "denoise/functions.wgsl", "denoise/dense_tile.wgsl", "denoise/dense.wgsl");
pub(crate) const QUANTISE: &str = wgsl!("denoise/rows.wgsl", "denoise/quantise.wgsl");
pub(crate) const DENSE_INT8: &str =
    wgsl!("denoise/rows.wgsl", "denoise/functions.wgsl", "denoise/dense_tile.wgsl", "denoise/dense_int8.wgsl");
pub(crate) const LSTM: &str =
    wgsl!("denoise/rows.wgsl", "denoise/functions.wgsl", "denoise/recurrent.wgsl", "denoise/lstm.wgsl");
pub(crate) const GRU: &str =
    wgsl!("denoise/rows.wgsl", "denoise/functions.wgsl", "denoise/recurrent.wgsl", "denoise/gru.wgsl");
pub(crate) const LAYER_NORM: &str = wgsl!("denoise/rows.wgsl", "denoise/layer_norm.wgsl");
pub(crate) const MASK: &str = wgsl!("complex.wgsl", "denoise/rows.wgsl", "denoise/transform.wgsl", "denoise/mask.wgsl");
pub(crate) const MASK_FEATURES: &str = wgsl!("denoise/rows.wgsl", "denoise/mask_features.wgsl");
pub(crate) const OVERLAP_ADD: &str = wgsl!("denoise/rows.wgsl", "denoise/overlap_add.wgsl");

/// The longest window whose transform fits into 16 KiB: 8 bytes for each sample.
pub(crate) const LONGEST_WINDOW: usize = 2048;
/// The most samples that are kept of a channel: 4 bytes for each.
pub(crate) const MOST_KEPT: usize = 4096;
/// The most units of a recurrent layer: 8 bytes for each of one channel.
pub(crate) const MOST_UNITS: usize = 2048;
/// The most iterations of an invocation, all its loops together: see `stage::tests::limits`.
pub(crate) const MOST_ITERATIONS: usize = 60_000;

/// What every kernel's parameters begin with: what changes from call to call.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Extent {
    pub(crate) rows: u32,
    pub(crate) channels: u32,
    pub(crate) hops: u32,
}

macro_rules! params {
    ($(#[$doc:meta] $name:ident { $($field:ident: $type:ty),* $(,)? })*) => { $(
        #[$doc]
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        pub(crate) struct $name {
            pub(crate) rows: u32,
            pub(crate) channels: u32,
            pub(crate) hops: u32,
            $(pub(crate) $field: $type,)*
        }
    )* };
}

// The WGSL structs have the same names and fields.
params! {
    /// Of `frame_windows`.
    FrameParams { window_len: u32, hop: u32, window_stride: u32 }
    /// Of `spectrum`.
    SpectrumParams { window_stride: u32, feature_stride: u32, floor: f32, offset: f32, scale: f32 }
    /// Of `dense`.
    DenseParams {
        inputs: u32, outputs: u32, source_quads: u32, weight_quads: u32, result_stride: u32, activation: u32,
    }
    /// Of `quantise`.
    QuantiseParams { len: u32, stride: u32, words: u32 }
    /// Of `dense_int8`.
    DenseInt8Params { outputs: u32, source_quads: u32, result_stride: u32, activation: u32 }
    /// Of `lstm` and `gru`.
    RecurrentParams { units: u32, state_len: u32, gate_stride: u32, result_stride: u32 }
    /// Of `layer_norm`.
    NormParams { len: u32, source_stride: u32, result_stride: u32, epsilon: f32 }
    /// Of `mask_spectrum`.
    MaskParams { mask_stride: u32, window_stride: u32, floor: f32 }
    /// Of `mask_features`.
    MaskFeaturesParams { size: u32, stride: u32 }
    /// Of `overlap_add` and `keep_ends`.
    OverlapParams { window_len: u32, hop: u32, window_stride: u32 }
}

/// The number that stands for it in the shader, and its floor, offset and scale.
pub(crate) fn feature_constants(feature: Feature) -> (u32, [f32; 3]) {
    match feature {
        Feature::Magnitude => (0, [0.0, 0.0, 1.0]),
        Feature::LogMagnitude { floor } => (1, [floor, 0.0, 1.0]),
        Feature::Log10Power { floor, offset, scale } => (2, [floor, offset, scale]),
    }
}

/// The number that stands for it in the shader.
pub(crate) fn activation_code(activation: Activation) -> u32 {
    match activation {
        Activation::Linear => 0,
        Activation::Relu => 1,
        Activation::Sigmoid => 2,
        Activation::Tanh => 3,
    }
}

/// Floats from one row to the next: rows are read in quads.
pub(crate) fn stride_of(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// The tile of a dense kernel: how many of its invocations stand along rows and along outputs; each makes 4 by 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DenseTile {
    pub(crate) row_lanes: usize,
    pub(crate) output_lanes: usize,
}

impl DenseTile {
    /// For many rows: 64 by 64.
    pub(crate) const WIDE: Self = Self { row_lanes: 16, output_lanes: 16 };
    /// For few rows: 8 by 128.
    pub(crate) const FLAT: Self = Self { row_lanes: 2, output_lanes: 32 };

    pub(crate) fn workgroups(self, rows: usize, outputs: usize) -> usize {
        rows.div_ceil(4 * self.row_lanes) * outputs.div_ceil(4 * self.output_lanes)
    }

    pub(crate) fn constants(self) -> Vec<(&'static str, usize)> {
        vec![
            ("ROW_LANES", self.row_lanes),
            ("OUTPUT_LANES", self.output_lanes),
            ("WORKGROUP_SIZE", self.row_lanes * self.output_lanes),
            ("ROW_QUADS", 20 * self.row_lanes),
            ("OUTPUT_QUADS", 20 * self.output_lanes),
        ]
    }
}

/// How a recurrent layer is run: by how many invocations, for how many channels at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecurrentTile {
    pub(crate) units: usize,
    pub(crate) channels: usize,
    pub(crate) weight_bits: usize,
}

impl RecurrentTile {
    /// The numbers of channels that the kernel knows.
    const CHANNELS: [usize; 4] = [1, 4, 8, 16];

    /// Every tile that fits into workgroup memory, the smallest first; none when not even one channel does.
    pub(crate) fn all(units: usize, weight_bits: usize) -> Vec<Self> {
        let tiles = Self::CHANNELS.map(|channels| Self { units, channels, weight_bits });
        tiles.into_iter().filter(|tile| tile.new_len() * 4 + tile.state_quads() * 16 <= 16 * 1024).collect()
    }

    /// Units whose h are in one quad.
    fn group_len(self) -> usize {
        if self.weight_bits == 8 { 16 } else { 4 }
    }

    fn groups(self) -> usize {
        self.units.div_ceil(self.group_len())
    }

    fn new_len(self) -> usize {
        self.channels * self.groups() * self.group_len()
    }

    fn state_quads(self) -> usize {
        self.channels * self.groups()
    }

    /// Units that each invocation has at most.
    fn passes(self) -> usize {
        self.units.div_ceil(256)
    }

    fn invocations(self) -> usize {
        self.units.div_ceil(self.passes()).next_multiple_of(32)
    }

    /// Iterations of an invocation before the first hop, and in each hop.
    pub(crate) fn iterations(self) -> (usize, usize) {
        let load = self.new_len().div_ceil(self.invocations());
        let publish = self.state_quads().div_ceil(self.invocations());
        (load, 1 + publish + self.passes() * (1 + self.groups()))
    }

    /// Hops that one dispatch may walk.
    pub(crate) fn most_hops(self) -> usize {
        let (before, each) = self.iterations();
        ((MOST_ITERATIONS - 1 - before) / each).max(1)
    }

    pub(crate) fn constants(self) -> Vec<(&'static str, usize)> {
        vec![
            ("WORKGROUP_SIZE", self.invocations()),
            ("CHANNELS", self.channels),
            ("NEW_LEN", self.new_len()),
            ("STATE_QUADS", self.state_quads()),
            ("WEIGHT_BITS", self.weight_bits),
        ]
    }
}
