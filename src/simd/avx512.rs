//! AVX-512: 16 lanes, 32 registers.

use super::{FRACTION_BITS, HALF_ROOT_BITS, Simd, SimdLevel, Vector, Work};
use std::arch::x86_64 as x86;
use std::ops::{Add, Div, Mul, Sub};

/// Proof that the CPU has AVX-512 F, DQ, VL and BW, and FMA. Made only by [`run`].
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

/// 16 floats; exists only where an [`Avx512`] did.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct F32x16(x86::__m512);

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("fma")
}

/// Runs `work` in a function compiled for AVX-512.
#[inline]
#[expect(unsafe_code, reason = "calls a function that needs AVX-512")]
pub(super) fn run<W: Work>(_found: SimdLevel, work: W) -> W::Output {
    // SAFETY: a `SimdLevel` for AVX-512 is only made after `is_available` said yes.
    unsafe { run_enabled(work) }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
fn run_enabled<W: Work>(work: W) -> W::Output {
    work.run(Avx512(()))
}

impl Add for F32x16 {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm512_add_ps(self.0, other.0)))
    }
}

impl Sub for F32x16 {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm512_sub_ps(self.0, other.0)))
    }
}

impl Mul for F32x16 {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm512_mul_ps(self.0, other.0)))
    }
}

impl Div for F32x16 {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm512_div_ps(self.0, other.0)))
    }
}

impl Vector for F32x16 {
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(intrinsic!(x86::_mm512_fmadd_ps(self.0, factor.0, addend.0)))
    }

    #[inline(always)]
    fn mul_sub(self, factor: Self, subtrahend: Self) -> Self {
        Self(intrinsic!(x86::_mm512_fmsub_ps(self.0, factor.0, subtrahend.0)))
    }

    #[inline(always)]
    fn neg_mul_add(self, factor: Self, minuend: Self) -> Self {
        Self(intrinsic!(x86::_mm512_fnmadd_ps(self.0, factor.0, minuend.0)))
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..Avx512::LANES];
        intrinsic!(x86::_mm512_storeu_ps(to.as_mut_ptr(), self.0));
    }

    #[inline(always)]
    fn max_abs_bits(self, other: Self) -> Self {
        Self(intrinsic!({
            let magnitude = x86::_mm512_castps_si512(x86::_mm512_abs_ps(other.0));
            let largest = x86::_mm512_max_epu32(x86::_mm512_castps_si512(self.0), magnitude);
            x86::_mm512_castsi512_ps(largest)
        }))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm512_min_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(intrinsic!(x86::_mm512_max_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(intrinsic!(x86::_mm512_sqrt_ps(self.0)))
    }

    #[inline(always)]
    fn split_exponent(self) -> (Self, Self) {
        let (mantissa, exponent) = intrinsic!({
            let root = x86::_mm512_set1_epi32(HALF_ROOT_BITS);
            let above = x86::_mm512_sub_epi32(x86::_mm512_castps_si512(self.0), root);
            let exponent = x86::_mm512_cvtepi32_ps(x86::_mm512_srai_epi32::<23>(above));
            let fraction = x86::_mm512_and_si512(above, x86::_mm512_set1_epi32(FRACTION_BITS));
            (x86::_mm512_castsi512_ps(x86::_mm512_add_epi32(fraction, root)), exponent)
        });
        (Self(mantissa), Self(exponent))
    }

    #[inline(always)]
    fn reduce_max_bits(self) -> u32 {
        intrinsic!(x86::_mm512_reduce_max_epu32(x86::_mm512_castps_si512(self.0)))
    }
}

impl Simd for Avx512 {
    type Vector = F32x16;
    type Tile = [F32x16; 16];
    const LANES: usize = 16;
    const MAX_RADIX: usize = 8;
    const TILE_ROWS: usize = 8;

    #[inline(always)]
    fn splat(self, value: f32) -> F32x16 {
        F32x16(intrinsic!(x86::_mm512_set1_ps(value)))
    }

    #[inline(always)]
    fn load(self, from: &[f32]) -> F32x16 {
        let from = &from[..Self::LANES];
        F32x16(intrinsic!(x86::_mm512_loadu_ps(from.as_ptr())))
    }

    #[inline(always)]
    fn load_half(self, from: &[u16]) -> F32x16 {
        let from = &from[..Self::LANES];
        F32x16(intrinsic!(x86::_mm512_cvtph_ps(x86::_mm256_loadu_si256(from.as_ptr().cast()))))
    }

    #[inline(always)]
    fn zero_tile(self) -> Self::Tile {
        [self.splat(0.0); 16]
    }

    #[inline(always)]
    fn transpose(self, tile: Self::Tile) -> Self::Tile {
        transpose_quarters(transpose_quads(tile))
    }

    #[inline(always)]
    fn vectors_mut(self, floats: &mut [f32]) -> &mut [F32x16] {
        // Any 64 bytes are a valid vector, and the token says that vectors may exist.
        let (before, vectors, _) = intrinsic!(floats.align_to_mut::<F32x16>());
        assert!(before.is_empty(), "vectors should start at 64 bytes");
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

/// Transposes each 4 x 4 block that four neighbouring vectors share in one 128-bit quarter.
///
/// Vector 4g + c then holds, in quarter q, column 4q + c of rows 4g..4g + 4.
#[inline(always)]
fn transpose_quads(rows: [F32x16; 16]) -> [F32x16; 16] {
    let mut out = rows;
    for group in 0..4 {
        let (a, b) = (rows[4 * group].0, rows[4 * group + 1].0);
        let (c, d) = (rows[4 * group + 2].0, rows[4 * group + 3].0);
        let columns = intrinsic!({
            let low_ab = x86::_mm512_castps_pd(x86::_mm512_unpacklo_ps(a, b));
            let high_ab = x86::_mm512_castps_pd(x86::_mm512_unpackhi_ps(a, b));
            let low_cd = x86::_mm512_castps_pd(x86::_mm512_unpacklo_ps(c, d));
            let high_cd = x86::_mm512_castps_pd(x86::_mm512_unpackhi_ps(c, d));
            [
                x86::_mm512_castpd_ps(x86::_mm512_unpacklo_pd(low_ab, low_cd)),
                x86::_mm512_castpd_ps(x86::_mm512_unpackhi_pd(low_ab, low_cd)),
                x86::_mm512_castpd_ps(x86::_mm512_unpacklo_pd(high_ab, high_cd)),
                x86::_mm512_castpd_ps(x86::_mm512_unpackhi_pd(high_ab, high_cd)),
            ]
        });
        for i in 0..4 {
            out[4 * group + i] = F32x16(columns[i]);
        }
    }
    out
}

/// Transposes 128-bit quarters between the vectors c, 4 + c, 8 + c and 12 + c.
#[inline(always)]
fn transpose_quarters(rows: [F32x16; 16]) -> [F32x16; 16] {
    let mut out = rows;
    for i in 0..4 {
        let (a, b, c, d) = (rows[i].0, rows[4 + i].0, rows[8 + i].0, rows[12 + i].0);
        let columns = intrinsic!({
            let even_ab = x86::_mm512_shuffle_f32x4::<0x88>(a, b);
            let even_cd = x86::_mm512_shuffle_f32x4::<0x88>(c, d);
            let odd_ab = x86::_mm512_shuffle_f32x4::<0xdd>(a, b);
            let odd_cd = x86::_mm512_shuffle_f32x4::<0xdd>(c, d);
            [
                x86::_mm512_shuffle_f32x4::<0x88>(even_ab, even_cd),
                x86::_mm512_shuffle_f32x4::<0x88>(odd_ab, odd_cd),
                x86::_mm512_shuffle_f32x4::<0xdd>(even_ab, even_cd),
                x86::_mm512_shuffle_f32x4::<0xdd>(odd_ab, odd_cd),
            ]
        });
        for quarter in 0..4 {
            out[4 * quarter + i] = F32x16(columns[quarter]);
        }
    }
    out
}
