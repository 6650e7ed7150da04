//! `auricle bench`: figures that anyone can check on their own machine.

mod qos;

pub(super) use qos::QosArguments;

use anyhow::Result;

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub(super) enum BenchCommand {
    /// Measure how well urgent jobs are kept on time while background work fills the device.
    Qos(QosArguments),
}

pub(super) fn bench(command: &BenchCommand) -> Result<()> {
    match command {
        BenchCommand::Qos(arguments) => qos::bench(arguments),
    }
}
