// dense: activation(W x + b) of every row, times the channel's factors. Serves dense layers, the input projections of
// recurrent ones, and learned bases.
// Included source goes first: rows.wgsl, functions.wgsl. Owner: src/stage/denoise.
//
// Inputs   params     DenseParams
//          sources    for each row `inputs` numbers, source_quads * 4 apart; what lies between is not looked at
//          weights    for each output its row of W, weight_quads apart, padded with zeros to a multiple of 16 columns:
//                     WEIGHT_BITS 32: 4 columns in a vec4; 16: 8 columns, two in each word
//          biases     for each output
//          channels   for each slot: the channel, whose place in `scales` it is
//          scales     with SCALED: for each channel `outputs` factors
// Outputs  results    for each row `outputs` numbers, result_stride apart
//
// Work per workgroup: a tile of 4 * ROW_LANES rows by 4 * OUTPUT_LANES outputs, 16 inputs at a time through workgroup
// memory; each invocation makes 4 rows of 4 outputs in registers, so a step of 4 inputs reads 8 quads for 64 products.
// In both tiles rows are 5 quads apart, not 4: invocations side by side read rows side by side, from other banks.
//
// The products of one output are added in the order of the inputs, each in one fused step, whatever the tile: so a row
// comes out the same to the bit wherever it stands. The floor is arithmetic: 2 * inputs * outputs operations a row,
// against 4 * (inputs + outputs) bytes; on a tile of 64 by 64, 16 of them for each byte from memory.

struct DenseParams {
    rows: u32,
    channels: u32,
    hops: u32,
    inputs: u32,
    outputs: u32,
    // In vec4, from one row to the next.
    source_quads: u32,
    weight_quads: u32,
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
override WEIGHT_BITS: u32 = 32u;
override SCALED: bool = false;

@group(0) @binding(0) var<uniform> params: DenseParams;
@group(0) @binding(1) var<storage, read> sources: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> biases: array<f32>;
@group(0) @binding(4) var<storage, read> channels: array<u32>;
@group(0) @binding(5) var<storage, read> scales: array<f32>;
@group(0) @binding(6) var<storage, read_write> results: array<f32>;

var<workgroup> shared_rows: array<vec4<f32>, ROW_QUADS>;
var<workgroup> shared_weights: array<vec4<f32>, OUTPUT_QUADS>;

// Inputs 4 * quad and the next three of a row; zeros where there are none.
fn source_quad(row: u32, quad: u32) -> vec4<f32> {
    let first = 4u * quad;
    if row >= params.rows || first >= params.inputs {
        return vec4(0.0f);
    }
    let column = vec4(first, first + 1u, first + 2u, first + 3u);
    return select(vec4(0.0f), sources[row * params.source_quads + quad], column < vec4(params.inputs));
}

fn weight_quad(output: u32, quad: u32) -> vec4<f32> {
    if output >= params.outputs {
        return vec4(0.0f);
    }
    if WEIGHT_BITS == 32u {
        return bitcast<vec4<f32>>(weights[output * params.weight_quads + quad]);
    }
    let eight = weights[output * params.weight_quads + quad / 2u];
    let four = select(eight.xy, eight.zw, quad % 2u == 1u);
    return vec4(unpack2x16float(four.x), unpack2x16float(four.y));
}

// Adds the products of four inputs of a row with the weights of four outputs.
fn add_products(sums: vec4<f32>, x: vec4<f32>, w: array<vec4<f32>, 4>) -> vec4<f32> {
    var next = fma(vec4(x.x), vec4(w[0].x, w[1].x, w[2].x, w[3].x), sums);
    next = fma(vec4(x.y), vec4(w[0].y, w[1].y, w[2].y, w[3].y), next);
    next = fma(vec4(x.z), vec4(w[0].z, w[1].z, w[2].z, w[3].z), next);
    return fma(vec4(x.w), vec4(w[0].w, w[1].w, w[2].w, w[3].w), next);
}

fn add_tile_quad(sums: array<vec4<f32>, 4>, row_lane: u32, output_lane: u32, quad: u32) -> array<vec4<f32>, 4> {
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

fn store_output(row: u32, output: u32, sum: f32) {
    if output < params.outputs {
        var result = activate(sum + biases[output]);
        if SCALED {
            result *= scales[channels[row % params.channels] * params.outputs + output];
        }
        results[row * params.result_stride + output] = result;
    }
}

fn store_row(row: u32, output: u32, sums: vec4<f32>) {
    if row < params.rows {
        store_output(row, output, sums.x);
        store_output(row, output + OUTPUT_LANES, sums.y);
        store_output(row, output + 2u * OUTPUT_LANES, sums.z);
        store_output(row, output + 3u * OUTPUT_LANES, sums.w);
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn dense(
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
    var sums = array(vec4(0.0f), vec4(0.0f), vec4(0.0f), vec4(0.0f));
    for (var first = 0u; first < params.inputs; first += 16u) {
        for (var i = lane; i < 16u * ROW_LANES; i += WORKGROUP_SIZE) {
            shared_rows[i / 4u * 5u + i % 4u] = source_quad(first_row + i / 4u, first / 4u + i % 4u);
        }
        for (var i = lane; i < 16u * OUTPUT_LANES; i += WORKGROUP_SIZE) {
            shared_weights[i / 4u * 5u + i % 4u] = weight_quad(first_output + i / 4u, first / 4u + i % 4u);
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
