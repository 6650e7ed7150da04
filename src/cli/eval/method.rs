//! The methods that are measured, each by its name: nothing, the baselines, the denoisers.

use std::fmt;

use anyhow::{Context as _, Result, bail};

use crate::quality::baseline;

/// What `--denoise` takes, for the help.
pub(super) const DENOISERS: &str = "off";

/// The signal as it is.
pub(super) const INPUT: &str = "input";

/// One channel at a rate in Hz in, the same channel with less noise out: as long, and aligned to the sample.
type Clean = dyn Fn(&[f32], u32) -> Result<Vec<f32>> + Send + Sync;

/// Something that cleans a signal.
pub(super) struct Method {
    pub(super) name: String,
    clean: Box<Clean>,
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Method {
    pub(super) fn new(
        name: impl Into<String>,
        clean: impl Fn(&[f32], u32) -> Result<Vec<f32>> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), clean: Box::new(clean) }
    }

    pub(super) fn clean_channels(&self, channels: &[Vec<f32>], rate_hz: u32) -> Result<Vec<Vec<f32>>> {
        channels.iter().map(|channel| self.clean_channel(channel, rate_hz)).collect()
    }

    fn clean_channel(&self, channel: &[f32], rate_hz: u32) -> Result<Vec<f32>> {
        let cleaned = (self.clean)(channel, rate_hz).with_context(|| format!("method `{}`", self.name))?;
        if cleaned.len() != channel.len() {
            bail!("method `{}` made {} samples of {}", self.name, cleaned.len(), channel.len());
        }
        Ok(cleaned)
    }
}

/// In the order of the report: the input, the baselines, then the denoisers as they were asked for.
pub(super) fn all(denoisers: &[String]) -> Result<Vec<Method>> {
    let mut methods = vec![
        Method::new(INPUT, |samples, _| Ok(samples.to_vec())),
        Method::new("spectral subtraction", |samples, rate_hz| Ok(baseline::spectral_subtraction(samples, rate_hz)?)),
        Method::new("log-MMSE", |samples, rate_hz| Ok(baseline::log_mmse(samples, rate_hz)?)),
    ];
    for choice in denoisers {
        let Some(method) = denoiser(choice)? else { continue };
        if methods.iter().any(|other| other.name == method.name) {
            bail!("--denoise {choice} was given twice");
        }
        methods.push(method);
    }
    Ok(methods)
}

/// One value of `--denoise`. The engine's denoisers are made here, each under the name that it was asked for by.
fn denoiser(choice: &str) -> Result<Option<Method>> {
    match choice {
        "off" => Ok(None),
        _ => bail!("--denoise `{choice}` is no denoiser; there is {DENOISERS}"),
    }
}
