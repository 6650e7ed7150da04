//! A plan on a wgpu device: pipelines, buffers for each bucket, and what both ways to run a batch share.
//!
//! ```text
//! gated_on_host    gate all frames -> live frames, piece by piece: upload -> steps -> readback   (two in flight)
//! gated_on_device  frames, piece by piece: upload -> gate -> list live ones -> steps -> readback
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::bucket::{Bucket, Kernels};
use super::buffers::{BufferSet, CONTROL_HEADER_BYTES};
use super::gate::{self, GatePipelines};
use super::pipeline::{Binding, PipelineRequest};
use crate::device::host::HostPool;
use crate::device::{CompileReport, GatePlacement, Keeper, PlanOptions, PreparedPlan};
use crate::error::{Error, Result};
use crate::graph::loops::{MOST_BARRIER_TURNS, MOST_TURNS};
use crate::recording::batch::{Batch, CONTEXT_LEN};
use crate::recording::results::{Chunk, RunOutput};
use crate::recording::{BufferSpec, Kernel, NO_SLOT, Place, Recording, Unit};

/// Submissions in flight: while one computes, the next is filled.
pub(super) const IN_FLIGHT: usize = 2;
/// A bucket's largest buffer: well under the 128 MiB that every adapter can bind. The inputs of a seamless filter, of which
/// there are neighbours too, take up to twice that.
const LARGEST_BUFFER_BYTES: usize = 32 << 20;
/// Frames that are gated and put together at once.
const CHUNK_FRAMES: usize = 256;
/// The largest x of a dispatch; more workgroups go to y. Within the 65,535 of every adapter.
pub(super) const WIDEST_DISPATCH: u32 = 32_768;

/// Dispatches so many workgroups, however many they are.
pub(super) fn dispatch(pass: &mut wgpu::ComputePass<'_>, workgroups: u32) {
    pass.dispatch_workgroups(workgroups.min(WIDEST_DISPATCH), workgroups.div_ceil(WIDEST_DISPATCH), 1);
}

pub(super) struct GpuPlan {
    pub(super) shared: Arc<Shared>,
    pub(super) host: HostPool,
    pub(super) recording: Arc<Recording>,
    pub(super) gate_on: GatePlacement,
    pub(super) kernels: Arc<Kernels>,
    /// By size.
    pub(super) buckets: Vec<Bucket>,
    pub(super) report: CompileReport,
    pub(super) times: Times,
    /// What the device had reported when the run began.
    pub(super) faults_before: u64,
}

#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) gate: Duration,
    pub(super) upload: Duration,
    pub(super) compute: Duration,
    pub(super) readback: Duration,
    pub(super) collect: Duration,
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
    bindings.extend(std::iter::repeat_n(Binding::ReadWrite, results + usize::from(kernel.has_loop_budget())));
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
                constants: &step.kernel.constants_on(shared.is_software),
                bindings: bindings(&step.kernel, step.operands.len(), step.results.len()),
                checked: step.kernel.checked.as_ref(),
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
        let kernels =
            Kernels { shared: Arc::clone(&shared), recording: Arc::clone(&recording), pipelines, gate_pipelines };
        let mut plan = Self {
            shared,
            host,
            recording,
            gate_on: if gates { GatePlacement::Device } else { GatePlacement::Host },
            kernels: Arc::new(kernels),
            buckets: Vec::new(),
            report,
            times: Times::default(),
            faults_before: 0,
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
            let bucket = Bucket::new(&self.kernels, units, slots)?;
            self.report.buffer_bytes += bucket.bytes();
            self.buckets.push(bucket);
        }
        Ok(())
    }

    /// Drivers compile when a pipeline first runs: so each runs once, for no frames.
    fn warm_up(&self) -> Result<()> {
        let sets = self.buckets[0].sets()?;
        let set = &sets.each[0];
        let faults_before = self.shared.faults.count();
        let mut encoder = self.shared.encoder("auricle");
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (pipeline, bind_group) in self.kernels.pipelines.iter().zip(&set.bind_groups) {
                pass.set_pipeline(&pipeline.pipeline);
                pass.set_bind_group(0, bind_group, &[]);
                pass.dispatch_workgroups(1, 1, 1);
            }
            if let (Some(pipelines), Some(gate)) = (&self.kernels.gate_pipelines, &set.gate) {
                pass.set_bind_group(0, &gate.bind_group, &[]);
                pass.set_pipeline(&pipelines.max_abs.pipeline);
                pass.dispatch_workgroups(1, 1, 1);
                pass.set_pipeline(&pipelines.compact.pipeline);
                pass.dispatch_workgroups(1, 1, 1);
            }
        }
        let submission = self.shared.queue.submit([encoder.finish()]);
        self.shared.wait(&submission, faults_before, "the first run of its kernels")
    }

    /// The smallest bucket for that many live frames and slots, else the largest.
    pub(super) fn bucket(&self, units: usize, slots: usize) -> usize {
        let fits = |bucket: &Bucket| bucket.units >= units && bucket.slots >= slots;
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
        self.times = Times::default();
        self.faults_before = self.shared.faults.count();
        output.prepare(&self.recording, batch, CHUNK_FRAMES);
        let run = match self.gate_on {
            GatePlacement::Host => self.run_gated_on_host(batch, output.chunks()),
            GatePlacement::Device => self.run_gated_on_device(batch, output.chunks()),
        };
        // Bad samples are found before anything is submitted, or after everything has come back. What else fails leaves
        // submissions and mappings in an unknown state.
        if matches!(
            run,
            Err(Error::CustomKernel { .. }
                | Error::Device { .. }
                | Error::DeviceLost { .. }
                | Error::OutOfMemory { .. })
        ) {
            self.buckets.iter().for_each(Bucket::forget);
        }
        run?;
        output.ran(self.stage_times());
        Ok(())
    }

    fn report(&self) -> &CompileReport {
        &self.report
    }

    fn keep_for(&mut self, keeper: &Keeper) {
        self.buckets.iter().for_each(|bucket| bucket.keep_for(keeper));
    }

    fn wake(&mut self) -> Result<()> {
        self.buckets.iter().try_for_each(Bucket::wake)
    }
}

pub(super) fn index_word(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NO_SLOT)
}

/// What both ways to run a batch are made of.
impl GpuPlan {
    /// Puts the frames of every chunk into their places.
    pub(super) fn finish_chunks(&self, batch: &Batch<'_>, chunks: Vec<Chunk<'_>>) -> Result<()> {
        self.host.for_each(chunks, |_, mut chunk| {
            let span = chunk.frames.clone();
            chunk.finish(&self.recording, batch, &span);
            Ok(())
        })
    }

    /// Fills the staging buffers of the inputs with the frames of `slots`, and copies them to the device.
    pub(super) fn stage_frames(
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

    /// The same for the units and their number.
    pub(super) fn stage_control(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        buffers: &BufferSet,
        list: &[Unit],
    ) -> Result<()> {
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

    pub(super) fn output_bytes(&self, place: usize, live: usize) -> u64 {
        let is_here = |spec: &&BufferSpec| spec.place == Place::Output(place);
        let floats = self.recording.buffers.iter().find(is_here).map_or(0, |spec| spec.shape.floats());
        (floats * live * size_of::<f32>()) as u64
    }

    /// The outputs of so many live frames, and whether a loop did not end.
    pub(super) fn copy_outputs(&self, encoder: &mut wgpu::CommandEncoder, buffers: &BufferSet, live: usize) {
        if let Some(loops) = &buffers.loops {
            loops.copy(encoder);
        }
        for (place, (output, readback)) in buffers.outputs.iter().enumerate() {
            encoder.copy_buffer_to_buffer(output, 0, readback, 0, self.output_bytes(place, live));
        }
    }

    /// Asks for all mappings that the landing and the next flight of this set need. They are there once the
    /// submission has ended; a failure shows when the range is taken.
    pub(super) fn map_again(&self, buffers: &BufferSet, live: usize) {
        let staging = buffers.inputs.iter().map(|upload| &upload.staging).chain([&buffers.control.staging]);
        for buffer in staging {
            buffer.slice(..).map_async(wgpu::MapMode::Write, |_| {});
        }
        if live > 0 {
            self.map_outputs(buffers, live);
        }
    }

    /// Asks for the mappings of what [`Self::copy_outputs`] copies.
    pub(super) fn map_outputs(&self, buffers: &BufferSet, live: usize) {
        for (place, (_, readback)) in buffers.outputs.iter().enumerate() {
            readback.slice(..self.output_bytes(place, live)).map_async(wgpu::MapMode::Read, |_| {});
        }
        if let Some(loops) = &buffers.loops {
            loops.map();
        }
    }

    /// Takes what was mapped: gives each output's floats to `take`, in order, and refuses what a loop that did not end
    /// has left.
    pub(super) fn read_outputs(
        &self,
        buffers: &BufferSet,
        live: usize,
        mut take: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        if live == 0 {
            return Ok(());
        }
        let failed = |error| self.shared.error("mapping a readback buffer", error);
        for (place, (_, readback)) in buffers.outputs.iter().enumerate() {
            let view = readback.get_mapped_range(..self.output_bytes(place, live)).map_err(failed)?;
            take(place, bytemuck::cast_slice(&view));
            drop(view);
            readback.unmap();
        }
        let Some(loops) = &buffers.loops else { return Ok(()) };
        let Some(step) = loops.used_up().map_err(failed)? else { return Ok(()) };
        let problem = format!(
            "its loops turned more than {MOST_TURNS} times in one invocation, or, where only some of them have barriers, \
             those more than {MOST_BARRIER_TURNS} times or the others more than {}, and were ended; let each invocation \
             do less",
            MOST_TURNS - MOST_BARRIER_TURNS
        );
        Err(Error::CustomKernel { node: self.recording.steps[step].node.clone(), problem })
    }
}
