//! Which device is opened: by name, by kind, and by default.

use auricle::{
    DeviceChoice, DeviceKind, Devices, Engine, EngineOptions, Error, FrameShape, Graph, JobOptions, PhiResolvent,
    PipelineCacheDir, Qos,
};

use crate::adapter::{adapter_names, open};

fn try_open(device: DeviceChoice) -> Result<Engine, Error> {
    Engine::open(&EngineOptions {
        device,
        threads: 1,
        pipeline_cache: PipelineCacheDir::Off,
        ..EngineOptions::default()
    })
}

fn has_hardware() -> bool {
    let devices = Devices::find(1).expect("finding devices should not fail").list();
    devices.iter().any(|info| info.kind == DeviceKind::Gpu)
}

#[test]
fn the_cpu_is_always_there_and_comes_first() {
    let devices = Devices::find(3).expect("finding devices should not fail");
    let list = devices.list();
    assert_eq!((list[0].name.as_str(), list[0].kind), ("cpu", DeviceKind::Cpu), "{list:?}");
    assert!(list[0].driver.contains("3 threads"), "{}", list[0].driver);
    assert!(list[1..].iter().all(|info| info.kind != DeviceKind::Cpu), "there is one: {list:?}");
    let software = list[1..].iter().position(|info| info.kind == DeviceKind::SoftwareGpu).unwrap_or(list.len() - 1);
    assert!(list[1 + software..].iter().all(|info| info.kind == DeviceKind::SoftwareGpu), "hardware first: {list:?}");
    assert_eq!(devices.limits(&list[0]), None, "the CPU has no limits");
    for info in &list[1..] {
        let limits = devices.limits(info).expect("an adapter has limits");
        assert!(limits.iter().all(|(_, amount)| *amount > 0), "{limits:?}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_those_there_are() {
    let error = try_open(DeviceChoice::Named("no such processor".to_owned())).expect_err("there is none");
    let Error::UnknownDevice { wanted, available } = &error else { panic!("{error}") };
    assert_eq!(wanted, "no such processor");
    for name in ["auto", "cpu", "gpu"].into_iter().chain(adapter_names().iter().map(String::as_str)) {
        assert!(available.contains(name), "`{name}` is missing: {available}");
    }
    assert!(error.to_string().contains("no such processor"), "{error}");
}

#[test]
fn an_adapter_answers_to_part_of_its_name_in_any_case() {
    for name in adapter_names() {
        for wanted in [name.to_uppercase(), name.to_lowercase()] {
            assert_eq!(&open(DeviceChoice::Named(wanted)).device().name, name);
        }
    }
}

#[test]
fn auto_never_takes_a_software_adapter() {
    let auto = open(DeviceChoice::Auto);
    let expected = if has_hardware() { DeviceKind::Gpu } else { DeviceKind::Cpu };
    assert_eq!(auto.device().kind, expected, "{:?}", auto.device());
    let announced = Devices::find(2).expect("finding devices should not fail").auto();
    assert_eq!(&announced, auto.device(), "what is announced is what is opened");
}

#[test]
fn a_gpu_that_is_asked_for_is_hardware_or_an_error() {
    match try_open(DeviceChoice::Gpu) {
        Ok(engine) => assert_eq!(engine.device().kind, DeviceKind::Gpu),
        Err(error) => {
            assert!(!has_hardware(), "hardware is there: {error}");
            assert!(matches!(error, Error::NoGpu { .. }), "{error:?}");
            let found = adapter_names().iter().all(|name| error.to_string().contains(name));
            assert!(found, "names what was found: {error}");
        }
    }
}

#[test]
fn choices_are_read_from_text() {
    let parse = |text: &str| text.parse::<DeviceChoice>().expect("every text is a choice");
    assert_eq!(parse("auto"), DeviceChoice::Auto);
    assert_eq!(parse("CPU"), DeviceChoice::Cpu);
    assert_eq!(parse("Gpu"), DeviceChoice::Gpu);
    assert_eq!(parse("llvmpipe"), DeviceChoice::Named("llvmpipe".to_owned()));
}

#[test]
fn hardware_priorities_are_used_where_they_are_granted_and_change_no_result() {
    let devices = Devices::find(1).expect("there is a CPU at least");
    for info in devices.list() {
        let granted = devices.hardware_priorities(&info).unwrap_or_default();
        let device = match info.kind {
            DeviceKind::Cpu => DeviceChoice::Cpu,
            _ => DeviceChoice::Named(info.name.clone()),
        };
        let options = |hardware_priority| EngineOptions {
            device: device.clone(),
            pipeline_cache: PipelineCacheDir::Off,
            hardware_priority,
            ..EngineOptions::default()
        };
        let graph = Graph::new()
            .input("in", FrameShape::real(256))
            .filter("filter", "in", PhiResolvent::default())
            .output("out", "filter");
        let samples: Vec<f32> = (0..256 * 20).map(|n| (n as f32 * 0.1).sin()).collect();
        let results = [false, true].map(|hardware_priority| {
            let engine = Engine::open(&options(hardware_priority)).expect("it opens, granted or not");
            let plan = engine.compile(&graph).expect("it compiles");
            let of = |qos| {
                let options = JobOptions { qos, ..JobOptions::default() };
                let ticket = engine.submit(&plan, [samples.clone()], options).expect("it is taken");
                ticket.wait().expect("it is done").dense("out").expect("its output").to_vec()
            };
            let results = Qos::ALL.map(of);
            let snapshot = engine.snapshot().expect("a snapshot");
            for (qos, level) in snapshot.qos.iter() {
                let expected = hardware_priority && granted[qos];
                assert_eq!(level.hardware_priority, expected, "{}: {qos}", info.name);
            }
            results
        });
        assert!(results[0] == results[1], "{}: the same to the bit", info.name);
    }
}
