//! What stands in a request's query, and how it is complained about.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{App, Problem};
use crate::chain::{ChainSettings, DenoiseChoice, FilterChoice};
use crate::format::SampleFormat;
use crate::stage::denoise::model::Model;
use crate::stage::source::SourceHints;
use crate::{Denoise, Faulty, FilterMode, Gate, Level, Measure, PhiResolvent, Precision, Qos, Quiet, Wavenumber};

/// A query, or a problem that names what is wrong in it.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(query)| Self(query)).map_err(|error| Problem::bad_request("bad-query", error.body_text()))
    }
}

pub(super) fn qos(name: Option<&str>) -> Result<Qos, Problem> {
    let qos = name.map(str::parse).transpose();
    let qos = qos.map_err(|error: crate::Error| Problem::bad_request("unknown-qos", error.to_string()))?;
    Ok(qos.unwrap_or_default())
}

/// How a signal is cleaned. What is not set is as `auricle run` has it.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CleanQuery {
    /// The level of service.
    #[param(value_type = Option<Qos>, default = "default")]
    qos: Option<String>,
    /// How raw samples are stored: f32, s16, u8, cf32, cs16, cs8, cu8. Unless set, the body is a WAV file.
    #[param(example = "f32")]
    pub(super) format: Option<String>,
    /// Samples per second of raw ones.
    #[param(example = 16000)]
    pub(super) sample_rate: Option<f64>,
    /// Interleaved channels of raw samples, 1 unless set. A frame of all of them may have 262,144 numbers, 65,536 on a
    /// stream; a sample of IQ is two.
    #[param(minimum = 1, maximum = 4096)]
    pub(super) channels: Option<usize>,
    /// Samples in a frame: a power of two, 64 to 4096.
    #[param(default = 1024)]
    frame_len: Option<usize>,
    /// Level above which a frame is live: linear (full scale is 1), in dBFS (`-60dB`), or `off`.
    #[param(default = "0.001")]
    gate: Option<String>,
    /// Frames that stay live after the last loud one.
    #[param(default = 2)]
    hold: Option<u32>,
    /// What becomes of quiet frames.
    #[param(inline, default = "zero")]
    quiet: Option<QuietParam>,
    /// What to do with a frame that holds NaN or infinity.
    #[param(inline, default = "reject")]
    faulty: Option<FaultyParam>,
    /// Unless set: `off` where a denoiser runs, else `seamless`.
    #[param(inline)]
    filter: Option<FilterParam>,
    /// Strength of the filter, above 0; the golden ratio unless set. A very large one needs `filter=block`.
    #[param(exclusive_minimum = 0)]
    phi: Option<f64>,
    /// Unit of k in the filter.
    #[param(inline, default = "cycles")]
    wavenumber: Option<WavenumberParam>,
    /// `builtin`, `off`, or the name of a model that the service has loaded. Unless set, `builtin` where it fits the signal.
    #[param(example = "builtin")]
    denoise: Option<String>,
    /// How the denoiser's weights are kept and multiplied.
    #[param(inline, default = "f32")]
    precision: Option<PrecisionParam>,
    /// How much of the output is the denoiser's, 0 to 1.
    #[param(minimum = 0, maximum = 1, default = 1)]
    strength: Option<f32>,
    /// `auto` brings each channel slowly to the level that the model does best at, and back.
    #[param(inline, default = "auto")]
    level: Option<LevelParam>,
    /// The least that the denoiser leaves of any frequency, in dB, 0 or less.
    #[param(minimum = -200, maximum = 0)]
    mask_floor: Option<f32>,
}

macro_rules! params {
    ($($name:ident -> $of:ty { $($variant:ident => $value:expr),* })*) => { $(
        #[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "lowercase")]
        enum $name { $($variant),* }

        impl From<$name> for $of {
            fn from(param: $name) -> Self {
                match param { $($name::$variant => $value),* }
            }
        }
    )* };
}

params! {
    QuietParam -> Quiet { Zero => Self::Zero, Pass => Self::Pass }
    FaultyParam -> Faulty { Reject => Self::Reject, Silence => Self::Silence }
    FilterParam -> FilterChoice {
        Seamless => Self::Mode(FilterMode::Seamless), Block => Self::Mode(FilterMode::Block), Off => Self::Off
    }
    WavenumberParam -> Wavenumber { Cycles => Self::Cycles, Nyquist => Self::Nyquist, Radians => Self::Radians }
    PrecisionParam -> Precision { F32 => Self::F32, F16 => Self::F16, Int8 => Self::Int8 }
    LevelParam -> Level { Auto => Self::Auto, Off => Self::Off }
}

/// A checked query.
#[derive(Debug)]
pub(super) struct Cleaning {
    pub(super) qos: Qos,
    pub(super) hints: SourceHints,
    pub(super) chain: ChainSettings,
    /// What clients call the denoiser.
    pub(super) model: String,
}

impl CleanQuery {
    /// # Errors
    /// A problem that names the parameter.
    fn checked(
        &self,
        model: impl FnOnce(&str) -> Option<Arc<Model>>,
        models: impl FnOnce() -> String,
    ) -> Result<Cleaning, Problem> {
        let bad =
            |name: &str, error: &dyn std::fmt::Display| Problem::bad_request("bad-setting", format!("{name}: {error}"));
        let format = self.format.as_deref().map(str::parse::<SampleFormat>).transpose();
        let format = format.map_err(|error| bad("format", &error))?;
        let threshold =
            self.gate.as_deref().map(str::parse).transpose().map_err(|error: crate::Error| bad("gate", &error))?;
        let defaults = Gate { hold: 2, ..Gate::default() };
        let gate = Gate {
            threshold: threshold.unwrap_or(defaults.threshold),
            hold: self.hold.unwrap_or(defaults.hold),
            quiet: self.quiet.map_or(defaults.quiet, Into::into),
            faulty: self.faulty.map_or(defaults.faulty, Into::into),
        };
        let phi_resolvent = PhiResolvent {
            phi: self.phi.unwrap_or(crate::GOLDEN_RATIO),
            wavenumber: self.wavenumber.map_or(Wavenumber::Cycles, Into::into),
            measure: Measure::Coherence,
            ..PhiResolvent::default()
        };
        let name = self.denoise.as_deref().unwrap_or("builtin");
        let denoise = match name {
            off if off.eq_ignore_ascii_case("off") => None,
            name => {
                let model = model(name).ok_or_else(|| {
                    let detail = format!("denoise: there is no model `{name}`; there are: {}, and off", models());
                    Problem::bad_request("unknown-model", detail)
                })?;
                Some(Denoise {
                    precision: self.precision.map_or(Precision::F32, Into::into),
                    strength: self.strength.unwrap_or(1.0),
                    level: self.level.map_or(Level::Auto, Into::into),
                    mask_floor_db: self.mask_floor,
                    ..Denoise::new(model)
                })
            }
        };
        let denoise = match self.denoise {
            Some(_) => DenoiseChoice::Asked(denoise),
            None => DenoiseChoice::WhereItFits(denoise),
        };
        let filter = self.filter.map_or(FilterChoice::WhereItHelps, Into::into);
        let frame_len = self.frame_len.unwrap_or(1024);
        let chain = ChainSettings { gate, filter, phi_resolvent, denoise, frame_len };
        chain.check()?;
        let hints = SourceHints { format, sample_rate_hz: self.sample_rate, channels: self.channels };
        hints.check().map_err(crate::Error::File)?;
        Ok(Cleaning { qos: qos(self.qos.as_deref())?, hints, chain, model: name.to_owned() })
    }
}

impl App {
    /// What a query asks for.
    pub(super) fn cleaning(&self, query: &CleanQuery) -> Result<Cleaning, Problem> {
        let models = &self.options.models;
        let model = |name: &str| match name {
            "builtin" => Some(Model::builtin()),
            name => models.get(name).map(Arc::clone),
        };
        let names = || {
            let names: Vec<&str> = std::iter::once("builtin").chain(models.keys().map(String::as_str)).collect();
            names.join(", ")
        };
        query.checked(model, names)
    }
}
