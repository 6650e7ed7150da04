// dense_int8: dense.wgsl with weights and inputs in 8-bit integers; the sums are exact.
// Included source goes first: rows.wgsl, functions.wgsl. Owner: src/stage/denoise.
//
// Inputs   params     DenseInt8Params
//          sources    for each row its inputs, four in a word, padded with zeros to a multiple of 64: source_quads vec4
//          source_scales  for each row
//          weights    for each output its row of W, as the sources
//          tables     for each output (bias, scale of its row of W)
//          channels   for each slot: the channel, whose place in `scales` it is
//          scales     with SCALED: for each channel `outputs` factors
// Outputs  results    for each row `outputs` numbers, result_stride apart
//
// Work per workgroup: as in dense.wgsl, 64 inputs at a time. The floor is arithmetic: inputs * outputs / 4 packed products
// a row.

struct DenseInt8Params {
    rows: u32,
    channels: u32,
    hops: u32,
    outputs: u32,
    // In vec4, from one row to the next; of sources and of weights.
    source_quads: u32,
    // In floats, a multiple of 4.
    result_stride: u32,
    activation: u32,
}

const LINEAR: u32 = 0u;
const RELU: u32 = 1u;
const SIGMOID: u32 = 2u;
const TANH: u32 = 3u;

override ROW_LANES: u32 = 16u;
override OUTPUT_LANES: u32 = 16u;
// ROW_LANES * OUTPUT_LANES.
override WORKGROUP_SIZE: u32 = 256u;
// 20 * ROW_LANES and 20 * OUTPUT_LANES.
override ROW_QUADS: u32 = 320u;
override OUTPUT_QUADS: u32 = 320u;
override SCALED: bool = false;

@group(0) @binding(0) var<uniform> params: DenseInt8Params;
@group(0) @binding(1) var<storage, read> sources: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> source_scales: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> tables: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read> channels: array<u32>;
@group(0) @binding(6) var<storage, read> scales: array<f32>;
@group(0) @binding(7) var<storage, read_write> results: array<f32>;

var<workgroup> shared_rows: array<vec4<u32>, ROW_QUADS>;
var<workgroup> shared_weights: array<vec4<u32>, OUTPUT_QUADS>;

fn source_quad(row: u32, quad: u32) -> vec4<u32> {
    if row >= params.rows {
        return vec4(0u);
    }
    return sources[row * params.source_quads + quad];
}

fn weight_quad(output: u32, quad: u32) -> vec4<u32> {
    if output >= params.outputs {
        return vec4(0u);
    }
    return weights[output * params.source_quads + quad];
}

// Adds the products of 16 inputs of a row with the weights of four outputs.
fn add_products(sums: vec4<i32>, x: vec4<u32>, w: array<vec4<u32>, 4>) -> vec4<i32> {
    let first = vec4(dot4I8Packed(x.x, w[0].x), dot4I8Packed(x.x, w[1].x), dot4I8Packed(x.x, w[2].x), dot4I8Packed(x.x, w[3].x));
    let second = vec4(dot4I8Packed(x.y, w[0].y), dot4I8Packed(x.y, w[1].y), dot4I8Packed(x.y, w[2].y), dot4I8Packed(x.y, w[3].y));
    let third = vec4(dot4I8Packed(x.z, w[0].z), dot4I8Packed(x.z, w[1].z), dot4I8Packed(x.z, w[2].z), dot4I8Packed(x.z, w[3].z));
    let fourth = vec4(dot4I8Packed(x.w, w[0].w), dot4I8Packed(x.w, w[1].w), dot4I8Packed(x.w, w[2].w), dot4I8Packed(x.w, w[3].w));
    return sums + first + second + third + fourth;
}

fn add_tile_quad(sums: array<vec4<i32>, 4>, row_lane: u32, output_lane: u32, quad: u32) -> array<vec4<i32>, 4> {
    let w = array(
        shared_weights[output_lane * 5u + quad],
        shared_weights[(output_lane + OUTPUT_LANES) * 5u + quad],
        shared_weights[(output_lane + 2u * OUTPUT_LANES) * 5u + quad],
        shared_weights[(output_lane + 3u * OUTPUT_LANES) * 5u + quad],
    );
    return array(
        add_products(sums[0], shared_rows[row_lane * 5u + quad], w),
        add_products(sums[1], shared_rows[(row_lane + ROW_LANES) * 5u + quad], w),
        add_products(sums[2], shared_rows[(row_lane + 2u * ROW_LANES) * 5u + quad], w),
        add_products(sums[3], shared_rows[(row_lane + 3u * ROW_LANES) * 5u + quad], w),
    );
}

fn activate(x: f32) -> f32 {
    switch params.activation {
        case RELU: {
            return max(x, 0.0f);
        }
        case SIGMOID: {
            return sigmoid(x);
        }
        case TANH: {
            return hyperbolic_tangent(x);
        }
        default: {
            return x;
        }
    }
}

fn store_output(row: u32, output: u32, sum: i32) {
    if output < params.outputs {
        let table = tables[output];
        var result = activate(fma(f32(sum), source_scales[row] * table.y, table.x));
        if SCALED {
            result *= scales[channels[row % params.channels] * params.outputs + output];
        }
        results[row * params.result_stride + output] = result;
    }
}

fn store_row(row: u32, output: u32, sums: vec4<i32>) {
    if row < params.rows {
        store_output(row, output, sums.x);
        store_output(row, output + OUTPUT_LANES, sums.y);
        store_output(row, output + 2u * OUTPUT_LANES, sums.z);
        store_output(row, output + 3u * OUTPUT_LANES, sums.w);
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn dense_int8(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Tiles of the same rows follow each other, so that those rows are still in the cache.
    let tile = flat_workgroup(workgroup, workgroups);
    let across = (params.outputs + 4u * OUTPUT_LANES - 1u) / (4u * OUTPUT_LANES);
    let first_row = tile / across * (4u * ROW_LANES);
    let first_output = tile % across * (4u * OUTPUT_LANES);
    if first_row >= params.rows {
        return; // The same for the whole workgroup: padding of a two-dimensional dispatch.
    }
    let row_lane = lane / OUTPUT_LANES;
    let output_lane = lane % OUTPUT_LANES;
    var sums = array(vec4(0i), vec4(0i), vec4(0i), vec4(0i));
    for (var first = 0u; first < params.source_quads; first += 4u) {
        for (var i = lane; i < 16u * ROW_LANES; i += WORKGROUP_SIZE) {
            shared_rows[i / 4u * 5u + i % 4u] = source_quad(first_row + i / 4u, first + i % 4u);
        }
        for (var i = lane; i < 16u * OUTPUT_LANES; i += WORKGROUP_SIZE) {
            shared_weights[i / 4u * 5u + i % 4u] = weight_quad(first_output + i / 4u, first + i % 4u);
        }
        workgroupBarrier(); // The products read what all invocations loaded.
        sums = add_tile_quad(sums, row_lane, output_lane, 0u);
        sums = add_tile_quad(sums, row_lane, output_lane, 1u);
        sums = add_tile_quad(sums, row_lane, output_lane, 2u);
        sums = add_tile_quad(sums, row_lane, output_lane, 3u);
        workgroupBarrier(); // All have read before the next inputs are loaded.
    }
    let output = first_output + output_lane;
    store_row(first_row + row_lane, output, sums[0]);
    store_row(first_row + row_lane + ROW_LANES, output, sums[1]);
    store_row(first_row + row_lane + 2u * ROW_LANES, output, sums[2]);
    store_row(first_row + row_lane + 3u * ROW_LANES, output, sums[3]);
}
