//! Vectors of f32 for the twins of the kernels: one small trait, one file per instruction set.
//!
//! `Work` is written once, generic over `Simd`, and run by `SimdLevel::run`, which picks the
//! instruction set and enters a function compiled for it:
//!
//! ```text
//! SimdLevel::detect() -> level.run(work) -> #[target_feature] entry -> work.run(token)
//! ```
//!
//! What keeps this safe without `unsafe` in the work: a token (`Avx512`, `Avx2`, ...) is made
//! only here, after the CPU was asked, and a vector can be made only from a token. So whoever holds
//! a vector is on a CPU that has its instructions.
//!
//! What keeps it fast: everything generic over `Simd` is `#[inline(always)]` and uses plain
//! loops. A closure or iterator adaptor around vector code may stay a function of its own, which is
//! then compiled without the instruction set, and each operation in it becomes a call.

use std::fmt;
use std::ops::{Add, Div, IndexMut, Mul, Sub};

/// Wraps one use of intrinsics, so that each operation is one line and has the same proof.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! intrinsic {
    ($operation:expr) => {{
        #[expect(unsafe_code, reason = "SIMD intrinsics")]
        // SAFETY: a token or a vector of this level is at hand, so the CPU has its instructions;
        // pointers come from slices that were just cut to the length that is read or written.
        let result = unsafe { $operation };
        result
    }};
}

mod max_abs;

pub(crate) mod dot;

mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;

#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use max_abs::max_abs_bits;

/// Bits of `sqrt(1/2)`: what is subtracted before an exponent is cut off, so that the rest lies around 1.
const HALF_ROOT_BITS: i32 = 0x3f35_04f3;
/// The bits of a float below its exponent.
const FRACTION_BITS: i32 = 0x007f_ffff;

/// One vector of `LANES` floats in a register.
pub(crate) trait Vector:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// `self * factor + addend`; rounded once on levels that have fused multiply-add.
    fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// `self * factor - subtrahend`, rounded like [`Vector::mul_add`].
    fn mul_sub(self, factor: Self, subtrahend: Self) -> Self;

    /// `minuend - self * factor`, rounded like [`Vector::mul_add`].
    fn neg_mul_add(self, factor: Self, minuend: Self) -> Self;

    /// Writes the lanes to the first `LANES` floats of `to`, which may lie anywhere.
    ///
    /// # Panics
    /// If `to` is shorter.
    fn store(self, to: &mut [f32]);

    /// Lane by lane, the larger of `self` and `|other|`, both read as unsigned integers.
    ///
    /// On magnitudes this order is the numerical one, with infinity above every number and NaN
    /// above infinity. The lanes of `self` must have no sign bit.
    fn max_abs_bits(self, other: Self) -> Self;

    /// Lane by lane, the smaller number. Which one comes back when a lane is NaN is not said.
    fn min(self, other: Self) -> Self;

    /// Lane by lane, the larger number, with the same proviso.
    fn max(self, other: Self) -> Self;

    /// Lane by lane, the square root.
    fn sqrt(self) -> Self;

    /// Lane by lane, `(m, e)` with `m * 2^e = self` and `sqrt(1/2) <= m < sqrt(2)`, for positive normal numbers.
    fn split_exponent(self) -> (Self, Self);

    /// The largest lane of a vector that [`Vector::max_abs_bits`] returned.
    fn reduce_max_bits(self) -> u32;
}

/// Proof that the CPU has an instruction set, and the operations that need no vector yet.
pub(crate) trait Simd: Copy {
    /// `LANES` floats in a register.
    type Vector: Vector;

    /// `LANES` vectors: `[Self::Vector; LANES]`.
    type Tile: IndexMut<usize, Output = Self::Vector>;

    /// Floats per vector; a power of two, 4 to 16.
    const LANES: usize;

    /// The largest butterfly that the registers hold without too many spills.
    const MAX_RADIX: usize;

    /// Rows of a matrix product that are worked on at once, so that their sums stay in registers.
    const TILE_ROWS: usize;

    /// A vector with `value` in each lane.
    fn splat(self, value: f32) -> Self::Vector;

    /// The first `LANES` floats of `from`, which may lie anywhere.
    ///
    /// # Panics
    /// If `from` is shorter.
    fn load(self, from: &[f32]) -> Self::Vector;

    /// The first `LANES` half-precision floats of `from`, given as their bits.
    ///
    /// # Panics
    /// If `from` is shorter.
    fn load_half(self, from: &[u16]) -> Self::Vector;

    /// A tile of zeros.
    fn zero_tile(self) -> Self::Tile;

    /// Exchanges lanes and vectors: lane i of vector j goes to lane j of vector i.
    fn transpose(self, tile: Self::Tile) -> Self::Tile;

    /// The same memory as vectors; floats past the last whole vector are left out.
    ///
    /// # Panics
    /// If `floats` does not start where a vector may (64 bytes suit every level).
    fn vectors_mut(self, floats: &mut [f32]) -> &mut [Self::Vector];

    /// Hints that the cache line `ahead` floats past the start of `floats` will be read.
    ///
    /// It may lie past the end: nothing is read, and no address is wrong. Does nothing where the
    /// level has no such instruction.
    #[inline(always)]
    fn prefetch(self, floats: &[f32], ahead: usize) {
        let _ = (floats, ahead);
    }

    /// Hints that the cache line where these bytes begin will be read, though not at once: it goes into the second cache.
    #[inline(always)]
    fn prefetch_far(self, bytes: &[u8]) {
        let _ = bytes;
    }
}

/// Work that [`SimdLevel::run`] can do at any level. Its `run` must be `#[inline(always)]`.
pub(crate) trait Work {
    /// What the work returns.
    type Output;

    /// Does the work with the instructions that `simd` stands for.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set that this machine was found to have.
///
/// There is no way to name one that the machine lacks: take the best one with
/// [`SimdLevel::detect`], or force another with [`SimdLevel::available`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SimdLevel(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Level {
    /// Every level that this build knows, fastest first.
    const KNOWN: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
        Self::Portable,
    ];

    /// Asks the CPU (once per process: the standard library keeps the answer).
    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::is_available(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => neon::is_available(),
            Self::Portable => true,
        }
    }
}

impl SimdLevel {
    /// The fastest level of this machine.
    pub(crate) fn detect() -> Self {
        Self::available().next().unwrap_or(Self(Level::Portable))
    }

    /// Every level of this machine, fastest first; the last one is portable.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        let found = Level::KNOWN.iter().filter(|level| level.is_available());
        found.map(|level| Self(*level))
    }

    /// Floats per vector, which is also how many windows are filtered at once.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => neon::Neon::LANES,
            Level::Portable => portable::Portable::LANES,
        }
    }

    /// The largest butterfly that suits the level's registers.
    pub(crate) fn max_radix(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::Avx512::MAX_RADIX,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::Avx2::MAX_RADIX,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => neon::Neon::MAX_RADIX,
            Level::Portable => portable::Portable::MAX_RADIX,
        }
    }

    /// True for AVX2, and for AVX-512, which has it too.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx2(self) -> bool {
        matches!(self.0, Level::Avx2 | Level::Avx512)
    }

    /// A short name for logs and tables: `avx512`, `avx2`, `neon` or `portable`.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            Level::Portable => "portable",
        }
    }

    /// Runs `work` with the instructions of this level.
    #[inline]
    pub(crate) fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::run(self, work),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::run(self, work),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => neon::run(self, work),
            Level::Portable => work.run(portable::Portable),
        }
    }
}

impl fmt::Display for SimdLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
