//! The gate's question: what is the largest magnitude in a frame, as bits?
//!
//! The answer is the integer maximum of `bits & 0x7fff_ffff`. On finite samples that is the bits of
//! `max|x|`; an infinity is above them, and any NaN above infinity, so a faulty frame is never
//! taken for a quiet one. Integers also make the answer the same on every level and device.

use super::{Simd, SimdLevel, Vector as _, Work};

/// Vectors combined per round: enough independent maxima to hide their latency.
const ROUND: usize = 4;

/// Floats in a cache line.
const LINE: usize = 16;

/// How far ahead of the reads memory is asked for, in floats: on through the frames that follow, as
/// a stream is read from end to end. Hides the pause that the end of each frame makes.
const AHEAD: usize = 1024;

/// The largest `bits & 0x7fff_ffff` of `frame`, 0 if it is empty.
///
/// Any length and alignment. Compare with `threshold.to_bits()`; values above
/// `f32::INFINITY.to_bits()` mean that there is a NaN.
pub(crate) fn max_abs_bits(level: SimdLevel, frame: &[f32]) -> u32 {
    level.run(MaxAbs { frame })
}

struct MaxAbs<'a> {
    frame: &'a [f32],
}

impl Work for MaxAbs<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> u32 {
        frame_max_abs(simd, self.frame)
    }
}

#[inline(always)]
fn frame_max_abs<S: Simd>(simd: S, frame: &[f32]) -> u32 {
    let mut tail_start = 0;
    let mut largest = [simd.splat(0.0); ROUND];
    for round in frame.chunks_exact(ROUND * S::LANES) {
        for (i, largest) in largest.iter_mut().enumerate() {
            if (i * S::LANES).is_multiple_of(LINE) {
                simd.prefetch(&round[i * S::LANES..], AHEAD);
            }
            *largest = largest.max_abs_bits(simd.load(&round[i * S::LANES..]));
        }
        tail_start += ROUND * S::LANES;
    }
    let mut folded = largest[0];
    for other in &largest[1..] {
        folded = folded.max_abs_bits(*other);
    }
    folded = max_abs_tail(simd, frame, tail_start, folded);
    folded.reduce_max_bits()
}

/// Takes in the samples from `start`, fewer than a round.
///
/// Looking twice at a sample changes no maximum, so an odd end is read as the last whole vector.
#[inline(always)]
fn max_abs_tail<S: Simd>(simd: S, frame: &[f32], start: usize, mut largest: S::Vector) -> S::Vector {
    let tail = &frame[start..];
    for vector in tail.chunks_exact(S::LANES) {
        largest = largest.max_abs_bits(simd.load(vector));
    }
    if tail.len().is_multiple_of(S::LANES) {
        return largest;
    }
    if frame.len() >= S::LANES {
        return largest.max_abs_bits(simd.load(&frame[frame.len() - S::LANES..]));
    }
    for sample in tail {
        largest = largest.max_abs_bits(simd.splat(*sample));
    }
    largest
}
