//! What whoever runs the edge may choose: under which names it is reached, whom it believes, how much it takes.

use std::str::FromStr;

use axum::http::Uri;
use events::desk::Role;
use tokio_util::sync::CancellationToken;

pub use crate::edge::{address::Proxies, cors::Origins, hosts::Hosts, limits::shared::RedisUrl};

/// What may be chosen. The default fits a process that is reached directly, under any name.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How people reach it; with it, requests for any other host are refused.
    pub public_url: Option<PublicUrl>,
    /// Further names that it is reached under.
    pub hosts: Hosts,
    /// Web pages elsewhere that may ask in their visitors' names.
    pub origins: Origins,
    /// What they say of where a request comes from is believed.
    pub proxies: Proxies,
    /// Where the processes count together; each by itself, if absent.
    pub redis: Option<RedisUrl>,
    /// All rate limits as a part of their defaults.
    pub limits_percent: u32,
    pub connections_max: usize,
    /// Who of them may do nothing dangerous without a second factor.
    pub second_factor_for: StrictRoles,
}

/// Roles whose people show a second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrictRoles(pub Vec<Role>);

impl Default for StrictRoles {
    fn default() -> Self {
        Self(vec![Role::Admin])
    }
}

impl FromStr for StrictRoles {
    type Err = String;

    /// Names between commas, or `none`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self(Vec::new()));
        }
        let role = |name: &str| match name.trim() {
            "admin" => Ok(Role::Admin),
            "operator" => Ok(Role::Operator),
            "auditor" => Ok(Role::Auditor),
            "client_owner" => Ok(Role::ClientOwner),
            "client_viewer" => Ok(Role::ClientViewer),
            other => Err(format!("`{other}` is no role of a person: write admin,operator or none")),
        };
        text.split(',').map(role).collect::<Result<_, _>>().map(Self)
    }
}

/// Connections where nothing else is said.
pub const CONNECTIONS_MAX: usize = 4_096;

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: None,
            hosts: Hosts::default(),
            origins: Origins::default(),
            proxies: Proxies::default(),
            redis: None,
            limits_percent: 100,
            connections_max: CONNECTIONS_MAX,
            second_factor_for: StrictRoles::default(),
        }
    }
}

/// The address that people reach the edge at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    pub host: String,
    /// Over TLS alone, which a proxy before us speaks.
    pub https: bool,
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let told = || format!("`{text}` is no address of a site: write https://desk.example");
        let url: Uri = text.parse().map_err(|_| told())?;
        let https = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(told()),
        };
        let fine = ["", "/"].contains(&url.path()) && url.query().is_none() && !text.contains(['@', '#']);
        match url.host().filter(|host| fine && !host.is_empty()) {
            Some(host) => Ok(Self { host: host.to_ascii_lowercase(), https }),
            None => Err(told()),
        }
    }
}

/// How a process ends: it is said to be ending, so that balancers send nobody any more, and then it ends.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    pub soon: CancellationToken,
    pub now: CancellationToken,
}

impl Ending {
    /// Whether nobody new should come.
    pub fn is_near(&self) -> bool {
        self.soon.is_cancelled() || self.now.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_show_a_second_factor_are_named_or_none() {
        assert_eq!("none".parse(), Ok(StrictRoles(vec![])));
        assert_eq!("admin, client_owner".parse(), Ok(StrictRoles(vec![Role::Admin, Role::ClientOwner])));
        for bad in ["", "admins", "service", "admin;operator", "none,admin"] {
            assert!(bad.parse::<StrictRoles>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_public_url_is_a_scheme_and_a_host() {
        for (text, host, https) in [
            ("https://desk.example", "desk.example", true),
            ("https://Desk.Example/", "desk.example", true),
            ("http://127.0.0.1:8080", "127.0.0.1", false),
            ("https://[::1]:8443", "[::1]", true),
        ] {
            assert_eq!(text.parse(), Ok(PublicUrl { host: host.to_owned(), https }), "{text}");
        }
        for bad in
            ["", "desk.example", "ftp://desk.example", "https://", "https://a/b", "https://a?b", "https://u@a", "/"]
        {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }
}
