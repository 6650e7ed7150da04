// gru: the recurrent part of a gated recurrent unit. What the input gives to the gates comes from dense.wgsl.
// Included source goes first: dispatch.wgsl, rows.wgsl, functions.wgsl, recurrent.wgsl; the latter says what goes in
// and out, what a workgroup does, and what the floor is. Owner: src/stage/denoise.
//
// Gates are reset, update, new; `gates` has the input's biases in it, `tables` the recurrent ones. Of a channel, h is
// kept.

alias Gates = vec3<f32>;
alias WholeGates = vec3<i32>;

fn gates_of(four: vec4<f32>) -> Gates {
    return four.xyz;
}

fn whole_gates_of(four: vec4<i32>) -> WholeGates {
    return four.xyz;
}

// What the input gives to the new gate joins after the reset.
fn start(row: u32, unit: u32) -> Gates {
    let first = row * params.gate_stride + 3u * unit;
    return tables[unit].xyz + vec3(gates[first], gates[first + 1u], 0.0f);
}

// n = tanh(W x + b + sigmoid(r) * (R h + b')), h' = (1 - sigmoid(z)) n + sigmoid(z) h.
fn finish(row: u32, state: u32, unit: u32, h: f32, reset: bool, sums: Gates) -> f32 {
    let from_input = gates[row * params.gate_stride + 3u * unit + 2u];
    let new_value = hyperbolic_tangent(fma(sigmoid(sums.x), sums.z, from_input));
    return fma(sigmoid(sums.y), h - new_value, new_value);
}

fn forget(state: u32, unit: u32) {
    // There is nothing but h.
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn gru(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first_slot = flat_workgroup(workgroup, workgroups) * CHANNELS;
    if first_slot >= params.channels {
        return; // The same for the whole workgroup: padding of a two-dimensional dispatch.
    }
    walk(lane, first_slot);
}
