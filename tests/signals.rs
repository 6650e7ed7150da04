//! Signals to test with, the same on every run. The library's own tests use them too.

/// Numbers without a pattern (xorshift), the same for the same seed.
pub(crate) fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // The first numbers still show the seed.
    for _ in 0..8 {
        next();
    }
    next
}

/// White noise, evenly from -1 to 1.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut next = random(seed);
    (0..len).map(|_| (next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0).collect()
}

/// Frames of noise, of which those with `is_loud` keep their level and the others are a millionth as loud.
pub(crate) fn bursts(floats: usize, frames: usize, seed: u64, is_loud: impl Fn(usize) -> bool) -> Vec<f32> {
    let mut samples = noise(floats * frames, seed);
    for (_, frame) in samples.chunks_mut(floats).enumerate().filter(|(index, _)| !is_loud(*index)) {
        frame.iter_mut().for_each(|x| *x *= 1e-6);
    }
    samples
}
