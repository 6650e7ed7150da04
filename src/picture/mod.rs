//! Draws a signal before and after cleaning: two spectrograms, one above the other, in one PNG.
//!
//! Both [`Spectrogram`]s are fed while the signal streams past; [`draw`] then needs no signal. The
//! two panels share the time axis and the colours, so that what is darker below was removed.
//!
//! ```text
//! samples -> Spectrogram (spectrogram.rs) -> panels, axes, colour bar (mod.rs, ticks.rs)
//!                                                    -> Canvas (canvas.rs, viridis.rs) -> PNG
//! ```
//!
//! The same signals give the same bytes, however they were cut into blocks, on one kind of
//! processor; on another the transform may round differently.
//!
//! # Example
//!
//! ```no_run
//! # use auricle::picture;
//! use auricle::Domain;
//! use picture::{PictureLabels, Spectrogram};
//!
//! # fn main() -> std::io::Result<()> {
//! let mut before = Spectrogram::new(Some(16_000.0), Domain::Real, None);
//! let mut after = Spectrogram::new(Some(16_000.0), Domain::Real, None);
//! for block in [[0.25_f32; 1024], [0.5; 1024]] {
//!     before.push(&block);
//!     after.push(&block.map(|sample| 0.5 * sample));
//! }
//! before.finish();
//! after.finish();
//! let labels = PictureLabels {
//!     title: "halved.wav",
//!     subtitle: "16 kHz, mono",
//!     ..PictureLabels::default()
//! };
//! std::fs::write("before-after.png", picture::draw(&before, &after, &labels)?)?;
//! # Ok(())
//! # }
//! ```

mod spectrogram;

mod ticks;

mod viridis;

mod canvas;

use std::io;

use canvas::{Align, Canvas, Rect, Rgb, TextStyle, Weight};
pub use spectrogram::Spectrogram;
use ticks::Unit;
pub(crate) use viridis::viridis;

/// What is written around the panels. An empty text is left out, one too long loses its middle.
#[derive(Clone, Copy, Debug, Default)]
pub struct PictureLabels<'a> {
    /// The first line, as the name of the file.
    pub title: &'a str,
    /// The line below it, as the rate, the length and the device.
    pub subtitle: &'a str,
    /// What the upper panel shows; stands beside "Before".
    pub before: &'a str,
    /// What the lower panel shows, as the stages it went through; stands beside "After".
    pub after: &'a str,
}

// The layout in pixels, and the colours of the dashboard's dark theme.
const WIDTH: usize = 1280;
const HEIGHT: usize = 800;
const MARGIN: usize = 28;
const PANEL_LEFT: usize = 72;
const PANEL_WIDTH: usize = 1104;
const PANEL_HEIGHT: usize = 290;
const PANEL_TOPS: [usize; 2] = [107, 434];
const BAR_LEFT: usize = PANEL_LEFT + PANEL_WIDTH + 20;
const BAR_WIDTH: usize = 14;

const BACKGROUND: Rgb = [0x0e, 0x11, 0x16];
const STROKE: Rgb = [0x27, 0x2e, 0x38];
const TEXT: Rgb = [0xc9, 0xd1, 0xda];
const SUBDUED: Rgb = [0x87, 0x93, 0xa1];
const STRONG: Rgb = [0xf2, 0xf5, 0xf8];

const TITLE: TextStyle = style(Weight::SemiBold, 18.0, STRONG);
const SUBTITLE: TextStyle = style(Weight::Regular, 13.0, SUBDUED);
const HEADING: TextStyle = style(Weight::SemiBold, 13.0, STRONG);
const CAPTION: TextStyle = style(Weight::Regular, 12.0, SUBDUED);
const TICK: TextStyle = style(Weight::Regular, 12.0, TEXT);

const fn style(weight: Weight, size: f32, color: Rgb) -> TextStyle {
    TextStyle { weight, size, color }
}

/// The picture of `before` and `after`, both finished, as the bytes of a PNG file of 1280 x 800.
///
/// Nothing has to be equal in the two: a shorter signal leaves the rest of its panel empty. When
/// either rate is unknown, both share a time axis in samples.
///
/// # Errors
///
/// When the encoder fails.
pub fn draw(before: &Spectrogram, after: &Spectrogram, labels: &PictureLabels<'_>) -> io::Result<Vec<u8>> {
    render(before, after, labels).to_png()
}

fn render(before: &Spectrogram, after: &Spectrogram, labels: &PictureLabels<'_>) -> Canvas {
    let mut canvas = Canvas::new(WIDTH, HEIGHT, BACKGROUND);
    draw_titles(&mut canvas, labels);
    let time = TimeAxis::shared(before, after);
    let levels = LevelRange::common(before, after);
    let panels = [("Before", labels.before, before), ("After", labels.after, after)];
    for ((heading, caption, spectrogram), top) in panels.into_iter().zip(PANEL_TOPS) {
        let panel = Rect { left: PANEL_LEFT, top, width: PANEL_WIDTH, height: PANEL_HEIGHT };
        draw_heading(&mut canvas, panel, heading, caption);
        draw_spectrogram(&mut canvas, panel, spectrogram, &time, levels);
        draw_frequency_axis(&mut canvas, panel, spectrogram);
        draw_time_marks(&mut canvas, panel, &time);
    }
    draw_time_labels(&mut canvas, &time);
    draw_color_bar(&mut canvas, levels);
    canvas
}

/// The time axis that both panels share.
struct TimeAxis {
    /// Seconds, or samples where a rate is unknown.
    extent: f64,
    in_seconds: bool,
    unit: Unit,
}

impl TimeAxis {
    fn shared(before: &Spectrogram, after: &Spectrogram) -> Self {
        let both = [before, after];
        let in_seconds = both.iter().all(|s| s.sample_rate_hz().is_some());
        let durations = both.map(|s| s.sample_count() as f64 / samples_per_unit(s, in_seconds));
        let extent = durations[0].max(durations[1]);
        let unit = if in_seconds { ticks::time_unit(extent) } else { ticks::count_unit(extent) };
        Self { extent, in_seconds, unit }
    }

    /// Where the ticks stand, as fractions of the axis, and what they say.
    fn ticks(&self) -> Vec<(f64, String)> {
        let extent = self.extent / self.unit.scale;
        let ticks = ticks::ticks(0.0, extent, 10).into_iter();
        ticks.map(|(value, label)| (value / extent, label)).collect()
    }
}

/// Samples in one second of a time axis in seconds, or in one sample of an axis in samples.
fn samples_per_unit(spectrogram: &Spectrogram, in_seconds: bool) -> f64 {
    match spectrogram.sample_rate_hz() {
        Some(rate_hz) if in_seconds => rate_hz,
        _ => 1.0,
    }
}

/// The powers that the colours span, in dBFS.
#[derive(Clone, Copy, Debug, PartialEq)]
struct LevelRange {
    low_db: f32,
    high_db: f32,
}

impl LevelRange {
    const WIDEST_DB: f32 = 80.0;
    const NARROWEST_DB: f32 = 40.0;

    /// The range for both, from the powers that are not zero.
    ///
    /// Its ends are round: the top is above the 99.9th percentile, the bottom below the first one,
    /// so that a high noise floor leaves no colours unused. What a cleaned signal has below
    /// 80 dB under the top is not worth telling apart.
    fn common(before: &Spectrogram, after: &Spectrogram) -> Self {
        let columns = before.columns().chain(after.columns());
        let mut powers: Vec<f32> = columns.flatten().copied().filter(|p| *p > 0.0).collect();
        // The allowance keeps a tone of exactly full scale from asking for +10 dBFS.
        let high_db = percentile_db(&mut powers, 999).map_or(0.0, |db| round_up(db - 0.1));
        let low_db = percentile_db(&mut powers, 10).map_or(f32::MIN, |db| -round_up(-db));
        Self { low_db: low_db.clamp(high_db - Self::WIDEST_DB, high_db - Self::NARROWEST_DB), high_db }
    }

    fn color(self, power: f32) -> Rgb {
        // The logarithm of an exact zero is minus infinity, which is the lowest colour too.
        viridis((10.0 * power.log10() - self.low_db) / (self.high_db - self.low_db))
    }
}

/// The power, in dB, below which `per_mille` thousandths of `powers` lie; none when there are none.
fn percentile_db(powers: &mut [f32], per_mille: usize) -> Option<f32> {
    let rank = powers.len().checked_sub(1)? * per_mille / 1000;
    let (_, power, _) = powers.select_nth_unstable_by(rank, f32::total_cmp);
    Some(10.0 * power.log10())
}

/// Up to a multiple of ten.
fn round_up(db: f32) -> f32 {
    (db / 10.0).ceil() * 10.0
}

fn draw_titles(canvas: &mut Canvas, labels: &PictureLabels<'_>) {
    let width = (WIDTH - 2 * MARGIN) as f32;
    for (text, style, baseline) in [(labels.title, TITLE, 42.0), (labels.subtitle, SUBTITLE, 63.0)] {
        let text = canvas.fitted(style, text, width);
        canvas.text((MARGIN as f32, baseline), Align::Left, style, &text);
    }
}

fn draw_heading(canvas: &mut Canvas, panel: Rect, heading: &str, caption: &str) {
    let (left, baseline) = (panel.left as f32, panel.top as f32 - 10.0);
    let width = canvas.text((left, baseline), Align::Left, HEADING, heading);
    let caption_left = left + width + 10.0;
    let caption = canvas.fitted(CAPTION, caption, panel.right() as f32 - caption_left);
    canvas.text((caption_left, baseline), Align::Left, CAPTION, &caption);
}

fn draw_spectrogram(canvas: &mut Canvas, panel: Rect, spectrogram: &Spectrogram, time: &TimeAxis, levels: LevelRange) {
    canvas.outline(panel, STROKE);
    let columns: Vec<&[f32]> = spectrogram.columns().collect();
    let Some(first) = columns.first() else {
        let middle = (panel.left + panel.width / 2, panel.top + panel.height / 2);
        let middle = (middle.0 as f32, middle.1 as f32 + 4.0);
        canvas.text(middle, Align::Centre, CAPTION, "no samples");
        return;
    };

    // Pixel rows count from the top, bins from the bottom, and bin 0 is centred on the edge.
    let bins_per_pixel = spectrogram.bin_extent() as f64 / panel.height as f64;
    let rows: Vec<Blend> = (0..panel.height)
        .map(|row| (panel.height - row) as f64 - 0.5)
        .map(|pixel| Blend::new(pixel * bins_per_pixel + 0.5, bins_per_pixel, first.len()))
        .collect();

    let samples = time.extent * samples_per_unit(spectrogram, time.in_seconds);
    let samples_per_pixel = samples / panel.width as f64;
    let columns_per_pixel = samples_per_pixel / spectrogram.column_span() as f64;
    let mut powers = vec![0.0; first.len()];
    for x in 0..panel.width {
        let pixel = x as f64 + 0.5;
        if pixel * samples_per_pixel > spectrogram.sample_count() as f64 {
            break; // The other signal is longer.
        }
        let blend = Blend::new(pixel * columns_per_pixel, columns_per_pixel, columns.len());
        powers.fill(0.0);
        for (index, weight) in blend.weights() {
            for (power, part) in powers.iter_mut().zip(columns[index]) {
                *power += weight * part;
            }
        }
        for (y, row) in rows.iter().enumerate() {
            let power = row.weights().map(|(bin, weight)| weight * powers[bin]).sum();
            canvas.blend(panel.left + x, panel.top + y, levels.color(power), 1.0);
        }
    }
}

/// How one pixel takes its value from a row of cells: a triangle around its centre, as wide as
/// the cells or as the pixel, whichever is wider. Blends neighbours and averages many alike.
struct Blend {
    first: usize,
    weights: Vec<f32>,
}

impl Blend {
    /// `centre` and `pixel_width` are counted in cells; the first cell goes from 0 to 1.
    fn new(centre: f64, pixel_width: f64, cell_count: usize) -> Self {
        let reach = pixel_width.max(1.0);
        let last = cell_count.saturating_sub(1);
        // A centre beyond the last cell, as in the cut-off end of a signal, repeats that cell.
        let centre = centre.clamp(0.5, last as f64 + 0.5);
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the cells")]
        let [first, end] = [centre - reach, centre + reach].map(|edge| edge.floor().clamp(0.0, last as f64) as usize);
        let weight = |cell: usize| (1.0 - (cell as f64 + 0.5 - centre).abs() / reach).max(0.0);
        let sum: f64 = (first..=end).map(weight).sum();
        #[expect(clippy::cast_possible_truncation, reason = "f64 to f32 on purpose")]
        let weights = (first..=end).map(|cell| (weight(cell) / sum) as f32);
        Self { first, weights: weights.collect() }
    }

    fn weights(&self) -> impl Iterator<Item = (usize, f32)> {
        (self.first..).zip(self.weights.iter().copied())
    }
}

fn draw_frequency_axis(canvas: &mut Canvas, panel: Rect, spectrogram: &Spectrogram) {
    let (low, high) = spectrogram.frequency_range();
    let (rate, unit) = match spectrogram.sample_rate_hz() {
        Some(rate_hz) => (rate_hz, ticks::frequency_unit(high * rate_hz)),
        None => (1.0, Unit { name: "× rate", scale: 1.0 }),
    };
    let [low, high] = [low, high].map(|fraction| fraction * rate / unit.scale);
    draw_level_axis(canvas, panel, (low, high), Align::Right, 5);
    let caption = ((panel.left - 10) as f32, panel.top as f32 - 10.0);
    canvas.text(caption, Align::Right, CAPTION, unit.name);
}

/// Ticks beside `area`, from `low` at its bottom to `high` at its top: to its left when their
/// labels end there (`Align::Right`), otherwise to its right.
fn draw_level_axis(canvas: &mut Canvas, area: Rect, (low, high): (f64, f64), align: Align, max_count: usize) {
    let (mark_left, label_x) = match align {
        Align::Right => (area.left - 5, area.left - 10),
        Align::Left | Align::Centre => (area.right() + 1, area.right() + 10),
    };
    for (value, label) in ticks::ticks(low, high, max_count) {
        let fraction = 1.0 - (value - low) / (high - low);
        let y = area.top + pixel_at(fraction, area.height);
        let mark = Rect { left: mark_left, top: y, width: 4, height: 1 };
        canvas.fill(mark, SUBDUED, 1.0);
        // Half the height of a digit below the mark.
        canvas.text((label_x as f32, y as f32 + 5.0), align, TICK, &label);
    }
}

fn draw_time_marks(canvas: &mut Canvas, panel: Rect, time: &TimeAxis) {
    for (fraction, _) in time.ticks() {
        let mark =
            Rect { left: panel.left + pixel_at(fraction, panel.width), top: panel.bottom() + 1, width: 1, height: 4 };
        canvas.fill(mark, SUBDUED, 1.0);
    }
}

fn draw_time_labels(canvas: &mut Canvas, time: &TimeAxis) {
    let panel_bottom = PANEL_TOPS[1] + PANEL_HEIGHT;
    for (fraction, label) in time.ticks() {
        let x = PANEL_LEFT as f32 + 0.5 + pixel_at(fraction, PANEL_WIDTH) as f32;
        canvas.text((x, panel_bottom as f32 + 20.0), Align::Centre, TICK, &label);
    }
    let name = time.unit.name;
    let caption = if time.in_seconds { format!("Time ({name})") } else { format!("Time ({name}; rate unknown)") };
    let middle = (PANEL_LEFT + PANEL_WIDTH / 2) as f32;
    canvas.text((middle, panel_bottom as f32 + 42.0), Align::Centre, CAPTION, &caption);
}

fn draw_color_bar(canvas: &mut Canvas, levels: LevelRange) {
    let bar = Rect {
        left: BAR_LEFT,
        top: PANEL_TOPS[0],
        width: BAR_WIDTH,
        height: PANEL_TOPS[1] + PANEL_HEIGHT - PANEL_TOPS[0],
    };
    for row in 0..bar.height {
        let level = 1.0 - (row as f32 + 0.5) / bar.height as f32;
        let line = Rect { top: bar.top + row, height: 1, ..bar };
        canvas.fill(line, viridis(level), 1.0);
    }
    canvas.outline(bar, STROKE);
    let range = (f64::from(levels.low_db), f64::from(levels.high_db));
    draw_level_axis(canvas, bar, range, Align::Left, 8);
    let caption = (bar.left as f32, bar.top as f32 - 10.0);
    canvas.text(caption, Align::Left, CAPTION, "dBFS");
}

/// The pixel at `fraction` of `len` pixels; the end belongs to the last one.
fn pixel_at(fraction: f64, len: usize) -> usize {
    let last = len.saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the pixels")]
    let pixel = (fraction * len as f64).clamp(0.0, last as f64) as usize;
    pixel
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "f64 to f32 on purpose")]
mod tests;
