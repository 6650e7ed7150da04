// Transforms of a few values, which stay in registers; they take and give natural order. Shared source: no bindings, no
// entry point. Included by filter.wgsl and fourier.wgsl, after one_window.wgsl or two_windows.wgsl and before fft.wgsl.

// v * exp(-2 pi i / 8)
fn value_eighth_turn_back(v: Value) -> Value {
    const HALF_SQRT_2 = 0.70710678118654752440f;
    return HALF_SQRT_2 * (v + value_quarter_turn_back(v));
}

fn butterfly_2(x: array<Value, 2>) -> array<Value, 2> {
    return array(x[0] + x[1], x[0] - x[1]);
}

fn butterfly_4(x: array<Value, 4>) -> array<Value, 4> {
    let sum_even = x[0] + x[2];
    let difference_even = x[0] - x[2];
    let sum_odd = x[1] + x[3];
    let turned_odd = value_quarter_turn_back(x[1] - x[3]);
    return array(sum_even + sum_odd, difference_even + turned_odd, sum_even - sum_odd, difference_even - turned_odd);
}

fn butterfly_8(x: array<Value, 8>) -> array<Value, 8> {
    let even = butterfly_4(array(x[0], x[2], x[4], x[6]));
    let odd = butterfly_4(array(x[1], x[3], x[5], x[7]));
    // odd[q] * exp(-2 pi i q / 8)
    let odd_1 = value_eighth_turn_back(odd[1]);
    let odd_2 = value_quarter_turn_back(odd[2]);
    let odd_3 = value_quarter_turn_back(value_eighth_turn_back(odd[3]));
    return array(
        even[0] + odd[0], even[1] + odd_1, even[2] + odd_2, even[3] + odd_3,
        even[0] - odd[0], even[1] - odd_1, even[2] - odd_2, even[3] - odd_3,
    );
}
