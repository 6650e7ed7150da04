// spectrum: transforms each window, and makes the features that the first layer sees.
// Included source goes first: dispatch.wgsl, complex.wgsl, rows.wgsl, functions.wgsl, transform.wgsl.
// Owner: src/stage/denoise.
//
// Inputs   params     SpectrumParams
//          windows    for each row: WINDOW_LEN samples, window_stride apart
//          twiddles   see transform.wgsl
// Outputs  bins       for each row WINDOW_LEN / 2 + 1 complex values
//          features   for each row as many numbers, feature_stride apart
//
// Work per workgroup: one row. The floor is memory: 4 bytes are read and 6 written for each sample of a window.

struct SpectrumParams {
    rows: u32,
    channels: u32,
    hops: u32,
    // Floats from one row to the next, multiples of 4.
    window_stride: u32,
    feature_stride: u32,
    // Of the feature: see `Feature` in Rust.
    floor: f32,
    offset: f32,
    scale: f32,
}

const MAGNITUDE: u32 = 0u;
const LOG_MAGNITUDE: u32 = 1u;
const LOG10_POWER: u32 = 2u;

override WORKGROUP_SIZE: u32 = 64u;
override WINDOW_LEN: u32 = 512u;
override FEATURE: u32 = 0u;

@group(0) @binding(0) var<uniform> params: SpectrumParams;
@group(0) @binding(1) var<storage, read> windows: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> twiddles: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> bins: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> features: array<f32>;

// The least normal number: what is below it, some devices take for 0.
const LEAST: f32 = 1.17549435e-38f;

fn feature_of(bin: vec2<f32>) -> f32 {
    let power = complex_power(bin);
    if FEATURE == MAGNITUDE {
        return sqrt(power);
    }
    if FEATURE == LOG_MAGNITUDE {
        return natural_logarithm(max(sqrt(power) + params.floor, LEAST));
    }
    const LOG10_E = 0.43429448f;
    let decades = LOG10_E * natural_logarithm(max(max(power, params.floor), LEAST));
    return (decades + params.offset) * params.scale;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn spectrum(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_workgroup(workgroup, workgroups);
    if row >= params.rows {
        return; // The same for the whole workgroup: padding of a two-dimensional dispatch.
    }
    let len = WINDOW_LEN / 2u;
    for (var n = lane; n < len; n += WORKGROUP_SIZE) {
        shared_values[n] = windows[row * (params.window_stride / 2u) + n];
    }
    workgroupBarrier(); // The first pass reads what all invocations loaded.
    let source = transform(lane);
    for (var k = lane; k <= len; k += WORKGROUP_SIZE) {
        let z = shared_values[source + select(k, 0u, k == len)];
        let z_mirrored = complex_conjugate(shared_values[source + select(len - k, 0u, k == 0u)]);
        let even = 0.5f * (z + z_mirrored);
        let odd = complex_quarter_turn_back(0.5f * (z - z_mirrored));
        let bin = even + complex_multiply(twiddles[k], odd);
        bins[row * (len + 1u) + k] = bin;
        features[row * params.feature_stride + k] = feature_of(bin);
    }
}
