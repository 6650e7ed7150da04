//! Execution: what runs a recording. The only folder that runs anything of ours on wgpu.

mod adapter;

mod cpu;

mod cpu_network;

mod fault;

mod gating;

mod gpu;

mod host;

mod keeper;

mod processor;

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::qos::Qos;
use crate::recording::Recording;
use crate::recording::batch::Batch;
use crate::recording::results::RunOutput;
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::{Network, NetworkOptions};
use crate::telemetry::{DeviceInfo, MemorySnapshot};

pub(crate) use adapter::open;
pub use adapter::{DeviceChoice, Devices};
pub use fault::{Fault, FaultPlan};
pub(crate) use gating::{decide_rows, refuse_faulty};
pub use gpu::PipelineCacheDir;
pub(crate) use keeper::{Hold, Keeper};
pub(crate) use processor::Processor;

/// A processor that can run recordings.
pub(crate) trait Device: Send + Sync + std::fmt::Debug {
    fn info(&self) -> &DeviceInfo;

    /// The same processor through a command queue of its own, for a level; none where there is but one way to it.
    fn another(&self, qos: Qos) -> Result<Option<Arc<dyn Device>>>;

    /// Whether its command queue has the level's priority in the hardware, too.
    fn has_priority(&self) -> bool {
        false
    }

    /// What can do its work when it fails for good; none where nothing could.
    fn fallback(&self) -> Option<Arc<dyn Device>>;

    /// Whether there is such a device.
    fn has_fallback(&self) -> bool;

    /// What its buffers take; none where they are the host's.
    fn memory(&self) -> Option<MemorySnapshot>;

    /// Frees what its buffers take that are not in use, on all command queues of the adapter; returns how much that was.
    fn sleep(&self) -> Result<u64> {
        Ok(0)
    }

    /// Makes again what was freed so.
    fn wake(&self) -> Result<()> {
        Ok(())
    }

    /// What an app needs to use it directly; none on the CPU.
    fn handles(&self) -> Option<(&wgpu::Device, &wgpu::Queue)>;

    /// Makes everything ready to submit.
    fn prepare(&self, recording: Arc<Recording>, options: &PlanOptions) -> Result<Box<dyn PreparedPlan>>;

    /// Makes a model ready, with silence as the state of its channels.
    fn open_network(&self, model: &Arc<Model>, channels: usize, options: &NetworkOptions) -> Result<Box<dyn Network>>;
}

/// A recording that is ready to run on one device.
pub(crate) trait PreparedPlan: Send + std::fmt::Debug {
    fn run(&mut self, batch: &Batch<'_>, output: &mut RunOutput) -> Result<()>;

    fn report(&self) -> &CompileReport;

    /// Who counts on its buffers.
    fn keep_for(&mut self, _keeper: &Keeper) {}

    /// Brings back what went to sleep, so that a run need not.
    fn wake(&mut self) -> Result<()> {
        Ok(())
    }
}

/// How a graph is compiled.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Numbers of frames for which buffers are kept ready. A batch runs in the smallest bucket that holds it; one
    /// that none holds is split.
    pub buckets: Vec<usize>,
    /// Where the gate decides.
    pub gate_on: GatePlacement,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self { buckets: vec![16, 256, 2048], gate_on: GatePlacement::Host }
    }
}

/// Where the gate decides which frames are live. The decisions are the same to the bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatePlacement {
    /// On the CPU, before anything is uploaded, so that silence costs neither the bus nor the GPU.
    #[default]
    Host,
    /// On the device: all frames are uploaded, live ones are listed there, later kernels are dispatched for those.
    Device,
}

/// What compiling a plan did.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct CompileReport {
    /// Pipelines that were built.
    pub pipelines_built: usize,
    /// Pipelines that the device had built for an earlier plan.
    pub pipelines_reused: usize,
    /// Bytes of the pipeline cache that were loaded from disk; 0 when there is none.
    pub disk_cache_bytes: usize,
    /// Bytes of device memory that the plan's buffers take.
    pub buffer_bytes: u64,
    /// Time from the recorded graph to a plan that is warm.
    pub time: Duration,
}
