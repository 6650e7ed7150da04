//! What embedders hold: opens a device, and compiles graphs for it.

use std::sync::Arc;

use crate::device::{self, Device, DeviceChoice, DeviceInfo, PipelineCacheDir, PlanOptions};
use crate::error::Result;
use crate::graph::Graph;
use crate::plan::Plan;

/// How an engine is opened.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// The device; a hardware GPU, else the CPU, unless set.
    pub device: DeviceChoice,
    /// Workers on the CPU; one per core when 0.
    pub threads: usize,
    /// Where compiled pipelines are kept between runs.
    pub pipeline_cache: PipelineCacheDir,
}

/// A device, ready for plans.
#[derive(Clone, Debug)]
pub struct Engine {
    device: Arc<dyn Device>,
}

impl Engine {
    /// Opens the device.
    ///
    /// # Errors
    /// [`crate::Error::NoGpu`] or [`crate::Error::UnknownDevice`] when what was asked for is not there, and what the
    /// driver says when it cannot be opened. `Auto` and `Cpu` need no driver.
    pub fn open(options: &EngineOptions) -> Result<Self> {
        Ok(Self { device: device::open(&options.device, options.threads, &options.pipeline_cache)? })
    }

    /// The device that was opened.
    pub fn device(&self) -> &DeviceInfo {
        self.device.info()
    }

    /// Compiles a graph: checks it, builds its pipelines, makes its buffers, and warms it up.
    ///
    /// # Errors
    /// [`crate::Error::Graph`] or [`crate::Error::CustomKernel`], naming the node, and what the device reports.
    pub fn compile(&self, graph: &Graph) -> Result<Plan> {
        self.compile_with(graph, &PlanOptions::default())
    }

    /// The same, with buckets and the gate's place chosen.
    pub fn compile_with(&self, graph: &Graph, options: &PlanOptions) -> Result<Plan> {
        Plan::new(&self.device, graph, options)
    }
}
