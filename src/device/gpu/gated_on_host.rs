//! Running a batch that is gated on the host: only live frames, and the neighbours that they hear, go to the device.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::buffers::BufferSets;
use super::places::ResultPlaces;
use super::plan::{GpuPlan, IN_FLIGHT, dispatch, index_word};
use crate::device::gating::{Gating, LiveRow};
use crate::error::Result;
use crate::recording::batch::Batch;
use crate::recording::results::Chunk;
use crate::recording::{NO_SLOT, Unit};

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
    sets: Arc<BufferSets>,
    set: usize,
    submission: wgpu::SubmissionIndex,
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
    pub(super) fn run_gated_on_host(&mut self, batch: &Batch<'_>, mut chunks: Vec<Chunk<'_>>) -> Result<()> {
        let start = Instant::now();
        let lives = self.gate_chunks(batch, &mut chunks)?;
        self.times.gate += start.elapsed();

        let live: Vec<LiveRow> = lives.concat();
        let mut places = ResultPlaces::new(&self.recording, &mut chunks, lives.iter().map(Vec::len));
        let mut flights: VecDeque<Flight> = VecDeque::new();
        let mut done = 0;
        let mut turn = 0;
        while done < live.len() {
            let largest = &self.buckets[self.buckets.len() - 1];
            let piece = next_piece(&live, done, largest.units, largest.slots);
            done = piece.units.end;
            if flights.len() == IN_FLIGHT
                && let Some(flight) = flights.pop_front()
            {
                self.land(&flight, &mut places)?;
            }
            let bucket = self.bucket(piece.list.len(), piece.slots.len());
            let sets = match self.buckets[bucket].sets_if_here() {
                Some(sets) => sets,
                None => {
                    // Whoever waits for memory must not hold any.
                    flights.drain(..).try_for_each(|flight| self.land(&flight, &mut places))?;
                    self.buckets[bucket].sets()?
                }
            };
            flights.push_back(self.submit(batch, &piece, sets, turn % IN_FLIGHT)?);
            turn += 1;
        }
        for flight in flights {
            self.land(&flight, &mut places)?;
        }
        drop(places);
        let start = Instant::now();
        self.finish_chunks(batch, chunks)?;
        self.times.collect += start.elapsed();
        Ok(())
    }

    fn gate_chunks(&self, batch: &Batch<'_>, chunks: &mut [Chunk<'_>]) -> Result<Vec<Vec<LiveRow>>> {
        let gating = Gating::new(&self.host, &self.recording, batch)?;
        let mut lives: Vec<Vec<LiveRow>> = vec![Vec::new(); chunks.len()];
        let jobs = chunks.iter_mut().zip(&mut lives).collect();
        self.host.for_each(jobs, |_, (chunk, live): (&mut Chunk<'_>, &mut Vec<LiveRow>)| {
            let mut scratch = Vec::new();
            gating.span(chunk.frames.clone(), &mut scratch, chunk.states, live)
        })?;
        Ok(lives)
    }

    fn submit(&mut self, batch: &Batch<'_>, piece: &Piece, sets: Arc<BufferSets>, set: usize) -> Result<Flight> {
        let start = Instant::now();
        let buffers = &sets.each[set];
        let mut encoder = self.shared.encoder("auricle");
        self.stage_frames(&mut encoder, buffers, batch, &piece.slots)?;
        self.stage_control(&mut encoder, buffers, &piece.list)?;
        let live = piece.list.len();
        buffers.clear_loops(&mut encoder);
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (index, step) in self.recording.steps.iter().enumerate() {
                pass.set_pipeline(&self.kernels.pipelines[index].pipeline);
                pass.set_bind_group(0, &buffers.bind_groups[index], &[]);
                let items = index_word(live) * step.kernel.items_per_frame;
                let workgroups = items.div_ceil(step.kernel.items_per_workgroup);
                dispatch(&mut pass, workgroups);
            }
        }
        self.copy_outputs(&mut encoder, buffers, live);
        let submission = self.shared.queue.submit([encoder.finish()]);
        self.map_again(buffers, live);
        self.times.upload += start.elapsed();
        Ok(Flight { piece: piece.units.clone(), sets, set, submission })
    }

    fn land(&mut self, flight: &Flight, places: &mut ResultPlaces<'_>) -> Result<()> {
        let start = Instant::now();
        self.shared.wait(&flight.submission, self.faults_before, "running its kernels")?;
        self.times.compute += start.elapsed();
        let start = Instant::now();
        let (buffers, units) = (&flight.sets.each[flight.set], &flight.piece);
        self.read_outputs(buffers, units.len(), |place, floats| places.fill(place, units.clone(), floats))?;
        self.times.readback += start.elapsed();
        Ok(())
    }
}
