//! What a run of a plan gives back: the gate's decisions, the frames of every output, and where the time went.

use std::ops::Range;
use std::time::Duration;

use super::batch::Batch;
use super::{Place, Recording};
use crate::frame::{FrameShape, FrameState, Quiet};
use crate::memory::HostBuffer;

/// How the frames of an output lie in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Every frame in its place; quiet ones as the gate's `quiet` says, faulty ones as zeros.
    #[default]
    Dense,
    /// Live frames only: silence costs no memory traffic. Read them with [`RunOutput::live`]. What a denoiser lets fade
    /// out into quiet frames is left out.
    Packed,
}

/// Frames counted by what the gate decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct FrameCounts {
    /// All frames.
    pub total: u64,
    /// Frames that the stages worked on.
    pub live: u64,
    /// Frames in which nothing was above the threshold.
    pub quiet: u64,
    /// Frames with a NaN or an infinity.
    pub faulty: u64,
}

impl FrameCounts {
    fn of(states: &[FrameState]) -> Self {
        let mut counts = Self { total: states.len() as u64, ..Self::default() };
        for state in states {
            match state {
                FrameState::Live => counts.live += 1,
                FrameState::Quiet => counts.quiet += 1,
                FrameState::Faulty => counts.faulty += 1,
            }
        }
        counts
    }
}

impl std::ops::AddAssign for FrameCounts {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.live += other.live;
        self.quiet += other.quiet;
        self.faulty += other.faulty;
    }
}

/// A live frame of an output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveFrame<'a> {
    /// The channel, from 0.
    pub channel: usize,
    /// The frame within the channel, from 0, among those that this run gave back.
    pub frame: usize,
    /// Its floats.
    pub samples: &'a [f32],
}

/// The result of a run. Reuse it for the next one, and its memory serves again.
#[derive(Debug, Default)]
pub struct RunOutput {
    layout: Layout,
    channels: usize,
    frames: usize,
    states: Vec<FrameState>,
    /// Frames, counted through all channels, that were packed together: each run of this many has its own place.
    chunk_frames: usize,
    /// True when every frame stands in its place, whatever the layout.
    in_place: bool,
    /// What batches fill: all of it, or in turn parts of a whole.
    part: Part,
    names: Vec<(String, usize)>,
    places: Vec<OutputMemory>,
    stage_times: Vec<(String, Duration)>,
    /// Those of the last batch.
    batch_times: Vec<(String, Duration)>,
    hop_times: Vec<Duration>,
}

/// Frames that a batch fills, counted through all channels.
#[derive(Debug, Default)]
struct Part {
    frames: Range<usize>,
    /// How many of them are packed together.
    chunk_frames: usize,
    /// The whole that they are a part of, where they are: its channels, and the frames of each.
    of: Option<(usize, usize)>,
}

#[derive(Debug)]
struct OutputMemory {
    shape: FrameShape,
    /// At least as long as the results; what lies behind them is left over from a longer run.
    data: HostBuffer,
    /// Frames of `data` that are known to be zeros: silence need not be written over silence.
    silent: Vec<bool>,
}

impl OutputMemory {
    fn new(shape: FrameShape) -> Self {
        Self { shape, data: HostBuffer::zeroed(0), silent: Vec::new() }
    }

    /// Makes room for `frames` frames, with garbage in those that are not `silent`.
    fn prepare(&mut self, shape: FrameShape, frames: usize) {
        let len = shape.floats();
        let floats = frames * len;
        if self.data.len() < floats {
            self.data = HostBuffer::zeroed(floats);
            self.silent.clear();
            self.silent.resize(frames, true);
        } else if self.shape.floats() != len {
            self.silent.clear();
        }
        if self.silent.len() < frames {
            self.silent.resize(frames, false);
        }
        self.shape = shape;
    }
}

impl RunOutput {
    /// An empty result that will hold its frames in this layout.
    pub fn new(layout: Layout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// Channels of the run.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Frames that came back of each channel.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// What the gate decided about each frame that came back, channel after channel.
    pub fn states(&self) -> &[FrameState] {
        &self.states
    }

    /// The same, counted.
    pub fn counts(&self) -> FrameCounts {
        FrameCounts::of(&self.states)
    }

    /// All frames of an output, channel after channel; none when there is no such output or the layout is packed.
    pub fn dense(&self, output: &str) -> Option<&[f32]> {
        let memory = self.memory(output).filter(|_| self.layout == Layout::Dense)?;
        Some(&memory.data[..self.states.len() * memory.shape.floats()])
    }

    /// The live frames of an output, in order; none when there is no such output.
    pub fn live(&self, output: &str) -> impl Iterator<Item = LiveFrame<'_>> {
        let memory = self.memory(output);
        let mut packed_at = 0;
        self.states.iter().enumerate().filter_map(move |(index, state)| {
            let memory = memory?;
            if index % self.chunk_frames == 0 {
                packed_at = index;
            }
            if *state != FrameState::Live {
                return None;
            }
            let len = memory.shape.floats();
            let place = if self.layout == Layout::Dense || self.in_place { index } else { packed_at };
            packed_at += 1;
            let (channel, frame) = (index / self.frames, index % self.frames);
            Some(LiveFrame { channel, frame, samples: &memory.data[place * len..(place + 1) * len] })
        })
    }

    /// Where the time went: each stage's share of the time that the run took, in flow order.
    pub fn stage_times(&self) -> &[(String, Duration)] {
        &self.stage_times
    }

    /// For each call of a denoiser's network in this run: the time that it took, divided by the hops that it advanced its
    /// channels by. Empty where there is no denoiser.
    pub fn hop_times(&self) -> &[Duration] {
        &self.hop_times
    }

    fn memory(&self, output: &str) -> Option<&OutputMemory> {
        let (_, place) = self.names.iter().find(|(name, _)| name == output)?;
        self.places.get(*place)
    }

    /// After a run that failed: no frames, rather than half of them.
    pub(crate) fn clear(&mut self) {
        (self.channels, self.frames) = (0, 0);
        self.states.clear();
        self.names.clear();
        self.stage_times.clear();
        self.hop_times.clear();
    }

    /// From here on a batch fills a part of a whole of so many channels and frames: that which begins with `frame`, counted
    /// through all channels.
    pub(crate) fn aim(&mut self, (channels, frames): (usize, usize), frame: usize) {
        self.part.of = Some((channels, frames));
        self.part.frames = frame..frame;
    }

    /// From here on a batch fills all of it again.
    pub(crate) fn aim_at_all(&mut self) {
        self.part.of = None;
    }

    /// How many frames the last batch filled, of all channels together.
    pub(crate) fn part_frames(&self) -> usize {
        self.part.frames.len()
    }

    /// What the last batch found out about its frames.
    pub(crate) fn part_counts(&self) -> FrameCounts {
        FrameCounts::of(self.states.get(self.part.frames.clone()).unwrap_or_default())
    }

    /// The frames of an output that the last batch filled; none where it is not dense.
    pub(crate) fn part_dense(&self, output: &str) -> Option<&[f32]> {
        let len = self.memory(output)?.shape.floats();
        self.dense(output)?.get(self.part.frames.start * len..self.part.frames.end * len)
    }

    /// Makes room for the results of a batch. What is in the frames afterwards is garbage.
    pub(crate) fn prepare(&mut self, recording: &Recording, batch: &Batch<'_>, chunk_frames: usize) {
        self.part.chunk_frames = chunk_frames.max(1);
        match self.part.of {
            None => {
                self.prepare_whole(recording, batch.channels, batch.emit.len());
                self.chunk_frames = self.part.chunk_frames;
                self.part.frames = 0..self.states.len();
            }
            Some((channels, frames)) => {
                if self.names.is_empty() {
                    self.prepare_whole(recording, channels, frames);
                    self.chunk_frames = self.states.len().max(1);
                }
                self.part.frames.end = self.part.frames.start + batch.emitted();
            }
        }
    }

    fn prepare_whole(&mut self, recording: &Recording, channels: usize, frames: usize) {
        (self.channels, self.frames) = (channels, frames);
        self.in_place = false;
        self.hop_times.clear();
        self.stage_times.clear();
        self.states.clear();
        self.states.resize(channels * frames, FrameState::Quiet);
        let place_of = |buffer: usize| match recording.buffers[buffer].place {
            Place::Output(place) => place,
            Place::Shared(_) => 0,
        };
        self.names = recording.outputs.iter().map(|port| (port.name.clone(), place_of(port.buffer))).collect();
        // What an earlier plan put out besides is not of this size.
        let places = recording.buffers.iter().filter(|buffer| matches!(buffer.place, Place::Output(_))).count();
        self.places.truncate(places);
        for buffer in &recording.buffers {
            let Place::Output(place) = buffer.place else { continue };
            while self.places.len() <= place {
                self.places.push(OutputMemory::new(buffer.shape));
            }
            self.places[place].prepare(buffer.shape, channels * frames);
        }
    }

    /// The room for a batch, cut into the runs of frames that are packed together.
    pub(crate) fn chunks(&mut self) -> Vec<Chunk<'_>> {
        let (layout, size, part) = (self.layout, self.part.chunk_frames, self.part.frames.clone());
        let mut begin = 0;
        let mut chunks: Vec<Chunk<'_>> = self.states[part.clone()]
            .chunks_mut(size)
            .map(|states| {
                let frames = begin..begin + states.len();
                begin = frames.end;
                Chunk { layout, frames, states, packed: 0, places: Vec::new() }
            })
            .collect();
        for memory in &mut self.places {
            let len = memory.shape.floats();
            let data = memory.data[part.start * len..part.end * len].chunks_mut(size * len);
            let frames = data.zip(memory.silent[part.clone()].chunks_mut(size));
            for (chunk, (data, silent)) in chunks.iter_mut().zip(frames) {
                chunk.places.push(ChunkPlace { shape: memory.shape, data, silent });
            }
        }
        chunks
    }

    /// Fills in results that were put together elsewhere: all frames of each output, channel after channel.
    pub(crate) fn assemble(
        &mut self,
        channels: usize,
        states: &[FrameState],
        outputs: impl IntoIterator<Item = (String, FrameShape, Vec<f32>)>,
    ) {
        self.clear();
        (self.channels, self.frames) = (channels, states.len() / channels.max(1));
        self.states.extend_from_slice(states);
        self.chunk_frames = states.len().max(1);
        self.in_place = true;
        self.places.clear();
        for (name, shape, frames) in outputs {
            let mut memory = OutputMemory::new(shape);
            memory.prepare(shape, states.len());
            memory.silent.fill(false);
            memory.data[..frames.len()].copy_from_slice(&frames);
            self.names.push((name, self.places.len()));
            self.places.push(memory);
        }
        self.part = Part { frames: 0..states.len(), chunk_frames: self.chunk_frames, of: None };
    }

    /// Makes room for results that come in parts, with the outputs of `part`: silent frames, all of them.
    pub(crate) fn begin_parts(&mut self, part: &Self, channels: usize, frames: usize) {
        self.clear();
        (self.channels, self.frames) = (channels, frames);
        self.states.resize(channels * frames, FrameState::Quiet);
        self.chunk_frames = (channels * frames).max(1);
        self.in_place = true;
        self.names.clone_from(&part.names);
        self.places.truncate(part.places.len());
        while self.places.len() < part.places.len() {
            self.places.push(OutputMemory::new(part.places[self.places.len()].shape));
        }
        for (memory, part) in self.places.iter_mut().zip(&part.places) {
            memory.prepare(part.shape, channels * frames);
        }
    }

    /// Every frame will stand in its place.
    pub(crate) fn make_dense(&mut self) {
        self.layout = Layout::Dense;
    }

    /// Puts a part where it belongs: its channels from `channel`, its frames from `frame`. Times add up.
    pub(crate) fn take_part(&mut self, part: &Self, channel: usize, frame: usize) {
        for index in 0..part.channels {
            let (from, to) = (index * part.frames, (channel + index) * self.frames + frame);
            self.states[to..to + part.frames].copy_from_slice(&part.states[from..from + part.frames]);
            for ((_, place), (_, part_place)) in self.names.iter().zip(&part.names) {
                let (memory, part_memory) = (&mut self.places[*place], &part.places[*part_place]);
                let len = memory.shape.floats();
                let samples = &part_memory.data[from * len..(from + part.frames) * len];
                memory.silent[to..to + part.frames].fill(false);
                memory.data[to * len..(to + part.frames) * len].copy_from_slice(samples);
            }
        }
        part.stage_times.iter().for_each(|(name, time)| add_time(&mut self.stage_times, name, *time));
        self.hop_times.extend_from_slice(&part.hop_times);
    }

    pub(crate) fn set_hop_times(&mut self, times: Vec<Duration>) {
        self.hop_times = times;
    }

    /// What a batch took.
    pub(crate) fn add_stage_times(&mut self, times: &[(String, Duration)]) {
        if self.part.of.is_none() {
            self.stage_times.clear();
        }
        times.iter().for_each(|(name, time)| add_time(&mut self.stage_times, name, *time));
    }

    /// What a device did, if it did it in this result: the times are its to keep.
    pub(crate) fn ran(&mut self, times: Vec<(String, Duration)>) {
        self.add_stage_times(&times);
        self.batch_times = times;
    }

    /// What the last batch took, stage by stage.
    pub(crate) fn batch_times(&self) -> &[(String, Duration)] {
        &self.batch_times
    }
}

/// Adds to the time of a stage; one that is new comes last.
pub(crate) fn add_time(times: &mut Vec<(String, Duration)>, stage: &str, time: Duration) {
    match times.iter_mut().find(|(known, _)| known == stage) {
        Some((_, sum)) => *sum += time,
        None => times.push((stage.to_owned(), time)),
    }
}

/// A run of frames whose results lie together.
pub(crate) struct Chunk<'a> {
    layout: Layout,
    /// Counted through all channels.
    pub(crate) frames: Range<usize>,
    pub(crate) states: &'a mut [FrameState],
    /// Live frames that are packed already.
    packed: usize,
    places: Vec<ChunkPlace<'a>>,
}

/// A chunk's part of one output's memory.
struct ChunkPlace<'a> {
    shape: FrameShape,
    data: &'a mut [f32],
    /// Frames that are zeros.
    silent: &'a mut [bool],
}

impl Chunk<'_> {
    /// Room for the results of the `live` frames of a span of this chunk, for each place. Spans come in order.
    pub(crate) fn room(&mut self, span: &Range<usize>, live: usize) -> Vec<&mut [f32]> {
        let at = match self.layout {
            Layout::Dense => span.start - self.frames.start,
            Layout::Packed => self.packed,
        };
        self.places
            .iter_mut()
            .map(|place| {
                place.silent[at..at + live].fill(false);
                &mut place.data[at * place.shape.floats()..(at + live) * place.shape.floats()]
            })
            .collect()
    }

    /// Finishes a span whose live frames have been put into its room: in the dense layout, moves each to its place
    /// and fills the others. Quiet frames pass only where an output has the shape of what the gate listens to.
    pub(crate) fn finish(&mut self, recording: &Recording, batch: &Batch<'_>, span: &Range<usize>) {
        let passing = recording.gate.as_ref().filter(|step| step.quiet == Quiet::Pass).map(|step| step.input);
        let quiet_frame = |index: usize| {
            let (channel, rows) = batch.rows_of(index..index + 1).next()?;
            batch.frame(passing?, channel, rows.start)
        };
        let local = span.start - self.frames.start..span.end - self.frames.start;
        let states = &self.states[local.clone()];
        let live = states.iter().filter(|state| **state == FrameState::Live).count();
        self.packed += live;
        if self.layout == Layout::Packed || live == states.len() {
            return;
        }
        for ChunkPlace { shape, data, silent } in &mut self.places {
            let len = shape.floats();
            let data = &mut data[local.start * len..local.end * len];
            let silent = &mut silent[local.clone()];
            let passes = passing.is_some_and(|input| batch.shape(input) == *shape);
            let mut rank = live;
            for (index, state) in states.iter().enumerate().rev() {
                let place = index * len..(index + 1) * len;
                let source = match state {
                    FrameState::Live => {
                        rank -= 1;
                        if rank < index {
                            data.copy_within(rank * len..(rank + 1) * len, place.start);
                        }
                        silent[index] = false;
                        continue;
                    }
                    FrameState::Quiet if passes => quiet_frame(span.start + index),
                    FrameState::Quiet | FrameState::Faulty => None,
                };
                match source {
                    Some(source) => data[place].copy_from_slice(source),
                    None if silent[index] => {}
                    None => data[place].fill(0.0),
                }
                silent[index] = source.is_none();
            }
        }
    }
}
