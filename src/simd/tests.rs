//! The gate's maximum against its definition, on every level of this machine.

use super::{SimdLevel, max_abs_bits};
use signals::noise;

#[path = "../../tests/signals.rs"]
#[expect(dead_code, reason = "shared with the tests of the whole crate")]
pub(crate) mod signals;

fn definition(frame: &[f32]) -> u32 {
    frame.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0)
}

#[test]
fn maximum_of_any_length_and_alignment() {
    let special = [0.0, -0.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN, 1e-45, -3.0];
    for level in SimdLevel::available() {
        for len in (0..300).chain([511, 512, 1000, 1024, 1025]) {
            for offset in [0, 1, 7] {
                let mut data = noise(len + offset, len as u64);
                assert_eq!(max_abs_bits(level, &data[offset..]), definition(&data[offset..]));
                if len == 0 {
                    continue;
                }
                for (i, value) in special.iter().enumerate() {
                    let at = offset + (i * 131 + len - 1) % len;
                    let old = std::mem::replace(&mut data[at], *value);
                    assert_eq!(max_abs_bits(level, &data[offset..]), definition(&data[offset..]));
                    data[at] = old;
                }
                // The largest sample at each place of a small frame, and at the last place.
                for at in (0..len.min(70)).chain([len - 1]) {
                    let mut quiet = vec![1e-3; len + offset];
                    quiet[offset + at] = -2.0;
                    assert_eq!(max_abs_bits(level, &quiet[offset..]), 2.0_f32.to_bits());
                }
            }
        }
    }
}
