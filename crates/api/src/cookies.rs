//! What a browser keeps for us: two tokens that no script can read, and a value that only a page of ours can send back.
//!
//! `__Host-` cookies are set by this very host alone, over TLS, for all of it. They come along with whatever request a page
//! makes, so one that changes something has to bring the CSRF value in a header, too: it follows from the session, and a
//! page from elsewhere can neither read the cookie that tells it nor set the header.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use events::{SessionId, Time};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::problem::{Code, Problem};

const ACCESS: &str = "__Host-pipelabs-access";
const REFRESH: &str = "__Host-pipelabs-refresh";
const CSRF: &str = "__Host-pipelabs-csrf";
/// Where a request brings the CSRF value.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// The access token that a browser sent along.
pub fn access(headers: &HeaderMap) -> Option<&str> {
    read(headers, ACCESS)
}

/// The refresh token that a browser sent along.
pub fn refresh(headers: &HeaderMap) -> Option<&str> {
    read(headers, REFRESH)
}

fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value)
}

/// What a browser shall keep of a session.
#[derive(Debug)]
pub struct Kept<'a> {
    pub access: (&'a SecretString, Time),
    pub refresh: (&'a SecretString, Time),
    pub csrf: &'a str,
}

impl Kept<'_> {
    /// Into the headers of an answer.
    pub fn set(&self, headers: &mut HeaderMap, now: Time) {
        let (refresh, until) = self.refresh;
        set_access(headers, self.access, now);
        headers.append(header::SET_COOKIE, cookie(REFRESH, refresh.expose_secret(), seconds(until, now), true));
        // A page of ours reads it.
        headers.append(header::SET_COOKIE, cookie(CSRF, self.csrf, seconds(until, now), false));
    }
}

/// Another access token in the place of the one that is kept.
pub fn set_access(headers: &mut HeaderMap, (token, expires): (&SecretString, Time), now: Time) {
    headers.append(header::SET_COOKIE, cookie(ACCESS, token.expose_secret(), seconds(expires, now), true));
}

fn seconds(until: Time, now: Time) -> i64 {
    (until.micros() - now.micros()).max(0) / 1_000_000
}

/// Has a browser forget all of it.
pub fn clear(headers: &mut HeaderMap) {
    for name in [ACCESS, REFRESH, CSRF] {
        headers.append(header::SET_COOKIE, cookie(name, "", 0, name != CSRF));
    }
}

fn cookie(name: &str, value: &str, seconds: i64, hidden: bool) -> HeaderValue {
    let hidden = if hidden { "; HttpOnly" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; SameSite=Strict{hidden}");
    let mut value = HeaderValue::from_str(&text).expect("what we make is ASCII");
    value.set_sensitive(true);
    value
}

/// Makes CSRF values and checks them.
#[derive(Clone)]
pub struct Csrf {
    key: [u8; 32],
}

impl Csrf {
    pub fn new(secret: &SecretString) -> Self {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(b"pipelabs api"), secret.expose_secret().as_bytes())
            .expand(b"csrf", &mut key)
            .expect("32 bytes are within what HKDF gives");
        Self { key }
    }

    /// A session's value, the same for as long as it lasts.
    pub fn of(&self, session: SessionId) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.mac(session).finalize().into_bytes())
    }

    /// Whether a request that came with a session's cookie was made by a page of ours.
    pub fn check(&self, session: SessionId, headers: &HeaderMap) -> Result<(), Problem> {
        let given = headers.get(CSRF_HEADER).and_then(|given| BASE64_URL_SAFE_NO_PAD.decode(given).ok());
        let holds = given.is_some_and(|given| self.mac(session).verify_slice(&given).is_ok());
        if holds { Ok(()) } else { Err(refused()) }
    }

    fn mac(&self, session: SessionId) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length will do");
        mac.chain_update(session.0.as_bytes())
    }
}

fn refused() -> Problem {
    let detail = "send the value of the cookie __Host-pipelabs-csrf in the header X-CSRF-Token";
    Problem::new(Code::CsrfTokenMissing, detail)
}

impl std::fmt::Debug for Csrf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Csrf(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_among_others() {
        let sent = headers(header::COOKIE, &["a=1; x__Host-pipelabs-access=no", "b=2;__Host-pipelabs-access=yes=="]);
        assert_eq!(access(&sent), Some("yes=="));
        assert_eq!(refresh(&sent), None);
        assert_eq!(access(&HeaderMap::new()), None);
    }

    #[test]
    fn a_csrf_value_is_good_for_its_session_alone_and_only_whole() {
        let csrf = Csrf::new(&"0123456789-for-tests-only-abcdefgh".into());
        let (session, other) = (SessionId::new(), SessionId::new());
        let name = header::HeaderName::from_static(CSRF_HEADER);
        let value = csrf.of(session);
        let sent = headers(name.clone(), &[&value]);
        assert!(csrf.check(session, &sent).is_ok() && csrf.check(other, &sent).is_err());
        for bad in ["", "x", &value[1..], &format!("{value}A")] {
            assert!(csrf.check(session, &headers(name.clone(), &[bad])).is_err(), "{bad}");
        }
        assert!(csrf.check(session, &HeaderMap::new()).is_err());
    }

    #[test]
    fn tokens_are_kept_where_no_script_reads_them_and_forgotten_whole() {
        let (access, refresh) = (SecretString::from("aaa"), SecretString::from("rrr"));
        let now = Time::EPOCH;
        let kept = Kept { access: (&access, now.plus_micros(5_000_000)), refresh: (&refresh, now), csrf: "ccc" };
        let mut answer = HeaderMap::new();
        kept.set(&mut answer, now);
        let told: Vec<_> = answer.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
        let end = "Secure; SameSite=Strict";
        assert_eq!(
            told,
            [
                format!("__Host-pipelabs-access=aaa; Path=/; Max-Age=5; {end}; HttpOnly"),
                format!("__Host-pipelabs-refresh=rrr; Path=/; Max-Age=0; {end}; HttpOnly"),
                format!("__Host-pipelabs-csrf=ccc; Path=/; Max-Age=0; {end}"),
            ]
        );
        assert!(!format!("{answer:?}").contains("aaa"));
        let mut cleared = HeaderMap::new();
        clear(&mut cleared);
        assert_eq!(cleared.get_all(header::SET_COOKIE).iter().count(), 3);
    }
}
