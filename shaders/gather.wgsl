// gather_frames: copies the live frames of an input side by side, for kernels that want them dense.
// Included source goes first: dispatch.wgsl, frames.wgsl. Owner: src/graph/gather.rs; the graph puts it before a
// custom kernel that reads an input directly, while the filter gathers by itself.
//
// Inputs   params, units, samples (frames by slot)
// Outputs  gathered: frame i is the frame of units[i]
// Work per workgroup: one frame.

struct GatherParams {
    // Live frames in `units`.
    count: u32,
    // Floats in a frame.
    frame_len: u32,
}

override WORKGROUP_SIZE: u32 = 64u;

@group(0) @binding(0) var<uniform> params: GatherParams;
@group(0) @binding(1) var<storage, read> units: array<Unit>;
@group(0) @binding(2) var<storage, read> samples: array<u32>;
@group(0) @binding(3) var<storage, read_write> gathered: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn gather_frames(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let unit = flat_workgroup(workgroup, workgroups);
    if unit >= params.count {
        return;
    }
    let source = units[unit].slot * params.frame_len;
    for (var i = lane; i < params.frame_len; i += WORKGROUP_SIZE) {
        gathered[unit * params.frame_len + i] = samples[source + i];
    }
}
