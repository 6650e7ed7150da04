// The work list that every kernel after the gate walks. Shared source: no bindings, no entry point.
// Included by gate.wgsl, gather.wgsl, filter.wgsl and fourier.wgsl; its twin in Rust is `recording::Unit`.

// A neighbour that does not exist, or that the gate made silent: its samples are zeros.
const NO_SLOT: u32 = 0xffffffffu;

// One live frame: where its samples lie, and those of the frames before and after it in the same channel.
// A slot counts whole frames in the samples buffer.
struct Unit {
    slot: u32,
    previous: u32,
    next: u32,
    // Position in the batch, for whoever puts the result back: not read by kernels.
    frame: u32,
}

// Workgroups beyond one dimension's limit go to y; this is the flat index of the one that runs.
fn flat_workgroup(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.x + id.y * count.x;
}
