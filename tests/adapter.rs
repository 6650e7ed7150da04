//! The devices that the tests run on: the CPU, and every adapter there is.
//!
//! In CI a software adapter must be there, or the tests fail; a local run without one says that it skips.

use std::io::Write as _;
use std::sync::OnceLock;

use auricle::{
    DeviceChoice, DeviceKind, Devices, Engine, EngineOptions, GatePlacement, Graph, PipelineCacheDir, Plan, PlanOptions,
};

/// Says that something was not tested, and why. The runner hides what a test says that passes: `tests/run` prints at its end
/// what stands in the file that `AURICLE_SKIPPED` names.
pub(crate) fn skipped(what: &str) {
    eprintln!("SKIPPED: {what}");
    let Some(path) = std::env::var_os("AURICLE_SKIPPED") else { return };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the file should open");
    // All at once: other tests write into it, too.
    file.write_all(format!("SKIPPED: {what}\n").as_bytes()).expect("the line should be written");
}

/// Opens a device without touching the user's pipeline cache.
pub(crate) fn open(device: DeviceChoice) -> Engine {
    let options =
        EngineOptions { device, threads: 2, pipeline_cache: PipelineCacheDir::Off, ..EngineOptions::default() };
    Engine::open(&options).expect("the device should open")
}

/// The names of the adapters to test: all software ones, and hardware when there is any.
pub(crate) fn adapter_names() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let devices = Devices::find(1).expect("finding devices should not fail").list();
        let adapters = devices.into_iter().filter(|info| info.kind != DeviceKind::Cpu);
        let names: Vec<String> = adapters.map(|info| info.name).collect();
        if names.is_empty() {
            assert!(std::env::var_os("CI").is_none(), "CI needs a software adapter: install mesa-vulkan-drivers");
            skipped("everything on a GPU: no adapter found; `tests/run` installs a software one");
        }
        eprintln!("testing on the CPU and on {names:?}");
        names
    })
}

/// Every device: first the CPU, then the adapters, each checked to be the one that was asked for. All tests share
/// them, and so the pipelines that were built already.
pub(crate) fn engines() -> &'static [Engine] {
    static ENGINES: OnceLock<Vec<Engine>> = OnceLock::new();
    ENGINES.get_or_init(|| {
        let cpu = open(DeviceChoice::Cpu);
        assert_eq!(cpu.device().kind, DeviceKind::Cpu, "the CPU was asked for");
        let adapters = adapter_names().iter().map(|name| {
            let engine = open(DeviceChoice::Named(name.clone()));
            assert_eq!(&engine.device().name, name, "this adapter was asked for");
            assert!(!engine.device().backend.contains("noop"), "the no-op adapter returns nonsense");
            engine
        });
        std::iter::once(cpu).chain(adapters).collect()
    })
}

/// The graph on every device, and on adapters with the gate in both places. Each comes with what it is, for messages.
pub(crate) fn plans(graph: &Graph, buckets: &[usize]) -> Vec<(String, Plan)> {
    let placements = |engine: &Engine| match engine.device().kind {
        DeviceKind::Cpu => vec![GatePlacement::Host],
        _ => vec![GatePlacement::Host, GatePlacement::Device],
    };
    let compile = |engine: &'static Engine, gate_on| {
        let options = PlanOptions { buckets: buckets.to_vec(), gate_on };
        let plan = engine.compile_with(graph, &options).expect("the graph should compile");
        (format!("{}, gate on the {gate_on:?}", engine.device().name), plan)
    };
    engines()
        .iter()
        .flat_map(|engine| placements(engine).into_iter().map(move |gate_on| compile(engine, gate_on)))
        .collect()
}
