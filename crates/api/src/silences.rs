//! Silences: when nobody is to be called for which alerts. What is silent is evaluated and recorded as ever.

use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts as Head},
    response::Response,
};
use domain::{
    alert_rule::Names,
    silence::{Silence, SilenceCommand},
};
use events::{ClientId, RuleName, SilenceId, Time, alert::Scope};
use futures::FutureExt;
use projections::{
    alert_settings::{self, AlertSettings},
    projection::Projection,
};
use serde::{Deserialize, Serialize};
use store::Streams;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Nothing, Query},
    own::{OfClient, OwnClient, theirs},
    problem::{Code, Problem},
    views::{Asked, Views},
    who::{May, Tend},
    why::WhyOver,
    wish::{Done, Wish},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(all, set)).routes(routes!(end))
}

/// A silence of the client that is asked about, whatever became of it.
#[derive(Debug, Clone, Copy)]
pub struct OwnSilence {
    client: ClientId,
    silence: SilenceId,
}

impl OfClient for OwnSilence {
    fn client(&self) -> ClientId {
        self.client
    }
}

impl FromRequestParts<Parts> for OwnSilence {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let silence = theirs::<Silence, _>(client, head, state).await?;
        Ok(Self { client, silence })
    }
}

/// Silences of one client that last at the same time: each thing that could be told is held against each of them.
const SILENCES_MAX: i64 = 200;

/// The last 500 silences, the one that was set last first
#[utoipa::path(get, path = "/api/alerts/silences", tag = "alerts",
    responses((status = 200, body = Vec<alert_settings::Silence>)))]
async fn all(
    OwnClient(client): OwnClient,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer(asked, client, AlertSettings::NAME, |db| {
            async move { Ok(Some(alert_settings::silences(db, client).await?)) }.boxed()
        })
        .await
}

/// A silence to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSilence {
    /// Of this rule alone; of all, if left out.
    rule: Option<RuleName>,
    /// About what; about everything, if left out.
    #[serde(default)]
    scope: Scope,
    /// Within 30 days.
    until: Time,
    /// For the record; 1 to 500 characters.
    reason: String,
}

/// A silence that is.
#[derive(Debug, Serialize, ToSchema)]
struct SilenceSet {
    silence_id: SilenceId,
    #[serde(flatten)]
    done: Done,
}

/// Call nobody for some alerts until then
#[utoipa::path(post, path = "/api/alerts/silences", tag = "alerts", request_body = NewSilence,
    params(("Idempotency-Key" = String, Header)), responses((status = 201, body = SilenceSet)))]
async fn set(
    own: May<Tend, OwnClient>,
    State(streams): State<Streams>,
    State(views): State<Views>,
    wish: Wish<NewSilence>,
) -> Result<(StatusCode, axum::Json<SilenceSet>), Problem> {
    let NewSilence { rule, scope, until, reason } = wish.what.clone();
    let names = match &rule {
        Some(rule) => {
            let kind = alerts::rule(rule.as_str());
            kind.ok_or_else(|| Problem::invalid(format!("rule: there is no rule {rule}")))?.names
        }
        None => Names::BOTS_FEED,
    };
    names.include(&scope)?;
    let client = own.client();
    // The same wish names the same one.
    let silence_id = SilenceId::of(client, &wish.key);
    let others = views.read(client, |db| alert_settings::other_silences(db, client, silence_id, Time::now()).boxed());
    if others.await? >= SILENCES_MAX {
        return Err(Problem::new(
            Code::Conflict,
            format!("{SILENCES_MAX} silences last already: end some, or widen one"),
        ));
    }
    let command = SilenceCommand::Set { rule, scope, until, reason, at: Time::now() };
    let done = wish.carry_out::<Silence>(&streams, &own, &silence_id.to_string(), command).await?;
    Ok((StatusCode::CREATED, axum::Json(SilenceSet { silence_id, done })))
}

/// End a silence before its time
#[utoipa::path(delete, path = "/api/alerts/silences/{id}", tag = "alerts", request_body = WhyOver,
    params(("id" = SilenceId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn end(
    own: May<Tend, OwnSilence>,
    State(streams): State<Streams>,
    wish: Wish<WhyOver>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let command = SilenceCommand::End { reason: wish.what.reason.clone(), at: Time::now() };
    let done = wish.carry_out::<Silence>(&streams, &own, &own.silence.to_string(), command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}
