//! The transform against its definition, at every size and on every level of this machine.

use super::{Power, SpectralFilter, WindowShape};
use crate::frame::Domain;
use crate::simd::SimdLevel;
use crate::simd::tests::signals::noise;

#[path = "../../tests/oracle.rs"]
#[expect(dead_code, reason = "shared with the tests of the whole crate")]
mod oracle;

/// Neither symmetric in its arguments nor smooth, so that swapped or shifted bins show.
fn response(row: f64, col: f64) -> f64 {
    (1.0 + 9.0 * row) / (1.0 + 30.0 * col * col) + 0.3 * (40.0 * col + 11.0 * row).sin()
}

fn weight(row: f64, col: f64) -> f64 {
    (0.2 + row) * (0.1 + col * col)
}

fn shapes() -> Vec<WindowShape> {
    let mut shapes = Vec::new();
    for domain in [Domain::Real, Domain::Complex] {
        for row_bits in 0..=11 {
            for col_bits in 1..=12 {
                let (rows, cols) = (1 << row_bits, 1 << col_bits);
                let shape = WindowShape { rows, cols, domain };
                if shape.is_supported() {
                    shapes.push(shape);
                }
            }
        }
    }
    assert_eq!(shapes.len(), 126, "all supported shapes should be there");
    shapes
}

fn to_complex(shape: WindowShape, floats: &[f32]) -> Vec<oracle::Complex> {
    oracle::complex(floats, shape.domain == Domain::Complex)
}

/// Relative L2 error of one window.
fn error(shape: WindowShape, expected: &[(f64, f64)], actual: &[f32]) -> f64 {
    let actual = to_complex(shape, actual);
    let (mut wrong, mut right) = (0.0, 0.0);
    for (a, b) in expected.iter().zip(&actual) {
        let (re, im) = match shape.domain {
            Domain::Real => (a.0 - b.0, 0.0),
            Domain::Complex => (a.0 - b.0, a.1 - b.1),
        };
        wrong += re * re + im * im;
        right += a.0 * a.0 + a.1 * a.1;
    }
    (wrong / right).sqrt()
}

fn run(filter: &SpectralFilter, windows: &[&[f32]]) -> (Vec<f32>, Vec<Power>) {
    let floats = filter.shape().floats();
    let mut out = vec![f32::NAN; windows.len() * floats];
    let mut powers = vec![Power { weighted: f32::NAN, total: f32::NAN }; windows.len()];
    filter.process(&mut filter.scratch(), windows, 0..floats, &mut out, Some(&mut powers));
    (out, powers)
}

#[test]
fn agrees_with_the_definition_at_every_size_and_level() {
    for shape in shapes() {
        let floats = shape.floats();
        let loud = noise(floats, 7);
        let mut quiet = noise(floats, 8);
        quiet.iter_mut().for_each(|x| *x *= 1e-6);
        // The oracle's frequencies have signs, and come column first.
        let expect = |window: &[f32]| {
            let samples = to_complex(shape, window);
            let filtered = oracle::filter(&samples, shape.cols, |col, row| response(row.abs(), col.abs()));
            let (weighted, total) = oracle::powers(&samples, shape.cols, |col, row| weight(row.abs(), col.abs()));
            (filtered, weighted, total)
        };
        let expected = [expect(&loud), expect(&quiet)];
        for level in SimdLevel::available() {
            let filter = SpectralFilter::new(shape, level, response, Some(&weight));
            let (out, powers) = run(&filter, &[&loud, &quiet, &loud]);
            for window in 0..3 {
                let (samples, weighted, total) = &expected[window % 2];
                let error = error(shape, samples, &out[window * floats..][..floats]);
                assert!(error < 3e-7, "{shape:?} {level} window {window}: {error:e}");
                let weighted_error = (f64::from(powers[window].weighted) / weighted - 1.0).abs();
                let total_error = (f64::from(powers[window].total) / total - 1.0).abs();
                assert!(weighted_error < 1e-6, "{shape:?} {level}: {weighted_error:e}");
                assert!(total_error < 1e-6, "{shape:?} {level}: {total_error:e}");
            }
        }
    }
}

fn real(cols: usize) -> WindowShape {
    WindowShape { rows: 1, cols, domain: Domain::Real }
}

#[test]
fn neighbours_count_and_lane_change_nothing() {
    for level in SimdLevel::available() {
        for shape in [
            real(128),
            real(1024),
            WindowShape { rows: 8, cols: 8, domain: Domain::Real },
            WindowShape { rows: 16, cols: 16, domain: Domain::Complex },
        ] {
            let filter = SpectralFilter::new(shape, level, response, None);
            let floats = shape.floats();
            let lanes = level.lanes();
            let data: Vec<Vec<f32>> = (0..3 * lanes + 5)
                .map(|i| {
                    let mut window = noise(floats, i as u64);
                    let gain = [1.0, 1e-6, 1e6][i % 3];
                    window.iter_mut().for_each(|x| *x *= gain);
                    window
                })
                .collect();
            let alone: Vec<_> = data.iter().map(|window| run(&filter, &[window])).collect();
            for count in [0, 1, lanes - 1, lanes, lanes + 1, 3 * lanes + 5] {
                for shift in [0, 3] {
                    let pick = |i: usize| (i * 7 + shift) % data.len();
                    let windows: Vec<&[f32]> = (0..count).map(|i| data[pick(i)].as_slice()).collect();
                    let (out, powers) = run(&filter, &windows);
                    for i in 0..count {
                        assert_eq!(out[i * floats..][..floats], alone[pick(i)].0, "{shape:?} {level} {count} {i}");
                        assert_eq!(powers[i], alone[pick(i)].1[0]);
                    }
                }
            }
        }
    }
}

#[test]
fn a_nan_stays_in_its_window() {
    for level in SimdLevel::available() {
        let filter = SpectralFilter::new(real(256), level, response, None);
        let data: Vec<Vec<f32>> = (0..20).map(|i| noise(256, i)).collect();
        let mut windows: Vec<&[f32]> = data.iter().map(Vec::as_slice).collect();
        let clean = run(&filter, &windows);
        let mut broken = data[5].clone();
        broken[17] = f32::NAN;
        windows[5] = &broken;
        let infinite = vec![f32::INFINITY; 256];
        windows[9] = &infinite;
        let (out, powers) = run(&filter, &windows);
        for (i, power) in powers.iter().enumerate() {
            let range = i * 256..(i + 1) * 256;
            if i == 5 || i == 9 {
                assert!(out[range].iter().any(|x| x.is_nan()));
                assert!(!power.total.is_finite());
            } else {
                assert_eq!(out[range.clone()], clean.0[range]);
                assert_eq!(*power, clean.1[i]);
            }
        }
    }
}

#[test]
fn keep_cuts_and_scratch_is_reusable() {
    for level in SimdLevel::available() {
        let big =
            SpectralFilter::new(WindowShape { rows: 1, cols: 4096, domain: Domain::Complex }, level, response, None);
        for shape in [real(64), real(512), WindowShape { rows: 2, cols: 64, domain: Domain::Complex }] {
            let filter = SpectralFilter::new(shape, level, response, None);
            let floats = shape.floats();
            let data: Vec<Vec<f32>> = (0..19).map(|i| noise(floats, i)).collect();
            let windows: Vec<&[f32]> = data.iter().map(Vec::as_slice).collect();
            let (whole, powers) = run(&filter, &windows);
            let mut scratch = filter.scratch();
            for keep in [0..floats, 0..0, 0..2, 2..floats, 6..40, 16..48, 30..34, floats - 2..floats] {
                // A larger filter leaves NaNs behind.
                let nan = vec![f32::NAN; 8192];
                let mut sink = vec![0.0; 8192];
                big.process(&mut scratch, &[&nan], 0..8192, &mut sink, None);
                let mut out = vec![f32::NAN; 19 * keep.len()];
                let mut seen = vec![Power::default(); 19];
                filter.process(&mut scratch, &windows, keep.clone(), &mut out, Some(&mut seen));
                let mut plain = vec![f32::NAN; 19 * keep.len()];
                filter.process(&mut scratch, &windows, keep.clone(), &mut plain, None);
                assert_eq!(seen, powers);
                assert_eq!(out, plain);
                for i in 0..19 {
                    assert_eq!(
                        out[i * keep.len()..][..keep.len()],
                        whole[i * floats..][keep.clone()],
                        "{shape:?} {keep:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn unaligned_windows_and_outputs() {
    for level in SimdLevel::available() {
        let filter = SpectralFilter::new(real(256), level, response, None);
        let data = noise(256 + 9, 1);
        let aligned = data[9..].to_vec();
        let expected = run(&filter, &[&aligned]).0;
        let mut out = vec![0.0; 257];
        filter.process(&mut filter.scratch(), &[&data[9..]], 0..256, &mut out[1..], None);
        assert_eq!(out[1..], expected);
    }
}

#[test]
#[should_panic(expected = "whole pairs")]
fn odd_keep_is_refused() {
    let filter = SpectralFilter::new(real(64), SimdLevel::detect(), response, None);
    filter.process(&mut filter.scratch(), &[], 1..3, &mut [], None);
}

#[test]
#[should_panic(expected = "unsupported window")]
fn odd_sizes_are_refused() {
    let _refused = SpectralFilter::new(real(96), SimdLevel::detect(), response, None);
}
