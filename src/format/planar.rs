//! Between samples as files have them, interleaved, and as plans take them: one channel after the other, in whole frames.

use super::SignalSpec;

/// One channel after the other, each filled up with zeros to `len` samples. A single channel of whole frames is taken
/// as it is.
pub(crate) fn planar_from_interleaved<'a>(
    spec: &SignalSpec,
    block: &'a [f32],
    len: usize,
    room: &'a mut Vec<f32>,
) -> &'a [f32] {
    let sample = spec.domain().floats_per_sample();
    let channel_floats = len * sample;
    if spec.channels == 1 && block.len() == channel_floats {
        return block;
    }
    room.clear();
    room.resize(spec.channels * channel_floats, 0.0);
    for (channel, planar) in room.chunks_exact_mut(channel_floats).enumerate() {
        let interleaved = block.chunks_exact(spec.channels * sample);
        for (to, from) in planar.chunks_exact_mut(sample).zip(interleaved) {
            to.copy_from_slice(&from[channel * sample..(channel + 1) * sample]);
        }
    }
    room
}

/// The first `samples` sample times, interleaved.
pub(crate) fn interleaved_from_planar<'a>(
    spec: &SignalSpec,
    planar: &'a [f32],
    samples: u64,
    room: &'a mut Vec<f32>,
) -> &'a [f32] {
    let sample = spec.domain().floats_per_sample();
    let floats = usize::try_from(samples).unwrap_or(usize::MAX).saturating_mul(sample);
    if spec.channels == 1 {
        return &planar[..floats];
    }
    room.clear();
    room.resize(floats * spec.channels, 0.0);
    let channel_floats = (planar.len() / spec.channels).max(1);
    for (channel, planar) in planar.chunks_exact(channel_floats).enumerate() {
        let interleaved = room.chunks_exact_mut(spec.channels * sample);
        for (to, from) in interleaved.zip(planar[..floats].chunks_exact(sample)) {
            to[channel * sample..(channel + 1) * sample].copy_from_slice(from);
        }
    }
    room
}
