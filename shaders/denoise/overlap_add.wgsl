// overlap_add: adds the windows that overlap, and gives the samples that no later window reaches. keep_ends: keeps for
// the next call what it needs of the windows and of the samples.
// Included source goes first: dispatch.wgsl, rows.wgsl. Owner: src/stage/denoise.
//
// Inputs   params     OverlapParams
//          channels   for each slot: the channel, whose place in `tails` and `history` it is
//          steps      for each slot, hop by hop
//          weights    the window, window_len of them
//          windows    for each row what the network made, window_stride apart
//          samples    for each slot: hops * hop samples
// Outputs  tails      for each channel: sums of the windows so far that reach over their end, window_len - hop of them
//          history    for each channel: the last window_len - hop samples
//          finished   for each slot: hops * hop samples
//
// Sums go from the oldest window to the newest, wherever a call ends: cutting it changes nothing, to the bit.
// Work per workgroup: WORKGROUP_SIZE samples; one slot. The floor is memory: a window is read once (4 bytes a sample).

struct OverlapParams {
    rows: u32,
    channels: u32,
    hops: u32,
    window_len: u32,
    hop: u32,
    // Floats from one row to the next, a multiple of 4.
    window_stride: u32,
}

override WORKGROUP_SIZE: u32 = 256u;
// As many as are kept of a channel: at least window_len - hop.
override KEPT_LEN: u32 = 1024u;

@group(0) @binding(0) var<uniform> params: OverlapParams;
@group(0) @binding(1) var<storage, read> channels: array<u32>;
@group(0) @binding(2) var<storage, read> steps: array<HopStep>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> windows: array<f32>;
@group(0) @binding(5) var<storage, read> samples: array<f32>;
@group(0) @binding(6) var<storage, read_write> tails: array<f32>;
@group(0) @binding(7) var<storage, read_write> history: array<f32>;
@group(0) @binding(8) var<storage, read_write> finished: array<f32>;

// `sum` plus what the windows of this call add to the sample `at`, counted from the first sample of their first one.
fn with_windows(sum: f32, slot: u32, at: u32) -> f32 {
    var total = sum;
    // The first window that reaches that far, and the last that starts before.
    var hop = 0u;
    if at >= params.window_len {
        hop = (at - params.window_len) / params.hop + 1u;
    }
    let end = min(at / params.hop + 1u, params.hops);
    for (; hop < end; hop++) {
        let step = steps[slot * params.hops + hop];
        if (step.flags & RUN) != 0u {
            let n = at - hop * params.hop;
            let made = windows[(hop * params.channels + slot) * params.window_stride + n];
            total += made * weights[n] / step.gain;
        }
    }
    return total;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn overlap_add(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = flat_workgroup(workgroup, workgroups) * WORKGROUP_SIZE + lane;
    let len = params.hops * params.hop;
    let slot = index / len;
    if slot >= params.channels {
        return;
    }
    let at = index - slot * len;
    let kept = params.window_len - params.hop;
    var sum = 0.0f;
    if at < kept {
        sum = tails[channels[slot] * kept + at];
    }
    finished[index] = with_windows(sum, slot, at);
}

var<workgroup> shared_kept: array<f32, KEPT_LEN>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn keep_ends(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let slot = flat_workgroup(workgroup, workgroups);
    if slot >= params.channels {
        return; // The same for the whole workgroup: padding of a two-dimensional dispatch.
    }
    let kept = params.window_len - params.hop;
    let len = params.hops * params.hop;
    let first = channels[slot] * kept;
    for (var i = lane; i < kept; i += WORKGROUP_SIZE) {
        shared_kept[i] = tails[first + i];
    }
    workgroupBarrier(); // Each writes where others were to read: all have read.
    for (var i = lane; i < kept; i += WORKGROUP_SIZE) {
        var sum = 0.0f;
        if len + i < kept {
            sum = shared_kept[len + i];
        }
        tails[first + i] = with_windows(sum, slot, len + i);
    }
    workgroupBarrier(); // The sums have been read: the memory is free for the samples.
    for (var i = lane; i < kept; i += WORKGROUP_SIZE) {
        shared_kept[i] = history[first + i];
    }
    workgroupBarrier(); // Each writes where others were to read: all have read.
    for (var i = lane; i < kept; i += WORKGROUP_SIZE) {
        if len + i < kept {
            history[first + i] = shared_kept[len + i];
        } else {
            history[first + i] = samples[slot * len + (len + i - kept)];
        }
    }
}
