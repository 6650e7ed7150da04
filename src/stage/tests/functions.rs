//! `shaders/denoise/functions.wgsl` on every adapter, against f64.

use crate::{
    CustomKernel, DeviceChoice, DeviceKind, Devices, Engine, EngineOptions, FrameShape, Graph, PipelineCacheDir,
};

const LEN: usize = 4096;

/// What `function` of the shader makes of `x` on an adapter.
fn compute(engine: &Engine, function: &str, x: &[f32]) -> Vec<f32> {
    let wgsl = format!(
        "{}
         struct Params {{ count: u32, frame_len: u32 }}
         @group(0) @binding(0) var<uniform> params: Params;
         @group(0) @binding(1) var<storage, read> x: array<f32>;
         @group(0) @binding(2) var<storage, read_write> y: array<f32>;
         @compute @workgroup_size(64)
         fn compute(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
                    @builtin(local_invocation_index) lane: u32) {{
             let frame = flat_workgroup(id, count);
             if frame >= params.count {{ return; }}
             for (var i = lane; i < params.frame_len; i += 64u) {{
                 y[frame * params.frame_len + i] = {function}(x[frame * params.frame_len + i]);
             }}
         }}",
        include_str!("../../../shaders/denoise/functions.wgsl")
    );
    let kernel = CustomKernel::new(&wgsl, |_, result| result.fill(f32::NAN));
    let graph = Graph::new().input("x", FrameShape::real(LEN)).kernel("f", &["x"], kernel).output("y", "f");
    let plan = engine.compile(&graph).expect("the functions should compile");
    let output = plan.run(&[x], 1).expect("the functions should run");
    output.dense("y").expect("it is an output").to_vec()
}

/// The largest error, and where it is.
fn worst(x: &[f32], y: &[f32], error: impl Fn(f64, f64) -> f64) -> (f64, f32) {
    let errors = x.iter().zip(y).map(|(x, y)| (error(f64::from(*x), f64::from(*y)), *x));
    errors.fold((0.0, 0.0), |worst, this| if this.0 > worst.0 || this.0.is_nan() { this } else { worst })
}

#[test]
#[expect(clippy::cast_possible_truncation, reason = "test points")]
fn functions_are_as_good_as_they_say() {
    let devices = Devices::find(1).expect("finding devices should not fail").list();
    for device in devices.into_iter().filter(|info| info.kind != DeviceKind::Cpu) {
        let choice = DeviceChoice::Named(device.name.clone());
        let options = EngineOptions {
            device: choice,
            threads: 1,
            pipeline_cache: PipelineCacheDir::Off,
            ..EngineOptions::default()
        };
        let engine = Engine::open(&options).expect("the adapter should open");
        // From -20 to 20, and every order of magnitude.
        let near = (0..7 * LEN).map(|n| (n as f64 / (7 * LEN) as f64 * 40.0 - 20.0) as f32);
        let far = (0..LEN).map(|n| {
            let magnitude = 10_f64.powf(n as f64 / LEN as f64 * 76.0 - 37.9) as f32;
            if n % 2 == 0 { magnitude } else { -magnitude }
        });
        let x: Vec<f32> = near.chain(far).collect();
        let tanh = worst(&x, &compute(&engine, "hyperbolic_tangent", &x), |x, y| {
            (y - x.tanh()).abs() / x.tanh().abs().max(1e-30)
        });
        assert!(tanh.0 < 5e-7, "{}: tanh, relative, {tanh:?}", device.name);
        let sigmoid = worst(&x, &compute(&engine, "sigmoid", &x), |x, y| (y - 1.0 / (1.0 + (-x).exp())).abs());
        assert!(sigmoid.0 < 3e-7, "{}: sigmoid, {sigmoid:?}", device.name);
        let x: Vec<f32> = x.iter().map(|x| x.abs().max(1.2e-38)).collect();
        let logarithm =
            worst(&x, &compute(&engine, "natural_logarithm", &x), |x, y| (y - x.ln()).abs() / x.ln().abs().max(1.0));
        assert!(logarithm.0 < 2e-7, "{}: ln, {logarithm:?}", device.name);
    }
}
