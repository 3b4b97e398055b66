//! Quantities as a person would write them.

/// Bytes: `812 B`, `3.4 MiB`.
#[must_use]
pub fn spoken_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..UNITS.len() - 1).find(|unit| bytes >> (10 * (unit + 1)) == 0).unwrap_or(UNITS.len() - 1);
    if unit == 0 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let value = bytes as f64 / (1_u64 << (10 * unit)) as f64;
    format!("{value:.1} {}", UNITS[unit])
}

/// A time that has passed, in milliseconds: `12s`, `4m 5s`, `3h 2m`, `6d 1h`.
pub(crate) fn age(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        let bytes: Vec<_> = [0, 1023, 1024, 3_565_158, 1 << 40].map(spoken_bytes).into();
        assert_eq!(bytes, ["0 B", "1023 B", "1.0 KiB", "3.4 MiB", "1.0 TiB"]);
        let ages: Vec<_> = [999, 61_000, 7_260_000, 90_000_000].map(age).into();
        assert_eq!(ages, ["0s", "1m 1s", "2h 1m", "1d 1h"]);
    }
}
