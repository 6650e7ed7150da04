//! What the denoiser's tests share with those of the whole crate: small models, and their definition in f64.

use crate::simd::tests::signals;

#[path = "../../../tests/denoise_oracle.rs"]
pub(crate) mod denoise_oracle;

#[path = "../../../tests/denoise_models.rs"]
pub(crate) mod denoise_models;
