//! Coherence, and the damped energy with its gradient: figures on every device against the definition.

use std::f64::consts::{PI, TAU};

use auricle::{
    Domain, FilterMode, FilterOutput, FrameShape, GOLDEN_RATIO, Gate, Graph, Measure, PhiResolvent, Threshold,
    Wavenumber, measure,
};

use crate::adapter::plans;
use crate::compare::{FILTER_TOLERANCE, assert_close};
use crate::filter::unit;
use crate::oracle;
use crate::signals::noise;

/// A sum of squares in f32, in partial sums: each of the n / 64 additions rounds, half of them down.
const POWER_TOLERANCE: f64 = 2e-6;

fn shapes() -> Vec<FrameShape> {
    let lengths = [64, 256, 1024, 4096].into_iter().flat_map(|len| [FrameShape::real(len), FrameShape::complex(len)]);
    let sides = [(8, 8), (64, 64), (2, 2048), (2048, 2)].into_iter();
    let blocks = sides.flat_map(|(rows, columns)| {
        [FrameShape::block(Domain::Real, rows, columns), FrameShape::block(Domain::Complex, rows, columns)]
    });
    lengths.chain(blocks).collect()
}

fn graph(shape: FrameShape, filter: PhiResolvent) -> Graph {
    Graph::new()
        .input("in", shape)
        .gate("gate", "in", Gate { threshold: Threshold::Off, ..Gate::default() })
        .filter("filter", "gate", filter)
        .output("out", "filter")
        .output("powers", "filter.powers")
}

fn measuring(measure: Measure, wavenumber: Wavenumber) -> PhiResolvent {
    PhiResolvent { measure, wavenumber, mode: FilterMode::Block, ..PhiResolvent::default() }
}

fn signal(shape: FrameShape, frame: &[f32]) -> Vec<oracle::Complex> {
    oracle::complex(frame, shape.domain() == Domain::Complex)
}

fn coherence_weight(column: f64, row: f64) -> f64 {
    oracle::resolvent(GOLDEN_RATIO, TAU, column, row)
}

fn assert_power(actual: f32, expected: f64, what: &str) {
    let error = (f64::from(actual) / expected - 1.0).abs();
    assert!(error <= POWER_TOLERANCE, "{what}: {actual} instead of {expected}");
}

#[test]
fn powers_equal_the_oracle_and_do_not_change_the_filter() {
    for shape in shapes() {
        let mut samples = noise(5 * shape.floats(), 41);
        samples[shape.floats()..2 * shape.floats()].iter_mut().for_each(|x| *x *= 1e-6);
        for measure in [Measure::Coherence, Measure::DampedEnergy] {
            let filter = measuring(measure, Wavenumber::Nyquist);
            let weight = |column, row| match measure {
                Measure::Coherence => coherence_weight(column, row),
                _ => (1.0 - oracle::resolvent(GOLDEN_RATIO, 2.0, column, row)).powi(2),
            };
            for (name, plan) in plans(&graph(shape, filter), &[8]) {
                let output = plan.run(&[&samples], 1).expect("the run should succeed");
                let powers = output.dense("powers").expect("the powers are there").chunks(2);
                for ((frame, pair), index) in samples.chunks(shape.floats()).zip(powers).zip(0..) {
                    let what = format!("frame {index} of {shape}, {measure:?} on {name}");
                    let (weighted, total) = oracle::powers(&signal(shape, frame), shape.columns(), weight);
                    assert_power(pair[0], weighted, &format!("weighted, {what}"));
                    assert_power(pair[1], total, &format!("total, {what}"));
                }
                let response = |column, row| oracle::resolvent(GOLDEN_RATIO, 2.0, column, row);
                let cleaned = output.dense("out").expect("the output is there").chunks(shape.floats());
                for (frame, cleaned) in samples.chunks(shape.floats()).zip(cleaned) {
                    let right = oracle::filter(&signal(shape, frame), shape.columns(), response);
                    let right = oracle::floats(&right, shape.domain() == Domain::Complex);
                    assert_close(cleaned, &right, FILTER_TOLERANCE, &format!("{shape}, {measure:?} on {name}"));
                }
            }
        }
    }
}

#[test]
fn windows_of_a_seamless_filter_are_measured_each() {
    let shape = FrameShape::real(1024);
    let filter = PhiResolvent { mode: FilterMode::Seamless, ..measuring(Measure::Coherence, Wavenumber::Cycles) };
    let samples = noise(4 * 1024, 42);
    let mut figures = Vec::new();
    for (name, plan) in plans(&graph(shape, filter), &[8]) {
        let output = plan.run(&[&samples], 1).expect("the run should succeed");
        let powers = output.dense("powers").expect("the powers are there");
        assert!(powers.len() >= 8 && powers.len() % 8 == 0, "pairs for each window of 4 frames");
        // Windows of white noise hold white noise, those at the ends half as much of it.
        let coherence = measure::coherence(powers).expect("there is power");
        assert!((coherence - 0.332).abs() < 0.03, "{coherence} on {name}");
        figures.push(powers.to_vec());
    }
    let right: Vec<f64> = figures[0].iter().map(|x| f64::from(*x)).collect();
    for other in &figures[1..] {
        assert_close(other, &right, POWER_TOLERANCE, "every device measures the same");
    }
}

/// Coherence of all of a signal, on every device.
fn coherences(samples: &[f32]) -> Vec<f64> {
    // Whatever unit and phi the filter itself has.
    let filter = PhiResolvent { phi: 7.0, ..measuring(Measure::Coherence, Wavenumber::Cycles) };
    let coherence = |(_, plan): (String, auricle::Plan)| {
        let output = plan.run(&[samples], 1).expect("the run should succeed");
        measure::coherence(output.dense("powers").expect("the powers are there")).expect("there is power")
    };
    plans(&graph(FrameShape::real(1024), filter), &[16]).into_iter().map(coherence).collect()
}

#[test]
fn coherence_tells_noise_from_signal() {
    let by_formula = (PI * GOLDEN_RATIO.sqrt()).atan() / (PI * GOLDEN_RATIO.sqrt());
    assert!((by_formula - 0.332).abs() < 1e-3, "what the documentation says");
    let tone = |cycles: f64| -> Vec<f32> { (0..8192).map(|n| (TAU * cycles * n as f64).sin() as f32).collect() };
    for coherence in coherences(&noise(64 * 1024, 43)) {
        assert!((coherence - by_formula).abs() < 0.01, "white noise: {coherence}");
    }
    for coherence in coherences(&tone(8.0 / 1024.0)) {
        assert!(coherence > 0.99, "a slow signal: {coherence}");
    }
    let upper: Vec<Vec<f32>> = (0..40).map(|n| tone((256.5 + 6.3 * f64::from(n)) / 1024.0)).collect();
    let upper: Vec<f32> = (0..8192).map(|n| upper.iter().map(|tone| tone[n]).sum()).collect();
    for coherence in coherences(&upper) {
        assert!(coherence < 0.2, "content in the upper half band: {coherence}");
    }
    assert_eq!(measure::coherence(&[]), None, "nothing was measured");
    assert_eq!(measure::coherence(&[0.0, 0.0]), None, "silence has no coherence");
}

/// `lambda * sum |x - R x|^2` in f64, from the filtered samples rather than from the spectrum.
fn energy_by_definition(shape: FrameShape, samples: &[oracle::Complex], filter: &PhiResolvent) -> f64 {
    let response = |column, row| oracle::resolvent(filter.phi, unit(filter.wavenumber), column, row);
    let smoothed = oracle::filter(samples, shape.columns(), response);
    samples.iter().zip(&smoothed).map(|(x, y)| (x.0 - y.0).powi(2) + (x.1 - y.1).powi(2)).sum()
}

/// The derivative with respect to one float: exact for a square, whatever the step.
fn slope(shape: FrameShape, frame: &[f32], float: usize, filter: &PhiResolvent) -> f64 {
    let energy = |step: f64| {
        let mut samples = signal(shape, frame);
        let parts = shape.domain().floats_per_sample();
        let sample = &mut samples[float / parts];
        *(if float.is_multiple_of(parts) { &mut sample.0 } else { &mut sample.1 }) += step;
        energy_by_definition(shape, &samples, filter)
    };
    energy(0.5) - energy(-0.5)
}

#[test]
fn damped_energy_and_gradient_follow_their_definition() {
    for shape in shapes().into_iter().filter(|shape| shape.len() <= 1024) {
        for wavenumber in [Wavenumber::Cycles, Wavenumber::Radians] {
            let filter = PhiResolvent { wavenumber, ..PhiResolvent::default() };
            let frame = noise(shape.floats(), 44);
            let result = measure::damped_energy(&filter, shape, &frame, 0.25).expect("the frame fits");
            let energy = 0.25 * energy_by_definition(shape, &signal(shape, &frame), &filter);
            assert_power(result.energy as f32, energy, &format!("energy of {shape}, {wavenumber:?}"));
            let level = result.gradient.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / shape.floats() as f64;
            for float in [0, 1, 2, 17, shape.floats() / 2, shape.floats() - 1] {
                let expected = 0.25 * slope(shape, &frame, float, &filter);
                let error = (f64::from(result.gradient[float]) - expected).abs() / level.sqrt();
                assert!(error < 1e-5, "float {float} of {shape}, {wavenumber:?}: {error:e}");
            }
        }
    }
}

#[test]
fn a_graph_gives_the_same_energy_and_gradient() {
    for shape in [FrameShape::real(64), FrameShape::real(1024), FrameShape::complex(4096), shapes()[8]] {
        let filter = PhiResolvent {
            output: FilterOutput::DampedGradient,
            ..measuring(Measure::DampedEnergy, Wavenumber::Nyquist)
        };
        let samples = noise(3 * shape.floats(), 45);
        for (name, plan) in plans(&graph(shape, filter), &[8]) {
            let output = plan.run(&[&samples], 1).expect("the run should succeed");
            let gradients = output.dense("out").expect("the output is there").chunks(shape.floats());
            let powers = output.dense("powers").expect("the powers are there").chunks(2);
            for ((frame, gradient), pair) in samples.chunks(shape.floats()).zip(gradients).zip(powers) {
                let what = format!("{shape} on {name}");
                let energy = energy_by_definition(shape, &signal(shape, frame), &filter);
                assert_power(pair[0] / shape.len() as f32, energy, &what);
                let response = |column, row| 2.0 * (1.0 - oracle::resolvent(GOLDEN_RATIO, 2.0, column, row)).powi(2);
                let right = oracle::filter(&signal(shape, frame), shape.columns(), response);
                let right = oracle::floats(&right, shape.domain() == Domain::Complex);
                assert_close(gradient, &right, FILTER_TOLERANCE, &format!("gradient, {what}"));
            }
        }
    }
}

#[test]
fn a_frame_of_the_wrong_length_is_refused() {
    let error = measure::damped_energy(&PhiResolvent::default(), FrameShape::real(64), &[0.0; 65], 1.0);
    let message = error.expect_err("65 floats are no frame of 64").to_string();
    assert!(message.contains("64 floats") && message.contains("65"), "{message}");
}
