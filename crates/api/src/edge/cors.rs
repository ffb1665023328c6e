//! Web pages elsewhere that may ask in their visitors' names: those that are named, and no others are told anything.

use std::str::FromStr;

use axum::{
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request},
    response::{IntoResponse, Response},
};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
/// What a page may send beside what every page may.
const SENT: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-none-match, last-event-id, x-csrf-token, x-request-id",
);
/// What a page may read of an answer.
const READ: HeaderValue = HeaderValue::from_static(
    "age, as-of-seq, etag, head-seq, ratelimit, ratelimit-policy, retry-after, stale, x-request-id",
);
const PREFLIGHT_KEPT_S: HeaderValue = HeaderValue::from_static("600");

/// Their origins, letter for letter as browsers write them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<HeaderValue>);

impl FromStr for Origins {
    type Err = String;

    /// Comma separated. There is no pattern for all: these pages act as whoever looks at them.
    fn from_str(text: &str) -> Result<Self, String> {
        let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        let told = |text: &str| format!("`{text}` is no origin: write https://desk.example, without a path");
        origins.map(|text| origin(text).ok_or_else(|| told(text))).collect::<Result<_, _>>().map(Self)
    }
}

fn origin(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let web = matches!(uri.scheme_str(), Some("https" | "http"));
    let bare = uri.authority().is_some_and(|authority| text.ends_with(&format!("://{authority}")));
    let written = !text.contains(['*', '@']) && text.to_ascii_lowercase() == text;
    (web && bare && written).then(|| HeaderValue::from_str(text).ok()).flatten()
}

impl Origins {
    /// The answer to a browser that asks whether a page may ask.
    pub fn preflight(&self, asked: &request::Parts) -> Option<Response> {
        let wanted = asked.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        self.allowed(&asked.headers).filter(|_| wanted && asked.method == Method::OPTIONS)?;
        let answer = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, SENT),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_KEPT_S),
        ];
        Some((StatusCode::NO_CONTENT, answer).into_response())
    }

    /// The origin of the page that asks, if it is one of them.
    pub fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.0.iter().find(|known| *known == origin).cloned()
    }

    /// Tells the browser that this page may read the answer, and caches that another may not.
    pub fn tell(&self, allowed: Option<HeaderValue>, headers: &mut HeaderMap) {
        if !self.0.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, READ);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_named_in_full() {
        let fine: Origins = "https://desk.example, http://localhost:5173".parse().unwrap();
        assert_eq!(fine.0, ["https://desk.example", "http://localhost:5173"]);
        assert_eq!("".parse(), Ok(Origins::default()));
        for bad in
            ["*", "null", "desk.example", "https://*.example", "https://a/", "https://a/b", "HTTPS://a", "ftp://a"]
        {
            assert!(bad.parse::<Origins>().is_err(), "{bad}");
        }
    }
}
