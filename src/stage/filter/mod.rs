//! Phi-resolvent filter: `(1 - phi * laplacian)^-1`, which multiplies each spectrum bin by `1 / (1 + phi * k^2)`.
//!
//! It smooths; it does not tell noise from signal. This file says what the filter is; `window` how frames are cut into
//! the windows that are transformed, `kernel` how the work is done, `measure` what else the spectrum tells.

mod kernel;

pub mod measure;

mod window;

use std::f64::consts::TAU;

use crate::error::{Error, Result};
use crate::frame::FrameShape;

pub(crate) use kernel::filter_kernel;
#[cfg(test)]
pub(crate) use kernel::{FilterParams, wgsl};
pub(crate) use window::WindowLayout;

/// The golden ratio, `(1 + sqrt 5) / 2`: the filter's strength unless set.
pub const GOLDEN_RATIO: f64 = 1.618_033_988_749_895;

/// The unit of `k` in `1 / (1 + phi * k^2)`: it decides how strong a given phi is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wavenumber {
    /// Cycles per sample, 0 to 0.5, as `fftfreq` gives: the mildest. With phi the golden ratio, 0.712 at Nyquist.
    #[default]
    Cycles,
    /// A fraction of Nyquist, 0 to 1: 0.382 at Nyquist.
    Nyquist,
    /// Radians per sample, 0 to pi, the operator's textbook unit: 0.059 at Nyquist.
    Radians,
}

impl Wavenumber {
    /// `k` for one cycle per sample.
    pub const fn per_cycle(self) -> f64 {
        match self {
            Self::Cycles => 1.0,
            Self::Nyquist => 2.0,
            Self::Radians => TAU,
        }
    }
}

/// How frames are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FilterMode {
    /// As if the whole signal of a channel were filtered at once (overlap-save): within 1e-4 of the level of a
    /// broadband signal, and within 2e-3 of that of a lone tone just under Nyquist, where the response has a kink. In a
    /// session the output is one frame late. Neighbours that the gate silenced count as zeros.
    #[default]
    Seamless,
    /// Each frame alone, as if it repeated for ever (circular).
    Block,
}

/// The phi-resolvent filter.
///
/// # Inputs
/// Real or complex frames, or two-dimensional blocks (`Block` only; then `k^2` is the sum over both axes, the `fft2`
/// form). `Seamless` needs the frames of an input or of the gate, since it looks at neighbours.
/// # Outputs
/// Frames of the same shape; with `measure`, also `<node>.powers`, see [`measure`].
/// # Parameters
/// See the fields.
/// # Accuracy
/// Relative L2 error of a frame against the definition in f64: at most 1e-6, on every device, whatever the levels of
/// other frames are. Linear, so any level does; denormals may be flushed to zero.
/// # Source
/// The resolvent of the Laplacian, `(1 - phi * d^2/dx^2)^-1`: in the frequency domain the Laplacian is `-k^2`.
/// # Example
/// ```
/// use auricle::{PhiResolvent, Wavenumber};
/// let filter = PhiResolvent { wavenumber: Wavenumber::Nyquist, ..PhiResolvent::default() };
/// assert!((filter.response(0.5, 0.0) - 0.382).abs() < 1e-3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhiResolvent {
    /// Strength: any finite number above 0 in block mode. Seamless, the larger phi is the farther the filter reaches,
    /// and it must not reach farther than a frame: `check` refuses a phi that is too large for the frame length and
    /// says how far it reaches. (With k in cycles and frames of 1024 the limit is near 6e5.) The golden ratio unless set.
    pub phi: f64,
    /// The unit of `k`.
    pub wavenumber: Wavenumber,
    /// How frames are joined.
    pub mode: FilterMode,
    /// What to measure of the spectrum on the way.
    pub measure: Measure,
    /// What the spectrum is multiplied by.
    pub output: FilterOutput,
}

impl Default for PhiResolvent {
    fn default() -> Self {
        Self {
            phi: GOLDEN_RATIO,
            wavenumber: Wavenumber::Cycles,
            mode: FilterMode::Seamless,
            measure: Measure::Nothing,
            output: FilterOutput::Smoothed,
        }
    }
}

/// What the filter sums over the spectrum while it has it: see [`measure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Nothing; it costs nothing.
    #[default]
    Nothing,
    /// Coherence: each bin's power weighted by the resolvent with phi the golden ratio and k in radians per sample.
    Coherence,
    /// Damped energy: each bin's power weighted by `(1 - R)^2`, with this filter's own R.
    DampedEnergy,
}

/// What the filter makes of the spectrum X, with the resolvent R.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FilterOutput {
    /// `R X`.
    #[default]
    Smoothed,
    /// `2 (1 - R)^2 X`: the gradient of the damped energy `sum |x - R x|^2` with respect to the samples.
    ///
    /// At Nyquist its kink is the sharper one, so it reaches farther: with the default phi and k in cycles, `Seamless`
    /// needs frames of 512 samples or more for it.
    DampedGradient,
}

impl PhiResolvent {
    /// The response at a frequency in cycles per sample, -0.5 to 0.5 on each axis; `row` is 0 for a frame in time.
    pub fn response(&self, column: f64, row: f64) -> f64 {
        resolvent(self.phi, self.wavenumber, column, row)
    }

    /// Refuses a phi that is not above 0, and modes that the shape does not allow.
    pub fn check(&self, shape: FrameShape) -> Result<()> {
        shape.check()?;
        if !(self.phi.is_finite() && self.phi > 0.0) {
            return Err(Error::setting("the filter's phi", self.phi, "it must be a finite number above 0"));
        }
        WindowLayout::new(self, shape).map(|_| ())
    }

    /// What each bin is multiplied by.
    pub(crate) fn multiplier(&self, row: f64, column: f64) -> f64 {
        match self.output {
            FilterOutput::Smoothed => self.response(column, row),
            FilterOutput::DampedGradient => 2.0 * self.damping(row, column).powi(2),
        }
    }

    /// `1 - R`, which as a difference would have no digits left where phi is tiny.
    fn damping(&self, row: f64, column: f64) -> f64 {
        1.0 / (1.0 + 1.0 / (self.phi * k_squared(self.wavenumber, column, row)))
    }

    /// The weight of each bin's power in the measure.
    pub(crate) fn weight(&self, row: f64, column: f64) -> f64 {
        match self.measure {
            Measure::Nothing => 0.0,
            Measure::Coherence => resolvent(GOLDEN_RATIO, Wavenumber::Radians, column, row),
            Measure::DampedEnergy => self.damping(row, column).powi(2),
        }
    }
}

fn resolvent(phi: f64, wavenumber: Wavenumber, column: f64, row: f64) -> f64 {
    1.0 / (1.0 + phi * k_squared(wavenumber, column, row))
}

fn k_squared(wavenumber: Wavenumber, column: f64, row: f64) -> f64 {
    (column * column + row * row) * wavenumber.per_cycle().powi(2)
}
