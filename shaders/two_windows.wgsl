// What one place of the transform's tile holds: the values of two windows at the same position. Shared source: no
// bindings, no entry point. Included by filter.wgsl and fourier.wgsl, before fft.wgsl; one_window.wgsl is its
// counterpart for windows of which two do not fit. Both windows share addresses and twiddles; no arithmetic goes from
// one to the other.

// (real part of the first, of the second, imaginary part of the first, of the second)
alias Value = vec4<f32>;
// One real number for each window.
alias Scalar = vec2<f32>;

const WINDOWS_PER_VALUE: u32 = 2u;

fn value_of(first: vec2<f32>, second: vec2<f32>) -> Value {
    return vec4(first.x, second.x, first.y, second.y);
}

fn value_from_parts(real: Scalar, imaginary: Scalar) -> Value {
    return vec4(real, imaginary);
}

fn value_first(v: Value) -> vec2<f32> {
    return v.xz;
}

fn value_second(v: Value) -> vec2<f32> {
    return v.yw;
}

fn value_multiply(v: Value, factor: vec2<f32>) -> Value {
    return vec4(v.xy * factor.x - v.zw * factor.y, v.xy * factor.y + v.zw * factor.x);
}

fn value_conjugate(v: Value) -> Value {
    return vec4(v.xy, -v.zw);
}

// v * -i
fn value_quarter_turn_back(v: Value) -> Value {
    return vec4(v.zw, -v.xy);
}

// Real and imaginary part exchanged.
fn value_swap(v: Value) -> Value {
    return v.zwxy;
}

fn value_power(v: Value) -> Scalar {
    return v.xy * v.xy + v.zw * v.zw;
}
