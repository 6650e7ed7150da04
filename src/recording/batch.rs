//! One batch on its way through a plan: the frames of every channel, what came before them, and which are wanted.
//!
//! Each channel is a row. Rows count from the two context frames before the batch, which the session kept:
//!
//! ```text
//! row    0        1        2     3     4   ...   frames + 1
//!        context  context  new   new   new ...   new
//!                 |--------- emitted, with a one-frame delay ---------|
//! ```

use std::ops::Range;

use crate::error::{Error, Result};
use crate::frame::{FrameShape, FrameState};

/// Context frames at the start of every row.
pub(crate) const CONTEXT_LEN: usize = 2;

/// How far the last loud frame is behind when there was none: farther than any hold reaches.
pub(crate) const LONG_AGO: u32 = u32::MAX / 2;

/// What a session keeps of a channel between batches.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// For each graph input: the last two frames.
    pub(crate) frames: Vec<Vec<f32>>,
    /// What the gate decided about them; none for a frame before the start.
    pub(crate) states: [Option<FrameState>; CONTEXT_LEN],
    /// How many frames before the next one the last loud one was.
    pub(crate) since_loud: u32,
}

impl History {
    pub(crate) fn new(shapes: &[FrameShape]) -> Self {
        Self {
            frames: shapes.iter().map(|shape| vec![0.0; CONTEXT_LEN * shape.floats()]).collect(),
            states: [None; CONTEXT_LEN],
            since_loud: LONG_AGO,
        }
    }
}

/// Where the new frames of one graph input are.
#[derive(Clone, Debug)]
pub(crate) enum InputSamples<'a> {
    /// Together: channel after channel, in each frame after frame.
    Together(&'a [f32]),
    /// Anywhere: in the same order.
    Apart(&'a [&'a [f32]]),
}

impl<'a> InputSamples<'a> {
    /// Frames of all channels; none when they are not whole.
    fn frames(&self, frame_floats: usize) -> Option<usize> {
        match self {
            Self::Together(samples) => samples.len().is_multiple_of(frame_floats).then(|| samples.len() / frame_floats),
            Self::Apart(frames) => frames.iter().all(|frame| frame.len() == frame_floats).then_some(frames.len()),
        }
    }

    /// Frames of all channels, where they are known to be whole.
    pub(crate) fn count(&self, frame_floats: usize) -> usize {
        self.frames(frame_floats).unwrap_or(0)
    }

    fn floats(&self) -> usize {
        match self {
            Self::Together(samples) => samples.len(),
            Self::Apart(frames) => frames.iter().map(|frame| frame.len()).sum(),
        }
    }

    pub(crate) fn frame(&self, index: usize, frame_floats: usize) -> &'a [f32] {
        match self {
            Self::Together(samples) => &samples[index * frame_floats..(index + 1) * frame_floats],
            Self::Apart(frames) => frames[index],
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Batch<'a> {
    shapes: Vec<FrameShape>,
    inputs: Vec<InputSamples<'a>>,
    /// Of each channel; empty where nothing came before.
    history: Vec<&'a History>,
    pub(crate) channels: usize,
    /// New frames of each channel.
    pub(crate) frames: usize,
    /// Rows whose results are wanted.
    pub(crate) emit: Range<usize>,
}

impl<'a> Batch<'a> {
    /// Checks the samples against the shapes; all of the batch is emitted. `history` is empty, or has that of each channel.
    pub(crate) fn new(
        ports: &[(String, FrameShape)],
        inputs: Vec<InputSamples<'a>>,
        channels: usize,
        history: Vec<&'a History>,
    ) -> Result<Self> {
        if inputs.len() != ports.len() {
            let names: Vec<_> = ports.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::BatchShape {
                input: names.join("`, `"),
                expected: format!("samples for {} inputs", ports.len()),
                actual: format!("{}", inputs.len()),
            });
        }
        let mut frames = None;
        for ((name, shape), samples) in ports.iter().zip(&inputs) {
            let count = samples.frames(shape.floats()).filter(|count| count.is_multiple_of(channels.max(1)));
            let count = count.map(|count| count.checked_div(channels).unwrap_or(0));
            let expected =
                frames.or(count).unwrap_or(samples.floats() / channels.saturating_mul(shape.floats()).max(1));
            if count != Some(expected) || (channels == 0 && samples.floats() > 0) {
                return Err(Error::BatchShape {
                    input: name.clone(),
                    expected: format!("whole frames of {shape} samples for {channels} channels"),
                    actual: format!(
                        "{} floats, while {expected} frames are {}",
                        samples.floats(),
                        expected.saturating_mul(channels).saturating_mul(shape.floats())
                    ),
                });
            }
            frames = Some(expected);
        }
        let frames = frames.unwrap_or(0);
        Ok(Self {
            shapes: ports.iter().map(|(_, shape)| *shape).collect(),
            inputs,
            history,
            channels,
            frames,
            emit: CONTEXT_LEN..CONTEXT_LEN + frames,
        })
    }

    /// The same, of signals that begin here.
    pub(crate) fn whole(ports: &[(String, FrameShape)], inputs: &[&'a [f32]], channels: usize) -> Result<Self> {
        Self::new(ports, together(inputs), channels, Vec::new())
    }

    /// Frames of all channels whose results are wanted.
    pub(crate) fn emitted(&self) -> usize {
        self.channels * self.emit.len()
    }

    /// Rows in a channel, context included.
    pub(crate) fn rows(&self) -> usize {
        CONTEXT_LEN + self.frames
    }

    pub(crate) fn shape(&self, input: usize) -> FrameShape {
        self.shapes[input]
    }

    /// The frame at `row`; none before the channel's start or past the batch.
    pub(crate) fn frame(&self, input: usize, channel: usize, row: usize) -> Option<&'a [f32]> {
        let len = self.shapes[input].floats();
        if row >= CONTEXT_LEN {
            let index = row - CONTEXT_LEN;
            return (index < self.frames).then(|| self.inputs[input].frame(channel * self.frames + index, len));
        }
        let history = *self.history.get(channel)?;
        history.states[row]?;
        Some(&history.frames[input][row * len..(row + 1) * len])
    }

    /// True when there is a frame at `row`.
    pub(crate) fn has_frame(&self, channel: usize, row: usize) -> bool {
        row < self.rows()
            && (row >= CONTEXT_LEN || self.history.get(channel).is_some_and(|history| history.states[row].is_some()))
    }

    pub(crate) fn context_state(&self, channel: usize, row: usize) -> FrameState {
        self.history.get(channel).and_then(|history| history.states[row]).unwrap_or_default()
    }

    pub(crate) fn since_loud(&self, channel: usize) -> u32 {
        self.history.get(channel).map_or(LONG_AGO, |history| history.since_loud)
    }

    /// Splits a run of emitted frames, counted through all channels, into (channel, rows).
    pub(crate) fn rows_of(&self, emitted: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let per_channel = self.emit.len().max(1);
        let start = self.emit.start;
        let channels = emitted.start / per_channel..emitted.end.div_ceil(per_channel);
        channels.filter_map(move |channel| {
            let first = channel * per_channel;
            let begin = emitted.start.max(first) - first;
            let end = emitted.end.min(first + per_channel) - first;
            (begin < end).then(|| (channel, start + begin..start + end))
        })
    }
}

/// Samples of each input, channel after channel.
pub(crate) fn together<'a>(inputs: &[&'a [f32]]) -> Vec<InputSamples<'a>> {
    inputs.iter().map(|samples| InputSamples::Together(samples)).collect()
}
