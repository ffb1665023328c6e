//! What a rule would have said of a stretch of history, with the numbers that it has or with others.

use std::collections::BTreeMap;

use alerts::{
    engine::{Engine, Transition},
    replay,
};
use axum::extract::State;
use domain::alert_rule::{AlertRule, RuleCommand};
use events::{
    AlertId, Decimal, RuleName, Time,
    alert::{AlertEvent, Evidence, Labels, Scope, Severity},
};
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use store::read;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    alert_rules::OwnRule,
    input::{Json, OnlyClient},
    problem::{Code, Problem},
    views::Views,
};

/// Events of a history that a try reads at most: it is answered while somebody waits.
const TRIED_MAX: u64 = 1_000_000;
/// Each takes a core and a connection while it is made: so many at once, and the others wait.
static TRIES: Semaphore = Semaphore::const_new(2);
const WEEK_US: i64 = 7 * 24 * 3_600 * 1_000_000;

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(try_out))
}

/// A stretch of history, and numbers to be tried on it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TryRule)]
struct Try {
    /// The stretch that is told of; the last seven days, if left out.
    from: Option<Time>,
    to: Option<Time>,
    /// Instead of what is said of the rule; its defaults, where left out.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Decimal>)]
    parameters: BTreeMap<String, Decimal>,
}

/// What a rule would have said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RuleTried)]
struct Tried {
    rule: RuleName,
    version: u32,
    from: Time,
    to: Time,
    /// How many events were looked at, from the first one on: what a rule knows begins there.
    events: u64,
    would: Vec<Would>,
}

/// An alert that would have begun, become worse or ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RuleWouldHave)]
struct Would {
    /// `fired`, `escalated` or `resolved`.
    what: &'static str,
    alert_id: AlertId,
    episode: u64,
    severity: Severity,
    at: Time,
    as_of_seq: u64,
    /// Of one that fired.
    labels: Option<Labels>,
    summary: Option<String>,
    evidence: Evidence,
}

/// Run a rule over a stretch of history with other numbers: what would it have said?
#[utoipa::path(post, path = "/api/alerts/rules/{rule}/try", tag = "alerts", params(("rule" = RuleName, Path)),
    responses((status = 200, body = Tried)))]
async fn try_out(
    OwnRule { client, kind }: OwnRule,
    _: OnlyClient,
    State(views): State<Views>,
    Json(Try { from, to, parameters }): Json<Try>,
) -> Result<axum::Json<Tried>, Problem> {
    let to = to.unwrap_or_else(Time::now).min(Time::now());
    let from = from.unwrap_or_else(|| to.plus_micros(-WEEK_US));
    if from > to {
        return Err(Problem::invalid("from lies after to: turn them round"));
    }
    let rule = kind.rule();
    let check = RuleCommand::Configure {
        rule: rule.clone(),
        scope: Scope::default(),
        on: true,
        parameters: parameters.clone(),
        known: kind.parameters,
        names: kind.names,
        at: to,
    };
    AlertRule::default().decide(check)?;
    let head = views.read(client, |db| read::head(db, client).boxed()).await?;
    if head > TRIED_MAX {
        let detail =
            format!("a history of more than {TRIED_MAX} events is tried with `pipelabs audit alerts` on an export");
        return Err(Problem::new(Code::Conflict, detail));
    }
    let _turn = TRIES.acquire().await.expect("nobody closes it");
    let engine = Engine::new(client).trying(rule.clone(), parameters);
    let (events, transitions) =
        views.read(client, |db| async move { replay::tried(db, engine, client, head, to).await }.boxed()).await?;
    let told = transitions.iter().filter(|one| (from..=to).contains(&one.event.at()));
    let would = told.filter(|one| one.event.rule().0.as_str() == kind.name).filter_map(Would::of).collect();
    Ok(axum::Json(Tried { rule, version: kind.version, from, to, events, would }))
}

impl Would {
    fn of(transition: &Transition) -> Option<Self> {
        let (as_of_seq, at) = transition.event.decided()?;
        let (_, severity) = transition.event.rule();
        let (what, labels, summary, evidence) = match transition.event.clone() {
            AlertEvent::AlertFired { labels, summary, evidence, .. } => {
                ("fired", Some(labels), Some(summary), evidence)
            }
            AlertEvent::AlertEscalated { evidence, .. } => ("escalated", None, None, evidence),
            AlertEvent::AlertResolved { evidence, .. } => ("resolved", None, None, evidence),
            AlertEvent::AlertAcknowledged { .. }
            | AlertEvent::AlertSilenced { .. }
            | AlertEvent::AlertNotified { .. } => return None,
        };
        let (alert_id, episode) = (transition.alert, transition.event.episode());
        Some(Self { what, alert_id, episode, severity, at, as_of_seq, labels, summary, evidence })
    }
}
