//! AVX2 with FMA and F16C: 8 lanes, 16 registers.

use super::{FRACTION_BITS, HALF_ROOT_BITS, Simd, SimdLevel, Vector, Work};
use std::arch::x86_64 as x86;
use std::ops::{Add, Div, Mul, Sub};

/// Proof that the CPU has AVX2, FMA and F16C. Made only by [`run`].
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// 8 floats; exists only where an [`Avx2`] did.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x8(x86::__m256);

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

/// Runs `work` in a function compiled for AVX2.
#[inline]
#[expect(unsafe_code, reason = "calls a function that needs AVX2")]
pub(super) fn run<W: Work>(_found: SimdLevel, work: W) -> W::Output {
    // SAFETY: a `SimdLevel` for AVX2 is only made after `is_available` said yes.
    unsafe { run_enabled(work) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn run_enabled<W: Work>(work: W) -> W::Output {
    work.run(Avx2(()))
}

impl Add for F32x8 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm256_add_ps(self.0, other.0)))
    }
}

impl Sub for F32x8 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm256_sub_ps(self.0, other.0)))
    }
}

impl Mul for F32x8 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm256_mul_ps(self.0, other.0)))
    }
}

impl Div for F32x8 {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm256_div_ps(self.0, other.0)))
    }
}

impl Vector for F32x8 {
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(intrinsic!(x86::_mm256_fmadd_ps(self.0, factor.0, addend.0)))
    }

    #[inline(always)]
    fn mul_sub(self, factor: Self, subtrahend: Self) -> Self {
        Self(intrinsic!(x86::_mm256_fmsub_ps(self.0, factor.0, subtrahend.0)))
    }

    #[inline(always)]
    fn neg_mul_add(self, factor: Self, minuend: Self) -> Self {
        Self(intrinsic!(x86::_mm256_fnmadd_ps(self.0, factor.0, minuend.0)))
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..Avx2::LANES];
        intrinsic!(x86::_mm256_storeu_ps(to.as_mut_ptr(), self.0));
    }

    #[inline(always)]
    fn max_abs_bits(self, other: Self) -> Self {
        Self(intrinsic!({
            let no_sign = x86::_mm256_set1_epi32(i32::MAX);
            let magnitude = x86::_mm256_and_si256(x86::_mm256_castps_si256(other.0), no_sign);
            let largest = x86::_mm256_max_epu32(x86::_mm256_castps_si256(self.0), magnitude);
            x86::_mm256_castsi256_ps(largest)
        }))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm256_min_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm256_max_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(intrinsic!(x86::_mm256_sqrt_ps(self.0)))
    }

    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        let (mantissa, exponent) = intrinsic!({
            let root = x86::_mm256_set1_epi32(HALF_ROOT_BITS);
            let above = x86::_mm256_sub_epi32(x86::_mm256_castps_si256(self.0), root);
            let exponent = x86::_mm256_cvtepi32_ps(x86::_mm256_srai_epi32::<23>(above));
            let fraction = x86::_mm256_and_si256(above, x86::_mm256_set1_epi32(FRACTION_BITS));
            (x86::_mm256_castsi256_ps(x86::_mm256_add_epi32(fraction, root)), exponent)
        });
        (Self(mantissa), Self(exponent))
    }

    #[inline(always)]
    fn reduce_max_bits(self) -> u32 {
        let largest = intrinsic!({
            let all = x86::_mm256_castps_si256(self.0);
            let upper = x86::_mm256_extracti128_si256::<1>(all);
            let four = x86::_mm_max_epu32(x86::_mm256_castsi256_si128(all), upper);
            let two = x86::_mm_max_epu32(four, x86::_mm_shuffle_epi32::<0b01_00_11_10>(four));
            let one = x86::_mm_max_epu32(two, x86::_mm_shuffle_epi32::<0b10_11_00_01>(two));
            x86::_mm_cvtsi128_si32(one)
        });
        largest.cast_unsigned()
    }
}

impl Simd for Avx2 {
    type Vector = F32x8;
    type Tile = [F32x8; 8];
    const LANES: usize = 8;
    const MAX_RADIX: usize = 8;
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    fn splat(self, value: f32) -> F32x8 {
        F32x8(intrinsic!(x86::_mm256_set1_ps(value)))
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> F32x8 {
        let from = &from[..Self::LANES];
        F32x8(intrinsic!(x86::_mm256_loadu_ps(from.as_ptr())))
    }

    #[inline(always)]
    fn load_half(self, from: &[u16]) -> F32x8 {
        let from = &from[..Self::LANES];
        F32x8(intrinsic!(x86::_mm256_cvtph_ps(x86::_mm_loadu_si128(from.as_ptr().cast()))))
    }

    #[inline(always)]
    fn zero_tile(self) -> Self::Tile {
        [self.splat(0.0); 8]
    }

    #[inline(always)]
    fn transpose(self, tile: Self::Tile) -> Self::Tile {
        exchange_halves(transpose_quads(tile))
    }

    #[inline(always)]
    fn vectors_mut(self, floats: &mut [f32]) -> &mut [F32x8] {
        // Any 32 bytes are a valid vector, and the token says that vectors may exist.
        let (before, vectors, _) = intrinsic!(floats.align_to_mut::<F32x8>());
        assert!(before.is_empty(), "vectors should start at 32 bytes");
        vectors
    }

    #[inline(always)]
    fn prefetch(self, floats: &[f32], ahead: usize) {
        let line = floats.as_ptr().wrapping_add(ahead).cast();
        intrinsic!(x86::_mm_prefetch::<{ x86::_MM_HINT_T0 }>(line));
    }

    #[inline(always)]
    fn prefetch_far(self, bytes: &[u8]) {
        intrinsic!(x86::_mm_prefetch::<{ x86::_MM_HINT_T1 }>(bytes.as_ptr().cast()));
    }
}

/// Transposes each 4 x 4 block that four neighbouring vectors share in one 128-bit half.
#[inline(always)]
fn transpose_quads(rows: [F32x8; 8]) -> [F32x8; 8] {
    let mut out = rows;
    for group in 0..2 {
        let (a, b) = (rows[4 * group].0, rows[4 * group + 1].0);
        let (c, d) = (rows[4 * group + 2].0, rows[4 * group + 3].0);
        let columns = intrinsic!({
            let low_ab = x86::_mm256_castps_pd(x86::_mm256_unpacklo_ps(a, b));
            let high_ab = x86::_mm256_castps_pd(x86::_mm256_unpackhi_ps(a, b));
            let low_cd = x86::_mm256_castps_pd(x86::_mm256_unpacklo_ps(c, d));
            let high_cd = x86::_mm256_castps_pd(x86::_mm256_unpackhi_ps(c, d));
            [
                x86::_mm256_castpd_ps(x86::_mm256_unpacklo_pd(low_ab, low_cd)),
                x86::_mm256_castpd_ps(x86::_mm256_unpackhi_pd(low_ab, low_cd)),
                x86::_mm256_castpd_ps(x86::_mm256_unpacklo_pd(high_ab, high_cd)),
                x86::_mm256_castpd_ps(x86::_mm256_unpackhi_pd(high_ab, high_cd)),
            ]
        });
        for i in 0..4 {
            out[4 * group + i] = F32x8(columns[i]);
        }
    }
    out
}

/// Exchanges the upper half of vector c with the lower half of vector 4 + c.
#[inline(always)]
fn exchange_halves(rows: [F32x8; 8]) -> [F32x8; 8] {
    let mut out = rows;
    for i in 0..4 {
        let (a, b) = (rows[i].0, rows[4 + i].0);
        out[i] = F32x8(intrinsic!(x86::_mm256_permute2f128_ps::<0x20>(a, b)));
        out[4 + i] = F32x8(intrinsic!(x86::_mm256_permute2f128_ps::<0x31>(a, b)));
    }
    out
}
