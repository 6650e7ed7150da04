// phi_resolvent: window -> forward FFT -> multiply by a real, even response -> inverse FFT, in one pass.
// Included source goes first: complex.wgsl, frames.wgsl, fft.wgsl. Owner: src/stage/filter.
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
// ever shares a transform with another, so a loud neighbour cannot leak rounding into a quiet frame.
// Work per workgroup: TILE_LEN complex values, that is TILE_LEN >> LEN_LOG2 windows. A complex window of 4096 does
// not fit into 16 KiB, so with SPLIT its even and odd bins are transformed one after the other.

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
// log2 of the complex values of one window that are in the tile at once.
override LEN_LOG2: u32 = 9u;
// Of these, how many bits are the row of a two-dimensional block.
override ROWS_LOG2: u32 = 0u;
override TWIDDLE_LOG2: u32 = 9u;
override COMPLEX_SAMPLES: bool = false;
override MEASURE: bool = false;
// 1 when a window is transformed in two halves.
override SPLIT: u32 = 0u;
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

var<workgroup> shared_tile: array<vec2<f32>, TILE_LEN>;

// Windows are counted through all live frames: which frame a window belongs to, and which of its windows it is.
fn unit_of(index: u32) -> u32 {
    return index >> (params.windows_per_frame - 1u);
}

fn window_of(index: u32) -> u32 {
    return index & (params.windows_per_frame - 1u);
}

// Pair `position` of a window, which may reach into the frames before and after.
fn window_sample(unit: Unit, window: u32, position: u32) -> vec2<f32> {
    let at = i32(window * params.hop + position) - i32(params.margin);
    let len = i32(params.frame_len);
    var slot = unit.slot;
    var inside = at;
    if at < 0 {
        slot = unit.previous;
        inside = at + len;
    } else if at >= len {
        slot = unit.next;
        inside = at - len;
    }
    // Past the neighbour lies only padding of a window that is longer than it needs to be.
    if slot == NO_SLOT || inside < 0 || inside >= len {
        return vec2(0.0);
    }
    return samples[slot * params.frame_len + u32(inside)];
}

// Where a live frame lies: what a kernel before this one wrote lies side by side, inputs are found through the units.
fn live_frame(index: u32) -> Unit {
    if SIDE_BY_SIDE {
        return Unit(index, NO_SLOT, NO_SLOT, index);
    }
    return units[index];
}

// What one place of the tile starts with: a pair of the window, or with SPLIT what half of its bins need of two pairs.
fn tile_value(unit: Unit, window: u32, position: u32, half: u32) -> vec2<f32> {
    let value = window_sample(unit, window, position);
    if SPLIT == 0u {
        return value;
    }
    let upper = window_sample(unit, window, position + (1u << LEN_LOG2));
    return select(value + upper, complex_multiply(value - upper, twiddles[position & SPLIT_MASK]), half == 1u);
}

fn load_tile(lane: u32, first: u32, half: u32) {
    if TILE_LEN >> LEN_LOG2 == 1u {
        // One window fills the tile: its frame is looked up once, not for every place.
        let unit = live_frame(unit_of(first));
        let window = window_of(first);
        for (var p = lane; p < TILE_LEN; p += WORKGROUP_SIZE) {
            shared_tile[p] = tile_value(unit, window, p, half);
        }
    } else {
        let windows = params.count * params.windows_per_frame;
        for (var p = lane; p < TILE_LEN; p += WORKGROUP_SIZE) {
            let index = first + (p >> LEN_LOG2);
            var value = vec2(0.0);
            if index < windows {
                value = tile_value(live_frame(unit_of(index)), window_of(index), p & ((1u << LEN_LOG2) - 1u), half);
            }
            shared_tile[p] = value;
        }
    }
    workgroupBarrier(); // The first pass reads what all invocations loaded.
}

// Multiplies one window's bin and, from (weighted, total), adds its power. Leaves real and imaginary part swapped.
fn filter_complex(p: u32, entry: u32) -> vec2<f32> {
    let z = shared_tile[p];
    shared_tile[p] = (z * response[entry].x).yx;
    let power = complex_power(z);
    return vec2(weights[entry].x * power, power);
}

// A real window of N samples stands as Z = E + i O, with E and O the spectra of its even and odd samples. With
// w = exp(-2 pi i k / N), bin k is E + w O and bin k + N/2 is E - w O; multiplied by H1 and H2 they give
//   E' = S E + D w O,  O' = D conj(w) E + S O,  S = (H1 + H2) / 2,  D = (H1 - H2) / 2.
// Bins k and -k share all of it, so one invocation does both.
fn filter_real(p: u32, mirrored: u32, entry: u32) -> vec2<f32> {
    let z = shared_tile[p];
    let z_mirrored = complex_conjugate(shared_tile[mirrored]);
    let even = 0.5 * (z + z_mirrored);
    let odd = complex_quarter_turn_back(0.5 * (z - z_mirrored));
    let table = response[entry];
    let turned_odd = complex_multiply(table.zw, odd);
    let turned_even = complex_multiply(vec2(table.z, -table.w), even);
    let new_even = table.x * even + table.y * turned_odd;
    let new_odd = table.y * turned_even + table.x * odd;
    // E' + i O', swapped; for the mirrored bin conj(E') + i conj(O').
    shared_tile[p] = vec2(new_even.y + new_odd.x, new_even.x - new_odd.y);
    shared_tile[mirrored] = vec2(new_odd.x - new_even.y, new_even.x + new_odd.y);
    let lower = complex_power(even + turned_odd);
    let upper = complex_power(even - turned_odd);
    // The mirrored bins have the same powers: they count twice unless they are the same.
    let times = select(2.0, 1.0, p == mirrored);
    return times * vec2(dot(weights[entry], vec2(lower, upper)), lower + upper);
}

// Returns this invocation's share of (weighted, total) power of the window that its lane measures.
fn multiply_spectrum(lane: u32, half: u32) -> vec2<f32> {
    var measured = vec2(0.0);
    for (var p = lane; p < TILE_LEN; p += WORKGROUP_SIZE) {
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

// Sums the shares in a fixed order, so that results repeat to the bit. With MEASURE a tile holds one window.
fn store_powers(lane: u32, index: u32, measured: vec2<f32>) {
    workgroupBarrier(); // The kept samples have been read out of the tile: it is free.
    shared_tile[lane] = measured;
    workgroupBarrier(); // The sum reads every share.
    if lane == 0u {
        var sum = vec2(0.0);
        for (var i = 0u; i < WORKGROUP_SIZE; i++) {
            sum += shared_tile[i];
        }
        powers[index] = sum;
    }
}

fn store_pair(index: u32, position: u32, value: vec2<f32>) {
    if index < params.count * params.windows_per_frame
        && position >= params.margin && position - params.margin < params.hop {
        let start = unit_of(index) * params.frame_len + window_of(index) * params.hop;
        cleaned[start + position - params.margin] = value;
    }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn phi_resolvent(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = flat_workgroup(workgroup, workgroups) * (TILE_LEN >> LEN_LOG2);
    if first >= params.count * params.windows_per_frame {
        return; // The same for the whole workgroup: padding of a two-dimensional dispatch.
    }
    let columns_log2 = LEN_LOG2 - ROWS_LOG2;
    var kept: array<vec2<f32>, KEPT_LEN>;
    var measured = vec2(0.0);
    for (var half = 0u; half <= SPLIT; half++) {
        load_tile(lane, first, half);
        forward_axis(lane, ROWS_LOG2, columns_log2);
        forward_axis(lane, columns_log2, 0u);
        measured += multiply_spectrum(lane, half);
        inverse_axis(lane, columns_log2, 0u);
        inverse_axis(lane, ROWS_LOG2, columns_log2);
        if half < SPLIT {
            for (var i = 0u; i < KEPT_LEN; i++) {
                kept[i] = shared_tile[lane + i * WORKGROUP_SIZE].yx;
            }
            workgroupBarrier(); // The second half overwrites the tile.
        }
    }
    if SPLIT == 1u {
        for (var i = 0u; i < KEPT_LEN; i++) {
            let position = lane + i * WORKGROUP_SIZE;
            let odd_bins = complex_multiply(complex_conjugate(twiddles[position & SPLIT_MASK]), shared_tile[position].yx);
            store_pair(first, position, kept[i] + odd_bins);
            store_pair(first, position + TILE_LEN, kept[i] - odd_bins);
        }
    } else {
        for (var p = lane; p < TILE_LEN; p += WORKGROUP_SIZE) {
            store_pair(first + (p >> LEN_LOG2), p & ((1u << LEN_LOG2) - 1u), shared_tile[p].yx);
        }
    }
    if MEASURE {
        store_powers(lane, first, measured);
    }
}
