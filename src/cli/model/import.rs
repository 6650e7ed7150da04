//! `auricle model import`: a published network becomes a model file.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::show::Summary;
use crate::cli::print;
use crate::import::{dtln, nsnet2};
use crate::stage::denoise::model::{Model, StoredAs};

const DTLN_DETAILS: &str = "\
The files are in the folder pretrained_model of https://github.com/breizhn/DTLN.
The variant norm_40h comes as Keras weights only: assets/import/keras-to-npy.py
makes arrays of an .h5 file.

Examples:
  auricle model import dtln --stage1 model_1.onnx --stage2 model_2.onnx \\
    -o dtln.safetensors
  python3 assets/import/keras-to-npy.py DTLN_norm_40h.h5 weights
  auricle model import dtln --arrays weights -o dtln-norm.safetensors \\
    --stored-as f16";

const NSNET2_DETAILS: &str = "\
The sixteen .npy files are in the folder nsnet2/weights of
https://github.com/huningxin/webnn-samples.

Example:
  auricle model import nsnet2 --arrays nsnet2/weights -o nsnet2.safetensors";

/// The network to import.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum ImportArguments {
    /// DTLN: two stages of LSTMs, 16 kHz, 32 ms.
    #[command(after_help = DTLN_DETAILS)]
    Dtln {
        /// The first ONNX file, which masks the spectrum.
        #[arg(long, value_name = "ONNX", requires = "stage2", required_unless_present = "arrays")]
        stage1: Option<PathBuf>,

        /// The second ONNX file, which masks the learned basis.
        #[arg(long, value_name = "ONNX", requires = "stage1")]
        stage2: Option<PathBuf>,

        /// A folder with the Keras weights as .npy files, in place of the ONNX files.
        #[arg(long, value_name = "DIR", conflicts_with = "stage1")]
        arrays: Option<PathBuf>,

        #[command(flatten)]
        target: Target,
    },
    /// NSNet2: GRUs between dense layers, 16 kHz, 20 ms.
    #[command(after_help = NSNET2_DETAILS)]
    Nsnet2 {
        /// The folder with the .npy files.
        #[arg(long, value_name = "DIR")]
        arrays: PathBuf,

        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Target {
    /// The model file to write; it should end in .safetensors.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// How to keep the weights: f32 keeps every bit, f16 halves the file.
    #[arg(long, default_value = "f32", value_enum)]
    stored_as: StoredAsArgument,

    /// Replace the file if it is there already.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StoredAsArgument {
    F32,
    F16,
}

pub(super) fn import(network: &ImportArguments) -> Result<()> {
    match network {
        ImportArguments::Dtln { stage1: Some(stage1), stage2: Some(stage2), target, .. } => {
            write(&dtln::from_onnx(stage1, stage2)?, target)
        }
        ImportArguments::Dtln { arrays: Some(arrays), target, .. } => write(&dtln::from_keras_arrays(arrays)?, target),
        ImportArguments::Dtln { .. } => bail!("give --stage1 and --stage2, or --arrays"),
        ImportArguments::Nsnet2 { arrays, target } => write(&nsnet2::from_arrays(arrays)?, target),
    }
}

fn write(model: &Model, target: &Target) -> Result<()> {
    let stored_as = match target.stored_as {
        StoredAsArgument::F32 => StoredAs::F32,
        StoredAsArgument::F16 => StoredAs::F16,
    };
    model.write(&target.output, stored_as, target.force)?;
    print(&format!("{}\n\n{}", Summary::of(model, &target.output)?.text(), next_steps(&target.output)))
}

fn next_steps(model: &Path) -> String {
    format!("Next: auricle run noisy.wav -o clean.wav --denoise {}", model.display())
}
