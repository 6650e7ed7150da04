//! What happens between the transforms: the response is applied, the powers are measured.
//!
//! Complex windows: bin k is multiplied by H(k).
//!
//! Real windows: their N samples were read as L = N / 2 complex numbers `z[p] = x[2p] + i x[2p+1]`.
//! With Z the transform of z, k' = -k (on both axes), w = exp(-2 pi i k / N) along the columns:
//!
//! ```text
//! E = (Z[k] + conj Z[k']) / 2          transform of the even samples
//! O = (Z[k] - conj Z[k']) / 2i         transform of the odd samples
//! X[k] = E + w O,  X[k + L] = E - w O  the spectrum itself, needed only for the powers
//! S = (H(k) + H(k + L)) / 2,  D = (H(k) - H(k + L)) / 2
//! E' = S E + D w O,  O' = D conj(w) E + S O
//! Z'[k] = E' + i O',  Z'[k'] = conj(E' - i O')
//! ```
//!
//! Bins k and k' share everything, so they are done together. Two real windows packed as real and
//! imaginary part would need no such step, but there the rounding of a loud window leaks into a
//! quiet one, and a window's result depends on its neighbour.

use super::butterfly::{self, Bin};
use super::pass::{Pass, reverse_bits};
use super::{Axes, WindowShape};
use crate::simd::{Simd, Vector};
use std::f64::consts::TAU;
use std::ops::Range;

/// Applies a response to the bins of one or more transforms, in their bit-reversed order.
#[derive(Debug)]
pub(super) enum Response {
    /// One entry per position.
    Complex(Vec<ComplexBin>),
    /// One entry per pair of positions, those of a [`LeafPair`] together.
    Real(Vec<RealPair>),
}

/// What happens to one bin of a complex window.
#[derive(Debug)]
pub(super) struct ComplexBin {
    /// H / L: undoes the gain of the two transforms.
    gain: f32,
    /// Weight of the bin in [`super::Power::weighted`].
    weight: f32,
}

/// What happens to the bins at `first` and `second` (= -first) of a real window.
#[derive(Debug)]
pub(super) struct RealPair {
    first: usize,
    second: usize,
    /// S / 2L: undoes the gain of the transforms and that of E and O, computed without their half.
    sum: f32,
    /// D w / 2L.
    difference: [f32; 2],
    /// w.
    turn: [f32; 2],
    /// Weights of `|X[k]|^2` and `|X[k + L]|^2`, both as computed from 2E and 2O.
    weights: [f32; 2],
    /// The same for the total.
    count: f32,
}

/// Two stretches of positions that hold each other's partners; `first == second` if it is one.
#[derive(Debug)]
pub(super) struct LeafPair {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) len: usize,
    /// The table entries of these positions.
    pub(super) entries: Range<usize>,
}

/// The functions that a filter is made of: both take absolute frequencies in cycles per sample.
pub(super) struct Functions<'a> {
    pub(super) response: &'a dyn Fn(f64, f64) -> f64,
    pub(super) weight: &'a dyn Fn(f64, f64) -> f64,
}

/// How the positions of a transform are laid out in memory.
pub(super) struct Layout<'a> {
    /// The pass that may have padded legs.
    pub(super) first_pass: &'a Pass,
    /// Positions in a leaf.
    pub(super) leaf_len: usize,
}

/// Sums of weighted power and of power, per lane.
pub(super) type Sums<V> = [V; 2];

impl Response {
    /// Builds the table, and the list of leaves in its order.
    pub(super) fn plan(shape: WindowShape, layout: &Layout<'_>, functions: &Functions<'_>) -> (Self, Vec<LeafPair>) {
        match shape.domain {
            super::Domain::Complex => Self::plan_complex(shape.axes(), layout, functions),
            super::Domain::Real => Self::plan_real(shape.axes(), layout, functions),
        }
    }

    fn plan_complex(axes: Axes, layout: &Layout<'_>, functions: &Functions<'_>) -> (Self, Vec<LeafPair>) {
        let bins = (0..axes.len()).map(|position| {
            let [row, column] = axes.bin_at(position);
            let frequency = [cycles(row, axes.rows), cycles(column, axes.columns)];
            ComplexBin {
                gain: round((functions.response)(frequency[0], frequency[1]) / axes.len() as f64),
                weight: round((functions.weight)(frequency[0], frequency[1])),
            }
        });
        let leaves = (0..axes.len()).step_by(layout.leaf_len).map(|start| LeafPair {
            first: layout.first_pass.padded(start),
            second: layout.first_pass.padded(start),
            len: layout.leaf_len,
            entries: start..start + layout.leaf_len,
        });
        (Self::Complex(bins.collect()), leaves.collect())
    }

    fn plan_real(axes: Axes, layout: &Layout<'_>, functions: &Functions<'_>) -> (Self, Vec<LeafPair>) {
        let Layout { first_pass, leaf_len } = *layout;
        let mut pairs = Vec::new();
        let mut leaves = Vec::new();
        for leaf in (0..axes.len()).step_by(leaf_len) {
            let partner_leaf = axes.partner(leaf) / leaf_len * leaf_len;
            if partner_leaf < leaf {
                continue;
            }
            let start = pairs.len();
            for first in leaf..leaf + leaf_len {
                let second = axes.partner(first);
                if first <= second {
                    let pair = RealPair::new(axes, [first, second], functions);
                    pairs.push(pair.moved(|position| first_pass.padded(position)));
                }
            }
            leaves.push(LeafPair {
                first: first_pass.padded(leaf),
                second: first_pass.padded(partner_leaf),
                len: leaf_len,
                entries: start..pairs.len(),
            });
        }
        (Self::Real(pairs), leaves)
    }

    /// Applies the response to the positions of `leaf`; adds their powers to `sums` if `POWERS`.
    #[inline(always)]
    pub(super) fn apply<S: Simd, const POWERS: bool>(
        &self,
        simd: S,
        work: &mut [Bin<S::Vector>],
        leaf: &LeafPair,
        sums: &mut Sums<S::Vector>,
    ) {
        let zero = simd.splat(0.0);
        // Summed per leaf first: fewer roundings than one long chain.
        let mut leaf_sums = [zero; 2];
        match self {
            Self::Complex(bins) => {
                let bins = &bins[leaf.entries.clone()];
                let work = &mut work[leaf.first..leaf.first + leaf.len];
                for i in 0..work.len().min(bins.len()) {
                    work[i] = bins[i].apply::<S, POWERS>(simd, work[i], &mut leaf_sums);
                }
            }
            Self::Real(pairs) => {
                for pair in &pairs[leaf.entries.clone()] {
                    pair.apply::<S, POWERS>(simd, work, &mut leaf_sums);
                }
            }
        }
        if POWERS {
            sums[0] = sums[0] + leaf_sums[0];
            sums[1] = sums[1] + leaf_sums[1];
        }
    }
}

impl ComplexBin {
    #[inline(always)]
    fn apply<S: Simd, const POWERS: bool>(
        &self,
        simd: S,
        bin: Bin<S::Vector>,
        sums: &mut Sums<S::Vector>,
    ) -> Bin<S::Vector> {
        if POWERS {
            let power = power(bin);
            sums[0] = power.mul_add(simd.splat(self.weight), sums[0]);
            sums[1] = sums[1] + power;
        }
        let gain = simd.splat(self.gain);
        [bin[0] * gain, bin[1] * gain]
    }
}

impl RealPair {
    fn new(axes: Axes, [first, second]: [usize; 2], functions: &Functions<'_>) -> Self {
        let [row, column] = axes.bin_at(first);
        let rate = cycles(row, axes.rows);
        // The real window has twice as many columns as there are complex numbers in a row.
        let samples = 2 * axes.columns;
        let (low, high) = (cycles(column, samples), cycles(column + axes.columns, samples));
        let (gain, high_gain) = ((functions.response)(rate, low), (functions.response)(rate, high));
        let scale = 1.0 / (4.0 * axes.len() as f64);
        let angle = -TAU * column as f64 / samples as f64;
        let (sin, cos) = angle.sin_cos();
        let difference = (gain - high_gain) * scale;
        // A pair stands for the 4 bins k, k + L, k', k' + L; a bin that is its own partner for 2.
        // The quarter is that of |2E + 2wO|^2.
        let count = if first == second { 0.25 } else { 0.5 };
        Self {
            first,
            second,
            sum: round((gain + high_gain) * scale),
            difference: [round(difference * cos), round(difference * sin)],
            turn: [round(cos), round(sin)],
            weights: [round((functions.weight)(rate, low) * count), round((functions.weight)(rate, high) * count)],
            count: round(count),
        }
    }

    fn moved(self, to: impl Fn(usize) -> usize) -> Self {
        Self { first: to(self.first), second: to(self.second), ..self }
    }

    #[inline(always)]
    fn apply<S: Simd, const POWERS: bool>(&self, simd: S, work: &mut [Bin<S::Vector>], sums: &mut Sums<S::Vector>) {
        let (a, b) = (work[self.first], work[self.second]);
        // 2E = a + conj(b), 2O = -i (a - conj(b))
        let even = [a[0] + b[0], a[1] - b[1]];
        let odd = [a[1] + b[1], b[0] - a[0]];
        if POWERS {
            self.measure(simd, even, odd, sums);
        }
        let sum = simd.splat(self.sum);
        let g = [simd.splat(self.difference[0]), simd.splat(self.difference[1])];
        let cross_even = butterfly::multiply(odd, g);
        let cross_odd = butterfly::multiply_conj(even, g);
        let even = [even[0].mul_add(sum, cross_even[0]), even[1].mul_add(sum, cross_even[1])];
        let odd = [odd[0].mul_add(sum, cross_odd[0]), odd[1].mul_add(sum, cross_odd[1])];
        work[self.second] = [even[0] + odd[1], odd[0] - even[1]];
        work[self.first] = butterfly::add_i(even, odd);
    }

    #[inline(always)]
    fn measure<S: Simd>(&self, simd: S, even: Bin<S::Vector>, odd: Bin<S::Vector>, sums: &mut Sums<S::Vector>) {
        let turn = [simd.splat(self.turn[0]), simd.splat(self.turn[1])];
        let turned = butterfly::multiply(odd, turn);
        let low = power(butterfly::add(even, turned));
        let high = power(butterfly::sub(even, turned));
        sums[0] = low.mul_add(simd.splat(self.weights[0]), sums[0]);
        sums[0] = high.mul_add(simd.splat(self.weights[1]), sums[0]);
        sums[1] = (low + high).mul_add(simd.splat(self.count), sums[1]);
    }
}

/// `|bin|^2`
#[inline(always)]
fn power<V: Vector>(bin: Bin<V>) -> V {
    bin[0].mul_add(bin[0], bin[1] * bin[1])
}

/// The absolute frequency of bin `bin` of `len`, in cycles per sample: 0 to 0.5.
fn cycles(bin: usize, len: usize) -> f64 {
    bin.min(len - bin) as f64 / len as f64
}

#[expect(clippy::cast_possible_truncation, reason = "tables are computed in f64 and rounded to f32")]
fn round(value: f64) -> f32 {
    value as f32
}

impl Axes {
    fn len(self) -> usize {
        self.rows * self.columns
    }

    /// The row and column frequency, as bins, that the transform leaves at `position`.
    fn bin_at(self, position: usize) -> [usize; 2] {
        [
            reverse_bits(position / self.columns, self.rows.ilog2()),
            reverse_bits(position % self.columns, self.columns.ilog2()),
        ]
    }

    /// The position of the bin with both frequencies negated.
    fn partner(self, position: usize) -> usize {
        let (row, column) = (position / self.columns, position % self.columns);
        negate_reversed(row) * self.columns + negate_reversed(column)
    }
}

/// Where bin -k lies if bin k lies at `position` of a bit-reversed axis: negation keeps the lowest
/// set bit of k and flips those above it, which in reverse are those below the highest set bit.
fn negate_reversed(position: usize) -> usize {
    match position.checked_ilog2() {
        Some(highest) => position ^ ((1 << highest) - 1),
        None => 0,
    }
}
