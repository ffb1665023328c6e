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
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};

use crate::{
    input::BODY_MAX,
    problem::{Code, Problem},
};

const HEADERS_MAX: usize = 16 * 1_024;
const URI_MAX: usize = 8 * 1_024;
/// Longer than a question waits for a read model.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Puts the edge around all routes.
pub fn around(router: Router) -> Router {
    let fixed = |name, value| {
        SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    router
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "this path knows other methods: see /openapi.json")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(bounded))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(counted))
        .layer(fixed("x-content-type-options", "nosniff"))
        .layer(fixed("content-security-policy", "default-src 'none'; frame-ancestors 'none'"))
        .layer(fixed("referrer-policy", "no-referrer"))
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

/// Neither too large nor too slow.
async fn bounded(request: Request, next: Next) -> Response {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    let uri = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if headers > HEADERS_MAX {
        return Problem::new(Code::TooLarge, format!("headers have at most {HEADERS_MAX} bytes")).into_response();
    }
    if uri > URI_MAX {
        return Problem::new(Code::TooLarge, format!("path and query have at most {URI_MAX} bytes")).into_response();
    }
    match tokio::time::timeout(ANSWER_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable().into_response(),
    }
}

/// By route, never by what was asked for: a path with an id would be a series of its own.
async fn counted(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", |path| path.as_str()).to_owned();
    let method = request.method().as_str().to_owned();
    let response = next.run(request).await;
    let labels = [("route", route), ("method", method), ("status", response.status().as_str().to_owned())];
    metrics::counter!("pipelabs_http_requests_total", &labels).increment(1);
    metrics::histogram!("pipelabs_http_request_seconds", &labels).record(started.elapsed());
    response
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!("a handler broke: {}", said.unwrap_or("it panicked"));
    Problem::internal().into_response()
}
