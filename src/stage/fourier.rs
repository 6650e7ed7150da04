//! The transform as a stage of its own, for graphs that do something else with the spectrum than filter it.

use std::f64::consts::TAU;
use std::sync::Arc;

use num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use super::tile::{LARGEST_TILE, USUAL_TILE, VALUES_PER_INVOCATION, in_software, rounded, table, tile_wgsl, twiddles};
use crate::error::{Error, Result};
use crate::frame::{Domain, FrameShape};
use crate::recording::{Kernel, Operand, Twin, TwinCall, TwinWorker, word};
use crate::simd::SimdLevel;

/// What a frame is multiplied by before it is transformed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Taper {
    /// Nothing: all samples count alike.
    #[default]
    Rectangular,
    /// The symmetric Hann window, `0.5 - 0.5 cos(2 pi n / (len - 1))`: strong lines leak less into far bins.
    Hann,
}

/// The discrete Fourier transform of each frame.
///
/// ```text
/// forward   X[k] = sum over n of taper[n] x[n] exp(-2 pi i k n / len)
/// inverse   x[n] = 1/len * sum over k of X[k] exp(+2 pi i k n / len)
/// ```
///
/// # Inputs
/// Frames of 64 to 2048 complex samples, a power of two, of any level: samples, or bins on the way back.
/// # Outputs
/// Frames of the same shape, bins in their natural order: bin `k` is of frequency `k / len` in cycles per sample, from
/// the middle on `k / len - 1`. The relative error against the same sum in f64 is below 1e-6 on every device.
/// # Parameters
/// The way, and for the way there what a frame is multiplied by.
/// # Example
/// ```
/// use auricle::{Engine, EngineOptions, Fourier, FrameShape, Graph, Taper};
///
/// let graph = Graph::new()
///     .input("samples", FrameShape::complex(64))
///     .fourier("bins", "samples", Fourier::Forward(Taper::Rectangular))
///     .fourier("back", "bins", Fourier::Inverse)
///     .output("spectrum", "bins")
///     .output("same", "back");
/// let plan = Engine::open(&EngineOptions::default())?.compile(&graph)?;
///
/// // A turn takes 8 samples: the 64 of them are all in bin 64 / 8.
/// let angles = (0..64).map(|n| std::f32::consts::TAU * n as f32 / 8.0);
/// let samples: Vec<f32> = angles.flat_map(|angle| [angle.cos(), angle.sin()]).collect();
/// let output = plan.run(&[&samples], 1)?;
/// let spectrum = output.dense("spectrum").unwrap_or_default();
/// assert!((spectrum[2 * 8] - 64.0).abs() < 1e-3);
/// let same = output.dense("same").unwrap_or_default();
/// assert!(same.iter().zip(&samples).all(|(back, sample)| (back - sample).abs() < 1e-5));
/// # Ok::<(), auricle::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fourier {
    /// From samples to bins.
    Forward(Taper),
    /// From bins to samples.
    Inverse,
}

impl Fourier {
    pub(crate) fn check(self, shape: FrameShape) -> Result<()> {
        let len = shape.len();
        let is_line = shape.domain() == Domain::Complex && shape.rows() == 1;
        if is_line && len.is_power_of_two() && (64..=LARGEST_TILE).contains(&len) {
            return Ok(());
        }
        let expected = format!("64 to {LARGEST_TILE} complex samples, a power of two");
        Err(Error::setting("frame of a transform", shape, expected))
    }

    pub(crate) fn weights(self, len: usize) -> Vec<f32> {
        let weight = |n: usize| match self {
            Self::Forward(Taper::Rectangular) => 1.0,
            Self::Forward(Taper::Hann) => 0.5 - 0.5 * (TAU * n as f64 / (len - 1) as f64).cos(),
            Self::Inverse => 1.0 / len as f64,
        };
        (0..len).map(weight).map(rounded).collect()
    }

    /// The kernel for frames of this shape, which has been checked. `operand` is what it reads.
    pub(crate) fn kernel(self, shape: FrameShape, operand: Operand) -> Kernel {
        let len = shape.len();
        let tile = len.max(USUAL_TILE);
        // Two frames share each value's address and twiddles wherever both fit.
        let paired = 2 * tile <= LARGEST_TILE;
        let wgsl = if paired {
            tile_wgsl!("two_windows.wgsl", "fourier.wgsl")
        } else {
            tile_wgsl!("one_window.wgsl", "fourier.wgsl")
        };
        let constants = [
            ("WORKGROUP_SIZE", word(tile / VALUES_PER_INVOCATION)),
            ("TILE_LEN", word(tile)),
            ("LEN_LOG2", len.trailing_zeros()),
            ("TWIDDLE_LOG2", len.trailing_zeros()),
            ("INVERSE", u32::from(self == Self::Inverse)),
            ("SIDE_BY_SIDE", u32::from(matches!(operand, Operand::Buffer(_)))),
        ];
        Kernel {
            name: "fourier".to_owned(),
            constants_in_software: in_software(tile),
            wgsl: wgsl.into(),
            entry: "fourier".to_owned(),
            constants: constants.map(|(name, value)| (name.to_owned(), f64::from(value))).to_vec(),
            params: Vec::new(),
            reads_units: true,
            tables: vec![twiddles(len), table("weights", self.weights(len).into_iter().map(f64::from))],
            checked: None,
            items_per_frame: 1,
            items_per_workgroup: word(tile / len * (1 + usize::from(paired))),
            twin: Arc::new(FourierTwin { fourier: self, len }),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct FourierTwin {
    fourier: Fourier,
    len: usize,
}

impl Twin for FourierTwin {
    /// rustfft asks the CPU by itself, so `_level` has no say.
    fn worker(&self, _level: SimdLevel) -> Box<dyn TwinWorker> {
        let mut planner = FftPlanner::new();
        let transform = match self.fourier {
            Fourier::Forward(_) => planner.plan_fft_forward(self.len),
            Fourier::Inverse => planner.plan_fft_inverse(self.len),
        };
        let scratch = vec![Complex32::default(); transform.get_inplace_scratch_len()];
        Box::new(FourierWorker { transform, scratch, weights: self.fourier.weights(self.len) })
    }
}

struct FourierWorker {
    transform: Arc<dyn Fft<f32>>,
    scratch: Vec<Complex32>,
    weights: Vec<f32>,
}

impl TwinWorker for FourierWorker {
    fn run(&mut self, call: &mut TwinCall<'_, '_>) -> Result<()> {
        let floats = 2 * self.weights.len();
        for (index, result) in call.results[0].chunks_exact_mut(floats).enumerate() {
            let source: &[Complex32] = bytemuck::cast_slice(call.operands[0].frame(index, floats));
            let result: &mut [Complex32] = bytemuck::cast_slice_mut(result);
            for ((value, sample), weight) in result.iter_mut().zip(source).zip(&self.weights) {
                *value = sample * weight;
            }
            self.transform.process_with_scratch(result, &mut self.scratch);
        }
        Ok(())
    }
}
