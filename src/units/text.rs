//! Times, sizes and shares as people type them, on the command line and in manifests. Must not know options or keys.

use bytesize::ByteSize;
use std::time::Duration;

/// `500ms`, `10s`, `2m`, or plain seconds.
///
/// # Errors
/// Says what it is instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = match text.parse::<f64>() {
        Ok(seconds) => {
            Duration::try_from_secs_f64(seconds).map_err(|_| "it is a time such as 500ms, 10s or 2m".to_owned())?
        }
        Err(_) => humantime::parse_duration(text).map_err(|_| "it is a time such as 500ms, 10s or 2m".to_owned())?,
    };
    if duration.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(duration) }
}

/// `4096`, `64KiB`, `10MB`.
///
/// # Errors
/// Says what it is instead.
pub fn parse_size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>().map(|size| size.as_u64()) {
        Ok(u64::MAX) => Err("it is more than any machine holds".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err("it is a size such as 4096, 64KiB or 10MB".to_owned()),
    }
}

/// A number from 0 to 1.
///
/// # Errors
/// Says what it is instead.
pub fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it is a number from 0 to 1".to_owned()),
    }
}
