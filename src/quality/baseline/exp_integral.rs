//! The exponential integral E1, which the log-MMSE gain contains.

/// Euler's constant.
const GAMMA: f64 = 0.577_215_664_901_532_9;

/// `E1(x) = integral from x to infinity of exp(-t) / t dt`, for `x > 0`; relative error below 1e-13.
///
/// M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions", 1964: the power series 5.1.11 up to 1, the
/// continued fraction 5.1.22 above, evaluated by Lentz's method.
pub(super) fn e1(x: f64) -> f64 {
    if x <= 1.0 { by_series(x) } else { by_fraction(x) }
}

fn by_series(x: f64) -> f64 {
    let mut sum = -GAMMA - x.ln();
    let mut power = -1.0;
    for k in (1..30).map(f64::from) {
        power *= -x / k;
        sum += power / k;
    }
    sum
}

fn by_fraction(x: f64) -> f64 {
    let mut b = x + 1.0;
    let (mut c, mut d) = (1.0 / f64::MIN_POSITIVE, 1.0 / b);
    let mut fraction = d;
    for k in (1..200).map(f64::from) {
        let a = -k * k;
        b += 2.0;
        d = 1.0 / (a * d + b);
        c = b + a / c;
        fraction *= c * d;
        if (c * d - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    fraction * (-x).exp()
}

#[cfg(test)]
mod tests {
    use super::e1;

    #[test]
    fn it_has_its_known_values() {
        // From scipy.special.exp1 1.17, which agrees with Abramowitz and Stegun, tables 5.1 and 5.2.
        let known = [
            (1e-10, 22.448635265138922),
            (0.001, 6.331539364136149),
            (0.1, 1.8229239584193906),
            (0.5, 0.5597735947761608),
            (1.0, 0.2193839343955205),
            (1.5, 0.10001958240663265),
            (2.0, 0.048900510708061125),
            (5.0, 0.0011482955912753257),
            (10.0, 4.156968929685325e-06),
            (40.0, 1.036773261451657e-19),
        ];
        for (x, value) in known {
            assert!((e1(x) / value - 1.0).abs() < 1e-13, "E1({x}) = {}, not {value}", e1(x));
        }
    }

    #[test]
    fn both_formulas_meet() {
        let (below, above) = (e1(1.0), e1(1.0 + 1e-12));
        assert!((below / above - 1.0).abs() < 1e-11, "{below} and {above}");
    }
}
