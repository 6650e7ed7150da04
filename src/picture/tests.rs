//! The picture as a whole: what lands where, and which inputs it has to survive.

use crate::frame::Domain;
use std::f64::consts::TAU;

use super::viridis::viridis;
use super::{
    Blend, LevelRange, PANEL_HEIGHT, PANEL_LEFT, PANEL_TOPS, PANEL_WIDTH, PictureLabels, Spectrogram, draw, render,
};

const LABELS: PictureLabels<'_> = PictureLabels { title: "test.wav", subtitle: "", before: "", after: "" };

fn spectrogram(rate: Option<f64>, domain: Domain, samples: &[f32]) -> Spectrogram {
    let mut spectrogram = Spectrogram::new(rate, domain, Some(samples.len() as u64));
    spectrogram.push(samples);
    spectrogram.finish();
    spectrogram
}

fn tone(len: usize, cycles_per_sample: f64) -> Vec<f32> {
    (0..len).map(|n| (TAU * cycles_per_sample * n as f64).sin() as f32).collect()
}

/// The row of the brightest pixel in the middle of panel `index`, from the panel's top.
fn brightest_row(canvas: &super::Canvas, index: usize) -> usize {
    let brightness = |row: &usize| {
        let pixel = canvas.pixel(PANEL_LEFT + PANEL_WIDTH / 2, PANEL_TOPS[index] + row);
        pixel.map(u32::from).iter().sum::<u32>()
    };
    (0..PANEL_HEIGHT).max_by_key(brightness).unwrap()
}

#[test]
fn a_tone_lands_on_its_row_and_silence_is_the_lowest_color() {
    // 2 kHz of 0 to 8: three quarters down.
    let before = spectrogram(Some(16_000.0), Domain::Real, &tone(48_000, 0.125));
    let after = spectrogram(Some(16_000.0), Domain::Real, &[0.0; 48_000]);
    let canvas = render(&before, &after, &LABELS);
    let row = brightest_row(&canvas, 0);
    let expected = PANEL_HEIGHT * 3 / 4;
    assert!(row.abs_diff(expected) <= 1, "row {row}, not {expected}");
    for (x, y) in [(0, 0), (500, 100), (PANEL_WIDTH - 1, PANEL_HEIGHT - 1)] {
        let pixel = canvas.pixel(PANEL_LEFT + x, PANEL_TOPS[1] + y);
        assert_eq!(pixel, viridis(0.0), "silence at {x}, {y}");
    }
}

#[test]
fn negative_frequencies_lie_below_the_centre() {
    let turning = |cycles: f64| -> Vec<f32> {
        (0..20_000)
            .map(|n| TAU * cycles * f64::from(n))
            .flat_map(|phase| [phase.cos() as f32, phase.sin() as f32])
            .collect()
    };
    let before = spectrogram(Some(2e6), Domain::Complex, &turning(-0.25));
    let after = spectrogram(Some(2e6), Domain::Complex, &turning(0.25));
    let canvas = render(&before, &after, &LABELS);
    let rows = [brightest_row(&canvas, 0), brightest_row(&canvas, 1)];
    assert!(rows[0].abs_diff(PANEL_HEIGHT * 3 / 4) <= 1, "rows {rows:?}");
    assert!(rows[1].abs_diff(PANEL_HEIGHT / 4) <= 1, "rows {rows:?}");
}

#[test]
fn a_shorter_signal_leaves_the_rest_empty() {
    let before = spectrogram(Some(8000.0), Domain::Real, &[0.1; 8000]);
    let after = spectrogram(Some(8000.0), Domain::Real, &[0.1; 4000]);
    let canvas = render(&before, &after, &LABELS);
    let y = PANEL_TOPS[1] + 10;
    let at = |fraction: usize| canvas.pixel(PANEL_LEFT + PANEL_WIDTH * fraction / 100, y);
    assert_ne!(at(49), super::BACKGROUND, "the signal is missing");
    assert_eq!(at(51), super::BACKGROUND, "there is more than the signal");
}

#[test]
fn any_length_and_an_unknown_rate_can_be_drawn() {
    for len in [0, 1, 5, 511, 513, 3000] {
        for rate in [None, Some(1e-3), Some(1e12)] {
            for domain in [Domain::Real, Domain::Complex] {
                let samples = tone(len, 0.1);
                let before = spectrogram(rate, domain, &samples);
                let after = spectrogram(None, domain, &samples[..len / 2]);
                // Either may be the one without samples or rate. What counts is no panic.
                render(&before, &before, &LABELS);
                render(&after, &before, &LABELS);
            }
        }
    }
}

#[test]
fn the_file_is_the_picture_and_the_same_every_time() {
    let samples = tone(20_000, 0.01);
    let before = spectrogram(None, Domain::Real, &samples);
    let mut after = Spectrogram::new(None, Domain::Real, Some(samples.len() as u64));
    samples.chunks(333).for_each(|block| after.push(block));
    after.finish();
    let canvas = render(&before, &after, &LABELS);
    let written = draw(&before, &after, &LABELS).unwrap();
    assert!(written == render(&after, &before, &LABELS).to_png().unwrap(), "bytes differ");

    let mut reader = png::Decoder::new(std::io::Cursor::new(written)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (1280, 800), "size");
    let (x, y) = (PANEL_LEFT + 40, PANEL_TOPS[0] + 280);
    let start = 3 * (1280 * y + x);
    assert_eq!(pixels[start..start + 3], canvas.pixel(x, y), "pixel");
}

#[test]
fn the_color_scale_fits_the_data() {
    let silence = spectrogram(None, Domain::Real, &[0.0; 100]);
    let range = LevelRange::common(&silence, &silence);
    assert_eq!((range.low_db, range.high_db), (-80.0, 0.0), "silence");

    let quiet: Vec<f32> = tone(48_000, 0.1).iter().map(|x| x * 0.02).collect();
    let range = LevelRange::common(&silence, &spectrogram(None, Domain::Real, &quiet));
    // -34 dBFS, but for fewer than one cell in a thousand.
    assert_eq!((range.low_db, range.high_db), (-110.0, -30.0), "a quiet tone");
    assert_eq!(range.color(0.0), viridis(0.0), "zero");
    assert_eq!(range.color(1e-3), viridis(1.0), "the top");
    assert_eq!(range.color(1.0), viridis(1.0), "above the top");
}

#[test]
fn blends_average_and_interpolate() {
    let parts = |blend: &Blend| blend.weights().collect::<Vec<_>>();
    assert_eq!(parts(&Blend::new(0.5, 0.1, 1)), [(0, 1.0)], "one cell");
    let between = Blend::new(2.0, 0.1, 4);
    let sum = |blend: &Blend| blend.weights().map(|(_, weight)| weight).sum::<f32>();
    let middle = |blend: &Blend| {
        let at = blend.weights().map(|(cell, weight)| (cell as f32 + 0.5) * weight);
        at.sum::<f32>()
    };
    assert!((middle(&between) - 2.0).abs() < 1e-6, "half of cell 1, half of cell 2");
    let wide = Blend::new(50.0, 10.0, 100);
    assert!((middle(&wide) - 50.0).abs() < 1e-4, "off centre");
    for blend in [between, wide, Blend::new(-3.0, 0.2, 7), Blend::new(99.0, 5.0, 7)] {
        assert!((sum(&blend) - 1.0).abs() < 1e-6, "weights sum to one");
    }
}
