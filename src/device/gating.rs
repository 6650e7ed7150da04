//! The gate's work on one batch, on the machine's own cores: for the CPU device, and for others whose gate is on the host.

use std::ops::Range;

use super::host::HostPool;
use crate::error::{Error, Result};
use crate::frame::{Faulty, FrameState, Quiet};
use crate::recording::batch::{Batch, CONTEXT_LEN};
use crate::recording::{FrameRef, Recording};
use crate::simd::SimdLevel;
use crate::stage::gate;

/// A live frame of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LiveRow {
    pub(crate) channel: usize,
    pub(crate) row: usize,
    /// Whether the neighbours are there to be looked at.
    pub(crate) has_previous: bool,
    pub(crate) has_next: bool,
}

impl LiveRow {
    /// The frame of one input, with its neighbours.
    pub(crate) fn frames<'a>(&self, batch: &Batch<'a>, input: usize) -> FrameRef<'a> {
        let frame = |row| batch.frame(input, self.channel, row);
        FrameRef {
            previous: self.has_previous.then(|| frame(self.row - 1)).flatten(),
            frame: frame(self.row).unwrap_or(&[]),
            next: self.has_next.then(|| frame(self.row + 1)).flatten(),
        }
    }
}

/// A hold up to this many frames is looked up where it is needed: cheaper than a pass over all frames.
const SHORT_HOLD: u32 = 16;

/// The gate's work on one batch, for whichever thread asks for a part of it.
#[derive(Debug)]
pub(crate) struct Gating<'b, 'a> {
    pub(crate) recording: &'b Recording,
    pub(crate) batch: &'b Batch<'a>,
    level: SimdLevel,
    /// With a long hold, what all new frames are, channel after channel.
    ahead: Option<Vec<FrameState>>,
}

/// Frames of one job of what is decided ahead.
const AHEAD_FRAMES: usize = 256;

impl<'b, 'a> Gating<'b, 'a> {
    /// With a long hold, decides all new frames before anything else: in parallel how loud they are, then channel by
    /// channel which are held.
    pub(crate) fn new(host: &HostPool, recording: &'b Recording, batch: &'b Batch<'a>) -> Result<Self> {
        let gating = Self { recording, batch, level: host.level, ahead: None };
        let Some(step) = recording.gate.as_ref().filter(|step| step.hold > SHORT_HOLD) else { return Ok(gating) };
        let mut states = vec![FrameState::Quiet; batch.channels * batch.frames];
        let chunks = states.chunks_mut(AHEAD_FRAMES).enumerate().collect();
        host.for_each(chunks, |_, (chunk, states): (usize, &mut [FrameState])| {
            for (index, state) in (chunk * AHEAD_FRAMES..).zip(states) {
                let row = CONTEXT_LEN + index % batch.frames;
                *state = gate::loudness(step, host.level, batch, index / batch.frames, row);
            }
            Ok(())
        })?;
        for (channel, states) in states.chunks_mut(batch.frames.max(1)).enumerate() {
            let mut since_loud = batch.since_loud(channel);
            states.iter_mut().for_each(|state| *state = gate::hold(step, &mut since_loud, *state));
        }
        Ok(Self { ahead: Some(states), ..gating })
    }

    /// Decides the emitted frames of a span, counted through all channels, and lists the live ones.
    ///
    /// `scratch` is room for states; `states` gets those of the span, `live` is appended to.
    pub(crate) fn span(
        &self,
        span: Range<usize>,
        scratch: &mut Vec<FrameState>,
        states: &mut [FrameState],
        live: &mut Vec<LiveRow>,
    ) -> Result<()> {
        let (recording, batch) = (self.recording, self.batch);
        let reach = usize::from(recording.looks_at_neighbours);
        let mut done = 0;
        for (channel, rows) in batch.rows_of(span) {
            let decided = rows.start.saturating_sub(reach)..(rows.end + reach).min(batch.rows());
            scratch.clear();
            self.decide(channel, decided.clone(), scratch);
            refuse_faulty(recording, batch, channel, decided.start, scratch)?;
            let state_at = |row: usize| scratch[row - decided.start];
            let is_there = |row: usize| {
                decided.contains(&row) && batch.has_frame(channel, row) && is_heard(recording, state_at(row))
            };
            for row in rows {
                states[done] = state_at(row);
                done += 1;
                if state_at(row) == FrameState::Live {
                    let has_previous = reach > 0 && row > 0 && is_there(row - 1);
                    live.push(LiveRow { channel, row, has_previous, has_next: reach > 0 && is_there(row + 1) });
                }
            }
        }
        Ok(())
    }

    fn decide(&self, channel: usize, rows: Range<usize>, states: &mut Vec<FrameState>) {
        let Some(ahead) = &self.ahead else {
            decide_rows(self.recording, self.level, self.batch, channel, rows, states);
            return;
        };
        states.extend(rows.map(|row| match row.checked_sub(CONTEXT_LEN) {
            Some(new) => ahead[channel * self.batch.frames + new],
            None => self.batch.context_state(channel, row),
        }));
    }
}

/// Decides `rows` of a channel; returns how far behind the last loud frame is then.
pub(crate) fn decide_rows(
    recording: &Recording,
    level: SimdLevel,
    batch: &Batch<'_>,
    channel: usize,
    rows: Range<usize>,
    states: &mut Vec<FrameState>,
) -> u32 {
    match &recording.gate {
        Some(step) => gate::decide(step, level, batch, channel, rows, states),
        None => {
            states.extend(rows.map(|_| FrameState::Live));
            0
        }
    }
}

/// True when a live neighbour hears this frame; a silenced one counts as zeros.
pub(crate) fn is_heard(recording: &Recording, state: FrameState) -> bool {
    match state {
        FrameState::Live => true,
        FrameState::Quiet => recording.gate.as_ref().is_some_and(|step| step.quiet == Quiet::Pass),
        FrameState::Faulty => false,
    }
}

/// With `Faulty::Reject`, the first faulty new frame among `states` is an error.
pub(crate) fn refuse_faulty(
    recording: &Recording,
    batch: &Batch<'_>,
    channel: usize,
    first_row: usize,
    states: &[FrameState],
) -> Result<()> {
    let Some(step) = recording.gate.as_ref().filter(|step| step.faulty == Faulty::Reject) else {
        return Ok(());
    };
    let faulty = states.iter().enumerate().map(|(index, state)| (first_row + index, state));
    let Some((row, _)) = faulty.into_iter().find(|(row, state)| *row >= CONTEXT_LEN && **state == FrameState::Faulty)
    else {
        return Ok(());
    };
    let samples = batch.frame(step.input, channel, row).unwrap_or(&[]);
    let float = samples.iter().position(|value| !value.is_finite()).unwrap_or(0);
    let shape = batch.shape(step.input);
    let frame = (row - CONTEXT_LEN) as u64;
    let sample = frame * shape.len() as u64 + (float / shape.domain().floats_per_sample()) as u64;
    Err(Error::FaultyFrame { channel, frame, sample })
}
