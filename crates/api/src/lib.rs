//! The edge: who asks, what they want, one call, the answer or a problem.
//!
//! A question takes the way `who` (may they?) -> a handler -> `views` (is the answer ready, how old is it?) -> a query
//! function of `projections`. A command takes `who` -> a handler -> `wish` (done once) -> `domain` -> `store`.

#![allow(unused_qualifications, reason = "what utoipa's macros write is told of our own lines")]

mod admin;
mod auth;
mod bots;
mod cookies;
mod credentials;
mod cursor;
mod described;
mod edge;
mod events;
mod exchanges;
mod fills;
mod health;
mod input;
mod json;
mod known;
mod leaving;
mod live;
mod manual;
mod onboarding;
mod openapi;
mod orders;
mod page;
mod past;
mod pnl;
mod portfolio;
mod problem;
mod reconciliation;
mod risk;
mod server;
mod sessions;
mod standing;
mod strict;
mod uptime;
mod views;
mod whence;
mod who;
mod wish;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use access::{Doorman, Gate, Register, Sessions, Tokens};
use axum::{Router, extract::FromRef};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::SecretString;
use sqlx::PgPool;
use store::Streams;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vault::Vault;

pub use leaving::{Leaving, sweep};
pub use onboarding::{OnboardError, onboard};
pub use problem::{Code, Problem};

use cookies::Csrf;
use cursor::Cursors;
use known::Known;
use live::Live;
use standing::Standings;
use views::Views;

const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// What the edge stands on.
#[derive(Debug)]
pub struct Foundation {
    pub streams: Streams,
    /// Connections of logins `query`, `admin_query` and `auth`.
    pub query: PgPool,
    pub desk: PgPool,
    pub auth: PgPool,
    pub vault: Vault,
    /// Tokens and cursors are signed with keys derived from it.
    pub secret: SecretString,
}

/// What handlers may ask for, each only what it names. It is cloned for every request, so it is one reference.
#[derive(Debug, Clone)]
pub(crate) struct Parts(Arc<Everything>);

macro_rules! everything {
    ($($name:ident: $part:ty,)+) => {
        #[derive(Debug)]
        struct Everything {
            $($name: $part,)+
        }

        $(impl FromRef<Parts> for $part {
            fn from_ref(parts: &Parts) -> Self {
                parts.0.$name.clone()
            }
        })+
    };
}

everything! {
    streams: Streams,
    vault: Vault,
    leaving: Leaving,
    known: Known,
    views: Views,
    live: Live,
    standings: Standings,
    cursors: Cursors,
    csrf: Csrf,
    doorman: Doorman,
    gate: Gate,
    register: Register,
    sessions: Sessions,
    tokens: Tokens,
    metrics: PrometheusHandle,
}

/// Every route, ready to be served, and what goes on beside them, until `stop`.
pub fn router(on: Foundation, stop: CancellationToken) -> Router {
    let Foundation { streams, query, desk, auth, vault, secret } = on;
    let standings = Standings::watch(desk.clone());
    let (cursors, tokens) = (Cursors::new(&secret), Tokens::new(&secret));
    let gate = Gate::watch(auth.clone(), tokens.clone());
    let register = Register::new(auth.clone(), streams.clone());
    tokio::spawn(register.clone().keep_on(stop.clone()));
    let leaving =
        Leaving { streams: streams.clone(), vault: vault.clone(), desk: desk.clone(), register: register.clone() };
    tokio::spawn(leaving.clone().keep_on(stop.clone()));
    let live = Live {
        query: query.clone(),
        desk: desk.clone(),
        standings: standings.clone(),
        cursors: cursors.clone(),
        gate: gate.clone(),
        stop,
    };
    let parts = Everything {
        leaving,
        known: Known::new(streams.clone(), query.clone()),
        streams,
        vault,
        views: Views::new(query, desk, standings.clone()),
        live,
        standings,
        cursors,
        csrf: Csrf::new(&secret),
        doorman: Doorman::new(auth),
        gate,
        sessions: Sessions::new(register.clone(), tokens.clone()),
        register,
        tokens,
        metrics: recorder(),
    };
    let (routes, _) = openapi::routes();
    edge::around(routes.with_state(Parts(Arc::new(parts))))
}

/// Serves until told to stop, then finishes what is under way.
pub async fn serve(listener: TcpListener, on: Foundation, stop: CancellationToken) {
    tokio::spawn(keep_up(recorder(), stop.clone()));
    server::serve(listener, router(on, stop.clone()), stop).await;
}

/// The description of the API, as JSON.
pub fn openapi() -> String {
    openapi::routes().1
}

/// Everything that this process counts; there is one recorder a process.
fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || PrometheusBuilder::new().install_recorder().expect("nobody else counts in this process");
    RECORDER.get_or_init(install).clone()
}

/// Folds what was measured now and then: what nobody asks for would fill the memory.
async fn keep_up(metrics: PrometheusHandle, stop: CancellationToken) {
    while !stop.is_cancelled() {
        metrics.run_upkeep();
        tokio::select! { () = tokio::time::sleep(UPKEEP_EVERY) => {}, () = stop.cancelled() => {} }
    }
}
