//! A plan on a wgpu device: pipelines, buffers for each bucket, and the two ways to run a batch.
//!
//! ```text
//! gate on the host    gate all frames -> live frames, piece by piece: upload -> steps -> readback   (two in flight)
//! gate on the device  frames, piece by piece: upload -> gate -> list live ones -> steps -> readback
//! ```

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use super::buffers::{BufferSet, CONTROL_HEADER_BYTES};
use super::gate::{self, GatePipelines};
use super::pipeline::{Binding, Pipeline, PipelineRequest};
use crate::device::host::{HostPool, LiveRow, gate_span, is_heard, refuse_faulty};
use crate::device::{CompileReport, GatePlacement, PlanOptions, PreparedPlan};
use crate::error::{Error, Result};
use crate::frame::FrameState;
use crate::graph::batch::{Batch, CONTEXT_LEN};
use crate::graph::recording::{Kernel, NO_SLOT, Place, Recording, Unit};
use crate::graph::results::{Chunk, RunOutput};
use crate::stage::gate::{GateParams, Quiet};

/// Submissions in flight: while one computes, the next is filled.
const IN_FLIGHT: usize = 2;
/// A bucket's largest buffer: well under the 128 MiB that every adapter can bind.
const LARGEST_BUFFER_BYTES: usize = 32 << 20;
/// Frames that are gated and put together at once.
const CHUNK_FRAMES: usize = 256;
/// The largest x of a dispatch; more workgroups go to y. Within the 65,535 of every adapter.
const WIDEST_DISPATCH: u32 = 32_768;

pub(super) struct GpuPlan {
    shared: Arc<Shared>,
    host: HostPool,
    recording: Arc<Recording>,
    gate_on: GatePlacement,
    pipelines: Vec<Pipeline>,
    gate_pipelines: Option<GatePipelines>,
    /// By size; each has one set for every submission in flight.
    buckets: Vec<Vec<BufferSet>>,
    report: CompileReport,
    times: Times,
    /// A failed run leaves submissions and mappings in an unknown state.
    broken: bool,
}

#[derive(Debug, Default)]
struct Times {
    gate: Duration,
    upload: Duration,
    compute: Duration,
    readback: Duration,
    collect: Duration,
}

impl std::fmt::Debug for GpuPlan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GpuPlan").field("device", &self.shared.name).finish_non_exhaustive()
    }
}

fn bindings(kernel: &Kernel, operands: usize, results: usize) -> Vec<Binding> {
    let read = usize::from(kernel.reads_units) + operands + kernel.tables.len();
    let mut bindings = vec![Binding::Uniform];
    bindings.extend(std::iter::repeat_n(Binding::Read, read));
    bindings.extend(std::iter::repeat_n(Binding::ReadWrite, results));
    bindings
}

impl GpuPlan {
    pub(super) fn new(
        shared: Arc<Shared>,
        host: HostPool,
        recording: Arc<Recording>,
        options: &PlanOptions,
    ) -> Result<Self> {
        let start = Instant::now();
        let mut report =
            CompileReport { disk_cache_bytes: shared.pipelines.disk_cache_bytes(), ..CompileReport::default() };
        let mut pipelines = Vec::new();
        for step in &recording.steps {
            let request = PipelineRequest {
                label: &step.kernel.name,
                wgsl: &step.kernel.wgsl,
                entry: &step.kernel.entry,
                constants: &step.kernel.constants,
                bindings: bindings(&step.kernel, step.operands.len(), step.results.len()),
            };
            let (pipeline, built) = shared.pipelines.get(&shared, &request)?;
            report.pipelines_built += usize::from(built);
            report.pipelines_reused += usize::from(!built);
            pipelines.push(pipeline);
        }
        let gates = options.gate_on == GatePlacement::Device && recording.gate.is_some();
        let gate_pipelines = gates.then(|| GatePipelines::new(&shared)).transpose()?;
        if let Some(gate) = &gate_pipelines {
            report.pipelines_built += gate.built;
            report.pipelines_reused += 2 - gate.built;
        }
        let mut plan = Self {
            shared,
            host,
            recording,
            gate_on: if gates { GatePlacement::Device } else { GatePlacement::Host },
            pipelines,
            gate_pipelines,
            buckets: Vec::new(),
            report,
            times: Times::default(),
            broken: false,
        };
        plan.make_buckets(&options.buckets)?;
        plan.warm_up()?;
        if plan.report.pipelines_built > 0 {
            plan.shared.pipelines.store();
        }
        plan.report.time = start.elapsed();
        Ok(plan)
    }

    fn make_buckets(&mut self, wanted: &[usize]) -> Result<()> {
        let shapes = self.recording.inputs.iter().map(|(_, shape)| shape.floats());
        let floats = shapes.chain(self.recording.buffers.iter().map(|spec| spec.shape.floats())).max().unwrap_or(1);
        let most = (LARGEST_BUFFER_BYTES / (floats * size_of::<f32>())).clamp(1, gate::MOST_FRAMES / 2 - 2);
        // A piece that is gated on the device brings two frames of context, and at least one frame and the next.
        let least = if self.gate_on == GatePlacement::Device { CONTEXT_LEN + 2 } else { 1 };
        let mut sizes: Vec<usize> = wanted.iter().map(|size| (*size).clamp(least, most.max(least))).collect();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.is_empty() {
            return Err(Error::setting("the plan's buckets", "empty", "there must be at least one"));
        }
        for units in sizes {
            // A frame comes with its neighbours; side by side they are shared, far apart they are not.
            let slots = if self.recording.looks_at_neighbours { 2 * units + 2 } else { units };
            let sets = (0..IN_FLIGHT).map(|_| {
                let gate = self.gate_pipelines.as_ref();
                BufferSet::new(&self.shared, &self.recording, &self.pipelines, gate, units, slots)
            });
            let sets = sets.collect::<Result<Vec<_>>>()?;
            self.report.buffer_bytes += sets.iter().map(|set| set.bytes).sum::<u64>();
            self.buckets.push(sets);
        }
        Ok(())
    }

    /// Drivers compile when a pipeline first runs: so each runs once, for no frames.
    fn warm_up(&self) -> Result<()> {
        let set = &self.buckets[0][0];
        let mut encoder = self.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (pipeline, bind_group) in self.pipelines.iter().zip(&set.bind_groups) {
                pass.set_pipeline(&pipeline.pipeline);
                pass.set_bind_group(0, bind_group, &[]);
                pass.dispatch_workgroups(1, 1, 1);
            }
            if let (Some(pipelines), Some(gate)) = (&self.gate_pipelines, &set.gate) {
                pass.set_bind_group(0, &gate.bind_group, &[]);
                pass.set_pipeline(&pipelines.max_abs.pipeline);
                pass.dispatch_workgroups(1, 1, 1);
                pass.set_pipeline(&pipelines.compact.pipeline);
                pass.dispatch_workgroups(1, 1, 1);
            }
        }
        let submission = self.shared.queue.submit([encoder.finish()]);
        self.shared.wait(&submission, "the first run of its kernels")
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.shared.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("auricle") })
    }

    /// The smallest bucket for that many live frames and slots, else the largest.
    fn bucket(&self, units: usize, slots: usize) -> usize {
        let fits = |sets: &Vec<BufferSet>| sets[0].units >= units && sets[0].slots >= slots;
        self.buckets.iter().position(fits).unwrap_or(self.buckets.len() - 1)
    }

    fn stage_times(&self) -> Vec<(String, Duration)> {
        let steps: Vec<_> = self.recording.steps.iter().map(|step| step.node.as_str()).collect();
        let gate = self.recording.gate.as_ref().map_or("frames", |step| &step.node);
        vec![
            (gate.to_owned(), self.times.gate),
            ("upload".to_owned(), self.times.upload),
            (steps.join("+"), self.times.compute),
            ("readback".to_owned(), self.times.readback),
            ("collect".to_owned(), self.times.collect),
        ]
    }
}

impl PreparedPlan for GpuPlan {
    fn run(&mut self, batch: &Batch<'_>, output: &mut RunOutput) -> Result<()> {
        if self.broken {
            return Err(self.shared.error("running a plan", "an earlier run of it failed; compile the graph again"));
        }
        self.times = Times::default();
        output.prepare(&self.recording, batch, CHUNK_FRAMES);
        let run = match self.gate_on {
            GatePlacement::Host => self.run_gated_on_host(batch, output.chunks()),
            GatePlacement::Device => self.run_gated_on_device(batch, output.chunks()),
        };
        // Bad samples are found before anything is submitted, or after everything has come back.
        self.broken = matches!(run, Err(Error::Device { .. } | Error::DeviceLost { .. }));
        run?;
        output.set_stage_times(self.stage_times());
        Ok(())
    }

    fn report(&self) -> &CompileReport {
        &self.report
    }
}

/// Live frames that are submitted together.
struct Piece {
    /// Where they stand among all live frames of the batch.
    units: Range<usize>,
    list: Vec<Unit>,
    /// The frame that each slot holds: (channel, row).
    slots: Vec<(usize, usize)>,
}

/// A submission that has not been read back.
struct Flight {
    piece: Range<usize>,
    bucket: usize,
    set: usize,
    submission: wgpu::SubmissionIndex,
}

fn index_word(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NO_SLOT)
}

/// The piece that starts at `first`: as many live frames as fit.
fn next_piece(live: &[LiveRow], first: usize, most_units: usize, most_slots: usize) -> Piece {
    let mut piece = Piece { units: first..first, list: Vec::new(), slots: Vec::new() };
    let slot = |slots: &mut Vec<(usize, usize)>, at: (usize, usize)| {
        // Live frames come in order, so a frame that has a slot already got one of the last three.
        let recent = slots.len().saturating_sub(3);
        let found = slots[recent..].iter().position(|held| *held == at).map(|index| recent + index);
        index_word(found.unwrap_or_else(|| {
            slots.push(at);
            slots.len() - 1
        }))
    };
    for row in &live[first..] {
        let needed = 1 + usize::from(row.has_previous) + usize::from(row.has_next);
        if piece.list.len() == most_units || piece.slots.len() + needed > most_slots {
            break;
        }
        let at = |row_index| (row.channel, row_index);
        let previous = if row.has_previous { slot(&mut piece.slots, at(row.row - 1)) } else { NO_SLOT };
        let own = slot(&mut piece.slots, at(row.row));
        let next = if row.has_next { slot(&mut piece.slots, at(row.row + 1)) } else { NO_SLOT };
        piece.list.push(Unit { slot: own, previous, next, frame: own });
        piece.units.end += 1;
    }
    piece
}

impl GpuPlan {
    fn run_gated_on_host(&mut self, batch: &Batch<'_>, mut chunks: Vec<Chunk<'_>>) -> Result<()> {
        let start = Instant::now();
        let lives = self.gate_chunks(batch, &mut chunks)?;
        self.times.gate += start.elapsed();

        let live: Vec<LiveRow> = lives.concat();
        let mut rooms = Rooms::new(&self.recording, &mut chunks, lives.iter().map(Vec::len));
        let mut flights: VecDeque<Flight> = VecDeque::new();
        let mut done = 0;
        let mut turn = 0;
        while done < live.len() {
            let largest = &self.buckets[self.buckets.len() - 1][0];
            let piece = next_piece(&live, done, largest.units, largest.slots);
            done = piece.units.end;
            if flights.len() == IN_FLIGHT
                && let Some(flight) = flights.pop_front()
            {
                self.land(&flight, &mut rooms)?;
            }
            flights.push_back(self.submit(batch, &piece, turn % IN_FLIGHT)?);
            turn += 1;
        }
        for flight in flights {
            self.land(&flight, &mut rooms)?;
        }
        drop(rooms);
        let start = Instant::now();
        self.finish_chunks(batch, chunks)?;
        self.times.collect += start.elapsed();
        Ok(())
    }

    fn gate_chunks(&self, batch: &Batch<'_>, chunks: &mut [Chunk<'_>]) -> Result<Vec<Vec<LiveRow>>> {
        let mut lives: Vec<Vec<LiveRow>> = vec![Vec::new(); chunks.len()];
        let jobs = chunks.iter_mut().zip(&mut lives).collect();
        self.host.for_each(jobs, |_, (chunk, live): (&mut Chunk<'_>, &mut Vec<LiveRow>)| {
            let mut scratch = Vec::new();
            gate_span(&self.recording, self.host.level, batch, chunk.frames.clone(), &mut scratch, chunk.states, live)
        })?;
        Ok(lives)
    }

    fn finish_chunks(&self, batch: &Batch<'_>, chunks: Vec<Chunk<'_>>) -> Result<()> {
        let step = self.recording.gate.as_ref();
        let quiet = step.map_or(Quiet::Zero, |step| step.gate.quiet);
        let gated = step.map_or(0, |step| step.input);
        let passing_shape = self.recording.inputs.get(gated).map(|(_, shape)| *shape);
        self.host.for_each(chunks, |_, mut chunk| {
            let span = chunk.frames.clone();
            chunk.finish(&span, quiet, passing_shape, |frame| {
                let (channel, rows) = batch.rows_of(frame..frame + 1).next()?;
                batch.frame(gated, channel, rows.start)
            });
            Ok(())
        })
    }

    fn submit(&mut self, batch: &Batch<'_>, piece: &Piece, set: usize) -> Result<Flight> {
        let start = Instant::now();
        let bucket = self.bucket(piece.list.len(), piece.slots.len());
        let buffers = &self.buckets[bucket][set];
        let mut encoder = self.encoder();
        self.stage_frames(&mut encoder, buffers, batch, &piece.slots)?;
        self.stage_control(&mut encoder, buffers, &piece.list)?;
        let live = piece.list.len();
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (index, step) in self.recording.steps.iter().enumerate() {
                pass.set_pipeline(&self.pipelines[index].pipeline);
                pass.set_bind_group(0, &buffers.bind_groups[index], &[]);
                let items = index_word(live) * step.kernel.items_per_frame;
                let workgroups = items.div_ceil(step.kernel.items_per_workgroup);
                pass.dispatch_workgroups(workgroups.min(WIDEST_DISPATCH), workgroups.div_ceil(WIDEST_DISPATCH), 1);
            }
        }
        self.copy_outputs(&mut encoder, buffers, live);
        let submission = self.shared.queue.submit([encoder.finish()]);
        self.map_again(buffers, live);
        self.times.upload += start.elapsed();
        Ok(Flight { piece: piece.units.clone(), bucket, set, submission })
    }

    /// Fills the staging buffers of the inputs with the frames of `slots`, and copies them to the device.
    fn stage_frames(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        buffers: &BufferSet,
        batch: &Batch<'_>,
        slots: &[(usize, usize)],
    ) -> Result<()> {
        for (input, upload) in buffers.inputs.iter().enumerate() {
            let len = batch.shape(input).floats() * size_of::<f32>();
            let bytes = (len * slots.len()) as u64;
            let mut view = upload
                .staging
                .get_mapped_range_mut(..bytes)
                .map_err(|error| self.shared.error("mapping an upload buffer", error))?;
            for (slot, (channel, row)) in slots.iter().enumerate() {
                let place = slot * len..(slot + 1) * len;
                match batch.frame(input, *channel, *row) {
                    Some(frame) => view.slice(place).copy_from_slice(bytemuck::cast_slice(frame)),
                    None => view.slice(place).copy_from_slice(&vec![0; len]),
                }
            }
            drop(view);
            upload.staging.unmap();
            encoder.copy_buffer_to_buffer(&upload.staging, 0, &upload.target, 0, bytes);
        }
        Ok(())
    }

    fn stage_control(&self, encoder: &mut wgpu::CommandEncoder, buffers: &BufferSet, list: &[Unit]) -> Result<()> {
        let staging = &buffers.control.staging;
        let bytes = size_of_val(list) as u64;
        let mut view = staging
            .get_mapped_range_mut(..CONTROL_HEADER_BYTES + bytes)
            .map_err(|error| self.shared.error("mapping an upload buffer", error))?;
        view.slice(..4).copy_from_slice(&index_word(list.len()).to_le_bytes());
        view.slice(usize::try_from(CONTROL_HEADER_BYTES).unwrap_or(0)..).copy_from_slice(bytemuck::cast_slice(list));
        drop(view);
        staging.unmap();
        encoder.copy_buffer_to_buffer(staging, CONTROL_HEADER_BYTES, &buffers.unit_list, 0, bytes);
        for params in &buffers.params {
            encoder.copy_buffer_to_buffer(staging, 0, params, 0, 4);
        }
        Ok(())
    }

    fn output_bytes(&self, place: usize, live: usize) -> u64 {
        let is_here = |spec: &&crate::graph::recording::BufferSpec| spec.place == Place::Output(place);
        let floats = self.recording.buffers.iter().find(is_here).map_or(0, |spec| spec.shape.floats());
        (floats * live * size_of::<f32>()) as u64
    }

    fn copy_outputs(&self, encoder: &mut wgpu::CommandEncoder, buffers: &BufferSet, live: usize) {
        for (place, (output, readback)) in buffers.outputs.iter().enumerate() {
            encoder.copy_buffer_to_buffer(output, 0, readback, 0, self.output_bytes(place, live));
        }
    }

    /// Asks for all mappings that the landing and the next flight of this set need. They are there once the
    /// submission has ended; a failure shows when the range is taken.
    fn map_again(&self, buffers: &BufferSet, live: usize) {
        let staging = buffers.inputs.iter().map(|upload| &upload.staging).chain([&buffers.control.staging]);
        for buffer in staging {
            buffer.slice(..).map_async(wgpu::MapMode::Write, |_| {});
        }
        for (place, (_, readback)) in buffers.outputs.iter().enumerate() {
            if live > 0 {
                readback.slice(..self.output_bytes(place, live)).map_async(wgpu::MapMode::Read, |_| {});
            }
        }
    }

    fn land(&mut self, flight: &Flight, rooms: &mut Rooms<'_>) -> Result<()> {
        let start = Instant::now();
        self.shared.wait(&flight.submission, "running its kernels")?;
        self.times.compute += start.elapsed();
        let start = Instant::now();
        let buffers = &self.buckets[flight.bucket][flight.set];
        self.read_back(buffers, flight.piece.clone(), rooms)?;
        self.times.readback += start.elapsed();
        Ok(())
    }

    fn read_back(&self, buffers: &BufferSet, units: Range<usize>, rooms: &mut Rooms<'_>) -> Result<()> {
        for (place, (_, readback)) in buffers.outputs.iter().enumerate() {
            let bytes = self.output_bytes(place, units.len());
            if bytes == 0 {
                continue;
            }
            let view = readback
                .get_mapped_range(..bytes)
                .map_err(|error| self.shared.error("mapping a readback buffer", error))?;
            rooms.fill(place, units.clone(), bytemuck::cast_slice(&view));
            drop(view);
            readback.unmap();
        }
        Ok(())
    }
}

/// Where the results of all live frames go: a run of live frames for each chunk.
struct Rooms<'a> {
    /// Live frames before each chunk, then all of them.
    starts: Vec<usize>,
    /// For each chunk, for each place.
    rooms: Vec<Vec<&'a mut [f32]>>,
    /// Floats per frame of each place.
    floats: Vec<usize>,
}

impl<'a> Rooms<'a> {
    fn new(recording: &Recording, chunks: &'a mut [Chunk<'_>], live: impl Iterator<Item = usize>) -> Self {
        let mut starts = vec![0];
        let mut rooms = Vec::new();
        for (chunk, live) in chunks.iter_mut().zip(live) {
            starts.push(starts[starts.len() - 1] + live);
            let span = chunk.frames.clone();
            rooms.push(chunk.room(&span, live));
        }
        let mut floats: Vec<(usize, usize)> = recording
            .buffers
            .iter()
            .filter_map(|spec| match spec.place {
                Place::Output(place) => Some((place, spec.shape.floats())),
                Place::Shared(_) => None,
            })
            .collect();
        floats.sort_unstable();
        Self { starts, rooms, floats: floats.into_iter().map(|(_, floats)| floats).collect() }
    }

    /// Puts the results of `units`, which lie side by side in `source`, into the rooms.
    fn fill(&mut self, place: usize, units: Range<usize>, source: &[f32]) {
        let len = self.floats[place];
        let mut chunk = self.starts.partition_point(|start| *start <= units.start) - 1;
        let mut unit = units.start;
        while unit < units.end {
            let end = units.end.min(self.starts[chunk + 1]);
            let (from, to) = (unit - self.starts[chunk], end - self.starts[chunk]);
            let piece = &source[(unit - units.start) * len..(end - units.start) * len];
            self.rooms[chunk][place][from * len..to * len].copy_from_slice(piece);
            unit = end;
            chunk += 1;
        }
    }
}

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
    fn run_gated_on_device(&mut self, batch: &Batch<'_>, mut chunks: Vec<Chunk<'_>>) -> Result<()> {
        let largest = self.buckets.len() - 1;
        // A piece lists at most as many live frames as it has frames.
        let slots = self.buckets[largest][0].units;
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
        let results: Mutex<Vec<Vec<f32>>> = Mutex::new(vec![Vec::new(); self.buckets[largest][0].outputs.len()]);
        for piece in device_pieces(batch, slots) {
            self.gate_piece(batch, &piece, &mut known, &results)?;
        }
        let start = Instant::now();
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
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
        let mut rooms = Rooms::new(&self.recording, &mut chunks, live_of.into_iter());
        for (place, floats) in results.iter().enumerate() {
            rooms.fill(place, 0..total, floats);
        }
        drop(rooms);
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
        results: &Mutex<Vec<Vec<f32>>>,
    ) -> Result<()> {
        let start = Instant::now();
        let slots: Vec<(usize, usize)> =
            piece.channels.clone().flat_map(|channel| piece.rows.clone().map(move |row| (channel, row))).collect();
        let bucket = self.bucket(slots.len(), slots.len());
        let buffers = &self.buckets[bucket][0];
        let Some(gate) = &buffers.gate else {
            return Err(self.shared.error("gating", "the plan was compiled for the host's gate"));
        };
        let mut encoder = self.encoder();
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
        self.shared.wait(&submission, "running its kernels")?;
        self.times.compute += start.elapsed();
        let start = Instant::now();
        let live = self.learn_states(batch, gate, piece, &slots, known)?;
        let mut encoder = self.encoder();
        self.copy_outputs(&mut encoder, buffers, live);
        let submission = self.shared.queue.submit([encoder.finish()]);
        for (place, (_, readback)) in buffers.outputs.iter().enumerate() {
            if live > 0 {
                readback.slice(..self.output_bytes(place, live)).map_async(wgpu::MapMode::Read, |_| {});
            }
        }
        self.shared.wait(&submission, "reading results back")?;
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, (_, readback)) in buffers.outputs.iter().enumerate() {
            let bytes = self.output_bytes(place, live);
            if bytes > 0 {
                let view = readback
                    .get_mapped_range(..bytes)
                    .map_err(|error| self.shared.error("mapping a readback buffer", error))?;
                results[place].extend_from_slice(bytemuck::cast_slice(&view));
                drop(view);
                readback.unmap();
            }
        }
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
            threshold_bits: step.gate.threshold_bits(),
            hold: step.gate.hold,
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
        let Some(pipelines) = &self.gate_pipelines else {
            return Err(self.shared.error("gating", "the plan was compiled for the host's gate"));
        };
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let workgroups = index_word(frames);
            pass.set_bind_group(0, &gate.bind_group, &[]);
            pass.set_pipeline(&pipelines.max_abs.pipeline);
            pass.dispatch_workgroups(workgroups.min(WIDEST_DISPATCH), workgroups.div_ceil(WIDEST_DISPATCH), 1);
            pass.set_pipeline(&pipelines.compact.pipeline);
            pass.dispatch_workgroups(1, 1, 1);
        }
        for (params, offset) in buffers.params.iter().zip((0..).step_by(16)) {
            let live_at = offset + gate::ARGUMENTS_BYTES - 4;
            encoder.copy_buffer_to_buffer(&gate.arguments, live_at, params, 0, 4);
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for (index, bind_group) in buffers.bind_groups.iter().enumerate() {
            pass.set_pipeline(&self.pipelines[index].pipeline);
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
                *since = if loud { 1 } else { since.saturating_add(1).min(crate::stage::gate::LONG_AGO) };
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
