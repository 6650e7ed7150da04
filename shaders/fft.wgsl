// Fast Fourier transform of a tile in workgroup memory. Shared source: no bindings, no entry point.
// Included by filter.wgsl, after complex.wgsl. Whoever includes it declares
//   override WORKGROUP_SIZE: u32;                          invocations that share the work
//   override TILE_LEN: u32;                                complex values in the tile: whole windows, side by side
//   override TWIDDLE_LOG2: u32;                            log2 of the length of the twiddle table
//   var<workgroup> shared_tile: array<vec2<f32>, TILE_LEN>;
//   twiddles: array<vec2<f32>>                             twiddles[k] = exp(-2 pi i k / 2^TWIDDLE_LOG2)
//
// Forward is decimation in frequency, inverse is decimation in time, so neither reorders: between the two, the bin k
// of an axis stands at position reverse_bits(k). Radix 8, with one pass of radix 2 or 4 where the length asks for it.
// Each butterfly stores its results in bit-reversed order, which is what makes the whole order a plain bit reversal
// whatever the mix of radices. An axis is a field of bits of the position: `inner_log2` bits below it, `axis_log2` in
// it. A one-dimensional transform has one axis with nothing below; windows side by side in the tile are bits above.
//
// The inverse works on values with real and imaginary part swapped: swap(ifft(z)) = fft(swap(z)) * len, so the same
// butterflies serve both ways. The caller swaps before and after. No pass scales: the response table carries 1 / len.

fn butterfly_4(x: array<vec2<f32>, 4>) -> array<vec2<f32>, 4> {
    let sum_even = x[0] + x[2];
    let difference_even = x[0] - x[2];
    let sum_odd = x[1] + x[3];
    let turned_odd = complex_quarter_turn_back(x[1] - x[3]);
    return array(sum_even + sum_odd, difference_even + turned_odd, sum_even - sum_odd, difference_even - turned_odd);
}

fn butterfly_8(x: array<vec2<f32>, 8>) -> array<vec2<f32>, 8> {
    const HALF_SQRT_2 = 0.70710678118654752440f;
    let even = butterfly_4(array(x[0], x[2], x[4], x[6]));
    let odd = butterfly_4(array(x[1], x[3], x[5], x[7]));
    // odd[q] * exp(-2 pi i q / 8)
    let odd_1 = HALF_SQRT_2 * vec2(odd[1].x + odd[1].y, odd[1].y - odd[1].x);
    let odd_2 = complex_quarter_turn_back(odd[2]);
    let odd_3 = HALF_SQRT_2 * vec2(odd[3].y - odd[3].x, -odd[3].x - odd[3].y);
    return array(
        even[0] + odd[0], even[1] + odd_1, even[2] + odd_2, even[3] + odd_3,
        even[0] - odd[0], even[1] - odd_1, even[2] - odd_2, even[3] - odd_3,
    );
}

// exp(-2 pi i j q / (radix * stride on its axis)), from the table.
fn twiddle(j: u32, q: u32, shift: u32) -> vec2<f32> {
    return twiddles[(j * q) << shift];
}

fn forward_pass_8(lane: u32, stride_log2: u32, inner_log2: u32) {
    let stride = 1u << stride_log2;
    let shift = TWIDDLE_LOG2 - 3u - stride_log2 + inner_log2;
    for (var b = lane; b < TILE_LEN / 8u; b += WORKGROUP_SIZE) {
        let offset = b & (stride - 1u);
        let base = ((b >> stride_log2) << (stride_log2 + 3u)) + offset;
        let j = offset >> inner_log2;
        let y = butterfly_8(array(
            shared_tile[base], shared_tile[base + stride], shared_tile[base + 2u * stride], shared_tile[base + 3u * stride],
            shared_tile[base + 4u * stride], shared_tile[base + 5u * stride], shared_tile[base + 6u * stride], shared_tile[base + 7u * stride],
        ));
        shared_tile[base] = y[0];
        shared_tile[base + 4u * stride] = complex_multiply(y[1], twiddle(j, 1u, shift));
        shared_tile[base + 2u * stride] = complex_multiply(y[2], twiddle(j, 2u, shift));
        shared_tile[base + 6u * stride] = complex_multiply(y[3], twiddle(j, 3u, shift));
        shared_tile[base + stride] = complex_multiply(y[4], twiddle(j, 4u, shift));
        shared_tile[base + 5u * stride] = complex_multiply(y[5], twiddle(j, 5u, shift));
        shared_tile[base + 3u * stride] = complex_multiply(y[6], twiddle(j, 6u, shift));
        shared_tile[base + 7u * stride] = complex_multiply(y[7], twiddle(j, 7u, shift));
    }
}

fn inverse_pass_8(lane: u32, stride_log2: u32, inner_log2: u32) {
    let stride = 1u << stride_log2;
    let shift = TWIDDLE_LOG2 - 3u - stride_log2 + inner_log2;
    for (var b = lane; b < TILE_LEN / 8u; b += WORKGROUP_SIZE) {
        let offset = b & (stride - 1u);
        let base = ((b >> stride_log2) << (stride_log2 + 3u)) + offset;
        let j = offset >> inner_log2;
        let y = butterfly_8(array(
            shared_tile[base],
            complex_multiply(shared_tile[base + 4u * stride], twiddle(j, 1u, shift)),
            complex_multiply(shared_tile[base + 2u * stride], twiddle(j, 2u, shift)),
            complex_multiply(shared_tile[base + 6u * stride], twiddle(j, 3u, shift)),
            complex_multiply(shared_tile[base + stride], twiddle(j, 4u, shift)),
            complex_multiply(shared_tile[base + 5u * stride], twiddle(j, 5u, shift)),
            complex_multiply(shared_tile[base + 3u * stride], twiddle(j, 6u, shift)),
            complex_multiply(shared_tile[base + 7u * stride], twiddle(j, 7u, shift)),
        ));
        shared_tile[base] = y[0];
        shared_tile[base + stride] = y[1];
        shared_tile[base + 2u * stride] = y[2];
        shared_tile[base + 3u * stride] = y[3];
        shared_tile[base + 4u * stride] = y[4];
        shared_tile[base + 5u * stride] = y[5];
        shared_tile[base + 6u * stride] = y[6];
        shared_tile[base + 7u * stride] = y[7];
    }
}

// The pass of radix 4 or 2 is the innermost one of its axis, where every twiddle is 1: it serves both directions, up
// to the order in which it stores (forward) or loads (inverse).
fn innermost_pass_4(lane: u32, inner_log2: u32, inverse: bool) {
    let stride = 1u << inner_log2;
    for (var b = lane; b < TILE_LEN / 4u; b += WORKGROUP_SIZE) {
        let base = ((b >> inner_log2) << (inner_log2 + 2u)) + (b & (stride - 1u));
        let first = shared_tile[base + stride];
        let second = shared_tile[base + 2u * stride];
        let y = butterfly_4(array(
            shared_tile[base], select(first, second, inverse), select(second, first, inverse), shared_tile[base + 3u * stride],
        ));
        shared_tile[base] = y[0];
        shared_tile[base + stride] = select(y[2], y[1], inverse);
        shared_tile[base + 2u * stride] = select(y[1], y[2], inverse);
        shared_tile[base + 3u * stride] = y[3];
    }
}

fn innermost_pass_2(lane: u32, inner_log2: u32) {
    let stride = 1u << inner_log2;
    for (var b = lane; b < TILE_LEN / 2u; b += WORKGROUP_SIZE) {
        let base = ((b >> inner_log2) << (inner_log2 + 1u)) + (b & (stride - 1u));
        let sum = shared_tile[base] + shared_tile[base + stride];
        let difference = shared_tile[base] - shared_tile[base + stride];
        shared_tile[base] = sum;
        shared_tile[base + stride] = difference;
    }
}

// Every pass reads what other invocations wrote in the pass before: a barrier after each.
fn forward_axis(lane: u32, axis_log2: u32, inner_log2: u32) {
    for (var done = 3u; done <= axis_log2; done += 3u) {
        forward_pass_8(lane, inner_log2 + axis_log2 - done, inner_log2);
        workgroupBarrier();
    }
    if axis_log2 % 3u == 2u {
        innermost_pass_4(lane, inner_log2, false);
        workgroupBarrier();
    }
    if axis_log2 % 3u == 1u {
        innermost_pass_2(lane, inner_log2);
        workgroupBarrier();
    }
}

fn inverse_axis(lane: u32, axis_log2: u32, inner_log2: u32) {
    if axis_log2 % 3u == 1u {
        innermost_pass_2(lane, inner_log2);
        workgroupBarrier();
    }
    if axis_log2 % 3u == 2u {
        innermost_pass_4(lane, inner_log2, true);
        workgroupBarrier();
    }
    for (var done = axis_log2 % 3u; done < axis_log2; done += 3u) {
        inverse_pass_8(lane, inner_log2 + done, inner_log2);
        workgroupBarrier();
    }
}

// Position of bin -k where bin k stands at `position`, on one axis in bit-reversed order: all bits below the leading
// one flip.
fn mirrored_position(position: u32) -> u32 {
    if position == 0u {
        return 0u;
    }
    return position ^ ((1u << firstLeadingBit(position)) - 1u);
}
