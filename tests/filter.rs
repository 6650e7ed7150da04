//! The phi-resolvent filter: device = twin = oracle.

use auricle::{Domain, FilterMode, FrameShape, GOLDEN_RATIO, Graph, Measure, PhiResolvent, PlanOptions, Wavenumber};

use crate::adapter::{engines, noise};
use crate::compare::{FILTER_TOLERANCE, assert_close};
use crate::oracle;

const ONE_DIMENSION: [usize; 7] = [64, 128, 256, 512, 1024, 2048, 4096];

fn graph(shape: FrameShape, filter: PhiResolvent) -> Graph {
    Graph::new().input("in", shape).filter("filter", "in", filter).output("out", "filter")
}

fn unit(wavenumber: Wavenumber) -> f64 {
    match wavenumber {
        Wavenumber::Cycles => 1.0,
        Wavenumber::Nyquist => 2.0,
        Wavenumber::Radians => std::f64::consts::TAU,
    }
}

fn expected(shape: FrameShape, filter: &PhiResolvent, frame: &[f32]) -> Vec<f64> {
    let is_complex = shape.domain() == Domain::Complex;
    let samples = oracle::complex(frame, is_complex);
    let response = |column, row| oracle::resolvent(filter.phi, unit(filter.wavenumber), column, row);
    oracle::floats(&oracle::filter(&samples, shape.columns(), response), is_complex)
}

#[test]
fn every_length_equals_the_oracle_on_every_device() {
    let block = PhiResolvent { mode: FilterMode::Block, ..PhiResolvent::default() };
    let shapes = ONE_DIMENSION.iter().flat_map(|len| [FrameShape::real(*len), FrameShape::complex(*len)]);
    for engine in engines() {
        for shape in shapes.clone() {
            let plan = engine.compile(&graph(shape, block)).expect("the graph should compile");
            let frames = 5;
            let samples = noise(frames * shape.floats(), shape.floats() as u64);
            let output = plan.run(&[&samples], 1).expect("the run should succeed");
            let cleaned = output.dense("out").expect("the output is there");
            for (frame, cleaned) in samples.chunks(shape.floats()).zip(cleaned.chunks(shape.floats())) {
                let what = format!("{} frames on {}", shape, engine.device().name);
                assert_close(cleaned, &expected(shape, &block, frame), FILTER_TOLERANCE, &what);
            }
        }
    }
}
