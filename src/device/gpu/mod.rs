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

mod places;

mod network;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cpu::CpuDevice;
use super::host::HostPool;
use super::{Device, PlanOptions, PreparedPlan};
use crate::error::{Error, Result};
use crate::graph::limits;
use crate::qos::Qos;
use crate::recording::Recording;
use crate::stage::denoise::model::Model;
use crate::stage::denoise::network::{Network, NetworkOptions};
use crate::telemetry::{DeviceInfo, DeviceKind, MemorySnapshot};

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
    is_software: bool,
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
/// may trust a result without having looked here. Whose fault it was is not said, so it is that of all that was in flight.
#[derive(Debug, Default)]
struct Faults {
    lost: AtomicBool,
    count: AtomicU64,
    /// Of the last one; that of a loss stays.
    message: Mutex<String>,
}

impl Faults {
    fn report(&self, lost: bool, message: String) {
        let mut last = self.message.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.lost.load(Ordering::Acquire) {
            *last = message;
        }
        if lost {
            self.lost.store(true, Ordering::Release);
        }
        self.count.fetch_add(1, Ordering::Release);
    }

    /// How many there have been: whoever begins something asks for this first.
    fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    fn message(&self) -> String {
        self.message.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            // It may be an app's, which has the device too, and then nobody else says so.
            tracing::warn!("the driver reported: {error}");
            uncaptured.report(false, error.to_string());
        }));
        let lost = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lost.report(true, message);
            }
        });
        let pipelines = pipeline::Pipelines::new(&device, adapter, cache);
        let (name, polling, memory) = (info.name.clone(), Mutex::new(()), Arc::clone(memory));
        let tables = network::TableCache::default();
        let is_software = info.kind == DeviceKind::SoftwareGpu;
        let shared = Shared { name, is_software, device, queue, faults, polling, pipelines, memory, tables };
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
        memory.leave_lost();
        let priority = self.hardware_priority.then_some(qos);
        Ok(Some(Arc::new(Self::open(&self.adapter, info, host, &self.cache, memory, priority)?)))
    }

    fn has_priority(&self) -> bool {
        self.has_priority
    }

    fn fallback(&self) -> Option<Arc<dyn Device>> {
        Some(Arc::new(CpuDevice::new(self.host.clone())))
    }

    fn has_fallback(&self) -> bool {
        true
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

    fn check_not_lost(&self) -> Result<()> {
        if self.is_lost() {
            return Err(Error::DeviceLost { device: self.name.clone(), reason: self.faults.message() });
        }
        Ok(())
    }

    /// Turns what the driver has reported since there were so many faults into an error.
    fn check(&self, faults_before: u64, action: &'static str) -> Result<()> {
        self.check_not_lost()?;
        if self.faults.count() == faults_before { Ok(()) } else { Err(self.error(action, self.faults.message())) }
    }

    fn encoder(&self, label: &str) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) })
    }

    /// Runs `make`, which creates things on the device, and catches what goes wrong there: on this thread, so that faults
    /// of runs on others are not taken for its own.
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
        self.check_not_lost()?;
        match caught.into_iter().flatten().next() {
            None => Ok(made),
            Some(error @ wgpu::Error::OutOfMemory { .. }) => {
                Err(Error::OutOfMemory { device: self.name.clone(), action, reason: error.to_string() })
            }
            Some(error) => Err(self.error(action, error)),
        }
    }

    /// Waits until a submission has ended and its buffers are mapped; before it was encoded, there were so many faults.
    fn wait(&self, submission: &wgpu::SubmissionIndex, faults_before: u64, action: &'static str) -> Result<()> {
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
                Ok(_) => return self.check(faults_before, action),
                Err(wgpu::PollError::Timeout) if start.elapsed() < LONGEST_WAIT => self.check(faults_before, action)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::adapter::all_for_tests;
    use crate::frame::FrameShape;
    use crate::graph::Graph;
    use crate::stage::filter::PhiResolvent;

    #[test]
    fn what_the_driver_reports_fails_all_that_is_in_flight_and_nothing_later() {
        for device in all_for_tests() {
            let (shared, name) = (&device.shared, &device.info.name);
            let before = shared.faults.count();
            shared.check(before, "waiting").expect("nothing has happened");
            // Buffers cannot be mapped for both, and nobody catches that.
            let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE;
            let descriptor = wgpu::BufferDescriptor { label: None, size: 16, usage, mapped_at_creation: false };
            drop(shared.device.create_buffer(&descriptor));
            for run in 0..3 {
                let error = shared.check(before, "waiting").expect_err("it was in flight");
                assert!(matches!(error, Error::Device { action: "waiting", .. }), "{name}, run {run}: {error}");
            }
            shared.check(shared.faults.count(), "waiting").expect("what begins now is well");
            shared.create("making nothing", || ()).expect("and so is what is made");

            shared.faults.report(true, "gone".to_owned());
            shared.faults.report(false, "one more".to_owned());
            let error = shared.check(shared.faults.count(), "waiting").expect_err("a loss stays");
            assert!(matches!(&error, Error::DeviceLost { reason, .. } if reason == "gone"), "{name}: {error}");
            shared.create("making nothing", || ()).expect_err("nothing can be made");
        }
    }

    #[test]
    fn what_a_lost_device_held_is_given_back_when_another_one_opens() {
        let graph = Graph::new()
            .input("in", FrameShape::real(256))
            .filter("filter", "in", PhiResolvent::default())
            .output("clean", "filter");
        for device in all_for_tests() {
            let recording = graph.record().expect("nothing is wrong with it").first;
            let plan = device.prepare(recording, &PlanOptions::default()).expect("it should compile");
            let used = || device.memory().map(|memory| memory.used_bytes);
            assert_eq!(used(), Some(plan.report().buffer_bytes), "{}", device.info.name);
            device.shared.faults.report(true, "on purpose".to_owned());
            let another = device.another(Qos::Default).expect("it should open");
            assert_eq!(used(), Some(0), "{}: it counts for all devices of the adapter", device.info.name);
            drop((plan, another));
        }
    }
}
