//! An app of its own: input -> gate -> filter -> a kernel of its own -> output, on whatever device there is.
//!
//! ```text
//! cargo run --release --no-default-features --example embed
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what came out")]

use auricle::{
    CustomKernel, Engine, EngineOptions, FrameShape, Gate, Graph, Measure, PhiResolvent, Threshold, Wavenumber, measure,
};

/// A soft limiter: loud samples bend towards full scale instead of passing it.
const LIMITER: &str = "
struct Params { count: u32, frame_len: u32, drive: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(64)
fn limit(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let frame = flat_workgroup(id, count);
    if frame >= params.count { return; }
    for (var i = lane; i < params.frame_len; i += 64u) {
        let x = params.drive * source[frame * params.frame_len + i];
        result[frame * params.frame_len + i] = x / (1.0 + abs(x));
    }
}";

fn limiter(drive: f32) -> CustomKernel {
    let limit = move |sources: &[&[f32]], result: &mut [f32]| {
        let driven = sources[0].iter().map(|x| drive * x);
        result.iter_mut().zip(driven).for_each(|(y, x)| *y = x / (1.0 + x.abs()));
    };
    CustomKernel::new(LIMITER, limit).param(drive)
}

fn main() -> auricle::Result<()> {
    let gate = Gate { threshold: Threshold::Decibels(-50.0), hold: 1, ..Gate::default() };
    let filter =
        PhiResolvent { wavenumber: Wavenumber::Radians, measure: Measure::Coherence, ..PhiResolvent::default() };
    let graph = Graph::new()
        .input("samples", FrameShape::real(1024))
        .gate("gate", "samples", gate)
        .filter("filter", "gate", filter)
        .kernel("limiter", &["filter"], limiter(1.5))
        .output("limited", "limiter")
        .output("powers", "filter.powers");
    let engine = Engine::open(&EngineOptions::default())?;
    // A second of a 440 Hz tone at 48 kHz, silent in its second half.
    let tone = |n: usize| (std::f32::consts::TAU * 440.0 * n as f32 / 48_000.0).sin();
    let samples: Vec<f32> = (0..48 * 1024).map(|n| if n < 24 * 1024 { tone(n) } else { 0.0 }).collect();

    let output = engine.compile(&graph)?.run(&[&samples], 1)?;
    let powers: Vec<f32> = output.live("powers").flat_map(|live| live.samples).copied().collect();
    let peak = output.dense("limited").unwrap_or(&[]).iter().fold(0.0_f32, |peak, y| peak.max(y.abs()));
    println!("{} ({})\n{:?}", engine.device().name, engine.device().driver, output.counts());
    println!("coherence {:.3}, peak {peak:.3}", measure::coherence(&powers).unwrap_or(0.0));
    Ok(())
}
