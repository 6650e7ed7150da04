//! Max-abs gate: finds the frames that hold a signal, so that later stages work on those only.
//!
//! The decision is made on the bits of the samples, as integers: without its sign bit, a float's bits order as its
//! value does, with infinity above all numbers and NaN above infinity. That is what makes the decisions of every
//! device equal to the bit, and what lets no NaN slip through a comparison.

use std::ops::Range;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::frame::{Faulty, FrameState, Quiet};
use crate::recording::GateStep;
use crate::recording::batch::{Batch, CONTEXT_LEN, LONG_AGO};
use crate::simd::SimdLevel;
use crate::simd::max_abs_bits;

/// The kernels of the gate: `max_abs_gate` and `compact_live`.
pub(crate) const WGSL: &str = concat!(
    include_str!("../../shaders/dispatch.wgsl"),
    include_str!("../../shaders/frames.wgsl"),
    include_str!("../../shaders/gate.wgsl")
);

/// In the kernel's parameters: every finite frame is loud.
pub(crate) const ALWAYS_LOUD: u32 = u32::MAX;
const INFINITY_BITS: u32 = f32::INFINITY.to_bits();
/// Frames that can be held live after the last loud one.
const LONGEST_HOLD: u32 = 1_000_000;

/// When a frame is loud.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// When its loudest sample is strictly above this; linear, 1.0 is full scale. For IQ, each part counts by itself.
    Linear(f32),
    /// The same in decibels below full scale: -60 is 0.001.
    Decibels(f32),
    /// Always, if it is finite.
    Off,
}

impl FromStr for Threshold {
    type Err = Error;

    /// Reads `0.001`, `-60dB`, `-60 dBFS` or `off`.
    fn from_str(text: &str) -> Result<Self> {
        let lower = text.trim().to_ascii_lowercase();
        if lower == "off" {
            return Ok(Self::Off);
        }
        let decibels = lower.strip_suffix("dbfs").or_else(|| lower.strip_suffix("db"));
        let number: Option<f32> = decibels.unwrap_or(&lower).trim().parse().ok();
        match (number, decibels) {
            (Some(number), Some(_)) if number.is_finite() => Ok(Self::Decibels(number)),
            (Some(number), None) if number.is_finite() && number >= 0.0 => Ok(Self::Linear(number)),
            _ => Err(Error::setting(
                "the gate's threshold",
                format!("`{text}`"),
                "give a level such as 0.001, -60dB or off",
            )),
        }
    }
}

/// The max-abs gate: a frame is live when `max |x| > threshold`, or when one of the `hold` frames before it was.
///
/// # Inputs
/// Frames of any allowed shape, full scale 1.0.
/// # Outputs
/// The live frames, unchanged. The other nodes of the graph run on live frames only.
/// # Parameters
/// See the fields. Every sample is looked at: there are no false negatives, and the decisions are the same to the bit
/// on every device.
/// # Example
/// ```
/// use auricle::{Gate, Threshold};
/// let gate = Gate { threshold: Threshold::Decibels(-60.0), hold: 2, ..Gate::default() };
/// # assert_eq!(gate.hold, 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// When a frame is loud. 0.001 unless set.
    pub threshold: Threshold,
    /// Frames that stay live after the last loud one. 0 unless set.
    pub hold: u32,
    /// What becomes of quiet frames.
    pub quiet: Quiet,
    /// What becomes of frames with a NaN or an infinity.
    pub faulty: Faulty,
}

impl Default for Gate {
    fn default() -> Self {
        Self { threshold: Threshold::Linear(0.001), hold: 0, quiet: Quiet::Zero, faulty: Faulty::Reject }
    }
}

impl Gate {
    /// Refuses a threshold that is negative or not a number, and a hold of more than 1,000,000 frames.
    pub fn check(&self) -> Result<()> {
        let linear = match self.threshold {
            Threshold::Linear(linear) => linear,
            Threshold::Decibels(decibels) => linear_from_decibels(decibels),
            Threshold::Off => 0.0,
        };
        if !linear.is_finite() || linear < 0.0 {
            let expected = "it must be a finite level of 0 or more (linear), or one in dBFS";
            return Err(Error::setting("the gate's threshold", format!("{:?}", self.threshold), expected));
        }
        if self.hold > LONGEST_HOLD {
            return Err(Error::setting("the gate's hold", self.hold, "at most 1,000,000 frames can be held"));
        }
        Ok(())
    }

    /// The threshold as the bits of a float, for comparison with the bits of a peak.
    fn threshold_bits(&self) -> u32 {
        match self.threshold {
            Threshold::Linear(linear) => linear.abs().to_bits(),
            Threshold::Decibels(decibels) => linear_from_decibels(decibels).to_bits(),
            Threshold::Off => ALWAYS_LOUD,
        }
    }

    /// What devices run of it.
    pub(crate) fn step(&self, node: &str, input: usize) -> GateStep {
        GateStep {
            node: node.to_owned(),
            input,
            threshold_bits: self.threshold_bits(),
            hold: self.hold,
            quiet: self.quiet,
            faulty: self.faulty,
        }
    }
}

/// Whether there is a NaN or an infinity among samples of this largest magnitude.
pub(crate) fn is_faulty(peak_bits: u32) -> bool {
    peak_bits >= INFINITY_BITS
}

/// What a frame of this largest magnitude is by itself.
pub(crate) fn state_from_peak(peak_bits: u32, threshold_bits: u32) -> FrameState {
    match peak_bits {
        INFINITY_BITS.. => FrameState::Faulty,
        _ if threshold_bits == ALWAYS_LOUD || peak_bits > threshold_bits => FrameState::Live,
        _ => FrameState::Quiet,
    }
}

/// The CPU twin. Decides the frames `rows` of one channel, counted with the context before the batch; returns how
/// far the last loud frame lies before the one after them: 1 when the last of `rows` is loud itself. States of context
/// frames come from the history.
///
/// Frames before `rows` are looked at again as far back as `hold` reaches, so that any piece of a batch can be
/// decided by itself, by whichever thread gets it.
pub(crate) fn decide(
    step: &GateStep,
    level: SimdLevel,
    batch: &Batch<'_>,
    channel: usize,
    rows: Range<usize>,
    states: &mut Vec<FrameState>,
) -> u32 {
    let first_new = rows.start.max(CONTEXT_LEN);
    states.extend((rows.start..rows.end.min(CONTEXT_LEN)).map(|row| batch.context_state(channel, row)));
    let reach = usize::try_from(step.hold).unwrap_or(usize::MAX);
    let begin = first_new.saturating_sub(reach).max(CONTEXT_LEN);
    let mut since_loud = match begin {
        CONTEXT_LEN => batch.since_loud(channel),
        _ => LONG_AGO,
    };
    for row in begin..rows.end {
        let state = hold(step, &mut since_loud, loudness(step, level, batch, channel, row));
        if row >= first_new {
            states.push(state);
        }
    }
    since_loud
}

/// What a new frame is by itself, without any hold.
pub(crate) fn loudness(step: &GateStep, level: SimdLevel, batch: &Batch<'_>, channel: usize, row: usize) -> FrameState {
    let frame = batch.frame(step.input, channel, row).unwrap_or(&[]);
    state_from_peak(max_abs_bits(level, frame), step.threshold_bits)
}

/// What the next frame becomes: a quiet one stays live when the last loud one is not farther behind than the hold.
pub(crate) fn hold(step: &GateStep, since_loud: &mut u32, state: FrameState) -> FrameState {
    let held = state == FrameState::Quiet && *since_loud <= step.hold;
    let behind = if state == FrameState::Live { 0 } else { *since_loud };
    *since_loud = behind.saturating_add(1).min(LONG_AGO);
    if held { FrameState::Live } else { state }
}

fn linear_from_decibels(decibels: f32) -> f32 {
    // In f64, so that -60 dBFS is exactly the f32 nearest to 0.001.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is wanted")]
    let linear = 10_f64.powf(f64::from(decibels) / 20.0) as f32;
    linear
}

/// Parameters of both kernels; the WGSL struct has the same name and fields.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct GateParams {
    pub(crate) frames: u32,
    pub(crate) row_len: u32,
    pub(crate) context_len: u32,
    pub(crate) emit_begin: u32,
    pub(crate) emit_end: u32,
    pub(crate) frame_quads: u32,
    pub(crate) threshold_bits: u32,
    pub(crate) hold: u32,
    pub(crate) quiet_neighbours: u32,
    pub(crate) dispatches: u32,
}
