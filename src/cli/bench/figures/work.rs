//! What is measured: signals on huge pages, and the graphs that a user would build.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::cli::bench::signal::gated_noise;
use crate::random::Random;
use crate::stage::denoise::model::{
    Activation, Basis, Description, Feature, Layer, LayerKind, Model, Part, Tensor, Window,
};
use crate::{
    Denoise, DeviceChoice, Engine, EngineOptions, FilterMode, FrameShape, Gate, Graph, HostBuffer, Layout, Level,
    PhiResolvent, PipelineCacheDir, Plan, Precision, RunOutput, Session,
};

pub(super) const FRAME_LEN: usize = 1024;
/// Bytes of a frame of `f32`.
pub(super) const FRAME_BYTES: f64 = 4.0 * FRAME_LEN as f64;
/// 512 MiB: more than any L3 cache of one socket.
pub(super) const COLD_FRAMES: usize = 128 * 1024;
/// With the results 1 MiB: stays in the L2 cache of one core.
pub(super) const HOT_FRAMES: usize = 128;
/// Additions and multiplications of a frame's filter: two real transforms of 2.5 n log2 n, and the product of the spectrum with
/// the response.
pub(super) const FILTER_FLOPS: f64 = 2.0 * 2.5 * FRAME_LEN as f64 * 10.0 + FRAME_LEN as f64;

/// Frames of noise, so many of a hundred of them quiet.
pub(super) fn signal(frames: usize, quiet_percent: u32) -> HostBuffer {
    gated_noise(frames, FRAME_LEN, quiet_percent)
}

pub(super) fn engine(device: DeviceChoice, threads: usize) -> Result<Engine> {
    let options = EngineOptions { device, threads, pipeline_cache: PipelineCacheDir::Off, ..EngineOptions::default() };
    Ok(Engine::open(&options)?)
}

pub(super) fn cpu(threads: usize) -> Result<Engine> {
    engine(DeviceChoice::Cpu, threads)
}

/// A plan and the memory of its results, as an app would keep them.
pub(super) struct Work {
    plan: Plan,
    output: RunOutput,
}

impl Work {
    pub(super) fn new(engine: &Engine, graph: &Graph, layout: Layout) -> Result<Self> {
        Ok(Self { plan: engine.compile(graph)?, output: RunOutput::new(layout) })
    }

    /// Runs over `samples` as one channel.
    pub(super) fn run(&mut self, samples: &[f32]) -> Result<()> {
        self.plan.run_into(&[samples], 1, &mut self.output)?;
        std::hint::black_box(self.output.counts().live);
        Ok(())
    }

    /// What its nodes took on the device in the last run, without the gate, which looks on the host, and without what goes to
    /// the device and comes back.
    pub(super) fn node_time(&self) -> Duration {
        let around = ["gate", "upload", "readback", "collect"];
        let times = self.output.stage_times().iter().filter(|(name, _)| !around.contains(&name.as_str()));
        times.map(|(_, time)| *time).sum()
    }
}

/// With nothing live, all that this does is gate.
pub(super) fn gate_graph() -> Graph {
    let input = Graph::new().input("samples", FrameShape::real(FRAME_LEN));
    input.gate("gate", "samples", Gate::default()).output("live", "gate")
}

pub(super) fn filter_graph(frame_len: usize, mode: FilterMode) -> Graph {
    let filter = PhiResolvent { mode, ..PhiResolvent::default() };
    let input = Graph::new().input("samples", FrameShape::real(frame_len));
    input.filter("filter", "samples", filter).output("clean", "filter")
}

pub(super) fn pipeline_graph(mode: FilterMode) -> Graph {
    let filter = PhiResolvent { mode, ..PhiResolvent::default() };
    let input = Graph::new().input("samples", FrameShape::real(FRAME_LEN));
    input.gate("gate", "samples", Gate::default()).filter("filter", "gate", filter).output("clean", "filter")
}

/// Channels that are denoised by so many hops at a time, through a session.
pub(super) struct Denoising {
    session: Session,
    samples: Vec<f32>,
    output: RunOutput,
    /// Seconds of one channel that a call is about, times the channels.
    pub(super) seconds: f64,
}

impl Denoising {
    pub(super) fn new(
        engine: &Engine,
        model: &Arc<Model>,
        precision: Precision,
        channels: usize,
        hops: usize,
    ) -> Result<Self> {
        let description = model.description();
        let hop = description.hop;
        let denoise = Denoise { precision, level: Level::Off, ..Denoise::new(Arc::clone(model)) };
        let graph = Graph::new()
            .input("samples", FrameShape::real(hop))
            .denoise("denoise", "samples", denoise)
            .output("clean", "denoise");
        let session = engine.compile(&graph)?.session(channels)?;
        let len = channels * hops * hop;
        let seconds = len as f64 / f64::from(description.sample_rate_hz);
        let samples = (0..len).map(|n| 0.1 * (n as f32 * 0.37).sin()).collect();
        Ok(Self { session, samples, output: RunOutput::new(Layout::Dense), seconds })
    }

    pub(super) fn run(&mut self) -> Result<()> {
        Ok(self.session.push(&[&self.samples], &mut self.output)?)
    }
}

/// A network of DTLN's shape: two parts of two LSTMs of 128, windows of 512 every 128 at 16 kHz. Its weights are random; the time
/// does not depend on them.
pub(super) fn dtln_shape() -> Result<Arc<Model>> {
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
        hop: 128,
        window: Window::Rectangular,
        level_dbfs: None,
        mask_floor_db: None,
        parts,
    };
    let mut random = Random::new(1, 0);
    let tensors: BTreeMap<String, Tensor> = description
        .expected_tensors()
        .into_iter()
        .map(|(name, shape)| {
            let values = (0..shape.iter().product()).map(|_| 0.2 * (random.unit() - 0.5)).collect();
            (name, Tensor { shape, values })
        })
        .collect();
    Ok(Arc::new(Model::new(description, tensors)?))
}
