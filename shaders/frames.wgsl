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
