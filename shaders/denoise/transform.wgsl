// Real Fourier transform of windows of any even length, in workgroup memory. Shared source: no bindings, no entry
// point. Included by spectrum.wgsl and mask.wgsl, after complex.wgsl. Whoever includes it declares
//   override WORKGROUP_SIZE: u32;                   invocations that share the work
//   override WINDOW_LEN: u32;                       even; at most 2048 of them fit into 16 KiB
//   twiddles: array<vec2<f32>>                      twiddles[k] = exp(-2 pi i k / WINDOW_LEN), WINDOW_LEN of them
//
// A window of WINDOW_LEN real samples is transformed as half as many complex values, even samples + i * odd samples:
// with Z their transform, E and O those of the even and the odd samples, and w = exp(-2 pi i k / WINDOW_LEN),
//   E = (Z[k] + conj Z[-k]) / 2,  O = -i (Z[k] - conj Z[-k]) / 2,  X[k] = E + w O.
//
// The transform goes from one half of `shared_values` to the other and back (Stockham), one factor of the length at a
// time, so that bins come out in order whatever the factors are: fours, then the other primes. Of the values between
// two passes, that of frequency k of the subsequence that starts at p stands at k * m + p, where m is the number of
// subsequences. No pass scales. A prime factor p costs p multiplications for each value; 2, 3, 5 and 7 are cheap.

var<workgroup> shared_values: array<vec2<f32>, WINDOW_LEN>;

fn next_factor(rest: u32) -> u32 {
    if rest % 4u == 0u {
        return 4u;
    }
    for (var factor = 2u; factor * factor <= rest; factor++) {
        if rest % factor == 0u {
            return factor;
        }
    }
    return rest;
}

// `after` subsequences are left after the pass.
fn pass_4(lane: u32, source: u32, after: u32) {
    let len = WINDOW_LEN / 2u;
    for (var b = lane; b < len / 4u; b += WORKGROUP_SIZE) {
        let k = b / after;
        let base = source + b + 3u * k * after;
        let turn = 2u * k * after;
        let x0 = shared_values[base];
        let x1 = complex_multiply(shared_values[base + after], twiddles[turn]);
        let x2 = complex_multiply(shared_values[base + 2u * after], twiddles[2u * turn]);
        let x3 = complex_multiply(shared_values[base + 3u * after], twiddles[3u * turn]);
        let sum_even = x0 + x2;
        let difference_even = x0 - x2;
        let sum_odd = x1 + x3;
        let turned_odd = complex_quarter_turn_back(x1 - x3);
        let to = len - source + b;
        shared_values[to] = sum_even + sum_odd;
        shared_values[to + len / 4u] = difference_even + turned_odd;
        shared_values[to + len / 2u] = sum_even - sum_odd;
        shared_values[to + 3u * (len / 4u)] = difference_even - turned_odd;
    }
}

// Any factor: each invocation makes one value from `factor` of them. `done` is the product of the factors before.
fn pass_any(lane: u32, source: u32, done: u32, factor: u32, after: u32) {
    let len = WINDOW_LEN / 2u;
    for (var to = lane; to < len; to += WORKGROUP_SIZE) {
        let k = to / after;
        let base = source + (k % done) * after * factor + (to - k * after);
        let step = k * after;
        var turn = 0u;
        var sum = vec2(0.0f);
        for (var q = 0u; q < factor; q++) {
            sum += complex_multiply(shared_values[base + q * after], twiddles[2u * turn]);
            turn += step;
            if turn >= len {
                turn -= len;
            }
        }
        shared_values[len - source + to] = sum;
    }
}

// Transforms the first half of `shared_values`, which all invocations have written and seen a barrier since. Returns
// where the result starts: 0 or WINDOW_LEN / 2.
fn transform(lane: u32) -> u32 {
    let len = WINDOW_LEN / 2u;
    var source = 0u;
    var done = 1u;
    while done < len {
        let factor = next_factor(len / done);
        let after = len / (done * factor);
        if factor == 4u {
            pass_4(lane, source, after);
        } else {
            pass_any(lane, source, done, factor, after);
        }
        source = len - source;
        done *= factor;
        workgroupBarrier(); // The next pass reads what other invocations wrote in this one.
    }
    return source;
}
