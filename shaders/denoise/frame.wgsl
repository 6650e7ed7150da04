// frame_windows: cuts the samples of every channel into windows, one for each hop.
// Included source goes first: dispatch.wgsl, rows.wgsl. Owner: src/stage/denoise.
//
// Inputs   params     FrameParams
//          channels   for each slot: the channel, whose place in `history` it is
//          steps      for each slot, hop by hop
//          weights    the window, window_len of them
//          history    for each channel: the samples before the call, window_len - hop of them
//          samples    for each slot: hops * hop samples
// Outputs  windows    for each row: gain * weight * sample, window_stride apart
//
// Work per workgroup: WORKGROUP_SIZE samples of windows. The floor is memory: 4 bytes are written for each.

struct FrameParams {
    rows: u32,
    channels: u32,
    hops: u32,
    window_len: u32,
    hop: u32,
    // Floats from one row to the next, a multiple of 4.
    window_stride: u32,
}

override WORKGROUP_SIZE: u32 = 256u;

@group(0) @binding(0) var<uniform> params: FrameParams;
@group(0) @binding(1) var<storage, read> channels: array<u32>;
@group(0) @binding(2) var<storage, read> steps: array<HopStep>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> history: array<f32>;
@group(0) @binding(5) var<storage, read> samples: array<f32>;
@group(0) @binding(6) var<storage, read_write> windows: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn frame_windows(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = flat_workgroup(workgroup, workgroups) * WORKGROUP_SIZE + lane;
    let row = index / params.window_len;
    if row >= params.rows {
        return;
    }
    let n = index - row * params.window_len;
    let hop = row / params.channels;
    let slot = row - hop * params.channels;
    // Counted from the start of the history.
    let at = hop * params.hop + n;
    let kept = params.window_len - params.hop;
    var sample = 0.0f;
    if at < kept {
        sample = history[channels[slot] * kept + at];
    } else {
        sample = samples[slot * params.hops * params.hop + at - kept];
    }
    windows[row * params.window_stride + n] = steps[slot * params.hops + hop].gain * weights[n] * sample;
}
