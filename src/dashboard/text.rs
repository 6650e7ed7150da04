//! Numbers as the dashboard writes them: three digits, and a unit that says what they are.

/// A number and its prefix: `69.2`, `12.3 k`, `4.56 M`.
pub(super) fn short(value: f64) -> String {
    let (scaled, prefix) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, " G"),
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    format!("{}{prefix}", three_digits(scaled))
}

fn three_digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 || size == 0.0 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A time in milliseconds: `3.21 ms`, `1.20 s`.
pub(super) fn millis(ms: f64) -> String {
    if ms >= 1000.0 { format!("{} s", three_digits(ms / 1e3)) } else { format!("{} ms", three_digits(ms)) }
}

/// Bytes: `512 B`, `4.00 MiB`.
pub(super) fn bytes(bytes: f64) -> String {
    let (value, unit) = bytes_and_unit(bytes);
    format!("{value} {unit}")
}

/// Bytes, and what they are counted in.
pub(super) fn bytes_and_unit(bytes: f64) -> (String, &'static str) {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    (if unit == 0 { format!("{value:.0}") } else { three_digits(value) }, units[unit])
}

/// How long ago, or how long: `42 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds are shown")]
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// A frequency: `440 Hz`, `16 kHz`, `2.4 MHz`.
pub(super) fn hertz(hz: f64) -> String {
    let (value, unit) = match hz.abs() {
        size if size >= 1e6 => (hz / 1e6, "MHz"),
        size if size >= 1e3 => (hz / 1e3, "kHz"),
        _ => (hz, "Hz"),
    };
    // As many digits as it needs, three at most.
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{} {unit}", if text == "-0" { "0" } else { text })
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration, hertz, millis, short};

    #[test]
    fn three_digits_and_a_unit() {
        let shorts =
            [(0.0, "0"), (1.234, "1.23"), (69.21, "69.2"), (9999.4, "9999"), (12_345.0, "12.3 k"), (4.56e6, "4.56 M")];
        shorts.iter().for_each(|(value, text)| assert_eq!(short(*value), *text));
        assert_eq!([millis(0.123), millis(20.0), millis(1200.0)], ["0.12 ms", "20.0 ms", "1.20 s"]);
        assert_eq!([bytes(512.0), bytes(4.0 * 1048576.0), bytes(2048.0)], ["512 B", "4.00 MiB", "2.00 KiB"]);
        assert_eq!([duration(42.9), duration(200.0), duration(7500.0)], ["42 s", "3 min 20 s", "2 h 5 min"]);
        assert_eq!([hertz(440.0), hertz(16e3), hertz(-2.4e6), hertz(0.0)], ["440 Hz", "16 kHz", "-2.4 MHz", "0 Hz"]);
    }
}
