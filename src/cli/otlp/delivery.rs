//! One body to one endpoint by OTLP/HTTP, tried again as its specification says, within the time that an export has. Must
//! not know what is in the body.

use super::endpoint::Endpoint;
use super::tls;
use std::io::ErrorKind;
use std::time::{Duration, Instant, SystemTime};
use ureq::http::{HeaderMap, StatusCode};

/// More of an answer than this is not read.
const LONGEST_ANSWER: u64 = 16 << 10;
/// An export is tried at the most so often.
const MOST_TRIES: u32 = 5;
/// And so often where nobody listens: who waits for a receiver that restarts has a second or two, not ten.
const MOST_TRIES_UNHEARD: u32 = 3;
/// The pause after the first try; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Why a try came to nothing.
struct Refusal {
    why: String,
    again: Again,
}

/// Whether another try may do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Never,
    Later,
    /// Nobody listens there.
    Unheard,
    /// Not before so long.
    After(Duration),
}

/// Sends a body.
///
/// # Errors
/// Says why it did not arrive or was not taken, without credentials.
pub fn deliver(endpoint: &Endpoint, body: &[u8]) -> Result<(), String> {
    let deadline = Instant::now() + endpoint.timeout();
    let left = || deadline.saturating_duration_since(Instant::now());
    let (mut pause, mut tries) = (FIRST_PAUSE, 0);
    let mut before: Option<String> = None;
    loop {
        let refusal = match post(endpoint, body, left()) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        tries += 1;
        let wait = match refusal.again {
            // A random part keeps those apart that were turned away at the same time.
            Again::Later | Again::Unheard => Some(pause.mul_f64(0.75 + fastrand::f64() / 2.0)),
            Again::After(wait) => Some(wait),
            Again::Never => None,
        };
        let most = if refusal.again == Again::Unheard { MOST_TRIES_UNHEARD } else { MOST_TRIES };
        match wait.filter(|&wait| tries < most && wait < left()) {
            Some(wait) => std::thread::sleep(wait),
            None => {
                // That time ran out on a further try says less than what the one before it was answered.
                let why = before.filter(|_| left().is_zero()).unwrap_or(refusal.why);
                let count = if tries > 1 { format!(", tried {tries} times") } else { String::new() };
                return Err(endpoint.redacted(&why) + &count);
            }
        }
        before = Some(refusal.why);
        pause *= 2;
    }
}

fn post(endpoint: &Endpoint, body: &[u8], left: Duration) -> Result<(), Refusal> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(left))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(endpoint.proxy().cloned())
        .user_agent(concat!("poolpick/", env!("CARGO_PKG_VERSION")));
    let agent: ureq::Agent = match endpoint.roots() {
        Some(roots) => config.tls_config(tls::config(roots)).build(),
        None => config.build(),
    }
    .into();
    let mut request = agent.post(endpoint.url()).header("content-type", "application/json");
    for (name, value) in endpoint.headers() {
        request = request.header(name, value);
    }
    let mut response = request.send(body).map_err(|error| lost(&error))?;
    let status = response.status();
    let answer = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string().unwrap_or_default();
    if !status.is_success() {
        let again = again(status, response.headers(), SystemTime::now());
        let wanted = match (status, again) {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, _) => ": it does not take JSON".to_owned(),
            (_, Again::After(wait)) => format!(" and asks for {} seconds", wait.as_secs_f64().ceil()),
            _ => String::new(),
        };
        return Err(Refusal { why: format!("it answered {status}{wanted}"), again });
    }
    if is_page(response.headers()) {
        let why = format!(
            "it answered {status} with a page for people (text/html): no receiver of metrics or traces is there"
        );
        return Err(Refusal { why, again: Again::Never });
    }
    refused(&answer).map_or(Ok(()), |why| Err(Refusal { why, again: Again::Never }))
}

/// What the specification has tried again: these answers, and connections that came to nothing.
fn again(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Again {
    if !matches!(status.as_u16(), 429 | 502 | 503 | 504) {
        return Again::Never;
    }
    let after = headers.get("retry-after").and_then(|value| value.to_str().ok());
    after.and_then(|text| pause(text.trim(), now)).map_or(Again::Later, Again::After)
}

/// `Retry-After`: seconds, or a date as `Wed, 21 Oct 2015 07:28:00 GMT`.
fn pause(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|known| *known == month)? + 1;
    let then = humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

/// An error in words that do not repeat the address.
fn lost(error: &ureq::Error) -> Refusal {
    let (why, again) = match error {
        ureq::Error::BadUri(_) => ("the address cannot be used".to_owned(), Again::Never),
        ureq::Error::Io(error) => match (tls::mistrust(error), error.kind()) {
            (Some(why), _) => (why, Again::Never),
            (None, ErrorKind::InvalidInput | ErrorKind::InvalidData) => (error.to_string(), Again::Never),
            (None, ErrorKind::ConnectionRefused) => (error.to_string(), Again::Unheard),
            (None, _) => (error.to_string(), Again::Later),
        },
        ureq::Error::ConnectionFailed => (error.to_string(), Again::Later),
        ureq::Error::Timeout(_) => ("it did not answer in time".to_owned(), Again::Never),
        error => (error.to_string(), Again::Never),
    };
    Refusal { why, again }
}

/// Whether an answer is meant for a browser: a login, a proxy's notice. Receivers answer in JSON, or nothing at all.
fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html")))
}

/// What a receiver says that took only a part.
fn refused(answer: &str) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    let partial = answer.get("partialSuccess")?;
    let rejected = partial.get("rejectedDataPoints").or_else(|| partial.get("rejectedSpans"))?;
    // 64-bit integers are strings, but not everybody keeps to that.
    let rejected = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).filter(|&count| count > 0)?;
    let why = partial.get("errorMessage").and_then(|why| why.as_str()).unwrap_or("it did not say why");
    Some(format!("it refused {rejected} values: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_was_refused_is_told() {
        assert_eq!(refused("{}"), None);
        assert_eq!(refused("no JSON"), None);
        assert_eq!(refused(r#"{"partialSuccess":{"rejectedDataPoints":"0"}}"#), None);
        let told = refused(r#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"too old"}}"#);
        assert_eq!(told.as_deref(), Some("it refused 3 values: too old"));
    }

    #[test]
    fn a_page_is_no_receipt() {
        let of = |kind: &'static str| {
            HeaderMap::from_iter([("content-type".parse().expect("a name"), kind.parse().expect("a value"))])
        };
        assert!(is_page(&of("text/html")) && is_page(&of("Text/HTML; charset=utf-8")));
        assert!(!is_page(&of("application/json")) && !is_page(&HeaderMap::new()));
    }

    #[test]
    fn only_what_may_pass_is_tried_again_and_when_it_is_asked() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_470);
        let asked = |status: u16, after: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(text) = after {
                headers.insert("retry-after", text.parse().expect("a value"));
            }
            again(StatusCode::from_u16(status).expect("a status"), &headers, now)
        };
        for status in [429, 502, 503, 504] {
            assert_eq!(asked(status, None), Again::Later);
        }
        for status in [301, 400, 401, 408, 413, 500, 501] {
            assert_eq!(asked(status, Some("1")), Again::Never, "{status}");
        }
        assert_eq!(asked(503, Some(" 7 ")), Again::After(Duration::from_secs(7)));
        assert_eq!(asked(503, Some("Wed, 21 Oct 2015 07:28:00 GMT")), Again::After(Duration::from_secs(10)));
        assert_eq!(asked(503, Some("Wed, 21 Oct 2015 07:00:00 GMT")), Again::After(Duration::ZERO));
        for text in ["soon", "-1", "Wed, 21 Foo 2015 07:28:00 GMT", "21 Oct 2015"] {
            assert_eq!(asked(503, Some(text)), Again::Later, "{text}");
        }
    }
}
