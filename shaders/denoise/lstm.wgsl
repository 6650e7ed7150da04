// lstm: the recurrent part of a long short-term memory. What the input gives to the gates comes from dense.wgsl.
// Included source goes first: dispatch.wgsl, rows.wgsl, functions.wgsl, recurrent.wgsl; the latter says what goes in
// and out, what a workgroup does, and what the floor is. Owner: src/stage/denoise.
//
// Gates are input, forget, cell, output; `gates` has their biases in it. Of a channel, h and c are kept.

alias Gates = vec4<f32>;
alias WholeGates = vec4<i32>;

fn gates_of(four: vec4<f32>) -> Gates {
    return four;
}

fn whole_gates_of(four: vec4<i32>) -> WholeGates {
    return four;
}

fn start(row: u32, unit: u32) -> Gates {
    let first = row * params.gate_stride + 4u * unit;
    return vec4(gates[first], gates[first + 1u], gates[first + 2u], gates[first + 3u]);
}

// c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').
fn finish(row: u32, state: u32, unit: u32, h: f32, reset: bool, sums: Gates) -> f32 {
    let place = state + params.units + unit;
    let old = select(states[place], 0.0f, reset);
    let cell = fma(sigmoid(sums.y), old, sigmoid(sums.x) * hyperbolic_tangent(sums.z));
    states[place] = cell;
    return sigmoid(sums.w) * hyperbolic_tangent(cell);
}

fn forget(state: u32, unit: u32) {
    states[state + params.units + unit] = 0.0f;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn lstm(
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
