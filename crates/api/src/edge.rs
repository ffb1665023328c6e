//! What holds for every request: its size, its time, its count, and that whatever goes wrong is told in one form.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderName, HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use metrics::{SharedString, counter, histogram};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    input::BODY_MAX,
    problem::{Code, Problem},
};

const HEADERS_MAX: usize = 16 * 1_024;
const URI_MAX: usize = 8 * 1_024;
/// Longer than a question waits for a read model.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What every answer carries that says nothing else of it.
const FIXED: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Puts the edge around all routes: one layer, because each is passed by every request.
pub fn around(router: Router) -> Router {
    router
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "this path knows other methods: see /openapi.json")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(pass))
}

async fn pass(request: Request, next: Next) -> Response {
    let (started, route, method) = (Instant::now(), route(&request), method(&request));
    let mut response = match too_large(&request) {
        Some(problem) => problem.into_response(),
        None => match tokio::time::timeout(ANSWER_MAX, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::unavailable().into_response(),
        },
    };
    for (name, value) in FIXED {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    let status = response.status().as_str().to_owned();
    counter!("pipelabs_http_requests_total", "route" => route.clone(), "method" => method, "status" => status)
        .increment(1);
    histogram!("pipelabs_http_request_seconds", "route" => route).record(started.elapsed());
    response
}

/// By route, never by what was asked for: a path with an id would be a series of its own.
fn route(request: &Request) -> SharedString {
    let path = request.extensions().get::<MatchedPath>();
    path.map_or(SharedString::const_str("none"), |path| path.as_str().to_owned().into())
}

/// By name, as long as it is one that there is: anybody can make one up.
fn method(request: &Request) -> &'static str {
    let known = ["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|known| *known == request.method().as_str()).unwrap_or("other")
}

fn too_large(request: &Request) -> Option<Problem> {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    let told = |what: &str, most| Problem::new(Code::TooLarge, format!("{what} have at most {most} bytes"));
    match (headers > HEADERS_MAX, uri > URI_MAX) {
        (true, _) => Some(told("headers", HEADERS_MAX)),
        (_, true) => Some(told("path and query", URI_MAX)),
        (false, false) => None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!("a handler broke: {}", said.unwrap_or("it panicked"));
    Problem::internal().into_response()
}
