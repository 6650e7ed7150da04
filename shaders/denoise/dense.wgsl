// dense: activation(W x + b) of every row, times the channel's factors. Serves dense layers, the input projections of
// recurrent ones, and learned bases.
// Included source goes first: dispatch.wgsl, rows.wgsl, functions.wgsl, dense_tile.wgsl; the latter has the work of a
// workgroup, 16 inputs at a time here. Owner: src/stage/denoise.
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
// Each product is added in one fused step. The floor is arithmetic: 2 * inputs * outputs operations a row, against
// 4 * (inputs + outputs) bytes; on a tile of 64 by 64, 16 of them for each byte from memory.

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

alias Quad = vec4<f32>;
alias Sum = f32;
alias Sums = vec4<f32>;

override WEIGHT_BITS: u32 = 32u;

@group(0) @binding(0) var<uniform> params: DenseParams;
@group(0) @binding(1) var<storage, read> sources: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> biases: array<f32>;
@group(0) @binding(4) var<storage, read> channels: array<u32>;
@group(0) @binding(5) var<storage, read> scales: array<f32>;
@group(0) @binding(6) var<storage, read_write> results: array<f32>;

// Inputs 4 * quad and the next three of a row; zeros where there are none.
fn source_quad(row: u32, quad: u32) -> Quad {
    let first = 4u * quad;
    if row >= params.rows || first >= params.inputs {
        return vec4(0.0f);
    }
    let column = vec4(first, first + 1u, first + 2u, first + 3u);
    return select(vec4(0.0f), sources[row * params.source_quads + quad], column < vec4(params.inputs));
}

fn weight_quad(output: u32, quad: u32) -> Quad {
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
fn add_products(sums: Sums, x: Quad, w: array<Quad, 4>) -> Sums {
    var next = fma(vec4(x.x), vec4(w[0].x, w[1].x, w[2].x, w[3].x), sums);
    next = fma(vec4(x.y), vec4(w[0].y, w[1].y, w[2].y, w[3].y), next);
    next = fma(vec4(x.z), vec4(w[0].z, w[1].z, w[2].z, w[3].z), next);
    return fma(vec4(x.w), vec4(w[0].w, w[1].w, w[2].w, w[3].w), next);
}

fn finish(row: u32, output: u32, sum: Sum) -> f32 {
    return sum + biases[output];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn dense(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    make_tile(lane, flat_workgroup(workgroup, workgroups), (params.inputs + 3u) / 4u);
}
