// The gate on the device: max_abs_gate finds each frame's loudest sample, compact_live lists the live frames in order
// and writes the arguments with which later stages are dispatched for those frames only.
// Included source goes first: dispatch.wgsl, frames.wgsl. Owner: src/stage/gate.rs.
//
// Everything is compared as integers: for floats without their sign bit, the order of the bits is the order of the
// values, with infinity above all numbers and NaN above infinity. So no driver's treatment of denormals, NaN or fused
// operations can change a decision, and it equals the CPU's to the bit.

// A batch lies as `channels` rows of `row_len` frames. The first CONTEXT_LEN frames of a row were decided earlier:
// their states come in and are not decided again; the last of them may become a unit, since a session emits one frame
// late.
struct GateParams {
    // Frames in the batch: channels * row_len.
    frames: u32,
    row_len: u32,
    context_len: u32,
    // Frames of a row that become units: emit_begin <= index in the row < emit_end.
    emit_begin: u32,
    emit_end: u32,
    // Groups of four samples in a frame.
    frame_quads: u32,
    // A frame is loud when its loudest sample is above these bits; ALWAYS_LOUD says that the threshold is off.
    threshold_bits: u32,
    hold: u32,
    // 1 when quiet frames keep their samples, and so are true neighbours of live ones.
    quiet_neighbours: u32,
    // Entries of `dispatches`.
    dispatches: u32,
}

// One later dispatch: `items_per_frame` items for every live frame, `items_per_workgroup` of them in each workgroup.
struct DispatchShape {
    items_per_frame: u32,
    items_per_workgroup: u32,
}

// What `arguments` holds for each of them: the indirect arguments, then the number of live frames.
struct DispatchArguments {
    x: u32,
    y: u32,
    z: u32,
    live: u32,
}

const QUIET: u32 = 0u;
const LIVE: u32 = 1u;
const FAULTY: u32 = 2u;
// No such frame: before a channel's first one.
const ABSENT: u32 = 3u;
// Live because of a loud frame before it. The host tells it from LIVE, to know how long ago the last loud one was.
const HELD: u32 = 4u;
const ALWAYS_LOUD: u32 = 0xffffffffu;
const INFINITY_BITS: u32 = 0x7f800000u;
const WIDEST_DISPATCH: u32 = 32768u;

override WORKGROUP_SIZE: u32 = 64u;
var<workgroup> shared_peaks: array<u32, WORKGROUP_SIZE>;

@group(0) @binding(0) var<uniform> params: GateParams;
@group(0) @binding(1) var<storage, read> samples: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> states: array<u32>;

fn peak_of(quad: vec4<u32>) -> u32 {
    let magnitude = quad & vec4(0x7fffffffu);
    return max(max(magnitude.x, magnitude.y), max(magnitude.z, magnitude.w));
}

fn state_of(peak: u32) -> u32 {
    if peak >= INFINITY_BITS {
        return FAULTY;
    }
    if params.threshold_bits == ALWAYS_LOUD || peak > params.threshold_bits {
        return LIVE;
    }
    return QUIET;
}

// One workgroup per frame; context frames keep the state that came in.
@compute @workgroup_size(WORKGROUP_SIZE)
fn max_abs_gate(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let frame = flat_workgroup(workgroup, workgroups);
    if frame >= params.frames || frame % params.row_len < params.context_len {
        return; // The same for the whole workgroup.
    }
    var peak = 0u;
    let first = frame * params.frame_quads;
    for (var i = lane; i < params.frame_quads; i += WORKGROUP_SIZE) {
        peak = max(peak, peak_of(samples[first + i]));
    }
    shared_peaks[lane] = peak;
    workgroupBarrier(); // The tree below reads every lane's peak.
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        if lane < half {
            shared_peaks[lane] = max(shared_peaks[lane], shared_peaks[lane + half]);
        }
        workgroupBarrier(); // The next step reads what this one wrote.
    }
    if lane == 0u {
        states[frame] = state_of(shared_peaks[0]);
    }
}

override SCAN_SIZE: u32 = 256u;
var<workgroup> shared_sums: array<u32, SCAN_SIZE>;
var<workgroup> shared_loud: array<u32, SCAN_SIZE>;

@group(0) @binding(3) var<storage, read> since_loud: array<u32>;
@group(0) @binding(4) var<storage, read_write> units: array<Unit>;
@group(0) @binding(5) var<storage, read> dispatches: array<DispatchShape>;
@group(0) @binding(6) var<storage, read_write> arguments: array<DispatchArguments>;

fn is_live(state: u32) -> bool {
    return state == LIVE || state == HELD;
}

fn becomes_unit(frame: u32) -> bool {
    let in_row = frame % params.row_len;
    return in_row >= params.emit_begin && in_row < params.emit_end && is_live(states[frame]);
}

// The slot of the neighbour at `frame`, which the caller knows to be in the same row.
fn neighbour_slot(frame: u32) -> u32 {
    let state = states[frame];
    if is_live(state) || (state == QUIET && params.quiet_neighbours == 1u) {
        return frame;
    }
    return NO_SLOT;
}

// Hold: a quiet frame is held live when a loud one stands at most `hold` frames before it in its row, or stood
// `since_loud` frames before the first new frame of the row. `last_loud` is 1 + the last loud frame seen, 0 for none.
fn held_state(frame: u32, state: u32, last_loud: u32) -> u32 {
    if state != QUIET {
        return state;
    }
    let row = frame / params.row_len;
    let first_new = row * params.row_len + params.context_len;
    let distance = select(since_loud[row] + (frame - first_new), frame + 1u - last_loud, last_loud > first_new);
    return select(QUIET, HELD, distance <= params.hold);
}

// One workgroup for the whole batch of at most 65,536 frames: lane t owns a run of consecutive frames. A scan gives
// each lane the last loud frame before its run, a second one the number of live frames before it; so the order of the
// units is the order of the frames, on every run and every device.
@compute @workgroup_size(SCAN_SIZE)
fn compact_live(@builtin(local_invocation_index) lane: u32) {
    let run = (params.frames + SCAN_SIZE - 1u) / SCAN_SIZE;
    let begin = min(lane * run, params.frames);
    let end = min(begin + run, params.frames);

    var last_loud = 0u;
    for (var frame = begin; frame < end; frame++) {
        if frame % params.row_len >= params.context_len && states[frame] == LIVE {
            last_loud = frame + 1u;
        }
    }
    shared_loud[lane] = last_loud;
    workgroupBarrier(); // The scan reads every lane's last loud frame.
    for (var distance = 1u; distance < SCAN_SIZE; distance *= 2u) {
        var before = 0u;
        if lane >= distance {
            before = shared_loud[lane - distance];
        }
        workgroupBarrier(); // All have read before any writes.
        shared_loud[lane] = max(shared_loud[lane], before);
        workgroupBarrier(); // All have written before any reads.
    }
    last_loud = 0u;
    if lane > 0u {
        last_loud = shared_loud[lane - 1u];
    }

    var live = 0u;
    for (var frame = begin; frame < end; frame++) {
        if frame % params.row_len >= params.context_len {
            let state = states[frame];
            if state == LIVE {
                last_loud = frame + 1u;
            }
            states[frame] = held_state(frame, state, last_loud);
        }
        if becomes_unit(frame) {
            live++;
        }
    }
    shared_sums[lane] = live;
    storageBarrier(); // Neighbours are read below, with the states that other lanes gave them.
    workgroupBarrier(); // The scan reads every lane's count.
    for (var distance = 1u; distance < SCAN_SIZE; distance *= 2u) {
        var before = 0u;
        if lane >= distance {
            before = shared_sums[lane - distance];
        }
        workgroupBarrier(); // All have read before any writes.
        shared_sums[lane] += before;
        workgroupBarrier(); // All have written before any reads.
    }

    var at = shared_sums[lane] - live;
    for (var frame = begin; frame < end; frame++) {
        if becomes_unit(frame) {
            var unit = Unit(frame, NO_SLOT, NO_SLOT, frame);
            if frame % params.row_len > 0u {
                unit.previous = neighbour_slot(frame - 1u);
            }
            if frame % params.row_len + 1u < params.row_len {
                unit.next = neighbour_slot(frame + 1u);
            }
            units[at] = unit;
            at++;
        }
    }

    // Legal arguments whatever the count: an oversized dispatch would silently do nothing.
    let total = shared_sums[SCAN_SIZE - 1u];
    for (var i = lane; i < params.dispatches; i += SCAN_SIZE) {
        let shape = dispatches[i];
        let workgroups = (total * shape.items_per_frame + shape.items_per_workgroup - 1u) / shape.items_per_workgroup;
        let rows = (workgroups + WIDEST_DISPATCH - 1u) / WIDEST_DISPATCH;
        arguments[i] = DispatchArguments(min(workgroups, WIDEST_DISPATCH), rows, 1u, total);
    }
}
