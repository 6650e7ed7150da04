//! How a frame is cut into windows: each is transformed as a whole, and its middle part is kept.
//!
//! ```text
//! Block      | frame |                     one window, all of it kept
//! Seamless   ... previous | frame | next ...
//!                   |m[ hop ]m|            m: margin, read on both sides and thrown away
//!                        |m[ hop ]m|       the hops of a frame's windows make up the frame
//! ```
//!
//! The filter's impulse response never ends: at Nyquist the response, continued periodically, has a kink, which makes
//! a tail that falls as 1 / n^2, and a large phi makes an exponential one. What the windows of a layout miss of it, or
//! bring in from their other end, is its error, as a share of the response's root energy: the shortest windows are
//! taken whose error is at most `WANTED`, else the best ones, if theirs is at most `TOLERATED`.

use rustfft::FftPlannerScalar;
use rustfft::num_complex::Complex;

use super::{FilterOutput, PhiResolvent};
use crate::error::{Error, Result};
use crate::frame::{FrameShape, LONGEST_FRAME};

/// Half the promised 1e-4: an error is what white noise gives on average, and a short signal can fare worse.
const WANTED: f64 = 0.5e-4;
/// Of frames so short that a window sees no farther than their neighbours, however long it is.
const TOLERATED: f64 = 0.8e-4;
/// Frames from which on the damped gradient has a layout for every phi up to the one that is too large.
const LENGTH_FOR_GRADIENT: usize = 512;
/// Length at which the impulse response is sampled: far longer than any margin that is accepted.
const PROBE_LEN: usize = 1 << 15;

/// All in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowLayout {
    /// Length of the transform.
    pub(crate) window_len: usize,
    pub(crate) windows_per_frame: usize,
    pub(crate) hop: usize,
    pub(crate) margin: usize,
}

impl WindowLayout {
    pub(crate) fn new(filter: &PhiResolvent, shape: FrameShape) -> Result<Self> {
        let len = shape.len();
        if filter.mode == super::FilterMode::Block {
            return Ok(Self { window_len: len, windows_per_frame: 1, hop: len, margin: 0 });
        }
        if shape.rows() > 1 {
            return Err(Error::setting("the filter's mode", "Seamless", "two-dimensional blocks need `Block`"));
        }
        let tails = Tails::of(filter);
        Self::best(&tails, len).ok_or_else(|| refusal(filter, len, tails.reach()))
    }

    /// The layout for frames of `len`, if there is one.
    fn best(tails: &Tails, len: usize) -> Option<Self> {
        let candidates = [(len, len / 2), (2 * len, len), (4 * len, len)];
        let mut layouts = Vec::new();
        for (window_len, hop) in candidates.into_iter().filter(|(window_len, _)| *window_len <= LONGEST_FRAME) {
            let layout = Self { window_len, windows_per_frame: len / hop, hop, margin: (window_len - hop) / 2 };
            layouts.push((tails.error_of(&layout, len), layout));
        }
        let wanted = layouts.iter().find(|(error, _)| *error <= WANTED);
        let best = layouts.iter().min_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(error, _)| *error <= TOLERATED);
        wanted.or(best).map(|(_, layout)| *layout)
    }
}

/// Why frames of `len` have no layout, and what would mend it.
fn refusal(filter: &PhiResolvent, len: usize, reach: usize) -> Error {
    let is_mended = |digits: i32| {
        let milder = PhiResolvent { phi: filter.phi * 10_f64.powi(-digits), ..*filter };
        WindowLayout::best(&Tails::of(&milder), len).is_some()
    };
    // What reaches too far may come from the kink at Nyquist, and no smaller phi makes that milder.
    let is_short = filter.output == FilterOutput::DampedGradient && len < LENGTH_FOR_GRADIENT;
    if is_short && !(1..=9).any(is_mended) {
        let expected = format!(
            "frames of {len} are too short for the gradient of a seamless filter: use longer frames or block mode"
        );
        return Error::setting("the filter's phi", filter.phi, expected);
    }
    // No window is wider than those of such frames.
    let longer = if 4 * len < LONGEST_FRAME { "longer frames, " } else { "" };
    let expected = format!(
        "in this unit of k a seamless filter then reaches {reach} samples to each side, too far for frames of {len}: \
         use {longer}a smaller phi, or block mode"
    );
    Error::setting("the filter's phi", filter.phi, expected)
}

/// How much of the impulse response's energy lies far out.
struct Tails {
    /// For each n, the share of the energy at n or beyond, on one side.
    beyond: Vec<f64>,
}

impl Tails {
    fn of(filter: &PhiResolvent) -> Self {
        let response = impulse_response(filter);
        let energy: f64 = response.iter().map(|value| value * value).sum();
        let mut beyond = vec![0.0; PROBE_LEN / 2 + 1];
        for n in (0..PROBE_LEN / 2).rev() {
            beyond[n] = beyond[n + 1] + response[n] * response[n] / energy;
        }
        Self { beyond }
    }

    fn share(&self, from: usize) -> f64 {
        self.beyond[from.min(self.beyond.len() - 1)]
    }

    /// Relative error of a frame of white noise, root mean square. Samples beyond the neighbouring frames read as
    /// zeros, so a window sees no farther than those.
    fn error_of(&self, layout: &WindowLayout, frame_len: usize) -> f64 {
        let at = |position: usize| {
            // From the start of the previous frame.
            let window = frame_len + position / layout.hop * layout.hop;
            let begin = window.saturating_sub(layout.margin);
            let end = (window + layout.window_len - layout.margin).min(3 * frame_len);
            let (before, after) = (frame_len + position - begin, end - frame_len - position - 1);
            let missed = self.share(before + 1) + self.share(after + 1);
            let wrapped = self.share(layout.window_len - before) + self.share(layout.window_len - after);
            missed + wrapped
        };
        ((0..frame_len).map(at).sum::<f64>() / frame_len as f64).sqrt()
    }

    /// The distance beyond which, on either side, no more lies than is tolerated.
    fn reach(&self) -> usize {
        self.beyond.partition_point(|share| 2.0 * share > WANTED * WANTED)
    }
}

/// The inverse transform of the response, which is real and even. The same whatever instructions the CPU has, as the layout is.
fn impulse_response(filter: &PhiResolvent) -> Vec<f64> {
    let bins = (0..PROBE_LEN).map(|k| {
        let cycles = k.min(PROBE_LEN - k) as f64 / PROBE_LEN as f64;
        Complex::from(filter.multiplier(0.0, cycles))
    });
    let mut spectrum: Vec<Complex<f64>> = bins.collect();
    FftPlannerScalar::new().plan_fft_inverse(PROBE_LEN).process(&mut spectrum);
    spectrum.into_iter().map(|value| value.re / PROBE_LEN as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::filter::{FilterMode, GOLDEN_RATIO, Wavenumber};

    const LENGTHS: [usize; 7] = [64, 128, 256, 512, 1024, 2048, 4096];

    #[test]
    fn default_filter_needs_less_than_the_shortest_frame() {
        for wavenumber in [Wavenumber::Cycles, Wavenumber::Nyquist, Wavenumber::Radians] {
            let filter = PhiResolvent { wavenumber, ..PhiResolvent::default() };
            for len in LENGTHS {
                let layout =
                    WindowLayout::new(&filter, FrameShape::real(len)).expect("every length should have a layout");
                assert_eq!(layout.hop * layout.windows_per_frame, len, "hops make up the frame of {len}");
                assert!(layout.window_len <= LONGEST_FRAME, "a window of {} fits", layout.window_len);
            }
        }
    }

    #[test]
    fn the_damped_gradient_has_a_layout_from_its_length_on() {
        for wavenumber in [Wavenumber::Cycles, Wavenumber::Nyquist, Wavenumber::Radians] {
            for phi in [1e-12, 1e-6, 1e-3, 0.1, GOLDEN_RATIO, 10.0, 100.0, 1000.0] {
                let filter =
                    PhiResolvent { phi, wavenumber, output: FilterOutput::DampedGradient, ..PhiResolvent::default() };
                for len in LENGTHS.into_iter().filter(|len| *len >= LENGTH_FOR_GRADIENT) {
                    let layout = WindowLayout::new(&filter, FrameShape::real(len));
                    assert!(layout.is_ok(), "phi {phi}, {wavenumber:?}, frames of {len}: {layout:?}");
                }
            }
        }
    }

    #[test]
    fn a_huge_phi_is_refused_with_the_mend() {
        let filter = PhiResolvent { phi: 1e12, ..PhiResolvent::default() };
        let error = WindowLayout::new(&filter, FrameShape::real(1024)).expect_err("nothing reaches that far");
        assert!(error.to_string().contains("block mode"), "{error}");
        let block = PhiResolvent { mode: FilterMode::Block, ..filter };
        assert!(WindowLayout::new(&block, FrameShape::real(1024)).is_ok(), "block mode has no margin");
    }
}
