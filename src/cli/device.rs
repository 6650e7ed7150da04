//! The flag that chooses a device, for every subcommand that runs something on one.

use crate::DeviceChoice;

/// Where to run.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DeviceArgument {
    /// auto (a hardware GPU, else the CPU), cpu, gpu, or part of an adapter's name: see `auricle devices`.
    #[arg(id = "device", long = "device", default_value = "auto", value_name = "auto|cpu|gpu|NAME")]
    pub(super) choice: DeviceChoice,
}

/// The choice as the flag takes it.
pub(super) fn name(choice: &DeviceChoice) -> &str {
    match choice {
        DeviceChoice::Auto => "auto",
        DeviceChoice::Cpu => "cpu",
        DeviceChoice::Gpu => "gpu",
        DeviceChoice::Named(name) => name,
    }
}
