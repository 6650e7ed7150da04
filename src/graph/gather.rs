//! The one kernel that the graph itself puts in: it lays the live frames of an input side by side, for kernels that users
//! bring, and for outputs. The filter and the transform gather by themselves.

use std::sync::Arc;

use super::custom::ClosureTwin;
use crate::frame::FrameShape;
use crate::recording::{Kernel, word};

const WGSL: &str = concat!(
    include_str!("../../shaders/dispatch.wgsl"),
    include_str!("../../shaders/frames.wgsl"),
    include_str!("../../shaders/gather.wgsl")
);

/// Copies the live frames of an input side by side.
pub(crate) fn gather_kernel(shape: FrameShape) -> Kernel {
    Kernel {
        name: "gather_frames".to_owned(),
        wgsl: WGSL.into(),
        entry: "gather_frames".to_owned(),
        constants: Vec::new(),
        constants_in_software: Vec::new(),
        params: vec![word(shape.floats())],
        reads_units: true,
        tables: Vec::new(),
        checked: None,
        items_per_frame: 1,
        items_per_workgroup: 1,
        twin: Arc::new(ClosureTwin {
            twin: Arc::new(|sources, result| result.copy_from_slice(sources[0])),
            sources: vec![shape.floats()],
            result: shape.floats(),
        }),
    }
}
