//! The graph that the command line, the dashboard and the service run on a signal: gate, filter and denoiser, one after the
//! other. What of them runs depends on the signal, unless somebody has said.

use crate::error::{Error, Result};
use crate::format::SignalSpec;
use crate::frame::{Domain, FrameShape};
use crate::graph::Graph;
use crate::stage::denoise::Denoise;
use crate::stage::filter::{FilterMode, PhiResolvent};
use crate::stage::gate::Gate;

/// Names of outputs: the cleaned samples, and the powers that the filter measured for its coherence, if there is one.
pub(crate) const OUTPUT: &str = "output";
pub(crate) const POWERS: &str = "powers";

/// Sample rates at which a denoiser for speech is the default.
const SPEECH_RATES_HZ: std::ops::RangeInclusive<f64> = 4e3..=384e3;

/// What was asked for, before the signal is known.
#[derive(Clone, Debug)]
pub(crate) struct ChainSettings {
    pub(crate) gate: Gate,
    pub(crate) filter: FilterChoice,
    /// Its mode is that of the choice.
    pub(crate) phi_resolvent: PhiResolvent,
    pub(crate) denoise: DenoiseChoice,
    /// Samples in a frame.
    pub(crate) frame_len: usize,
}

/// Which filter was chosen, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterChoice {
    /// By nobody: seamless, but none where a denoiser runs, which does no better for it.
    #[cfg_attr(
        not(any(feature = "cli", feature = "serve")),
        expect(dead_code, reason = "only the command line and the service ask so")
    )]
    WhereItHelps,
    Off,
    Mode(FilterMode),
}

/// Which denoiser was chosen, and how.
#[derive(Clone, Debug)]
pub(crate) enum DenoiseChoice {
    /// By somebody.
    #[cfg_attr(
        not(any(feature = "cli", feature = "serve")),
        expect(dead_code, reason = "only the command line and the service ask so")
    )]
    Asked(Option<Denoise>),
    /// By nobody: where it cannot run, it does not.
    WhereItFits(Option<Denoise>),
}

impl ChainSettings {
    /// Checks what does not depend on the signal, except the filter: how far that reaches takes a transform to find out, and
    /// is found out when it is compiled, if it is.
    ///
    /// # Errors
    /// [`Error::Setting`], naming what is out of its range.
    pub(crate) fn check(&self) -> Result<()> {
        FrameShape::real(self.frame_len).check()?;
        self.gate.check()?;
        let (DenoiseChoice::Asked(denoise) | DenoiseChoice::WhereItFits(denoise)) = &self.denoise;
        denoise.as_ref().map_or(Ok(()), Denoise::check_settings)
    }

    /// Checks the filter, if there may be one.
    ///
    /// # Errors
    /// [`Error::Setting`].
    #[cfg(feature = "cli")]
    pub(crate) fn check_filter(&self) -> Result<()> {
        match self.filter {
            FilterChoice::Off => Ok(()),
            _ => self.phi_resolvent().check(FrameShape::real(self.frame_len)),
        }
    }

    fn phi_resolvent(&self) -> PhiResolvent {
        let mode = match self.filter {
            FilterChoice::Mode(mode) => mode,
            FilterChoice::WhereItHelps | FilterChoice::Off => FilterMode::Seamless,
        };
        PhiResolvent { mode, ..self.phi_resolvent }
    }

    /// What runs on this signal, now that it is known; and why there is no denoiser, if one might be expected.
    ///
    /// # Errors
    /// [`Error::Setting`] when a denoiser was asked for that cannot run on it.
    pub(crate) fn for_signal(&self, spec: &SignalSpec) -> Result<(Chain, Option<String>)> {
        let (denoise, warning) = self.denoise.for_signal(spec, self.frame_len)?;
        let filter = match (self.filter, &denoise) {
            (FilterChoice::Off, _) | (FilterChoice::WhereItHelps, Some(_)) => None,
            _ => Some(self.phi_resolvent()),
        };
        let shape = match spec.domain() {
            Domain::Real => FrameShape::real(self.frame_len),
            Domain::Complex => FrameShape::complex(self.frame_len),
        };
        Ok((Chain { shape, gate: self.gate, filter, denoise }, warning))
    }
}

impl DenoiseChoice {
    fn for_signal(&self, spec: &SignalSpec, frame_len: usize) -> Result<(Option<Denoise>, Option<String>)> {
        let (denoise, asked) = match self {
            Self::Asked(denoise) => (denoise, true),
            Self::WhereItFits(denoise) => (denoise, false),
        };
        let Some(denoise) = denoise else { return Ok((None, None)) };
        if spec.domain() == Domain::Complex && !asked {
            return Ok((None, None));
        }
        if spec.sample_rate_hz.is_some_and(|rate_hz| !asked && !SPEECH_RATES_HZ.contains(&rate_hz)) {
            return Ok((None, None));
        }
        match fitted(denoise, spec, frame_len) {
            Ok(denoise) => Ok((Some(denoise), None)),
            Err(error) if asked => Err(error),
            Err(error) => Ok((None, Some(format!("not denoised: {error}")))),
        }
    }
}

/// A denoiser for this signal.
fn fitted(denoise: &Denoise, spec: &SignalSpec, frame_len: usize) -> Result<Denoise> {
    let refused = |what: &'static str, actual: String, expected: &str| Err(Error::setting(what, actual, expected));
    if spec.domain() == Domain::Complex {
        let expected = "a denoiser is for real signals; set it to off";
        return refused("the signal", "complex (IQ)".to_owned(), expected);
    }
    let Some(rate_hz) = spec.sample_rate_hz else {
        let expected = "a denoiser has to know it; give a sample rate, or set the denoiser to off";
        return refused("the sample rate", "unknown".to_owned(), expected);
    };
    let denoise = Denoise { sample_rate_hz: Some(whole_rate(rate_hz)?), ..denoise.clone() };
    denoise.check(FrameShape::real(frame_len))?;
    Ok(denoise)
}

/// A sample rate as a denoiser takes it.
///
/// # Errors
/// [`Error::Setting`] when it is not whole.
fn whole_rate(rate_hz: f64) -> Result<u32> {
    if rate_hz.fract() != 0.0 || !(1.0..=f64::from(u32::MAX)).contains(&rate_hz) {
        let expected = "a denoiser takes sample rates of whole Hz; set it to off, or resample";
        return Err(Error::setting("the sample rate", format!("{rate_hz} Hz"), expected));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(rate_hz as u32)
}

/// What runs on one signal.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) shape: FrameShape,
    pub(crate) gate: Gate,
    pub(crate) filter: Option<PhiResolvent>,
    pub(crate) denoise: Option<Denoise>,
}

impl Chain {
    /// The graph that an app would embed.
    pub(crate) fn graph(&self) -> Graph {
        let mut graph = Graph::new().input("input", self.shape).gate("gate", "input", self.gate);
        let mut last = "gate";
        if let Some(filter) = &self.filter {
            graph = graph.filter("filter", last, *filter).output(POWERS, "filter.powers");
            last = "filter";
        }
        if let Some(denoise) = &self.denoise {
            graph = graph.denoise("denoise", last, denoise.clone());
            last = "denoise";
        }
        graph.output(OUTPUT, last)
    }
}
