//! Timestamps as text: `2024-02-29T12:34:56.789Z` ⇄ microseconds since 1970-01-01T00:00:00 UTC.
//!
//! The proleptic Gregorian calendar, years 0000 to 9999. Source of the day arithmetic: Howard
//! Hinnant, "chrono-compatible low-level date algorithms"; of the text form: RFC 3339.

const DAY_MICROS: i64 = 86_400_000_000;

/// The text of a time, with as many decimals as it needs; plain microseconds outside the years
/// 0000 to 9999.
pub(crate) fn format(micros: i64) -> String {
    let (days, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    let (year, month, day) = civil(days);
    if !(0..=9999).contains(&year) {
        return micros.to_string();
    }
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let decimals = match fraction {
        0 => String::new(),
        fraction if fraction % 1000 == 0 => format!(".{:03}", fraction / 1000),
        fraction => format!(".{fraction:06}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{decimals}Z")
}

/// The time that a text means: a date, or a date and time with an optional offset (UTC without
/// one); decimals beyond microseconds are cut off.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4)?;
    let month = number(parts.next()?, 2)?;
    let day = number(parts.next()?, 2)?;
    let last = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=last).contains(&day) {
        return None;
    }
    let midnight = days(year, month, day) * DAY_MICROS;
    time.map_or(Some(midnight), |time| Some(midnight + clock(time)?))
}

/// Microseconds from midnight UTC of a time of day with its offset.
fn clock(text: &str) -> Option<i64> {
    let (time, offset) = if let Some(time) = text.strip_suffix(['Z', 'z']) {
        (time, 0)
    } else if let Some(at) = text.find(['+', '-']) {
        let (time, offset) = text.split_at(at);
        let sign = if offset.starts_with('-') { -1 } else { 1 };
        let (hours, minutes) = offset[1..].split_once(':')?;
        let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
        if hours > 23 || minutes > 59 {
            return None;
        }
        (time, sign * (hours * 60 + minutes))
    } else {
        (text, 0)
    };
    let (time, decimals) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = time.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| number(second, 2))?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if decimals.is_empty() || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let fraction: i64 = format!("{decimals:0<6}")[..6].parse().ok()?;
    Some((hour * 3600 + (minute - offset) * 60 + second) * 1_000_000 + fraction)
}

/// A number of exactly `digits` digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    let plain = text.len() == digits && text.bytes().all(|digit| digit.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Days from 1970-01-01 to a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a number of days from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn known_times_are_written_and_read() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_827_696_789_000, "2000-02-29T12:34:56.789Z"),
            (253_402_300_799_000_000, "9999-12-31T23:59:59Z"),
            (-62_167_219_200_000_000, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(format(micros), text);
            assert_eq!(parse(text), Some(micros));
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        for day in (-150_000..150_000).step_by(7) {
            let micros = day * super::DAY_MICROS + 1;
            assert_eq!(parse(&format(micros)), Some(micros));
        }
    }

    #[test]
    fn offsets_dates_alone_and_long_fractions_are_understood() {
        assert_eq!(parse("1970-01-02"), Some(super::DAY_MICROS));
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(parse("1969-12-31 23:30-00:30"), Some(0));
        assert_eq!(parse("1970-01-01T00:00:00.1234567"), Some(123_456));
    }

    #[test]
    fn nonsense_is_no_time() {
        for text in [
            "",
            "x",
            "2023-02-29",
            "2024-13-01",
            "2024-1-1",
            "2024-01-01T24:00",
            "2024-01-01Tx",
            "2024-01-01T00:00:00.é",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00+1:00",
            "+999-01-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn extreme_numbers_are_written_as_they_are() {
        assert_eq!(format(i64::MIN), i64::MIN.to_string());
        assert_eq!(format(i64::MAX), i64::MAX.to_string());
    }
}
