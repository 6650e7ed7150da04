//! One pass of butterflies over all positions of a transform, forward or inverse.
//!
//! A transform of `rows * columns` points is a list of passes, first those along the rows' axis,
//! then those along the columns' axis. The forward transform runs them from first to last, the
//! inverse one from last to first; the order in between is bit-reversed on each axis.
//!
//! ```text
//! block of radix * span positions:   leg 0 | leg 1 | ... | leg radix-1     each `span` long
//! butterfly j:                       position j of each leg
//! ```

use super::butterfly::{self, Bin};
use crate::simd::Simd;
use std::f64::consts::TAU;
use std::ops::Range;

/// Butterflies of `radix` legs that lie `span` positions apart.
#[derive(Debug)]
pub(super) struct Pass {
    radix: usize,
    span: usize,
    /// From the start of a leg to that of the next; more than `span` where legs are padded.
    leg_stride: usize,
    /// Butterflies `j` with the same `j >> set_shift` share a set of twiddles.
    set_shift: u32,
    /// Sets of `radix` factors `[cos, sin]`, the first of which is 1; empty if all are 1.
    twiddles: Vec<[f32; 2]>,
}

/// The passes of a transform; `rows` and `columns` are powers of two.
///
/// The legs of the first pass are at least `min_span` long, as that one runs tile by tile.
pub(super) fn plan(rows: usize, columns: usize, max_radix: usize, min_span: usize) -> Vec<Pass> {
    let mut passes = Vec::new();
    for (axis, stride) in [(rows, columns), (columns, 1)] {
        let mut remaining = axis;
        for mut radix in radices(axis, max_radix) {
            while passes.is_empty() && remaining * stride < radix * min_span && radix > 2 {
                radix /= 2;
            }
            passes.push(Pass::new(radix, remaining, stride));
            remaining /= radix;
        }
        while remaining > 1 {
            passes.push(Pass::new(2, remaining, stride));
            remaining /= 2;
        }
    }
    passes
}

/// Splits a power of two into as few radices as possible, as equal as possible, small ones first.
fn radices(len: usize, max_radix: usize) -> Vec<usize> {
    let bits = len.ilog2();
    let max_bits = max_radix.ilog2();
    let mut remaining = bits;
    let mut radices = Vec::new();
    for passes_left in (1..=bits.div_ceil(max_bits)).rev() {
        let share = remaining / passes_left;
        radices.push(1 << share);
        remaining -= share;
    }
    radices
}

/// The `bits` lowest bits of `value` in reverse order.
pub(crate) fn reverse_bits(value: usize, bits: u32) -> usize {
    value.reverse_bits().checked_shr(usize::BITS - bits).unwrap_or(0)
}

impl Pass {
    /// The pass that splits sub-transforms of `len` points, `stride` positions apart, by `radix`.
    fn new(radix: usize, len: usize, stride: usize) -> Self {
        let sets = len / radix;
        let mut twiddles = Vec::new();
        if sets > 1 {
            for j in 0..sets {
                for slot in 0..radix {
                    let bin = reverse_bits(slot, radix.ilog2());
                    twiddles.push(unit_root(j * bin, len));
                }
            }
        }
        Self { radix, span: sets * stride, leg_stride: sets * stride, set_shift: stride.ilog2(), twiddles }
    }

    pub(super) fn radix(&self) -> usize {
        self.radix
    }

    pub(super) fn span(&self) -> usize {
        self.span
    }

    pub(super) fn leg_stride(&self) -> usize {
        self.leg_stride
    }

    pub(super) fn block_len(&self) -> usize {
        self.radix * self.leg_stride
    }

    /// Moves the legs `padding` positions further apart.
    pub(super) fn pad_legs(&mut self, padding: usize) {
        self.leg_stride += padding;
    }

    /// Where a position of the (only) block lies when its legs are padded.
    pub(super) fn padded(&self, position: usize) -> usize {
        position / self.span * self.leg_stride + position % self.span
    }

    /// Runs the pass on all butterflies of `work`, which is one or more whole blocks.
    #[inline(always)]
    pub(super) fn run<S: Simd, const INVERSE: bool>(&self, simd: S, work: &mut [Bin<S::Vector>]) {
        for block in work.chunks_exact_mut(self.block_len()) {
            self.run_part::<S, INVERSE>(simd, block, 0..self.span);
        }
    }

    /// Runs the butterflies `part` (of `0..span`) of one block.
    #[inline(always)]
    pub(super) fn run_part<S: Simd, const INVERSE: bool>(
        &self,
        simd: S,
        block: &mut [Bin<S::Vector>],
        part: Range<usize>,
    ) {
        match (self.radix, self.twiddles.is_empty()) {
            (8, false) => self.butterflies::<S, 8, INVERSE, true>(simd, block, part),
            (8, true) => self.butterflies::<S, 8, INVERSE, false>(simd, block, part),
            (4, false) => self.butterflies::<S, 4, INVERSE, true>(simd, block, part),
            (4, true) => self.butterflies::<S, 4, INVERSE, false>(simd, block, part),
            (_, false) => self.butterflies::<S, 2, INVERSE, true>(simd, block, part),
            (_, true) => self.butterflies::<S, 2, INVERSE, false>(simd, block, part),
        }
    }

    #[inline(always)]
    fn butterflies<S: Simd, const RADIX: usize, const INVERSE: bool, const TWIDDLED: bool>(
        &self,
        simd: S,
        block: &mut [Bin<S::Vector>],
        part: Range<usize>,
    ) {
        let eighth = simd.splat(butterfly::COS_EIGHTH);
        let zero = simd.splat(0.0);
        let sets = self.twiddles.as_chunks::<RADIX>().0;
        let mut legs = legs::<_, RADIX>(block, self.leg_stride);
        for leg in &mut legs {
            *leg = &mut std::mem::take(leg)[part.clone()];
        }
        for j in 0..part.len() {
            let mut x = [[zero; 2]; RADIX];
            for leg in 0..RADIX {
                x[leg] = legs[leg][j];
            }
            if INVERSE {
                if TWIDDLED {
                    let set = &sets[(part.start + j) >> self.set_shift];
                    twiddle::<S, RADIX, true>(simd, &mut x, set);
                }
                butterfly::inverse(eighth, &mut x);
            } else {
                butterfly::forward(eighth, &mut x);
                if TWIDDLED {
                    let set = &sets[(part.start + j) >> self.set_shift];
                    twiddle::<S, RADIX, false>(simd, &mut x, set);
                }
            }
            for leg in 0..RADIX {
                legs[leg][j] = x[leg];
            }
        }
    }
}

/// Turns the bins of a butterfly by a set of twiddles, or back if `BACK`; the first turns by 0.
#[inline(always)]
fn twiddle<S: Simd, const RADIX: usize, const BACK: bool>(
    simd: S,
    x: &mut [Bin<S::Vector>; RADIX],
    set: &[[f32; 2]; RADIX],
) {
    for slot in 1..RADIX {
        let w = [simd.splat(set[slot][0]), simd.splat(set[slot][1])];
        x[slot] = if BACK { butterfly::multiply_conj(x[slot], w) } else { butterfly::multiply(x[slot], w) };
    }
}

/// Cuts a block into its legs, padding included.
#[inline(always)]
fn legs<T, const RADIX: usize>(block: &mut [T], leg_stride: usize) -> [&mut [T]; RADIX] {
    let mut rest = block;
    let mut legs: [&mut [T]; RADIX] = std::array::from_fn(|_| Default::default());
    for leg in &mut legs {
        let (first, others) = rest.split_at_mut(leg_stride);
        *leg = first;
        rest = others;
    }
    legs
}

/// `exp(-2 pi i turn / turns)` as `[cos, sin]`, rounded once.
#[expect(clippy::cast_possible_truncation, reason = "tables are computed in f64 and rounded to f32")]
fn unit_root(turn: usize, turns: usize) -> [f32; 2] {
    let angle = -TAU * (turn % turns) as f64 / turns as f64;
    [angle.cos() as f32, angle.sin() as f32]
}
