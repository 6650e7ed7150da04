//! Where the finished frames of a stream go: into a ring, or to an app's own code.

use super::ring::RingWriter;
use crate::schedule::panic_message;

/// An app's own code, which gets interleaved samples.
pub(crate) type OnOutput = Box<dyn FnMut(&[f32]) + Send>;

/// Where finished frames go.
pub(super) enum Sink {
    Ring(RingWriter),
    Callback(Callback),
}

/// An app's own code, called on a lane with what is finished.
pub(super) struct Callback {
    call: OnOutput,
    channels: usize,
    floats_per_sample: usize,
    /// Frames of all channels, interleaved; the last one is filled as it comes.
    blocks: Vec<f32>,
    block_floats: usize,
    /// Floats that the callback got.
    given: u64,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Ring(_) => "Ring",
            Self::Callback(_) => "Callback",
        })
    }
}

impl Callback {
    pub(super) fn new(call: OnOutput, channels: usize, floats_per_sample: usize, block_floats: usize) -> Self {
        let blocks = vec![0.0; block_floats];
        Self { call, channels, floats_per_sample, blocks, block_floats, given: 0 }
    }
}

/// Silent frames that a callback gets at once, at most.
const SILENT_FRAMES: u64 = 64;

impl Sink {
    /// Frames of so many channels that it has room for.
    pub(super) fn room(&self, channels: usize) -> usize {
        match self {
            Self::Ring(writer) => writer.room() / channels,
            Self::Callback(_) => usize::MAX,
        }
    }

    pub(super) fn sound(&mut self, channel: usize, samples: &[f32]) {
        match self {
            Self::Ring(writer) => writer.sound(channel, samples),
            Self::Callback(callback) => {
                let begin = callback.blocks.len() - callback.block_floats;
                let per_sample = callback.floats_per_sample;
                let instants = callback.blocks[begin..].chunks_exact_mut(callback.channels * per_sample);
                for (to, from) in instants.zip(samples.chunks_exact(per_sample)) {
                    to[channel * per_sample..(channel + 1) * per_sample].copy_from_slice(from);
                }
            }
        }
    }

    pub(super) fn advance(&mut self) {
        match self {
            Self::Ring(writer) => writer.advance(1),
            Self::Callback(callback) => callback.blocks.resize(callback.blocks.len() + callback.block_floats, 0.0),
        }
    }

    /// Lets the other side have what came, up to the `end` of the signal. An error says that the other side panicked.
    pub(super) fn publish(&mut self, end: u64) -> Result<(), String> {
        match self {
            Self::Ring(writer) => {
                writer.publish();
                Ok(())
            }
            Self::Callback(callback) => {
                let finished = callback.blocks.len() - callback.block_floats;
                let left = end.saturating_sub(callback.given);
                let floats = finished.min(usize::try_from(left).unwrap_or(usize::MAX));
                if floats > 0 {
                    callback.given += floats as u64;
                    let call = std::panic::AssertUnwindSafe(|| (callback.call)(&callback.blocks[..floats]));
                    std::panic::catch_unwind(call)
                        .map_err(|panic| format!("its callback panicked: {}", panic_message(panic)))?;
                }
                callback.blocks.drain(..finished);
                Ok(())
            }
        }
    }

    pub(super) fn silence(&mut self, mut frames: u64, end: u64) -> Result<(), String> {
        if let Self::Ring(writer) = self {
            writer.advance(frames);
            return self.publish(end);
        }
        while frames > 0 {
            let now = frames.min(SILENT_FRAMES);
            (0..now).for_each(|_| self.advance());
            self.publish(end)?;
            frames -= now;
        }
        Ok(())
    }
}
