//! Denoising many channels, a hop at a time and a recording at a time, with a network of DTLN's shape: two parts of two
//! LSTMs of 128, windows of 512 every 128 at 16 kHz. Weights are random; the time does not depend on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use auricle::stage::denoise::model::{
    Activation, Basis, Description, Feature, Layer, LayerKind, Model, Part, Tensor, Window,
};
use auricle::{Denoise, Engine, FrameShape, Graph, Layout, Level, Precision, RunOutput, Session};

/// Samples in a hop, and in a frame, so that each push is a hop of every channel.
const HOP: usize = 128;

/// A network of DTLN's shape.
pub fn dtln_shape() -> Arc<Model> {
    let layer =
        |name: &str, inputs, outputs, kind| Layer { name: name.to_owned(), inputs, outputs, kind, scaled: false };
    let mask = LayerKind::Dense(Activation::Sigmoid);
    let parts = vec![
        Part {
            name: "spectrum".to_owned(),
            basis: Basis::Spectrum(Feature::Magnitude),
            layers: vec![
                layer("lstm0", 257, 128, LayerKind::Lstm),
                layer("lstm1", 128, 128, LayerKind::Lstm),
                layer("mask0", 128, 257, mask),
            ],
        },
        Part {
            name: "learned".to_owned(),
            basis: Basis::Learned { size: 256 },
            layers: vec![
                layer("norm", 256, 256, LayerKind::LayerNorm { epsilon: 1e-7 }),
                layer("lstm2", 256, 128, LayerKind::Lstm),
                layer("lstm3", 128, 128, LayerKind::Lstm),
                layer("mask1", 128, 256, mask),
            ],
        },
    ];
    let description = Description {
        name: "dtln-shape".to_owned(),
        version: "1".to_owned(),
        licence: "MIT OR Apache-2.0".to_owned(),
        source: "random".to_owned(),
        sample_rate_hz: 16_000,
        window_len: 512,
        hop: HOP,
        window: Window::Rectangular,
        level_dbfs: None,
        mask_floor_db: None,
        parts,
    };
    let mut seed = 1_u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f64::from(seed) / f64::from(u32::MAX) - 0.5) as f32 * 0.2
    };
    let tensors: BTreeMap<String, Tensor> = description
        .expected_tensors()
        .into_iter()
        .map(|(name, shape)| {
            let values = (0..shape.iter().product()).map(|_| random()).collect();
            (name, Tensor { shape, values })
        })
        .collect();
    Arc::new(Model::new(description, tensors).expect("the tensors are those that are expected"))
}

/// Channels that are denoised by so many hops at a time.
pub struct Denoising {
    session: Session,
    samples: Vec<f32>,
    output: RunOutput,
}

impl Denoising {
    pub fn new(engine: &Engine, model: &Arc<Model>, precision: Precision, channels: usize, hops: usize) -> Self {
        let denoise = Denoise { precision, level: Level::Off, ..Denoise::new(Arc::clone(model)) };
        let graph = Graph::new()
            .input("samples", FrameShape::real(HOP))
            .denoise("denoise", "samples", denoise)
            .output("clean", "denoise");
        let plan = engine.compile(&graph).expect("the graph should compile");
        let session = plan.session(channels).expect("there should be room for the channels");
        let samples = (0..channels * hops * HOP).map(|n| 0.1 * (n as f32 * 0.37).sin()).collect();
        Self { session, samples, output: RunOutput::new(Layout::Dense) }
    }

    pub fn run(&mut self) {
        self.session.push(&[&self.samples], &mut self.output).expect("it should run");
    }
}
