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

/// What a session keeps of each channel between batches.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// For each graph input: the last two frames of every channel, channel after channel.
    pub(crate) frames: Vec<Vec<f32>>,
    /// What the gate decided about them; none for a frame before the start.
    pub(crate) states: Vec<[Option<FrameState>; CONTEXT_LEN]>,
    /// For each channel: how many frames before the next one the last loud one was.
    pub(crate) since_loud: Vec<u32>,
}

impl History {
    pub(crate) fn new(shapes: &[FrameShape], channels: usize) -> Self {
        Self {
            frames: shapes.iter().map(|shape| vec![0.0; channels * CONTEXT_LEN * shape.floats()]).collect(),
            states: vec![[None; CONTEXT_LEN]; channels],
            since_loud: vec![LONG_AGO; channels],
        }
    }
}

/// Samples for one graph input: channel after channel, in each frame after frame.
pub(crate) type InputSamples<'a> = &'a [f32];

#[derive(Clone, Debug)]
pub(crate) struct Batch<'a> {
    shapes: Vec<FrameShape>,
    inputs: Vec<InputSamples<'a>>,
    history: Option<&'a History>,
    pub(crate) channels: usize,
    /// New frames of each channel.
    pub(crate) frames: usize,
    /// Rows whose results are wanted.
    pub(crate) emit: Range<usize>,
}

impl<'a> Batch<'a> {
    /// Checks the samples against the shapes; all of the batch is emitted.
    pub(crate) fn new(
        ports: &[(String, FrameShape)],
        inputs: &[InputSamples<'a>],
        channels: usize,
        history: Option<&'a History>,
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
        for ((name, shape), samples) in ports.iter().zip(inputs) {
            let row_floats = channels * shape.floats();
            let count = samples.len().checked_div(row_floats).unwrap_or(0);
            let expected = frames.unwrap_or(count);
            if count != expected || count * row_floats != samples.len() {
                return Err(Error::BatchShape {
                    input: name.clone(),
                    expected: format!("whole frames of {shape} samples for {channels} channels"),
                    actual: format!("{} floats, while {expected} frames are {}", samples.len(), expected * row_floats),
                });
            }
            frames = Some(expected);
        }
        let frames = frames.unwrap_or(0);
        Ok(Self {
            shapes: ports.iter().map(|(_, shape)| *shape).collect(),
            inputs: inputs.to_vec(),
            history,
            channels,
            frames,
            emit: CONTEXT_LEN..CONTEXT_LEN + frames,
        })
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
            let begin = (channel * self.frames + index) * len;
            return (index < self.frames).then(|| &self.inputs[input][begin..begin + len]);
        }
        let history = self.history?;
        history.states[channel][row]?;
        let begin = (channel * CONTEXT_LEN + row) * len;
        Some(&history.frames[input][begin..begin + len])
    }

    /// True when there is a frame at `row`.
    pub(crate) fn has_frame(&self, channel: usize, row: usize) -> bool {
        row < self.rows()
            && (row >= CONTEXT_LEN || self.history.is_some_and(|history| history.states[channel][row].is_some()))
    }

    pub(crate) fn context_state(&self, channel: usize, row: usize) -> FrameState {
        self.history.and_then(|history| history.states[channel][row]).unwrap_or_default()
    }

    pub(crate) fn since_loud(&self, channel: usize) -> u32 {
        self.history.map_or(LONG_AGO, |history| history.since_loud[channel])
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
