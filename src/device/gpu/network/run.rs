//! One call of a network: pieces go up, are computed and come back, two at a time.

use std::collections::VecDeque;

use super::super::plan::{IN_FLIGHT, dispatch};
use super::GpuNetwork;
use super::memory::{ControlLayout, PARAMS_BYTES, bytes_of};
use super::pieces::{Piece, cut};
use crate::error::{Error, Result};
use crate::stage::denoise::network::{Advance, HopStep};

/// A submission that has not been read back.
struct Flight {
    piece: Piece,
    staging: usize,
    submission: wgpu::SubmissionIndex,
}

impl GpuNetwork {
    /// Refuses what no call may be, before anything is submitted.
    pub(super) fn check(&self, call: &Advance<'_>, output: &[f32]) -> Result<()> {
        let rows = call.channels.len() * call.hops;
        let samples = rows * self.program.hop;
        let ascending = call.channels.is_sorted_by(|a, b| a < b);
        let known = call.channels.last().is_none_or(|last| (*last as usize) < self.channels);
        let fits = call.samples.len() == samples && output.len() == samples && call.steps.len() == rows;
        if ascending && known && fits {
            return Ok(());
        }
        Err(Error::BatchShape {
            input: "denoise".to_owned(),
            expected: format!("ascending channels below {}, {samples} samples, {rows} steps", self.channels),
            actual: format!(
                "channels {:?}, {} samples, {} steps, room for {} samples",
                call.channels,
                call.samples.len(),
                call.steps.len(),
                output.len()
            ),
        })
    }

    /// What a call is cut into.
    pub(super) fn pieces(&self, call: &Advance<'_>) -> Vec<Piece> {
        let (most_rows, most_hops) = (self.bounds.most_rows, self.program.most_hops);
        cut(call.channels, call.hops, self.bank_len, most_rows, most_hops).collect()
    }

    /// Runs them; there is memory for the largest one.
    pub(super) fn run(&mut self, call: &Advance<'_>, pieces: Vec<Piece>, output: &mut [f32]) -> Result<()> {
        let faults_before = self.shared.faults.count();
        let mut flights: VecDeque<Flight> = VecDeque::new();
        for (turn, piece) in pieces.into_iter().enumerate() {
            if flights.len() == IN_FLIGHT
                && let Some(flight) = flights.pop_front()
            {
                self.land(&flight, call, faults_before, output)?;
            }
            flights.push_back(self.submit(call, piece, turn % IN_FLIGHT)?);
        }
        for flight in flights {
            self.land(&flight, call, faults_before, output)?;
        }
        Ok(())
    }

    fn submit(&mut self, call: &Advance<'_>, piece: Piece, staging: usize) -> Result<Flight> {
        let extent = piece.extent();
        let chosen: Vec<(usize, usize)> =
            self.program.operations.iter().map(|operation| operation.work.choose(extent, self.bounds.device)).collect();
        for (operation, (variant, _)) in chosen.iter().enumerate() {
            self.pipeline(operation, *variant)?;
        }
        let mut encoder = self.shared.encoder("denoise");
        self.stage_control(&mut encoder, call, &piece, staging)?;
        self.stage_samples(&mut encoder, call, &piece, staging)?;
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (operation, (variant, workgroups)) in chosen.into_iter().enumerate() {
                let Some(pipeline) = &self.pipelines[operation][variant] else { continue };
                pass.set_pipeline(&pipeline.pipeline);
                pass.set_bind_group(0, &self.rows.bind_groups[piece.bank][operation], &[]);
                dispatch(&mut pass, u32::try_from(workgroups).unwrap_or(u32::MAX));
            }
        }
        let buffers = &self.rows.staging[staging];
        let bytes = bytes_of(piece.rows() * self.program.hop);
        if let Some(finished) = self.rows.buffers.get(&crate::stage::denoise::program::Place::Finished) {
            encoder.copy_buffer_to_buffer(finished, 0, &buffers.finished, 0, bytes);
        }
        let submission = self.shared.queue.submit([encoder.finish()]);
        // They are there once the submission has ended; a failure shows when the range is taken.
        buffers.control.slice(..).map_async(wgpu::MapMode::Write, |_| {});
        buffers.samples.slice(..).map_async(wgpu::MapMode::Write, |_| {});
        buffers.finished.slice(..bytes).map_async(wgpu::MapMode::Read, |_| {});
        Ok(Flight { piece, staging, submission })
    }

    /// The parameters of all operations with the piece's extent, its channels within their bank, and its steps.
    fn stage_control(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        call: &Advance<'_>,
        piece: &Piece,
        staging: usize,
    ) -> Result<()> {
        use crate::stage::denoise::program::Place;
        let layout = ControlLayout::new(self.program.operations.len(), self.rows.capacity);
        let control = &self.rows.staging[staging].control;
        let mut data = vec![0_u32; usize::try_from(layout.bytes / 4).unwrap_or(0)];
        let at = |bytes: u64| usize::try_from(bytes / 4).unwrap_or(0);
        let extent = piece.extent();
        for (index, operation) in (0_u64..).zip(&self.program.operations) {
            let params = &mut data[at(index * PARAMS_BYTES)..][..operation.params.len()];
            params.copy_from_slice(&operation.params);
            params[..3].copy_from_slice(&[extent.rows, extent.channels, extent.hops]);
        }
        let first = u32::try_from(piece.bank * self.bank_len).unwrap_or(0);
        let channels = &mut data[at(layout.params_bytes)..][..piece.slots.len()];
        for (channel, slot) in channels.iter_mut().zip(piece.slots.clone()) {
            *channel = call.channels[slot] - first;
        }
        let steps = &mut data[at(layout.steps_at)..][..2 * piece.rows()];
        for (steps, slot) in steps.chunks_exact_mut(2 * piece.hops.len()).zip(piece.slots.clone()) {
            let range = slot * call.hops + piece.hops.start..slot * call.hops + piece.hops.end;
            steps.copy_from_slice(bytemuck::cast_slice::<HopStep, u32>(&call.steps[range]));
        }
        let used = layout.steps_at + bytes_of(2 * piece.rows());
        let mut view = control
            .get_mapped_range_mut(..used)
            .map_err(|error| self.shared.error("mapping an upload buffer", error))?;
        view.slice(..).copy_from_slice(bytemuck::cast_slice(&data[..at(used)]));
        drop(view);
        control.unmap();
        if let Some(params) = &self.rows.params {
            encoder.copy_buffer_to_buffer(control, 0, params, 0, layout.params_bytes);
        }
        let parts = [
            (Place::Channels, layout.params_bytes, bytes_of(piece.slots.len())),
            (Place::Steps, layout.steps_at, bytes_of(2 * piece.rows())),
        ];
        for (place, at, bytes) in parts {
            if let Some(buffer) = self.rows.buffers.get(&place) {
                encoder.copy_buffer_to_buffer(control, at, buffer, 0, bytes);
            }
        }
        Ok(())
    }

    fn stage_samples(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        call: &Advance<'_>,
        piece: &Piece,
        staging: usize,
    ) -> Result<()> {
        let samples = &self.rows.staging[staging].samples;
        let hop = self.program.hop;
        let (len, bytes) = (piece.hops.len() * hop, bytes_of(piece.rows() * hop));
        let mut view = samples
            .get_mapped_range_mut(..bytes)
            .map_err(|error| self.shared.error("mapping an upload buffer", error))?;
        for (index, slot) in piece.slots.clone().enumerate() {
            let from = (slot * call.hops + piece.hops.start) * hop;
            let place = index * len * size_of::<f32>()..(index + 1) * len * size_of::<f32>();
            view.slice(place).copy_from_slice(bytemuck::cast_slice(&call.samples[from..from + len]));
        }
        drop(view);
        samples.unmap();
        if let Some(target) = self.rows.buffers.get(&crate::stage::denoise::program::Place::Samples) {
            encoder.copy_buffer_to_buffer(samples, 0, target, 0, bytes);
        }
        Ok(())
    }

    fn land(&self, flight: &Flight, call: &Advance<'_>, faults_before: u64, output: &mut [f32]) -> Result<()> {
        self.shared.wait(&flight.submission, faults_before, "running a denoiser")?;
        let readback = &self.rows.staging[flight.staging].finished;
        let (piece, hop) = (&flight.piece, self.program.hop);
        let view = readback
            .get_mapped_range(..bytes_of(piece.rows() * hop))
            .map_err(|error| self.shared.error("mapping a readback buffer", error))?;
        let finished: &[f32] = bytemuck::cast_slice(&view);
        for (finished, slot) in finished.chunks_exact(piece.hops.len() * hop).zip(piece.slots.clone()) {
            let at = (slot * call.hops + piece.hops.start) * hop;
            output[at..at + finished.len()].copy_from_slice(finished);
        }
        drop(view);
        readback.unmap();
        Ok(())
    }
}
