// Fast Fourier transform of a tile in workgroup memory. Shared source: no bindings, no entry point.
// Included by filter.wgsl and fourier.wgsl, after complex.wgsl, one_window.wgsl or two_windows.wgsl, and butterflies.wgsl.
// Whoever does so declares
//   override WORKGROUP_SIZE: u32;                          invocations that share the work: they divide TILE_LEN / 8
//   override TILE_LEN: u32;                                places in the tile: whole windows, side by side
//   override TWIDDLE_LOG2: u32;                            log2 of the length of the twiddle table
//   var<workgroup> shared_tile: array<Value, TILE_LEN>;
//   twiddles: array<vec2<f32>>                             twiddles[k] = exp(-2 pi i k / 2^TWIDDLE_LOG2)
//   fn open_butterfly(place: u32)                          told before a pass takes or gives outside: one of its places
//   fn take_outside(place: u32) -> Value                   what the first pass starts with
//   fn give_outside(place: u32, value: Value)              what the last pass ends with
//
// Forward is decimation in frequency, inverse is decimation in time, so neither reorders: between the two, the bin k
// of an axis stands at position reverse_bits(k). Radix 8, with one pass of radix 2 or 4 where the length asks for it.
// Each butterfly stores its results in bit-reversed order, which is what makes the whole order a plain bit reversal
// whatever the mix of radices. An axis is a field of bits of the position: `inner_log2` bits below it, `axis_log2` in
// it. A one-dimensional transform has one axis with nothing below; windows side by side in the tile are bits above.
//
// The first pass takes its values from outside and the last one gives them there (`outside`), so that neither goes
// through the tile. All loops have a number of turns that is known when the pipeline is built.
//
// The inverse works on values with real and imaginary part swapped: swap(ifft(z)) = fft(swap(z)) * len, so the same
// butterflies serve both ways. The caller swaps before and after. No pass scales: the response table carries 1 / len.

fn take(place: u32, outside: bool) -> Value {
    if outside {
        return take_outside(place);
    }
    return shared_tile[place];
}

fn give(place: u32, value: Value, outside: bool) {
    if outside {
        give_outside(place, value);
    } else {
        shared_tile[place] = value;
    }
}

// Turns value q of a butterfly by exp(-2 pi i j q / (8 * stride on its axis)). Three factors are from the table, the
// others are products of two or three of these.
fn turn_butterfly(x: array<Value, 8>, j: u32, shift: u32) -> array<Value, 8> {
    let w_1 = twiddles[j << shift];
    let w_2 = twiddles[(2u * j) << shift];
    let w_4 = twiddles[(4u * j) << shift];
    let w_3 = complex_multiply(w_1, w_2);
    return array(
        x[0], value_multiply(x[1], w_1), value_multiply(x[2], w_2), value_multiply(x[3], w_3),
        value_multiply(x[4], w_4), value_multiply(x[5], complex_multiply(w_1, w_4)),
        value_multiply(x[6], complex_multiply(w_2, w_4)), value_multiply(x[7], complex_multiply(w_3, w_4)),
    );
}

fn forward_pass_8(lane: u32, stride_log2: u32, inner_log2: u32, outside: bool) {
    let stride = 1u << stride_log2;
    let shift = TWIDDLE_LOG2 - 3u - stride_log2 + inner_log2;
    for (var i = 0u; i < TILE_LEN / 8u / WORKGROUP_SIZE; i++) {
        let b = lane + i * WORKGROUP_SIZE;
        let offset = b & (stride - 1u);
        let base = ((b >> stride_log2) << (stride_log2 + 3u)) + offset;
        if outside {
            open_butterfly(base);
        }
        var y = butterfly_8(array(
            take(base, outside), take(base + stride, outside),
            take(base + 2u * stride, outside), take(base + 3u * stride, outside),
            take(base + 4u * stride, outside), take(base + 5u * stride, outside),
            take(base + 6u * stride, outside), take(base + 7u * stride, outside),
        ));
        // In the innermost pass of an axis every twiddle is 1.
        if stride_log2 > inner_log2 {
            y = turn_butterfly(y, offset >> inner_log2, shift);
        }
        shared_tile[base] = y[0];
        shared_tile[base + 4u * stride] = y[1];
        shared_tile[base + 2u * stride] = y[2];
        shared_tile[base + 6u * stride] = y[3];
        shared_tile[base + stride] = y[4];
        shared_tile[base + 5u * stride] = y[5];
        shared_tile[base + 3u * stride] = y[6];
        shared_tile[base + 7u * stride] = y[7];
    }
}

fn inverse_pass_8(lane: u32, stride_log2: u32, inner_log2: u32, outside: bool) {
    let stride = 1u << stride_log2;
    let shift = TWIDDLE_LOG2 - 3u - stride_log2 + inner_log2;
    for (var i = 0u; i < TILE_LEN / 8u / WORKGROUP_SIZE; i++) {
        let b = lane + i * WORKGROUP_SIZE;
        let offset = b & (stride - 1u);
        let base = ((b >> stride_log2) << (stride_log2 + 3u)) + offset;
        var x = array(
            shared_tile[base], shared_tile[base + 4u * stride],
            shared_tile[base + 2u * stride], shared_tile[base + 6u * stride],
            shared_tile[base + stride], shared_tile[base + 5u * stride],
            shared_tile[base + 3u * stride], shared_tile[base + 7u * stride],
        );
        if stride_log2 > inner_log2 {
            x = turn_butterfly(x, offset >> inner_log2, shift);
        }
        let y = butterfly_8(x);
        if outside {
            open_butterfly(base);
        }
        give(base, y[0], outside);
        give(base + stride, y[1], outside);
        give(base + 2u * stride, y[2], outside);
        give(base + 3u * stride, y[3], outside);
        give(base + 4u * stride, y[4], outside);
        give(base + 5u * stride, y[5], outside);
        give(base + 6u * stride, y[6], outside);
        give(base + 7u * stride, y[7], outside);
    }
}

// The pass of radix 4 or 2 is the innermost one of its axis, where every twiddle is 1: it serves both directions, up
// to the order in which it gives (forward) or takes (inverse), and to which of the two is outside.
fn innermost_pass_4(lane: u32, inner_log2: u32, inverse: bool, outside: bool) {
    let stride = 1u << inner_log2;
    let from_outside = outside && !inverse;
    let to_outside = outside && inverse;
    for (var i = 0u; i < TILE_LEN / 4u / WORKGROUP_SIZE; i++) {
        let b = lane + i * WORKGROUP_SIZE;
        let base = ((b >> inner_log2) << (inner_log2 + 2u)) + (b & (stride - 1u));
        if outside {
            open_butterfly(base);
        }
        let first = take(base + stride, from_outside);
        let second = take(base + 2u * stride, from_outside);
        let y = butterfly_4(array(
            take(base, from_outside), select(first, second, inverse),
            select(second, first, inverse), take(base + 3u * stride, from_outside),
        ));
        give(base, y[0], to_outside);
        give(base + stride, select(y[2], y[1], inverse), to_outside);
        give(base + 2u * stride, select(y[1], y[2], inverse), to_outside);
        give(base + 3u * stride, y[3], to_outside);
    }
}

fn innermost_pass_2(lane: u32, inner_log2: u32, inverse: bool, outside: bool) {
    let stride = 1u << inner_log2;
    let from_outside = outside && !inverse;
    let to_outside = outside && inverse;
    for (var i = 0u; i < TILE_LEN / 2u / WORKGROUP_SIZE; i++) {
        let b = lane + i * WORKGROUP_SIZE;
        let base = ((b >> inner_log2) << (inner_log2 + 1u)) + (b & (stride - 1u));
        if outside {
            open_butterfly(base);
        }
        let first = take(base, from_outside);
        let second = take(base + stride, from_outside);
        give(base, first + second, to_outside);
        give(base + stride, first - second, to_outside);
    }
}

// Every pass reads what other invocations wrote in the pass before: a barrier after each.
fn forward_axis(lane: u32, axis_log2: u32, inner_log2: u32, from_outside: bool) {
    for (var done = 3u; done <= axis_log2; done += 3u) {
        forward_pass_8(lane, inner_log2 + axis_log2 - done, inner_log2, from_outside && done == 3u);
        workgroupBarrier();
    }
    let only = from_outside && axis_log2 < 3u;
    if axis_log2 % 3u == 2u {
        innermost_pass_4(lane, inner_log2, false, only);
        workgroupBarrier();
    }
    if axis_log2 % 3u == 1u {
        innermost_pass_2(lane, inner_log2, false, only);
        workgroupBarrier();
    }
}

fn inverse_axis(lane: u32, axis_log2: u32, inner_log2: u32, to_outside: bool) {
    let only = to_outside && axis_log2 < 3u;
    if axis_log2 % 3u == 1u {
        innermost_pass_2(lane, inner_log2, true, only);
        workgroupBarrier();
    }
    if axis_log2 % 3u == 2u {
        innermost_pass_4(lane, inner_log2, true, only);
        workgroupBarrier();
    }
    for (var done = axis_log2 % 3u; done < axis_log2; done += 3u) {
        inverse_pass_8(lane, inner_log2 + done, inner_log2, to_outside && done + 3u == axis_log2);
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
