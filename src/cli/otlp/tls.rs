//! Whose word is taken on who a receiver is: the system's certificates, or those of a file. Set up only for an address that
//! begins with `https:`. Must not connect.

use std::fs;
use std::sync::Arc;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// What the system trusts.
///
/// # Errors
/// Says that it trusts nothing, and what to do.
pub fn of_system() -> Result<RootCerts, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "no certificates are installed to know a receiver by{why}; hint: install `ca-certificates`, or name a file with \
             `OTEL_EXPORTER_OTLP_CERTIFICATE`"
        ));
    }
    Ok(found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect::<Vec<_>>().into())
}

/// What a file holds that a variable names.
///
/// # Errors
/// Says why it cannot be used.
pub fn of_file(variable: &str, path: &str) -> Result<RootCerts, String> {
    let wrong =
        |why: String| format!("`{path}`, which `{variable}` names, {why}; hint: it is a file of certificates in PEM");
    let text = fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let items = parse_pem(&text).collect::<Result<Vec<_>, _>>().map_err(|_| wrong("is damaged".to_owned()))?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(certificates.into())
}

/// How to speak TLS with whom these vouch for.
pub fn config(roots: &RootCerts) -> TlsConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    TlsConfig::builder().root_certs(roots.clone()).unversioned_rustls_crypto_provider(provider).build()
}

/// What TLS says of a receiver that is not who it should be; `None` for any other error.
pub fn mistrust(error: &std::io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(why) => format!(
            "its certificate is not trusted ({why}); that of an authority of your own is named by \
             `OTEL_EXPORTER_OTLP_CERTIFICATE`"
        ),
        other => format!("TLS: {other}"),
    })
}
