//! Axis ticks: round positions, and the unit in which they are written.

/// The unit an axis is written in: one `name` is `scale` of the axis' own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) scale: f64,
}

const fn unit(name: &'static str, scale: f64) -> Unit {
    Unit { name, scale }
}

/// Largest first; an axis takes the first one that its extent reaches `reach` times.
const FREQUENCY_UNITS: [Unit; 4] = [unit("GHz", 1e9), unit("MHz", 1e6), unit("kHz", 1e3), unit("Hz", 1.0)];
const TIME_UNITS: [Unit; 5] =
    [unit("h", 3600.0), unit("min", 60.0), unit("s", 1.0), unit("ms", 1e-3), unit("µs", 1e-6)];
const COUNT_UNITS: [Unit; 4] =
    [unit("billion samples", 1e9), unit("million samples", 1e6), unit("thousand samples", 1e3), unit("samples", 1.0)];

/// The frequency unit for an axis that reaches `extent_hz` from its zero.
pub(super) fn frequency_unit(extent_hz: f64) -> Unit {
    first_reached(&FREQUENCY_UNITS, extent_hz, 1.0)
}

/// The time unit for an axis of `extent_s` seconds: minutes only from two of them, and so on.
pub(super) fn time_unit(extent_s: f64) -> Unit {
    first_reached(&TIME_UNITS, extent_s, 2.0)
}

/// The unit for an axis of `extent` samples, where no rate is known.
pub(super) fn count_unit(extent: f64) -> Unit {
    first_reached(&COUNT_UNITS, extent, 10.0)
}

fn first_reached(units: &[Unit], extent: f64, reach: f64) -> Unit {
    let smallest = units[units.len() - 1];
    let reached = units.iter().find(|unit| extent >= reach * unit.scale);
    reached.copied().unwrap_or(smallest)
}

/// Round positions from `low` to `high`, both included, at most `max_count` (but at least two
/// steps' worth is tried).
///
/// Steps are 1, 2, 2.5 or 5 times a power of ten. The labels have as many decimals as the step
/// needs and a true minus sign.
///
/// Empty when the range is empty, reversed or not finite.
pub(super) fn ticks(low: f64, high: f64, max_count: usize) -> Vec<(f64, String)> {
    let extent = high - low;
    if !extent.is_finite() || extent <= 0.0 || max_count == 0 {
        return Vec::new();
    }
    let (step, decimals) = round_step(extent / max_count as f64);
    // The tolerance keeps a tick that rounding error puts a hair outside.
    let first = (low / step - 1e-6).ceil();
    let count = ((high / step + 1e-6).floor() - first).max(-1.0) + 1.0;
    #[expect(clippy::cast_possible_truncation, reason = "at most max_count + 1, never negative")]
    let count = count as usize;
    (0..count).map(|index| (first + index as f64) * step).map(|value| (value, label(value, decimals))).collect()
}

/// The smallest round step that is at least `least`, and the decimals its multiples need.
fn round_step(least: f64) -> (f64, usize) {
    let exponent = least.log10().floor();
    let power = 10.0_f64.powf(exponent);
    let (factor, own_decimals) = [(1.0, 0.0), (2.0, 0.0), (2.5, 1.0), (5.0, 0.0)]
        .into_iter()
        .find(|(factor, _)| factor * power >= least * (1.0 - 1e-9))
        .unwrap_or((10.0, -1.0));
    #[expect(clippy::cast_possible_truncation, reason = "a double has at most 324 decimals")]
    let decimals = (own_decimals - exponent).max(0.0) as usize;
    (factor * power, decimals)
}

fn label(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    if is_zero {
        "0".to_owned()
    } else if value < 0.0 {
        format!("\u{2212}{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{count_unit, frequency_unit, ticks, time_unit};

    fn labels(low: f64, high: f64, max_count: usize) -> String {
        let labels: Vec<String> = ticks(low, high, max_count).into_iter().map(|(_, label)| label).collect();
        labels.join(" ")
    }

    #[test]
    fn steps_are_round() {
        assert_eq!(labels(0.0, 8.0, 4), "0 2 4 6 8");
        assert_eq!(labels(0.0, 1.0, 10), "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0");
        assert_eq!(labels(0.0, 9.8, 4), "0 2.5 5.0 7.5");
        assert_eq!(labels(0.0, 0.5, 5), "0 0.1 0.2 0.3 0.4 0.5");
        assert_eq!(labels(-1.0, 1.0, 4), "−1.0 −0.5 0 0.5 1.0");
        assert_eq!(labels(-90.0, -10.0, 5), "−80 −60 −40 −20");
        assert_eq!(labels(0.0, 1e6, 4), "0 250000 500000 750000 1000000");
        assert_eq!(labels(0.0, 3e-7, 3), "0 0.0000001 0.0000002 0.0000003");
    }

    #[test]
    fn positions_and_labels_agree() {
        for extent in [1e-6, 0.037, 1.0, 2.04, 9.99, 10.0, 137.0, 8e9] {
            let found = ticks(0.0, extent, 8);
            assert!((3..=9).contains(&found.len()), "{} ticks for {extent}", found.len());
            for (value, label) in found {
                let read: f64 = label.parse().unwrap();
                assert!((read - value).abs() <= 1e-9 * extent, "{label} at {value}");
                assert!(value <= extent * 1.000_001, "{value} is outside {extent}");
            }
        }
    }

    #[test]
    fn degenerate_ranges_have_no_ticks() {
        for (low, high) in [(0.0, 0.0), (1.0, 0.0), (0.0, f64::INFINITY), (f64::NAN, 1.0)] {
            assert!(ticks(low, high, 5).is_empty(), "{low}..{high}");
        }
        assert!(ticks(0.0, 1.0, 0).is_empty(), "no tick was asked for");
    }

    #[test]
    fn units_fit_the_extent() {
        assert_eq!(frequency_unit(8e3).name, "kHz");
        assert_eq!(frequency_unit(1e6).name, "MHz");
        assert_eq!(frequency_unit(0.0).name, "Hz");
        assert_eq!(time_unit(100.0).name, "s");
        assert_eq!(time_unit(120.0).name, "min");
        assert_eq!(time_unit(0.18).name, "ms");
        assert_eq!(time_unit(0.0).name, "µs");
        assert_eq!(count_unit(5.0).name, "samples");
        assert_eq!(count_unit(59_848.0).name, "thousand samples");
    }
}
