//! What is measured: signals on huge pages, and the graphs a user would build.

use auricle::{
    DeviceChoice, Engine, EngineOptions, FilterMode, FrameShape, Gate, Graph, HostBuffer, Layout, PhiResolvent,
    PipelineCacheDir, Plan, RunOutput,
};

pub const FRAME_LEN: usize = 1024;
/// 512 MiB: more than any L3 cache of one socket.
pub const COLD_FRAMES: usize = 128 * 1024;
/// With the results 1 MiB: stays in the L2 cache of one core.
pub const HOT_FRAMES: usize = 128;

/// Frames of noise at full scale and frames of noise under the gate's threshold, spread at random but always the same.
pub fn signal(frames: usize, quiet_percent: u64) -> HostBuffer {
    let mut samples = HostBuffer::zeroed(frames * FRAME_LEN);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let noise: Vec<f32> = (0..64 * FRAME_LEN).map(|_| (random() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0).collect();
    for frame in samples.chunks_exact_mut(FRAME_LEN) {
        let level = if random() % 100 < quiet_percent { 1e-5 } else { 1.0 };
        let from = (random() % 63) as usize * FRAME_LEN;
        frame.iter_mut().zip(&noise[from..]).for_each(|(sample, noise)| *sample = level * noise);
    }
    samples
}

pub fn engine(device: DeviceChoice, threads: usize) -> Option<Engine> {
    let options = EngineOptions { device, threads, pipeline_cache: PipelineCacheDir::Off, ..EngineOptions::default() };
    Engine::open(&options).ok()
}

/// A plan and the memory of its results, as an app would keep them.
pub struct Work {
    plan: Plan,
    output: RunOutput,
}

impl Work {
    pub fn new(engine: &Engine, graph: &Graph, layout: Layout) -> Self {
        let plan = engine.compile(graph).expect("the graph should compile");
        Self { plan, output: RunOutput::new(layout) }
    }

    /// Runs over `samples` as one channel; returns the live frames.
    pub fn run(&mut self, samples: &[f32]) -> u64 {
        self.plan.run_into(&[samples], 1, &mut self.output).expect("the run should succeed");
        self.output.counts().live
    }
}

fn input() -> Graph {
    Graph::new().input("samples", FrameShape::real(FRAME_LEN))
}

/// With nothing live, all that this does is gate.
pub fn gate_graph() -> Graph {
    input().gate("gate", "samples", Gate::default()).output("live", "gate")
}

pub fn filter_graph(mode: FilterMode) -> Graph {
    let filter = PhiResolvent { mode, ..PhiResolvent::default() };
    input().filter("filter", "samples", filter).output("clean", "filter")
}

pub fn pipeline_graph(mode: FilterMode) -> Graph {
    let filter = PhiResolvent { mode, ..PhiResolvent::default() };
    input().gate("gate", "samples", Gate::default()).filter("filter", "gate", filter).output("clean", "filter")
}
