//! Slow definitions in f64, written from the formulas and from nothing else in this crate.

use std::f64::consts::{PI, TAU};

/// A complex number.
pub(crate) type Complex = (f64, f64);

fn multiply(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// Discrete Fourier transform by recursion on even and odd samples; the length must be a power of two. With `sign`
/// -1 the forward one, with +1 the inverse without its 1 / n.
pub(crate) fn dft(samples: &[Complex], sign: f64) -> Vec<Complex> {
    let len = samples.len();
    if len == 1 {
        return samples.to_vec();
    }
    let even: Vec<_> = samples.iter().step_by(2).copied().collect();
    let odd: Vec<_> = samples.iter().skip(1).step_by(2).copied().collect();
    let (even, odd) = (dft(&even, sign), dft(&odd, sign));
    let turned = |k: usize| {
        let angle = sign * TAU * k as f64 / len as f64;
        multiply((angle.cos(), angle.sin()), odd[k % (len / 2)])
    };
    (0..len).map(|k| (even[k % (len / 2)].0 + turned(k).0, even[k % (len / 2)].1 + turned(k).1)).collect()
}

/// The same over two dimensions, rows of `columns` samples.
pub(crate) fn dft_2d(samples: &[Complex], columns: usize, sign: f64) -> Vec<Complex> {
    let rows = samples.len() / columns;
    let mut result: Vec<Complex> = samples.chunks(columns).flat_map(|row| dft(row, sign)).collect();
    for column in 0..columns {
        let line: Vec<_> = (0..rows).map(|row| result[row * columns + column]).collect();
        for (row, value) in dft(&line, sign).into_iter().enumerate() {
            result[row * columns + column] = value;
        }
    }
    result
}

/// The frequency of bin `k` of `len`, in cycles per sample, -0.5 to 0.5, as `fftfreq` gives it.
pub(crate) fn frequency(k: usize, len: usize) -> f64 {
    let signed = if 2 * k < len { k as f64 } else { k as f64 - len as f64 };
    signed / len as f64
}

/// The phi-resolvent at a frequency; `unit` is k at one cycle per sample (1, 2 or 2 pi).
pub(crate) fn resolvent(phi: f64, unit: f64, column: f64, row: f64) -> f64 {
    1.0 / (1.0 + phi * unit * unit * (column * column + row * row))
}

/// A frame multiplied in the frequency domain by `response(column frequency, row frequency)`, circularly.
pub(crate) fn filter(samples: &[Complex], columns: usize, response: impl Fn(f64, f64) -> f64) -> Vec<Complex> {
    let rows = samples.len() / columns;
    let mut spectrum = dft_2d(samples, columns, -1.0);
    for (index, bin) in spectrum.iter_mut().enumerate() {
        let h = response(frequency(index % columns, columns), frequency(index / columns, rows));
        *bin = (bin.0 * h / samples.len() as f64, bin.1 * h / samples.len() as f64);
    }
    dft_2d(&spectrum, columns, 1.0)
}

/// (sum over bins of weight * |X|^2, sum of |X|^2).
pub(crate) fn powers(samples: &[Complex], columns: usize, weight: impl Fn(f64, f64) -> f64) -> (f64, f64) {
    let rows = samples.len() / columns;
    let spectrum = dft_2d(samples, columns, -1.0);
    spectrum.iter().enumerate().fold((0.0, 0.0), |(weighted, total), (index, bin)| {
        let power = bin.0 * bin.0 + bin.1 * bin.1;
        let w = weight(frequency(index % columns, columns), frequency(index / columns, rows));
        (weighted + w * power, total + power)
    })
}

/// What a max-abs gate decides, from the definition: `true` for live. `None` for a frame that is not finite.
pub(crate) fn gate(frames: &[&[f32]], threshold: f32, hold: usize) -> Vec<Option<bool>> {
    let loud = |frame: &[f32]| frame.iter().any(|x| f64::from(*x).abs() > f64::from(threshold));
    let faulty = |frame: &[f32]| frame.iter().any(|x| !x.is_finite());
    let decide = |index: usize| {
        let reach = index.saturating_sub(hold)..=index;
        (!faulty(frames[index])).then(|| frames[reach].iter().any(|frame| !faulty(frame) && loud(frame)))
    };
    (0..frames.len()).map(decide).collect()
}

/// Floats as complex numbers: pairs, or real parts alone.
pub(crate) fn complex(floats: &[f32], is_complex: bool) -> Vec<Complex> {
    if is_complex {
        return floats.chunks(2).map(|pair| (f64::from(pair[0]), f64::from(pair[1]))).collect();
    }
    floats.iter().map(|x| (f64::from(*x), 0.0)).collect()
}

/// And back.
pub(crate) fn floats(samples: &[Complex], is_complex: bool) -> Vec<f64> {
    if is_complex {
        return samples.iter().flat_map(|(re, im)| [*re, *im]).collect();
    }
    samples.iter().map(|(re, _)| *re).collect()
}

/// Known signals prove the oracle.
#[test]
fn a_pure_tone_is_scaled_by_the_response_at_its_frequency() {
    for (k, len) in [(0, 64), (3, 64), (32, 64), (100, 1024)] {
        let tone: Vec<Complex> = (0..len).map(|n| ((TAU * (k * n) as f64 / len as f64).cos(), 0.0)).collect();
        let h = resolvent(1.618, TAU, k as f64 / len as f64, 0.0);
        let filtered = filter(&tone, len, |column, row| resolvent(1.618, TAU, column, row));
        for (x, y) in tone.iter().zip(&filtered) {
            assert!((y.0 - h * x.0).abs() < 1e-12 && y.1.abs() < 1e-12, "bin {k} of {len}: {y:?} from {x:?}");
        }
    }
}

#[test]
fn an_impulse_has_a_flat_spectrum_and_power_one_in_every_bin() {
    let mut impulse = vec![(0.0, 0.0); 128];
    impulse[5] = (0.0, 1.0);
    let (weighted, total) = powers(&impulse, 16, |_, _| 0.25);
    assert!((total - 128.0).abs() < 1e-9 && (weighted - 32.0).abs() < 1e-9, "{weighted}, {total}");
}

#[test]
fn the_transform_is_the_sum_of_its_definition() {
    let samples: Vec<Complex> = (0..16).map(|n| ((n * n % 7) as f64, (n * 3 % 5) as f64 - 2.0)).collect();
    for (k, bin) in dft(&samples, -1.0).iter().enumerate() {
        let by_definition = samples.iter().enumerate().fold((0.0, 0.0), |sum, (n, x)| {
            let angle = -2.0 * PI * (k * n) as f64 / 16.0;
            let term = multiply(*x, (angle.cos(), angle.sin()));
            (sum.0 + term.0, sum.1 + term.1)
        });
        assert!((bin.0 - by_definition.0).abs() + (bin.1 - by_definition.1).abs() < 1e-11, "bin {k}");
    }
}
