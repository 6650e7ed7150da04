//! A model as the list of kernels that a GPU runs for each call, in order: plain data, that names no GPU.
//!
//! ```text
//! frame_windows -> | spectrum         -> dense, lstm, ... -> mask_spectrum                  | -> overlap_add -> keep_ends
//!                  | dense (encoder)  -> dense, lstm, ... -> mask_features, dense (decoder) |
//! ```
//!
//! Rows, slots and hops are explained in `shaders/denoise/rows.wgsl`. A recurrent layer is two kernels: `dense` gives
//! what the input adds to the gates, for all hops at once; then one that walks through the hops.

mod table;

mod build;

use std::collections::BTreeMap;

use super::kernel::{DenseTile, Extent, RecurrentTile};

pub(crate) use table::Table;

/// Memory that kernels read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// For each slot: its channel.
    Channels,
    /// For each slot: what to do in each hop.
    Steps,
    /// For each slot: the samples of the call.
    Samples,
    /// For each slot: the finished samples.
    Finished,
    /// For each row: a window, before and after each part.
    Windows,
    /// For each row: the spectrum of its window, or what a learned basis made of it.
    Basis,
    /// For each row: what a layer gives; they take turns.
    Layer(usize),
    /// For each row: what the input of a recurrent layer adds to its gates.
    Gates,
    /// For each row: the input of a dense layer in 8 bits, and its scale.
    Packed,
    PackedScale,
    /// For each channel.
    History,
    Tails,
    /// For each channel: of a recurrent layer, counted through all parts.
    State(usize),
    /// For each channel: the factors of a scaled layer's outputs.
    Scales(usize),
    /// For all: one of `tables`.
    Table(usize),
    /// Bound where a kernel has no use for what would be there.
    Nothing,
}

/// How many workgroups a kernel is run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// One for each row.
    Rows,
    /// One for each slot.
    Slots,
    /// An invocation for each of so many items of a row, 256 in a workgroup.
    Items(usize),
    /// A tile of rows by outputs; which tile, is decided in each call.
    Dense { outputs: usize },
    /// One for some slots; how many, is decided in each call.
    Recurrent(Vec<RecurrentTile>),
}

/// Invocations in a workgroup of those kernels that make one number each.
const ITEMS_PER_WORKGROUP: usize = 256;
/// Rows from which a dense layer takes the wide tile.
const MANY_ROWS: usize = 16;

/// What a device is good at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceTraits {
    /// Workgroups that keep it busy; more channels in each are better from there on.
    pub(crate) busy_workgroups: usize,
}

impl Work {
    /// What the kernel's constants can be, besides those that never change.
    pub(crate) fn variants(&self) -> Vec<Vec<(&'static str, usize)>> {
        match self {
            Self::Rows | Self::Slots | Self::Items(_) => vec![Vec::new()],
            Self::Dense { .. } => [DenseTile::FLAT, DenseTile::WIDE].map(DenseTile::constants).to_vec(),
            Self::Recurrent(tiles) => tiles.iter().map(|tile| tile.constants()).collect(),
        }
    }

    /// Which variant a call takes, and with how many workgroups. The results are the same to the bit.
    pub(crate) fn choose(&self, extent: Extent, device: DeviceTraits) -> (usize, usize) {
        let (rows, channels) = (extent.rows as usize, extent.channels as usize);
        match self {
            Self::Rows => (0, rows),
            Self::Slots => (0, channels),
            Self::Items(items) => (0, (rows * items).div_ceil(ITEMS_PER_WORKGROUP)),
            Self::Dense { outputs } if rows < MANY_ROWS => (0, DenseTile::FLAT.workgroups(rows, *outputs)),
            Self::Dense { outputs } => (1, DenseTile::WIDE.workgroups(rows, *outputs)),
            Self::Recurrent(tiles) => {
                let enough = |tile: &RecurrentTile| channels.div_ceil(tile.channels) <= device.busy_workgroups;
                // More than all channels in one workgroup gains nothing.
                let covers = |tile: &RecurrentTile| tile.channels >= channels;
                let place = tiles.iter().position(|tile| enough(tile) || covers(tile)).unwrap_or(tiles.len() - 1);
                (place, channels.div_ceil(tiles[place].channels))
            }
        }
    }
}

/// One kernel of the program.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) label: String,
    pub(crate) wgsl: &'static str,
    pub(crate) entry: &'static str,
    pub(crate) constants: Vec<(&'static str, usize)>,
    pub(crate) work: Work,
    /// What is bound after `params`, and whether it is written.
    pub(crate) bound: Vec<(Place, bool)>,
    /// The words of `params`; the first are an [`Extent`], which each call sets.
    pub(crate) params: Vec<u32>,
}

/// A model with its options, as kernels in the order in which they run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) operations: Vec<Operation>,
    pub(crate) tables: Vec<Table>,
    /// Words in each row, or of each channel.
    pub(crate) per_row: BTreeMap<Place, usize>,
    pub(crate) per_channel: BTreeMap<Place, usize>,
    /// For each layer of all parts that is scaled: the tensor that its factors start with.
    pub(crate) scaled: BTreeMap<usize, String>,
    /// Hops that the kernels can walk through in one call.
    pub(crate) most_hops: usize,
    pub(crate) hop: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_take_the_tiles_that_keep_a_device_busy() {
        let extent = |channels, hops| Extent { rows: channels * hops, channels, hops };
        let channels_at_once = |units, channels, busy_workgroups| {
            let tiles = RecurrentTile::all(units, 32);
            let work = Work::Recurrent(tiles.clone());
            let (place, workgroups) = work.choose(extent(channels, 3), DeviceTraits { busy_workgroups });
            assert_eq!(workgroups, (channels as usize).div_ceil(tiles[place].channels), "all channels are walked");
            tiles[place].channels
        };
        assert_eq!([1, 4, 5, 17, 40].map(|channels| channels_at_once(128, channels, 4)), [1, 1, 4, 8, 16]);
        assert_eq!([40, 128, 600, 50_000].map(|channels| channels_at_once(128, channels, 128)), [1, 1, 8, 16]);
        // More units leave room for fewer channels.
        assert_eq!([256, 400, 1024, 2048].map(|units| channels_at_once(units, 50_000, 128)), [8, 4, 1, 1]);
        let dense = Work::Dense { outputs: 257 };
        let device = DeviceTraits { busy_workgroups: 4 };
        assert_eq!(dense.choose(extent(1, 1), device), (0, 3), "8 rows by 128 outputs");
        assert_eq!(dense.choose(extent(65, 1), device), (1, 2 * 5), "64 rows by 64 outputs");
    }
}
