// Complex arithmetic on vec2 (x = real part, y = imaginary part). Shared source: no bindings, no entry point.
// Included by filter.wgsl and fourier.wgsl (through fft.wgsl), denoise/spectrum.wgsl and denoise/mask.wgsl.

fn complex_multiply(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

fn complex_conjugate(a: vec2<f32>) -> vec2<f32> {
    return vec2(a.x, -a.y);
}

// a * -i
fn complex_quarter_turn_back(a: vec2<f32>) -> vec2<f32> {
    return vec2(a.y, -a.x);
}

fn complex_power(a: vec2<f32>) -> f32 {
    return a.x * a.x + a.y * a.y;
}
