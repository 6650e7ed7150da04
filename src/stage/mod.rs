//! DATA: the stages, in the order in which samples flow through them.

pub mod source;

pub mod gate;

pub mod filter;

pub mod fourier;

pub mod denoise;

pub mod sink;

mod tile;

#[cfg(test)]
mod tests;
