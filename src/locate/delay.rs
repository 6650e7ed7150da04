//! The delay between two receivers, as a graph: transforms of the crate, and one kernel as a user would bring it.

use std::f64::consts::TAU;

use num_complex::{Complex32, Complex64};

use crate::error::{Error, Result};
use crate::frame::FrameShape;
use crate::graph::{CustomKernel, Graph};
use crate::recording::word;
use crate::stage::fourier::{Fourier, Taper};
use crate::{Engine, Plan};

const WGSL: &str = include_str!("../../shaders/delay.wgsl");
/// The longest delay that is looked for, unless set; emitters are heard up to that much later, in samples.
pub(super) const LONGEST_DELAY: usize = 12;
/// What the kernel has room for.
const MOST_BINS: usize = 1024;
/// Turns of Newton's method: each doubles the digits, from a quarter of a sample on.
const NEWTON_STEPS: usize = 6;
/// Grid points beyond the longest delay, so that a peak at the edge is seen from both sides.
const BEYOND: usize = 2;

/// What [`DelayEstimator`] looks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DelayOptions {
    /// Complex samples of each frame: a power of two, 64 to 1024.
    pub frame_len: usize,
    /// The longest delay, in samples, to either side: 1 to a quarter of the frame.
    pub longest: usize,
    /// What frames are multiplied by before their transform.
    pub taper: Taper,
}

impl Default for DelayOptions {
    fn default() -> Self {
        Self { frame_len: 1024, longest: LONGEST_DELAY, taper: Taper::Hann }
    }
}

/// An estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Delay {
    /// How much later the second receiver heard it, in samples: at most [`DelayOptions::longest`] to either side, 0 where
    /// nothing agrees with anything.
    pub samples: f32,
    /// How much of the weighted correlation agrees with that, from 0 to 1; 0 for silence.
    pub height: f32,
    /// How spread the correlation is: the entropy of its powers on the grid of half samples, divided by that of equal
    /// ones. 0 when all is in one point, 1 when it is the same everywhere.
    pub entropy: f32,
}

/// Estimates how much later one receiver hears an emitter than another, for many pairs of frames at once, on whatever
/// device the engine has.
///
/// The estimate is the highest point of the weighted cross-correlation,
///
/// ```text
/// |sum over k of w[k] G[k]/|G[k]| exp(2 pi i f[k] t)|,   G[k] = X2[k] conj(X1[k])
/// ```
///
/// (generalised cross-correlation with the phase transform, C. H. Knapp and G. C. Carter, 1976), found on a grid of half
/// samples and refined by Newton's method. On two copies of one circular signal it is exact within 1e-4 samples. Bins
/// that are 0 or not finite count for nothing, so a frame with a NaN is as good as silence.
#[derive(Clone, Debug)]
pub struct DelayEstimator {
    options: DelayOptions,
    spectra: Plan,
    delays: Plan,
}

impl DelayEstimator {
    /// Compiles the graphs.
    ///
    /// # Errors
    /// [`Error::Setting`] when an option is out of its range; what the device reports.
    pub fn new(engine: &Engine, options: &DelayOptions) -> Result<Self> {
        let len = options.frame_len;
        if !len.is_power_of_two() || !(64..=MOST_BINS).contains(&len) {
            return Err(Error::setting("frame_len", len, format!("a power of two from 64 to {MOST_BINS}")));
        }
        if !(1..=len / 4).contains(&options.longest) {
            return Err(Error::setting("longest", options.longest, format!("1 to {} samples", len / 4)));
        }
        let shape = FrameShape::complex(len);
        let spectra = Graph::new()
            .input("samples", shape)
            .fourier("fourier", "samples", Fourier::Forward(options.taper))
            .output("spectrum", "fourier");
        let delays = Graph::new()
            .input("first", shape)
            .input("second", shape)
            .input("weights", FrameShape::real(len))
            .kernel("delay", &["first", "second", "weights"], kernel(len, options.longest))
            .output("delays", "delay");
        Ok(Self { options: *options, spectra: engine.compile(&spectra)?, delays: engine.compile(&delays)? })
    }

    /// Its options.
    pub fn options(&self) -> &DelayOptions {
        &self.options
    }

    /// The spectra of frames: complex samples as pairs of floats, frame after frame; bins in their natural order, without
    /// scaling.
    ///
    /// # Errors
    /// [`Error::Setting`] when `samples` is no whole number of frames; what the device reports.
    pub fn spectra(&self, samples: &[f32]) -> Result<Vec<f32>> {
        let floats = 2 * self.options.frame_len;
        if !samples.len().is_multiple_of(floats) {
            return Err(Error::setting("samples", samples.len(), format!("a multiple of {floats} floats")));
        }
        let output = self.spectra.run(&[samples], 1)?;
        Ok(output.dense("spectrum").unwrap_or_default().to_vec())
    }

    /// The delay of each pair of frames, from their spectra, with a weight for each bin (1 everywhere: GCC-PHAT).
    ///
    /// # Errors
    /// [`Error::Setting`] when the lengths do not agree; what the device reports.
    pub fn delays(&self, first: &[f32], second: &[f32], weights: &[f32]) -> Result<Vec<Delay>> {
        let floats = 2 * self.options.frame_len;
        if !first.len().is_multiple_of(floats) {
            return Err(Error::setting("first", first.len(), format!("a multiple of {floats} floats")));
        }
        if second.len() != first.len() {
            return Err(Error::setting("second", second.len(), format!("{} floats, as first has", first.len())));
        }
        if 2 * weights.len() != first.len() {
            return Err(Error::setting("weights", weights.len(), format!("{}, one for each bin", first.len() / 2)));
        }
        let output = self.delays.run(&[first, second, weights], 1)?;
        let delays = output.dense("delays").unwrap_or_default();
        Ok(delays.chunks_exact(3).map(|of| Delay { samples: of[0], height: of[1], entropy: of[2] }).collect())
    }
}

/// Points of the grid of half samples: as far to one side as to the other, and that much further that the highest of a
/// peak at the edge is one of them.
fn lags(longest: usize) -> usize {
    2 * (2 * longest + BEYOND)
}

/// The kernel with its twin.
pub(crate) fn kernel(len: usize, longest: usize) -> CustomKernel {
    let twin = Twin::new(len, longest);
    CustomKernel::new(WGSL, move |sources, result| {
        let delay = twin.estimate(bytemuck::cast_slice(sources[0]), bytemuck::cast_slice(sources[1]), sources[2]);
        result.copy_from_slice(&[delay.samples, delay.height, delay.entropy]);
    })
    .param(len.trailing_zeros())
    .param(word(lags(longest)))
    .param(longest as f32)
    .result_shape(FrameShape::real(3))
}

/// The same on the CPU. The grid is symmetric, so one product serves a lag and its opposite; and the correlation's
/// derivatives are sums in f64 along a phasor that turns on from bin to bin.
struct Twin {
    len: usize,
    /// Grid points to one side, without the middle.
    half: usize,
    longest: f64,
    /// By bin, then by distance from the middle: cosine and sine.
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Twin {
    fn new(len: usize, longest: usize) -> Self {
        let half = lags(longest) / 2;
        #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is wanted")]
        let table = |of: fn(f64) -> f64| {
            let point = move |k: usize| {
                let turn = TAU * (k as f64 / len as f64 - 0.5);
                (0..=half).map(move |lag| of(turn * 0.5 * lag as f64) as f32)
            };
            (0..len).flat_map(point).collect::<Vec<f32>>()
        };
        Self { len, half, longest: longest as f64, cosines: table(f64::cos), sines: table(f64::sin) }
    }

    fn estimate(&self, first: &[Complex32], second: &[Complex32], weights: &[f32]) -> Delay {
        let middle = self.len / 2;
        let total: f32 = weights.iter().map(|weight| weight.abs()).sum();
        // The correlation is at most 1 then, whatever the weights are.
        let scale = if total > 0.0 { 1.0 / total } else { 0.0 };
        let cross = |k: usize| {
            let at = k ^ middle;
            direction(second[at]) * direction(first[at]).conj() * (weights[at] * scale)
        };
        let cross: Vec<Complex32> = (0..self.len).map(cross).collect();
        let (lag, entropy) = self.best_of_grid(&cross);
        let (delay, power) = refine(&cross, lag, self.longest);
        let height = power.sqrt();
        #[expect(clippy::cast_possible_truncation, reason = "the result is in f32")]
        let delay = Delay { samples: delay as f32, height: height as f32, entropy };
        delay
    }

    /// The lag of the grid, in samples, at which the correlation is highest, of equal ones the earliest; and the entropy of
    /// the powers.
    fn best_of_grid(&self, cross: &[Complex32]) -> (f64, f32) {
        let points = self.half + 1;
        // The sums of real and imaginary part, each times cosine and sine.
        let mut planes = vec![0.0_f32; 4 * points];
        {
            let (real_cosine, rest) = planes.split_at_mut(points);
            let (real_sine, rest) = rest.split_at_mut(points);
            let (imaginary_cosine, imaginary_sine) = rest.split_at_mut(points);
            let tables = self.cosines.chunks_exact(points).zip(self.sines.chunks_exact(points));
            for (z, (cosines, sines)) in cross.iter().zip(tables) {
                for lag in 0..points {
                    real_cosine[lag] += z.re * cosines[lag];
                    real_sine[lag] += z.re * sines[lag];
                    imaginary_cosine[lag] += z.im * cosines[lag];
                    imaginary_sine[lag] += z.im * sines[lag];
                }
            }
        }
        let at = |plane: usize, lag: usize| planes[plane * points + lag];
        let power = |lag: usize, sign: f32| {
            let real = at(0, lag) - sign * at(3, lag);
            let imaginary = sign * at(1, lag) + at(2, lag);
            real * real + imaginary * imaginary
        };
        // The last point of the upper side is not one of the grid, which has an even number of them.
        let lower = (1..points).rev().map(|lag| (power(lag, -1.0), -0.5 * lag as f64));
        let upper = (0..points - 1).map(|lag| (power(lag, 1.0), 0.5 * lag as f64));
        // Where there is no power, there is no delay.
        let (mut best, mut sum, mut logs) = ((0.0, 0.0), 0.0, 0.0);
        for (power, lag) in lower.chain(upper) {
            if power > best.0 {
                best = (power, lag);
            }
            sum += power;
            logs += if power > 0.0 { power * power.ln() } else { 0.0 };
        }
        let entropy = if sum > 0.0 { (sum.ln() - logs / sum) / (2.0 * self.half as f32).ln() } else { 1.0 };
        (best.1, entropy)
    }
}

/// Of length 1; nothing where there is nothing, or no number.
fn direction(z: Complex32) -> Complex32 {
    let largest = z.re.abs().max(z.im.abs());
    if z.is_finite() && largest > 0.0 {
        let scaled = z / largest;
        scaled / (scaled.re * scaled.re + scaled.im * scaled.im).sqrt()
    } else {
        Complex32::default()
    }
}

/// Where the correlation is highest near a lag, and its power there.
fn refine(cross: &[Complex32], lag: f64, longest: f64) -> (f64, f64) {
    let bins = cross.len() as f64;
    let (mut delay, mut power) = (lag, 0.0);
    for _ in 0..NEWTON_STEPS {
        let step = Complex64::cis(TAU * delay / bins);
        let mut phasor = Complex64::cis(-0.5 * TAU * delay);
        let (mut value, mut slope, mut curve) = (Complex64::default(), Complex64::default(), Complex64::default());
        for (k, z) in cross.iter().enumerate() {
            let frequency = k as f64 / bins - 0.5;
            let z = Complex64::new(f64::from(z.re), f64::from(z.im)) * phasor;
            value += z;
            slope += frequency * Complex64::new(-z.im, z.re);
            curve -= frequency * frequency * z;
            phasor *= step;
        }
        power = value.norm_sqr();
        let rise = 2.0 * (slope * value.conj()).re;
        let bend = 2.0 * (slope.norm_sqr() + (curve * value.conj()).re);
        if bend < 0.0 {
            let moved = delay - (rise / (bend * TAU)).clamp(-0.25, 0.25);
            delay = moved.clamp(lag - 0.5, lag + 0.5).clamp(-longest, longest);
        }
    }
    (delay, power)
}
