//! The end of a stream that samples are pulled from.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::ring::RingReader;
use super::{Shared, StreamControl};
use crate::error::Result;

/// The end that samples are pulled from. When it is dropped, the stream is closed: nothing is left to work for.
///
/// Its own ring stays until then; of a stream that is over, nothing else does: not its plan, nor its device.
#[derive(Debug)]
pub struct StreamOutput {
    shared: Arc<Shared>,
    reader: RingReader,
    /// A frame of all channels, interleaved, and how much of it has been pulled.
    block: Vec<f32>,
    block_at: usize,
    /// One channel of it.
    channel: Vec<f32>,
    /// Floats that were pulled.
    pulled: u64,
}

impl StreamOutput {
    pub(super) fn new(shared: &Arc<Shared>, reader: RingReader) -> Self {
        let block = vec![0.0; shared.block_floats()];
        let block_at = block.len();
        let channel = vec![0.0; shared.frame_floats()];
        Self { shared: Arc::clone(shared), reader, block, block_at, channel, pulled: 0 }
    }

    /// What can be asked of the stream from anywhere.
    pub fn control(&self) -> StreamControl {
        StreamControl::new(&self.shared)
    }

    /// Takes what is there, interleaved; returns how many floats that is. Never waits: 0 when there is nothing yet.
    ///
    /// # Errors
    /// When all that was finished before has been pulled: [`Error::Stream`](crate::Error::Stream) where the device failed,
    /// [`Error::ShutDown`](crate::Error::ShutDown) where the engine is gone.
    pub fn pull(&mut self, samples: &mut [f32]) -> Result<usize> {
        // In this order: what is over has published all it will.
        let is_over = self.shared.is_over();
        let mut at = 0;
        while at < samples.len() {
            if self.block_at == self.block.len() {
                // In this order: whoever sees the last frame knows where in it the signal ends.
                let available = self.reader.available();
                let room = (samples.len() - at).min(self.left());
                let whole = self.whole_blocks(&mut samples[at..at + room], available);
                if whole > 0 {
                    at += whole;
                    self.pulled += whole as u64;
                    continue;
                }
                if available == 0 {
                    break;
                }
                self.next_block();
            }
            let count = (self.block.len() - self.block_at).min(samples.len() - at).min(self.left());
            if count == 0 {
                break;
            }
            samples[at..at + count].copy_from_slice(&self.block[self.block_at..self.block_at + count]);
            (at, self.block_at) = (at + count, self.block_at + count);
            self.pulled += count as u64;
        }
        if at > 0 {
            // Either this sees that the lane found no room, or the lane sees this room.
            fence(Ordering::SeqCst);
            if self.shared.is_stuck.load(Ordering::Relaxed) && self.shared.is_stuck.swap(false, Ordering::AcqRel) {
                self.shared.poke();
            }
        }
        match self.shared.failure() {
            Some(error) if at == 0 && is_over && !samples.is_empty() => Err(error),
            _ => Ok(at),
        }
    }

    /// Takes as many floats as fit, waiting for them up to `timeout`; fewer when that has passed, or when the stream is at
    /// its end.
    ///
    /// # Errors
    /// As [`pull`](Self::pull).
    pub fn pull_all(&mut self, samples: &mut [f32], timeout: Duration) -> Result<usize> {
        let start = Instant::now();
        let mut at = self.pull(samples)?;
        while at < samples.len() && !self.is_finished() {
            let Some(left) = timeout.checked_sub(start.elapsed()) else { break };
            let (shared, reader) = (&self.shared, &self.reader);
            shared.output.wait(Some(left), || reader.available() > 0 || shared.is_over());
            match self.pull(&mut samples[at..]) {
                Ok(more) => at += more,
                // What came before the failure is not lost: the next call tells of it.
                Err(_) if at > 0 => break,
                Err(error) => return Err(error),
            }
        }
        self.unless_failed(at, samples.len())
    }

    /// So many floats of those wanted; but an end without any, if it is no good end, is an error.
    fn unless_failed(&self, count: usize, wanted: usize) -> Result<usize> {
        let failure = || self.shared.failure().filter(|_| count == 0 && wanted > 0 && self.is_finished());
        failure().map_or(Ok(count), Err)
    }

    /// Takes what is there, as soon as there is something: 0 only at the end.
    ///
    /// # Errors
    /// As [`pull`](Self::pull).
    pub async fn pull_async(&mut self, samples: &mut [f32]) -> Result<usize> {
        std::future::poll_fn(|context| {
            for is_registered in [false, true] {
                match self.pull(samples).and_then(|count| self.unless_failed(count, samples.len())) {
                    Ok(0) if !samples.is_empty() && !self.is_finished() => {}
                    done => return Poll::Ready(done),
                }
                if !is_registered {
                    self.shared.output.await_with(context.waker().clone());
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Whether all has been pulled that ever will be there.
    pub fn is_finished(&self) -> bool {
        self.shared.is_over() && self.reader.available() == 0 && (self.block_at == self.block.len() || self.left() == 0)
    }

    /// Floats until the end of the signal, where that is known. Its last frame was filled up.
    fn left(&self) -> usize {
        let end = self.shared.end.load(Ordering::Acquire);
        usize::try_from(end - self.pulled).unwrap_or(usize::MAX)
    }

    /// Takes whole frames straight to where they are wanted: silence, or one that sounds in the only channel. Returns how
    /// many floats that was.
    fn whole_blocks(&mut self, samples: &mut [f32], available: u64) -> usize {
        let block = self.block.len();
        let wanted = (samples.len() / block) as u64;
        if wanted == 0 {
            return 0;
        }
        let silent = self.reader.silent(available).min(wanted);
        let floats = usize::try_from(silent).unwrap_or(0) * block;
        if silent > 0 {
            samples[..floats].fill(0.0);
            self.reader.advance(silent);
            return floats;
        }
        if available == 0 || self.shared.channels > 1 {
            return 0;
        }
        self.reader.read(&mut samples[..block]);
        self.reader.advance(1);
        block
    }

    /// Reads the next frame, which has to be there.
    fn next_block(&mut self) {
        let (channels, per_sample) = (self.shared.channels, self.shared.shape.domain().floats_per_sample());
        let mut written = 0;
        while let Some(channel) = self.reader.sounding() {
            if channels == 1 {
                self.reader.read(&mut self.block);
            } else {
                if written == 0 {
                    self.block.fill(0.0);
                }
                self.reader.read(&mut self.channel);
                let instants = self.block.chunks_exact_mut(channels * per_sample);
                for (to, from) in instants.zip(self.channel.chunks_exact(per_sample)) {
                    to[channel * per_sample..(channel + 1) * per_sample].copy_from_slice(from);
                }
            }
            written += 1;
        }
        if written == 0 {
            self.block.fill(0.0);
        }
        self.reader.advance(1);
        self.block_at = 0;
    }
}

impl Drop for StreamOutput {
    fn drop(&mut self) {
        self.shared.is_abandoned.store(true, Ordering::Release);
        self.shared.end(None);
        self.shared.poke();
    }
}
