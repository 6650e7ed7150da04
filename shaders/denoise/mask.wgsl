// mask_spectrum: multiplies each bin by its mask, and transforms back to a window.
// Included source goes first: dispatch.wgsl, complex.wgsl, rows.wgsl, transform.wgsl. Owner: src/stage/denoise.
//
// Inputs   params     MaskParams
//          masks      for each row WINDOW_LEN / 2 + 1 numbers from 0 to 1, mask_stride apart
//          bins       for each row as many complex values
//          twiddles   see transform.wgsl
// Outputs  windows    for each row WINDOW_LEN samples, window_stride apart
//
// Work per workgroup: one row. The floor is memory: 6 bytes are read and 4 written for each sample of a window.

struct MaskParams {
    rows: u32,
    channels: u32,
    hops: u32,
    // Floats from one row to the next, multiples of 4.
    mask_stride: u32,
    window_stride: u32,
    // What masks are raised to where they are less.
    floor: f32,
}

override WORKGROUP_SIZE: u32 = 64u;
override WINDOW_LEN: u32 = 512u;

@group(0) @binding(0) var<uniform> params: MaskParams;
@group(0) @binding(1) var<storage, read> masks: array<f32>;
@group(0) @binding(2) var<storage, read> bins: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> twiddles: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> windows: array<vec2<f32>>;

fn masked_bin(row: u32, k: u32) -> vec2<f32> {
    let mask = max(masks[row * params.mask_stride + k], params.floor);
    return mask * bins[row * (WINDOW_LEN / 2u + 1u) + k];
}

// With E and O as in transform.wgsl, Z = E + i O is what the even and odd samples transform to. The inverse goes
// through the forward transform: with real and imaginary part swapped before and after, it is the inverse times len.
@compute @workgroup_size(WORKGROUP_SIZE)
fn mask_spectrum(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_workgroup(workgroup, workgroups);
    if row >= params.rows {
        return; // The same for the whole workgroup: padding of a two-dimensional dispatch.
    }
    let len = WINDOW_LEN / 2u;
    for (var k = lane; k < len; k += WORKGROUP_SIZE) {
        let bin = masked_bin(row, k);
        let bin_mirrored = complex_conjugate(masked_bin(row, len - k));
        let even = 0.5f * (bin + bin_mirrored);
        let odd = complex_multiply(complex_conjugate(twiddles[k]), 0.5f * (bin - bin_mirrored));
        // E + i O, swapped.
        shared_values[k] = vec2(even.y + odd.x, even.x - odd.y);
    }
    workgroupBarrier(); // The first pass reads what all invocations wrote.
    let source = transform(lane);
    for (var n = lane; n < len; n += WORKGROUP_SIZE) {
        windows[row * (params.window_stride / 2u) + n] = shared_values[source + n].yx / f32(len);
    }
}
