//! A point in time as a report writes it (RFC 3339), as other formats want it. Must not ask what time it is.

/// Seconds since 1970 of an RFC 3339 instant in UTC, as `2026-01-02T03:04:05.678Z`; `None` for anything else.
pub(super) fn unix_seconds(text: &str) -> Option<f64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| number(part, part.len() == 4 || part.len() == 2));
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.split(':').map(|part| number(part, part.len() == 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if date.next().is_some() || clock.next().is_some() {
        return None;
    }
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    number(fraction, fraction.len() <= 9)?;
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds as f64 + fraction)
}

/// Digits and nothing else.
fn number(text: &str, fits: bool) -> Option<i64> {
    text.parse().ok().filter(|_| fits && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Days of the proleptic Gregorian calendar, counted by years that begin in March, so that the leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719 468 days lie between 1 March of the year 0 and 1 January 1970.
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::unix_seconds;

    #[test]
    fn instants_are_counted_from_1970() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0.0),
            ("2000-02-29T12:00:00Z", 951_825_600.0),
            ("2026-01-02T03:04:05Z", 1_767_323_045.0),
            ("2026-01-02T03:04:05.250Z", 1_767_323_045.25),
            ("2100-03-01T00:00:00Z", 4_107_542_400.0),
        ];
        for (text, seconds) in cases {
            assert_eq!(unix_seconds(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_unknown() {
        let cases =
            ["", "Z", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05.Z", "é-é-éTZ"];
        for text in cases {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }
}
