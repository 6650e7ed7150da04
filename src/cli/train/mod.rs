//! `auricle train`: one file for each thing that can be made.

#[cfg(feature = "train")]
mod denoiser;

mod policy;

use std::path::Path;

use anyhow::{Result, bail};

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

/// Refuses an output that cannot be written in the end, before anything is trained for it. The folder `made` is made later.
fn check_output(output: &Path, force: bool, made: &Path) -> Result<()> {
    if output.is_dir() {
        bail!("--output {} is a folder; give the name of a file", output.display());
    }
    if output.exists() && !force {
        bail!("{} exists; --force replaces it", output.display());
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir() && !made.starts_with(folder)) {
        bail!("the folder {} of --output does not exist", folder.display());
    }
    Ok(())
}
