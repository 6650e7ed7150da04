// What recurrent layers share: a workgroup takes CHANNELS slots and walks through all hops of the call; their state is
// in workgroup memory on the way. Shared source: no entry point. Included by lstm.wgsl and gru.wgsl, after rows.wgsl
// and functions.wgsl. Owner: src/stage/denoise. Whoever includes it declares
//   alias Gates = vec4<f32>                                     a number for each gate of a unit; or vec3
//   alias WholeGates = vec4<i32>                                the same in integers
//   fn gates_of(four: vec4<f32>) -> Gates                       what the weights are kept in, without padding
//   fn whole_gates_of(four: vec4<i32>) -> WholeGates            the same in integers
//   fn start(row: u32, unit: u32) -> Gates                      what the sums begin with
//   fn finish(row: u32, state: u32, unit: u32, h: f32, reset: bool, sums: Gates) -> f32
//                                                               the new h of a unit whose channel runs; its own h in
//   fn forget(state: u32, unit: u32)                            zeros what else is kept of it
//
// Inputs   params     RecurrentParams
//          channels   for each slot: the channel, whose place in `states` and `scales` it is
//          steps      for each slot, hop by hop
//          gates      for each row what the input gives to each gate, unit after unit, gate_stride apart
//          weights    WEIGHT_BITS 32: for each column of R, for each unit, a number for each gate; 16: for two columns,
//                     each word both; 8: for four columns
//          tables     for each unit a vec4 with a number for each gate: biases, then with WEIGHT_BITS 8 the rows' scales
//          scales     with SCALED: for each channel `units` factors
// Outputs  states     for each channel `state_len` numbers: h, then whatever else is kept
//          results    for each row h times its factor, result_stride apart
//
// An invocation makes all gates of one unit for all CHANNELS slots, in registers: it reads each weight once for all of
// them, and h from workgroup memory, where all invocations read the same place at once. The products of one gate are
// added in the order of the units, each in one fused step, however many slots there are: so a channel comes out the
// same to the bit whichever others are in the call.
//
// The floor is arithmetic, 2 * gates * units^2 operations a row, as long as CHANNELS is large enough: a workgroup reads
// the weights, 4 * gates * units^2 bytes in 32 bits, for each of its hops, CHANNELS / 2 operations for each byte of the
// second-level cache.

struct RecurrentParams {
    rows: u32,
    channels: u32,
    hops: u32,
    units: u32,
    // Numbers kept of a channel.
    state_len: u32,
    // Floats from one row to the next, multiples of 4.
    gate_stride: u32,
    result_stride: u32,
}

override WORKGROUP_SIZE: u32 = 128u;
// 1, 4, 8 or 16.
override CHANNELS: u32 = 16u;
// CHANNELS * padded_units(), and how many vec4 hold as much as all invocations read.
override NEW_LEN: u32 = 2048u;
override STATE_QUADS: u32 = 512u;
override WEIGHT_BITS: u32 = 32u;
override SCALED: bool = false;

@group(0) @binding(0) var<uniform> params: RecurrentParams;
@group(0) @binding(1) var<storage, read> channels: array<u32>;
@group(0) @binding(2) var<storage, read> steps: array<HopStep>;
@group(0) @binding(3) var<storage, read> gates: array<f32>;
@group(0) @binding(4) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> tables: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> scales: array<f32>;
@group(0) @binding(7) var<storage, read_write> states: array<f32>;
@group(0) @binding(8) var<storage, read_write> results: array<f32>;

// h of each slot, padded_units() apart: as it is made, and as all invocations read it, 4 floats or 16 bytes in a vec4.
// Together they are at most 16 KiB.
var<workgroup> shared_new: array<f32, NEW_LEN>;
var<workgroup> shared_state: array<vec4<u32>, STATE_QUADS>;

// Units whose h are in one vec4, and how many vec4 a slot has.
fn group_len() -> u32 {
    return select(4u, 16u, WEIGHT_BITS == 8u);
}

fn groups() -> u32 {
    return (params.units + group_len() - 1u) / group_len();
}

fn padded_units() -> u32 {
    return groups() * group_len();
}

// No flags past the last hop, and for slots that are not there.
fn flags_of(slot: u32, hop: u32) -> u32 {
    if slot >= params.channels || hop >= params.hops {
        return 0u;
    }
    return steps[slot * params.hops + hop].flags;
}

// The weights of column `column`, which is at most 3 past the last unit, where they are zeros.
fn weight_column(column: u32, unit: u32) -> Gates {
    if WEIGHT_BITS == 32u {
        return gates_of(bitcast<vec4<f32>>(weights[column * params.units + unit]));
    }
    let two = weights[column / 2u * params.units + unit];
    let even = vec4(unpack2x16float(two.x).x, unpack2x16float(two.y).x, unpack2x16float(two.z).x, unpack2x16float(two.w).x);
    let odd = vec4(unpack2x16float(two.x).y, unpack2x16float(two.y).y, unpack2x16float(two.z).y, unpack2x16float(two.w).y);
    return gates_of(select(even, odd, column % 2u == 1u));
}

// Adds the products of four numbers of h of a slot.
fn add_four(sums: Gates, place: u32, columns: array<Gates, 4>) -> Gates {
    let h = bitcast<vec4<f32>>(shared_state[place]);
    var next = fma(Gates(h.x), columns[0], sums);
    next = fma(Gates(h.y), columns[1], next);
    next = fma(Gates(h.z), columns[2], next);
    return fma(Gates(h.w), columns[3], next);
}

fn products_of(h: u32, four: vec4<u32>) -> vec4<i32> {
    return vec4(dot4I8Packed(h, four.x), dot4I8Packed(h, four.y), dot4I8Packed(h, four.z), dot4I8Packed(h, four.w));
}

// The same for sixteen numbers in 8 bits.
fn add_sixteen(sums: WholeGates, place: u32, columns: array<vec4<u32>, 4>) -> WholeGates {
    let h = shared_state[place];
    let lower = products_of(h.x, columns[0]) + products_of(h.y, columns[1]);
    let upper = products_of(h.z, columns[2]) + products_of(h.w, columns[3]);
    return sums + whole_gates_of(lower + upper);
}

fn new_quad(first: u32) -> vec4<f32> {
    return vec4(shared_new[first], shared_new[first + 1u], shared_new[first + 2u], shared_new[first + 3u]);
}

// No h is above 1, so its scale is 1 / 127 for all.
fn pack_quad(first: u32) -> u32 {
    return pack4xI8(vec4<i32>(round(127.0f * new_quad(first))));
}

// Copies the new h to where all invocations read it.
fn publish(lane: u32) {
    for (var place = lane; place < CHANNELS * groups(); place += WORKGROUP_SIZE) {
        let first = place * group_len();
        if WEIGHT_BITS == 8u {
            shared_state[place] =
                vec4(pack_quad(first), pack_quad(first + 4u), pack_quad(first + 8u), pack_quad(first + 12u));
        } else {
            shared_state[place] = bitcast<vec4<u32>>(new_quad(first));
        }
    }
}

// What is kept of h before `hop`, for one unit of a slot: zero where that hop begins with a reset.
fn keep(index: u32, unit: u32, slot: u32, hop: u32, h: f32) {
    shared_new[index * padded_units() + unit] = select(h, 0.0f, (flags_of(slot, hop) & RESET) != 0u);
}

fn load_states(lane: u32, first_slot: u32) {
    let stride = padded_units();
    for (var i = lane; i < CHANNELS * stride; i += WORKGROUP_SIZE) {
        let slot = first_slot + i / stride;
        let unit = i % stride;
        if slot < params.channels && unit < params.units {
            keep(i / stride, unit, slot, 0u, states[channels[slot] * params.state_len + unit]);
        } else {
            shared_new[i] = 0.0f;
        }
    }
}

// Ends a hop for one unit of one slot.
fn end_unit(index: u32, slot: u32, hop: u32, unit: u32, sums: Gates) {
    if slot >= params.channels {
        return;
    }
    let row = hop * params.channels + slot;
    let state = channels[slot] * params.state_len;
    let flags = flags_of(slot, hop);
    var h = shared_new[index * padded_units() + unit];
    if (flags & RUN) != 0u {
        h = finish(row, state, unit, h, (flags & RESET) != 0u, sums);
        var result = h;
        if SCALED {
            result *= scales[channels[slot] * params.units + unit];
        }
        results[row * params.result_stride + unit] = result;
    } else {
        if (flags & RESET) != 0u {
            forget(state, unit);
        }
        results[row * params.result_stride + unit] = 0.0f;
    }
    if hop + 1u == params.hops {
        states[state + unit] = h;
    }
    keep(index, unit, slot, hop + 1u, h);
}

// What the sums of a slot start with; zeros where there is none.
fn start_of(slot: u32, hop: u32, unit: u32) -> Gates {
    if slot >= params.channels {
        return Gates(0.0f);
    }
    return start(hop * params.channels + slot, unit);
}

// Adds to the sums of a slot those in integers, which are exact, times both scales.
fn add_whole(sums: Gates, whole: WholeGates, unit: u32) -> Gates {
    return fma(Gates(whole), gates_of(tables[params.units + unit]) / 127.0f, sums);
}

fn walk(lane: u32, first_slot: u32) {
    load_states(lane, first_slot);
    for (var hop = 0u; hop < params.hops; hop++) {
        workgroupBarrier(); // Each copies what others have made.
        publish(lane);
        workgroupBarrier(); // The products read what all have published.
        for (var unit = lane; unit < params.units; unit += WORKGROUP_SIZE) {
            if WEIGHT_BITS == 8u {
                advance_unit_whole(first_slot, hop, unit);
            } else {
                advance_unit(first_slot, hop, unit);
            }
        }
    }
}

// Advances one unit of all slots by a hop. Written out, since an array that is indexed by a loop's variable would go to
// memory instead of registers.
fn advance_unit(slot: u32, hop: u32, unit: u32) {
    let quads = groups();
    var sums: array<Gates, 16>;
    sums[0] = start_of(slot, hop, unit);
    if CHANNELS > 1u {
        sums[1] = start_of(slot + 1u, hop, unit);
        sums[2] = start_of(slot + 2u, hop, unit);
        sums[3] = start_of(slot + 3u, hop, unit);
    }
    if CHANNELS > 4u {
        sums[4] = start_of(slot + 4u, hop, unit);
        sums[5] = start_of(slot + 5u, hop, unit);
        sums[6] = start_of(slot + 6u, hop, unit);
        sums[7] = start_of(slot + 7u, hop, unit);
    }
    if CHANNELS > 8u {
        sums[8] = start_of(slot + 8u, hop, unit);
        sums[9] = start_of(slot + 9u, hop, unit);
        sums[10] = start_of(slot + 10u, hop, unit);
        sums[11] = start_of(slot + 11u, hop, unit);
        sums[12] = start_of(slot + 12u, hop, unit);
        sums[13] = start_of(slot + 13u, hop, unit);
        sums[14] = start_of(slot + 14u, hop, unit);
        sums[15] = start_of(slot + 15u, hop, unit);
    }
    for (var quad = 0u; quad < quads; quad++) {
        let first = 4u * quad;
        let columns = array(
            weight_column(first, unit), weight_column(first + 1u, unit),
            weight_column(first + 2u, unit), weight_column(first + 3u, unit),
        );
        sums[0] = add_four(sums[0], quad, columns);
        if CHANNELS > 1u {
            sums[1] = add_four(sums[1], quads + quad, columns);
            sums[2] = add_four(sums[2], 2u * quads + quad, columns);
            sums[3] = add_four(sums[3], 3u * quads + quad, columns);
        }
        if CHANNELS > 4u {
            sums[4] = add_four(sums[4], 4u * quads + quad, columns);
            sums[5] = add_four(sums[5], 5u * quads + quad, columns);
            sums[6] = add_four(sums[6], 6u * quads + quad, columns);
            sums[7] = add_four(sums[7], 7u * quads + quad, columns);
        }
        if CHANNELS > 8u {
            sums[8] = add_four(sums[8], 8u * quads + quad, columns);
            sums[9] = add_four(sums[9], 9u * quads + quad, columns);
            sums[10] = add_four(sums[10], 10u * quads + quad, columns);
            sums[11] = add_four(sums[11], 11u * quads + quad, columns);
            sums[12] = add_four(sums[12], 12u * quads + quad, columns);
            sums[13] = add_four(sums[13], 13u * quads + quad, columns);
            sums[14] = add_four(sums[14], 14u * quads + quad, columns);
            sums[15] = add_four(sums[15], 15u * quads + quad, columns);
        }
    }
    end_unit(0u, slot, hop, unit, sums[0]);
    if CHANNELS > 1u {
        end_unit(1u, slot + 1u, hop, unit, sums[1]);
        end_unit(2u, slot + 2u, hop, unit, sums[2]);
        end_unit(3u, slot + 3u, hop, unit, sums[3]);
    }
    if CHANNELS > 4u {
        end_unit(4u, slot + 4u, hop, unit, sums[4]);
        end_unit(5u, slot + 5u, hop, unit, sums[5]);
        end_unit(6u, slot + 6u, hop, unit, sums[6]);
        end_unit(7u, slot + 7u, hop, unit, sums[7]);
    }
    if CHANNELS > 8u {
        end_unit(8u, slot + 8u, hop, unit, sums[8]);
        end_unit(9u, slot + 9u, hop, unit, sums[9]);
        end_unit(10u, slot + 10u, hop, unit, sums[10]);
        end_unit(11u, slot + 11u, hop, unit, sums[11]);
        end_unit(12u, slot + 12u, hop, unit, sums[12]);
        end_unit(13u, slot + 13u, hop, unit, sums[13]);
        end_unit(14u, slot + 14u, hop, unit, sums[14]);
        end_unit(15u, slot + 15u, hop, unit, sums[15]);
    }
}

// The same in integers.
fn advance_unit_whole(slot: u32, hop: u32, unit: u32) {
    let slot_groups = groups();
    var sums: array<WholeGates, 16>;
    for (var group = 0u; group < slot_groups; group++) {
        let first = 4u * group * params.units + unit;
        let columns = array(
            weights[first], weights[first + params.units],
            weights[first + 2u * params.units], weights[first + 3u * params.units],
        );
        sums[0] = add_sixteen(sums[0], group, columns);
        if CHANNELS > 1u {
            sums[1] = add_sixteen(sums[1], slot_groups + group, columns);
            sums[2] = add_sixteen(sums[2], 2u * slot_groups + group, columns);
            sums[3] = add_sixteen(sums[3], 3u * slot_groups + group, columns);
        }
        if CHANNELS > 4u {
            sums[4] = add_sixteen(sums[4], 4u * slot_groups + group, columns);
            sums[5] = add_sixteen(sums[5], 5u * slot_groups + group, columns);
            sums[6] = add_sixteen(sums[6], 6u * slot_groups + group, columns);
            sums[7] = add_sixteen(sums[7], 7u * slot_groups + group, columns);
        }
        if CHANNELS > 8u {
            sums[8] = add_sixteen(sums[8], 8u * slot_groups + group, columns);
            sums[9] = add_sixteen(sums[9], 9u * slot_groups + group, columns);
            sums[10] = add_sixteen(sums[10], 10u * slot_groups + group, columns);
            sums[11] = add_sixteen(sums[11], 11u * slot_groups + group, columns);
            sums[12] = add_sixteen(sums[12], 12u * slot_groups + group, columns);
            sums[13] = add_sixteen(sums[13], 13u * slot_groups + group, columns);
            sums[14] = add_sixteen(sums[14], 14u * slot_groups + group, columns);
            sums[15] = add_sixteen(sums[15], 15u * slot_groups + group, columns);
        }
    }
    end_unit(0u, slot, hop, unit, add_whole(start_of(slot, hop, unit), sums[0], unit));
    if CHANNELS > 1u {
        end_unit(1u, slot + 1u, hop, unit, add_whole(start_of(slot + 1u, hop, unit), sums[1], unit));
        end_unit(2u, slot + 2u, hop, unit, add_whole(start_of(slot + 2u, hop, unit), sums[2], unit));
        end_unit(3u, slot + 3u, hop, unit, add_whole(start_of(slot + 3u, hop, unit), sums[3], unit));
    }
    if CHANNELS > 4u {
        end_unit(4u, slot + 4u, hop, unit, add_whole(start_of(slot + 4u, hop, unit), sums[4], unit));
        end_unit(5u, slot + 5u, hop, unit, add_whole(start_of(slot + 5u, hop, unit), sums[5], unit));
        end_unit(6u, slot + 6u, hop, unit, add_whole(start_of(slot + 6u, hop, unit), sums[6], unit));
        end_unit(7u, slot + 7u, hop, unit, add_whole(start_of(slot + 7u, hop, unit), sums[7], unit));
    }
    if CHANNELS > 8u {
        end_unit(8u, slot + 8u, hop, unit, add_whole(start_of(slot + 8u, hop, unit), sums[8], unit));
        end_unit(9u, slot + 9u, hop, unit, add_whole(start_of(slot + 9u, hop, unit), sums[9], unit));
        end_unit(10u, slot + 10u, hop, unit, add_whole(start_of(slot + 10u, hop, unit), sums[10], unit));
        end_unit(11u, slot + 11u, hop, unit, add_whole(start_of(slot + 11u, hop, unit), sums[11], unit));
        end_unit(12u, slot + 12u, hop, unit, add_whole(start_of(slot + 12u, hop, unit), sums[12], unit));
        end_unit(13u, slot + 13u, hop, unit, add_whole(start_of(slot + 13u, hop, unit), sums[13], unit));
        end_unit(14u, slot + 14u, hop, unit, add_whole(start_of(slot + 14u, hop, unit), sums[14], unit));
        end_unit(15u, slot + 15u, hop, unit, add_whole(start_of(slot + 15u, hop, unit), sums[15], unit));
    }
}
