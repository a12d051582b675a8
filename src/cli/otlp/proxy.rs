//! Which proxy a receiver is reached by. Only what is encrypted goes through one, by CONNECT: the name of the variable is
//! that of curl and of Go, and what is sent in the clear goes to no third party. Must not connect.

use super::Lookup;
use ureq::{Proxy, ProxyProtocol};

/// The first of these that is set names the proxy.
const VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
/// Hosts that are reached without.
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The proxy to this host, if there is one.
///
/// # Errors
/// Says which variable cannot be used, without what it holds: that may be a password.
pub fn to(host: &str, variable: Lookup<'_>) -> Result<Option<Proxy>, String> {
    let Some((name, text)) = VARIABLES.iter().find_map(|name| Some((name, variable(name)?))) else { return Ok(None) };
    let exceptions = EXCEPTIONS.iter().find_map(|name| variable(name)).unwrap_or_default();
    if is_local(host) || exceptions.split(',').any(|entry| is_excepted(host, entry.trim())) {
        return Ok(None);
    }
    match Proxy::new(text.trim()) {
        Ok(proxy) if matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https) => Ok(Some(proxy)),
        _ => Err(format!(
            "what `{name}` holds is no proxy that poolpick can use; hint: it is one as `http://proxy:3128`, or name \
             `{host}` in `NO_PROXY`"
        )),
    }
}

/// No proxy reaches this machine better than it does itself.
fn is_local(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// `*`, a host, or a domain with all hosts in it, with or without a dot before it.
fn is_excepted(host: &str, entry: &str) -> bool {
    if entry == "*" {
        return true;
    }
    let (host, domain) = (host.to_ascii_lowercase(), entry.trim_start_matches('*').trim_start_matches('.'));
    let domain = domain.to_ascii_lowercase();
    !domain.is_empty() && (host == domain || host.strip_suffix(&domain).is_some_and(|before| before.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(host: &str, set: &[(&str, &str)]) -> Option<String> {
        let with = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        to(host, &with).expect("usable").map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn a_proxy_is_taken_from_the_variable_of_https() {
        let own = ("HTTPS_PROXY", "http://p:1");
        assert_eq!(
            proxied("c.example", &[own, ("ALL_PROXY", "http://q:2"), ("HTTP_PROXY", "http://r:3")]).as_deref(),
            Some("p:1")
        );
        assert_eq!(proxied("c.example", &[("all_proxy", "q:2")]).as_deref(), Some("q:2"));
        assert_eq!(proxied("c.example", &[("HTTP_PROXY", "http://r:3")]), None);
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            assert_eq!(proxied(host, &[own]), None, "{host}");
        }
    }

    #[test]
    fn exceptions_are_hosts_and_domains() {
        for (exceptions, excepted) in [
            ("*", true),
            ("c.example", true),
            ("a, .example", true),
            ("*.example", true),
            ("EXAMPLE", true),
            ("ample", false),
            ("d.c.example", false),
            ("", false),
        ] {
            let found = proxied("c.example", &[("HTTPS_PROXY", "http://p:1"), ("no_proxy", exceptions)]);
            assert_eq!(found.is_none(), excepted, "{exceptions}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
        for text in ["socks5://u:secret@p", "http://u:secret@", "u:secret@p p"] {
            let with = |name: &str| (name == "ALL_PROXY").then(|| text.to_owned());
            let message = to("c.example", &with).expect_err("refused");
            assert!(message.contains("`ALL_PROXY`") && !message.contains("secret"), "{message}");
        }
    }
}
