//! Where an emitter is, as far as two receivers can tell: the time difference of arrival.
//!
//! ```text
//! samples of both -> spectra -> policy: mask and whitening of each band -> weights -+
//!                       |                                                          v
//!                       +---------------------------------------> weighted correlation -> delay
//! ```
//!
//! [`DelayEstimator`] is also the example of a graph that somebody builds from transforms of this crate and a kernel of
//! their own. What weights the bins is a choice: none (the phase transform), a classical one ([`weighting`]), or a
//! [`Policy`] that `auricle train policy` has taught by nothing but how well the delays came out.

mod delay;

mod features;

mod policy;

pub mod weighting;

#[cfg(feature = "cli")]
pub(crate) mod bound;

#[cfg(feature = "cli")]
pub(crate) mod emitter;

#[cfg(feature = "cli")]
pub(crate) mod trial;

#[cfg(feature = "cli")]
pub(crate) mod training;

#[cfg(test)]
pub(crate) fn kernel_of_longest_delay() -> crate::recording::Kernel {
    let shape = crate::FrameShape::complex(1024);
    let sources = [shape, shape, crate::FrameShape::real(1024)];
    let compiled = delay::kernel(1024, 256).compile("delay", &sources);
    compiled.expect("our kernel should compile").0
}

pub use delay::{Delay, DelayEstimator, DelayOptions};
pub use policy::{Policy, PolicyDescription};
