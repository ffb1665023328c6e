//! The rules of alerts about the platform itself, and with which numbers they work.

use std::collections::BTreeMap;

use alerts::Kind;
use axum::{
    RequestPartsExt,
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, request::Parts as Head},
    response::Response,
};
use domain::alert_rule::{AlertRule, RuleCommand};
use events::{ClientId, Decimal, RuleName, Time, alert::Scope};
use projections::alert_settings;
use serde::Deserialize;
use store::Streams;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    alert_rules::Listed,
    input::{Nothing, Query},
    own::OfClient,
    problem::Problem,
    views::{Asked, Views},
    who::{May, OfTheDesk, Tend},
    wish::{Done, Wish},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(all)).routes(routes!(configure, reset))
}

/// A rule about the platform.
#[derive(Debug, Clone, Copy)]
struct RuleOfTheDesk(&'static Kind);

impl OfClient for RuleOfTheDesk {
    fn client(&self) -> ClientId {
        ClientId::DESK
    }
}

impl FromRequestParts<Parts> for RuleOfTheDesk {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        OfTheDesk::from_request_parts(head, state).await?;
        let Path(name) = head.extract::<Path<String>>().await.map_err(|_| Problem::not_found())?;
        alerts::rule(&name).filter(|kind| kind.listens_to(true)).map(Self).ok_or_else(Problem::not_found)
    }
}

/// Every rule about the platform, its numbers, and what is said of them
#[utoipa::path(get, path = "/api/admin/alerts/rules", tag = "admin", responses((status = 200, body = Vec<Listed>)))]
async fn all(_: OfTheDesk, asked: Asked, _: Query<Nothing>, State(views): State<Views>) -> Result<Response, Problem> {
    views
        .answer_now(&asked, async |desk| {
            let said = alert_settings::of_desk(desk).await?;
            let kinds = alerts::rules().iter().filter(|kind| kind.listens_to(true));
            Ok(kinds.map(|kind| Listed::of(kind, &said)).collect::<Vec<_>>())
        })
        .await
}

/// What shall be said of a rule about the platform.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfigureDeskRule)]
struct ToSay {
    /// Whether it fires at all.
    on: bool,
    /// Those that are not named have their defaults.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Decimal>)]
    parameters: BTreeMap<String, Decimal>,
}

/// Configure a rule about the platform; this takes the place of what was said before
#[utoipa::path(put, path = "/api/admin/alerts/rules/{rule}", tag = "admin", request_body = ToSay,
    params(("rule" = RuleName, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn configure(
    own: May<Tend, RuleOfTheDesk>,
    State(streams): State<Streams>,
    wish: Wish<ToSay>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let ToSay { on, parameters } = wish.what.clone();
    let (rule, scope, known, names) = (own.0.rule(), Scope::default(), own.0.parameters, own.0.names);
    let command = RuleCommand::Configure { rule, scope, on, parameters, known, names, at: Time::now() };
    tell(&own, &streams, &wish, command).await
}

/// Say nothing of a rule about the platform any more
#[utoipa::path(delete, path = "/api/admin/alerts/rules/{rule}", tag = "admin",
    params(("rule" = RuleName, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn reset(
    own: May<Tend, RuleOfTheDesk>,
    State(streams): State<Streams>,
    wish: Wish<Nothing>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    tell(&own, &streams, &wish, RuleCommand::Reset { at: Time::now() }).await
}

async fn tell<T>(
    own: &May<Tend, RuleOfTheDesk>,
    streams: &Streams,
    wish: &Wish<T>,
    command: RuleCommand,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let id = AlertRule::id(&own.0.rule(), &Scope::default());
    let done = wish.carry_out::<AlertRule>(streams, own, &id, command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}
