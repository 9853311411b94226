//! Durations, sizes and times as the file writes them.

use std::time::Duration;

use toml::value::Datetime;
use wasmill_core::Share;
use wasmill_core::position::time_ms;

const DURATIONS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `"45s"`, `"1m30s"`; the error is what to write instead.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("write the unit: `\"{text}s\"` or `\"{text}ms\"`"));
    }
    let wrong = || "write whole numbers with a unit (ms, s, m, h, d): `\"500ms\"`, `\"45s\"`, `\"1m30s\"`".to_owned();
    let mut total_ms: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (amount, unit, after) = amount_and_unit(rest).ok_or_else(wrong)?;
        let (_, scale) = DURATIONS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part_ms = amount.checked_mul(*scale).ok_or_else(wrong)?;
        total_ms = total_ms.checked_add(part_ms).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(total_ms)) }
}

/// `"64MiB"`; the error is what to write instead.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong =
        || "write a whole number with a unit (B, KiB, MiB, GiB, TiB), or bytes: `\"64MiB\"`, `65536`".to_owned();
    let (amount, unit, after) = amount_and_unit(text).ok_or_else(wrong)?;
    if !after.is_empty() {
        return Err(wrong());
    }
    let Some((_, scale)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        // "64MB", "64M", "64mb": the unit is meant, but which of the two is not certain.
        let letter = unit.chars().next().unwrap_or(' ').to_ascii_uppercase();
        let meant = SIZES.iter().find(|(name, _)| unit.len() <= 3 && name.starts_with(letter));
        return Err(meant.map_or_else(wrong, |(name, _)| format!("write `\"{amount}{name}\"`")));
    };
    amount.checked_mul(*scale).ok_or_else(wrong)
}

/// `"5%"`, `"0.25%"`: millionths; the error is what to write instead.
pub(crate) fn percent(text: &str) -> Result<Share, String> {
    let wrong = || "write a percentage of at most four decimals: `\"5%\"`, `\"0.1%\"`".to_owned();
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 4 {
        return Err(wrong());
    }
    let parts = format!("{whole}{decimals:0<4}").parse::<u32>().map_err(|_| wrong())?;
    if parts > 1_000_000 { Err("write `\"100%\"` or less".to_owned()) } else { Ok(Share::millionths(parts)) }
}

/// `"12ms34s"` → `(12, "ms", "34s")`.
fn amount_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let after = text[unit_at..].find(|c: char| c.is_ascii_digit()).map_or(text.len(), |at| unit_at + at);
    Some((text[..unit_at].parse().ok()?, &text[unit_at..after], &text[after..]))
}

/// As the file would write it: in the largest unit that leaves no rest.
pub(crate) fn show_duration(value: Duration) -> String {
    let ms = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 { "0s".to_owned() } else { show(ms, &DURATIONS) }
}

/// As the file would write it: in the largest unit that leaves no rest.
pub(crate) fn show_size(bytes: u64) -> String {
    if bytes == 0 { "0B".to_owned() } else { show(bytes, &SIZES) }
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let (unit, scale) = units.iter().find(|(_, scale)| value.is_multiple_of(*scale)).unwrap_or(&("", 1));
    format!("{}{unit}", value / scale)
}

/// Milliseconds since 1970 of a time with an offset; `None` without one or before 1970.
pub(crate) fn epoch_ms(time: &Datetime) -> Option<i64> {
    time_ms(&time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_it_reads() {
        for text in ["1ms", "45s", "90s", "5m", "1h", "2d", "0s"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["1B", "1023B", "64KiB", "64MiB", "3GiB", "1TiB", "0B"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
        assert_eq!(duration("1m30s").unwrap(), Duration::from_secs(90));
    }

    #[test]
    fn says_what_to_write_instead() {
        assert_eq!(duration("5").unwrap_err(), "write the unit: `\"5s\"` or `\"5ms\"`");
        for text in ["", "s", "1.5s", "-1s", "5 s", "5min", "99999999999999999999s", "9999999999999999d", "ż"] {
            assert!(duration(text).unwrap_err().contains("1m30s"), "{text}");
        }
        assert_eq!(size("64MB").unwrap_err(), "write `\"64MiB\"`");
        assert_eq!(size("64m").unwrap_err(), "write `\"64MiB\"`");
        for text in ["", "64", "MiB", "1.5GiB", "64MiB1B", "1 parsec", "99999999999TiB", "7ż"] {
            assert!(size(text).unwrap_err().contains("64MiB"), "{text}");
        }
    }

    #[test]
    fn a_percentage_is_read_as_it_is_shown() {
        for text in ["0%", "5%", "0.25%", "99.9999%", "100%"] {
            assert_eq!(percent(text).unwrap().to_string(), text);
        }
        for text in ["", "5", "%", ".5%", "5.%", "1.23456%", "-1%", "5 %", "100.0001%", "4294967296%", "five%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_times_with_an_offset_only() {
        let at = |text: &str| epoch_ms(&text.parse().unwrap());
        assert_eq!(at("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(at("2000-02-29T12:00:00Z"), Some(951_825_600_000));
        assert_eq!(at("2026-03-01T00:00:00.250+01:00"), Some(1_772_319_600_250));
        assert_eq!(at("2026-03-01T00:00:00"), None);
        assert_eq!(at("2026-03-01"), None);
        assert_eq!(at("1969-12-31T23:59:59Z"), None);
    }
}
