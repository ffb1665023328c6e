//! A request on its way, and the one line of the log that it leaves: who asked for which route, what came of it, how long
//! it took. Never what the request said: no path, no query, no header and no body.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::MatchedPath,
    http::{HeaderMap, HeaderValue, Response as HttpResponse, request},
    response::Response,
};
use events::{Uuid, desk::Role};
use hyper::body::{Frame, SizeHint};
use metrics::{SharedString, counter, histogram};

use super::{
    limits::{Asker, Verdict},
    seats::Seat,
};

/// By which a request is found again in every log, the caller's too.
pub const REQUEST_ID: &str = "x-request-id";
const REQUEST_ID_MAX: usize = 64;

/// One request; told when it is dropped.
#[derive(Debug)]
pub struct Passage {
    started: Instant,
    pub id: String,
    pub method: &'static str,
    pub route: SharedString,
    pub asker: Asker,
    /// What is left of its limits; absent where none held.
    pub verdict: Option<Verdict>,
    /// Absent if the caller hung up before.
    status: Option<u16>,
    bytes: u64,
    /// Kept until the answer was sent.
    pub held: Vec<Seat<u128>>,
}

impl Passage {
    pub fn begin(head: &request::Parts, asker: Asker) -> Self {
        Self {
            started: Instant::now(),
            id: id(&head.headers),
            method: method(head),
            route: route(head),
            asker,
            verdict: None,
            status: None,
            bytes: 0,
            held: Vec::new(),
        }
    }

    /// Goes with the answer until that is sent.
    pub fn with(mut self, response: Response) -> Response {
        let status = response.status();
        self.status = Some(status.as_u16());
        let (route, method, status) = (self.route.clone(), self.method, status.as_str().to_owned());
        counter!("pipelabs_http_requests_total", "route" => route.clone(), "method" => method, "status" => status)
            .increment(1);
        histogram!("pipelabs_http_request_seconds", "route" => route).record(self.started.elapsed());
        HttpResponse::map(response, |body| Body::new(Sent { body, passage: self }))
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let (method, route, status, known) = (self.method, &*self.route, self.status, self.asker.known.as_ref());
        let said = status.map_or("hung up".to_owned(), |status| status.to_string());
        tracing::info!(
            target: "pipelabs::request",
            {
            request.id = self.id,
            user.id = known.map(|known| tracing::field::display(known.user)),
            role = known.map(|known| name_of(known.role)),
            client.id = known.and_then(|known| known.client).map(tracing::field::display),
            address = %self.asker.address,
            method,
            route,
            status,
            time_ms = self.started.elapsed().div_duration_f64(Duration::from_millis(1)),
            bytes = self.bytes,
            },
            "{method} {route}: {said}"
        );
    }
}

/// An answer on its way out.
struct Sent {
    body: Body,
    passage: Passage,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.passage.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The caller's own, if it is a plain short word, or a new one.
fn id(headers: &HeaderMap) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let given = headers.get(REQUEST_ID).map(HeaderValue::as_bytes).unwrap_or_default();
    match (1..=REQUEST_ID_MAX).contains(&given.len()) && given.iter().copied().all(plain) {
        true => String::from_utf8_lossy(given).into_owned(),
        false => Uuid::now_v7().simple().to_string(),
    }
}

/// As events and answers call it.
fn name_of(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Operator => "operator",
        Role::Auditor => "auditor",
        Role::ClientOwner => "client_owner",
        Role::ClientViewer => "client_viewer",
        Role::Service => "service",
    }
}

/// By route, never by what was asked for: a path may hold anything, and one with an id would be a series of its own.
fn route(head: &request::Parts) -> SharedString {
    let path = head.extensions.get::<MatchedPath>();
    path.map_or(SharedString::const_str("none"), |path| path.as_str().to_owned().into())
}

/// By name, as long as it is one that there is: anybody can make one up.
fn method(head: &request::Parts) -> &'static str {
    let known = ["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|known| *known == head.method.as_str()).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_a_plain_short_id_and_gets_one_in_place_of_any_other() {
        let id_for = |given: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
            id(&headers)
        };
        for fine in ["a", "7f3a-B_c.9", &"x".repeat(64)] {
            assert_eq!(id_for(fine.as_bytes()), fine);
        }
        for odd in [&b""[..], b"a b", b"a\"b", b"{}", b"a,b", b"\xfc", b"me@example", "x".repeat(65).as_bytes()] {
            assert_eq!(id_for(odd).len(), 32, "{odd:?}");
        }
        assert_ne!(id(&HeaderMap::new()), id(&HeaderMap::new()));
    }
}
