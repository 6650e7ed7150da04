//! `auricle train`: one file for each thing that can be made.

#[cfg(feature = "train")]
mod denoiser;

mod policy;

use anyhow::Result;

/// What can be trained.
#[derive(Debug, clap::Subcommand)]
pub(super) enum TrainCommand {
    /// Train the network of the built-in denoiser; needs espeak-ng, flite and festival.
    #[cfg(feature = "train")]
    Denoiser(denoiser::DenoiserArguments),
    /// Train the policy that weights bins for the time difference of arrival, by nothing but how well that comes out.
    Policy(policy::PolicyArguments),
}

pub(super) fn train(command: &TrainCommand) -> Result<()> {
    match command {
        #[cfg(feature = "train")]
        TrainCommand::Denoiser(arguments) => denoiser::train(arguments),
        TrainCommand::Policy(arguments) => policy::train(arguments),
    }
}
