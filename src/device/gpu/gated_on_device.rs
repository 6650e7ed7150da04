//! Running a batch that is gated on the device: all frames go up, the device lists the live ones, and later kernels are
//! dispatched for those. Pieces take turns, since the hold of one begins with what the one before it found.

use std::ops::Range;
use std::time::Instant;

use super::buffers::BufferSet;
use super::gate;
use super::places::ResultPlaces;
use super::plan::{GpuPlan, dispatch, index_word};
use crate::device::gating::{is_heard, refuse_faulty};
use crate::error::Result;
use crate::frame::FrameState;
use crate::recording::batch::{Batch, CONTEXT_LEN, LONG_AGO};
use crate::recording::results::Chunk;
use crate::stage::gate::GateParams;

/// Rows of consecutive channels that are gated together on the device.
struct DevicePiece {
    channels: Range<usize>,
    /// Rows that come along, the first two of which are context.
    rows: Range<usize>,
    /// Of those, the ones whose results are wanted.
    emit: Range<usize>,
    /// The last row only comes along as a neighbour: the next piece decides it.
    has_row_ahead: bool,
}

/// Splits a batch into pieces of at most `slots` frames: whole rows of several channels, or runs of one row. A run
/// brings the two frames before it, which are decided by then, and one after it.
fn device_pieces(batch: &Batch<'_>, slots: usize) -> Vec<DevicePiece> {
    let rows = batch.rows();
    if rows <= slots {
        let together = slots / rows;
        let starts = (0..batch.channels).step_by(together);
        let piece = |first: usize| DevicePiece {
            channels: first..(first + together).min(batch.channels),
            rows: 0..rows,
            emit: batch.emit.clone(),
            has_row_ahead: false,
        };
        return starts.map(piece).collect();
    }
    let new = slots - CONTEXT_LEN - 1;
    let runs = (CONTEXT_LEN..rows).step_by(new).map(|first| first..(first + new).min(rows));
    let runs: Vec<Range<usize>> = runs.collect();
    let last_run = runs.len() - 1;
    let of_channel = |channel: usize| {
        let piece =
            move |(index, run): (usize, &Range<usize>)| DevicePiece {
                channels: channel..channel + 1,
                rows: run.start - CONTEXT_LEN..(run.end + 1).min(rows),
                // A frame is emitted by the run that holds it; frames of the session's context by the first.
                emit: if index == 0 { batch.emit.start } else { run.start.max(batch.emit.start) }
                    ..if index == last_run { batch.emit.end } else { run.end.min(batch.emit.end) },
                has_row_ahead: run.end < rows,
            };
        runs.iter().enumerate().map(piece).filter(|piece| !piece.emit.is_empty() || piece.rows.len() > CONTEXT_LEN)
    };
    (0..batch.channels).flat_map(of_channel).collect()
}

/// What is known of every row by now: states, and how far behind the last loud frame is.
struct Known {
    states: Vec<Vec<Option<FrameState>>>,
    since_loud: Vec<u32>,
}

impl GpuPlan {
    pub(super) fn run_gated_on_device(&mut self, batch: &Batch<'_>, mut chunks: Vec<Chunk<'_>>) -> Result<()> {
        let largest = self.buckets.len() - 1;
        // A piece lists at most as many live frames as it has frames.
        let slots = self.buckets[largest].units;
        let mut known = Known {
            states: (0..batch.channels)
                .map(|channel| {
                    let context = |row| batch.has_frame(channel, row).then(|| batch.context_state(channel, row));
                    let mut states: Vec<_> = (0..CONTEXT_LEN).map(context).collect();
                    states.resize(batch.rows(), None);
                    states
                })
                .collect(),
            since_loud: (0..batch.channels).map(|channel| batch.since_loud(channel)).collect(),
        };
        let mut results = vec![Vec::new(); self.buckets[largest].sets()?.each[0].outputs.len()];
        for piece in device_pieces(batch, slots) {
            self.gate_piece(batch, &piece, &mut known, &mut results)?;
        }
        let start = Instant::now();
        let mut live_of = vec![0; chunks.len()];
        for (chunk, live) in chunks.iter_mut().zip(&mut live_of) {
            let mut at = 0;
            for (channel, rows) in batch.rows_of(chunk.frames.clone()) {
                for row in rows {
                    chunk.states[at] = known.states[channel][row].unwrap_or_default();
                    *live += usize::from(chunk.states[at] == FrameState::Live);
                    at += 1;
                }
            }
        }
        let total = live_of.iter().sum();
        let mut places = ResultPlaces::new(&self.recording, &mut chunks, live_of.into_iter());
        for (place, floats) in results.iter().enumerate() {
            places.fill(place, 0..total, floats);
        }
        drop(places);
        self.finish_chunks(batch, chunks)?;
        self.times.collect += start.elapsed();
        Ok(())
    }

    /// Runs one piece, learns its states, and appends the results of its live frames.
    fn gate_piece(
        &mut self,
        batch: &Batch<'_>,
        piece: &DevicePiece,
        known: &mut Known,
        results: &mut [Vec<f32>],
    ) -> Result<()> {
        let start = Instant::now();
        let slots: Vec<(usize, usize)> =
            piece.channels.clone().flat_map(|channel| piece.rows.clone().map(move |row| (channel, row))).collect();
        let bucket = self.bucket(slots.len(), slots.len());
        let sets = self.buckets[bucket].sets()?;
        let buffers = &sets.each[0];
        let Some(gate) = &buffers.gate else {
            return Err(self.shared.error("gating", "the plan was compiled for the host's gate"));
        };
        let mut encoder = self.shared.encoder("auricle");
        self.stage_frames(&mut encoder, buffers, batch, &slots)?;
        // Nothing to copy, but the mapping goes round with the others.
        self.stage_control(&mut encoder, buffers, &[])?;
        self.write_gate_inputs(gate, piece, known);
        self.encode_gated(&mut encoder, buffers, gate, slots.len())?;
        let state_bytes = (slots.len() * size_of::<u32>()) as u64;
        encoder.copy_buffer_to_buffer(&gate.states, 0, &gate.readback, 0, state_bytes);
        let submission = self.shared.queue.submit([encoder.finish()]);
        gate.readback.slice(..state_bytes).map_async(wgpu::MapMode::Read, |_| {});
        self.map_again(buffers, 0);
        self.times.upload += start.elapsed();

        let start = Instant::now();
        self.shared.wait(&submission, self.faults_before, "running its kernels")?;
        self.times.compute += start.elapsed();
        let start = Instant::now();
        let live = self.learn_states(batch, gate, piece, &slots, known)?;
        let mut encoder = self.shared.encoder("auricle");
        self.copy_outputs(&mut encoder, buffers, live);
        let submission = self.shared.queue.submit([encoder.finish()]);
        if live > 0 {
            self.map_outputs(buffers, live);
        }
        self.shared.wait(&submission, self.faults_before, "reading results back")?;
        self.read_outputs(buffers, live, |place, floats| results[place].extend_from_slice(floats))?;
        self.times.readback += start.elapsed();
        Ok(())
    }

    fn write_gate_inputs(&self, gate: &gate::GateBuffers, piece: &DevicePiece, known: &Known) {
        let row_len = piece.rows.len();
        let Some(step) = &self.recording.gate else { return };
        let quads = self.recording.inputs[step.input].1.floats() / 4;
        let within = |row: usize| index_word(row.saturating_sub(piece.rows.start));
        let params = GateParams {
            frames: index_word(piece.channels.len() * row_len),
            row_len: index_word(row_len),
            context_len: index_word(CONTEXT_LEN),
            emit_begin: within(piece.emit.start),
            emit_end: within(piece.emit.end),
            frame_quads: index_word(quads),
            threshold_bits: step.threshold_bits,
            hold: step.hold,
            quiet_neighbours: u32::from(is_heard(&self.recording, FrameState::Quiet)),
            dispatches: index_word(self.recording.steps.len()),
        };
        let states: Vec<u32> = piece
            .channels
            .clone()
            .flat_map(|channel| piece.rows.clone().map(move |row| known.states[channel][row]))
            .map(gate::encode_state)
            .collect();
        let queue = &self.shared.queue;
        queue.write_buffer(&gate.params, 0, bytemuck::bytes_of(&params));
        queue.write_buffer(&gate.states, 0, bytemuck::cast_slice(&states));
        queue.write_buffer(&gate.since_loud, 0, bytemuck::cast_slice(&known.since_loud[piece.channels.clone()]));
    }

    fn encode_gated(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        buffers: &BufferSet,
        gate: &gate::GateBuffers,
        frames: usize,
    ) -> Result<()> {
        let Some(pipelines) = &self.kernels.gate_pipelines else {
            return Err(self.shared.error("gating", "the plan was compiled for the host's gate"));
        };
        buffers.clear_loops(encoder);
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_bind_group(0, &gate.bind_group, &[]);
            pass.set_pipeline(&pipelines.max_abs.pipeline);
            dispatch(&mut pass, index_word(frames));
            pass.set_pipeline(&pipelines.compact.pipeline);
            pass.dispatch_workgroups(1, 1, 1);
        }
        for (params, offset) in buffers.params.iter().zip((0..).step_by(16)) {
            let live_at = offset + gate::ARGUMENTS_BYTES - 4;
            encoder.copy_buffer_to_buffer(&gate.arguments, live_at, params, 0, 4);
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for (index, bind_group) in buffers.bind_groups.iter().enumerate() {
            pass.set_pipeline(&self.kernels.pipelines[index].pipeline);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups_indirect(&gate.arguments, index as u64 * gate::ARGUMENTS_BYTES);
        }
        Ok(())
    }

    /// Reads the states back; returns how many frames the device listed as live.
    fn learn_states(
        &self,
        batch: &Batch<'_>,
        gate: &gate::GateBuffers,
        piece: &DevicePiece,
        slots: &[(usize, usize)],
        known: &mut Known,
    ) -> Result<usize> {
        let bytes = (slots.len() * size_of::<u32>()) as u64;
        let view = gate
            .readback
            .get_mapped_range(..bytes)
            .map_err(|error| self.shared.error("mapping a readback buffer", error))?;
        let words: &[u32] = bytemuck::cast_slice(&view);
        let mut live = 0;
        for (word, (channel, row)) in words.iter().zip(slots) {
            let (state, loud) = gate::decode_state(*word);
            let is_new = *row >= piece.rows.start + CONTEXT_LEN;
            live += usize::from(piece.emit.contains(row) && state == FrameState::Live);
            let is_ahead = piece.has_row_ahead && *row + 1 == piece.rows.end;
            if is_new && !is_ahead {
                known.states[*channel][*row] = Some(state);
                let since = &mut known.since_loud[*channel];
                *since = if loud { 1 } else { since.saturating_add(1).min(LONG_AGO) };
            }
        }
        drop(view);
        gate.readback.unmap();
        for channel in piece.channels.clone() {
            let decided = &known.states[channel][piece.rows.clone()];
            let states: Vec<_> = decided.iter().map(|state| state.unwrap_or_default()).collect();
            refuse_faulty(&self.recording, batch, channel, piece.rows.start, &states)?;
        }
        Ok(live)
    }
}
