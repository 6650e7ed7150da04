//! `auricle devices`: what can run here, and which one `auto` takes.

use anyhow::Result;

use crate::{DeviceInfo, DeviceKind, Devices, PerQos};

#[derive(serde::Serialize)]
struct Listing {
    devices: Vec<ListedDevice>,
    auto: String,
    why: &'static str,
}

#[derive(serde::Serialize)]
struct ListedDevice {
    #[serde(flatten)]
    info: DeviceInfo,
    limits: serde_json::Map<String, serde_json::Value>,
    /// Which levels the driver gives a priority; none for the CPU.
    hardware_priorities: Option<PerQos<bool>>,
}

#[expect(clippy::print_stdout, reason = "the list is what was asked for")]
pub(super) fn devices(json: bool) -> Result<()> {
    let listing = listing()?;
    if json {
        println!("{}", serde_json::to_string_pretty(&listing)?);
        return Ok(());
    }
    for device in &listing.devices {
        let ListedDevice { info, limits, hardware_priorities } = device;
        let kind = match info.kind {
            DeviceKind::Cpu => "CPU",
            DeviceKind::Gpu => "GPU",
            DeviceKind::SoftwareGpu => "GPU in software, for tests",
        };
        let mark = if info.name == listing.auto { "*" } else { " " };
        println!("{mark} {}  ({kind})", info.name);
        println!("    {}: {}", info.backend, info.driver);
        if !info.features.is_empty() {
            println!("    offers {}", info.features.join(", "));
        }
        for (limit, amount) in limits {
            println!("    {limit}: {amount}");
        }
        if let Some(granted) = hardware_priorities {
            println!("    hardware priorities: {}", priorities(granted));
        }
    }
    println!("\n`auto` takes {}: {}", listing.auto, listing.why);
    Ok(())
}

fn priorities(granted: &PerQos<bool>) -> String {
    let names: Vec<&str> = granted.iter().filter(|(_, granted)| **granted).map(|(qos, _)| qos.name()).collect();
    if names.is_empty() { "none granted".to_owned() } else { format!("granted for {}", names.join(", ")) }
}

fn listing() -> Result<Listing> {
    let devices = Devices::find(0)?;
    let auto = devices.auto();
    let all = devices.list();
    let has_software = all.iter().any(|info| info.kind == DeviceKind::SoftwareGpu);
    let why = match (auto.kind, has_software) {
        (DeviceKind::Gpu, _) => "it is a hardware GPU",
        (_, true) => "there is no hardware GPU, and the CPU is faster by itself than through a software one",
        (_, false) => "there is no GPU",
    };
    let limits = |info: &DeviceInfo| {
        let limits = devices.limits(info).unwrap_or_default();
        limits.into_iter().map(|(name, amount)| (name.to_owned(), amount.into())).collect()
    };
    let listed = |info: DeviceInfo| {
        let hardware_priorities = devices.hardware_priorities(&info);
        ListedDevice { limits: limits(&info), hardware_priorities, info }
    };
    let devices = all.into_iter().map(listed).collect();
    Ok(Listing { devices, auto: auto.name, why })
}
