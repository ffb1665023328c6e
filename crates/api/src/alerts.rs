//! Alerts: which there are, how each came about, and who looks after them. They are evaluated elsewhere (`crates/alerts`);
//! what is wanted here is recorded and read by that.

use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts as Head},
    response::Response,
};
use domain::alert::{Alert, AlertCommand};
use events::{AlertId, BotId, ClientId, Exchange, Pair, RuleName, Slug, Time, alert::Severity};
use futures::FutureExt;
use projections::{
    alerts::{self, Alerts, Episode, Line, State as AlertState},
    projection::Projection,
};
use serde::{Deserialize, Serialize};
use store::Streams;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    cursor::Cursors,
    input::Query,
    known::Known,
    own::{OfClient, OwnClient, theirs},
    page::{Limit, Page},
    problem::Problem,
    views::{Asked, Views},
    who::{May, OfTheDesk, Tend},
    wish::{Done, Wish},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(page))
        .routes(routes!(one))
        .routes(routes!(acknowledge))
        .routes(routes!(silence))
        .routes(routes!(of_all))
        .routes(routes!(of_the_desk))
}

/// An alert of the client that is asked about, whichever episode it is in.
#[derive(Debug, Clone, Copy)]
pub struct OwnAlert {
    client: ClientId,
    alert: AlertId,
}

impl OfClient for OwnAlert {
    fn client(&self) -> ClientId {
        self.client
    }
}

impl FromRequestParts<Parts> for OwnAlert {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let alert = theirs::<Alert, _>(client, head, state).await?;
        Ok(Self { client, alert })
    }
}

/// Which episodes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    state: Option<AlertState>,
    severity: Option<Severity>,
    rule: Option<RuleName>,
    bot: Option<BotId>,
    exchange: Option<Exchange>,
    pair: Option<Pair>,
    /// Those that fired then or later.
    from: Option<Time>,
    /// Those that fired before.
    to: Option<Time>,
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// Episodes of alerts, the one that fired last first
#[utoipa::path(get, path = "/api/alerts", tag = "alerts", params(Which),
    responses((status = 200, body = Page<Episode>)))]
async fn page(
    OwnClient(client): OwnClient,
    asked: Asked,
    Query(which): Query<Which>,
    State(views): State<Views>,
    State(cursors): State<Cursors>,
) -> Result<Response, Problem> {
    let question = asked.without_cursor();
    let Which { state, severity, rule, bot, exchange, pair, from, to, limit, cursor } = which;
    let before = cursor.map(|cursor| cursors.open(client, &question, &cursor)).transpose()?;
    let most = limit.and_one();
    let which = alerts::Which { state, severity, rule, bot, exchange, pair, from, to, before, most };
    views
        .answer(asked, client, Alerts::NAME, |db| {
            async move {
                let found = alerts::of_client(db, client, &which).await?;
                Ok(Some(Page::new(found, limit, &cursors, client, &question, |one| one.fired_seq)))
            }
            .boxed()
        })
        .await
}

/// Which part of a history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Older {
    /// What was told before this event: the `seq` of the last line that was shown.
    before_seq: Option<u64>,
}

/// One alert: its last 100 episodes, the newest first, and the last 500 things that were told of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertHistory)]
struct History {
    episodes: Vec<Episode>,
    timeline: Vec<Line>,
}

/// One alert with its timeline and evidence
#[utoipa::path(get, path = "/api/alerts/{id}", tag = "alerts", params(("id" = AlertId, Path), Older),
    responses((status = 200, body = History)))]
async fn one(
    OwnAlert { client, alert }: OwnAlert,
    asked: Asked,
    Query(Older { before_seq }): Query<Older>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer(asked, client, Alerts::NAME, |db| {
            async move {
                let found = alerts::one(db, client, alert, before_seq).await?;
                Ok(found.map(|(episodes, timeline)| History { episodes, timeline }))
            }
            .boxed()
        })
        .await
}

/// That somebody looks after it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Acknowledge {
    /// Until when, within 30 days; to the end of the episode, if left out.
    until: Option<Time>,
    /// For the record; 500 characters at most.
    note: String,
}

impl Default for Acknowledge {
    fn default() -> Self {
        Self { until: None, note: "seen".to_owned() }
    }
}

impl Acknowledge {
    /// What is wanted, from now on.
    pub fn command(&self) -> AlertCommand {
        AlertCommand::Acknowledge { until: self.until, note: self.note.clone(), at: Time::now() }
    }
}

/// Look after an alert: nobody is called for it again, unless it becomes worse
#[utoipa::path(post, path = "/api/alerts/{id}/acknowledge", tag = "alerts", request_body = Acknowledge,
    params(("id" = AlertId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn acknowledge(
    own: May<Tend, OwnAlert>,
    State(streams): State<Streams>,
    wish: Wish<Acknowledge>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let done = wish.carry_out::<Alert>(&streams, &own, &own.alert.to_string(), wish.what.command()).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

/// Until when nobody is called.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SilenceAlert)]
pub struct Snooze {
    /// Within 30 days.
    until: Time,
    /// For the record; 500 characters at most.
    #[serde(default)]
    note: String,
}

impl Snooze {
    /// What is wanted, from now on.
    pub fn command(&self) -> AlertCommand {
        AlertCommand::Silence { until: self.until, note: self.note.clone(), at: Time::now() }
    }
}

/// Call nobody for an alert until then, whatever becomes of it; it is evaluated and recorded as ever
#[utoipa::path(post, path = "/api/alerts/{id}/silence", tag = "alerts", request_body = Snooze,
    params(("id" = AlertId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn silence(
    own: May<Tend, OwnAlert>,
    State(streams): State<Streams>,
    wish: Wish<Snooze>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let done = wish.carry_out::<Alert>(&streams, &own, &own.alert.to_string(), wish.what.command()).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

/// Which episodes, of all clients.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WhichOfAll {
    state: Option<AlertState>,
    severity: Option<Severity>,
    rule: Option<RuleName>,
    /// Of this client alone.
    of: Option<Slug>,
    bot: Option<BotId>,
    exchange: Option<Exchange>,
    pair: Option<Pair>,
    /// Those that fired then or later.
    from: Option<Time>,
    /// Those that fired before.
    to: Option<Time>,
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// Episodes of all clients' alerts, the one that fired last first
#[utoipa::path(get, path = "/api/admin/alerts", tag = "admin", params(WhichOfAll),
    responses((status = 200, body = Page<Episode>)))]
async fn of_all(
    _: OfTheDesk,
    asked: Asked,
    Query(which): Query<WhichOfAll>,
    State(known): State<Known>,
    State(views): State<Views>,
    State(cursors): State<Cursors>,
) -> Result<Response, Problem> {
    let question = asked.without_cursor();
    let WhichOfAll { state, severity, rule, of, bot, exchange, pair, from, to, limit, cursor } = which;
    let after = cursor.map(|cursor| cursors.open(ClientId::DESK, &question, &cursor)).transpose()?;
    let client = match of {
        Some(slug) => Some(known.client_of(&slug).await?.ok_or_else(Problem::not_found)?),
        None => None,
    };
    let most = limit.and_one();
    let which = alerts::Which { state, severity, rule, bot, exchange, pair, from, to, before: None, most };
    views
        .answer_desk(asked, &[Alerts::NAME], move |db| {
            async move {
                let found = alerts::of_all(db, &which, client, after).await?;
                Ok(Page::new(found, limit, &cursors, ClientId::DESK, &question, Episode::place))
            }
            .boxed()
        })
        .await
}

/// Which of the desk's own.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WhichOfTheDesk {
    state: Option<AlertState>,
    severity: Option<Severity>,
    rule: Option<RuleName>,
    /// Those that fired then or later.
    from: Option<Time>,
    /// Those that fired before.
    to: Option<Time>,
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// Alerts about the platform itself, which are no client's
#[utoipa::path(get, path = "/api/admin/alerts/platform", tag = "admin", params(WhichOfTheDesk),
    responses((status = 200, body = Page<Episode>)))]
async fn of_the_desk(
    _: OfTheDesk,
    asked: Asked,
    Query(WhichOfTheDesk { state, severity, rule, from, to, limit, cursor }): Query<WhichOfTheDesk>,
    State(views): State<Views>,
    State(cursors): State<Cursors>,
) -> Result<Response, Problem> {
    let question = asked.without_cursor();
    let before = cursor.map(|cursor| cursors.open(ClientId::DESK, &question, &cursor)).transpose()?;
    let most = limit.and_one();
    let which = alerts::Which { state, severity, rule, from, to, before, most, ..alerts::Which::default() };
    views
        .answer_now(&asked, async |desk| {
            let found = alerts::of_desk(desk, &which).await?;
            Ok(Page::new(found, limit, &cursors, ClientId::DESK, &question, |one| one.fired_seq))
        })
        .await
}
