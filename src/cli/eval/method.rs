//! The methods that are measured, each by its name: nothing, the baselines, the denoisers.

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

/// The values of `--denoise`, each under the name that it was asked for by; `off` is none.
pub(super) fn denoisers(choices: &[String], settings: &DenoiseSettings) -> Result<Vec<(String, Denoise)>> {
    let mut denoisers: Vec<(String, Denoise)> = Vec::new();
    for choice in choices {
        let Some(denoise) = settings.denoiser(choice)? else { continue };
        if denoisers.iter().any(|(name, _)| name == choice) {
            bail!("--denoise {choice} was given twice");
        }
        denoisers.push((choice.clone(), denoise));
    }
    Ok(denoisers)
}

/// In the order of the report: the input, the baselines, then the denoisers as they were asked for.
pub(super) fn all(denoisers: &[(String, Denoise)], engine: &EngineOptions) -> Result<Vec<Method>> {
    let mut methods = vec![
        Method::new(INPUT, |samples, _| Ok(samples.to_vec())),
        Method::new("spectral subtraction", |samples, rate_hz| Ok(baseline::spectral_subtraction(samples, rate_hz)?)),
        Method::new("log-MMSE", |samples, rate_hz| Ok(baseline::log_mmse(samples, rate_hz)?)),
    ];
    for (name, denoise) in denoisers {
        if methods.iter().any(|method| method.name == *name) {
            bail!("--denoise {name}: another method has that name; rename the file");
        }
        methods.push(denoiser(name, denoise, engine)?);
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

/// A denoiser on an engine of its own.
fn denoiser(name: &str, denoise: &Denoise, engine: &EngineOptions) -> Result<Method> {
    let (engine, denoise) = (Engine::open(engine)?, denoise.clone());
    // As long as there is one plan, the weights stay ready for those of all files.
    let holds_weights = engine.compile(&graph(denoise.clone()))?;
    Ok(Method::new(name, move |samples, rate_hz| {
        let _ = &holds_weights;
        let graph = graph(Denoise { sample_rate_hz: Some(rate_hz), ..denoise.clone() });
        let mut frames = samples.to_vec();
        frames.resize(samples.len().next_multiple_of(FRAME_LEN), 0.0);
        let cleaned = engine.compile(&graph)?.run(&[&frames], 1)?;
        Ok(cleaned.dense("output").map_or_else(Vec::new, |cleaned| cleaned[..samples.len()].to_vec()))
    }))
}
