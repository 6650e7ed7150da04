// layer_norm: (x - mean) / sqrt(variance + epsilon) * gain + bias over each row, times the channel's factors.
// Included source goes first: dispatch.wgsl, rows.wgsl. Owner: src/stage/denoise.
//
// Inputs   params     NormParams
//          sources    for each row `len` numbers, source_stride apart
//          gains      `len` of them
//          biases     `len` of them
//          channels   for each slot: the channel, whose place in `scales` it is
//          scales     with SCALED: for each channel `len` factors
// Outputs  results    for each row `len` numbers, result_stride apart
//
// Work per workgroup: one row. The floor is memory: a row is read and written once.

struct NormParams {
    rows: u32,
    channels: u32,
    hops: u32,
    len: u32,
    // Floats from one row to the next, multiples of 4.
    source_stride: u32,
    result_stride: u32,
    epsilon: f32,
}

override WORKGROUP_SIZE: u32 = 64u;
override SCALED: bool = false;

@group(0) @binding(0) var<uniform> params: NormParams;
@group(0) @binding(1) var<storage, read> sources: array<f32>;
@group(0) @binding(2) var<storage, read> gains: array<f32>;
@group(0) @binding(3) var<storage, read> biases: array<f32>;
@group(0) @binding(4) var<storage, read> channels: array<u32>;
@group(0) @binding(5) var<storage, read> scales: array<f32>;
@group(0) @binding(6) var<storage, read_write> results: array<f32>;

var<workgroup> shared_sums: array<f32, WORKGROUP_SIZE>;

// The sum over all lanes, in a fixed order.
fn sum_of_all(lane: u32, share: f32) -> f32 {
    shared_sums[lane] = share;
    workgroupBarrier(); // The tree below reads every lane's share.
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        if lane < half {
            shared_sums[lane] += shared_sums[lane + half];
        }
        workgroupBarrier(); // The next step reads what this one wrote.
    }
    let sum = shared_sums[0];
    workgroupBarrier(); // All have read the sum before the next one is made in its place.
    return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn layer_norm(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_workgroup(workgroup, workgroups);
    if row >= params.rows {
        return; // The same for the whole workgroup: padding of a two-dimensional dispatch.
    }
    let source = row * params.source_stride;
    var share = 0.0f;
    for (var i = lane; i < params.len; i += WORKGROUP_SIZE) {
        share += sources[source + i];
    }
    let mean = sum_of_all(lane, share) / f32(params.len);
    share = 0.0f;
    for (var i = lane; i < params.len; i += WORKGROUP_SIZE) {
        let difference = sources[source + i] - mean;
        share = fma(difference, difference, share);
    }
    let deviation = sqrt(sum_of_all(lane, share) / f32(params.len) + params.epsilon);
    for (var i = lane; i < params.len; i += WORKGROUP_SIZE) {
        var result = (sources[source + i] - mean) / deviation * gains[i] + biases[i];
        if SCALED {
            result *= scales[channels[row % params.channels] * params.len + i];
        }
        results[row * params.result_stride + i] = result;
    }
}
