// phi_resolvent: window -> forward FFT -> multiply by a real, even response -> inverse FFT, in one pass.
// Included source goes first: dispatch.wgsl, complex.wgsl, frames.wgsl, one_window.wgsl or two_windows.wgsl,
// butterflies.wgsl, fft.wgsl, filter_windows.wgsl, which says what goes in and comes out, and from the owner,
// src/stage/filter, what an innermost pass is that is done together with the response, a leaf as in `src/fft`:
//   const LEAF_LOG2: u32                     1 to 3, as many as passes of radix 8 leave
//   fn transform_leaf(x: array<Value, LEAF_LEN>) -> array<Value, LEAF_LEN>
//
// Work per workgroup: TILE_LEN values, that is (TILE_LEN >> LEN_LOG2) * WINDOWS_PER_VALUE windows. A complex window of
// 4096 does not fit even alone, so with SPLIT its even and odd bins are transformed one after the other.

override WORKGROUP_SIZE: u32 = 64u;
override TILE_LEN: u32 = 512u;
// log2 of the values of one window that are in the tile at once.
override LEN_LOG2: u32 = 9u;
// Of these, how many bits are the row of a two-dimensional block.
override ROWS_LOG2: u32 = 0u;
override TWIDDLE_LOG2: u32 = 9u;
override COMPLEX_SAMPLES: bool = false;
// 1 when a window is transformed in two halves.
override SPLIT: u32 = 0u;
// Bits of a position on the axis that is split: all of them, or the row of a two-dimensional block.
override SPLIT_MASK: u32 = 0xffffffffu;
// True when the innermost passes are done together with the response: of windows in one dimension, in one piece.
override LEAVES_TOGETHER: bool = false;
const LEAF_LEN: u32 = 1u << LEAF_LOG2;
const HALF_LEAF: u32 = LEAF_LEN / 2u;
// Values that one invocation keeps from the first half: TILE_LEN / WORKGROUP_SIZE, at most this.
const KEPT_LEN: u32 = 8u;

var<workgroup> shared_tile: array<Value, TILE_LEN>;

// Index of the tile's first window, and which half of the bins is being transformed: the same for the whole workgroup.
var<private> tile_window: u32;
var<private> half: u32;
// Where the windows that are open begin in the tile.
var<private> first_place: u32;

// A butterfly takes all its values from the same windows.
fn open_butterfly(place: u32) {
    first_place = place & ~((1u << LEN_LOG2) - 1u);
    open_windows(tile_window + (place >> LEN_LOG2) * WINDOWS_PER_VALUE);
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

// Multiplies bins in the tile and returns their (weighted, total) powers.
fn filter_complex(p: u32, entry: u32) -> Value {
    let bins = filter_alone(shared_tile[p], entry);
    shared_tile[p] = bins.bin;
    return bins.power;
}

fn filter_real(p: u32, mirrored: u32, entry: u32) -> Value {
    let bins = filter_mirrored(shared_tile[p], shared_tile[mirrored], entry, p == mirrored);
    shared_tile[p] = bins.bin;
    shared_tile[mirrored] = bins.mirrored;
    return bins.power;
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

fn take_leaf(base: u32) -> array<Value, LEAF_LEN> {
    var x: array<Value, LEAF_LEN>;
    for (var i = 0u; i < LEAF_LEN; i++) {
        x[i] = shared_tile[base + i];
    }
    return transform_leaf(x);
}

fn give_leaf(base: u32, x: array<Value, LEAF_LEN>) {
    var y = transform_leaf(x);
    for (var i = 0u; i < LEAF_LEN; i++) {
        shared_tile[base + i] = y[i];
    }
}

// Where bin `index` of a leaf stands in it: its bits in reverse.
fn place_in_leaf(index: u32) -> u32 {
    return (((index & 1u) << 2u) | (index & 2u) | (index >> 2u)) >> (3u - LEAF_LOG2);
}

// The innermost pass, the response, and the first pass back, of two leaves whose bins mirror each other: the values stay
// in registers. Bin i of one leaf mirrors bin LEAF_LEN - 1 - i of the other one. The first two leaves mirror themselves:
// of leaf 0, with bin 0, bin i mirrors bin (LEAF_LEN - i) % LEAF_LEN; of leaf 1, bin LEAF_LEN - 1 - i. Returns the
// powers, as `multiply_spectrum`.
fn filter_leaf_pair(pair: u32) -> Value {
    const PAIRS_LOG2 = LEAF_LOG2 + 1u;
    let in_window = pair & ((1u << (LEN_LOG2 - PAIRS_LOG2)) - 1u);
    let window = (pair >> (LEN_LOG2 - PAIRS_LOG2)) << LEN_LOG2;
    let is_first = in_window == 0u;
    // Of leaves that mirror each other, all bits below the leading one differ: the first has a 0 behind it.
    let behind = 1u << (firstLeadingBit(max(in_window, 1u)));
    let first = select(in_window + behind, 0u, is_first) << LEAF_LOG2;
    let second = select((in_window + behind) ^ (2u * behind - 1u), 1u, is_first) << LEAF_LOG2;
    var a = take_leaf(window + first);
    var b = take_leaf(window + second);
    var power = Value();
    for (var i = 0u; i < HALF_LEAF; i++) {
        let j = LEAF_LEN - 1u - i;
        let own = (LEAF_LEN - i) % LEAF_LEN;
        let bins = filter_mirrored(a[i], select(b[j], a[own], is_first), first + place_in_leaf(i), is_first && i == 0u);
        a[i] = bins.bin;
        b[j] = select(bins.mirrored, b[j], is_first);
        if i > 0u {
            a[own] = select(a[own], bins.mirrored, is_first);
        }
        power += bins.power;
    }
    if is_first {
        let bins = filter_mirrored(a[HALF_LEAF], a[HALF_LEAF], place_in_leaf(HALF_LEAF), true);
        a[HALF_LEAF] = bins.bin;
        power += bins.power;
    }
    for (var i = 0u; i < HALF_LEAF; i++) {
        let at = i + HALF_LEAF;
        let j = HALF_LEAF - 1u - i;
        let own = LEAF_LEN - 1u - i;
        let z = select(a[at], b[i], is_first);
        let z_mirrored = select(b[j], b[own], is_first);
        let entry = select(first + place_in_leaf(at), second + place_in_leaf(i), is_first);
        let bins = filter_mirrored(z, z_mirrored, entry, false);
        a[at] = select(bins.bin, a[at], is_first);
        b[i] = select(b[i], bins.bin, is_first);
        b[j] = select(bins.mirrored, b[j], is_first);
        b[own] = select(b[own], bins.mirrored, is_first);
        power += bins.power;
    }
    give_leaf(window + first, a);
    give_leaf(window + second, b);
    return power;
}

// The same of one leaf of a complex window: each bin is by itself.
fn filter_leaf(leaf: u32) -> Value {
    let base = leaf << LEAF_LOG2;
    let first = base & ((1u << LEN_LOG2) - 1u);
    var x = take_leaf(base);
    var power = Value();
    for (var i = 0u; i < LEAF_LEN; i++) {
        let bins = filter_alone(x[i], first + place_in_leaf(i));
        x[i] = bins.bin;
        power += bins.power;
    }
    give_leaf(base, x);
    return power;
}

// Windows in one dimension, with their innermost passes together with the response.
fn filter_in_leaves(lane: u32) -> Value {
    for (var done = 3u; done + LEAF_LOG2 <= LEN_LOG2; done += 3u) {
        forward_pass_8(lane, LEN_LOG2 - done, 0u, done == 3u);
        workgroupBarrier(); // As in `forward_axis`.
    }
    var measured = Value();
    if COMPLEX_SAMPLES {
        for (var leaf = lane; leaf < (TILE_LEN >> LEAF_LOG2); leaf += WORKGROUP_SIZE) {
            measured += filter_leaf(leaf);
        }
    } else {
        for (var pair = lane; pair < (TILE_LEN >> (LEAF_LOG2 + 1u)); pair += WORKGROUP_SIZE) {
            measured += filter_leaf_pair(pair);
        }
    }
    workgroupBarrier(); // The next pass reads all leaves.
    for (var done = LEAF_LOG2; done < LEN_LOG2; done += 3u) {
        inverse_pass_8(lane, done, 0u, done + 3u == LEN_LOG2);
        workgroupBarrier(); // As in `inverse_axis`.
    }
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
        open_windows(tile_window);
        store_power(sum);
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
    if LEAVES_TOGETHER {
        let in_leaves = filter_in_leaves(lane);
        if MEASURE {
            store_powers(lane, in_leaves);
        }
        return;
    }
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
