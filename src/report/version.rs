//! Versions of a contract, `MAJOR.MINOR`: which are read, and which come from a later poolpick. Must not read anything.

/// Whether a file of version `found` is read by who writes `own`.
pub fn is_readable(found: &str, own: &str) -> bool {
    let major = |version: &str| version.split('.').next().unwrap_or("").to_owned();
    major(found) == major(own)
}

/// Whether `found`, which is readable, is later than `own`: it may say what is not known here.
pub fn is_later(found: &str, own: &str) -> bool {
    // One that is no number is none of ours.
    let minor = |version: &str| version.split('.').nth(1).map_or(0, |minor| minor.parse().unwrap_or(u64::MAX));
    minor(found) > minor(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_minor_is_read_and_another_major_is_not() {
        for (found, readable, later) in [
            ("0.2", true, false),
            ("0.1", true, false),
            ("0", true, false),
            ("0.3", true, true),
            ("0.10", true, true),
            ("0.2.1", true, false),
            ("0.99999999999999999999999", true, true),
            ("0.x", true, true),
            ("1.0", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_readable(found, "0.2"), is_later(found, "0.2")), (readable, later), "`{found}`");
        }
    }
}
