//! Products of a matrix of weights with many rows of activations: where nearly all of the time goes.
//!
//! ```text
//! result[row][output] = start + sum over inputs of activation[row][input] * weight[output][input]
//! ```
//!
//! Weights are packed in panels of three vectors of outputs, input after input, so that a panel is read from end to end:
//!
//! ```text
//! panel 0: | in 0: out 0 .. 3 lanes | in 1: out 0 .. 3 lanes | ...   panel 1: | in 0: out 3 lanes .. | ...
//! ```
//!
//! A tile of up to eight rows and a panel is 24 sums in registers; per input it takes three loads of weights and eight
//! of activations for 24 multiply-adds. A lone row takes three panels at once, so that its sums do not wait for each
//! other. Each sum runs over the inputs in order, whatever the tile: a row's result does not depend on its neighbours.

use std::ops::Range;

use crate::memory::HostBuffer;
use crate::simd::{Simd, SimdLevel, Vector as _, Work};
use crate::stage::denoise::network::Precision;

use super::bytes::ByteMatrix;

/// Rows of activations and of results start this many floats apart, or a multiple: whole vectors on every level.
const STRIDE: usize = 16;
/// Vectors of outputs in a panel.
const PANEL_VECTORS: usize = 3;
/// Inputs of a panel that all rows go through before the next: with 48 outputs, 24 KiB that stay in the innermost cache.
const PIECE_INPUTS: usize = 128;
/// Panels that a lone row takes at once.
const LONE_ROW_PANELS: usize = 3;

/// Floats from one row of `len` values to the next.
pub(crate) fn stride(len: usize) -> usize {
    len.next_multiple_of(STRIDE)
}

/// Weights, packed for the vectors of one level.
#[derive(Debug)]
pub(crate) struct Matrix {
    level: SimdLevel,
    inputs: usize,
    /// Of results, in floats: whole vectors.
    outputs: usize,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    F32(HostBuffer),
    /// Two halves in each float.
    F16(HostBuffer),
    Int8(ByteMatrix),
}

/// What a sum starts from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    /// A value for each output, and zeros up to the stride.
    Bias(&'a [f32]),
    /// What the results hold.
    Results,
}

/// Rows of activations, `stride` apart; the matrix says how many values of each are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) floats: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) count: usize,
}

impl Matrix {
    /// Packs `weights` of `[outputs, inputs]`; outputs are filled up with zeros to the stride.
    pub(crate) fn new(level: SimdLevel, precision: Precision, inputs: usize, weights: &[f32]) -> Self {
        let outputs = stride(weights.len() / inputs.max(1));
        let weights = match precision {
            Precision::F32 => Weights::F32(packed(level.lanes(), inputs, outputs, weights)),
            Precision::F16 => {
                let floats = packed(level.lanes(), inputs, outputs, weights);
                let mut halves = HostBuffer::zeroed(floats.len().div_ceil(2));
                let room: &mut [u16] = bytemuck::cast_slice_mut(&mut halves);
                room.iter_mut().zip(&*floats).for_each(|(half, float)| *half = half::f16::from_f32(*float).to_bits());
                Weights::F16(halves)
            }
            Precision::Int8 => Weights::Int8(ByteMatrix::new(level, inputs, outputs, weights)),
        };
        Self { level, inputs, outputs, weights }
    }

    /// Floats in a row of results.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Writes a row of results for each row of activations, `self.outputs()` floats apart.
    pub(crate) fn product(&self, rows: Rows<'_>, start: Start<'_>, results: &mut [f32], bytes: &mut Vec<u8>) {
        let (level, inputs, outputs) = (self.level, self.inputs, self.outputs);
        match &self.weights {
            Weights::F32(weights) => level.run(Product { weights, inputs, outputs, rows, start, results }),
            Weights::F16(weights) => {
                let weights: &[u16] = bytemuck::cast_slice(weights);
                level.run(Product { weights, inputs, outputs, rows, start, results });
            }
            Weights::Int8(matrix) => matrix.product(rows, start, results, bytes),
        }
    }
}

/// The vectors of each panel: threes, and what is left.
fn panels(vectors: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..vectors).step_by(PANEL_VECTORS).map(move |first| (first, PANEL_VECTORS.min(vectors - first)))
}

fn packed(lanes: usize, inputs: usize, outputs: usize, weights: &[f32]) -> HostBuffer {
    let mut packed = HostBuffer::zeroed(inputs * outputs);
    let mut place = 0;
    for (first, vectors) in panels(outputs / lanes) {
        for input in 0..inputs {
            for output in first * lanes..(first + vectors) * lanes {
                packed[place] = weights.get(output * inputs + input).copied().unwrap_or(0.0);
                place += 1;
            }
        }
    }
    packed
}

/// How a weight is kept.
trait Stored: bytemuck::Pod {
    fn load<S: Simd>(simd: S, from: &[Self]) -> S::Vector;

    /// Asks for the memory from here on.
    #[inline(always)]
    fn prefetch<S: Simd>(simd: S, from: &[Self]) {
        simd.prefetch_far(bytemuck::cast_slice(from));
    }
}

impl Stored for f32 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self]) -> S::Vector {
        simd.load(from)
    }
}

impl Stored for u16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, from: &[Self]) -> S::Vector {
        simd.load_half(from)
    }
}

struct Product<'a, W> {
    weights: &'a [W],
    inputs: usize,
    outputs: usize,
    rows: Rows<'a>,
    start: Start<'a>,
    results: &'a mut [f32],
}

impl<W: Stored> Work for Product<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let vectors = self.outputs / S::LANES;
        let mut first = 0;
        while first < vectors {
            let count = PANEL_VECTORS.min(vectors - first);
            match count {
                3 => self.panel::<S, 3>(simd, first),
                2 => self.panel::<S, 2>(simd, first),
                _ => self.panel::<S, 1>(simd, first),
            }
            first += count;
        }
    }
}

#[expect(clippy::needless_range_loop, reason = "iterator adaptors may stay calls, see `simd`")]
impl<W: Stored> Product<'_, W> {
    /// All rows with the panel whose first vector is `first`, a piece of it at a time.
    #[inline(always)]
    fn panel<S: Simd, const VECTORS: usize>(&mut self, simd: S, first: usize) {
        let start = self.start;
        let mut begin = 0;
        while begin < self.inputs || begin == 0 {
            let end = if self.rows.count > 1 { self.inputs.min(begin + PIECE_INPUTS) } else { self.inputs };
            self.piece::<S, VECTORS>(simd, first, begin..end);
            self.start = Start::Results;
            begin = end.max(1);
        }
        self.start = start;
    }

    /// All rows with some inputs of a panel.
    #[inline(always)]
    fn piece<S: Simd, const VECTORS: usize>(&mut self, simd: S, first: usize, inputs: Range<usize>) {
        let count = self.rows.count;
        let mut row = 0;
        let mut tile = 0;
        if S::TILE_ROWS >= 8 {
            while row + 8 <= count {
                self.tile::<S, 8, VECTORS>(simd, (tile, row), first, &inputs);
                (tile, row) = (tile + 1, row + 8);
            }
        }
        if S::TILE_ROWS >= 4 {
            while row + 4 <= count {
                self.tile::<S, 4, VECTORS>(simd, (tile, row), first, &inputs);
                (tile, row) = (tile + 1, row + 4);
            }
        }
        while row < count {
            // A lone row goes through three panels at a time, with the first of them.
            let panel = first / PANEL_VECTORS;
            let all_full = (panel - panel % LONE_ROW_PANELS + LONE_ROW_PANELS) * PANEL_VECTORS * S::LANES;
            if S::TILE_ROWS > 1 && count == 1 && VECTORS == PANEL_VECTORS && all_full <= self.outputs {
                if panel.is_multiple_of(LONE_ROW_PANELS) {
                    self.lone_row(simd, row, first);
                }
            } else {
                self.tile::<S, 1, VECTORS>(simd, (usize::MAX, row), first, &inputs);
            }
            row += 1;
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        (tile, row): (usize, usize),
        first: usize,
        inputs: &Range<usize>,
    ) {
        let (outputs, stride) = (self.outputs, self.rows.stride);
        let width = VECTORS * S::LANES;
        let begin = first * S::LANES;
        let (panel, next) = self.weights[begin * self.inputs + inputs.start * width..].split_at(inputs.len() * width);
        // While all rows go through this piece, the first tiles ask for the next one, a vector of each input each.
        let ahead = if tile < VECTORS { &next[next.len().min(tile * S::LANES)..] } else { &[] };
        let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
        for (r, cut) in rows.iter_mut().enumerate() {
            *cut = &self.rows.floats[(row + r) * stride..][inputs.clone()];
        }
        let inputs = inputs.len();
        let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
        for r in 0..ROWS {
            let from = match self.start {
                Start::Bias(bias) => &bias[begin..begin + width],
                Start::Results => &self.results[(row + r) * outputs + begin..][..width],
            };
            for v in 0..VECTORS {
                sums[r][v] = simd.load(&from[v * S::LANES..]);
            }
        }
        for input in 0..inputs {
            let weights = &panel[input * width..(input + 1) * width];
            if input * width < ahead.len() {
                W::prefetch(simd, &ahead[input * width..]);
            }
            let mut loaded = [sums[0][0]; VECTORS];
            for v in 0..VECTORS {
                loaded[v] = W::load(simd, &weights[v * S::LANES..]);
            }
            for r in 0..ROWS {
                let activation = simd.splat(rows[r][input]);
                for v in 0..VECTORS {
                    sums[r][v] = loaded[v].mul_add(activation, sums[r][v]);
                }
            }
        }
        for r in 0..ROWS {
            let to = &mut self.results[(row + r) * outputs + begin..][..width];
            for v in 0..VECTORS {
                sums[r][v].store(&mut to[v * S::LANES..]);
            }
        }
    }

    /// One row with three panels: nine sums that do not wait for each other.
    #[inline(always)]
    fn lone_row<S: Simd>(&mut self, simd: S, row: usize, first: usize) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let width = PANEL_VECTORS * S::LANES;
        let begin = first * S::LANES;
        let mut panels: [&[W]; LONE_ROW_PANELS] = [&[]; LONE_ROW_PANELS];
        for (p, panel) in panels.iter_mut().enumerate() {
            *panel = &self.weights[(begin + p * width) * inputs..][..width * inputs];
        }
        let all = LONE_ROW_PANELS * width;
        let from = match self.start {
            Start::Bias(bias) => &bias[begin..begin + all],
            Start::Results => &self.results[row * outputs + begin..][..all],
        };
        let mut sums = [[simd.splat(0.0); PANEL_VECTORS]; LONE_ROW_PANELS];
        for p in 0..LONE_ROW_PANELS {
            for v in 0..PANEL_VECTORS {
                sums[p][v] = simd.load(&from[p * width + v * S::LANES..]);
            }
        }
        let activations = &self.rows.floats[row * self.rows.stride..][..inputs];
        for input in 0..inputs {
            let activation = simd.splat(activations[input]);
            for p in 0..LONE_ROW_PANELS {
                let weights = &panels[p][input * width..(input + 1) * width];
                for v in 0..PANEL_VECTORS {
                    sums[p][v] = W::load(simd, &weights[v * S::LANES..]).mul_add(activation, sums[p][v]);
                }
            }
        }
        let to = &mut self.results[row * outputs + begin..][..all];
        for p in 0..LONE_ROW_PANELS {
            for v in 0..PANEL_VECTORS {
                sums[p][v].store(&mut to[p * width + v * S::LANES..]);
            }
        }
    }
}
