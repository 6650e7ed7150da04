//! The gate on the device: buffers and commands around the kernels of `shaders/gate.wgsl`.

use std::sync::Arc;

use super::Shared;
use super::memory::Allocator;
use super::pipeline::{Binding, Pipeline, PipelineRequest, bind};
use crate::error::Result;
use crate::frame::FrameState;
use crate::recording::Recording;
use crate::stage::gate::{self, GateParams};

/// Frames that one workgroup can list within the loop budget, 256 for each of its invocations.
pub(super) const MOST_FRAMES: usize = 65_536;

/// States on the device, by the names in the shader; a held frame is told from a loud one.
const QUIET: u32 = 0;
const LIVE: u32 = 1;
const FAULTY: u32 = 2;
const ABSENT: u32 = 3;
const HELD: u32 = 4;

/// What a state on the device says: the gate's decision, and whether the frame was loud by itself.
pub(super) fn decode_state(word: u32) -> (FrameState, bool) {
    match word {
        LIVE => (FrameState::Live, true),
        HELD => (FrameState::Live, false),
        FAULTY => (FrameState::Faulty, false),
        _ => (FrameState::Quiet, false),
    }
}

/// The state of a context frame, as the device wants it; none when there is no such frame.
pub(super) fn encode_state(state: Option<FrameState>) -> u32 {
    match state {
        Some(FrameState::Live) => HELD,
        Some(FrameState::Faulty) => FAULTY,
        Some(FrameState::Quiet) => QUIET,
        None => ABSENT,
    }
}

#[derive(Debug)]
pub(super) struct GatePipelines {
    pub(super) max_abs: Pipeline,
    pub(super) compact: Pipeline,
    pub(super) built: usize,
}

impl GatePipelines {
    pub(super) fn new(shared: &Shared) -> Result<Self> {
        let wgsl: Arc<str> = gate::WGSL.into();
        let get = |entry| {
            let bindings = vec![
                Binding::Uniform,
                Binding::Read,
                Binding::ReadWrite,
                Binding::Read,
                Binding::ReadWrite,
                Binding::Read,
                Binding::ReadWrite,
            ];
            let request = PipelineRequest { label: entry, wgsl: &wgsl, entry, constants: &[], bindings, checked: None };
            shared.pipelines.get(shared, &request)
        };
        let ((max_abs, first), (compact, second)) = (get("max_abs_gate")?, get("compact_live")?);
        Ok(Self { max_abs, compact, built: usize::from(first) + usize::from(second) })
    }
}

#[derive(Debug)]
pub(super) struct GateBuffers {
    pub(super) params: wgpu::Buffer,
    pub(super) states: wgpu::Buffer,
    pub(super) since_loud: wgpu::Buffer,
    /// For each step: indirect arguments, then the number of live frames.
    pub(super) arguments: wgpu::Buffer,
    pub(super) readback: wgpu::Buffer,
    pub(super) bind_group: wgpu::BindGroup,
}

/// Bytes of `DispatchArguments` in the shader.
pub(super) const ARGUMENTS_BYTES: u64 = 16;

impl GateBuffers {
    pub(super) fn new(
        allocator: &Allocator<'_>,
        pipelines: &GatePipelines,
        recording: &Recording,
        samples: &wgpu::Buffer,
        units: &wgpu::Buffer,
        slots: usize,
    ) -> Self {
        use wgpu::BufferUsages as Usage;
        let make = |label, bytes: u64, usage| allocator.buffer(label, bytes, usage);
        let state_bytes = (slots * size_of::<u32>()) as u64;
        let params = make("gate.params", size_of::<GateParams>() as u64, Usage::UNIFORM | Usage::COPY_DST);
        let states = make("gate.states", state_bytes, Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC);
        let since_loud = make("gate.since_loud", state_bytes, Usage::STORAGE | Usage::COPY_DST);
        let shapes: Vec<u32> = recording
            .steps
            .iter()
            .flat_map(|step| [step.kernel.items_per_frame, step.kernel.items_per_workgroup])
            .collect();
        let dispatches = allocator.filled("gate.dispatches", bytemuck::cast_slice(&shapes), Usage::STORAGE);
        let argument_bytes = recording.steps.len() as u64 * ARGUMENTS_BYTES;
        let arguments = make("gate.arguments", argument_bytes, Usage::STORAGE | Usage::INDIRECT | Usage::COPY_SRC);
        let readback = make("gate.states.readback", state_bytes, Usage::MAP_READ | Usage::COPY_DST);
        let bound = [&params, samples, &states, &since_loud, units, &dispatches, &arguments];
        let bind_group = bind(allocator.device, "gate", &pipelines.max_abs.layout, bound.into_iter());
        Self { params, states, since_loud, arguments, readback, bind_group }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::WIDEST_DISPATCH;
    use super::*;
    use crate::graph::limits::inspect::{constant, members};

    #[test]
    fn states_and_arguments_are_those_of_the_shader() {
        let module = naga::front::wgsl::parse_str(gate::WGSL).expect("the gate should parse");
        let states = [("QUIET", QUIET), ("LIVE", LIVE), ("FAULTY", FAULTY), ("ABSENT", ABSENT), ("HELD", HELD)];
        for (name, value) in states.into_iter().chain([("WIDEST_DISPATCH", WIDEST_DISPATCH)]) {
            assert_eq!(constant(&module, name), value, "{name}");
        }
        let (fields, span) = members(&module, "DispatchArguments");
        assert_eq!(span as u64, ARGUMENTS_BYTES, "the indirect arguments, then the count");
        let expected = [("x", 0), ("y", 4), ("z", 8), ("live", 12)].map(|(name, at)| (name.to_owned(), at));
        assert_eq!(fields, expected, "the count is read from the last four bytes");
        let (fields, span) = members(&module, "DispatchShape");
        let expected = [("items_per_frame", 0), ("items_per_workgroup", 4)].map(|(name, at)| (name.to_owned(), at));
        assert_eq!((&fields[..], span), (&expected[..], 8), "written as pairs of words");
    }

    #[test]
    fn a_state_survives_the_way_to_the_device_and_back() {
        for state in [FrameState::Quiet, FrameState::Live, FrameState::Faulty] {
            assert_eq!(decode_state(encode_state(Some(state))), (state, false), "known frames are not loud again");
        }
        assert_eq!(decode_state(LIVE), (FrameState::Live, true));
        assert_eq!(decode_state(encode_state(None)), (FrameState::Quiet, false));
    }
}
