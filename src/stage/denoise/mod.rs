//! The denoiser: a recurrent network that looks at the spectrum of each window of a channel, and says how much of
//! every bin is signal.
//!
//! ```text
//! samples -> window -> part (features -> layers -> mask -> masked window), one or more -> window -> overlap-add
//! ```

pub mod model;

mod check;

mod cost;

mod file;

mod error;

pub(crate) mod network;

pub(crate) mod twin;

pub use network::Precision;
