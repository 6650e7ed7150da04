//! Frames that wait until those of the same time have come from everywhere else.

use std::collections::VecDeque;

/// Values of every channel, the same number for each frame.
#[derive(Clone, Debug)]
pub(super) struct Queue<T> {
    /// Values in a frame.
    len: usize,
    channels: Vec<VecDeque<T>>,
}

impl<T: Copy> Queue<T> {
    pub(super) fn new(len: usize, channels: usize) -> Self {
        Self { len, channels: vec![VecDeque::new(); channels] }
    }

    /// Appends frames, channel after channel.
    pub(super) fn push(&mut self, values: &[T]) {
        let row = values.len() / self.channels.len().max(1);
        for (channel, values) in self.channels.iter_mut().zip(values.chunks(row.max(1))) {
            channel.extend(values);
        }
    }

    /// Takes the first frames of every channel, channel after channel.
    pub(super) fn take(&mut self, frames: usize) -> Vec<T> {
        let values = frames * self.len;
        self.channels.iter_mut().flat_map(|channel| channel.drain(..values)).collect()
    }
}
