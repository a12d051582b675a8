//! One body to one endpoint by OTLP/HTTP. Must not know what is in it.

use super::endpoint::Endpoint;
use super::tls;

/// More of an answer than this is not read.
const LONGEST_ANSWER: u64 = 16 << 10;

/// Sends a body.
///
/// # Errors
/// Says why it did not arrive or was not taken, without credentials.
pub fn deliver(endpoint: &Endpoint, body: &[u8]) -> Result<(), String> {
    post(endpoint, body).map_err(|reason| endpoint.redacted(&reason))
}

fn post(endpoint: &Endpoint, body: &[u8]) -> Result<(), String> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(endpoint.timeout()))
        .http_status_as_error(false)
        .max_redirects(0)
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
    let mut response = request.send(body).map_err(|error| told(&error))?;
    let status = response.status();
    let answer = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string().unwrap_or_default();
    if !status.is_success() {
        return Err(format!("it answered {status}"));
    }
    refused(&answer).map_or(Ok(()), Err)
}

/// An error in words that do not repeat the address.
fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "the address cannot be used".to_owned(),
        ureq::Error::Io(error) => tls::mistrust(error).unwrap_or_else(|| error.to_string()),
        error => error.to_string(),
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
}
