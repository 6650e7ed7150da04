//! The transform as a node: its definition in f64 on every device, there and back, in graphs of all kinds.

use auricle::{Domain, FilterMode, Fourier, FrameShape, Gate, Graph, PhiResolvent, Taper, Threshold};

use crate::adapter::{engines, plans};
use crate::compare::{FILTER_TOLERANCE, assert_close, assert_same_bits};
use crate::oracle::{complex, dft, floats};
use crate::signals::noise;

fn forward(len: usize, taper: Taper) -> Graph {
    Graph::new()
        .input("samples", FrameShape::complex(len))
        .fourier("fourier", "samples", Fourier::Forward(taper))
        .output("bins", "fourier")
}

#[test]
fn every_length_is_the_sum_that_defines_it() {
    for len in (6..12).map(|log2| 1_usize << log2) {
        for taper in [Taper::Rectangular, Taper::Hann] {
            // Odd counts, so that a pair of frames has one that is alone.
            let samples = noise(2 * len * 5, len as u64);
            let weight = |n: usize| match taper {
                Taper::Rectangular => 1.0,
                Taper::Hann => 0.5 - 0.5 * (std::f64::consts::TAU * n as f64 / (len - 1) as f64).cos(),
            };
            let expected: Vec<f64> = samples
                .chunks(2 * len)
                .flat_map(|frame| {
                    let tapered = complex(frame, true).into_iter().enumerate();
                    let tapered: Vec<_> = tapered.map(|(n, z)| (z.0 * weight(n), z.1 * weight(n))).collect();
                    floats(&dft(&tapered, -1.0), true)
                })
                .collect();
            for (what, plan) in plans(&forward(len, taper), &[4, 64]) {
                let output = plan.run(&[&samples], 1).expect("the plan should run");
                let bins = output.dense("bins").expect("the output should be there");
                for (frame, (bins, expected)) in bins.chunks(2 * len).zip(expected.chunks(2 * len)).enumerate() {
                    assert_close(bins, expected, FILTER_TOLERANCE, &format!("{what}, {len}, {taper:?}, frame {frame}"));
                }
            }
        }
    }
}

#[test]
fn there_and_back_gives_the_samples() {
    for len in [64, 512, 1024, 2048] {
        let graph = Graph::new()
            .input("samples", FrameShape::complex(len))
            .fourier("bins", "samples", Fourier::Forward(Taper::Rectangular))
            .fourier("back", "bins", Fourier::Inverse)
            .output("same", "back");
        let samples = noise(2 * len * 3, 7);
        let expected: Vec<f64> = samples.iter().map(|sample| f64::from(*sample)).collect();
        for (what, plan) in plans(&graph, &[4, 64]) {
            let output = plan.run(&[&samples], 1).expect("the plan should run");
            let same = output.dense("same").expect("the output should be there");
            assert_close(same, &expected, FILTER_TOLERANCE, &format!("{what}, {len}"));
        }
    }
}

#[test]
fn a_frame_is_the_same_to_the_bit_whatever_its_neighbours_are() {
    let len = 1024;
    let samples = noise(2 * len * 4, 3);
    let mut others = samples.iter().map(|sample| 1e6 * sample).collect::<Vec<f32>>();
    others[2 * len..4 * len].copy_from_slice(&samples[2 * len..4 * len]);
    for (what, plan) in plans(&forward(len, Taper::Hann), &[4, 64]) {
        let bins = |samples: &[f32]| {
            let output = plan.run(&[samples], 1).expect("the plan should run");
            output.dense("bins").expect("the output should be there")[2 * len..4 * len].to_vec()
        };
        assert_same_bits(&bins(&samples), &bins(&others), &what);
    }
}

#[test]
fn it_stands_behind_gate_and_filter() {
    let len = 256;
    let graph = Graph::new()
        .input("samples", FrameShape::complex(len))
        .gate("gate", "samples", Gate { threshold: Threshold::Decibels(-6.0), ..Gate::default() })
        .filter("filter", "gate", PhiResolvent { mode: FilterMode::Block, ..PhiResolvent::default() })
        .fourier("bins", "filter", Fourier::Forward(Taper::Rectangular))
        .output("bins_out", "bins")
        .output("clean", "filter");
    let mut samples = noise(2 * len * 6, 5);
    // Every other frame is too quiet for the gate.
    samples.chunks_mut(2 * len).step_by(2).for_each(|frame| frame.iter_mut().for_each(|sample| *sample *= 1e-3));
    for (what, plan) in plans(&graph, &[4, 64]) {
        let output = plan.run(&[&samples], 1).expect("the plan should run");
        assert_eq!(output.counts().live, 3, "{what}");
        let [bins, clean] = ["bins_out", "clean"].map(|name| output.dense(name).expect("the output should be there"));
        for (bins, clean) in bins.chunks(2 * len).zip(clean.chunks(2 * len)).skip(1).step_by(2) {
            let expected = floats(&dft(&complex(clean, true), -1.0), true);
            assert_close(bins, &expected, FILTER_TOLERANCE, &what);
        }
    }
}

#[test]
fn frames_that_have_no_transform_are_refused() {
    let shapes = [
        FrameShape::real(1024),
        FrameShape::complex(4096),
        FrameShape::complex(32),
        FrameShape::complex(100),
        FrameShape::block(Domain::Complex, 8, 64),
    ];
    for shape in shapes {
        let graph =
            Graph::new().input("samples", shape).fourier("mine", "samples", Fourier::Inverse).output("bins", "mine");
        for engine in engines() {
            let error = engine.compile(&graph).expect_err("the graph should be refused").to_string();
            let parts = ["`mine`", "64 to 2048 complex samples"];
            assert!(parts.iter().all(|part| error.contains(part)), "{shape}: {error}");
        }
    }
}
