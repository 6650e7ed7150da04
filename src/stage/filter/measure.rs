//! What the spectrum tells besides the filtered signal: coherence, and the damped high-band energy with its gradient.
//!
//! A filter that measures puts out, for each live frame, one pair of `f32` per window: the weighted sum of the power
//! of all bins, and the plain sum (both of the unscaled discrete Fourier transform, over all bins of the window). From
//! those the functions here make the figures. In block mode a window is the frame; a seamless filter's windows reach
//! into the neighbouring frames, and so do its figures.

use super::{FilterMode, FilterOutput, Measure, PhiResolvent, WindowLayout, filter_kernel};
use crate::error::Result;
use crate::frame::FrameShape;
use crate::recording::{Kernel, Operand, TwinCall, TwinOperand};
use crate::simd::SimdLevel;

/// Coherence of what the pairs were measured on, 0 to 1: `sum R |X|^2 / sum |X|^2`, with R the resolvent of phi the
/// golden ratio and k in radians per sample. `None` where there is no power at all.
///
/// White noise scores 0.332 (`atan(pi sqrt phi) / (pi sqrt phi)`), a slow signal near 1, content in the upper half
/// band under 0.2.
pub fn coherence(powers: &[f32]) -> Option<f64> {
    let (weighted, total) = sums(powers);
    (total > 0.0).then(|| weighted / total)
}

/// Sums of many pairs: (weighted, total).
pub(crate) fn sums(powers: &[f32]) -> (f64, f64) {
    powers
        .chunks_exact(2)
        .fold((0.0, 0.0), |(weighted, total), pair| (weighted + f64::from(pair[0]), total + f64::from(pair[1])))
}

/// The damped high-band energy of a frame and its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct DampedEnergy {
    /// `lambda * mean over bins of |X - R X|^2`, which equals `lambda * sum over samples of |x - R x|^2`.
    pub energy: f64,
    /// The derivative of `energy` with respect to each float of the frame: `2 lambda (1 - R)^2 x`.
    pub gradient: Vec<f32>,
}

/// The damped high-band energy of one frame: a regulariser that asks for smoothness. Block mode, on the CPU.
///
/// In a graph, the same comes from a filter with [`FilterOutput::DampedGradient`] and [`Measure::DampedEnergy`]: the
/// gradient for lambda 1, and the power pairs whose first sum, over the number of bins, is the energy.
///
/// ```
/// use auricle::{FrameShape, PhiResolvent, measure};
/// let flat = measure::damped_energy(&PhiResolvent::default(), FrameShape::real(64), &[1.0; 64], 1.0)?;
/// assert!(flat.energy < 1e-12, "a constant has nothing in the high band");
/// # Ok::<(), auricle::Error>(())
/// ```
pub fn damped_energy(filter: &PhiResolvent, shape: FrameShape, frame: &[f32], lambda: f32) -> Result<DampedEnergy> {
    let filter = PhiResolvent {
        mode: FilterMode::Block,
        measure: Measure::DampedEnergy,
        output: FilterOutput::DampedGradient,
        ..*filter
    };
    let (mut gradient, powers) = filter_one(&filter, shape, frame)?;
    gradient.iter_mut().for_each(|value| *value *= lambda);
    let energy = f64::from(lambda) * sums(&powers).0 / shape.len() as f64;
    Ok(DampedEnergy { energy, gradient })
}

fn filter_one(filter: &PhiResolvent, shape: FrameShape, frame: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
    filter.check(shape)?;
    if frame.len() != shape.floats() {
        return Err(crate::Error::BatchShape {
            input: "frame".to_owned(),
            expected: format!("{} floats", shape.floats()),
            actual: frame.len().to_string(),
        });
    }
    let kernel: Kernel = filter_kernel(filter, shape, WindowLayout::new(filter, shape)?, Operand::Buffer(0));
    let (mut cleaned, mut powers) = (vec![0.0; shape.floats()], vec![0.0; 2]);
    kernel.twin.worker(SimdLevel::detect()).run(&mut TwinCall {
        frames: 1,
        operands: &[TwinOperand::Buffer(frame)],
        results: &mut [&mut cleaned, &mut powers],
    })?;
    Ok((cleaned, powers))
}
