//! Auricle
#[cfg(feature = "cli")]
pub mod cli;
pub mod device;
pub mod engine;
pub mod error;
pub(crate) mod fft;
pub mod format;
pub mod frame;
pub mod graph;
pub(crate) mod memory;
#[cfg(feature = "cli")]
pub mod picture;
pub mod plan;
pub(crate) mod simd;
pub mod stage;

pub use device::{
    CompileReport, DeviceChoice, DeviceInfo, DeviceKind, Devices, GatePlacement, PipelineCacheDir, PlanOptions,
};
pub use engine::{Engine, EngineOptions};
pub use error::{Error, Result};
pub use frame::{Domain, FrameShape, FrameState};
pub use graph::results::{FrameCounts, Layout, LiveFrame, RunOutput};
pub use graph::{CustomKernel, Graph};
pub use memory::{HostBuffer, HugePages};
pub use plan::{Plan, Session};
pub use stage::filter::{FilterMode, FilterOutput, GOLDEN_RATIO, Measure, PhiResolvent, Wavenumber, measure};
pub use stage::gate::{Faulty, Gate, Quiet, Threshold};
