//! `auricle devices`: what can run here, and which one `auto` takes.

use anyhow::Result;

use super::print;
use crate::{DeviceInfo, DeviceKind, Devices, PerQos};

#[derive(serde::Serialize)]
struct Listing {
    devices: Vec<ListedDevice>,
    auto: String,
    auto_backend: String,
    why: &'static str,
}

#[derive(serde::Serialize)]
struct ListedDevice {
    #[serde(flatten)]
    info: DeviceInfo,
    /// Whether `auto` takes it; its name may be that of another, too.
    #[serde(skip)]
    is_auto: bool,
    limits: serde_json::Map<String, serde_json::Value>,
    /// Which levels the driver gives a priority; none for the CPU.
    hardware_priorities: Option<PerQos<bool>>,
}

pub(super) fn devices(json: bool) -> Result<()> {
    let listing = listing()?;
    print(&if json { serde_json::to_string_pretty(&listing)? } else { listing.text() })
}

impl Listing {
    fn text(&self) -> String {
        let mut lines: Vec<String> = self.devices.iter().flat_map(ListedDevice::lines).collect();
        lines.push(format!("\n`auto` takes {}: {}", self.auto, self.why));
        lines.join("\n")
    }
}

impl ListedDevice {
    fn lines(&self) -> Vec<String> {
        let Self { info, is_auto, limits, hardware_priorities } = self;
        let kind = match info.kind {
            DeviceKind::Cpu => "CPU",
            DeviceKind::Gpu => "GPU",
            DeviceKind::SoftwareGpu => "GPU in software, for tests",
        };
        let mark = if *is_auto { "*" } else { " " };
        let mut lines =
            vec![format!("{mark} {}  ({kind})", info.name), format!("    {}: {}", info.backend, info.driver)];
        if !info.features.is_empty() {
            lines.push(format!("    offers {}", info.features.join(", ")));
        }
        lines.extend(limits.iter().map(|(limit, amount)| format!("    {limit}: {amount}")));
        lines.extend(
            hardware_priorities.as_ref().map(|granted| format!("    hardware priorities: {}", priorities(granted))),
        );
        lines
    }
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
    // It takes the first of those that are alike.
    let taken = all.iter().position(|info| *info == auto);
    let listed = |(index, info): (usize, DeviceInfo)| {
        let hardware_priorities = devices.hardware_priorities(&info);
        ListedDevice { is_auto: taken == Some(index), limits: limits(&info), hardware_priorities, info }
    };
    let devices = all.into_iter().enumerate().map(listed).collect();
    Ok(Listing { devices, auto: auto.name, auto_backend: auto.backend, why })
}
