//! How often each may ask: by who the token says they are and by what they ask for; those without one by their network.
//!
//! A request takes a place in every bucket that it belongs to: its user's and its client's, so that neither one user of a
//! client nor one client of the desk takes the others' time. Buckets fill again at a steady rate. They stand in this
//! process ([`local`]) or, where there is a Redis, in that for all processes ([`shared`]).

pub mod local;
pub mod quota;
pub mod shared;

use std::{net::IpAddr, time::Duration};

use axum::http::{HeaderMap, HeaderValue, Method};
use events::{ClientId, UserId, desk::Role};
use tokio_util::sync::CancellationToken;

use super::address::network;
use crate::problem::{Code, Problem};
use local::Local;
use quota::{Class, Party, Quota};
use shared::{RedisUrl, Shared};

/// Who asks, as far as limits and the log have to know.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    pub address: IpAddr,
    /// Absent without a token that counts.
    pub known: Option<KnownAsker>,
}

/// What a token that counts says of who asks.
#[derive(Debug, Clone, Copy)]
pub struct KnownAsker {
    pub user: UserId,
    /// Absent for somebody of the desk.
    pub client: Option<ClientId>,
    pub role: Role,
}

impl Asker {
    /// Whose requests are counted with this one's: its user's, or those of its network.
    pub fn key(&self) -> u128 {
        match &self.known {
            Some(known) => known.user.0.as_u128(),
            None => key_of(network(self.address)),
        }
    }

    /// The client of whom that user is one.
    pub fn client_key(&self) -> Option<u128> {
        self.known.as_ref()?.client.map(|client| client.0.as_u128())
    }
}

/// One of the buckets that a request takes a place in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    pub class: Class,
    pub party: Party,
    /// Of whom.
    pub key: u128,
}

/// A bucket after it was asked for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub quota: Quota,
    /// Places that are left.
    pub left: u32,
    /// Until there is one again; zero if there was one.
    pub wait: Duration,
}

/// Whether a request may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict(Vec<Level>);

/// The buckets.
#[derive(Debug)]
pub struct Limits {
    local: Local,
    shared: Option<Shared>,
}

impl Limits {
    /// Kept until `stop`.
    pub fn new(percent: u32, redis: Option<RedisUrl>, stop: &CancellationToken) -> Self {
        let local = Local::new(percent, redis.is_some());
        tokio::spawn(local.clone().forget_idle_ones(stop.clone()));
        Self { local, shared: redis.map(|redis| Shared::reach(redis, percent, stop.clone())) }
    }

    /// Takes a place in each bucket, if all have one.
    pub async fn take(&self, class: Class, asker: &Asker) -> Verdict {
        let buckets = buckets(class, asker);
        let shared = match &self.shared {
            Some(shared) => shared.take(&buckets).await,
            None => None,
        };
        shared.unwrap_or_else(|| self.local.take(&buckets))
    }

    /// Where the buckets are, for people.
    pub fn state(&self) -> String {
        match &self.shared {
            None => "limits: counted in this process alone, REDIS_URL is not set".to_owned(),
            Some(shared) => shared.state(),
        }
    }
}

fn buckets(class: Class, asker: &Asker) -> Vec<Bucket> {
    let of = |party, key| Bucket { class, party, key };
    // Whoever logs in is nobody yet, whatever else it sends.
    if asker.known.is_none() || class == Class::Login {
        return vec![of(Party::Network, key_of(network(asker.address)))];
    }
    let client = asker.client_key().map(|client| of(Party::Client, client));
    [of(Party::User, asker.key())].into_iter().chain(client).collect()
}

fn key_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Verdict {
    pub fn new(levels: Vec<Level>) -> Self {
        Self(levels)
    }

    /// Why the request may not pass.
    pub fn refusal(&self) -> Option<Problem> {
        let full = self.0.iter().filter(|level| !level.wait.is_zero()).max_by_key(|level| level.wait)?;
        let (name, pause_s) = (full.quota.name(), whole_seconds(full.wait));
        let detail = format!("{name} is used up: ask again in {pause_s} s, and less often");
        Some(Problem::new(Code::RateLimited, detail).retry_after(Duration::from_secs(pause_s)))
    }

    /// As draft-ietf-httpapi-ratelimit-headers-10 has it: what holds, and what is left of it.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let policy = |level: &Level| {
            let (name, burst, window_s) =
                (level.quota.name(), level.quota.burst, level.quota.refill(level.quota.burst.get()));
            format!("\"{name}\";q={burst};w={}", whole_seconds(window_s))
        };
        let left = |level: &Level| {
            let taken = level.quota.burst.get().saturating_sub(level.left);
            format!("\"{}\";r={};t={}", level.quota.name(), level.left, whole_seconds(level.quota.refill(taken)))
        };
        headers.insert("ratelimit-policy", list(self.0.iter().map(policy)));
        headers.insert("ratelimit", list(self.0.iter().map(left)));
    }
}

fn list(items: impl Iterator<Item = String>) -> HeaderValue {
    let text = items.collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&text).expect("names and numbers are ASCII")
}

/// Rounded up: who comes back after that has not come too early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

impl Class {
    /// What a request asks for. None: to know whether we live, which balancers ask, and nobody waits for.
    pub fn of(method: &Method, route: &str) -> Option<Self> {
        match (method, route) {
            (_, "/livez" | "/readyz") => None,
            (_, "/api/stream") => Some(Self::Stream),
            (&Method::GET | &Method::HEAD | &Method::OPTIONS, _) => Some(Self::Read),
            (_, route) if route.starts_with("/api/auth/") => Some(Self::Login),
            (_, _) => Some(Self::Command),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_how_long_to_wait_and_headers_say_what_is_left() {
        let quota = Quota::of(Class::Command, Party::User, 100);
        let level = |left, wait_ms| Level { quota, left, wait: Duration::from_millis(wait_ms) };
        let verdict = Verdict::new(vec![level(150, 0), level(0, 1_200)]);
        assert!(verdict.refusal().is_some() && Verdict::new(vec![level(150, 0)]).refusal().is_none());
        let mut headers = HeaderMap::new();
        verdict.tell(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"command-user\";q=200;w=10, \"command-user\";q=200;w=10");
        assert_eq!(headers["ratelimit"], "\"command-user\";r=150;t=3, \"command-user\";r=0;t=10");
    }

    #[test]
    fn who_has_no_token_shares_with_its_network_and_a_login_always_does() {
        let asker = |address: &str| Asker { address: address.parse().unwrap(), known: None };
        let one = buckets(Class::Read, &asker("203.0.113.7"));
        assert_eq!(one, buckets(Class::Read, &asker("::ffff:203.0.113.99")));
        assert_ne!(one, buckets(Class::Read, &asker("203.0.114.7")));
        assert_ne!(one, buckets(Class::Command, &asker("203.0.113.7")));
        assert_eq!(buckets(Class::Login, &asker("2001:db8:1:2::3")), buckets(Class::Login, &asker("2001:db8:1:9::9")));
        let known = KnownAsker { user: UserId::new(), client: Some(ClientId::new()), role: Role::ClientOwner };
        let someone = |address| Asker { known: Some(known), ..asker(address) };
        assert_eq!(buckets(Class::Read, &someone("203.0.113.7")), buckets(Class::Read, &someone("198.51.100.7")));
        assert_eq!(buckets(Class::Read, &someone("203.0.113.7")).len(), 2, "the user's and the client's");
        assert_eq!(buckets(Class::Login, &someone("203.0.113.7")), buckets(Class::Login, &asker("203.0.113.7")));
    }

    #[test]
    fn what_is_asked_for_follows_from_method_and_route() {
        let class = |method: &str, route| Class::of(&method.parse().unwrap(), route);
        assert_eq!(class("GET", "/readyz"), None);
        assert_eq!(class("GET", "/api/bots"), Some(Class::Read));
        assert_eq!(class("GET", "/api/stream"), Some(Class::Stream));
        assert_eq!(class("GET", "/api/auth/me"), Some(Class::Read));
        assert_eq!(class("POST", "/api/auth/login"), Some(Class::Login));
        assert_eq!(class("POST", "/api/bots"), Some(Class::Command));
        assert_eq!(class("BREW", "none"), Some(Class::Command));
    }
}
