//! The edge: who asks, what they want, one call, the answer or a problem.
//!
//! A question takes the way `who` (may they?) -> a handler -> `views` (is the answer ready, how old is it?) -> a query
//! function of `projections`. A command takes `who` -> a handler -> `wish` (done once) -> `domain` -> `store`.

#![allow(unused_qualifications, reason = "what utoipa's macros write is told of our own lines")]

mod admin;
mod agreements;
mod alert_rules;
mod alerts;
mod auth;
mod bots;
mod channels;
mod cookies;
mod credentials;
mod cursor;
mod deciding;
mod described;
mod desk_rules;
mod edge;
mod events;
mod exchanges;
mod fills;
mod grants;
mod health;
mod input;
mod json;
mod known;
mod leaving;
mod live;
mod looks;
mod manual;
mod onboarding;
mod openapi;
mod orders;
mod own;
mod page;
mod past;
mod people;
mod platform;
mod pnl;
mod portfolio;
mod problem;
mod programs;
mod reconciliation;
mod risk;
mod rule_trials;
mod schedules;
mod second_factor;
mod server;
mod sessions;
mod settings;
mod silences;
mod standing;
mod strict;
mod subscriptions;
mod trading;
mod uptime;
mod views;
mod whence;
mod who;
mod why;
mod wish;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use ::alerts::notify::guard::Guard;
use access::{Doorman, Gate, Looks, Register, SecondFactors, Sessions, Tokens};
use axum::{Router, extract::FromRef};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::SecretString;
use sqlx::PgPool;
use store::Streams;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vault::Vault;

pub use health::Beside;
pub use leaving::{Leaving, sweep};
pub use onboarding::{OnboardError, onboard};
pub use problem::{Code, Problem};
pub use settings::{CONNECTIONS_MAX, Ending, Hosts, Origins, Proxies, PublicUrl, RedisUrl, Settings, StrictRoles};

use cookies::Csrf;
use cursor::Cursors;
use edge::Edge;
use known::Known;
use live::Live;
use standing::Standings;
use subscriptions::Issuing;
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
    /// Where clients' channels may lead.
    pub guard: Guard,
    /// What clients' accounts on NATS follow from; absent where NATS has none.
    pub accounts: Option<relay::tenancy::keys::AccountKeys>,
    /// Tokens and cursors are signed with keys derived from it.
    pub secret: SecretString,
    pub settings: Settings,
    /// What else runs in this process, for `/readyz`.
    pub beside: Vec<Beside>,
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
    issuing: Issuing,
    guard: Guard,
    leaving: Leaving,
    known: Known,
    views: Views,
    live: Live,
    standings: Standings,
    cursors: Cursors,
    csrf: Csrf,
    doorman: Doorman,
    factors: SecondFactors,
    gate: Gate,
    looks: Looks,
    register: Register,
    sessions: Sessions,
    tokens: Tokens,
    metrics: PrometheusHandle,
    edge: Edge,
    beside: Arc<[Beside]>,
}

/// Every route, ready to be served, and what goes on beside them, until its end.
fn router(on: Foundation, ending: Ending) -> Router {
    let Foundation { streams, query, desk, auth, vault, guard, accounts, secret, settings, beside } = on;
    let standings = Standings::watch(desk.clone());
    let (cursors, tokens) = (Cursors::new(&secret), Tokens::new(&secret));
    let gate = Gate::watch(auth.clone(), tokens.clone(), &settings.second_factor_for.0);
    let register = Register::new(auth, streams.clone());
    tokio::spawn(register.clone().keep_on(ending.now.clone()));
    let leaving =
        Leaving { streams: streams.clone(), vault: vault.clone(), desk: desk.clone(), register: register.clone() };
    tokio::spawn(leaving.clone().keep_on(ending.now.clone()));
    let live = Live {
        query: query.clone(),
        desk: desk.clone(),
        standings: standings.clone(),
        cursors: cursors.clone(),
        gate: gate.clone(),
        stop: ending.now.clone(),
    };
    let parts = Everything {
        leaving,
        known: Known::new(streams.clone(), query.clone()),
        streams,
        vault,
        guard,
        issuing: Issuing(accounts.map(relay::Issuer::new)),
        views: Views::new(query, desk, standings.clone()),
        live,
        standings,
        cursors,
        csrf: Csrf::new(&secret),
        doorman: Doorman::new(register.clone()),
        factors: SecondFactors::new(register.clone(), &secret),
        gate,
        looks: Looks::start(register.clone(), ending.now.clone()),
        sessions: Sessions::new(register.clone(), tokens.clone()),
        register,
        tokens,
        metrics: recorder(),
        edge: Edge::new(&settings, ending),
        beside: beside.into(),
    };
    let (routes, _) = openapi::routes();
    edge::around(routes, Parts(Arc::new(parts)))
}

/// Serves until told to end, then finishes what is under way.
pub async fn serve(listener: TcpListener, on: Foundation, ending: Ending) {
    tokio::spawn(keep_up(recorder(), ending.now.clone()));
    let room = server::Room::new(&on.settings);
    server::serve(listener, router(on, ending.clone()), room, ending.now).await;
}

/// The description of the API, as JSON.
pub fn openapi() -> String {
    openapi::routes().1
}

/// The description of what is told on NATS, as JSON.
pub fn asyncapi() -> String {
    openapi::on_nats()
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
