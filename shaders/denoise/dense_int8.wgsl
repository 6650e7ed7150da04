// dense_int8: dense.wgsl with weights and inputs in 8-bit integers; the sums are exact.
// Included source goes first: dispatch.wgsl, rows.wgsl, functions.wgsl, dense_tile.wgsl; the latter has the work of a
// workgroup, 64 inputs at a time here. Owner: src/stage/denoise.
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
// The floor is arithmetic: inputs * outputs / 4 packed products a row.

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

alias Quad = vec4<u32>;
alias Sum = i32;
alias Sums = vec4<i32>;

@group(0) @binding(0) var<uniform> params: DenseInt8Params;
@group(0) @binding(1) var<storage, read> sources: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> source_scales: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> tables: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read> channels: array<u32>;
@group(0) @binding(6) var<storage, read> scales: array<f32>;
@group(0) @binding(7) var<storage, read_write> results: array<f32>;

fn source_quad(row: u32, quad: u32) -> Quad {
    if row >= params.rows {
        return vec4(0u);
    }
    return sources[row * params.source_quads + quad];
}

fn weight_quad(output: u32, quad: u32) -> Quad {
    if output >= params.outputs {
        return vec4(0u);
    }
    return weights[output * params.source_quads + quad];
}

// The products of four inputs with the weights of four outputs.
fn products(x: u32, w: vec4<u32>) -> Sums {
    return vec4(dot4I8Packed(x, w.x), dot4I8Packed(x, w.y), dot4I8Packed(x, w.z), dot4I8Packed(x, w.w));
}

// Adds the products of 16 inputs of a row with the weights of four outputs.
fn add_products(sums: Sums, x: Quad, w: array<Quad, 4>) -> Sums {
    let first = products(x.x, vec4(w[0].x, w[1].x, w[2].x, w[3].x));
    let second = products(x.y, vec4(w[0].y, w[1].y, w[2].y, w[3].y));
    let third = products(x.z, vec4(w[0].z, w[1].z, w[2].z, w[3].z));
    let fourth = products(x.w, vec4(w[0].w, w[1].w, w[2].w, w[3].w));
    return sums + first + second + third + fourth;
}

fn finish(row: u32, output: u32, sum: Sum) -> f32 {
    let table = tables[output];
    return fma(f32(sum), source_scales[row] * table.y, table.x);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn dense_int8(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    make_tile(lane, flat_workgroup(workgroup, workgroups), params.source_quads);
}
