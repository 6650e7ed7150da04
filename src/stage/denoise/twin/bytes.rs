//! Products of a matrix with rows of activations, as in `matrix`, both rounded to bytes.
//!
//! ```text
//! result = start + scale[row] * scale[output] * sum over inputs of byte(activation) * byte(weight)
//! ```
//!
//! Both are quantised symmetrically, `round(127 x / max|x|)`: weights by output, once; activations by row, each time.
//! The sums are exact. Processors multiply unsigned bytes by signed ones, so activations are kept 128 too large, and
//! what that adds, 128 times the sum of an output's weights, is taken off again.

use crate::simd::SimdLevel;
use crate::simd::dot::{self, ByteDot, ByteWork};

use super::matrix::{Rows, Start};

/// Vectors of outputs in a panel; as many sums as fit with eight rows, or with four where registers are few.
const PANEL_VECTORS: usize = 3;
/// Inputs that are multiplied at once.
const GROUP: usize = 4;
/// What activations are raised by.
const OFFSET: i32 = 128;
/// `1.5 * 2^23`: added to a small number, it leaves the nearest integer in the lowest bits.
const ROUNDER: f32 = 12_582_912.0;

#[derive(Debug)]
pub(crate) struct ByteMatrix {
    level: SimdLevel,
    outputs: usize,
    /// Groups of four inputs.
    groups: usize,
    inputs: usize,
    /// Panels of outputs, in each group after group, in each output after output, in each four inputs.
    weights: Vec<i8>,
    /// For each output.
    scales: Vec<f32>,
    /// For each output: what the offset of the activations adds.
    surplus: Vec<i32>,
}

impl ByteMatrix {
    pub(super) fn new(level: SimdLevel, inputs: usize, outputs: usize, weights: &[f32]) -> Self {
        let (lanes, groups) = (dot::lanes(level), inputs.div_ceil(GROUP));
        let mut quantised = vec![0_i8; outputs * groups * GROUP];
        let (mut scales, mut surplus) = (vec![0.0; outputs], vec![0; outputs]);
        for (output, row) in weights.chunks_exact(inputs.max(1)).enumerate() {
            let bytes = &mut quantised[output * groups * GROUP..][..inputs];
            scales[output] = quantise(row, bytes);
            surplus[output] = OFFSET * bytes.iter().map(|byte| i32::from(*byte)).sum::<i32>();
        }
        let packed = packed(&quantised, lanes, outputs, groups);
        Self { level, outputs, groups, inputs, weights: packed, scales, surplus }
    }

    pub(super) fn product(&self, rows: Rows<'_>, start: Start<'_>, results: &mut [f32], bytes: &mut Vec<u8>) {
        let row_bytes = self.groups * GROUP;
        bytes.resize(rows.count * (row_bytes + size_of::<f32>()), 0);
        let (bytes, scales) = bytes.split_at_mut(rows.count * row_bytes);
        let work = ByteProduct { matrix: self, rows, start, results, bytes, scales };
        dot::run(self.level, work);
    }
}

/// Rounds a row of weights to bytes; returns what a byte's step is worth.
fn quantise(row: &[f32], bytes: &mut [i8]) -> f32 {
    let largest = row.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
    let steps = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    for (byte, weight) in bytes.iter_mut().zip(row) {
        // Within -127..=127: the largest is 127 steps.
        #[expect(clippy::cast_possible_truncation, reason = "within -127..=127")]
        let rounded = (weight * steps).round_ties_even() as i8;
        *byte = rounded;
    }
    largest / 127.0
}

fn packed(quantised: &[i8], lanes: usize, outputs: usize, groups: usize) -> Vec<i8> {
    let mut packed = Vec::with_capacity(quantised.len());
    for first in (0..outputs).step_by(PANEL_VECTORS * lanes) {
        for group in 0..groups {
            for output in first..(first + PANEL_VECTORS * lanes).min(outputs) {
                packed.extend_from_slice(&quantised[(output * groups + group) * GROUP..][..GROUP]);
            }
        }
    }
    packed
}

struct ByteProduct<'a> {
    matrix: &'a ByteMatrix,
    rows: Rows<'a>,
    start: Start<'a>,
    results: &'a mut [f32],
    /// The activations, rounded; and the bytes of a scale for each row.
    bytes: &'a mut [u8],
    scales: &'a mut [u8],
}

impl ByteWork for ByteProduct<'_> {
    #[inline(always)]
    fn run<D: ByteDot>(mut self, dot: D) {
        for row in 0..self.rows.count {
            self.quantise_row(row);
        }
        let vectors = self.matrix.outputs / D::LANES;
        for first in (0..vectors).step_by(PANEL_VECTORS) {
            match vectors - first {
                1 => self.panel::<D, 1>(dot, first),
                2 => self.panel::<D, 2>(dot, first),
                _ => self.panel::<D, 3>(dot, first),
            }
        }
    }
}

#[expect(clippy::needless_range_loop, reason = "iterator adaptors may stay calls, see `simd`")]
impl ByteProduct<'_> {
    #[inline(always)]
    fn quantise_row(&mut self, row: usize) {
        let inputs = self.matrix.inputs;
        let activations = &self.rows.floats[row * self.rows.stride..][..inputs];
        // As integers, so that the compiler may take the maximum in any order; NaN counts as large.
        let mut largest = 0_u32;
        for activation in activations {
            largest = largest.max(activation.to_bits() & 0x7fff_ffff);
        }
        let largest = f32::from_bits(largest);
        let steps = if largest > 1e-30 { 127.0 / largest } else { 0.0 };
        let bytes = &mut self.bytes[row * self.matrix.groups * GROUP..][..inputs];
        for (byte, activation) in bytes.iter_mut().zip(activations) {
            #[expect(clippy::cast_possible_truncation, reason = "the lowest byte is what is wanted")]
            let rounded = (activation * steps + (ROUNDER + OFFSET as f32)).to_bits() as u8;
            *byte = rounded;
        }
        self.scales[row * 4..row * 4 + 4].copy_from_slice(&(largest / 127.0).to_ne_bytes());
    }

    #[inline(always)]
    fn panel<D: ByteDot, const VECTORS: usize>(&mut self, dot: D, first: usize) {
        let mut row = 0;
        if D::TILE_ROWS >= 8 {
            while row + 8 <= self.rows.count {
                self.tile::<D, 8, VECTORS>(dot, row, first);
                row += 8;
            }
        }
        if D::TILE_ROWS >= 4 {
            while row + 4 <= self.rows.count {
                self.tile::<D, 4, VECTORS>(dot, row, first);
                row += 4;
            }
        }
        while row < self.rows.count {
            self.tile::<D, 1, VECTORS>(dot, row, first);
            row += 1;
        }
    }

    #[inline(always)]
    fn tile<D: ByteDot, const ROWS: usize, const VECTORS: usize>(&mut self, dot: D, row: usize, first: usize) {
        let groups = self.matrix.groups;
        let width = VECTORS * D::LANES;
        let begin = first * D::LANES;
        let row_bytes = groups * GROUP;
        let panel = &self.matrix.weights[begin * row_bytes..(begin + width) * row_bytes];
        let mut rows: [&[[u8; GROUP]]; ROWS] = [&[]; ROWS];
        for (r, cut) in rows.iter_mut().enumerate() {
            *cut = &self.bytes[(row + r) * row_bytes..][..row_bytes].as_chunks().0[..groups];
        }
        let mut sums = [[dot.zeros(); VECTORS]; ROWS];
        for group in 0..groups {
            let weights = &panel[group * width * GROUP..(group + 1) * width * GROUP];
            for r in 0..ROWS {
                for v in 0..VECTORS {
                    sums[r][v] = dot.add_dot(sums[r][v], rows[r][group], &weights[v * D::LANES * GROUP..]);
                }
            }
        }
        for r in 0..ROWS {
            self.finish::<D, VECTORS>(dot, &sums[r], row + r, begin);
        }
    }

    /// From sums of bytes to results.
    #[inline(always)]
    fn finish<D: ByteDot, const VECTORS: usize>(
        &mut self,
        dot: D,
        sums: &[D::Sums; VECTORS],
        row: usize,
        begin: usize,
    ) {
        let width = VECTORS * D::LANES;
        let outputs = self.matrix.outputs;
        let mut scale = [0; 4];
        scale.copy_from_slice(&self.scales[row * 4..row * 4 + 4]);
        let scale = f32::from_ne_bytes(scale);
        let scales = &self.matrix.scales[begin..begin + width];
        let surplus = &self.matrix.surplus[begin..begin + width];
        let results = &mut self.results[row * outputs + begin..][..width];
        if let Start::Bias(bias) = self.start {
            results.copy_from_slice(&bias[begin..begin + width]);
        }
        for v in 0..VECTORS {
            let at = v * D::LANES;
            dot.add_scaled(sums[v], &surplus[at..], scale, &scales[at..], &mut results[at..]);
        }
    }
}
