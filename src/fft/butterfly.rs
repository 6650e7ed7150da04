//! Butterflies of 2, 4 and 8 bins in registers, without scaling.
//!
//! The forward ones take points in order and leave bins in bit-reversed order (0 4 2 6 1 5 3 7);
//! the inverse ones take them so and give the points back in order. That makes the order of a whole
//! transform a plain bit reversal, whatever radices its passes mix.

use crate::simd::Vector;
use std::f32::consts::FRAC_1_SQRT_2;

/// A complex number in each lane: real parts, imaginary parts.
pub(super) type Bin<V> = [V; 2];

#[inline(always)]
pub(super) fn add<V: Vector>(a: Bin<V>, b: Bin<V>) -> Bin<V> {
    [a[0] + b[0], a[1] + b[1]]
}

#[inline(always)]
pub(super) fn sub<V: Vector>(a: Bin<V>, b: Bin<V>) -> Bin<V> {
    [a[0] - b[0], a[1] - b[1]]
}

/// `a + i b`
#[inline(always)]
pub(super) fn add_i<V: Vector>(a: Bin<V>, b: Bin<V>) -> Bin<V> {
    [a[0] - b[1], a[1] + b[0]]
}

/// `a - i b`
#[inline(always)]
pub(super) fn sub_i<V: Vector>(a: Bin<V>, b: Bin<V>) -> Bin<V> {
    [a[0] + b[1], a[1] - b[0]]
}

/// `a + factor b`, for a real factor
#[inline(always)]
fn add_scaled<V: Vector>(a: Bin<V>, factor: V, b: Bin<V>) -> Bin<V> {
    [b[0].mul_add(factor, a[0]), b[1].mul_add(factor, a[1])]
}

/// `a - factor b`, for a real factor
#[inline(always)]
fn sub_scaled<V: Vector>(a: Bin<V>, factor: V, b: Bin<V>) -> Bin<V> {
    [b[0].neg_mul_add(factor, a[0]), b[1].neg_mul_add(factor, a[1])]
}

/// `a w`
#[inline(always)]
pub(super) fn multiply<V: Vector>(a: Bin<V>, w: Bin<V>) -> Bin<V> {
    [a[0].mul_sub(w[0], a[1] * w[1]), a[0].mul_add(w[1], a[1] * w[0])]
}

/// `a conj(w)`
#[inline(always)]
pub(super) fn multiply_conj<V: Vector>(a: Bin<V>, w: Bin<V>) -> Bin<V> {
    [a[0].mul_add(w[0], a[1] * w[1]), a[1].mul_sub(w[0], a[0] * w[1])]
}

/// The constant that butterflies of 8 need: the cosine of an eighth of a turn.
pub(super) const COS_EIGHTH: f32 = FRAC_1_SQRT_2;

/// Forward butterfly of 2, 4 or 8 points, in place. `eighth` holds [`COS_EIGHTH`].
#[inline(always)]
pub(super) fn forward<V: Vector>(eighth: V, x: &mut [Bin<V>]) {
    match x {
        [a, b] => [*a, *b] = [add(*a, *b), sub(*a, *b)],
        [a, b, c, d] => [*a, *b, *c, *d] = forward4([*a, *b, *c, *d]),
        [a, b, c, d, e, f, g, h] => {
            let points = [*a, *b, *c, *d, *e, *f, *g, *h];
            [*a, *b, *c, *d, *e, *f, *g, *h] = forward8(eighth, points);
        }
        _ => unreachable!("a butterfly has 2, 4 or 8 points"),
    }
}

/// Inverse butterfly of 2, 4 or 8 bins, in place: undoes [`forward`] times the number of bins.
#[inline(always)]
pub(super) fn inverse<V: Vector>(eighth: V, x: &mut [Bin<V>]) {
    match x {
        [a, b] => [*a, *b] = [add(*a, *b), sub(*a, *b)],
        [a, b, c, d] => [*a, *b, *c, *d] = inverse4([*a, *b, *c, *d]),
        [a, b, c, d, e, f, g, h] => {
            let bins = [*a, *b, *c, *d, *e, *f, *g, *h];
            [*a, *b, *c, *d, *e, *f, *g, *h] = inverse8(eighth, bins);
        }
        _ => unreachable!("a butterfly has 2, 4 or 8 bins"),
    }
}

#[inline(always)]
fn forward4<V: Vector>(x: [Bin<V>; 4]) -> [Bin<V>; 4] {
    let (even0, even1) = (add(x[0], x[2]), add(x[1], x[3]));
    let (odd0, odd1) = (sub(x[0], x[2]), sub(x[1], x[3]));
    [add(even0, even1), sub(even0, even1), sub_i(odd0, odd1), add_i(odd0, odd1)]
}

#[inline(always)]
fn inverse4<V: Vector>(y: [Bin<V>; 4]) -> [Bin<V>; 4] {
    let (even0, even1) = (add(y[0], y[1]), sub(y[0], y[1]));
    let (odd0, odd1) = (add(y[2], y[3]), sub(y[2], y[3]));
    [add(even0, odd0), add_i(even1, odd1), sub(even0, odd0), sub_i(even1, odd1)]
}

/// The turns by an eighth are left unscaled and scaled inside the additions that follow.
#[inline(always)]
fn forward8<V: Vector>(eighth: V, x: [Bin<V>; 8]) -> [Bin<V>; 8] {
    let even = forward4([add(x[0], x[4]), add(x[1], x[5]), add(x[2], x[6]), add(x[3], x[7])]);
    let (b0, b1) = (sub(x[0], x[4]), sub(x[1], x[5]));
    let (b2, b3) = (sub(x[2], x[6]), sub(x[3], x[7]));
    // b1 turned by -1/8 is eighth * turned1; b3 turned by -3/8 is eighth * conj(turned3).
    let turned1 = [b1[0] + b1[1], b1[1] - b1[0]];
    let turned3 = [b3[1] - b3[0], b3[0] + b3[1]];
    let sum = [turned1[0] + turned3[0], turned1[1] - turned3[1]];
    let difference = [turned1[0] - turned3[0], turned1[1] + turned3[1]];
    let (c0, c1) = (sub_i(b0, b2), add_i(b0, b2));
    [
        even[0],
        even[1],
        even[2],
        even[3],
        add_scaled(c0, eighth, sum),
        sub_scaled(c0, eighth, sum),
        sub_i_scaled(c1, eighth, difference),
        add_i_scaled(c1, eighth, difference),
    ]
}

/// `a + i factor b`, for a real factor
#[inline(always)]
fn add_i_scaled<V: Vector>(a: Bin<V>, factor: V, b: Bin<V>) -> Bin<V> {
    [b[1].neg_mul_add(factor, a[0]), b[0].mul_add(factor, a[1])]
}

/// `a - i factor b`, for a real factor
#[inline(always)]
fn sub_i_scaled<V: Vector>(a: Bin<V>, factor: V, b: Bin<V>) -> Bin<V> {
    [b[1].mul_add(factor, a[0]), b[0].neg_mul_add(factor, a[1])]
}

#[inline(always)]
fn inverse8<V: Vector>(eighth: V, y: [Bin<V>; 8]) -> [Bin<V>; 8] {
    let even = inverse4([y[0], y[1], y[2], y[3]]);
    let odd = inverse4([y[4], y[5], y[6], y[7]]);
    // odd[1] turned by 1/8 is eighth * turned1; odd[3] turned by 3/8 is i eighth * turned3.
    let turned1 = [odd[1][0] - odd[1][1], odd[1][0] + odd[1][1]];
    let turned3 = [odd[3][0] - odd[3][1], odd[3][0] + odd[3][1]];
    [
        add(even[0], odd[0]),
        add_scaled(even[1], eighth, turned1),
        add_i(even[2], odd[2]),
        add_i_scaled(even[3], eighth, turned3),
        sub(even[0], odd[0]),
        sub_scaled(even[1], eighth, turned1),
        sub_i(even[2], odd[2]),
        sub_i_scaled(even[3], eighth, turned3),
    ]
}
