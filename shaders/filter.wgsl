// phi_resolvent: window -> forward FFT -> multiply by a real, even response -> inverse FFT, in one pass.
// Included source goes first: dispatch.wgsl, complex.wgsl, frames.wgsl, one_window.wgsl or two_windows.wgsl, fft.wgsl.
// Owner: src/stage/filter.
//
// Inputs   params     FilterParams
//          units      one per live frame
//          samples    frames by slot, or side by side, as pairs: one complex sample, or two real ones
//          twiddles   exp(-2 pi i k / len), 2^TWIDDLE_LOG2 entries
//          response   by bin position: complex windows (H, 0, 0, 0); real ones (S, D, w.re, w.im), see `filter_real`
//          weights    by bin position: weights of the powers of the bin and, real windows, of its upper twin
// Outputs  cleaned    the kept part of each window, frame after frame in the order of `units`
//          powers     for each window (sum over bins of weight * |X|^2, sum of |X|^2); only with MEASURE
//
// A window of real samples is transformed as half as many complex values (even samples + i * odd samples): no frame
// ever shares a transform with another, so a loud neighbour cannot leak rounding into a quiet frame. Two windows go
// through the passes side by side, as the two halves of each value, wherever both fit into 16 KiB.
// Work per workgroup: TILE_LEN values, that is (TILE_LEN >> LEN_LOG2) * WINDOWS_PER_VALUE windows. A complex window of
// 4096 does not fit even alone, so with SPLIT its even and odd bins are transformed one after the other.

struct FilterParams {
    // Live frames in `units`.
    count: u32,
    // 1 or 2.
    windows_per_frame: u32,
    // In pairs, as everything below.
    frame_len: u32,
    // What a window keeps, after skipping `margin`.
    hop: u32,
    margin: u32,
}

override WORKGROUP_SIZE: u32 = 64u;
override TILE_LEN: u32 = 512u;
// log2 of the values of one window that are in the tile at once.
override LEN_LOG2: u32 = 9u;
// Of these, how many bits are the row of a two-dimensional block.
override ROWS_LOG2: u32 = 0u;
override TWIDDLE_LOG2: u32 = 9u;
override COMPLEX_SAMPLES: bool = false;
override MEASURE: bool = false;
// 1 when a window is transformed in two halves.
override SPLIT: u32 = 0u;
// True when windows reach into the frames before and after; else a window is a frame.
override SEAMLESS: bool = false;
// True when frame i of `samples` is that of unit i: they are another kernel's results, side by side, without slots.
override SIDE_BY_SIDE: bool = false;
// Bits of a position on the axis that is split: all of them, or the row of a two-dimensional block.
override SPLIT_MASK: u32 = 0xffffffffu;
// Values that one invocation keeps from the first half: TILE_LEN / WORKGROUP_SIZE, at most this.
const KEPT_LEN: u32 = 8u;

@group(0) @binding(0) var<uniform> params: FilterParams;
@group(0) @binding(1) var<storage, read> units: array<Unit>;
@group(0) @binding(2) var<storage, read> samples: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> twiddles: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> response: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> weights: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> cleaned: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> powers: array<vec2<f32>>;

var<workgroup> shared_tile: array<Value, TILE_LEN>;

// Where the samples of a window lie: its frame with its neighbours, and the frame's pair that the window starts at,
// negative where it starts in the frame before.
struct Window {
    unit: Unit,
    start: i32,
}

// Index of the tile's first window, and which half of the bins is being transformed: the same for the whole workgroup.
var<private> tile_window: u32;
var<private> half: u32;
// Of the butterfly that is open: its windows, the index of the first of them, and where they begin in the tile.
var<private> windows: array<Window, WINDOWS_PER_VALUE>;
var<private> first_window: u32;
var<private> first_place: u32;

// All windows of all live frames.
fn window_count() -> u32 {
    return params.count * params.windows_per_frame;
}

fn window_at(index: u32) -> Window {
    let frame = index >> (params.windows_per_frame - 1u);
    let start = i32((index & (params.windows_per_frame - 1u)) * params.hop) - i32(params.margin);
    // What a kernel before this one wrote lies side by side, inputs are found through the units.
    if SIDE_BY_SIDE {
        return Window(Unit(frame, NO_SLOT, NO_SLOT, frame), start);
    }
    return Window(units[frame], start);
}

fn window_sample(window: Window, position: u32) -> vec2<f32> {
    if !SEAMLESS {
        return samples[window.unit.slot * params.frame_len + position];
    }
    let at = window.start + i32(position);
    let len = i32(params.frame_len);
    var slot = window.unit.slot;
    var inside = at;
    if at < 0 {
        slot = window.unit.previous;
        inside = at + len;
    } else if at >= len {
        slot = window.unit.next;
        inside = at - len;
    }
    // Past the neighbour lies only padding of a window that is longer than it needs to be.
    if slot == NO_SLOT || inside < 0 || inside >= len {
        return vec2(0.0);
    }
    return samples[slot * params.frame_len + u32(inside)];
}

fn window_value(position: u32) -> Value {
    return value_of(window_sample(windows[0], position), window_sample(windows[WINDOWS_PER_VALUE - 1u], position));
}

// A butterfly takes all its values from the same windows. Where the tile has room for more windows than there are, the
// last one stands in.
fn open_butterfly(place: u32) {
    first_place = place & ~((1u << LEN_LOG2) - 1u);
    first_window = tile_window + (place >> LEN_LOG2) * WINDOWS_PER_VALUE;
    for (var i = 0u; i < WINDOWS_PER_VALUE; i++) {
        windows[i] = window_at(min(first_window + i, window_count() - 1u));
    }
}

// A pair of the window, or with SPLIT what half of its bins need of two pairs.
fn take_outside(place: u32) -> Value {
    let position = place - first_place;
    let value = window_value(position);
    if SPLIT == 0u {
        return value;
    }
    let upper = window_value(position + (1u << LEN_LOG2));
    return select(value + upper, value_multiply(value - upper, twiddles[position & SPLIT_MASK]), half == 1u);
}

// Multiplies one bin of the windows and returns its (weighted, total) power. Leaves the parts of the value swapped.
fn filter_complex(p: u32, entry: u32) -> Value {
    let z = shared_tile[p];
    shared_tile[p] = value_swap(z * response[entry].x);
    if !MEASURE {
        return Value();
    }
    let power = value_power(z);
    return value_from_parts(weights[entry].x * power, power);
}

// A real window of N samples stands as Z = E + i O, with E and O the spectra of its even and odd samples. With
// w = exp(-2 pi i k / N), bin k is E + w O and bin k + N/2 is E - w O; multiplied by H1 and H2 they give
//   E' = S E + D w O,  O' = D conj(w) E + S O,  S = (H1 + H2) / 2,  D = (H1 - H2) / 2.
// Bins k and -k share all of it, so one invocation does both.
fn filter_real(p: u32, mirrored: u32, entry: u32) -> Value {
    let z = shared_tile[p];
    let z_mirrored = value_conjugate(shared_tile[mirrored]);
    let even = 0.5 * (z + z_mirrored);
    let odd = value_quarter_turn_back(0.5 * (z - z_mirrored));
    let table = response[entry];
    let turned_odd = value_multiply(odd, table.zw);
    let turned_even = value_multiply(even, vec2(table.z, -table.w));
    let new_even = table.x * even + table.y * turned_odd;
    let new_odd = table.y * turned_even + table.x * odd;
    // E' + i O', swapped; for the mirrored bin conj(E') + i conj(O').
    let back_odd = value_quarter_turn_back(new_odd);
    shared_tile[p] = value_swap(new_even - back_odd);
    shared_tile[mirrored] = value_swap(value_conjugate(new_even + back_odd));
    if !MEASURE {
        return Value();
    }
    let lower = value_power(even + turned_odd);
    let upper = value_power(even - turned_odd);
    // The mirrored bins have the same powers: they count twice unless they are the same.
    let times = select(2.0, 1.0, p == mirrored);
    let weight = weights[entry];
    return times * value_from_parts(weight.x * lower + weight.y * upper, lower + upper);
}

// Returns this invocation's share of the (weighted, total) powers of the windows that its tile measures.
fn multiply_spectrum(lane: u32) -> Value {
    var measured = Value();
    for (var i = 0u; i < TILE_LEN / WORKGROUP_SIZE; i++) {
        let p = lane + i * WORKGROUP_SIZE;
        let position = p & ((1u << LEN_LOG2) - 1u);
        if COMPLEX_SAMPLES {
            measured += filter_complex(p, (half << LEN_LOG2) + position);
        } else {
            let columns_log2 = LEN_LOG2 - ROWS_LOG2;
            let column = position & ((1u << columns_log2) - 1u);
            let row = position >> columns_log2;
            let mirrored = (mirrored_position(row) << columns_log2) + mirrored_position(column);
            if position <= mirrored {
                measured += filter_real(p, p - position + mirrored, position);
            }
        }
    }
    workgroupBarrier(); // The first inverse pass reads all bins.
    return measured;
}

// Sums the shares in a fixed order, so that results repeat to the bit. With MEASURE a tile holds one value's windows.
fn store_powers(lane: u32, measured: Value) {
    workgroupBarrier(); // The tile is free: all that was in it has been read.
    shared_tile[lane] = measured;
    workgroupBarrier(); // The sum reads every share.
    if lane == 0u {
        var sum = Value();
        for (var i = 0u; i < WORKGROUP_SIZE; i++) {
            sum += shared_tile[i];
        }
        powers[tile_window] = value_first(sum);
        if WINDOWS_PER_VALUE == 2u && tile_window + 1u < window_count() {
            powers[tile_window + 1u] = value_second(sum);
        }
    }
}

fn store_pair(index: u32, position: u32, pair: vec2<f32>) {
    if index >= window_count() {
        return; // The last window stood in for one that does not exist.
    }
    if !SEAMLESS {
        cleaned[index * params.frame_len + position] = pair;
        return;
    }
    if position >= params.margin && position - params.margin < params.hop {
        let frame = index >> (params.windows_per_frame - 1u);
        let window = index & (params.windows_per_frame - 1u);
        cleaned[frame * params.frame_len + window * params.hop + position - params.margin] = pair;
    }
}

fn store_value(position: u32, value: Value) {
    store_pair(first_window, position, value_first(value));
    if WINDOWS_PER_VALUE == 2u {
        store_pair(first_window + 1u, position, value_second(value));
    }
}

// With SPLIT the two halves have yet to be put together.
fn give_outside(place: u32, value: Value) {
    if SPLIT == 0u {
        store_value(place - first_place, value_swap(value));
    } else {
        shared_tile[place] = value;
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn phi_resolvent(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_workgroup(workgroup, workgroups) * (TILE_LEN >> LEN_LOG2) * WINDOWS_PER_VALUE;
    if first >= window_count() {
        return; // The same for the whole workgroup: padding of a two-dimensional dispatch.
    }
    tile_window = first;
    let columns_log2 = LEN_LOG2 - ROWS_LOG2;
    var kept: array<Value, KEPT_LEN>;
    var measured = Value();
    for (var turn = 0u; turn <= SPLIT; turn++) {
        half = turn;
        forward_axis(lane, ROWS_LOG2, columns_log2, true);
        forward_axis(lane, columns_log2, 0u, ROWS_LOG2 == 0u);
        measured += multiply_spectrum(lane);
        inverse_axis(lane, columns_log2, 0u, ROWS_LOG2 == 0u);
        inverse_axis(lane, ROWS_LOG2, columns_log2, true);
        if turn < SPLIT {
            for (var i = 0u; i < KEPT_LEN; i++) {
                kept[i] = value_swap(shared_tile[lane + i * WORKGROUP_SIZE]);
            }
            workgroupBarrier(); // The second half overwrites the tile.
        }
    }
    if SPLIT == 1u {
        for (var i = 0u; i < KEPT_LEN; i++) {
            let position = lane + i * WORKGROUP_SIZE;
            let factor = complex_conjugate(twiddles[position & SPLIT_MASK]);
            let odd_bins = value_multiply(value_swap(shared_tile[position]), factor);
            store_value(position, kept[i] + odd_bins);
            store_value(position + TILE_LEN, kept[i] - odd_bins);
        }
    }
    if MEASURE {
        store_powers(lane, measured);
    }
}
