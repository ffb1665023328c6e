//! The names that the edge is reached under. A page of elsewhere that has its own name point at us, or a cache that is
//! asked for another, gets nothing.

use std::str::FromStr;

use axum::http::{HeaderMap, Uri, header, uri::Authority};

use crate::settings::PublicUrl;

/// This machine's own, and the one under which Railway asks whether we live.
const ALWAYS: [&str; 4] = ["localhost", "127.0.0.1", "[::1]", "healthcheck.railway.app"];

/// Names, without ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl FromStr for Hosts {
    type Err = String;

    /// Comma separated.
    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let told = |name: &str| format!("`{name}` is no name of a host: write desk.example");
        names
            .map(|name| host(name).filter(|_| !name.contains('*')).ok_or_else(|| told(name)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Hosts {
    /// All names of an edge that is reached at `public`; any, where that is not said.
    pub fn of(public: Option<&PublicUrl>, more: &Self) -> Option<Self> {
        let public = public?.host.clone();
        let always = ALWAYS.into_iter().map(str::to_owned);
        Some(Self(always.chain([public]).chain(more.0.iter().cloned()).collect()))
    }

    /// Whether a request is for one of them. One for several names at once is for none.
    pub fn know(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut named = headers.get_all(header::HOST).into_iter();
        let named = match (uri.authority(), named.next(), named.next()) {
            (Some(authority), _, None) => host(authority.as_str()),
            (None, Some(one), None) => one.to_str().ok().and_then(host),
            (_, None, _) | (_, _, Some(_)) => None,
        };
        named.is_some_and(|named| self.0.contains(&named))
    }
}

/// The name alone, as it is compared.
fn host(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    (!host.is_empty() && !text.contains('@')).then_some(host)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn known(uri: &str, hosts: &[&str]) -> bool {
        let public = "https://desk.example".parse().unwrap();
        let all = Hosts::of(Some(&public), &"other.example, [fd00::1]".parse().unwrap()).unwrap();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        all.know(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn a_request_names_one_host_that_is_ours() {
        for host in ["desk.example", "DESK.example:443", "desk.example.", "localhost:8080", "127.0.0.1", "[::1]:8080"] {
            assert!(known("/", &[host]), "{host}");
        }
        assert!(
            known("/", &["healthcheck.railway.app"]) && known("/", &["other.example"]) && known("/", &["[fd00::1]"])
        );
        assert!(known("http://desk.example/", &[]) && known("http://desk.example/", &["desk.example"]));
        for host in
            ["", "evil.example", "desk.example.evil.example", "u@desk.example", "desk.example/x", "xdesk.example"]
        {
            assert!(!known("/", &[host]), "{host}");
        }
        assert!(!known("/", &[]) && !known("/", &["desk.example", "evil.example"]), "none, and several");
        assert!(!known("http://evil.example/", &["desk.example"]), "what is asked for counts");
    }

    #[test]
    fn without_a_public_url_every_name_will_do_and_names_are_no_patterns() {
        assert_eq!(Hosts::of(None, &"desk.example".parse().unwrap()), None);
        for bad in ["*", "*.example", "https://desk.example", "a b"] {
            assert!(bad.parse::<Hosts>().is_err(), "{bad}");
        }
    }
}
