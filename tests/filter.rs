//! The phi-resolvent filter, frame by frame: device = twin = oracle.

use std::f64::consts::TAU;

use auricle::{Domain, FilterMode, FilterOutput, FrameShape, GOLDEN_RATIO, Graph, PhiResolvent, Wavenumber};

use crate::adapter::engines;
use crate::compare::{FILTER_TOLERANCE, assert_close};
use crate::gate::LENGTHS;
use crate::oracle;
use crate::signals::noise;

const BLOCK: PhiResolvent = PhiResolvent {
    phi: GOLDEN_RATIO,
    wavenumber: Wavenumber::Cycles,
    mode: FilterMode::Block,
    measure: auricle::Measure::Nothing,
    output: FilterOutput::Smoothed,
};

fn graph(shape: FrameShape, filter: PhiResolvent) -> Graph {
    Graph::new().input("in", shape).filter("filter", "in", filter).output("out", "filter")
}

/// k at one cycle per sample.
pub(crate) fn unit(wavenumber: Wavenumber) -> f64 {
    match wavenumber {
        Wavenumber::Cycles => 1.0,
        Wavenumber::Nyquist => 2.0,
        Wavenumber::Radians => TAU,
    }
}

fn expected(shape: FrameShape, filter: &PhiResolvent, frame: &[f32]) -> Vec<f64> {
    let is_complex = shape.domain() == Domain::Complex;
    let samples = oracle::complex(frame, is_complex);
    let response = |column, row| oracle::resolvent(filter.phi, unit(filter.wavenumber), column, row);
    oracle::floats(&oracle::filter(&samples, shape.columns(), response), is_complex)
}

/// Filters frames on every device, and holds each against the oracle by itself.
fn check(shape: FrameShape, filter: PhiResolvent, samples: &[f32]) {
    let floats = shape.floats();
    let right: Vec<Vec<f64>> = samples.chunks(floats).map(|frame| expected(shape, &filter, frame)).collect();
    for engine in engines() {
        let plan = engine.compile(&graph(shape, filter)).expect("the graph should compile");
        let output = plan.run(&[samples], 1).expect("the run should succeed");
        let cleaned = output.dense("out").expect("the output is there");
        for (index, (cleaned, right)) in cleaned.chunks(floats).zip(&right).enumerate() {
            let (name, phi, wavenumber) = (&engine.device().name, filter.phi, filter.wavenumber);
            let what = format!("frame {index} of {shape}, phi {phi}, {wavenumber:?} on {name}");
            assert_close(cleaned, right, FILTER_TOLERANCE, &what);
        }
    }
}

fn one_dimension() -> impl Iterator<Item = FrameShape> {
    LENGTHS.iter().flat_map(|len| [FrameShape::real(*len), FrameShape::complex(*len)])
}

fn blocks() -> impl Iterator<Item = FrameShape> {
    let sides = [(8, 8), (16, 64), (64, 16), (64, 64), (2, 2048), (2048, 2), (4, 1024), (1024, 2), (32, 2), (2, 32)];
    sides.into_iter().flat_map(|(rows, columns)| {
        [FrameShape::block(Domain::Real, rows, columns), FrameShape::block(Domain::Complex, rows, columns)]
    })
}

#[test]
fn every_length_equals_the_oracle_in_every_unit() {
    for shape in one_dimension() {
        for wavenumber in [Wavenumber::Cycles, Wavenumber::Nyquist, Wavenumber::Radians] {
            check(shape, PhiResolvent { wavenumber, ..BLOCK }, &noise(5 * shape.floats(), shape.floats() as u64));
        }
    }
}

#[test]
fn two_dimensional_blocks_equal_the_oracle() {
    for shape in blocks() {
        for wavenumber in [Wavenumber::Cycles, Wavenumber::Radians] {
            check(shape, PhiResolvent { wavenumber, ..BLOCK }, &noise(3 * shape.floats(), shape.rows() as u64));
        }
    }
}

#[test]
fn phi_from_a_millionth_to_a_million() {
    for shape in [FrameShape::real(64), FrameShape::real(1024), FrameShape::complex(4096), FrameShape::complex(256)] {
        for phi in [1e-6, 1e-3, 0.1, 10.0, 1e3, 1e6] {
            for wavenumber in [Wavenumber::Cycles, Wavenumber::Radians] {
                // With a steady part, since a huge phi leaves nothing else.
                let samples: Vec<f32> = noise(3 * shape.floats(), 21).iter().map(|x| x + 0.5).collect();
                check(shape, PhiResolvent { phi, wavenumber, ..BLOCK }, &samples);
            }
        }
    }
}

/// 1 - R is as small as phi then: as a difference it would have few digits left.
#[test]
fn the_damped_gradient_of_a_tiny_phi_keeps_its_digits() {
    for shape in [FrameShape::real(64), FrameShape::complex(1024), FrameShape::block(Domain::Real, 16, 64)] {
        for phi in [1e-12, 1e-9, 1e-6] {
            let filter = PhiResolvent { phi, output: FilterOutput::DampedGradient, ..BLOCK };
            let gradient = |column: f64, row: f64| {
                let strength = phi * (column * column + row * row);
                2.0 * (strength / (1.0 + strength)).powi(2)
            };
            let samples = noise(3 * shape.floats(), 24);
            for engine in engines() {
                let plan = engine.compile(&graph(shape, filter)).expect("the graph should compile");
                let output = plan.run(&[&samples], 1).expect("the run should succeed");
                let damped = output.dense("out").expect("the output is there").chunks(shape.floats());
                for (frame, damped) in samples.chunks(shape.floats()).zip(damped) {
                    let is_complex = shape.domain() == Domain::Complex;
                    let right = oracle::filter(&oracle::complex(frame, is_complex), shape.columns(), gradient);
                    let what = format!("{shape}, phi {phi} on {}", engine.device().name);
                    assert_close(damped, &oracle::floats(&right, is_complex), FILTER_TOLERANCE, &what);
                }
            }
        }
    }
}

#[test]
fn a_loud_neighbour_costs_a_quiet_frame_no_accuracy() {
    for shape in one_dimension().chain(blocks().take(6)) {
        let mut samples = noise(9 * shape.floats(), 22);
        for frame in samples.chunks_mut(shape.floats()).skip(1).step_by(2) {
            frame.iter_mut().for_each(|x| *x *= 1e-6);
        }
        check(shape, BLOCK, &samples);
    }
}

#[test]
fn any_level_does() {
    for gain in [1e-25, 1e-9, 1e9, 1e25] {
        for shape in [FrameShape::real(512), FrameShape::complex(4096)] {
            let samples: Vec<f32> = noise(2 * shape.floats(), 23).iter().map(|x| x * gain).collect();
            check(shape, BLOCK, &samples);
        }
    }
}

#[test]
fn known_signals_come_out_as_known() {
    let shape = FrameShape::real(256);
    let tone = |bin: usize| (0..256).map(move |n| (TAU * (bin * n) as f64 / 256.0).cos() as f32);
    let samples: Vec<f32> = [0, 1, 64, 100, 127, 128].into_iter().flat_map(tone).chain(vec![0.0; 256]).collect();
    check(shape, BLOCK, &samples[..6 * 256]);
    for engine in engines() {
        let plan = engine.compile(&graph(shape, BLOCK)).expect("the graph should compile");
        let output = plan.run(&[&samples], 1).expect("the run should succeed");
        let cleaned = output.dense("out").expect("the output is there");
        // By hand: a steady signal stays, the one at Nyquist shrinks to 1 / (1 + 1.618 / 4).
        assert!(cleaned[..256].iter().all(|x| (x - 1.0).abs() < 1e-6), "a steady signal passes");
        let nyquist = cleaned[5 * 256..6 * 256].iter().map(|x| x.abs());
        assert!(nyquist.into_iter().all(|x| (x - 0.712).abs() < 1e-3), "Nyquist is damped to 0.712");
        assert!(cleaned[6 * 256..].iter().all(|x| *x == 0.0), "silence stays silent");
    }
}

#[test]
fn the_response_is_what_its_documentation_says() {
    for (wavenumber, at_nyquist) in
        [(Wavenumber::Cycles, 0.712), (Wavenumber::Nyquist, 0.382), (Wavenumber::Radians, 0.059)]
    {
        let filter = PhiResolvent { wavenumber, ..BLOCK };
        assert!((filter.response(0.5, 0.0) - at_nyquist).abs() < 5e-4, "{wavenumber:?} at Nyquist");
        assert_eq!(filter.response(0.0, 0.0), 1.0, "{wavenumber:?} at 0");
        assert_eq!(filter.response(-0.25, 0.1), filter.response(0.25, -0.1), "{wavenumber:?} is even");
    }
}

#[test]
fn a_filter_that_makes_no_sense_is_refused_by_name() {
    for phi in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        for engine in engines() {
            let filter = PhiResolvent { phi, ..BLOCK };
            let error = engine.compile(&graph(FrameShape::real(64), filter)).expect_err("no such phi").to_string();
            assert!(error.contains("`filter`") && error.contains("phi"), "{error}");
        }
    }
}

#[test]
fn frames_too_short_for_a_seamless_filter_are_refused_with_what_mends_it() {
    let seamless = PhiResolvent { mode: FilterMode::Seamless, ..BLOCK };
    let refusal = |len: usize, filter: PhiResolvent| {
        let messages = engines().iter().map(|engine| {
            let compiled = engine.compile(&graph(FrameShape::real(len), filter));
            compiled.err().map(|error| error.to_string()).unwrap_or_default()
        });
        let messages: Vec<String> = messages.collect();
        assert!(messages.iter().all(|message| *message == messages[0]), "every device says the same: {messages:?}");
        messages[0].clone()
    };
    let gradient = PhiResolvent { output: FilterOutput::DampedGradient, ..seamless };
    for len in LENGTHS {
        assert_eq!(refusal(len, seamless), "", "frames of {len}, smoothed");
        let message = refusal(len, gradient);
        let expected = len < 512;
        let mends = message.contains("longer frames or block mode") && !message.contains("smaller phi");
        assert!(mends == expected && message.is_empty() != expected, "frames of {len}, gradient: {message}");
        // The mends that there are for a phi that is too large.
        for filter in [seamless, gradient].map(|filter| PhiResolvent { phi: 1e9, ..filter }) {
            let message = refusal(len, filter);
            let (is_gradient, is_longest) = (filter.output == FilterOutput::DampedGradient, len >= 1024);
            assert!(message.contains("block mode"), "{message}");
            // Where the kink at Nyquist is too much for so short frames, no phi helps.
            let smaller = |digits| graph(FrameShape::real(len), PhiResolvent { phi: 10_f64.powi(digits), ..filter });
            let helps = (0..9).any(|digits| engines()[0].compile(&smaller(digits)).is_ok());
            assert_eq!(message.contains("a smaller phi"), helps, "frames of {len}, gradient {is_gradient}: {message}");
            assert_eq!(message.contains("longer frames"), !is_longest, "{message}");
        }
    }
}
