// What one place of the transform's tile holds: a value of one window. Shared source: no bindings, no entry point.
// Included by filter.wgsl and fourier.wgsl, before fft.wgsl, for windows that are too long for two_windows.wgsl.

alias Value = vec2<f32>;
alias Scalar = f32;

const WINDOWS_PER_VALUE: u32 = 1u;

fn value_of(first: vec2<f32>, second: vec2<f32>) -> Value {
    return first;
}

fn value_from_parts(real: Scalar, imaginary: Scalar) -> Value {
    return vec2(real, imaginary);
}

fn value_first(v: Value) -> vec2<f32> {
    return v;
}

fn value_second(v: Value) -> vec2<f32> {
    return v;
}

fn value_multiply(v: Value, factor: vec2<f32>) -> Value {
    return complex_multiply(v, factor);
}

fn value_conjugate(v: Value) -> Value {
    return complex_conjugate(v);
}

// v * -i
fn value_quarter_turn_back(v: Value) -> Value {
    return complex_quarter_turn_back(v);
}

// Real and imaginary part exchanged.
fn value_swap(v: Value) -> Value {
    return v.yx;
}

fn value_power(v: Value) -> Scalar {
    return complex_power(v);
}
