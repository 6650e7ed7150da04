// estimate_delay: the delay between two receivers, from the spectra of what they heard. Owner: src/locate/delay.rs,
// which brings it as a user would: dispatch.wgsl is put behind it.
//
// Inputs   params     DelayParams
//          first, second   spectra: BINS complex values a frame, bins in their natural order
//          weights    one for each bin
// Outputs  delays     for each frame: delay in samples, height of the correlation there from 0 to 1, entropy of its
//                     powers on the grid from 0 (all in one point) to 1 (the same in all)
// Work per workgroup: one frame.
//
// What is looked for is the highest point of |R(t)|, R(t) = sum over k of w[k] u[k] exp(2 pi i f[k] t) / sum of |w|, u
// being the cross-spectrum divided by its magnitude (GCC-PHAT, Knapp and Carter 1976): first on a grid of half samples,
// then by Newton's method on |R|^2. Bins that are not finite, or 0, have no direction and count for nothing.

struct DelayParams {
    count: u32,
    frame_len: u32,
    // log2 of the bins of a frame.
    bins_log2: u32,
    // Points of the grid, half a sample apart; the middle one is no delay.
    lags: u32,
    // The longest delay, in samples.
    longest: f32,
}

const WORKGROUP_SIZE: u32 = 64u;
const MOST_BINS: u32 = 1024u;
const NEWTON_STEPS: u32 = 6u;
const TAU: f32 = 6.28318530717958647692f;

@group(0) @binding(0) var<uniform> params: DelayParams;
@group(0) @binding(1) var<storage, read> first: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> second: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> delays: array<f32>;

// The weighted cross-spectrum, in the order of frequency: from -1/2 cycle per sample up.
var<workgroup> shared_cross: array<vec2<f32>, MOST_BINS>;
var<workgroup> shared_sums: array<vec4<f32>, WORKGROUP_SIZE>;
var<workgroup> shared_curves: array<vec2<f32>, WORKGROUP_SIZE>;

const INFINITY_BITS: u32 = 0x7f800000u;

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & INFINITY_BITS) != INFINITY_BITS;
}

// Of length 1; nothing where there is nothing, or no number.
fn direction(z: vec2<f32>) -> vec2<f32> {
    let largest = max(abs(z.x), abs(z.y));
    if !is_finite(z.x) || !is_finite(z.y) || largest == 0.0 {
        return vec2(0.0);
    }
    let scaled = z / largest;
    return scaled / length(scaled);
}

// exp(2 pi i x), for any number of turns; WGSL's own cosine may be 2^-11 off.
fn turned(x: f32) -> vec2<f32> {
    let part = x - round(x);
    // Beyond a quarter turn the cosine is that of the other side, with the sign changed.
    let far = abs(part) > 0.25;
    let near = select(part, select(-0.5, 0.5, part > 0.0) - part, far);
    let a = TAU * near;
    let s = a * a;
    let sine = a * (1.0 + s * (-1.6666667e-1 + s * (8.3333333e-3 + s * (-1.9841270e-4 + s * (2.7557319e-6 - s * 2.5052108e-8)))));
    let cosine = 1.0 + s * (-0.5 + s * (4.1666667e-2 + s * (-1.3888889e-3 + s * (2.4801587e-5 - s * (2.7557319e-7 - s * 2.0876757e-9)))));
    return vec2(select(cosine, -cosine, far), sine);
}

fn multiply(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

fn frequency(place: u32) -> f32 {
    let bins = 1u << params.bins_log2;
    return (f32(place) - f32(bins / 2u)) / f32(bins);
}

fn lag_of(point: u32) -> f32 {
    return 0.5 * (f32(point) - f32(params.lags / 2u));
}

// |R|^2 at a point of the grid: from one bin to the next the phasor turns on.
fn power_at(point: u32) -> f32 {
    let lag = lag_of(point);
    let step = turned(lag / f32(1u << params.bins_log2));
    var phasor = turned(-0.5 * lag);
    var sum = vec2(0.0);
    for (var k = 0u; k < 1u << params.bins_log2; k++) {
        sum += multiply(shared_cross[k], phasor);
        phasor = multiply(phasor, step);
    }
    return dot(sum, sum);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn estimate_delay(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let frame = flat_workgroup(workgroup, workgroups);
    if frame >= params.count {
        return;
    }
    let bins = 1u << params.bins_log2;
    var total = 0.0;
    for (var k = lane; k < bins; k += WORKGROUP_SIZE) {
        // Negative frequencies lie in the upper half of the natural order.
        let at = frame * bins + (k ^ (bins / 2u));
        let here = direction(second[at]);
        let there = direction(first[at]);
        shared_cross[k] = weights[at] * multiply(here, vec2(there.x, -there.y));
        total += abs(weights[at]);
    }
    shared_sums[lane] = vec4(total, 0.0, 0.0, 0.0);
    workgroupBarrier(); // The sum reads every share.
    total = 0.0;
    for (var i = 0u; i < WORKGROUP_SIZE; i++) {
        total += shared_sums[i].x;
    }
    // The correlation is at most 1 then, whatever the weights are.
    let scale = select(0.0, 1.0 / total, total > 0.0);
    for (var k = lane; k < bins; k += WORKGROUP_SIZE) {
        shared_cross[k] *= scale;
    }
    workgroupBarrier(); // Every invocation reads all of the cross-spectrum.

    // Where there is no power, there is no delay.
    var best = vec2(0.0);
    // Sum of the powers, and of power * ln(power).
    var spread = vec2(0.0);
    for (var point = lane; point < params.lags; point += WORKGROUP_SIZE) {
        let power = power_at(point);
        spread += vec2(power, select(0.0, power * log(power), power > 0.0));
        if power > best.x {
            best = vec2(power, lag_of(point));
        }
    }
    shared_curves[lane] = best;
    shared_sums[lane] = vec4(spread, 0.0, 0.0);
    workgroupBarrier(); // All look for the best of the best.
    best = shared_curves[0];
    spread = shared_sums[0].xy;
    for (var i = 1u; i < WORKGROUP_SIZE; i++) {
        let other = shared_curves[i];
        spread += shared_sums[i].xy;
        // Of equal ones the earliest, as on one thread.
        if other.x > best.x || (other.x == best.x && other.y < best.y) {
            best = other;
        }
    }

    var delay = best.y;
    var power = best.x;
    for (var turn = 0u; turn < NEWTON_STEPS; turn++) {
        // R, its first derivative, and its second, by 2 pi per sample.
        var value = vec2(0.0);
        var slope = vec2(0.0);
        var curve = vec2(0.0);
        for (var k = lane; k < bins; k += WORKGROUP_SIZE) {
            let f = frequency(k);
            let z = multiply(shared_cross[k], turned(f * delay));
            value += z;
            slope += f * vec2(-z.y, z.x);
            curve -= f * f * z;
        }
        workgroupBarrier(); // What was there before has been read.
        shared_sums[lane] = vec4(value, slope);
        shared_curves[lane] = curve;
        workgroupBarrier(); // The sums read every share.
        value = vec2(0.0);
        slope = vec2(0.0);
        curve = vec2(0.0);
        for (var i = 0u; i < WORKGROUP_SIZE; i++) {
            value += shared_sums[i].xy;
            slope += shared_sums[i].zw;
            curve += shared_curves[i];
        }
        power = dot(value, value);
        let rise = 2.0 * dot(slope, value);
        let bend = 2.0 * (dot(slope, slope) + dot(curve, value));
        if bend < 0.0 {
            // Never further from the grid's point than its neighbours.
            let moved = clamp(delay - clamp(rise / (bend * TAU), -0.25, 0.25), best.y - 0.5, best.y + 0.5);
            delay = clamp(moved, -params.longest, params.longest);
        }
    }
    if lane == 0u {
        delays[3u * frame] = delay;
        delays[3u * frame + 1u] = sqrt(power);
        let entropy = (log(spread.x) - spread.y / spread.x) / log(f32(params.lags));
        delays[3u * frame + 2u] = select(1.0, entropy, spread.x > 0.0);
    }
}
