//! Which device is opened: by name, by kind, and by default.

use auricle::{DeviceChoice, DeviceKind, Devices, Engine, EngineOptions, Error, PipelineCacheDir};

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
