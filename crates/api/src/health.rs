//! For those who run it: whether it lives, whether it can answer, which build it is, what it counts.

use std::{fmt, sync::Arc};

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
    edge::Edge,
    problem::{Code, Problem},
    standing::Standings,
};

/// A database that was not seen for longer is as good as gone.
const UNSEEN_MAX_US: i64 = 5_000_000;

/// Something else that runs in this process, and can say in a line how it does.
#[derive(Clone)]
pub struct Beside(Arc<dyn Fn() -> String + Send + Sync>);

impl Beside {
    pub fn new(state: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(state))
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Beside({:?})", (self.0)())
    }
}

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

/// Whether it can answer: the database was seen within the last five seconds, and it is not about to end
///
/// The other lines say how what it can do without does.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses((status = 200, body = str)))]
async fn readyz(
    State(standings): State<Standings>,
    State(edge): State<Edge>,
    State(beside): State<Arc<[Beside]>>,
) -> Result<String, Problem> {
    if edge.is_ending() {
        return Err(Problem::new(Code::Unavailable, "this process is about to end: ask another"));
    }
    let standing = standings.now();
    let unseen = |at: Time| Time::now().micros() - at.micros() > UNSEEN_MAX_US;
    let seen = match standing.looked_at {
        Some(at) if !unseen(at) => format!("database: seen at {at}"),
        Some(at) => return Err(Problem::new(Code::Unavailable, format!("the database was not seen since {at}"))),
        None => return Err(Problem::new(Code::Unavailable, "the database was not seen yet")),
    };
    let behind = standing.lags().values().copied().max().unwrap_or_default();
    let models = format!("read models: {behind} events behind at most");
    let others = beside.iter().map(|Beside(state)| state());
    Ok(["ok".to_owned(), seen, models, edge.limits_state()].into_iter().chain(others).collect::<Vec<_>>().join("\n"))
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
