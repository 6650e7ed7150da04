// Windows of frames, what becomes of their bins, and where results go. Shared source: no entry point. Included by
// filter.wgsl, after dispatch.wgsl, complex.wgsl, frames.wgsl, and one_window.wgsl or two_windows.wgsl.
//
// Inputs   params     FilterParams
//          units      one per live frame
//          samples    frames by slot, or side by side, as pairs: one complex sample, or two real ones
//          twiddles   exp(-2 pi i k / len), 2^TWIDDLE_LOG2 entries
//          response   by bin position: complex windows (H, 0, 0, 0); real ones (S, D, w.re, w.im), see
//                     `filter_mirrored`
//          weights    by bin position: weights of the powers of the bin and, real windows, of its upper twin
// Outputs  cleaned    the kept part of each window, frame after frame in the order of `units`
//          powers     for each window (sum over bins of weight * |X|^2, sum of |X|^2); only with MEASURE
//
// A window of real samples is transformed as half as many complex values (even samples + i * odd samples): no frame
// ever shares a transform with another, so a loud neighbour cannot leak rounding into a quiet frame. Two windows go
// through the passes side by side, as the two halves of each value, wherever both fit into 16 KiB.

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

override MEASURE: bool = false;
// True when windows reach into the frames before and after; else a window is a frame.
override SEAMLESS: bool = false;
// True when frame i of `samples` is that of unit i: they are another kernel's results, side by side, without slots.
override SIDE_BY_SIDE: bool = false;

@group(0) @binding(0) var<uniform> params: FilterParams;
@group(0) @binding(1) var<storage, read> units: array<Unit>;
@group(0) @binding(2) var<storage, read> samples: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> twiddles: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> response: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> weights: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> cleaned: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> powers: array<vec2<f32>>;

// Where the samples of a window lie: its frame with its neighbours, and the frame's pair that the window starts at,
// negative where it starts in the frame before.
struct Window {
    unit: Unit,
    start: i32,
}

// Those that the invocation works on, and the index of the first of them.
var<private> windows: array<Window, WINDOWS_PER_VALUE>;
var<private> first_window: u32;

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

// Where there are fewer windows than places for them, the last one stands in.
fn open_windows(first: u32) {
    first_window = first;
    for (var i = 0u; i < WINDOWS_PER_VALUE; i++) {
        windows[i] = window_at(min(first + i, window_count() - 1u));
    }
}

fn window_value(position: u32) -> Value {
    return value_of(window_sample(windows[0], position), window_sample(windows[WINDOWS_PER_VALUE - 1u], position));
}

// A bin of a window, real windows its mirrored one, and their power: (weighted, total).
struct Bins {
    bin: Value,
    mirrored: Value,
    power: Value,
}

// A bin of a complex window. Leaves the parts of the value swapped.
fn filter_alone(z: Value, entry: u32) -> Bins {
    let bin = value_swap(z * response[entry].x);
    if !MEASURE {
        return Bins(bin, Value(), Value());
    }
    let power = value_power(z);
    return Bins(bin, Value(), value_from_parts(weights[entry].x * power, power));
}

// A real window of N samples stands as Z = E + i O, with E and O the spectra of its even and odd samples. With
// w = exp(-2 pi i k / N), bin k is E + w O and bin k + N/2 is E - w O; multiplied by H1 and H2 they give
//   E' = S E + D w O,  O' = D conj(w) E + S O,  S = (H1 + H2) / 2,  D = (H1 - H2) / 2.
// Bins k and -k share all of it, so they are done together. Leaves the parts of the values swapped.
fn filter_mirrored(z: Value, z_mirrored: Value, entry: u32, is_one: bool) -> Bins {
    let conjugate = value_conjugate(z_mirrored);
    let even = 0.5 * (z + conjugate);
    let odd = value_quarter_turn_back(0.5 * (z - conjugate));
    let table = response[entry];
    let turned_odd = value_multiply(odd, table.zw);
    let turned_even = value_multiply(even, vec2(table.z, -table.w));
    let new_even = table.x * even + table.y * turned_odd;
    let new_odd = table.y * turned_even + table.x * odd;
    // E' + i O', swapped; for the mirrored bin conj(E') + i conj(O').
    let back_odd = value_quarter_turn_back(new_odd);
    let bin = value_swap(new_even - back_odd);
    let mirrored = value_swap(value_conjugate(new_even + back_odd));
    if !MEASURE {
        return Bins(bin, mirrored, Value());
    }
    let lower = value_power(even + turned_odd);
    let upper = value_power(even - turned_odd);
    // The mirrored bins have the same powers: they count twice unless they are the same.
    let times = select(2.0, 1.0, is_one);
    let weight = weights[entry];
    let power = value_from_parts(weight.x * lower + weight.y * upper, lower + upper);
    return Bins(bin, mirrored, times * power);
}

// The powers of the windows that are open.
fn store_power(sum: Value) {
    powers[first_window] = value_first(sum);
    if WINDOWS_PER_VALUE == 2u && first_window + 1u < window_count() {
        powers[first_window + 1u] = value_second(sum);
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
