//! A device through wgpu: Vulkan, Metal, DX12, or GL where it is all there is.
//!
//! ```text
//! open -> GpuDevice --prepare--> GpuPlan: pipelines, then for each bucket a ring of buffer sets
//!                                  run:   pieces of a batch, up to two in flight
//!                  --open_network--> GpuNetwork: a denoiser with the state of its channels
//!       buffers that are not in use can leave and come back: buckets of plans, rows of networks, and for a sleep all
//! ```

mod bucket;

mod buffers;

mod cache;

mod gate;

mod memory;

mod pipeline;

mod plan;

mod priority;

mod gated_on_host;

mod gated_on_device;

mod rooms;

mod network;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cpu::CpuDevice;
use super::host::HostPool;
use super::{Device, DeviceInfo, PlanOptions, PreparedPlan};
use crate::error::{Error, Result};
use crate::graph::limits;
use crate::qos::Qos;
use crate::recording::Recording;
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::{Network, NetworkOptions};
use crate::telemetry::MemorySnapshot;

pub use cache::PipelineCacheDir;
pub(crate) use memory::Memory;

/// How long a submission may take before the device counts as hung.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct GpuDevice {
    info: DeviceInfo,
    adapter: wgpu::Adapter,
    cache: PipelineCacheDir,
    host: HostPool,
    /// Whether levels get what the hardware knows of priorities.
    hardware_priority: bool,
    /// Whether this one has got it.
    has_priority: bool,
    shared: Arc<Shared>,
}

/// What the device and its plans hold together.
#[derive(Debug)]
struct Shared {
    name: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
    faults: Arc<Faults>,
    /// Held while polling: wgpu asserts that no other thread retires a submission while one waits for it.
    polling: Mutex<()>,
    pipelines: pipeline::Pipelines,
    memory: Arc<Memory>,
    tables: network::TableCache,
}

/// What the driver reported outside of a call: after a loss, creating and submitting silently do nothing, so nobody
/// may trust a result without having looked here.
#[derive(Debug, Default)]
struct Faults {
    lost: AtomicBool,
    message: Mutex<Option<String>>,
}

impl Faults {
    fn report(&self, lost: bool, message: String) {
        let mut first = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(message);
        if lost {
            self.lost.store(true, Ordering::Release);
        }
    }

    /// The first fault since the last look; a loss stays.
    fn take(&self) -> Option<(bool, String)> {
        let lost = self.lost.load(Ordering::Acquire);
        let mut message = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        let text = if lost { message.clone() } else { message.take() };
        text.map(|text| (lost, text))
    }
}

impl GpuDevice {
    pub(crate) fn open(
        adapter: &wgpu::Adapter,
        info: DeviceInfo,
        host: HostPool,
        cache: &PipelineCacheDir,
        memory: &Arc<Memory>,
        priority: Option<Qos>,
    ) -> Result<Self> {
        let (device, queue, has_priority) = request_device(adapter, &info, priority)?;
        let faults = Arc::new(Faults::default());
        let uncaptured = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| uncaptured.report(false, error.to_string())));
        let lost = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lost.report(true, message);
            }
        });
        let pipelines = pipeline::Pipelines::new(&device, adapter, cache);
        let (name, polling, memory) = (info.name.clone(), Mutex::new(()), Arc::clone(memory));
        let tables = network::TableCache::default();
        let shared = Shared { name, device, queue, faults, polling, pipelines, memory, tables };
        let (adapter, cache, shared) = (adapter.clone(), cache.clone(), Arc::new(shared));
        let hardware_priority = priority.is_some();
        Ok(Self { info, adapter, cache, host, hardware_priority, has_priority, shared })
    }
}

/// Asks for no more than every adapter has, except where more is free: large bindings, and what the pipelines use.
/// The last is whether it has the priority.
fn request_device(
    adapter: &wgpu::Adapter,
    info: &DeviceInfo,
    priority: Option<Qos>,
) -> Result<(wgpu::Device, wgpu::Queue, bool)> {
    let offered = adapter.limits();
    let required_limits = wgpu::Limits {
        max_compute_invocations_per_workgroup: limits::MOST_INVOCATIONS,
        max_compute_workgroup_size_x: limits::MOST_INVOCATIONS,
        max_compute_workgroup_storage_size: limits::MOST_WORKGROUP_BYTES,
        max_compute_workgroups_per_dimension: offered.max_compute_workgroups_per_dimension,
        max_storage_buffers_per_shader_stage: u32::try_from(limits::MOST_STORAGE_BUFFERS).unwrap_or(8),
        max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
        max_buffer_size: offered.max_buffer_size,
        ..wgpu::Limits::downlevel_defaults().using_alignment(offered)
    };
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("auricle"),
        required_features: adapter.features() & wgpu::Features::PIPELINE_CACHE,
        required_limits,
        ..wgpu::DeviceDescriptor::default()
    };
    if let Some(qos) = priority {
        match priority::open(adapter, &descriptor, qos) {
            Ok((device, queue)) => return Ok((device, queue, true)),
            Err(reason) => tracing::info!("`{}`: no hardware priority for `{qos}`: {reason}", info.name),
        }
    }
    let opened = pollster::block_on(adapter.request_device(&descriptor));
    let (device, queue) = opened.map_err(|error| Error::Device {
        device: info.name.clone(),
        action: "opening it",
        reason: error.to_string(),
    })?;
    Ok((device, queue, false))
}

impl Device for GpuDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn another(&self, qos: Qos) -> Result<Option<Arc<dyn Device>>> {
        let (info, host, memory) = (self.info.clone(), self.host.clone(), &self.shared.memory);
        let priority = self.hardware_priority.then_some(qos);
        Ok(Some(Arc::new(Self::open(&self.adapter, info, host, &self.cache, memory, priority)?)))
    }

    fn has_priority(&self) -> bool {
        self.has_priority
    }

    fn fallback(&self) -> Option<Arc<dyn Device>> {
        Some(Arc::new(CpuDevice::new(self.host.clone())))
    }

    fn memory(&self) -> Option<MemorySnapshot> {
        Some(self.shared.memory.snapshot())
    }

    fn sleep(&self) -> Result<u64> {
        self.shared.memory.sleep()
    }

    fn wake(&self) -> Result<()> {
        self.shared.memory.wake()
    }

    fn handles(&self) -> Option<(&wgpu::Device, &wgpu::Queue)> {
        Some((&self.shared.device, &self.shared.queue))
    }

    fn prepare(&self, recording: Arc<Recording>, options: &PlanOptions) -> Result<Box<dyn PreparedPlan>> {
        Ok(Box::new(plan::GpuPlan::new(Arc::clone(&self.shared), self.host.clone(), recording, options)?))
    }

    fn open_network(&self, model: &Arc<Model>, channels: usize, options: &NetworkOptions) -> Result<Box<dyn Network>> {
        let bounds = network::Bounds::of(&self.shared.device, self.info.kind);
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(network::ResidentNetwork::open(shared, model, channels, *options, bounds)?))
    }
}

impl Shared {
    /// Keeps the device and its queue until the process ends.
    #[expect(clippy::mem_forget, reason = "that they are never dropped is what it is for")]
    fn stay(&self) {
        std::mem::forget((self.device.clone(), self.queue.clone()));
    }

    fn is_lost(&self) -> bool {
        self.faults.lost.load(Ordering::Acquire)
    }

    fn error(&self, action: &'static str, reason: impl ToString) -> Error {
        Error::Device { device: self.name.clone(), action, reason: reason.to_string() }
    }

    /// Turns what the driver reported meanwhile into an error.
    fn check(&self, action: &'static str) -> Result<()> {
        match self.faults.take() {
            None => Ok(()),
            Some((true, reason)) => Err(Error::DeviceLost { device: self.name.clone(), reason }),
            Some((false, reason)) => Err(self.error(action, reason)),
        }
    }

    /// Runs `make`, which creates things on the device, and catches what goes wrong there.
    fn create<T>(&self, action: &'static str, make: impl FnOnce() -> T) -> Result<T> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let made = make();
        let caught = [
            pollster::block_on(internal.pop()),
            pollster::block_on(validation.pop()),
            pollster::block_on(memory.pop()),
        ];
        self.check(action)?;
        match caught.into_iter().flatten().next() {
            None => Ok(made),
            Some(error @ wgpu::Error::OutOfMemory { .. }) => {
                Err(Error::OutOfMemory { device: self.name.clone(), action, reason: error.to_string() })
            }
            Some(error) => Err(self.error(action, error)),
        }
    }

    /// Waits until a submission has ended and its buffers are mapped.
    fn wait(&self, submission: &wgpu::SubmissionIndex, action: &'static str) -> Result<()> {
        let start = Instant::now();
        loop {
            let poll = wgpu::PollType::Wait {
                submission_index: Some(submission.clone()),
                timeout: Some(Duration::from_secs(1)),
            };
            let polled = {
                let _alone = self.polling.lock().unwrap_or_else(PoisonError::into_inner);
                self.device.poll(poll)
            };
            match polled {
                Ok(_) => return self.check(action),
                Err(wgpu::PollError::Timeout) if start.elapsed() < LONGEST_WAIT => self.check(action)?,
                Err(wgpu::PollError::Timeout) => {
                    let reason = format!("no answer within {} s", LONGEST_WAIT.as_secs());
                    self.faults.report(true, reason.clone());
                    // Whoever drops a queue waits for it, without end.
                    self.stay();
                    return Err(Error::DeviceLost { device: self.name.clone(), reason });
                }
                Err(error) => return Err(self.error(action, error)),
            }
        }
    }
}
