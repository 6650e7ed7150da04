//! `auricle model`: look at a model file, or make one of a published network.

mod import;

mod show;

use anyhow::Result;

pub(super) use import::ImportArguments;
pub(super) use show::ShowArguments;

const EXAMPLES: &str = "\
Examples:
  auricle model show dtln.safetensors  what it is, its layers, and what it costs
  auricle model import dtln --stage1 model_1.onnx --stage2 model_2.onnx \\
    -o dtln.safetensors
  auricle model import nsnet2 --arrays nsnet2/weights -o nsnet2.safetensors

A model file is safetensors, with a JSON description in its metadata.";

/// What to do with a model.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum ModelCommand {
    /// Say what a model file holds and what it costs.
    Show(ShowArguments),
    /// Make a model file of a published network.
    Import {
        #[command(subcommand)]
        network: ImportArguments,
    },
}

pub(super) fn model(command: &ModelCommand) -> Result<()> {
    match command {
        ModelCommand::Show(arguments) => show::show(arguments),
        ModelCommand::Import { network } => import::import(network),
    }
}
