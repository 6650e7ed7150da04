// fourier: the transform of a frame of complex samples, bins in their natural order, or back from them.
// Included source goes first: dispatch.wgsl, complex.wgsl, frames.wgsl, two_windows.wgsl or one_window.wgsl,
// butterflies.wgsl, fft.wgsl.
// Owner: src/stage/fourier.rs.
//
// Inputs   params     FourierParams
//          units      one per live frame
//          samples    frames by slot, or side by side: one complex value each
//          twiddles   exp(-2 pi i k / len), 2^TWIDDLE_LOG2 entries
//          weights    what each value of a frame is multiplied by before the transform
// Outputs  transformed: frame after frame in the order of `units`
//
// forward  X[k] = sum over n of w[n] x[n] exp(-2 pi i k n / len)
// INVERSE  x[n] = sum over k of w[k] X[k] exp(+2 pi i k n / len), where 1 / len is in w
//
// Work per workgroup: TILE_LEN values, that is (TILE_LEN >> LEN_LOG2) * WINDOWS_PER_VALUE frames.

struct FourierParams {
    // Live frames in `units`.
    count: u32,
}

override WORKGROUP_SIZE: u32 = 64u;
override TILE_LEN: u32 = 512u;
// log2 of the values of a frame.
override LEN_LOG2: u32 = 9u;
override TWIDDLE_LOG2: u32 = 9u;
override INVERSE: bool = false;
// True when frame i of `samples` is that of unit i: they are another kernel's results, side by side, without slots.
override SIDE_BY_SIDE: bool = false;

@group(0) @binding(0) var<uniform> params: FourierParams;
@group(0) @binding(1) var<storage, read> units: array<Unit>;
@group(0) @binding(2) var<storage, read> samples: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> twiddles: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> transformed: array<vec2<f32>>;

var<workgroup> shared_tile: array<Value, TILE_LEN>;

// Index of the tile's first frame.
var<private> tile_frame: u32;
// Of the butterfly that is open: where its frames begin in the tile, and in `samples`.
var<private> first_place: u32;
var<private> starts: vec2<u32>;

fn start_of(frame: u32) -> u32 {
    // Where the tile has room for more frames than there are, the last one stands in.
    let live = min(frame, params.count - 1u);
    if SIDE_BY_SIDE {
        return live << LEN_LOG2;
    }
    return units[live].slot << LEN_LOG2;
}

fn open_butterfly(place: u32) {
    first_place = place & ~((1u << LEN_LOG2) - 1u);
    let frame = tile_frame + (place >> LEN_LOG2) * WINDOWS_PER_VALUE;
    starts = vec2(start_of(frame), start_of(frame + WINDOWS_PER_VALUE - 1u));
}

// The inverse is the forward transform of values whose parts are exchanged.
fn take_outside(place: u32) -> Value {
    let position = place - first_place;
    let value = weights[position] * value_of(samples[starts.x + position], samples[starts.y + position]);
    if INVERSE {
        return value_swap(value);
    }
    return value;
}

// No inverse pass runs here.
fn give_outside(place: u32, value: Value) {
    shared_tile[place] = value;
}

fn store_frame(frame: u32, bin: u32, value: vec2<f32>) {
    if frame < params.count {
        transformed[(frame << LEN_LOG2) + bin] = value;
    }
}

// The LEN_LOG2 bits of a bin, read backwards; old Metal has no instruction for it.
fn reversed(bin: u32) -> u32 {
    var bits = ((bin & 0x5555u) << 1u) | ((bin >> 1u) & 0x5555u);
    bits = ((bits & 0x3333u) << 2u) | ((bits >> 2u) & 0x3333u);
    bits = ((bits & 0x0f0fu) << 4u) | ((bits >> 4u) & 0x0f0fu);
    bits = ((bits & 0x00ffu) << 8u) | (bits >> 8u);
    return bits >> (16u - LEN_LOG2);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn fourier(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_workgroup(workgroup, workgroups) * (TILE_LEN >> LEN_LOG2) * WINDOWS_PER_VALUE;
    if first >= params.count {
        return; // The same for the whole workgroup: padding of a two-dimensional dispatch.
    }
    tile_frame = first;
    forward_axis(lane, LEN_LOG2, 0u, true);
    for (var i = 0u; i < TILE_LEN / WORKGROUP_SIZE; i++) {
        let place = lane + i * WORKGROUP_SIZE;
        let bin = place & ((1u << LEN_LOG2) - 1u);
        // Bin k stands where the bits of k are read backwards.
        var value = shared_tile[place - bin + reversed(bin)];
        if INVERSE {
            value = value_swap(value);
        }
        let frame = first + (place >> LEN_LOG2) * WINDOWS_PER_VALUE;
        store_frame(frame, bin, value_first(value));
        if WINDOWS_PER_VALUE == 2u {
            store_frame(frame + 1u, bin, value_second(value));
        }
    }
}
