//! Bytes to floats and back, many values at a time.
//!
//! Each encoding is one closure on a fixed number of bytes, run by a loop without branches that the
//! compiler turns into vector instructions. [`Encoding`] states the scaling.

use super::{ByteOrder, Encoding, SampleFormat};

const SCALE_8: f32 = 128.0;
const SCALE_16: f32 = 32_768.0;
const SCALE_24: f32 = 8_388_608.0;
const SCALE_32: f32 = 2_147_483_648.0;
const CENTRE_U8: f32 = 127.5;
const SIGN_16: u16 = 1 << 15;
const SIGN_32: u32 = 1 << 31;

/// Reads as many values as `floats` holds; `bytes` must be as long as they are.
#[expect(clippy::cast_possible_truncation, reason = "f64 is rounded to f32 by contract")]
#[expect(clippy::cast_possible_wrap, reason = "the sign bit was flipped to make it one")]
pub(crate) fn floats_from_bytes(format: SampleFormat, bytes: &[u8], floats: &mut [f32]) {
    debug_assert_eq!(
        bytes.len(),
        floats.len() * format.encoding.bytes(),
        "bytes and floats should hold the same values"
    );
    let order = format.byte_order;
    match format.encoding {
        Encoding::U8 => read(order, bytes, floats, |[v]| (f32::from(v) - SCALE_8) / SCALE_8),
        Encoding::U8Centred => read(order, bytes, floats, |[v]| (f32::from(v) - CENTRE_U8) / CENTRE_U8),
        Encoding::I8 => read(order, bytes, floats, |v| f32::from(i8::from_le_bytes(v)) / SCALE_8),
        Encoding::U16 => read(order, bytes, floats, |v| f32::from((u16::from_le_bytes(v) ^ SIGN_16) as i16) / SCALE_16),
        Encoding::I16 => read(order, bytes, floats, |v| f32::from(i16::from_le_bytes(v)) / SCALE_16),
        // In the upper three bytes of an i32 the sign comes for free and the value stays exact.
        Encoding::I24 => read(order, bytes, floats, |[low, middle, high]| {
            i32::from_le_bytes([0, low, middle, high]) as f32 / SCALE_32
        }),
        Encoding::U32 => read(order, bytes, floats, |v| (u32::from_le_bytes(v) ^ SIGN_32) as i32 as f32 / SCALE_32),
        Encoding::I32 => read(order, bytes, floats, |v| i32::from_le_bytes(v) as f32 / SCALE_32),
        // Through bits, so that no instruction gets to quieten a signalling NaN.
        Encoding::F32 if order == ByteOrder::NATIVE => {
            bytemuck::cast_slice_mut(floats).copy_from_slice(bytes);
        }
        Encoding::F32 => read(order, bytes, floats, f32::from_le_bytes),
        Encoding::F64 => read(order, bytes, floats, |v| f64::from_le_bytes(v) as f32),
    }
}

/// Writes all of `floats`; `bytes` must be as long as they are.
///
/// Rounds to the nearest step, halves to even, and clamps to the range of the integer.
#[expect(clippy::cast_possible_truncation, reason = "quantised to the range of the target")]
pub(crate) fn bytes_from_floats(format: SampleFormat, floats: &[f32], bytes: &mut [u8]) {
    debug_assert_eq!(
        bytes.len(),
        floats.len() * format.encoding.bytes(),
        "bytes and floats should hold the same values"
    );
    let order = format.byte_order;
    match format.encoding {
        Encoding::U8 => write(order, floats, bytes, |v| [(quantise(v, SCALE_8) + 128) as u8]),
        Encoding::U8Centred => write(order, floats, bytes, |v| [quantise_centred(v)]),
        Encoding::I8 => write(order, floats, bytes, |v| (quantise(v, SCALE_8) as i8).to_le_bytes()),
        Encoding::U16 => write(order, floats, bytes, |v| (quantise(v, SCALE_16) as u16 ^ SIGN_16).to_le_bytes()),
        Encoding::I16 => write(order, floats, bytes, |v| (quantise(v, SCALE_16) as i16).to_le_bytes()),
        Encoding::I24 => write(order, floats, bytes, |v| {
            let [low, middle, high, _] = quantise(v, SCALE_24).to_le_bytes();
            [low, middle, high]
        }),
        Encoding::U32 => write(order, floats, bytes, |v| (quantise(v, SCALE_32) as u32 ^ SIGN_32).to_le_bytes()),
        Encoding::I32 => write(order, floats, bytes, |v| quantise(v, SCALE_32).to_le_bytes()),
        Encoding::F32 if order == ByteOrder::NATIVE => {
            bytes.copy_from_slice(bytemuck::cast_slice(floats));
        }
        Encoding::F32 => write(order, floats, bytes, f32::to_le_bytes),
        Encoding::F64 => write(order, floats, bytes, |v| f64::from(v).to_le_bytes()),
    }
}

/// The nearest step, halves to even; NaN is 0.
fn quantise(value: f32, scale: f32) -> i32 {
    let scale = f64::from(scale);
    nearest(value, scale, 0.0, -scale, scale - 1.0)
}

/// The nearest of the 256 steps around 127.5; NaN is 128.
#[expect(clippy::cast_possible_truncation, reason = "0 to 255")]
fn quantise_centred(value: f32) -> u8 {
    let centre = f64::from(CENTRE_U8);
    nearest(value, centre, centre, 0.0, 255.0) as u8
}

/// `value * scale + offset`, rounded to the nearest whole number from `low` to `high`.
///
/// Added to 1.5 * 2^52 a number is rounded by the adder and lies, as two's complement, in the low
/// bits of the sum. That needs no more than SSE2 and four values go at a time; `f32::round` would
/// be a library call there, and `as` with its saturation is not vectorised.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are the number")]
#[expect(clippy::cast_possible_wrap, reason = "two's complement")]
fn nearest(value: f32, scale: f64, offset: f64, low: f64, high: f64) -> i32 {
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    let value = if value.is_nan() { 0.0 } else { value };
    let scaled = f64::from(value) * scale + offset;
    // Plain comparisons: `clamp` would look for NaN again.
    let scaled = if scaled < low { low } else { scaled };
    let scaled = if scaled > high { high } else { scaled };
    (scaled + ROUNDER).to_bits() as u32 as i32
}

fn read<const BYTES: usize>(order: ByteOrder, bytes: &[u8], floats: &mut [f32], value: impl Fn([u8; BYTES]) -> f32) {
    let pairs = floats.iter_mut().zip(bytes.as_chunks().0);
    match order {
        ByteOrder::Little => pairs.for_each(|(float, bytes)| *float = value(*bytes)),
        ByteOrder::Big => pairs.for_each(|(float, bytes)| *float = value(reversed(*bytes))),
    }
}

fn write<const BYTES: usize>(order: ByteOrder, floats: &[f32], bytes: &mut [u8], value: impl Fn(f32) -> [u8; BYTES]) {
    let pairs = floats.iter().zip(bytes.as_chunks_mut().0);
    match order {
        ByteOrder::Little => pairs.for_each(|(float, bytes)| *bytes = value(*float)),
        ByteOrder::Big => pairs.for_each(|(float, bytes)| *bytes = reversed(value(*float))),
    }
}

fn reversed<const BYTES: usize>(mut bytes: [u8; BYTES]) -> [u8; BYTES] {
    bytes.reverse();
    bytes
}
