//! What one signal may take of the service, however many channels it has.

use super::Problem;
use crate::format::SignalSpec;

/// Bounds of a live stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamBounds {
    /// Floats in one frame of all channels, at most.
    pub(super) block_floats: usize,
    /// Frames that may wait on each side, at most, and the floats in them.
    pub(super) ring: usize,
    pub(super) ring_floats: usize,
}

impl StreamBounds {
    /// Floats in one frame of all channels of a signal.
    pub(super) fn check(&self, spec: &SignalSpec, frame_len: usize) -> Result<usize, Problem> {
        let block = spec.floats_per_sample_time().saturating_mul(frame_len);
        if block > self.block_floats {
            let detail = format!("{} channels are too many for frames of {frame_len}", spec.channels);
            return Err(Problem::bad_request("bad-signal", detail));
        }
        Ok(block)
    }

    /// Frames of so many floats that may wait on each side.
    pub(super) fn ring(&self, block: usize) -> usize {
        (self.ring_floats / block.max(1)).clamp(4, self.ring)
    }
}
