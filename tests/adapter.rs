//! The devices that the tests run on: the CPU, and every adapter there is.
//!
//! In CI a software adapter must be there, or the tests fail; a local run without one says that it skips.

use std::sync::OnceLock;

use auricle::{DeviceChoice, DeviceKind, Devices, Engine, EngineOptions, PipelineCacheDir};

/// Opens a device without touching the user's pipeline cache.
pub fn open(device: DeviceChoice) -> Engine {
    let options = EngineOptions { device, threads: 2, pipeline_cache: PipelineCacheDir::Off };
    Engine::open(&options).expect("the device should open")
}

/// The names of the adapters to test: all software ones, and hardware when there is any.
pub fn adapter_names() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let devices = Devices::find(1).expect("finding devices should not fail").list();
        let adapters = devices.into_iter().filter(|info| info.kind != DeviceKind::Cpu);
        let names: Vec<String> = adapters.map(|info| info.name).collect();
        if names.is_empty() {
            assert!(std::env::var_os("CI").is_none(), "CI needs a software adapter: install mesa-vulkan-drivers");
            eprintln!("SKIPPED on a GPU: no adapter found; `tests/run` installs a software one");
        }
        names
    })
}

/// Every device: first the CPU, then the adapters, each checked to be the one that was asked for.
pub fn engines() -> Vec<Engine> {
    let cpu = open(DeviceChoice::Cpu);
    assert_eq!(cpu.device().kind, DeviceKind::Cpu, "the CPU was asked for");
    let adapters = adapter_names().iter().map(|name| {
        let engine = open(DeviceChoice::Named(name.clone()));
        assert_eq!(&engine.device().name, name, "this adapter was asked for");
        assert!(!engine.device().backend.contains("noop"), "the no-op adapter returns nonsense");
        engine
    });
    std::iter::once(cpu).chain(adapters).collect()
}

/// Numbers that look like noise, the same on every run: -1 to 1.
pub fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}
