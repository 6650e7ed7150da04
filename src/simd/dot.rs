//! Dot products of bytes: sums of four products at a time, in 32-bit integers.
//!
//! One factor is unsigned and one signed, because that is what x86 multiplies (VNNI). Integer sums are exact, so every
//! level gives the same numbers.

/// A sum in each lane.
pub(crate) trait ByteSums: Copy {
    /// The sums, to the first `LANES` integers of `to`.
    fn store(self, to: &mut [i32]);
}

/// Proof that the CPU has an instruction set, and what it does with bytes.
pub(crate) trait ByteDot: Copy {
    /// Sums per vector.
    const LANES: usize;
    /// Rows of a matrix product that are worked on at once, so that their sums stay in registers.
    const TILE_ROWS: usize;
    /// `LANES` sums.
    type Sums: ByteSums;

    /// All zeros.
    fn zeros(self) -> Self::Sums;

    /// Adds to each lane the products of the four bytes of `unsigned` with that lane's four bytes of `signed`.
    ///
    /// # Panics
    /// If `signed` has less than `4 * LANES` bytes.
    fn add_dot(self, sums: Self::Sums, unsigned: [u8; 4], signed: &[i8]) -> Self::Sums;

    /// Adds `(sum - surplus) * scale * scales` to the first `LANES` results, lane by lane.
    #[inline(always)]
    fn add_scaled(self, sums: Self::Sums, surplus: &[i32], scale: f32, scales: &[f32], results: &mut [f32]) {
        let mut whole = [0; 16];
        sums.store(&mut whole);
        for lane in 0..Self::LANES {
            results[lane] += (whole[lane] - surplus[lane]) as f32 * (scale * scales[lane]);
        }
    }
}

/// Work that [`run`] can do at any level. Its `run` must be `#[inline(always)]`.
pub(crate) trait ByteWork {
    /// Does the work with the instructions that `dot` stands for.
    fn run<D: ByteDot>(self, dot: D);
}

/// The best way that this machine has, no better than `level`.
pub(crate) fn run<W: ByteWork>(level: super::SimdLevel, work: W) {
    match lanes(level) {
        #[cfg(target_arch = "x86_64")]
        16 => vnni::run_wide(work),
        #[cfg(target_arch = "x86_64")]
        8 if level.has_avx2() && vnni::narrow_is_available() => vnni::run_narrow(work),
        #[cfg(target_arch = "x86_64")]
        8 if level.has_avx2() => vnni::run_avx2(work),
        _ => work.run(Portable),
    }
}

/// Sums per vector of what [`run`] runs with at this level; matrices are packed for it.
pub(crate) fn lanes(level: super::SimdLevel) -> usize {
    #[cfg(target_arch = "x86_64")]
    if level.lanes() == 16 && vnni::wide_is_available() {
        return 16;
    }
    let _ = level;
    8
}

/// Plain loops, which the compiler turns into whatever the target always has.
#[derive(Clone, Copy)]
struct Portable;

#[derive(Clone, Copy)]
struct PortableSums([i32; 8]);

impl ByteSums for PortableSums {
    #[inline(always)]
    fn store(self, to: &mut [i32]) {
        to[..8].copy_from_slice(&self.0);
    }
}

impl ByteDot for Portable {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 1;
    type Sums = PortableSums;

    #[inline(always)]
    fn zeros(self) -> PortableSums {
        PortableSums([0; 8])
    }

    #[inline(always)]
    fn add_dot(self, mut sums: PortableSums, unsigned: [u8; 4], signed: &[i8]) -> PortableSums {
        let signed = &signed[..32];
        for lane in 0..8 {
            for i in 0..4 {
                sums.0[lane] += i32::from(unsigned[i]) * i32::from(signed[4 * lane + i]);
            }
        }
        sums
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    //! Intel's vector neural network instructions, 512 and 256 bits wide; and AVX2, which multiplies pairs of 16 bits.

    use super::{ByteDot, ByteSums, ByteWork};
    use std::arch::x86_64 as x86;

    pub(super) fn wide_is_available() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni")
            && avx2_is_available()
    }

    pub(super) fn narrow_is_available() -> bool {
        avx2_is_available() && is_x86_feature_detected!("avxvnni")
    }

    fn avx2_is_available() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    /// Proof of AVX-512 with VNNI; made only by [`run_wide`].
    #[derive(Clone, Copy)]
    pub(super) struct Wide(());
    #[derive(Clone, Copy)]
    pub(super) struct WideSums(x86::__m512i);

    /// # Panics
    /// If the machine has no such instructions.
    pub(super) fn run_wide<W: ByteWork>(work: W) {
        assert!(wide_is_available(), "the level should have been checked");
        #[expect(unsafe_code, reason = "calls a function that needs AVX-512 VNNI")]
        // SAFETY: checked on the line above.
        unsafe {
            run_wide_enabled(work);
        }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512vnni,avx2,fma")]
    fn run_wide_enabled<W: ByteWork>(work: W) {
        work.run(Wide(()));
    }

    impl ByteSums for WideSums {
        #[inline(always)]
        fn store(self, to: &mut [i32]) {
            let to = &mut to[..16];
            intrinsic!(x86::_mm512_storeu_si512(to.as_mut_ptr().cast(), self.0));
        }
    }

    impl ByteDot for Wide {
        const LANES: usize = 16;
        const TILE_ROWS: usize = 8;
        type Sums = WideSums;

        #[inline(always)]
        fn zeros(self) -> WideSums {
            WideSums(intrinsic!(x86::_mm512_setzero_si512()))
        }

        #[inline(always)]
        fn add_dot(self, sums: WideSums, unsigned: [u8; 4], signed: &[i8]) -> WideSums {
            let signed = &signed[..64];
            WideSums(intrinsic!(x86::_mm512_dpbusd_epi32(
                sums.0,
                x86::_mm512_set1_epi32(i32::from_le_bytes(unsigned)),
                x86::_mm512_loadu_si512(signed.as_ptr().cast()),
            )))
        }

        #[inline(always)]
        fn add_scaled(self, sums: WideSums, surplus: &[i32], scale: f32, scales: &[f32], results: &mut [f32]) {
            let (surplus, scales, results) = (&surplus[..16], &scales[..16], &mut results[..16]);
            intrinsic!({
                let exact = x86::_mm512_sub_epi32(sums.0, x86::_mm512_loadu_si512(surplus.as_ptr().cast()));
                let factors = x86::_mm512_mul_ps(x86::_mm512_set1_ps(scale), x86::_mm512_loadu_ps(scales.as_ptr()));
                let products = x86::_mm512_mul_ps(x86::_mm512_cvtepi32_ps(exact), factors);
                let sum = x86::_mm512_add_ps(x86::_mm512_loadu_ps(results.as_ptr()), products);
                x86::_mm512_storeu_ps(results.as_mut_ptr(), sum);
            });
        }
    }

    /// Proof of AVX-VNNI; made only by [`run_narrow`].
    #[derive(Clone, Copy)]
    pub(super) struct Narrow(());
    #[derive(Clone, Copy)]
    pub(super) struct NarrowSums(x86::__m256i);

    /// # Panics
    /// If the machine has no such instructions.
    pub(super) fn run_narrow<W: ByteWork>(work: W) {
        assert!(narrow_is_available(), "the level should have been checked");
        #[expect(unsafe_code, reason = "calls a function that needs AVX-VNNI")]
        // SAFETY: checked on the line above.
        unsafe {
            run_narrow_enabled(work);
        }
    }

    #[target_feature(enable = "avx2,fma,avxvnni")]
    fn run_narrow_enabled<W: ByteWork>(work: W) {
        work.run(Narrow(()));
    }

    impl ByteSums for NarrowSums {
        #[inline(always)]
        fn store(self, to: &mut [i32]) {
            let to = &mut to[..8];
            intrinsic!(x86::_mm256_storeu_si256(to.as_mut_ptr().cast(), self.0));
        }
    }

    impl ByteDot for Narrow {
        const LANES: usize = 8;
        const TILE_ROWS: usize = 4;
        type Sums = NarrowSums;

        #[inline(always)]
        fn zeros(self) -> NarrowSums {
            NarrowSums(intrinsic!(x86::_mm256_setzero_si256()))
        }

        #[inline(always)]
        fn add_dot(self, sums: NarrowSums, unsigned: [u8; 4], signed: &[i8]) -> NarrowSums {
            let signed = &signed[..32];
            NarrowSums(intrinsic!(x86::_mm256_dpbusd_avx_epi32(
                sums.0,
                x86::_mm256_set1_epi32(i32::from_le_bytes(unsigned)),
                x86::_mm256_loadu_si256(signed.as_ptr().cast()),
            )))
        }
    }

    /// Proof of AVX2; made only by [`run_avx2`].
    #[derive(Clone, Copy)]
    pub(super) struct Avx2(());

    /// # Panics
    /// If the machine has no such instructions.
    pub(super) fn run_avx2<W: ByteWork>(work: W) {
        assert!(avx2_is_available(), "the level should have been checked");
        #[expect(unsafe_code, reason = "calls a function that needs AVX2")]
        // SAFETY: checked on the line above.
        unsafe {
            run_avx2_enabled(work);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn run_avx2_enabled<W: ByteWork>(work: W) {
        work.run(Avx2(()));
    }

    impl ByteDot for Avx2 {
        const LANES: usize = 8;
        const TILE_ROWS: usize = 4;
        type Sums = NarrowSums;

        #[inline(always)]
        fn zeros(self) -> NarrowSums {
            NarrowSums(intrinsic!(x86::_mm256_setzero_si256()))
        }

        /// The byte instruction of AVX2 saturates at 16 bits, so bytes are widened first: the even and the odd pairs
        /// of each lane's four bytes, in turn.
        #[inline(always)]
        fn add_dot(self, sums: NarrowSums, unsigned: [u8; 4], signed: &[i8]) -> NarrowSums {
            let signed = &signed[..32];
            let [a, b, c, d] = unsigned.map(i32::from);
            NarrowSums(intrinsic!({
                let bytes = x86::_mm256_loadu_si256(signed.as_ptr().cast());
                // In each 16 bits: the byte at the even place, and the one at the odd place.
                let even = x86::_mm256_srai_epi16::<8>(x86::_mm256_slli_epi16::<8>(bytes));
                let odd = x86::_mm256_srai_epi16::<8>(bytes);
                let first = x86::_mm256_madd_epi16(even, x86::_mm256_set1_epi32(a | (c << 16)));
                let second = x86::_mm256_madd_epi16(odd, x86::_mm256_set1_epi32(b | (d << 16)));
                x86::_mm256_add_epi32(sums.0, x86::_mm256_add_epi32(first, second))
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SimdLevel;
    use super::{ByteDot, ByteSums as _, ByteWork, run};

    struct OneDot<'a>([u8; 4], &'a [i8], &'a mut Vec<i32>);

    impl ByteWork for OneDot<'_> {
        #[inline(always)]
        fn run<D: ByteDot>(self, dot: D) {
            self.2.resize(D::LANES, 0);
            let once = dot.add_dot(dot.zeros(), self.0, self.1);
            dot.add_dot(once, self.0, self.1).store(self.2);
        }
    }

    #[test]
    fn dots_are_exact_at_the_ends_of_the_range() {
        for level in SimdLevel::available() {
            for unsigned in [[255; 4], [0, 255, 1, 254], [128, 3, 77, 200]] {
                let signed: Vec<i8> = (0..64).map(|i| [-128, 127, -127, 1, 0, 99][i % 6]).collect();
                let mut sums = Vec::new();
                run(level, OneDot(unsigned, &signed, &mut sums));
                for (lane, sum) in sums.iter().enumerate() {
                    let dot: i32 = (0..4).map(|i| i32::from(unsigned[i]) * i32::from(signed[4 * lane + i])).sum();
                    assert_eq!(*sum, 2 * dot, "{level}, lane {lane}");
                }
            }
        }
    }
}
