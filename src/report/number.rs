//! Numbers as people read them: three significant digits, a unit, and a dash for what is not known. The space before
//! a unit does not break (U+00A0); whoever prints turns it into a plain one. Must not decide what is shown.

/// The space between a number and its unit.
pub(super) const NO_BREAK: char = '\u{a0}';

/// The signs that differ between a terminal with and without Unicode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glyphs {
    /// Not known.
    pub none: &'static str,
    /// Between two parts of a sentence.
    pub dash: &'static str,
    /// Between the ends of a range.
    pub to: &'static str,
    /// Millionth.
    pub micro: &'static str,
    /// So many times.
    pub times: &'static str,
    /// Give or take.
    pub plus_minus: &'static str,
    /// Something was left out.
    pub ellipsis: &'static str,
    /// A bar's full cell.
    pub bar: &'static str,
}

impl Glyphs {
    /// For UTF-8.
    pub const UNICODE: Glyphs =
        Glyphs {
            none: "–", dash: "–", to: "–", micro: "µ", times: "×", plus_minus: "±", ellipsis: "…", bar: "█"
        };

    /// For everything else.
    pub const ASCII: Glyphs =
        Glyphs { none: "-", dash: "-", to: "..", micro: "u", times: "x", plus_minus: "+-", ellipsis: "...", bar: "#" };

    /// A time: `12.3 µs`, `45.6 ms`, `7.89 s`, `2:03 min`, `1:02:03 h`.
    pub fn seconds(&self, value: impl Into<Option<f64>>) -> String {
        self.known(value, |value| match Unit::of(value) {
            Some(unit) => format!("{}{NO_BREAK}{}", significant(value * unit.scale()), self.unit(unit)),
            None => clock(value),
        })
    }

    /// Times below one another: the unit of the largest, and its decimals, unless that would make a small one vanish.
    pub fn seconds_column(&self, values: &[Option<f64>]) -> Vec<Option<String>> {
        let known = || values.iter().flatten().copied().filter(|value| value.is_finite());
        let largest = known().fold(0.0, f64::max);
        let Some(unit) = Unit::of(largest) else {
            return values.iter().map(|value| value.map(|value| self.seconds(value))).collect();
        };
        let decimals = decimals(largest * unit.scale());
        let cell = |value: f64| {
            let scaled = value * unit.scale();
            let vanishes = value > 0.0 && scaled < 1.5 * 10_f64.powi(-decimals);
            if value < 0.0 || !value.is_finite() || vanishes {
                self.seconds(value)
            } else {
                format!("{scaled:.*}{NO_BREAK}{}", places(decimals), self.unit(unit))
            }
        };
        values.iter().map(|value| value.map(cell)).collect()
    }

    /// A size in binary units: `512 B`, `1.50 KiB`.
    pub fn bytes(&self, value: Option<u64>) -> String {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let Some(value) = value else { return self.none.to_owned() };
        if value < 1024 {
            return format!("{value}{NO_BREAK}B");
        }
        let mut scaled = value as f64 / 1024.0;
        let mut unit = 0;
        while scaled >= 1023.5 && unit + 1 < UNITS.len() {
            scaled /= 1024.0;
            unit += 1;
        }
        format!("{}{NO_BREAK}{}", significant(scaled), UNITS.get(unit).copied().unwrap_or("B"))
    }

    /// A ratio or score: two decimals.
    pub fn ratio(&self, value: impl Into<Option<f64>>) -> String {
        self.known(value, |value| format!("{value:.2}"))
    }

    /// A speed-up: `1.95×`.
    pub fn speedup(&self, value: impl Into<Option<f64>>) -> String {
        self.known(value, |value| if value >= 9.995 { significant(value) } else { format!("{value:.2}") }) + self.times
    }

    /// A count with its thousands apart: `12,345`.
    pub fn count(&self, value: impl Into<Option<u64>>) -> String {
        value.into().map_or_else(|| self.none.to_owned(), |value| thousands(&value.to_string()))
    }

    /// So many a second, without a unit.
    pub fn rate(&self, value: Option<f64>) -> String {
        self.known(value, |value| match value {
            0.0 => "0".to_owned(),
            _ if value < 0.05 => "<0.1".to_owned(),
            _ if value < 99.95 => format!("{value:.1}"),
            _ => significant(value),
        })
    }

    /// A share of a whole: `17 %`; what is there at all is not `0 %`.
    pub fn share(&self, value: impl Into<Option<f64>>) -> String {
        self.known(value, |value| {
            let percent = value * 100.0;
            if percent > 0.0 && percent < 0.5 { format!("<1{NO_BREAK}%") } else { format!("{percent:.0}{NO_BREAK}%") }
        })
    }

    fn known(&self, value: impl Into<Option<f64>>, write: impl Fn(f64) -> String) -> String {
        match value.into() {
            Some(value) if value.is_finite() && value < 0.0 => format!("-{}", write(-value)),
            Some(value) if value.is_finite() => write(value.abs()),
            _ => self.none.to_owned(),
        }
    }

    fn unit(&self, unit: Unit) -> String {
        match unit {
            Unit::Micro => format!("{}s", self.micro),
            Unit::Milli => "ms".to_owned(),
            Unit::One => "s".to_owned(),
        }
    }
}

/// A unit of time with three significant digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Micro,
    Milli,
    One,
}

impl Unit {
    /// The unit for `seconds`; none where minutes read better. Judged on the rounded value: 999.96 µs is 1.00 ms.
    fn of(seconds: f64) -> Option<Unit> {
        let rounded = format!("{seconds:.2e}").parse().unwrap_or(seconds);
        if rounded == 0.0 {
            Some(Unit::One)
        } else if rounded < 1e-3 {
            Some(Unit::Micro)
        } else if rounded < 1.0 {
            Some(Unit::Milli)
        } else if seconds < 119.5 {
            Some(Unit::One)
        } else {
            None
        }
    }

    fn scale(self) -> f64 {
        match self {
            Unit::Micro => 1e6,
            Unit::Milli => 1e3,
            Unit::One => 1.0,
        }
    }
}

/// Minutes or hours.
fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours == 0 {
        format!("{minutes}:{seconds:02}{NO_BREAK}min")
    } else {
        format!("{}:{minutes:02}:{seconds:02}{NO_BREAK}h", thousands(&hours.to_string()))
    }
}

/// Three significant digits, never an exponent; `value` is not negative.
fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value < 0.001 {
        return "<0.001".to_owned();
    }
    let text = format!("{value:.*}", places(decimals(value)));
    if text.contains('.') { text } else { thousands(&text) }
}

/// How many decimals three significant digits of `value` have.
fn decimals(value: f64) -> i32 {
    let exponent = format!("{value:.2e}").rsplit('e').next().and_then(|digits| digits.parse::<i32>().ok());
    (2 - exponent.unwrap_or(0)).clamp(0, 5)
}

fn places(decimals: i32) -> usize {
    usize::try_from(decimals).unwrap_or(0)
}

/// `12345` to `12,345`.
fn thousands(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICODE: Glyphs = Glyphs::UNICODE;

    fn plain(text: String) -> String {
        text.replace(NO_BREAK, " ")
    }

    #[test]
    fn seconds_choose_their_unit_after_rounding() {
        let cases = [
            (0.0, "0 s"),
            (3e-10, "<0.001 µs"),
            (3.2e-8, "0.0320 µs"),
            (79e-6, "79.0 µs"),
            (999.4e-6, "999 µs"),
            (999.6e-6, "1.00 ms"),
            (0.012_34, "12.3 ms"),
            (0.9999, "1.00 s"),
            (1.234, "1.23 s"),
            (9.999, "10.0 s"),
            (119.4, "119 s"),
            (123.4, "2:03 min"),
            (3_723.0, "1:02:03 h"),
            (-0.5, "-500 ms"),
        ];
        for (value, expected) in cases {
            assert_eq!(plain(UNICODE.seconds(value)), expected, "{value}");
        }
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        assert_eq!(UNICODE.seconds(None), "–");
        assert_eq!(UNICODE.ratio(f64::NAN), "–");
        assert_eq!(Glyphs::ASCII.bytes(None), "-");
        assert_eq!(Glyphs::ASCII.share(f64::INFINITY), "-");
        assert_eq!(plain(Glyphs::ASCII.seconds(79e-6)), "79.0 us");
    }

    #[test]
    fn bytes_are_binary() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (4 << 20, "4.00 MiB"),
            ((1 << 20) - 1, "1.00 MiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (value, expected) in cases {
            assert_eq!(plain(UNICODE.bytes(Some(value))), expected);
        }
    }

    #[test]
    fn counts_shares_and_ratios() {
        assert_eq!(UNICODE.count(1_234_567), "1,234,567");
        assert_eq!(UNICODE.count(999), "999");
        assert_eq!(plain(UNICODE.share(0.172)), "17 %");
        assert_eq!(plain(UNICODE.share(0.001)), "<1 %");
        assert_eq!(plain(UNICODE.share(0.0)), "0 %");
        assert_eq!(UNICODE.ratio(0.984), "0.98");
        assert_eq!(UNICODE.speedup(1.95), "1.95×");
        assert_eq!(UNICODE.rate(Some(12_345.6)), "12,346");
        assert_eq!(UNICODE.rate(Some(0.5)), "0.5");
        assert_eq!(UNICODE.rate(Some(0.01)), "<0.1");
        assert_eq!(UNICODE.speedup(11.2), "11.2×");
    }

    #[test]
    fn a_column_shares_its_unit_but_nothing_vanishes() {
        let column = UNICODE.seconds_column(&[Some(12.34), Some(0.4), Some(0.003), None, Some(0.0)]);
        let column: Vec<String> = column.into_iter().map(|cell| plain(cell.unwrap_or_default())).collect();
        assert_eq!(column, ["12.3 s", "0.4 s", "3.00 ms", "", "0.0 s"]);
    }
}
