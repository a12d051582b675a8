//! Where OpenTelemetry's variables say that metrics go, and the sending. The variables are those of its specification of
//! the OTLP exporter; what is sent is what `--export otlp=FILE` writes. Must not judge, render, or try again: the run has
//! ended, and nobody waits for a dashboard.

use crate::report::Origin;
use std::time::Duration;

/// What a variable is asked by.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Time that the specification gives an export.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where metrics go below a general endpoint.
const METRICS_PATH: &str = "v1/metrics";
/// And spans.
const TRACES_PATH: &str = "v1/traces";
/// More of an answer than this is not read.
const LONGEST_ANSWER: u64 = 16 << 10;

/// Where metrics go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    /// Where sampled tasks go, where that is known too.
    traces: Option<String>,
    headers: Vec<(String, String)>,
    timeout: Duration,
}

/// A variable of this process; an empty one is as good as none.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// What the variables say of the service, besides what a document says.
pub fn origin(variable: Lookup<'_>) -> Origin {
    let mut attributes = pairs(variable("OTEL_RESOURCE_ATTRIBUTES"));
    let named = attributes.iter().position(|(name, _)| name == "service.name").map(|at| attributes.remove(at).1);
    Origin { pipeline: None, service: variable("OTEL_SERVICE_NAME").or(named), attributes }
}

impl Endpoint {
    /// The endpoint that the variables name.
    ///
    /// # Errors
    /// Says which variable is missing or cannot be used, and what to do.
    pub fn named(variable: Lookup<'_>) -> Result<Endpoint, String> {
        let own = |name: &str| {
            variable(&format!("OTEL_EXPORTER_OTLP_METRICS_{name}"))
                .or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let url = match (variable("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"), variable("OTEL_EXPORTER_OTLP_ENDPOINT")) {
            (Some(url), _) => url,
            (None, Some(base)) => format!("{}/{METRICS_PATH}", base.trim_end_matches('/')),
            (None, None) => {
                return Err("no endpoint for metrics is named; hint: set `OTEL_EXPORTER_OTLP_ENDPOINT`, as \
                            `http://localhost:4318`, or write a file with `--export otlp=FILE`"
                    .to_owned());
            }
        };
        if url.starts_with("https:") {
            return Err(format!(
                "`{}` wants TLS, which poolpick does not speak; hint: send to a collector beside it over http, or write \
                 a file with `--export otlp=FILE` and send that",
                shown(&url)
            ));
        }
        if !url.starts_with("http://") {
            return Err(format!("`{}` is no address that begins with `http://`", shown(&url)));
        }
        if let Some(protocol) = own("PROTOCOL").filter(|protocol| protocol == "grpc") {
            return Err(format!(
                "`OTEL_EXPORTER_OTLP_PROTOCOL` is `{protocol}`, which poolpick does not speak; hint: name the collector's HTTP \
                 endpoint, usually on port 4318, and set the protocol to `http/json`"
            ));
        }
        let timeout = match own("TIMEOUT").map(|text| (text.parse::<u64>(), text)) {
            None => PATIENCE,
            Some((Ok(milliseconds), _)) if milliseconds > 0 => Duration::from_millis(milliseconds),
            Some((_, text)) => {
                return Err(format!("`OTEL_EXPORTER_OTLP_TIMEOUT` is `{text}`; it is a number of milliseconds"));
            }
        };
        let below = |base: String| format!("{}/{TRACES_PATH}", base.trim_end_matches('/'));
        let traces = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(below))
            .filter(|url| url.starts_with("http://"));
        Ok(Endpoint { url, traces, headers: pairs(own("HEADERS")), timeout })
    }

    /// The address as it may be shown: without what stands before the host's name.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }

    /// Sends what `--export otlp=FILE` would write: metrics on the first line, spans on the second, if there is one.
    ///
    /// # Errors
    /// Says why it did not arrive or was not taken.
    pub fn send(&self, lines: &[u8]) -> Result<(), String> {
        let mut lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.next().map_or(Ok(()), |metrics| self.post(&self.url, metrics))?;
        match (lines.next(), &self.traces) {
            (Some(spans), Some(url)) => self.post(url, spans).map_err(|reason| format!("spans: {reason}")),
            _ => Ok(()),
        }
    }

    fn post(&self, url: &str, body: &[u8]) -> Result<(), String> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(self.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("poolpick/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let mut request = agent.post(url).header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut response = request.send(body).map_err(|error| error.to_string())?;
        let status = response.status();
        let answer = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string().unwrap_or_default();
        if !status.is_success() {
            return Err(format!("it answered {status}"));
        }
        refused(&answer).map_or(Ok(()), Err)
    }
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

/// `a=1,b=x%20y`: pairs as W3C's baggage writes them. What is no pair is left out.
fn pairs(text: Option<String>) -> Vec<(String, String)> {
    let text = text.unwrap_or_default();
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((decoded(name.trim()), decoded(value.trim()))).filter(|(name, _)| !name.is_empty())
    };
    text.split(',').filter_map(pair).collect()
}

/// `%XX` as the byte that it stands for.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let digit = |at: usize| rest.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (first, digit(0).zip(digit(1))) {
            (b'%', Some((high, low))) => {
                out.push((high * 16 + low) as u8);
                bytes = rest.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let path = path.split(['?', '#']).next().unwrap_or(path);
    if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}://{host}{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| set.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
    }

    #[test]
    fn the_signals_own_variables_outrank_the_general_ones() {
        let general = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, b=x%20y,junk"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ];
        let endpoint = Endpoint::named(&with(&general)).expect("usable");
        assert_eq!(endpoint.url, "http://c:4318/v1/metrics");
        assert_eq!(endpoint.headers, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "x y".to_owned())]);
        assert_eq!(endpoint.timeout, Duration::from_millis(250));
        let own = [general[0], general[1], ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m/in")];
        let endpoint = Endpoint::named(&with(&own)).expect("usable");
        assert_eq!((endpoint.url.as_str(), endpoint.timeout), ("http://m/in", PATIENCE));
        assert_eq!(endpoint.traces.as_deref(), Some("http://c:4318/v1/traces"));
        let own = [own[2], ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/in")];
        assert_eq!(Endpoint::named(&with(&own)).expect("usable").traces.as_deref(), Some("http://t/in"));
        assert_eq!(Endpoint::named(&with(&own[..1])).expect("usable").traces, None);
    }

    #[test]
    fn what_cannot_be_used_is_said_with_a_way_out() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[], "hint: set `OTEL_EXPORTER_OTLP_ENDPOINT`"),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://u:secret@c")], "wants TLS"),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4318")], "is no address"),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "port 4318"),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")], "milliseconds"),
        ];
        for (set, part) in cases {
            let message = Endpoint::named(&with(set)).expect_err("refused");
            assert!(message.contains(part) && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn the_service_and_its_attributes_are_read() {
        let set = [("OTEL_RESOURCE_ATTRIBUTES", "service.name=etl,host.name=h%2C1")];
        let found = origin(&with(&set));
        assert_eq!(found.service.as_deref(), Some("etl"));
        assert_eq!(found.attributes, [("host.name".to_owned(), "h,1".to_owned())]);
        let set = [set[0], ("OTEL_SERVICE_NAME", "own")];
        assert_eq!(origin(&with(&set)).service.as_deref(), Some("own"));
    }

    #[test]
    fn a_part_that_was_refused_is_told() {
        assert_eq!(refused("{}"), None);
        assert_eq!(refused("no JSON"), None);
        assert_eq!(refused(r#"{"partialSuccess":{"rejectedDataPoints":"0"}}"#), None);
        let told = refused(r#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"too old"}}"#);
        assert_eq!(told.as_deref(), Some("it refused 3 values: too old"));
    }
}
