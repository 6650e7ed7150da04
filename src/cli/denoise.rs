//! The flags that choose a denoiser, for every subcommand that runs one.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use crate::stage::denoise::model::Model;
use crate::{Denoise, Level, Precision};

/// What `--denoise` takes, for the help.
pub(super) const CHOICES: &str = "builtin|off|FILE";

/// How a denoiser is run.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DenoiseSettings {
    /// How the denoiser's weights are kept and multiplied: f16 halves the memory they take, int8 is fastest.
    #[arg(long, default_value = "f32", value_enum, help_heading = "Denoiser")]
    precision: PrecisionArgument,

    /// How much of the output is the denoiser's, 0 to 1; the rest is the input as it was.
    #[arg(long, default_value_t = 1.0, value_name = "X", allow_hyphen_values = true, help_heading = "Denoiser")]
    strength: f32,

    /// auto: each channel is brought slowly to the level that the model does best at, and back at the output.
    #[arg(long, default_value = "auto", value_enum, help_heading = "Denoiser")]
    level: LevelArgument,

    /// The least that the denoiser leaves of any frequency, in dB, 0 or less; what the model says unless set.
    #[arg(long, value_name = "DB", allow_hyphen_values = true, help_heading = "Denoiser")]
    mask_floor: Option<f32>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PrecisionArgument {
    F32,
    F16,
    Int8,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LevelArgument {
    Auto,
    Off,
}

impl DenoiseSettings {
    /// The denoiser that `choice` names; none for `off`.
    pub(super) fn denoiser(&self, choice: &str) -> Result<Option<Denoise>> {
        let model = match choice {
            off if off.eq_ignore_ascii_case("off") => return Ok(None),
            "builtin" => Model::builtin(),
            file => Arc::new(model_file(file)?),
        };
        let denoise = Denoise {
            precision: match self.precision {
                PrecisionArgument::F32 => Precision::F32,
                PrecisionArgument::F16 => Precision::F16,
                PrecisionArgument::Int8 => Precision::Int8,
            },
            strength: self.strength,
            level: match self.level {
                LevelArgument::Auto => Level::Auto,
                LevelArgument::Off => Level::Off,
            },
            mask_floor_db: self.mask_floor,
            ..Denoise::new(model)
        };
        denoise.check_settings()?;
        Ok(Some(denoise))
    }
}

fn model_file(file: &str) -> Result<Model> {
    if !Path::new(file).exists() {
        bail!("--denoise `{file}`: there is no such file; give a model file, or one of builtin, off");
    }
    Model::read(file).with_context(|| format!("--denoise {file}"))
}
