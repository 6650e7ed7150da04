//! The methods that are measured, each by its name: nothing, the baselines, the denoisers.

use std::fmt;

use anyhow::{Context as _, Result, bail};

use crate::cli::denoise::DenoiseSettings;
use crate::quality::baseline;
use crate::{Denoise, Engine, EngineOptions, FrameShape, Graph};

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
pub(super) fn all(denoisers: &[String], settings: &DenoiseSettings, engine: &EngineOptions) -> Result<Vec<Method>> {
    let mut methods = vec![
        Method::new(INPUT, |samples, _| Ok(samples.to_vec())),
        Method::new("spectral subtraction", |samples, rate_hz| Ok(baseline::spectral_subtraction(samples, rate_hz)?)),
        Method::new("log-MMSE", |samples, rate_hz| Ok(baseline::log_mmse(samples, rate_hz)?)),
    ];
    for choice in denoisers {
        let Some(method) = denoiser(choice, settings, engine)? else { continue };
        if methods.iter().any(|other| other.name == method.name) {
            bail!("--denoise {choice} was given twice");
        }
        methods.push(method);
    }
    Ok(methods)
}

/// Samples in a frame: of no weight here, where signals are there as a whole.
const FRAME_LEN: usize = 1024;

fn graph(denoise: Denoise) -> Graph {
    Graph::new()
        .input("input", FrameShape::real(FRAME_LEN))
        .denoise("denoise", "input", denoise)
        .output("output", "denoise")
}

/// One value of `--denoise`, under the name that it was asked for by. Pairs are worked on in parallel, so that each
/// signal takes one core.
fn denoiser(choice: &str, settings: &DenoiseSettings, engine: &EngineOptions) -> Result<Option<Method>> {
    let Some(denoise) = settings.denoiser(choice)? else { return Ok(None) };
    let engine = Engine::open(engine)?;
    // As long as there is one plan, the weights stay ready for those of all files.
    let holds_weights = engine.compile(&graph(denoise.clone()))?;
    Ok(Some(Method::new(choice, move |samples, rate_hz| {
        let _ = &holds_weights;
        let graph = graph(Denoise { sample_rate_hz: Some(rate_hz), ..denoise.clone() });
        let mut frames = samples.to_vec();
        frames.resize(samples.len().next_multiple_of(FRAME_LEN), 0.0);
        let cleaned = engine.compile(&graph)?.run(&[&frames], 1)?;
        Ok(cleaned.dense("output").map_or_else(Vec::new, |cleaned| cleaned[..samples.len()].to_vec()))
    })))
}
