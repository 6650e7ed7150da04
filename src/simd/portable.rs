//! Plain arrays in safe Rust, for machines that the other files do not know (and x86 with no more
//! than SSE2): 8 lanes, which the compiler turns into whatever vectors the target always has.

use super::{FRACTION_BITS, HALF_ROOT_BITS, Simd, Vector};
use std::ops::{Add, Div, Mul, Sub};

/// Needs nothing of the CPU.
#[derive(Clone, Copy)]
pub(super) struct Portable;

/// 8 floats, aligned so that they never straddle a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Array8([f32; 8]);

impl Add for Array8 {
    type Output = Self;
    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for i in 0..8 {
            self.0[i] += other.0[i];
        }
        self
    }
}

impl Sub for Array8 {
    type Output = Self;
    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for i in 0..8 {
            self.0[i] -= other.0[i];
        }
        self
    }
}

impl Mul for Array8 {
    type Output = Self;
    #[inline(always)]
    fn mul(mut self, other: Self) -> Self {
        for i in 0..8 {
            self.0[i] *= other.0[i];
        }
        self
    }
}

impl Div for Array8 {
    type Output = Self;
    #[inline(always)]
    fn div(mut self, other: Self) -> Self {
        for i in 0..8 {
            self.0[i] /= other.0[i];
        }
        self
    }
}

impl Vector for Array8 {
    /// Rounds twice: a fused multiply-add without hardware for it is a slow library call.
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        self * factor + addend
    }

    #[inline(always)]
    fn mul_sub(self, factor: Self, subtrahend: Self) -> Self {
        self * factor - subtrahend
    }

    #[inline(always)]
    fn neg_mul_add(self, factor: Self, minuend: Self) -> Self {
        minuend - self * factor
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        to[..8].copy_from_slice(&self.0);
    }

    /// Compares as signed integers, which SSE2 has: without the sign bit both orders agree.
    #[inline(always)]
    fn max_abs_bits(mut self, other: Self) -> Self {
        for i in 0..8 {
            let largest = self.0[i].to_bits().cast_signed();
            let magnitude = (other.0[i].to_bits() & 0x7fff_ffff).cast_signed();
            self.0[i] = f32::from_bits(largest.max(magnitude).cast_unsigned());
        }
        self
    }

    #[inline(always)]
    fn min(mut self, other: Self) -> Self {
        for i in 0..8 {
            self.0[i] = if other.0[i] < self.0[i] { other.0[i] } else { self.0[i] };
        }
        self
    }

    #[inline(always)]
    fn max(mut self, other: Self) -> Self {
        for i in 0..8 {
            self.0[i] = if other.0[i] > self.0[i] { other.0[i] } else { self.0[i] };
        }
        self
    }

    #[inline(always)]
    fn sqrt(mut self) -> Self {
        for i in 0..8 {
            self.0[i] = self.0[i].sqrt();
        }
        self
    }

    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        let (mut mantissa, mut exponent) = (self, self);
        for i in 0..8 {
            let above = self.0[i].to_bits().cast_signed().wrapping_sub(HALF_ROOT_BITS);
            mantissa.0[i] = f32::from_bits(((above & FRACTION_BITS) + HALF_ROOT_BITS).cast_unsigned());
            exponent.0[i] = (above >> 23) as f32;
        }
        (mantissa, exponent)
    }

    #[inline(always)]
    fn reduce_max_bits(self) -> u32 {
        let mut largest = 0;
        for lane in self.0 {
            largest = largest.max(lane.to_bits());
        }
        largest
    }
}

impl Simd for Portable {
    type Vector = Array8;
    type Tile = [Array8; 8];
    const LANES: usize = 8;
    const MAX_RADIX: usize = 4;
    const TILE_ROWS: usize = 1;

    #[inline(always)]
    fn splat(self, value: f32) -> Array8 {
        Array8([value; 8])
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> Array8 {
        let mut lanes = [0.0; 8];
        lanes.copy_from_slice(&from[..8]);
        Array8(lanes)
    }

    #[inline(always)]
    fn load_half(self, from: &[u16]) -> Array8 {
        let mut lanes = [0.0; 8];
        for (lane, half) in lanes.iter_mut().zip(&from[..8]) {
            *lane = half::f16::from_bits(*half).to_f32_const();
        }
        Array8(lanes)
    }

    #[inline(always)]
    fn zero_tile(self) -> Self::Tile {
        [self.splat(0.0); 8]
    }

    #[inline(always)]
    fn transpose(self, tile: Self::Tile) -> Self::Tile {
        let mut out = tile;
        for (i, row) in tile.iter().enumerate() {
            for (j, lane) in row.0.iter().enumerate() {
                out[j].0[i] = *lane;
            }
        }
        out
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "floats seen as arrays of floats")]
    fn vectors_mut(self, floats: &mut [f32]) -> &mut [Array8] {
        // SAFETY: `Array8` is 8 floats without padding, and any bits are a valid float.
        let (before, vectors, _) = unsafe { floats.align_to_mut::<Array8>() };
        assert!(before.is_empty(), "vectors should start at 32 bytes");
        vectors
    }
}
