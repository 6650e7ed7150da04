//! The buffers and bind groups of one bucket: everything that a submission touches, made once.
//!
//! Data goes up through mapped staging buffers and comes back through mapped readback buffers; both stay for the life
//! of the plan. What is in a buffer past the frames of the current batch is garbage from earlier ones.

use std::sync::atomic::AtomicU64;

use super::bucket::Kernels;
use super::gate;
use super::memory::{Allocator, Reservation};
use super::pipeline::{Pipeline, bind};
use super::plan::IN_FLIGHT;
use crate::error::Result;
use crate::recording::{BufferSpec, Operand, Place, Recording, Step, Table, Unit};

/// Buffers for some number of live frames.
#[derive(Debug)]
pub(super) struct BufferSet {
    pub(super) inputs: Vec<Upload>,
    /// The number of live frames, then the units.
    pub(super) control: Upload,
    pub(super) unit_list: wgpu::Buffer,
    /// For each step.
    pub(super) params: Vec<wgpu::Buffer>,
    pub(super) bind_groups: Vec<wgpu::BindGroup>,
    /// For each place of an output: on the device, and where it is read back.
    pub(super) outputs: Vec<(wgpu::Buffer, wgpu::Buffer)>,
    pub(super) gate: Option<gate::GateBuffers>,
    /// Where kernels say that a loop did not end; none where no kernel has such a loop.
    pub(super) loops: Option<LoopBuffers>,
}

/// A word for each step whose loops have a budget: 1 when it was used up.
#[derive(Debug)]
pub(super) struct LoopBuffers {
    /// With the place of the step.
    words: Vec<(usize, wgpu::Buffer)>,
    readback: wgpu::Buffer,
}

impl LoopBuffers {
    fn new(allocator: &Allocator<'_>, steps: &[Step]) -> Option<Self> {
        use wgpu::BufferUsages as Usage;
        let bounded = steps.iter().enumerate().filter(|(_, step)| step.kernel.has_loop_budget());
        let usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let word = |(place, step): (usize, &Step)| (place, allocator.buffer(&format!("{}.loops", step.node), 4, usage));
        let words: Vec<_> = bounded.map(word).collect();
        let bytes = 4 * words.len() as u64;
        (bytes > 0).then(|| Self {
            words,
            readback: allocator.buffer("loops.readback", bytes, Usage::MAP_READ | Usage::COPY_DST),
        })
    }

    fn of(&self, step: usize) -> Option<&wgpu::Buffer> {
        self.words.iter().find(|(place, _)| *place == step).map(|(_, word)| word)
    }

    pub(super) fn copy(&self, encoder: &mut wgpu::CommandEncoder) {
        for ((_, word), offset) in self.words.iter().zip((0..).step_by(4)) {
            encoder.copy_buffer_to_buffer(word, 0, &self.readback, offset, 4);
        }
    }

    pub(super) fn map(&self) {
        self.readback.slice(..).map_async(wgpu::MapMode::Read, |_| {});
    }

    /// The first step whose budget was used up. It was mapped, and is not any more.
    pub(super) fn used_up(&self) -> Result<Option<usize>, wgpu::MapRangeError> {
        let view = self.readback.get_mapped_range(..)?;
        let words: &[u32] = bytemuck::cast_slice(&view);
        let step = self.words.iter().zip(words).find(|(_, word)| **word != 0).map(|((place, _), _)| *place);
        drop(view);
        self.readback.unmap();
        Ok(step)
    }
}

/// A set for every submission in flight, made at once; one where the gate is on the device, whose pieces take turns.
#[derive(Debug)]
pub(super) struct BufferSets {
    pub(super) each: Vec<BufferSet>,
    _reservation: Reservation,
}

impl BufferSets {
    /// Sets for at most `units` live frames, and `slots` frames of input.
    /// What they take is put into `bytes`, before anybody else looks for room.
    pub(super) fn new(kernels: &Kernels, units: usize, slots: usize, bytes: &AtomicU64) -> Result<Self> {
        let sets = if kernels.gate_pipelines.is_some() { 1 } else { IN_FLIGHT };
        let (each, reservation) = kernels.shared.allocate_noting("allocating its buffers", bytes, |allocator| {
            (0..sets).map(|_| BufferSet::new(allocator, kernels, units, slots)).collect()
        })?;
        Ok(Self { each, _reservation: reservation })
    }
}

/// A device buffer with the staging buffer through which it is filled.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) staging: wgpu::Buffer,
    pub(super) target: wgpu::Buffer,
}

/// Bytes before the units in the control buffer; copies want multiples of 4, bindings more.
pub(super) const CONTROL_HEADER_BYTES: u64 = 256;

fn upload(allocator: &Allocator<'_>, label: &str, bytes: u64) -> Upload {
    use wgpu::BufferUsages as Usage;
    Upload {
        staging: allocator.buffer(&format!("{label}.staging"), bytes, Usage::MAP_WRITE | Usage::COPY_SRC),
        target: allocator.buffer(label, bytes, Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST),
    }
}

fn output(allocator: &Allocator<'_>, label: &str, bytes: u64) -> (wgpu::Buffer, wgpu::Buffer) {
    use wgpu::BufferUsages as Usage;
    let buffer = allocator.buffer(label, bytes, Usage::STORAGE | Usage::COPY_SRC);
    (buffer, allocator.buffer(&format!("{label}.readback"), bytes, Usage::MAP_READ | Usage::COPY_DST))
}

fn frame_bytes(floats: usize, frames: usize) -> u64 {
    (floats * frames * size_of::<f32>()) as u64
}

impl BufferSet {
    /// For a submission that runs kernels.
    pub(super) fn clear_loops(&self, encoder: &mut wgpu::CommandEncoder) {
        for (_, word) in self.loops.iter().flat_map(|loops| &loops.words) {
            encoder.clear_buffer(word, 0, None);
        }
    }

    fn new(allocator: &Allocator<'_>, kernels: &Kernels, units: usize, slots: usize) -> Self {
        use wgpu::BufferUsages as Usage;
        let Kernels { recording, gate_pipelines, .. } = kernels;
        let inputs: Vec<Upload> = recording
            .inputs
            .iter()
            .map(|(name, shape)| upload(allocator, &format!("{name}.samples"), frame_bytes(shape.floats(), slots)))
            .collect();
        let unit_bytes = (slots.max(units) * size_of::<Unit>()) as u64;
        let control = upload(allocator, "control", CONTROL_HEADER_BYTES + unit_bytes);
        let unit_list = allocator.buffer("units", unit_bytes, Usage::STORAGE | Usage::COPY_DST);
        let shared_memory: Vec<_> = recording
            .shared_memory
            .iter()
            .enumerate()
            .map(|(index, floats)| {
                allocator.buffer(&format!("shared.{index}"), frame_bytes(*floats, units), Usage::STORAGE)
            })
            .collect();
        let params: Vec<_> = recording.steps.iter().map(|step| params_buffer(allocator, step)).collect();
        let gate = gate_pipelines.as_ref().zip(recording.gate.as_ref()).map(|(pipelines, step)| {
            let samples = &inputs[step.input].target;
            gate::GateBuffers::new(allocator, pipelines, recording, samples, &unit_list, slots)
        });
        let outputs = outputs(allocator, recording, units);
        let loops = LoopBuffers::new(allocator, &recording.steps);
        let mut set = Self { inputs, control, unit_list, params, bind_groups: Vec::new(), outputs, gate, loops };
        set.bind_groups = set.bind_steps(allocator, kernels, &shared_memory);
        set
    }

    /// What each step's kernel is bound to, in the order that its bindings have.
    fn bind_steps(
        &self,
        allocator: &Allocator<'_>,
        kernels: &Kernels,
        shared_memory: &[wgpu::Buffer],
    ) -> Vec<wgpu::BindGroup> {
        let Kernels { recording, pipelines, .. } = kernels;
        let tables: Vec<_> = recording.steps.iter().map(|step| tables(allocator, step)).collect();
        let place = |buffer: usize| match recording.buffers[buffer].place {
            Place::Shared(piece) => &shared_memory[piece],
            Place::Output(place) => &self.outputs[place].0,
        };
        let operand = |operand: &Operand| match *operand {
            Operand::Input(input) => &self.inputs[input].target,
            Operand::Buffer(buffer) => place(buffer),
        };
        let bind_step = |(index, (step, pipeline)): (usize, (&Step, &Pipeline))| {
            let bound = std::iter::once(&self.params[index])
                .chain(step.kernel.reads_units.then_some(&self.unit_list))
                .chain(step.operands.iter().map(operand))
                .chain(&tables[index])
                .chain(step.results.iter().map(|result| place(*result)))
                .chain(self.loops.as_ref().and_then(|loops| loops.of(index)));
            bind(allocator.device, &step.node, &pipeline.layout, bound)
        };
        recording.steps.iter().zip(pipelines).enumerate().map(bind_step).collect()
    }
}

/// For each place of an output: on the device, and where it is read back.
fn outputs(allocator: &Allocator<'_>, recording: &Recording, units: usize) -> Vec<(wgpu::Buffer, wgpu::Buffer)> {
    let mut outputs: Vec<_> = recording
        .buffers
        .iter()
        .filter_map(|spec| match spec.place {
            Place::Output(place) => Some((place, spec)),
            Place::Shared(_) => None,
        })
        .collect();
    outputs.sort_by_key(|(place, _)| *place);
    let of = |(_, spec): &(usize, &BufferSpec)| output(allocator, &spec.label, frame_bytes(spec.shape.floats(), units));
    outputs.iter().map(of).collect()
}

fn tables(allocator: &Allocator<'_>, step: &Step) -> Vec<wgpu::Buffer> {
    let fill = |table: &Table| {
        let label = format!("{}.{}", step.node, table.label);
        allocator.filled(&label, &table.bytes, wgpu::BufferUsages::STORAGE)
    };
    step.kernel.tables.iter().map(fill).collect()
}

/// The uniform of a step: the number of live frames, which every submission sets, and what never changes.
fn params_buffer(allocator: &Allocator<'_>, step: &Step) -> wgpu::Buffer {
    let words: Vec<u32> = std::iter::once(0).chain(step.kernel.params.iter().copied()).collect();
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    allocator.filled(&format!("{}.params", step.node), bytemuck::cast_slice(&words), usage)
}
