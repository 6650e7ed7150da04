//! A compiled graph as plain data: which kernels run, in which order, on which buffers. Any device can run it.
//!
//! Every kernel has the same frame around it. It runs for the live frames of a batch, which the gate lists as
//! [`Unit`]s; `params` starts with their number. An operand is either a graph input, whose frames the kernel finds
//! through the units, or a buffer in which the live frames lie side by side.

pub(crate) mod batch;

pub(crate) mod results;

use std::fmt::Debug;
use std::sync::Arc;

use crate::error::Result;
use crate::frame::{Faulty, FrameShape, Quiet};
use crate::simd::SimdLevel;

/// One live frame, for kernels: its slot in the samples buffer and those of its neighbours.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Unit {
    pub(crate) slot: u32,
    pub(crate) previous: u32,
    pub(crate) next: u32,
    pub(crate) frame: u32,
}

/// A neighbour that does not exist or is silent.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// What a device runs, frame by frame.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    /// Graph inputs, in order.
    pub(crate) inputs: Vec<(String, FrameShape)>,
    pub(crate) gate: Option<GateStep>,
    /// In an order in which every step finds its operands ready.
    pub(crate) steps: Vec<Step>,
    pub(crate) buffers: Vec<BufferSpec>,
    /// Floats per frame of each piece of shared memory that the buffers which are no outputs live in.
    pub(crate) shared_memory: Vec<usize>,
    pub(crate) outputs: Vec<OutputPort>,
    /// True when a step looks at the neighbours of a frame: then a session emits one frame late.
    pub(crate) looks_at_neighbours: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct GateStep {
    pub(crate) node: String,
    pub(crate) input: usize,
    /// Bits of the threshold; `ALWAYS_LOUD` when it is off.
    pub(crate) threshold_bits: u32,
    pub(crate) hold: u32,
    pub(crate) quiet: Quiet,
    pub(crate) faulty: Faulty,
}

/// One kernel of the recording, with what it reads and writes.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) node: String,
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) operands: Vec<Operand>,
    /// Indices into the recording's buffers.
    pub(crate) results: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// Frames of a graph input, found through the units.
    Input(usize),
    /// A buffer of live frames, side by side.
    Buffer(usize),
}

/// Live frames side by side.
#[derive(Clone, Debug)]
pub(crate) struct BufferSpec {
    /// `node.what`.
    pub(crate) label: String,
    pub(crate) shape: FrameShape,
    pub(crate) place: Place,
}

/// Where a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A piece of memory that several buffers use, one after the other.
    Shared(usize),
    /// Its own, because it is read back: an index into the outputs' memory.
    Output(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct OutputPort {
    pub(crate) name: String,
    pub(crate) buffer: usize,
}

/// A WGSL entry point together with its twin.
///
/// Bindings in group 0, in this order: `params` (uniform: the number of live frames, then `params`), `units` when
/// the kernel reads an input, the operands, the tables, the results.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    pub(crate) wgsl: Arc<str>,
    pub(crate) entry: String,
    pub(crate) constants: Vec<(String, f64)>,
    /// Those that are different on GPUs in software.
    pub(crate) constants_in_software: Vec<(String, f64)>,
    /// Words of `params` after the number of live frames.
    pub(crate) params: Vec<u32>,
    pub(crate) reads_units: bool,
    pub(crate) tables: Vec<Table>,
    /// The module of a user, as it was checked; ours are compiled from the text.
    pub(crate) checked: Option<CheckedModule>,
    /// Items of work in a frame, and how many of them a workgroup does.
    pub(crate) items_per_frame: u32,
    pub(crate) items_per_workgroup: u32,
    pub(crate) twin: Arc<dyn Twin>,
}

/// A number as kernels take it.
pub(crate) fn word(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A user's module, parsed and checked.
#[derive(Clone, Debug)]
pub(crate) struct CheckedModule {
    pub(crate) module: Arc<naga::Module>,
    /// Whether its loops share a budget; then a word that says whether that was used up is bound after the results.
    pub(crate) has_loop_budget: bool,
}

impl Kernel {
    /// The constants on a GPU, or on one in software.
    pub(crate) fn constants_on(&self, is_software: bool) -> Vec<(String, f64)> {
        let mut constants = self.constants.clone();
        for (name, value) in self.constants_in_software.iter().filter(|_| is_software) {
            constants.iter_mut().filter(|(known, _)| known == name).for_each(|(_, known)| *known = *value);
        }
        constants
    }

    pub(crate) fn has_loop_budget(&self) -> bool {
        self.checked.as_ref().is_some_and(|checked| checked.has_loop_budget)
    }
}

/// Constant data that a kernel reads.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) label: &'static str,
    pub(crate) bytes: Arc<[u8]>,
}

/// A kernel's CPU side: the same function, in whatever way is fastest there.
pub(crate) trait Twin: Send + Sync + Debug {
    /// A worker of this twin, with the memory that it needs; each thread has its own.
    fn worker(&self, level: SimdLevel) -> Box<dyn TwinWorker>;
}

pub(crate) trait TwinWorker: Send {
    /// Runs for `call.frames` live frames, and writes all of each result.
    fn run(&mut self, call: &mut TwinCall<'_, '_>) -> Result<()>;
}

pub(crate) struct TwinCall<'a, 'b> {
    /// Live frames.
    pub(crate) frames: usize,
    pub(crate) operands: &'b [TwinOperand<'a, 'b>],
    /// Live frames side by side, exactly `frames` of them.
    pub(crate) results: &'b mut [&'a mut [f32]],
}

pub(crate) enum TwinOperand<'a, 'b> {
    Frames(&'b [FrameRef<'a>]),
    Buffer(&'b [f32]),
}

/// A live frame and its neighbours; none where they do not exist or are silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameRef<'a> {
    pub(crate) previous: Option<&'a [f32]>,
    pub(crate) frame: &'a [f32],
    pub(crate) next: Option<&'a [f32]>,
}

impl<'a> TwinOperand<'a, '_> {
    /// Live frame `index`, of `len` floats.
    pub(crate) fn frame(&self, index: usize, len: usize) -> &[f32] {
        match self {
            Self::Frames(frames) => frames[index].frame,
            Self::Buffer(floats) => &floats[index * len..(index + 1) * len],
        }
    }
}
