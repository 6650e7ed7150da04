//! Baselines: two noise reducers from the textbooks, as measuring sticks for the denoiser.
//!
//! They are not meant to clean anybody's recordings: they learn the noise from the first 0.1 or 0.12 s, which must hold
//! no speech, follow it slowly, and leave musical tones behind. A denoiser that is not clearly better than
//! [`log_mmse`] is not worth its weights.
//!
//! ```text
//! noisy -> frames of 20 ms, half overlapping -> spectrum * gain(power, noise) -> overlap-add
//! ```
//!
//! Both keep the length of the signal and its alignment to the sample; the gain never depends on later frames.

mod frames;

mod exp_integral;

mod log_mmse;

mod spectral_subtraction;

pub use log_mmse::log_mmse;
pub use spectral_subtraction::spectral_subtraction;
