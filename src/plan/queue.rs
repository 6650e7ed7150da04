//! Frames that wait until those of the same time have come from everywhere else.

/// Values of every channel, the same number for each frame.
#[derive(Clone, Debug)]
pub(super) struct Queue<T> {
    /// Values in a frame.
    len: usize,
    channels: Vec<Vec<T>>,
}

impl<T: Copy> Queue<T> {
    pub(super) fn new(len: usize) -> Self {
        Self { len, channels: Vec::new() }
    }

    /// Makes it so many channels.
    pub(super) fn grow(&mut self, channels: usize) {
        self.channels.resize_with(channels, Vec::new);
    }

    /// Appends frames of some channels, channel after channel.
    pub(super) fn push(&mut self, which: &[u32], values: &[T]) {
        let row = values.len() / which.len().max(1);
        for (channel, values) in which.iter().zip(values.chunks(row.max(1))) {
            self.channels[*channel as usize].extend_from_slice(values);
        }
    }

    /// Takes the first frames of some channels, channel after channel.
    pub(super) fn take(&mut self, which: &[u32], frames: usize, to: &mut Vec<T>) {
        let values = frames * self.len;
        for channel in which {
            to.extend(self.channels[*channel as usize].drain(..values));
        }
    }

    /// Takes out all that waits of a channel.
    pub(super) fn take_channel(&mut self, channel: u32) -> Vec<T> {
        std::mem::take(&mut self.channels[channel as usize])
    }

    pub(super) fn put_channel(&mut self, channel: u32, values: Vec<T>) {
        self.channels[channel as usize] = values;
    }
}
