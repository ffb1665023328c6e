//! The rules of alerts: which there are, and with which numbers they work.

use std::collections::BTreeMap;

use alerts::Kind;
use axum::{
    RequestPartsExt,
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, request::Parts as Head},
    response::Response,
};
use domain::alert_rule::{AlertRule, RuleCommand};
use events::{BotId, ClientId, Decimal, RuleName, Time, alert::Scope};
use futures::FutureExt;
use projections::{
    alert_settings::{self, AlertSettings, Said},
    projection::Projection,
};
use serde::{Deserialize, Serialize};
use store::Streams;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Nothing, Query},
    known::Known,
    own::{OfClient, OwnClient},
    problem::{Code, Problem},
    views::{Asked, Views},
    who::{May, Tend},
    wish::{Done, Wish},
};

/// Things for which something is said of rules, of one client: each number of a rule is looked for among them.
const SCOPES_MAX: i64 = 500;

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(all)).routes(routes!(configure, reset))
}

/// A rule that there is, and the client whose rules are spoken of.
#[derive(Debug, Clone, Copy)]
pub struct OwnRule {
    pub client: ClientId,
    pub kind: &'static Kind,
}

impl OfClient for OwnRule {
    fn client(&self) -> ClientId {
        self.client
    }
}

impl FromRequestParts<Parts> for OwnRule {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let Path(name) = head.extract::<Path<String>>().await.map_err(|_| Problem::not_found())?;
        let kind = alerts::rule(&name).filter(|kind| kind.listens_to(false)).ok_or_else(Problem::not_found)?;
        Ok(Self { client, kind })
    }
}

/// A rule, and what is said of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertRule)]
pub struct Listed {
    rule: RuleName,
    version: u32,
    /// What it watches.
    about: &'static str,
    parameters: Vec<Number>,
    /// What a scope of it can name.
    names: Vec<&'static str>,
    /// What is said of it for all of the client's things, or for some; the narrowest counts.
    said: Vec<Said>,
}

/// A number that a rule works with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RuleParameter)]
struct Number {
    name: &'static str,
    about: &'static str,
    unit: &'static str,
    least: &'static str,
    most: &'static str,
    /// What it is where nothing is said.
    default: &'static str,
    /// The numbers of the same rule that it is no more than, and no less than.
    up_to: Option<&'static str>,
    from: Option<&'static str>,
}

/// Every rule, its numbers, and what is said of them
#[utoipa::path(get, path = "/api/alerts/rules", tag = "alerts", responses((status = 200, body = Vec<Listed>)))]
async fn all(
    OwnClient(client): OwnClient,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer(asked, client, AlertSettings::NAME, |db| {
            async move {
                let said = alert_settings::rules(db, client).await?;
                let kinds = alerts::rules().iter().filter(|kind| kind.listens_to(false));
                Ok(Some(kinds.map(|kind| Listed::of(kind, &said)).collect::<Vec<_>>()))
            }
            .boxed()
        })
        .await
}

impl Listed {
    pub fn of(kind: &'static Kind, said: &[Said]) -> Self {
        let rule = kind.rule();
        let number = |parameter: &domain::alert_rule::Parameter| {
            let domain::alert_rule::Parameter { name, about, unit, least, most, default, up_to, from } = *parameter;
            Number { name, about, unit, least, most, default, up_to, from }
        };
        Self {
            version: kind.version,
            about: kind.about,
            parameters: kind.parameters.iter().map(number).collect(),
            names: kind.names.words(),
            said: said.iter().filter(|said| said.rule == rule).cloned().collect(),
            rule,
        }
    }
}

/// What shall be said of a rule.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfigureRule)]
struct ToSay {
    /// For what it counts; all of the client's things, if left out.
    #[serde(default)]
    scope: Scope,
    /// Whether it fires at all.
    #[serde(default = "yes")]
    on: bool,
    /// Those that are not named have their defaults, or what is said for something wider.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Decimal>)]
    parameters: BTreeMap<String, Decimal>,
}

fn yes() -> bool {
    true
}

/// Configure a rule for all of a client's things, or for some; this takes the place of what was said for the same before
#[utoipa::path(put, path = "/api/alerts/rules/{rule}", tag = "alerts", request_body = ToSay,
    params(("rule" = RuleName, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn configure(
    own: May<Tend, OwnRule>,
    State(streams): State<Streams>,
    State(known): State<Known>,
    State(views): State<Views>,
    wish: Wish<ToSay>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let ToSay { scope, on, parameters } = wish.what.clone();
    is_own(&known, own.client, scope.bot).await?;
    let (rule, known, names) = (own.kind.rule(), own.kind.parameters, own.kind.names);
    let (client, id) = (own.client, AlertRule::id(&rule, &scope));
    let beside = id.clone();
    let others =
        views.read(client, |db| async move { alert_settings::other_scopes(db, client, &beside).await }.boxed());
    if others.await? >= SCOPES_MAX {
        let detail =
            format!("rules are configured for {SCOPES_MAX} things already: reset some, or say it for more at once");
        return Err(Problem::new(Code::Conflict, detail));
    }
    let command = RuleCommand::Configure { rule, scope, on, parameters, known, names, at: Time::now() };
    let done = wish.carry_out::<AlertRule>(&streams, &own, &id, command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

async fn is_own(known: &Known, client: ClientId, bot: Option<BotId>) -> Result<(), Problem> {
    match bot {
        Some(bot) if !known.has(client, bot).await? => Err(Problem::invalid("scope.bot: there is no such bot")),
        Some(_) | None => Ok(()),
    }
}

/// For what nothing shall be said any more.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = ResetRule)]
struct ToForget {
    scope: Scope,
}

/// Say nothing of a rule any more, for all of a client's things or for some
#[utoipa::path(delete, path = "/api/alerts/rules/{rule}", tag = "alerts", request_body = ToForget,
    params(("rule" = RuleName, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn reset(
    own: May<Tend, OwnRule>,
    State(streams): State<Streams>,
    wish: Wish<ToForget>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let id = AlertRule::id(&own.kind.rule(), &wish.what.scope);
    let done = wish.carry_out::<AlertRule>(&streams, &own, &id, RuleCommand::Reset { at: Time::now() }).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}
