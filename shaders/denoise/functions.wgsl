// Functions of one number, the same on every device: WGSL's own are allowed errors that a recurrent state would carry
// on. The CPU twin has the same polynomials for tanh, and a logarithm of its own. Shared source: no bindings, no entry
// point. Included by spectrum.wgsl, dense.wgsl, dense_int8.wgsl, lstm.wgsl and gru.wgsl.

// The rational approximation of Eigen (`ptanh_float`) and of ONNX Runtime's MLAS, whose coefficients these are: an odd
// polynomial of degree 13 over an even one of degree 6. The clamp is where it reaches 1 in 32 bits. Its error is at
// most 4e-7, relative too, for every finite input.
fn hyperbolic_tangent(value: f32) -> f32 {
    let x = clamp(value, -7.99881172f, 7.99881172f);
    let s = x * x;
    var p = fma(s, -2.76076847742355e-16f, 2.00018790482477e-13f);
    p = fma(s, p, -8.60467152213735e-11f);
    p = fma(s, p, 5.12229709037114e-08f);
    p = fma(s, p, 1.48572235717979e-05f);
    p = fma(s, p, 6.37261928875436e-04f);
    p = fma(s, p, 4.89352455891786e-03f);
    var q = fma(s, 1.19825839466702e-06f, 1.18534705686654e-04f);
    q = fma(s, q, 2.26843463243900e-03f);
    q = fma(s, q, 4.89352518554385e-03f);
    return x * p / q;
}

// 1 / (1 + exp(-x)), within 3e-7.
fn sigmoid(x: f32) -> f32 {
    return fma(0.5f, hyperbolic_tangent(0.5f * x), 0.5f);
}

// For x of 1.2e-38 and more, within 2e-7 of the larger of 1 and the result: x = 2^e m with m from sqrt(1/2) to
// sqrt(2), and ln m = 2 atanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...) with s = (m - 1) / (m + 1), |s| <= 0.172.
fn natural_logarithm(x: f32) -> f32 {
    const SQRT_HALF_BITS = 0x3f3504f3u;
    let bits = bitcast<u32>(x) - SQRT_HALF_BITS;
    let exponent = f32(bitcast<i32>(bits) >> 23u);
    let mantissa = bitcast<f32>((bits & 0x007fffffu) + SQRT_HALF_BITS);
    let s = (mantissa - 1.0f) / (mantissa + 1.0f);
    let z = s * s;
    var series = fma(z, 0.22222222f, 0.28571429f);
    series = fma(z, series, 0.4f);
    series = fma(z, series, 0.66666667f);
    // ln 2 in two parts, of which the first has so few bits that its product with the exponent is exact.
    return fma(exponent, 0.693359375f, fma(exponent, -2.12194440e-4f, fma(s * z, series, 2.0f * s)));
}
