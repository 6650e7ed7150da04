//! What is measured with: noise, of which the gate lets a part through.

use crate::HostBuffer;
use crate::random::Random;

/// Frames of noise at full scale and frames of noise under the gate's threshold, spread at random but always the same.
pub(super) fn gated_noise(frames: usize, frame_len: usize, quiet_percent: u32) -> HostBuffer {
    const NOISE_FRAMES: usize = 64;
    let mut random = Random::new(1, 0);
    let noise: Vec<f32> = (0..NOISE_FRAMES * frame_len).map(|_| 2.0 * random.unit() - 1.0).collect();
    let mut samples = HostBuffer::zeroed(frames * frame_len);
    for frame in samples.chunks_exact_mut(frame_len) {
        let level = if random.below(100) < quiet_percent as usize { 1e-5 } else { 1.0 };
        let from = random.below(NOISE_FRAMES) * frame_len;
        frame.iter_mut().zip(&noise[from..]).for_each(|(sample, noise)| *sample = level * noise);
    }
    samples
}
