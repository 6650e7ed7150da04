//! Which processors there are, and which one is taken.
//!
//! `auto` takes a hardware GPU, else the CPU: a software adapter computes the same on the same cores, many times
//! slower, so it serves for tests and is taken only when asked for by name.

use std::str::FromStr;
use std::sync::Arc;

use super::Device;
use super::cpu::{CpuDevice, cpu_info};
use super::gpu::{GpuDevice, Memory, PipelineCacheDir};
use super::host::HostPool;
use crate::error::{Error, Result};
use crate::qos::{PerQos, Qos};
use crate::telemetry::{DeviceInfo, DeviceKind};

/// Which device to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A hardware GPU, else the CPU.
    #[default]
    Auto,
    /// The CPU; needs no driver.
    Cpu,
    /// A hardware GPU, or an error.
    Gpu,
    /// The first adapter in whose name, driver or backend this stands, whatever its case.
    Named(String),
}

impl FromStr for DeviceChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "gpu" => Self::Gpu,
            _ => Self::Named(text.to_owned()),
        })
    }
}

/// The devices of this machine.
#[derive(Debug)]
pub struct Devices {
    adapters: Vec<(wgpu::Adapter, DeviceInfo)>,
    host: HostPool,
}

impl Devices {
    /// Asks every driver that is installed. The CPU is always there; `threads` are its workers, 0 for one per core.
    pub fn find(threads: usize) -> Result<Self> {
        let host = HostPool::new(threads)?;
        Ok(Self { adapters: adapters(), host })
    }

    /// All devices: the CPU first, then adapters in the order in which `auto` prefers them.
    pub fn list(&self) -> Vec<DeviceInfo> {
        std::iter::once(cpu_info(&self.host)).chain(self.adapters.iter().map(|(_, info)| info.clone())).collect()
    }

    /// The device that `auto` takes.
    pub fn auto(&self) -> DeviceInfo {
        self.hardware().map_or_else(|| cpu_info(&self.host), |(_, info)| info.clone())
    }

    /// The adapter behind a device; none for the CPU.
    #[cfg(feature = "cli")]
    pub(crate) fn adapter(&self, device: &DeviceInfo) -> Option<&wgpu::Adapter> {
        self.adapters.iter().find(|(_, info)| info == device).map(|(adapter, _)| adapter)
    }

    /// The limits that an adapter offers, by name: (what, amount). None for the CPU, which has none of these.
    pub fn limits(&self, device: &DeviceInfo) -> Option<Vec<(&'static str, u64)>> {
        let (adapter, _) = self.adapters.iter().find(|(_, info)| info == device)?;
        let limits = adapter.limits();
        Some(vec![
            ("invocations per workgroup", u64::from(limits.max_compute_invocations_per_workgroup)),
            ("workgroup memory, bytes", u64::from(limits.max_compute_workgroup_storage_size)),
            ("workgroups per dimension", u64::from(limits.max_compute_workgroups_per_dimension)),
            ("storage buffers", u64::from(limits.max_storage_buffers_per_shader_stage)),
            ("bytes per binding", limits.max_storage_buffer_binding_size),
        ])
    }

    /// Which levels an adapter gives a priority in the hardware, beside what the scheduler does; tried by opening a device
    /// for each. None for what is no adapter.
    pub fn hardware_priorities(&self, device: &DeviceInfo) -> Option<PerQos<bool>> {
        let (adapter, info) = self.adapters.iter().find(|(_, info)| info == device)?;
        let (host, cache, memory) = (&self.host, PipelineCacheDir::Off, Memory::new(None));
        let opened = |qos| GpuDevice::open(adapter, info.clone(), host.clone(), &cache, &memory, Some(qos));
        Some(PerQos::from_fn(|qos| opened(qos).is_ok_and(|device| device.has_priority())))
    }

    fn hardware(&self) -> Option<&(wgpu::Adapter, DeviceInfo)> {
        self.adapters.iter().find(|(_, info)| info.kind == DeviceKind::Gpu)
    }

    fn named(&self, wanted: &str) -> Result<&(wgpu::Adapter, DeviceInfo)> {
        let wanted_lower = wanted.to_lowercase();
        let matches = |info: &DeviceInfo| {
            format!("{} {} {}", info.name, info.driver, info.backend).to_lowercase().contains(&wanted_lower)
        };
        self.adapters.iter().find(|(_, info)| matches(info)).ok_or_else(|| {
            let names = self.adapters.iter().map(|(_, info)| format!("`{}`", info.name));
            let available = ["`auto`", "`cpu`", "`gpu`"].map(str::to_owned).into_iter().chain(names);
            Error::UnknownDevice { wanted: wanted.to_owned(), available: available.collect::<Vec<_>>().join(", ") }
        })
    }
}

/// Opens a device.
pub(crate) fn open(
    choice: &DeviceChoice,
    threads: usize,
    cache: &PipelineCacheDir,
    memory_budget: Option<u64>,
    hardware_priority: bool,
) -> Result<Arc<dyn Device>> {
    let devices = match choice {
        // The CPU must open without a driver being as much as asked.
        DeviceChoice::Cpu => Devices { adapters: Vec::new(), host: HostPool::new(threads)? },
        _ => Devices::find(threads)?,
    };
    let adapter = match choice {
        DeviceChoice::Cpu => None,
        DeviceChoice::Auto => devices.hardware(),
        DeviceChoice::Gpu => Some(devices.hardware().ok_or_else(|| {
            let names: Vec<_> = devices.adapters.iter().map(|(_, info)| format!("`{}`", info.name)).collect();
            let found = if names.is_empty() { "no adapter at all".to_owned() } else { names.join(", ") };
            Error::NoGpu { found }
        })?),
        DeviceChoice::Named(name) => Some(devices.named(name)?),
    };
    let Some((adapter, info)) = adapter else {
        return Ok(Arc::new(CpuDevice::new(devices.host)));
    };
    if info.kind == DeviceKind::SoftwareGpu {
        tracing::warn!("`{}` computes on the CPU; the `cpu` device does the same many times faster", info.name);
    }
    let memory = Memory::new(memory_budget);
    let priority = hardware_priority.then_some(Qos::Default);
    Ok(Arc::new(GpuDevice::open(adapter, info.clone(), devices.host.clone(), cache, &memory, priority)?))
}

/// Hardware before software, in the order of the drivers. GL is asked only where nothing else is there: elsewhere it
/// shows the same processors a second time. The no-op backend, which calls itself a CPU and returns nonsense, is never
/// asked.
fn adapters() -> Vec<(wgpu::Adapter, DeviceInfo)> {
    let native = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let mut adapters = adapters_of(native);
    if adapters.is_empty() {
        adapters = adapters_of(wgpu::Backends::GL);
    }
    adapters.sort_by_key(|(_, info)| info.kind == DeviceKind::SoftwareGpu);
    adapters
}

fn adapters_of(backends: wgpu::Backends) -> Vec<(wgpu::Adapter, DeviceInfo)> {
    let descriptor = wgpu::InstanceDescriptor {
        backends,
        flags: wgpu::InstanceFlags::from_env_or_default(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    };
    let found = pollster::block_on(wgpu::Instance::new(descriptor).enumerate_adapters(backends));
    let usable = found.into_iter().filter(runs_compute);
    usable
        .map(|adapter| {
            let info = describe(&adapter);
            (adapter, info)
        })
        .collect()
}

fn runs_compute(adapter: &wgpu::Adapter) -> bool {
    adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
}

fn describe(adapter: &wgpu::Adapter) -> DeviceInfo {
    let info = adapter.get_info();
    let name = info.name.to_lowercase();
    let software_names = ["llvmpipe", "softpipe", "swiftshader", "basic render"];
    let is_software =
        info.device_type == wgpu::DeviceType::Cpu || software_names.iter().any(|software| name.contains(software));
    let useful = [
        wgpu::Features::TIMESTAMP_QUERY,
        wgpu::Features::SUBGROUP,
        wgpu::Features::SHADER_F16,
        wgpu::Features::PIPELINE_CACHE,
    ];
    let features = useful.into_iter().filter(|feature| adapter.features().contains(*feature));
    DeviceInfo {
        name: info.name,
        kind: if is_software { DeviceKind::SoftwareGpu } else { DeviceKind::Gpu },
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        features: features.flat_map(|feature| feature.iter_names().map(|(name, _)| name.to_lowercase())).collect(),
    }
}

/// Every adapter there is, opened, for tests of what lies below the public API.
#[cfg(test)]
pub(super) fn all_for_tests() -> Vec<GpuDevice> {
    let host = HostPool::new(1).expect("one thread needs no pool");
    let open = |(adapter, info): (wgpu::Adapter, DeviceInfo)| {
        GpuDevice::open(&adapter, info, host.clone(), &PipelineCacheDir::Off, &Memory::new(None), None)
            .expect("the adapter should open")
    };
    let devices: Vec<GpuDevice> = adapters().into_iter().map(open).collect();
    assert!(!devices.is_empty() || std::env::var_os("CI").is_none(), "CI needs a software adapter");
    devices
}
