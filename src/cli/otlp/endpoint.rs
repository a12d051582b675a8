//! Where one signal goes, by the variables of OpenTelemetry's specification of the OTLP exporter: those of the signal outrank
//! the general ones. What a message says of them holds no credentials. Must not send anything.

use super::{Lookup, pairs, proxy, tls};
use std::fmt;
use std::time::Duration;
use ureq::Proxy;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use ureq::http::{HeaderName, HeaderValue, Uri};
use ureq::tls::RootCerts;

/// Time that the specification gives an export.
const PATIENCE: Duration = Duration::from_secs(10);
/// "No limit", which the specification lets be a very long time.
const UNLIMITED: Duration = Duration::from_secs(24 * 60 * 60);
/// Texts shorter than this are no credentials, and may stand in a message for other reasons.
const SHORTEST_SECRET: usize = 4;
/// What belongs to how a body is sent.
const OWN_HEADERS: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING];

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Metrics,
    Spans,
}

impl Signal {
    /// As messages call it.
    pub fn word(self) -> &'static str {
        match self {
            Signal::Metrics => "metrics",
            Signal::Spans => "spans",
        }
    }

    /// The variable that may say that it is not sent.
    pub fn exporter(self) -> &'static str {
        match self {
            Signal::Metrics => "OTEL_METRICS_EXPORTER",
            Signal::Spans => "OTEL_TRACES_EXPORTER",
        }
    }

    /// As its variables call it.
    fn variable(self) -> &'static str {
        match self {
            Signal::Metrics => "METRICS",
            Signal::Spans => "TRACES",
        }
    }

    /// Where it goes below a general endpoint.
    fn path(self) -> &'static str {
        match self {
            Signal::Metrics => "v1/metrics",
            Signal::Spans => "v1/traces",
        }
    }
}

/// Where a signal goes.
pub struct Endpoint {
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    /// Who may vouch for it, where TLS is spoken.
    roots: Option<RootCerts>,
    proxy: Option<Proxy>,
}

/// As it may be shown.
impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Endpoint").field("url", &self.shown()).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// The endpoint that the variables name for a signal, if they name one.
    ///
    /// # Errors
    /// Says which variable cannot be used, and what to do.
    pub fn named(signal: Signal, variable: Lookup<'_>, warnings: &mut Vec<String>) -> Result<Option<Endpoint>, String> {
        let settings = Settings { signal, variable };
        let Some((url, uri)) = settings.url()? else { return Ok(None) };
        settings.protocol()?;
        let encrypted = uri.scheme_str() == Some("https");
        let roots = if encrypted { Some(settings.roots(warnings)?) } else { None };
        let host = uri.host().filter(|_| encrypted);
        let proxy = host.map(|host| proxy::to(host, variable)).transpose()?.flatten();
        let (headers, timeout) = (settings.headers()?, settings.timeout(warnings));
        Ok(Some(Endpoint { url, headers, timeout, roots, proxy }))
    }

    /// The whole address; it may hold credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What each request carries.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// How long one export may take, with all its tries.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Who may vouch for it; `None` where it is spoken to in the clear.
    pub fn roots(&self) -> Option<&RootCerts> {
        self.roots.as_ref()
    }

    /// The proxy that it is reached by.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// The address as it may be shown: without what stands before the host's name and behind the path.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }

    /// A text that somebody else wrote, without the credentials that were sent to them.
    pub fn redacted(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets().iter().filter(|secret| secret.len() >= SHORTEST_SECRET) {
            text = text.replace(secret, "…");
        }
        text
    }

    /// Longest first, so that none is cut by a part of it.
    fn secrets(&self) -> Vec<&str> {
        let values = self.headers.iter().filter_map(|(_, value)| value.to_str().ok());
        // Of `Bearer abc` what follows the scheme, too.
        let mut secrets: Vec<&str> =
            values.flat_map(|value| [Some(value), value.split_whitespace().last()]).flatten().collect();
        let (authority, rest) = authority(&self.url);
        if let Some((user, _)) = authority.rsplit_once('@') {
            secrets.extend([Some(user), user.split_once(':').map(|(_, password)| password)].into_iter().flatten());
        }
        let query = rest.split_once('?').map(|(_, query)| query).unwrap_or_default();
        secrets.extend(query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value));
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }
}

/// The variables as one signal reads them.
struct Settings<'a> {
    signal: Signal,
    variable: Lookup<'a>,
}

impl Settings<'_> {
    /// The signal's own setting, or else the general one, with the name of the variable.
    fn get(&self, what: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", self.signal.variable());
        let general = format!("OTEL_EXPORTER_OTLP_{what}");
        [own, general].into_iter().find_map(|name| {
            let text = (self.variable)(&name)?.trim().to_owned();
            (!text.is_empty()).then_some((name, text))
        })
    }

    fn url(&self) -> Result<Option<(String, Uri)>, String> {
        let Some((name, text)) = self.get("ENDPOINT") else { return Ok(None) };
        let url = if name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
            let (base, query) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
            format!("{}/{}{query}", base.trim_end_matches('/'), self.signal.path())
        } else {
            text
        };
        let uri = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        match uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https"))) {
            Some(uri) => Ok(Some((url, uri))),
            // What is no address may be anything: it is not shown.
            None => Err(format!("what `{name}` holds is no address; hint: it is one as `http://localhost:4318`")),
        }
    }

    fn roots(&self, warnings: &mut Vec<String>) -> Result<RootCerts, String> {
        for what in ["CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            let unused = self.get(what).map(|(name, _)| {
                format!(
                    "`{name}` is ignored: poolpick shows no certificate of its own; hint: a collector beside it can"
                )
            });
            warnings.extend(unused);
        }
        match self.get("CERTIFICATE") {
            Some((name, path)) => tls::of_file(&name, &path),
            None => tls::of_system(),
        }
    }

    /// Whoever takes protobuf by HTTP takes JSON at the same address, and most environments say `http/protobuf`.
    fn protocol(&self) -> Result<(), String> {
        match self.get("PROTOCOL") {
            Some((name, protocol)) if protocol != "http/json" && protocol != "http/protobuf" => Err(format!(
                "`{name}` is `{protocol}`, which poolpick does not speak; hint: set it to `http/json`, and the endpoint to \
                 the collector's for HTTP, usually on port 4318"
            )),
            _ => Ok(()),
        }
    }

    fn timeout(&self, warnings: &mut Vec<String>) -> Duration {
        let Some((name, text)) = self.get("TIMEOUT") else { return PATIENCE };
        match text.parse::<u64>() {
            Ok(0) => UNLIMITED,
            Ok(milliseconds) => Duration::from_millis(milliseconds).min(UNLIMITED),
            Err(_) => {
                warnings.push(format!(
                    "`{name}` is `{text}`, and is ignored; hint: it is a number of milliseconds, as {}",
                    PATIENCE.as_millis()
                ));
                PATIENCE
            }
        }
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let Some((name, text)) = self.get("HEADERS") else { return Ok(Vec::new()) };
        let parts = text.split(',').enumerate().filter(|(_, part)| !part.trim().is_empty());
        parts
            .map(|(index, part)| {
                header(part).map_err(|wrong| {
                    format!(
                        "part {} of `{name}` {wrong}; hint: it is written as `name=value,name=value`, with `%2C` for a comma \
                         in a value and `%25` for a percent sign",
                        index + 1
                    )
                })
            })
            .collect()
    }
}

/// A header; what is wrong with it is said without what it holds.
fn header(part: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = pairs::pair(part).ok_or("is no `name=value`")?;
    let name = HeaderName::from_bytes(&name).map_err(|_| "has a name that HTTP does not allow")?;
    if OWN_HEADERS.contains(&name) {
        return Err("names a header that hangs on what is sent");
    }
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| "has a value that HTTP does not allow")?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// What stands between the scheme and the path, and the rest.
fn authority(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

fn shown(url: &str) -> String {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let (authority, rest) = authority(url);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let path = rest.split(['?', '#']).next().unwrap_or(rest);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(signal: Signal, set: &[(&str, &str)]) -> Endpoint {
        let with = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        let mut warnings = Vec::new();
        let endpoint = Endpoint::named(signal, &with, &mut warnings).expect("usable").expect("named");
        assert!(warnings.is_empty(), "{warnings:?}");
        endpoint
    }

    fn values(endpoint: &Endpoint) -> Vec<(&str, &str)> {
        let texts = endpoint.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")));
        texts.collect()
    }

    #[test]
    fn each_setting_of_a_signal_outranks_the_general_one_for_that_signal_alone() {
        let set = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1, b=x%20y,"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/in?x=1"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Authorization=Bearer abcd"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ];
        let (metrics, spans) = (named(Signal::Metrics, &set), named(Signal::Spans, &set));
        assert_eq!((metrics.url(), metrics.timeout()), ("http://c:4318/v1/metrics", Duration::from_millis(250)));
        assert_eq!(values(&metrics), [("a", "1"), ("b", "x y")]);
        assert_eq!((spans.url(), spans.timeout()), ("http://t/in?x=1", UNLIMITED));
        assert_eq!(values(&spans), [("authorization", "Bearer abcd")]);
        // The other way round, and what is set for metrics alone does not reach spans.
        let set = [set[0], ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "key=abcd")];
        assert_eq!(values(&named(Signal::Metrics, &set)), [("key", "abcd")]);
        let spans = named(Signal::Spans, &set);
        assert_eq!((spans.url(), spans.timeout(), values(&spans).len()), ("http://c:4318/v1/traces", PATIENCE, 0));
    }

    #[test]
    fn a_general_address_keeps_its_path_and_what_follows_it() {
        for (general, wanted) in [
            ("http://c", "http://c/v1/traces"),
            ("http://c/otlp//", "http://c/otlp/v1/traces"),
            ("http://c:1/otlp?key=k", "http://c:1/otlp/v1/traces?key=k"),
            ("HTTP://c", "HTTP://c/v1/traces"),
        ] {
            assert_eq!(named(Signal::Spans, &[("OTEL_EXPORTER_OTLP_ENDPOINT", general)]).url(), wanted);
        }
    }

    #[test]
    fn what_is_shown_holds_no_credentials() {
        let set = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:pass-word@c:4318/x?key=query-key"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer token-1,key=token-12"),
        ];
        let endpoint = named(Signal::Metrics, &set);
        assert_eq!(endpoint.shown(), "http://c:4318/x/v1/metrics");
        let echo = "no user:pass-word, pass-word, query-key, Bearer token-1, token-1 or token-12 at c:4318";
        assert_eq!(endpoint.redacted(echo), "no …, …, …, …, … or … at c:4318");
        let debug = format!("{endpoint:?}");
        assert!(!debug.contains("pass") && !debug.contains("token"), "{debug}");
    }
}
