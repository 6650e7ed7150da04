//! NEON (64-bit ARM): 4 lanes, 32 registers.

use super::{FRACTION_BITS, HALF_ROOT_BITS, Simd, SimdLevel, Vector, Work};
use std::arch::aarch64 as arm;
use std::ops::{Add, Div, Mul, Sub};

/// Proof that the CPU has NEON. Made only by [`run`].
#[derive(Clone, Copy)]
pub(super) struct Neon(());

/// 4 floats; exists only where a [`Neon`] did.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x4(arm::float32x4_t);

pub(super) fn is_available() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

/// Runs `work` in a function compiled for NEON.
#[inline]
#[expect(unsafe_code, reason = "calls a function that needs NEON")]
pub(super) fn run<W: Work>(_found: SimdLevel, work: W) -> W::Output {
    // SAFETY: a `SimdLevel` for NEON is only made after `is_available` said yes.
    unsafe { run_enabled(work) }
}

#[target_feature(enable = "neon")]
fn run_enabled<W: Work>(work: W) -> W::Output {
    work.run(Neon(()))
}

impl Add for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(intrinsic!(arm::vaddq_f32(self.0, other.0)))
    }
}

impl Sub for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(intrinsic!(arm::vsubq_f32(self.0, other.0)))
    }
}

impl Mul for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(intrinsic!(arm::vmulq_f32(self.0, other.0)))
    }
}

impl Div for F32x4 {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(intrinsic!(arm::vdivq_f32(self.0, other.0)))
    }
}

impl Vector for F32x4 {
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(intrinsic!(arm::vfmaq_f32(addend.0, self.0, factor.0)))
    }

    /// NEON subtracts only the product, so the subtrahend is negated (exactly) instead.
    #[inline(always)]
    fn mul_sub(self, factor: Self, subtrahend: Self) -> Self {
        Self(intrinsic!(arm::vfmaq_f32(arm::vnegq_f32(subtrahend.0), self.0, factor.0)))
    }

    #[inline(always)]
    fn neg_mul_add(self, factor: Self, minuend: Self) -> Self {
        Self(intrinsic!(arm::vfmsq_f32(minuend.0, self.0, factor.0)))
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..Neon::LANES];
        intrinsic!(arm::vst1q_f32(to.as_mut_ptr(), self.0));
    }

    /// The magnitude is taken on the bits: a float operation may change the bits of a NaN.
    #[inline(always)]
    fn max_abs_bits(self, other: Self) -> Self {
        Self(intrinsic!({
            let no_sign = arm::vdupq_n_u32(0x7fff_ffff);
            let magnitude = arm::vandq_u32(arm::vreinterpretq_u32_f32(other.0), no_sign);
            let largest = arm::vmaxq_u32(arm::vreinterpretq_u32_f32(self.0), magnitude);
            arm::vreinterpretq_f32_u32(largest)
        }))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self(intrinsic!(arm::vminq_f32(self.0, other.0)))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(intrinsic!(arm::vmaxq_f32(self.0, other.0)))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(intrinsic!(arm::vsqrtq_f32(self.0)))
    }

    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        let (mantissa, exponent) = intrinsic!({
            let root = arm::vdupq_n_s32(HALF_ROOT_BITS);
            let above = arm::vsubq_s32(arm::vreinterpretq_s32_f32(self.0), root);
            let exponent = arm::vcvtq_f32_s32(arm::vshrq_n_s32::<23>(above));
            let fraction = arm::vandq_s32(above, arm::vdupq_n_s32(FRACTION_BITS));
            (arm::vreinterpretq_f32_s32(arm::vaddq_s32(fraction, root)), exponent)
        });
        (Self(mantissa), Self(exponent))
    }

    #[inline(always)]
    fn reduce_max_bits(self) -> u32 {
        intrinsic!(arm::vmaxvq_u32(arm::vreinterpretq_u32_f32(self.0)))
    }
}

impl Simd for Neon {
    type Vector = F32x4;
    type Tile = [F32x4; 4];
    const LANES: usize = 4;
    const MAX_RADIX: usize = 8;
    const TILE_ROWS: usize = 8;

    #[inline(always)]
    fn splat(self, value: f32) -> F32x4 {
        F32x4(intrinsic!(arm::vdupq_n_f32(value)))
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> F32x4 {
        let from = &from[..Self::LANES];
        F32x4(intrinsic!(arm::vld1q_f32(from.as_ptr())))
    }

    /// Lane by lane: the instruction is not in stable Rust for every CPU of this level.
    #[inline(always)]
    fn load_half(self, from: &[u16]) -> F32x4 {
        let mut floats = [0.0; Self::LANES];
        for (float, half) in floats.iter_mut().zip(&from[..Self::LANES]) {
            *float = half::f16::from_bits(*half).to_f32_const();
        }
        self.load(&floats)
    }

    #[inline(always)]
    fn zero_tile(self) -> Self::Tile {
        [self.splat(0.0); 4]
    }

    #[inline(always)]
    fn transpose(self, tile: Self::Tile) -> Self::Tile {
        let [a, b, c, d] = tile;
        let columns = intrinsic!({
            // Lanes 0 and 2, then 1 and 3, of each pair of rows, as pairs of floats.
            let even_ab = arm::vreinterpretq_f64_f32(arm::vtrn1q_f32(a.0, b.0));
            let odd_ab = arm::vreinterpretq_f64_f32(arm::vtrn2q_f32(a.0, b.0));
            let even_cd = arm::vreinterpretq_f64_f32(arm::vtrn1q_f32(c.0, d.0));
            let odd_cd = arm::vreinterpretq_f64_f32(arm::vtrn2q_f32(c.0, d.0));
            [
                arm::vreinterpretq_f32_f64(arm::vtrn1q_f64(even_ab, even_cd)),
                arm::vreinterpretq_f32_f64(arm::vtrn1q_f64(odd_ab, odd_cd)),
                arm::vreinterpretq_f32_f64(arm::vtrn2q_f64(even_ab, even_cd)),
                arm::vreinterpretq_f32_f64(arm::vtrn2q_f64(odd_ab, odd_cd)),
            ]
        });
        columns.map(F32x4)
    }

    #[inline(always)]
    fn vectors_mut(self, floats: &mut [f32]) -> &mut [F32x4] {
        // Any 16 bytes are a valid vector, and the token says that vectors may exist.
        let (before, vectors, _) = intrinsic!(floats.align_to_mut::<F32x4>());
        assert!(before.is_empty(), "vectors should start at 16 bytes");
        vectors
    }
}
