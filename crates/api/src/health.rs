//! For those who run it: whether it lives, whether it can answer, which build it is, what it counts.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use events::Time;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    problem::{Code, Problem},
    standing::Standings,
};

/// A database that was not seen for longer is as good as gone.
const UNSEEN_MAX_US: i64 = 5_000_000;

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .routes(routes!(version))
        .routes(routes!(metrics))
}

/// Whether the process lives
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses((status = 200, body = str)))]
async fn livez() -> &'static str {
    "ok"
}

/// Whether it can answer: the database was seen within the last five seconds
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses((status = 200, body = str)))]
async fn readyz(State(standings): State<Standings>) -> Result<&'static str, Problem> {
    let unseen = |at: Time| Time::now().micros() - at.micros() > UNSEEN_MAX_US;
    match standings.now().looked_at {
        Some(at) if !unseen(at) => Ok("ok"),
        Some(at) => Err(Problem::new(Code::Unavailable, format!("the database was not seen since {at}"))),
        None => Err(Problem::new(Code::Unavailable, "the database was not seen yet")),
    }
}

/// Which build answers.
#[derive(Debug, Serialize, ToSchema)]
struct Version {
    version: &'static str,
    /// As it stands in the events that it writes.
    build: &'static str,
}

/// Which build this is
#[utoipa::path(get, path = "/version", tag = "health", security(()), responses((status = 200, body = Version)))]
async fn version() -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION"), build: store::BUILD })
}

/// Counters and gauges, as Prometheus reads them
#[utoipa::path(get, path = "/metrics", tag = "health", security(()), responses((status = 200, body = str)))]
async fn metrics(State(metrics): State<PrometheusHandle>, State(standings): State<Standings>) -> Response {
    let standing = standings.now();
    for (model, lag) in standing.lags() {
        ::metrics::gauge!("pipelabs_projection_lag_events", "projection" => model).set(lag as f64);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()).into_response()
}
