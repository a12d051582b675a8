//! Where OpenTelemetry's variables say that metrics and spans go, and the sending of what `--export otlp=FILE` writes. Each
//! signal has an endpoint of its own: what is meant for one host is not told to another. Must not judge or render.

mod delivery;
mod endpoint;
mod pairs;
mod proxy;
mod tls;

use crate::report::Origin;
use endpoint::{Endpoint, Signal};

/// What a variable is asked by.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Who takes what a run tells.
#[derive(Debug)]
pub struct Receiver {
    metrics: Route,
    spans: Route,
}

/// Where a signal goes.
#[derive(Debug)]
enum Route {
    To(Endpoint),
    /// Nowhere: the variables say so.
    Off,
    /// Nowhere: no variable says where.
    Unnamed,
}

/// A variable of this process; an empty one is as good as none.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// What the variables say of the service, besides what a document says.
pub fn origin(variable: Lookup<'_>) -> Origin {
    let mut attributes = pairs::attributes(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
    let named = attributes.iter().position(|(name, _)| name == "service.name").map(|at| attributes.remove(at).1);
    Origin { pipeline: None, service: variable("OTEL_SERVICE_NAME").or(named), attributes }
}

impl Receiver {
    /// The one that the variables name, and warnings about what they say.
    ///
    /// # Errors
    /// Says which variable is missing or cannot be used, and what to do.
    pub fn named(variable: Lookup<'_>) -> Result<(Receiver, Vec<String>), String> {
        let mut warnings = Vec::new();
        let metrics = Route::of(Signal::Metrics, variable, &mut warnings)?;
        let spans = Route::of(Signal::Spans, variable, &mut warnings)?;
        match (&metrics, &spans) {
            (Route::Unnamed, _) => {
                Err("no endpoint for metrics is named; hint: set `OTEL_EXPORTER_OTLP_ENDPOINT`, as \
                                        `http://localhost:4318`, or write a file with `--export otlp=FILE`"
                    .to_owned())
            }
            (Route::Off, Route::Off | Route::Unnamed) => Err(
                "`OTEL_METRICS_EXPORTER` is `none`, and no endpoint for spans is named: nothing would be sent; hint: \
                     unset it, or write a file with `--export otlp=FILE`"
                    .to_owned(),
            ),
            _ => {
                // A general variable is read once a signal.
                warnings.dedup();
                Ok((Receiver { metrics, spans }, warnings))
            }
        }
    }

    /// Sends what `--export otlp=FILE` would write: metrics on the first line, spans on the second, if there is one. What is
    /// not sent for want of an address is a warning.
    ///
    /// # Errors
    /// Says what did not arrive or was not taken, and why. Each signal is tried whatever becomes of the other.
    pub fn send(&self, lines: &[u8], warn: &dyn Fn(&str)) -> Result<(), String> {
        let mut lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let mut failed = Vec::new();
        for (signal, route) in [(Signal::Metrics, &self.metrics), (Signal::Spans, &self.spans)] {
            let Some(body) = lines.next() else { break };
            let what = signal.word();
            match route {
                Route::To(endpoint) => {
                    let refused = delivery::deliver(endpoint, body).err();
                    failed.extend(
                        refused.map(|why| format!("the {what} could not be sent to `{}`: {why}", endpoint.shown())),
                    );
                }
                Route::Off => {}
                Route::Unnamed => warn(&format!(
                    "the {what} are not sent, for no endpoint is named for them; hint: set \
                     `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_TRACES_EXPORTER=none` to do without"
                )),
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }
}

impl Route {
    fn of(signal: Signal, variable: Lookup<'_>, warnings: &mut Vec<String>) -> Result<Route, String> {
        if variable(signal.exporter()).is_some_and(|exporter| exporter.trim() == "none") {
            return Ok(Route::Off);
        }
        Ok(Endpoint::named(signal, variable, warnings)?.map_or(Route::Unnamed, Route::To))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| set.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
    }

    fn routes(set: &[(&str, &str)]) -> (Route, Route) {
        let (Receiver { metrics, spans }, _) = Receiver::named(&with(set)).expect("usable");
        (metrics, spans)
    }

    #[test]
    fn a_signal_is_sent_off_or_said_to_have_no_address() {
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        assert!(matches!(routes(&[general]), (Route::To(_), Route::To(_))));
        assert!(matches!(routes(&[general, ("OTEL_TRACES_EXPORTER", "none")]), (Route::To(_), Route::Off)));
        assert!(matches!(routes(&[general, ("OTEL_METRICS_EXPORTER", "none")]), (Route::Off, Route::To(_))));
        let metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m/in");
        let (sent, unnamed) = routes(&[metrics]);
        assert!(matches!((&sent, &unnamed), (Route::To(_), Route::Unnamed)));
        let told = std::cell::RefCell::new(Vec::new());
        let receiver = Receiver { metrics: Route::Off, spans: unnamed };
        receiver.send(b"{}\n{}\n", &|message| told.borrow_mut().push(message.to_owned())).expect("nothing was tried");
        assert!(told.borrow()[0].starts_with("the spans are not sent"), "{told:?}");
        // Without spans there is nothing to say.
        receiver.send(b"{}\n", &|message| panic!("{message}")).expect("nothing was tried");
    }

    #[test]
    fn what_cannot_be_used_is_said_with_a_way_out() {
        let http = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        let https = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318");
        let cases: [(&[(&str, &str)], &str); 10] = [
            (&[], "hint: set `OTEL_EXPORTER_OTLP_ENDPOINT`"),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "u:secret@c:4318")], "is no address"),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://u:secret@c")], "is no address"),
            (&[http, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "c:4318/secret")], "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            (&[http, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "set it to `http/json`"),
            (&[http, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")], "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
            (&[http, ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,Bearer secret")], "part 2 of `OTEL_EXPORTER_OTLP_HEADERS`"),
            (&[http, ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0Ab:c")], "part 1 of `OTEL_EXPORTER_OTLP_HEADERS`"),
            (&[https, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/dev/null")], "holds no certificate"),
            (&[http, ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "none")], "nothing would be sent"),
        ];
        for (set, part) in cases {
            let message = Receiver::named(&with(set)).expect_err("refused");
            assert!(message.contains(part) && !message.contains("secret"), "{message}");
            assert!(message.contains("hint: "), "{message}");
        }
    }

    #[test]
    fn a_timeout_that_cannot_be_read_is_ignored_with_one_warning() {
        let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")];
        let (_, warnings) = Receiver::named(&with(&set)).expect("usable");
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("`OTEL_EXPORTER_OTLP_TIMEOUT` is `10s`"), "{warnings:?}");
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
}
