//! The HTTP side: who may call, which faults meet him, and the routes of all things merged.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::IntoResponse,
    routing::get,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

use crate::{
    accounts, archive, bots,
    broker::Broker,
    connectors, control, controllers,
    input::{Refused, answer},
    market_data, portfolio, trading,
    world::World,
};

/// What every call can reach.
#[derive(Clone)]
pub(crate) struct Worlds {
    pub world: Arc<Mutex<World>>,
    pub broker: Arc<Broker>,
    /// The value of the one `Authorization` header that opens everything.
    pub authorization: Arc<str>,
}

impl std::fmt::Debug for Worlds {
    /// The authorization is a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worlds").field("broker", &self.broker).finish_non_exhaustive()
    }
}

impl Worlds {
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        // A call that panicked in the middle is a bug that its own test shows; the world goes on.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn authorization(username: &str, password: &str) -> Arc<str> {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))).into()
}

/// The work was done; nobody is told.
#[derive(Debug, thiserror::Error)]
#[error("the connection was cut off before the answer")]
struct CutOff;

pub(crate) fn router(worlds: Worlds) -> Router {
    Router::new()
        .merge(accounts::routes())
        .merge(connectors::routes())
        .merge(portfolio::routes())
        .merge(trading::routes())
        .merge(controllers::routes())
        .merge(bots::routes())
        .merge(archive::routes())
        .merge(market_data::routes())
        .merge(control::routes())
        .route_layer(from_fn_with_state(worlds.clone(), authorized))
        .route("/", get(root))
        .fallback(async || Refused::missing("Not Found"))
        .method_not_allowed_fallback(async || Refused::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
        .with_state(worlds)
}

async fn root() -> impl IntoResponse {
    answer(StatusCode::OK, &json!({"name": "Hummingbot API", "version": "1.0.1", "status": "running"}))
}

async fn authorized(State(worlds): State<Worlds>, headers: HeaderMap, request: Request, next: Next) -> Response<Body> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let refused = match given {
        Some(given) if *given == *worlds.authorization => return next.run(request).await,
        Some(given) if given.starts_with("Basic ") => "Incorrect username or password",
        Some(_) | None => "Not authenticated",
    };
    let mut response = Refused::new(StatusCode::UNAUTHORIZED, refused).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    response
}

/// Answers until it is told to end. Connections that are open then end with it.
pub(crate) async fn serve(listener: TcpListener, worlds: Worlds, end: CancellationToken) {
    let router = router(worlds.clone());
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        if let Ok((stream, peer)) = accepted {
            let (router, worlds, end) = (router.clone(), worlds.clone(), end.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = end.cancelled() => {}
                    () = converse(stream, peer, router, worlds) => {}
                }
            });
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, worlds: Worlds) {
    let service = service_fn(|request| respond(request, router.clone(), worlds.clone()));
    if let Err(cause) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        debug!("the connection with {peer} ended: {cause}");
    }
}

async fn respond(request: Request<Incoming>, router: Router, worlds: Worlds) -> Result<Response<Body>, CutOff> {
    let path = request.uri().path().to_owned();
    // What steers the faults is never met by one.
    let spared = path.starts_with("/paper/");
    if !spared {
        let (late_ms, latency_ms, fails) = {
            let mut world = worlds.lock();
            (world.dice.late_ms(&path), world.dice.latency_ms(&path), world.dice.fails_in_200(&path))
        };
        if late_ms > 0 {
            return do_later(request, router, late_ms).await;
        }
        if latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(latency_ms.into())).await;
        }
        if fails {
            return Ok(answer(StatusCode::OK, &error_in_200(&path)));
        }
    }
    let response = router.oneshot(request.map(Body::new)).await.unwrap_or_else(|never| match never {});
    if !spared && worlds.lock().dice.cuts_off(&path) { Err(CutOff) } else { Ok(response) }
}

/// The call lands when nobody waits for it any more.
async fn do_later(request: Request<Incoming>, router: Router, late_ms: u32) -> Result<Response<Body>, CutOff> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(Body::new(body), usize::MAX).await.map_err(|_| CutOff)?;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(late_ms.into())).await;
        drop(router.oneshot(Request::from_parts(head, Body::from(body))).await);
    });
    Err(CutOff)
}

/// An error as the real server hides it in each kind of answer.
fn error_in_200(path: &str) -> Value {
    let message = "Internal error";
    let last = path.rsplit('/').next().unwrap_or_default();
    match last {
        "deploy-v2-controllers" | "deploy-v2-script" => json!({"success": false, "message": message}),
        "history" | "start-bot" | "stop-bot" => {
            json!({"status": "success", "response": {"success": false, "message": message}})
        }
        "status" => json!({"status": "success", "data": {"status": "not_found", "message": message}}),
        _ => json!({"status": "error", "message": message}),
    }
}
