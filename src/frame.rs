//! Frames: the shape of what travels on every edge, and what the gate decides about each.

use crate::error::{Error, Result};

/// `f32` values in the longest frame of any graph: 8 MiB, through which 64 invocations go within the budget of their loops.
const MOST_FLOATS: usize = 1 << 21;

/// Shortest allowed frame, in samples.
pub const SHORTEST_FRAME: usize = 64;
/// Longest allowed frame, in samples.
pub const LONGEST_FRAME: usize = 4096;

/// What one sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// One `f32`.
    Real,
    /// In-phase and quadrature part, two `f32` side by side.
    Complex,
}

impl Domain {
    /// `f32` values in one sample: 1 or 2.
    pub const fn floats_per_sample(self) -> usize {
        match self {
            Self::Real => 1,
            Self::Complex => 2,
        }
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Real => "real",
            Self::Complex => "complex (IQ)",
        })
    }
}

/// The shape of one frame.
///
/// The stages of this crate work on frames of 64 to 4096 samples, a power of two; a custom kernel may take and make frames
/// of any length, from one value to 2,097,152.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameShape {
    domain: Domain,
    rows: usize,
    columns: usize,
}

impl FrameShape {
    /// `len` real samples.
    pub const fn real(len: usize) -> Self {
        Self { domain: Domain::Real, rows: 1, columns: len }
    }

    /// `len` complex samples, so `2 * len` floats.
    pub const fn complex(len: usize) -> Self {
        Self { domain: Domain::Complex, rows: 1, columns: len }
    }

    /// A two-dimensional block, row after row: an image tile, or a piece of a time-frequency plane.
    pub const fn block(domain: Domain, rows: usize, columns: usize) -> Self {
        Self { domain, rows, columns }
    }

    /// What one sample is.
    pub const fn domain(self) -> Domain {
        self.domain
    }

    /// Rows; 1 for a frame in time.
    pub const fn rows(self) -> usize {
        self.rows
    }

    /// Samples in a row; all of them for a frame in time.
    pub const fn columns(self) -> usize {
        self.columns
    }

    /// Samples in a frame.
    pub const fn len(self) -> usize {
        self.rows.saturating_mul(self.columns)
    }

    /// True when a frame has no sample at all.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// `f32` values in a frame.
    pub const fn floats(self) -> usize {
        self.len().saturating_mul(self.domain.floats_per_sample())
    }

    /// Refuses what no graph has room for; says why.
    pub(crate) fn check_size(self) -> Result<(), String> {
        match self.floats() {
            0 => Err("its frames are empty".to_owned()),
            1..=MOST_FLOATS => Ok(()),
            floats => Err(format!("its frames have {floats} floats; {MOST_FLOATS} are the most")),
        }
    }

    /// Refuses what the stages of this crate cannot work on: see the type's documentation.
    pub fn check(self) -> Result<()> {
        let has_sides = self.rows.is_power_of_two() && self.columns.is_power_of_two();
        let in_range = (SHORTEST_FRAME..=LONGEST_FRAME).contains(&self.len());
        if has_sides && in_range && (self.rows == 1 || self.columns >= 2) {
            return Ok(());
        }
        let lengths = "64, 128, 256, 512, 1024, 2048 or 4096";
        let expected = match self.rows {
            1 => format!("it must be {lengths}"),
            _ => format!("a block must have power-of-two sides, at least 2 columns and {lengths} samples in all"),
        };
        Err(Error::setting("the frame length", self, expected))
    }
}

impl std::fmt::Display for FrameShape {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let complex = if self.domain == Domain::Complex { " complex" } else { "" };
        match self.rows {
            1 => write!(formatter, "{}{complex}", self.columns),
            rows => write!(formatter, "{rows} x {}{complex}", self.columns),
        }
    }
}

/// What the gate decided about a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FrameState {
    /// Nothing above the threshold, and no hold.
    #[default]
    Quiet,
    /// Loud, or held because a loud frame came shortly before.
    Live,
    /// It holds a NaN or an infinity.
    Faulty,
}

/// What becomes of quiet frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quiet {
    /// They come out as zeros.
    #[default]
    Zero,
    /// They come out as they went in.
    Pass,
}

/// What happens when a frame holds a NaN or an infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Faulty {
    /// The run fails with [`crate::Error::FaultyFrame`]; nothing is changed.
    #[default]
    Reject,
    /// It is counted, and comes out as zeros.
    Silence,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_refused_is_told_what_it_lacks() {
        FrameShape::block(Domain::Real, 32, 2).check().expect("two columns are enough");
        let error = FrameShape::block(Domain::Real, 64, 1).check().expect_err("one is not").to_string();
        assert!(error.contains("64 x 1") && error.contains("at least 2 columns"), "{error}");
    }
}
