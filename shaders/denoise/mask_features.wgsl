// mask_features: multiplies what a learned basis made of each window by its mask.
// Included source goes first: dispatch.wgsl, rows.wgsl. Owner: src/stage/denoise.
//
// Inputs   params     MaskFeaturesParams
//          masks      for each row `size` numbers from 0 to 1, `stride` apart
// Outputs  encoded    also input: for each row `size` numbers, `stride` apart
//
// Work per workgroup: WORKGROUP_SIZE numbers. The floor is memory: 8 bytes are read and 4 written for each.

struct MaskFeaturesParams {
    rows: u32,
    channels: u32,
    hops: u32,
    size: u32,
    // Floats from one row to the next, a multiple of 4.
    stride: u32,
}

override WORKGROUP_SIZE: u32 = 256u;

@group(0) @binding(0) var<uniform> params: MaskFeaturesParams;
@group(0) @binding(1) var<storage, read> masks: array<f32>;
@group(0) @binding(2) var<storage, read_write> encoded: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn mask_features(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = flat_workgroup(workgroup, workgroups) * WORKGROUP_SIZE + lane;
    let row = index / params.size;
    if row < params.rows {
        let at = row * params.stride + index - row * params.size;
        encoded[at] *= masks[at];
    }
}
