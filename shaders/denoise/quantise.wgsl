// quantise: a row of numbers as integers from -127 to 127, four in a word, and the scale that gives them back.
// Included source goes first: dispatch.wgsl, rows.wgsl. Owner: src/stage/denoise.
//
// Inputs   params     QuantiseParams
//          sources    for each row `len` numbers, stride apart
// Outputs  packed     for each row the words that hold them, then zeros: `words` of them
//          row_scales for each row its largest magnitude / 127
//
// Work per workgroup: one row. The floor is memory: 4 bytes are read and 1 is written for each number.

struct QuantiseParams {
    rows: u32,
    channels: u32,
    hops: u32,
    len: u32,
    stride: u32,
    words: u32,
}

override WORKGROUP_SIZE: u32 = 64u;

@group(0) @binding(0) var<uniform> params: QuantiseParams;
@group(0) @binding(1) var<storage, read> sources: array<f32>;
@group(0) @binding(2) var<storage, read_write> packed: array<u32>;
@group(0) @binding(3) var<storage, read_write> row_scales: array<f32>;

var<workgroup> shared_peaks: array<f32, WORKGROUP_SIZE>;

fn source_or_zero(row: u32, column: u32) -> f32 {
    if column >= params.len {
        return 0.0f;
    }
    return sources[row * params.stride + column];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn quantise(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_workgroup(workgroup, workgroups);
    if row >= params.rows {
        return; // The same for the whole workgroup: padding of a two-dimensional dispatch.
    }
    var peak = 0.0f;
    for (var column = lane; column < params.len; column += WORKGROUP_SIZE) {
        peak = max(peak, abs(sources[row * params.stride + column]));
    }
    shared_peaks[lane] = peak;
    workgroupBarrier(); // The tree below reads every lane's peak.
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        if lane < half {
            shared_peaks[lane] = max(shared_peaks[lane], shared_peaks[lane + half]);
        }
        workgroupBarrier(); // The next step reads what this one wrote.
    }
    peak = shared_peaks[0];
    let scale = 127.0f / max(peak, 1e-30f);
    for (var word = lane; word < params.words; word += WORKGROUP_SIZE) {
        let first = 4u * word;
        let four = vec4(
            source_or_zero(row, first), source_or_zero(row, first + 1u),
            source_or_zero(row, first + 2u), source_or_zero(row, first + 3u),
        );
        packed[row * params.words + word] = pack4xI8(vec4<i32>(round(scale * four)));
    }
    if lane == 0u {
        row_scales[row] = peak / 127.0f;
    }
}
