//! Half-precision floats (IEEE 754 binary16) as bits: how weights are kept where 16 bits will do.

/// The value of a half; exact.
#[inline(always)]
pub(crate) fn float_from_half(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10) & 0x1f;
    let fraction = u32::from(half & 0x3ff);
    let magnitude = match exponent {
        // Below the smallest normal half, steps are of 2^-24.
        0 => return f32::from_bits(sign | (fraction as f32 / 16_777_216.0).to_bits()),
        0x1f => 0x7f80_0000 | (fraction << 13),
        _ => ((exponent + 112) << 23) | (fraction << 13),
    };
    f32::from_bits(sign | magnitude)
}

/// The nearest half, ties to even; infinity past 65,520.
pub(crate) fn half_from_float(float: f32) -> u16 {
    let bits = float.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let half = match magnitude {
        0x7f80_0001.. => 0x7e00,
        0x477f_f000.. => 0x7c00,
        // Subnormal: adding 1/2 puts the steps of 2^-24 at the end of the fraction, and rounds to them.
        0..0x3880_0000 => (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5_f32.to_bits(),
        _ => (magnitude - (112 << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13,
    };
    // The largest of these is 0x7e00.
    sign | (half & 0x7fff) as u16
}

#[cfg(test)]
mod tests {
    use super::{float_from_half, half_from_float};

    #[test]
    fn every_half_comes_back() {
        for half in 0..=u16::MAX {
            let float = float_from_half(half);
            if float.is_nan() {
                assert_eq!(half & 0x7c00, 0x7c00);
            } else {
                assert_eq!(half_from_float(float), half, "{float}");
            }
        }
    }

    #[test]
    fn halves_are_the_nearest() {
        for step in 0..0x7bff_u16 {
            let (low, high) = (float_from_half(step), float_from_half(step + 1));
            let middle = low + (high - low) / 2.0;
            assert_eq!(half_from_float(f32::from_bits(middle.to_bits() - 1)), step);
            assert_eq!(half_from_float(f32::from_bits(middle.to_bits() + 1)), step + 1);
            assert_eq!(half_from_float(middle) & 1, 0, "a tie goes to the even one");
        }
        assert_eq!(half_from_float(65_519.0), 0x7bff);
        assert_eq!(half_from_float(65_520.0), 0x7c00);
        assert_eq!(half_from_float(-1.0), 0xbc00);
    }
}
