//! Changes the sample rate of one channel, piece by piece: around a network that knows one rate only.
//!
//! ```text
//! push -> a block of the input -> FFT, low-pass, inverse FFT (rubato) -> what the filter is late by is dropped -> out
//! ```
//!
//! Rates are whole numbers, and their ratio is kept exactly, however long the signal is. Blocks have an even length at
//! both rates: the filter's delay is then a whole number of samples at both, and output sample `n` stands exactly at
//! time `n / to_hz`. A sinc without blocks would wait for less, at 480 multiply-adds per output sample from 48 to 16 kHz,
//! and with a table of 280 KB for every channel at 44.1 kHz.

use std::time::Duration;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use crate::{Error, Result};

/// Taps of the low-pass at the lower rate, at least. With a Blackman-Harris window their transition takes the band from
/// 0.9 to 1.0 of the lower Nyquist frequency.
const TAPS: u32 = 160;

/// The longest block; above it the rates have hardly anything in common, and the delay and the tables of every channel
/// would be long as well.
const LONGEST_BLOCK: u64 = 1 << 14;

/// A streaming resampler for one channel.
///
/// # Quality
/// Up to 0.9 of the lower of the two Nyquist frequencies the level is kept within 0.1 dB; what would alias, or what an
/// image would leave, is at least 80 dB down.
///
/// # Alignment and length
/// Output sample `n` belongs to time `n / to_hz`: no delay has to be trimmed. `len` samples give exactly
/// [`output_len`](Self::output_len)`(len)`, which is `ceil(len * to_hz / from_hz)`. The way there and back therefore
/// gives at least the length one started with; what is above it is cut off.
///
/// # Parameters
/// How the input is cut into pushes changes nothing, to the bit. A NaN or an infinity spoils up to two blocks around it:
/// let the gate deal with those first.
///
/// # Example
/// ```
/// use auricle::resample::Resampler;
///
/// let recording: Vec<f32> = (0..48_000).map(|n| (n as f32 * 0.05).sin()).collect();
/// let (mut down, mut up) = (Resampler::new(48_000, 16_000)?, Resampler::new(16_000, 48_000)?);
/// let (mut slow, mut back) = (Vec::new(), Vec::new());
/// for piece in recording.chunks(1000) {
///     down.push(piece, &mut slow);
/// }
/// down.finish(&mut slow);
/// assert_eq!(slow.len(), 16_000);
///
/// up.push(&slow, &mut back);
/// up.finish(&mut back);
/// back.truncate(recording.len());
/// assert!((back[24_000] - recording[24_000]).abs() < 1e-3);
/// # Ok::<(), auricle::Error>(())
/// ```
#[derive(Debug)]
pub struct Resampler {
    from_hz: u32,
    to_hz: u32,
    /// None where the two rates are the same.
    blocks: Option<Blocks>,
    pushed: u64,
    given: u64,
}

impl Resampler {
    /// A resampler between two rates, in samples per second.
    ///
    /// # Errors
    /// [`Error::Setting`] when a rate is 0, or when the two have so little in common that a block would be longer than
    /// 16,384 samples (44,100 and 44,101, say).
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self> {
        let block_len = checked_block_len(from_hz, to_hz)?;
        let blocks = block_len.map(|block_len| Blocks::new(from_hz, to_hz, block_len)).transpose()?;
        Ok(Self { from_hz, to_hz, blocks, pushed: 0, given: 0 })
    }

    /// Takes the next samples, and appends to `out` what is ready. Nothing is allocated here but what `out` needs to
    /// grow.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.pushed += samples.len() as u64;
        let before = out.len();
        match &mut self.blocks {
            None => out.extend_from_slice(samples),
            Some(blocks) => blocks.push(samples, out),
        }
        self.given += (out.len() - before) as u64;
    }

    /// Appends what is still to come, as if silence followed, so that all output together has its due length. The
    /// resampler is then as new.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let missing = self.output_len(self.pushed) - self.given;
        if let Some(blocks) = &mut self.blocks {
            blocks.flush(missing, out);
        }
        (self.pushed, self.given) = (0, 0);
    }

    /// Samples that come out for `len` samples that go in: `ceil(len * to_hz / from_hz)`.
    #[must_use]
    pub fn output_len(&self, len: u64) -> u64 {
        let exact = (u128::from(len) * u128::from(self.to_hz)).div_ceil(u128::from(self.from_hz));
        u64::try_from(exact).unwrap_or(u64::MAX)
    }

    /// How long a sample may wait inside, at most: one and a half blocks. That is 15 ms between 48 and 16 kHz, 30 ms
    /// between 44.1 or 8 and 16 kHz, 120 ms between 11.025 and 16 kHz, and nothing where the rates are the same.
    #[must_use]
    pub fn latency(&self) -> Duration {
        latency_of(self.blocks.as_ref().map(|blocks| blocks.input.len()), self.from_hz)
    }
}

/// [`Resampler::latency`] of a resampler between two rates, without making one.
///
/// # Errors
/// As [`Resampler::new`].
pub(crate) fn latency_between(from_hz: u32, to_hz: u32) -> Result<Duration> {
    Ok(latency_of(checked_block_len(from_hz, to_hz)?, from_hz))
}

/// One and a half blocks; nothing without blocks.
fn latency_of(block_len: Option<usize>, from_hz: u32) -> Duration {
    let block_s = |block_len: usize| block_len as f64 / f64::from(from_hz);
    Duration::from_secs_f64(1.5 * block_len.map_or(0.0, block_s))
}

/// The work, block by block.
#[derive(Debug)]
struct Blocks {
    fft: Fft<f32>,
    input: Vec<f32>,
    /// Samples of `input` that are there.
    filled: usize,
    output: Vec<f32>,
    /// Samples at the start that are only the filter's delay.
    delay: usize,
    to_drop: usize,
}

impl Blocks {
    fn new(from_hz: u32, to_hz: u32, input_len: usize) -> Result<Self> {
        let (from, to) = (from_hz as usize, to_hz as usize);
        let window = WindowFunction::BlackmanHarris;
        let fft = Fft::new_custom(from, to, input_len, 1, 1, window, FixedSync::Both)
            .map_err(|error| Error::setting("sample rate", format!("{from_hz} to {to_hz} Hz"), error.to_string()))?;
        let (input, output) = (vec![0.0; fft.input_frames_next()], vec![0.0; fft.output_frames_next()]);
        let delay = output.len() / 2;
        Ok(Self { fft, input, filled: 0, output, delay, to_drop: delay })
    }

    fn push(&mut self, mut samples: &[f32], out: &mut Vec<f32>) {
        while !samples.is_empty() {
            let count = samples.len().min(self.input.len() - self.filled);
            let (now, later) = samples.split_at(count);
            self.input[self.filled..self.filled + count].copy_from_slice(now);
            self.filled += count;
            samples = later;
            if self.filled == self.input.len() {
                self.convert();
                out.extend_from_slice(&self.output[self.to_drop..]);
                (self.filled, self.to_drop) = (0, 0);
            }
        }
    }

    /// Exactly `missing` more samples; then everything is forgotten.
    fn flush(&mut self, missing: u64, out: &mut Vec<f32>) {
        let mut missing = usize::try_from(missing).unwrap_or(usize::MAX);
        while missing > 0 {
            self.input[self.filled..].fill(0.0);
            self.convert();
            let ready = &self.output[self.to_drop..];
            let count = ready.len().min(missing);
            out.extend_from_slice(&ready[..count]);
            missing -= count;
            (self.filled, self.to_drop) = (0, 0);
        }
        self.fft.reset();
        (self.filled, self.to_drop) = (0, self.delay);
    }

    #[expect(clippy::expect_used, reason = "the blocks have the lengths that the transform asked for")]
    fn convert(&mut self) {
        let (input_len, output_len) = (self.input.len(), self.output.len());
        let input = InterleavedSlice::new(&self.input, 1, input_len).expect("one channel should fit");
        let mut output = InterleavedSlice::new_mut(&mut self.output, 1, output_len).expect("one channel should fit");
        self.fft.process_into_buffer(&input, &mut output, None).expect("blocks should have the right lengths");
    }
}

/// Samples of the input in a block; none where the two rates are the same.
fn checked_block_len(from_hz: u32, to_hz: u32) -> Result<Option<usize>> {
    if from_hz == 0 || to_hz == 0 {
        return Err(Error::setting("sample rate", 0, "it has to be above 0"));
    }
    (from_hz != to_hz).then(|| block_len(from_hz, to_hz)).transpose()
}

/// Samples of the input in a block between two rates that differ: even at both, with enough taps at the lower one.
fn block_len(from_hz: u32, to_hz: u32) -> Result<usize> {
    let common = greatest_common_divisor(from_hz, to_hz);
    let (from, to) = (u64::from(from_hz / common), u64::from(to_hz / common));
    let both_even = if from % 2 == 0 && to % 2 == 0 { 1 } else { 2 };
    let units = u64::from(TAPS).div_ceil(from.min(to)).next_multiple_of(both_even);
    if units * from.max(to) > LONGEST_BLOCK {
        let rates = format!("{from_hz} to {to_hz} Hz");
        return Err(Error::setting(
            "sample rate",
            rates,
            "the two rates need a larger common divisor (as 44,100 and 16,000 have); bring the signal to a common rate first",
        ));
    }
    Ok(usize::try_from(units * from).unwrap_or(usize::MAX))
}

pub(crate) fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_the_latency_beforehand_is_that_of_the_resampler() {
        let rates_hz = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000];
        for (from_hz, to_hz) in rates_hz.iter().flat_map(|from| rates_hz.iter().map(move |to| (*from, *to))) {
            let resampler = Resampler::new(from_hz, to_hz).expect("the rates should be possible");
            let latency = latency_between(from_hz, to_hz).expect("the rates should be possible");
            assert_eq!(latency, resampler.latency(), "{from_hz} to {to_hz} Hz");
        }
        for (from_hz, to_hz) in [(0, 16_000), (16_000, 0), (0, 0), (44_100, 44_101)] {
            let refused = Resampler::new(from_hz, to_hz).expect_err("no such rates").to_string();
            let error = latency_between(from_hz, to_hz).expect_err("no such rates").to_string();
            assert_eq!(error, refused, "{from_hz} to {to_hz} Hz");
        }
    }
}
