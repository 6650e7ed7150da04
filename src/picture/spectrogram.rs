//! A spectrogram that is fed while a signal streams past, in bounded memory.
//!
//! ```text
//! push -> windows, evenly spaced -> Hann, FFT -> power -> mean per column -> columns
//!                                                                            merge in pairs
//! ```
//!
//! A column covers `column_span` samples, a power of two. At [`COLUMN_LIMIT`] columns, neighbours
//! are averaged in pairs and the span doubles. So a signal of any length ends with one to two
//! thousand columns (or fewer: one per sample, when it is that short) and a few MB of memory.
//!
//! Long signals are sampled, not read in full: a column takes at most [`WINDOWS_PER_COLUMN`]
//! windows, so past a span of eight window lengths the samples between two windows are skipped,
//! and a click there does not show. That keeps the cost of any file below about 0.2 s.

use crate::frame::Domain;
use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::num_traits::Zero as _;
use rustfft::{Fft, FftPlanner};

/// Columns merge in pairs when there are this many. Even, so that a merge leaves none over.
const COLUMN_LIMIT: usize = 2200;

/// The most windows that one column averages. A power of two, as the spans are.
const WINDOWS_PER_COLUMN: usize = 8;

/// How long a window of a real signal should be; the lengths that exist come as near as they can.
const WINDOW_S: f64 = 0.032;

/// The window of an IQ signal, and of one whose rate is unknown.
const DEFAULT_WINDOW_LEN: usize = 512;

/// The power of a signal over time and frequency, gathered while the signal streams past.
///
/// Powers are relative to full scale: a sine (real) or a complex tone of amplitude 1 has power 1,
/// that is 0 dBFS, in its strongest bin. Noise spreads over the bins and reads lower in each; a
/// constant in a real signal reads 6 dB higher, since it is its own mirror image.
/// Samples that are not finite count as zero.
pub struct Spectrogram {
    sample_rate_hz: Option<f64>,
    domain: Domain,
    /// Hann, scaled so that a tone of amplitude 1 gives power 1.
    window: Vec<f32>,
    transform: Arc<dyn Fft<f32>>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,

    /// The floats of the next window that have arrived.
    pending: Vec<f32>,
    /// Floats still to drop before the next window begins; `pending` is empty while there are any.
    skip_len: usize,
    float_count: u64,

    /// Samples per column.
    column_span: usize,
    /// The middle of the next window, in samples from the start of the signal.
    window_centre: usize,
    /// The sums of the column that is being filled, and of how many windows.
    open_column: Vec<f32>,
    open_windows: usize,
    /// Mean powers, column after column, lowest frequency first.
    columns: Vec<f32>,
    is_finished: bool,
}

impl fmt::Debug for Spectrogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spectrogram")
            .field("sample_rate_hz", &self.sample_rate_hz)
            .field("domain", &self.domain)
            .field("window_len", &self.window.len())
            .field("sample_count", &self.sample_count())
            .field("column_span", &self.column_span)
            .finish_non_exhaustive()
    }
}

impl Spectrogram {
    /// An empty spectrogram.
    ///
    /// A `sample_rate_hz` that is not a positive number counts as unknown. `total_samples` is a
    /// hint that saves transforms: the picture is as good without it, as on a pipe, but a length
    /// far beyond the real one makes it coarse, so pass `None` when in doubt.
    pub fn new(sample_rate_hz: Option<f64>, domain: Domain, total_samples: Option<u64>) -> Self {
        let sample_rate_hz = sample_rate_hz.filter(|rate| rate.is_finite() && *rate > 0.0);
        let window_len = window_len(sample_rate_hz, domain);
        let transform = FftPlanner::new().plan_fft_forward(window_len);
        let bin_count = match domain {
            Domain::Real => window_len / 2 + 1,
            Domain::Complex => window_len,
        };
        let mut spectrogram = Self {
            sample_rate_hz,
            domain,
            window: scaled_hann(window_len, domain),
            spectrum: vec![Complex32::zero(); window_len],
            scratch: vec![Complex32::zero(); transform.get_inplace_scratch_len()],
            transform,
            // The first windows are centred so early that they begin before the signal does.
            pending: vec![0.0; window_len / 2 * domain.floats_per_sample()],
            skip_len: 0,
            float_count: 0,
            column_span: column_span(total_samples.unwrap_or(0)),
            window_centre: 0,
            open_column: vec![0.0; bin_count],
            open_windows: 0,
            columns: Vec::new(),
            is_finished: false,
        };
        spectrogram.advance_to(spectrogram.window_spacing() / 2);
        spectrogram
    }

    /// Takes the next samples of the signal, in blocks of any length.
    ///
    /// Complex samples are interleaved; a block may end between the two parts of one.
    ///
    /// # Panics
    ///
    /// In debug builds, after [`Self::finish`].
    pub fn push(&mut self, mut samples: &[f32]) {
        debug_assert!(!self.is_finished, "a finished spectrogram takes no samples");
        let window_floats = self.window.len() * self.domain.floats_per_sample();
        self.float_count += samples.len() as u64;
        while !samples.is_empty() {
            let skipped = self.skip_len.min(samples.len());
            self.skip_len -= skipped;
            samples = &samples[skipped..];

            let wanted = (window_floats - self.pending.len()).min(samples.len());
            self.pending.extend_from_slice(&samples[..wanted]);
            samples = &samples[wanted..];
            if self.pending.len() == window_floats {
                self.take_window();
            }
        }
    }

    /// Ends the signal: completes the windows that reach past its end with zeros.
    pub fn finish(&mut self) {
        if self.is_finished {
            return;
        }
        self.is_finished = true;
        let window_floats = self.window.len() * self.domain.floats_per_sample();
        // A hint far too large leaves even the first window's middle past the end.
        let is_blank = self.columns.is_empty() && self.open_windows == 0;
        let mut is_due = is_blank && self.sample_count() > 0;
        while is_due || (self.window_centre as u64) < self.sample_count() {
            is_due = false;
            self.pending.resize(window_floats, 0.0);
            self.take_window();
        }
        if self.open_windows > 0 {
            self.close_column();
        }
    }

    /// Samples seen so far; half a complex sample does not count.
    pub(super) fn sample_count(&self) -> u64 {
        self.float_count / self.domain.floats_per_sample() as u64
    }

    pub(super) fn sample_rate_hz(&self) -> Option<f64> {
        self.sample_rate_hz
    }

    /// The lowest and the highest frequency, as fractions of the sample rate.
    pub(super) fn frequency_range(&self) -> (f64, f64) {
        match self.domain {
            Domain::Real => (0.0, 0.5),
            Domain::Complex => (-0.5, 0.5),
        }
    }

    /// How many bins fit between the two ends of [`Self::frequency_range`].
    ///
    /// Bin 0 is centred on the lower end, so a frequency at fraction `x` of the range lies at
    /// `x * bin_extent` bins from the centre of bin 0.
    pub(super) fn bin_extent(&self) -> usize {
        match self.domain {
            Domain::Real => self.window.len() / 2,
            Domain::Complex => self.window.len(),
        }
    }

    pub(super) fn column_span(&self) -> usize {
        self.column_span
    }

    /// The mean powers of each column, lowest frequency first.
    pub(super) fn columns(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.columns.chunks_exact(self.open_column.len())
    }

    /// Samples from one window to the next: no closer than an eighth of a window, unless the
    /// columns are.
    fn window_spacing(&self) -> usize {
        let finest = self.column_span.min(self.window.len() / 8);
        finest.max(self.column_span / WINDOWS_PER_COLUMN)
    }

    /// Adds the complete window in `pending` to its column and moves on to the next one.
    fn take_window(&mut self) {
        self.add_power();
        self.open_windows += 1;
        let mut next = self.window_centre + self.window_spacing();
        if self.open_windows * self.window_spacing() == self.column_span {
            self.close_column();
            // After a merge the windows stand further apart, counted from the column's start.
            let column_start = self.columns().len() * self.column_span;
            next = column_start + self.window_spacing() / 2;
        }
        self.advance_to(next);
    }

    fn advance_to(&mut self, window_centre: usize) {
        let step = (window_centre - self.window_centre) * self.domain.floats_per_sample();
        let dropped = step.min(self.pending.len());
        self.pending.drain(..dropped);
        self.skip_len = step - dropped;
        self.window_centre = window_centre;
    }

    fn add_power(&mut self) {
        let finite = |x: f32| if x.is_finite() { x } else { 0.0 };
        let stride = self.domain.floats_per_sample();
        let windowed = self.pending.chunks_exact(stride).zip(&self.window);
        for (slot, (sample, weight)) in self.spectrum.iter_mut().zip(windowed) {
            let imaginary = sample.get(1).copied().unwrap_or(0.0);
            *slot = Complex32::new(finite(sample[0]), finite(imaginary)) * weight;
        }
        // One complex transform serves both domains: a real one would save half of a cost that is
        // bounded already.
        self.transform.process_with_scratch(&mut self.spectrum, &mut self.scratch);

        let half = self.window.len() / 2;
        let lowest_bin = match self.domain {
            Domain::Real => 0,
            Domain::Complex => half,
        };
        let from_lowest = self.spectrum.iter().cycle().skip(lowest_bin);
        for (sum, bin) in self.open_column.iter_mut().zip(from_lowest) {
            // Keeps absurd samples, whose power overflows, from poisoning the sums.
            *sum += bin.norm_sqr().min(1e30);
        }
    }

    fn close_column(&mut self) {
        let scale = 1.0 / self.open_windows as f32;
        self.columns.extend(self.open_column.iter().map(|sum| sum * scale));
        self.open_column.fill(0.0);
        self.open_windows = 0;
        if self.columns().len() == COLUMN_LIMIT {
            self.merge_columns();
        }
    }

    /// Averages the columns in pairs. Both of a pair have seen equally many windows.
    fn merge_columns(&mut self) {
        let bin_count = self.open_column.len();
        for index in 0..COLUMN_LIMIT / 2 {
            let pair = 2 * index * bin_count;
            for bin in 0..bin_count {
                let sum = self.columns[pair + bin] + self.columns[pair + bin_count + bin];
                self.columns[index * bin_count + bin] = 0.5 * sum;
            }
        }
        self.columns.truncate(COLUMN_LIMIT / 2 * bin_count);
        self.column_span *= 2;
    }
}

fn window_len(sample_rate_hz: Option<f64>, domain: Domain) -> usize {
    match (domain, sample_rate_hz) {
        (Domain::Real, Some(rate)) => [256, 512]
            .into_iter()
            // Nearest on a logarithmic scale: up to sqrt 2 times itself.
            .find(|&len| rate * WINDOW_S < len as f64 * std::f64::consts::SQRT_2)
            .unwrap_or(1024),
        _ => DEFAULT_WINDOW_LEN,
    }
}

fn scaled_hann(len: usize, domain: Domain) -> Vec<f32> {
    // The window sums to len / 2, and a real tone splits into two bins.
    let tones = match domain {
        Domain::Real => 2.0,
        Domain::Complex => 1.0,
    };
    let scale = tones / (0.5 * len as f64);
    let phase = |index: usize| TAU * index as f64 / len as f64;
    #[expect(clippy::cast_possible_truncation, reason = "f64 to f32 on purpose")]
    (0..len).map(|index| (scale * (0.5 - 0.5 * phase(index).cos())) as f32).collect()
}

/// The smallest span, a power of two, at which `total_samples` stay below the limit.
fn column_span(total_samples: u64) -> usize {
    let mut span = 1_usize;
    while total_samples / span as u64 >= COLUMN_LIMIT as u64 {
        span = span.saturating_mul(2);
    }
    span
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "f64 to f32 on purpose")]
mod tests {
    use super::{COLUMN_LIMIT, Spectrogram};
    use crate::frame::Domain;
    use std::f64::consts::TAU;

    fn tone(len: usize, cycles_per_sample: f64) -> Vec<f32> {
        (0..len).map(|n| (TAU * cycles_per_sample * n as f64).sin() as f32).collect()
    }

    fn finished(domain: Domain, total: Option<u64>, block_len: usize, samples: &[f32]) -> Spectrogram {
        let mut spectrogram = Spectrogram::new(Some(16_000.0), domain, total);
        for block in samples.chunks(block_len) {
            spectrogram.push(block);
        }
        spectrogram.finish();
        spectrogram
    }

    fn strongest(column: &[f32]) -> (usize, f32) {
        let (bin, power) = column.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        (bin, *power)
    }

    #[test]
    fn a_full_scale_tone_reads_0_dbfs_in_its_bin() {
        // 1000 Hz of 16 kHz lies in the middle of bin 32 of 512.
        let spectrogram = finished(Domain::Real, None, 1000, &tone(160_000, 1.0 / 16.0));
        let columns: Vec<&[f32]> = spectrogram.columns().collect();
        for column in &columns[4..columns.len() - 4] {
            let (bin, power) = strongest(column);
            assert_eq!(bin, 32, "the tone is in the wrong bin");
            assert!((power - 1.0).abs() < 1e-3, "power {power}");
        }
    }

    #[test]
    fn complex_tones_keep_their_sign() {
        for (cycles, bin) in [(-0.25, 128), (0.0, 256), (0.25, 384)] {
            let samples: Vec<f32> = (0..8000)
                .map(|n| TAU * cycles * f64::from(n))
                .flat_map(|phase| [phase.cos() as f32, phase.sin() as f32])
                .collect();
            let spectrogram = finished(Domain::Complex, None, 777, &samples);
            let (found, power) = strongest(spectrogram.columns().nth(500).unwrap());
            assert_eq!(found, bin, "{cycles} cycles per sample");
            assert!((power - 1.0).abs() < 1e-3, "power {power}");
        }
    }

    #[test]
    fn block_lengths_do_not_matter() {
        let samples: Vec<f32> = tone(30_011, 0.013);
        for domain in [Domain::Real, Domain::Complex] {
            for total in [None, Some(30_011)] {
                let whole = finished(domain, total, samples.len(), &samples);
                for block_len in [1, 7, 512, 4096] {
                    let blocks = finished(domain, total, block_len, &samples);
                    assert!(blocks.columns == whole.columns, "blocks of {block_len}, {domain:?}, {total:?}");
                }
            }
        }
    }

    #[test]
    fn every_length_ends_with_columns_for_all_of_it() {
        let limit = COLUMN_LIMIT;
        let lengths = [1, 2, 5, 255, 256, 257, 511, 513, limit - 1, limit, limit + 1];
        for len in lengths.into_iter().chain([17_600, 70_001, 1_000_003]) {
            for total in [None, Some(len as u64), Some(1), Some(3 * len as u64)] {
                let spectrogram = finished(Domain::Real, total, 4096, &vec![0.5; len]);
                let count = spectrogram.columns().len();
                let span = spectrogram.column_span();
                assert!((1..=COLUMN_LIMIT).contains(&count), "{count} columns");
                // A last column is left out only when not even its first window's middle is there.
                assert!(
                    count * span + span > len && (count - 1) * span <= len,
                    "{count} columns of {span} for {len} samples"
                );
            }
        }
    }

    #[test]
    fn no_samples_make_no_columns() {
        for total in [None, Some(0), Some(1 << 50)] {
            let spectrogram = finished(Domain::Real, total, 1, &[]);
            assert_eq!(spectrogram.columns().len(), 0, "hint {total:?}");
            let single = finished(Domain::Complex, total, 1, &[1.0]);
            assert_eq!(single.columns().len(), 0, "half a sample, hint {total:?}");
        }
    }

    #[test]
    fn a_hint_saves_transforms_and_changes_little() {
        let samples = tone(400_000, 0.1);
        let hinted = finished(Domain::Real, Some(400_000), 4096, &samples);
        let merged = finished(Domain::Real, None, 4096, &samples);
        assert_eq!(hinted.column_span(), merged.column_span(), "spans");
        for (a, b) in hinted.columns().zip(merged.columns()).skip(2) {
            assert_eq!(strongest(a).0, strongest(b).0, "strongest bins");
        }
    }

    #[test]
    fn silence_is_exactly_zero_and_faulty_samples_count_as_silence() {
        let quiet = finished(Domain::Real, None, 512, &[0.0; 5000]);
        assert!(quiet.columns.iter().all(|power| *power == 0.0), "silence");
        let faulty = [f32::NAN, f32::INFINITY, 0.0, f32::NEG_INFINITY].repeat(2000);
        let faulty = finished(Domain::Real, None, 512, &faulty);
        assert!(faulty.columns.iter().all(|power| *power == 0.0), "faults");
        let huge = finished(Domain::Real, None, 512, &[f32::MAX; 5000]);
        assert!(huge.columns.iter().all(|power| power.is_finite()), "overflow");
    }

    #[test]
    fn the_window_fits_the_rate() {
        let window_len = |rate| {
            let spectrogram = Spectrogram::new(rate, Domain::Real, None);
            spectrogram.window.len()
        };
        assert_eq!(window_len(Some(8_000.0)), 256);
        assert_eq!(window_len(Some(16_000.0)), 512);
        assert_eq!(window_len(Some(48_000.0)), 1024);
        assert_eq!(window_len(Some(2e6)), 1024);
        assert_eq!(window_len(Some(f64::NAN)), 512);
        assert_eq!(window_len(None), 512);
    }
}
