//! What the dashboard hears of a stream: its level before and after, and for the one that is looked at, spectra.
//!
//! A row of the waterfall is the mean power spectrum of 25 ms. Rows of before and after are counted from the same sample, so
//! that row n shows the same moment in both.

use std::collections::VecDeque;
use std::sync::Arc;

use num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::frame::Domain;

/// Columns of a row, from 0 Hz to half the sample rate; for IQ from minus half of it to half of it.
pub(super) const BINS: usize = 256;
/// Rows that are kept.
pub(super) const ROWS: usize = 256;
/// Rows for each second.
pub(super) const ROWS_PER_S: f64 = 40.0;
/// Levels of the colours, in dB relative to a full-scale sine in one bin.
pub(super) const FLOOR_DB: f32 = -100.0;
pub(super) const TOP_DB: f32 = -20.0;

/// One row, 0 to 255 from [`FLOOR_DB`] to [`TOP_DB`].
pub(super) type Row = [u8; BINS];

/// Both sides of one channel.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) rate_hz: f64,
    pub(super) domain: Domain,
    pub(super) before: Rows,
    pub(super) after: Rows,
    /// Floats that come out and went in before this began to listen; none before it has.
    pub(super) skip: Option<u64>,
}

impl Ear {
    pub(super) fn new(rate_hz: f64, domain: Domain) -> Self {
        let rows = || Rows::new(rate_hz, domain);
        Self { rate_hz, domain, before: rows(), after: rows(), skip: None }
    }

    /// How many of the next floats that come out are to be passed over.
    pub(super) fn skipped(&mut self, count: usize) -> usize {
        let left = self.skip.get_or_insert(0);
        let skipped = usize::try_from(*left).unwrap_or(count).min(count);
        *left -= skipped as u64;
        skipped
    }

    /// Rows that both sides have, counted from the first one.
    pub(super) fn rows(&self) -> u64 {
        self.before.count.min(self.after.count)
    }

    /// Both rows of a moment; none when they are gone, or not there yet.
    pub(super) fn row(&self, index: u64) -> Option<(&Row, &Row)> {
        Some((self.before.row(index)?, self.after.row(index)?))
    }
}

/// The spectra of one side.
pub(super) struct Rows {
    fft: Arc<dyn Fft<f32>>,
    window: Vec<f32>,
    domain: Domain,
    /// Samples of a row, and of them those that are still to come.
    row_len: usize,
    left: usize,
    /// Samples of the window at hand.
    samples: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    /// Sums over the windows of the row at hand.
    power: Vec<f32>,
    windows: u32,
    rows: VecDeque<Row>,
    count: u64,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rows").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Rows {
    fn new(rate_hz: f64, domain: Domain) -> Self {
        // The spectrum of a real signal has two equal halves.
        let len = if domain == Domain::Real { 2 * BINS } else { BINS };
        let angle = |n: usize| std::f32::consts::TAU * n as f32 / len as f32;
        let window: Vec<f32> = (0..len).map(|n| 0.5 - 0.5 * angle(n).cos()).collect();
        let fft = FftPlanner::new().plan_fft_forward(len);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are positive and bounded")]
        let row_len = ((rate_hz / ROWS_PER_S) as usize).max(1);
        let scratch = vec![Complex::default(); fft.get_inplace_scratch_len()];
        let (power, rows) = (vec![0.0; BINS], VecDeque::with_capacity(ROWS));
        Self {
            fft,
            window,
            domain,
            row_len,
            left: row_len,
            samples: Vec::new(),
            scratch,
            power,
            windows: 0,
            rows,
            count: 0,
        }
    }

    /// Takes samples of one channel: `floats` are those of all channels, interleaved.
    pub(super) fn hear(&mut self, floats: &[f32], channels: usize, channel: usize) {
        let per_sample = self.domain.floats_per_sample();
        for time in floats.chunks_exact(channels * per_sample) {
            let re = time[channel * per_sample];
            let im = if per_sample == 2 { time[channel * per_sample + 1] } else { 0.0 };
            self.sample(Complex { re, im });
        }
    }

    fn sample(&mut self, sample: Complex<f32>) {
        self.samples.push(sample);
        if self.samples.len() == self.window.len() {
            self.window_ends();
        }
        self.left -= 1;
        if self.left == 0 {
            // A row of few samples has the spectrum of those, with silence around them.
            if self.windows == 0 {
                self.window_ends();
            }
            self.row_ends();
        }
    }

    fn window_ends(&mut self) {
        self.samples.resize(self.window.len(), Complex::default());
        self.samples.iter_mut().zip(&self.window).for_each(|(sample, weight)| *sample *= *weight);
        self.fft.process_with_scratch(&mut self.samples, &mut self.scratch);
        // A sine of amplitude 1 comes to 0 dB: the window's mean is a half, and a real sine has half of itself on each side.
        let scale = if self.domain == Domain::Real { 4.0 } else { 2.0 } / self.window.len() as f32;
        let first = if self.domain == Domain::Real { 0 } else { BINS / 2 };
        for (bin, power) in self.power.iter_mut().enumerate() {
            *power += (self.samples[(first + bin) % self.window.len()] * scale).norm_sqr();
        }
        self.samples.clear();
        self.windows += 1;
    }

    fn row_ends(&mut self) {
        let mut row = [0; BINS];
        for (level, power) in row.iter_mut().zip(&mut self.power) {
            let db = 10.0 * (std::mem::take(power) / self.windows as f32).max(1e-20).log10();
            let part = ((db - FLOOR_DB) / (TOP_DB - FLOOR_DB)).clamp(0.0, 1.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 0 to 255")]
            let byte = (255.0 * part).round() as u8;
            *level = byte;
        }
        if self.rows.len() == ROWS {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
        self.count += 1;
        (self.windows, self.left) = (0, self.row_len);
        self.samples.clear();
    }

    fn row(&self, index: u64) -> Option<&Row> {
        let first = self.count - self.rows.len() as u64;
        self.rows.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }
}

/// How loud a side of a stream is: of all its channels together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loudness {
    peak: f32,
    power: f64,
    floats: u64,
}

impl Loudness {
    pub(super) fn hear(&mut self, floats: &[f32]) {
        self.peak = floats.iter().fold(self.peak, |peak, sample| peak.max(sample.abs()));
        self.power += floats.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        self.floats += floats.len() as u64;
    }

    /// Peak and root mean square since it was asked last, in dB below full scale; none where nothing came.
    pub(super) fn take(&mut self) -> Option<(f32, f32)> {
        let Self { peak, power, floats } = std::mem::take(self);
        #[expect(clippy::cast_possible_truncation, reason = "it is shown with one digit")]
        let rms = (power / floats.max(1) as f64).sqrt() as f32;
        let db = |level: f32| 20.0 * level.max(1e-6).log10();
        (floats > 0).then_some((db(peak), db(rms)))
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "signals are short, and samples small")]
mod tests {
    use super::{BINS, Ear, FLOOR_DB, Loudness, ROWS, TOP_DB};
    use crate::frame::Domain;

    fn sine(rate_hz: f64, hz: f64, amplitude: f64, seconds: f64) -> Vec<f32> {
        let samples = 0..(rate_hz * seconds) as usize;
        samples.map(|n| (amplitude * (std::f64::consts::TAU * hz * n as f64 / rate_hz).sin()) as f32).collect()
    }

    #[test]
    fn a_sine_stands_in_its_bin_at_its_level() {
        for rate_hz in [8e3, 16e3, 48e3, 2e6] {
            // In the middle of bin 64.
            let samples = sine(rate_hz, rate_hz / 2.0 * 64.0 / BINS as f64, 0.01, 0.2);
            let mut ear = Ear::new(rate_hz, Domain::Real);
            ear.before.hear(&samples, 1, 0);
            ear.after.hear(&samples[..samples.len() / 2], 1, 0);
            assert_eq!((ear.before.count, ear.rows()), (8, 4), "{rate_hz}");
            let (row, _) = ear.row(3).unwrap();
            let loudest = (0..BINS).max_by_key(|bin| row[*bin]).unwrap();
            let db = FLOOR_DB + f32::from(row[64]) / 255.0 * (TOP_DB - FLOOR_DB);
            // At 8 kHz a row is shorter than the window.
            let least = if rate_hz < 16e3 { -53.0 } else { -41.5 };
            assert!(loudest == 64 && (least..=-39.5).contains(&db), "{rate_hz} Hz: bin {loudest}, {db} dB");
            assert!(ear.row(4).is_none(), "the other side does not have it yet");
        }
    }

    #[test]
    fn channels_are_told_apart_and_old_rows_go() {
        let (quiet, loud) = (sine(16e3, 1000.0, 0.001, 10.0), sine(16e3, 5000.0, 0.5, 10.0));
        let both: Vec<f32> = quiet.iter().zip(&loud).flat_map(|(one, other)| [*one, *other]).collect();
        let mut ear = Ear::new(16e3, Domain::Real);
        ear.before.hear(&both, 2, 1);
        ear.after.hear(&both, 2, 0);
        assert_eq!(ear.rows(), 400);
        assert!(ear.row(400 - ROWS as u64 - 1).is_none() && ear.row(399).is_some());
        let (one, other) = ear.row(399).unwrap();
        assert!(one[160] > 200 && other[160] < 100 && other[32] > 100, "{} {} {}", one[160], other[160], other[32]);
    }

    #[test]
    fn negative_frequencies_of_iq_are_on_the_left() {
        let mut ear = Ear::new(2e6, Domain::Complex);
        let angle = |n: usize| -std::f64::consts::TAU * 0.25 * n as f64;
        let samples: Vec<f32> =
            (0..200_000).flat_map(|n| [0.05 * angle(n).cos() as f32, 0.05 * angle(n).sin() as f32]).collect();
        ear.before.hear(&samples, 1, 0);
        ear.after.hear(&samples, 1, 0);
        let (row, _) = ear.row(0).unwrap();
        let loudest = (0..BINS).max_by_key(|bin| row[*bin]).unwrap();
        let db = FLOOR_DB + f32::from(row[64]) / 255.0 * (TOP_DB - FLOOR_DB);
        assert!(loudest == BINS / 4 && (db + 26.02).abs() < 0.5, "bin {loudest}, {db} dB");
    }

    #[test]
    fn loudness_is_that_since_the_last_look() {
        let mut loudness = Loudness::default();
        assert_eq!(loudness.take(), None);
        loudness.hear(&sine(16e3, 1000.0, 0.1, 1.0));
        let (peak, rms) = loudness.take().unwrap();
        assert!((peak + 20.0).abs() < 0.1 && (rms + 23.01).abs() < 0.1, "{peak} {rms}");
        assert_eq!(loudness.take(), None);
    }
}
