//! What the API is, for those who build on it.

use axum::{
    Router,
    routing::{MethodRouter, get},
};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    Parts, admin, agreements, alert_rules, alerts, auth, bots, channels, credentials, described, desk_rules,
    events::{self, Order},
    exchanges, fills, grants, health, live, looks, manual, orders,
    page::Limit,
    past, people, platform, pnl, portfolio,
    problem::ProblemBody,
    programs, reconciliation, risk, rule_trials, schedules, second_factor, sessions, silences, subscriptions, trading,
    uptime,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pipe Labs",
        description = "Read models of event streams, and commands that end in events. Every answer of a read model tells in \
                       headers how far it has read (`As-Of-Seq`), how far the stream goes (`Head-Seq`), how old it is in \
                       seconds (`Age`) and whether that is too old (`Stale`). `?min_seq=` waits until the answer knows that \
                       event. Numbers of money are exact decimals in texts."
    ),
    // Those that parameters alone speak of.
    components(schemas(ProblemBody, Limit, Order)),
    security(("token" = [])),
    modifiers(&Common)
)]
struct Described;

/// What every operation has.
struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token));
    }
}

/// Every route with its description.
fn described() -> OpenApiRouter<Parts> {
    [
        auth::routes(),
        second_factor::routes(),
        sessions::routes(),
        programs::routes(),
        people::routes(),
        grants::routes(),
        looks::routes(),
        portfolio::routes(),
        bots::routes(),
        past::routes(),
        trading::routes(),
        uptime::routes(),
        credentials::routes(),
        exchanges::routes(),
        risk::routes(),
        orders::routes(),
        manual::routes(),
        fills::routes(),
        pnl::routes(),
        events::routes(),
        live::routes(),
        subscriptions::routes(),
        alerts::routes(),
        alert_rules::routes(),
        rule_trials::routes(),
        desk_rules::routes(),
        schedules::routes(),
        agreements::routes(),
        silences::routes(),
        channels::routes(),
        platform::routes(),
        admin::routes(),
        reconciliation::routes(),
        health::routes(),
    ]
    .into_iter()
    .fold(OpenApiRouter::with_openapi(Described::openapi()), OpenApiRouter::merge)
}

/// The routes, and their description as JSON.
pub fn routes() -> (Router<Parts>, String) {
    let (router, api) = described().split_for_parts();
    let mut api = serde_json::to_value(api).expect("a description has a JSON form");
    described::complete(&mut api);
    let text = serde_json::to_string_pretty(&api).expect("what was JSON stays it");
    let router = router.route("/openapi.json", told(text.clone())).route("/asyncapi.json", told(on_nats()));
    (router, text)
}

/// What is told on NATS, as JSON.
pub fn on_nats() -> String {
    serde_json::to_string_pretty(&relay::asyncapi()).expect("what was JSON stays it")
}

/// A description, which is for everybody.
fn told(text: String) -> MethodRouter<Parts> {
    let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
    get(async move || (json, text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    /// Every place that a value refers to.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn whatever_the_description_refers_to_is_described() {
        let api: Value = serde_json::from_str(&super::routes().1).unwrap();
        let mut found = BTreeSet::new();
        references(&api, &mut found);
        let lost: Vec<&String> = found.iter().filter(|place| api.pointer(&place[1..]).is_none()).collect();
        assert!(found.len() > 50 && lost.is_empty(), "{lost:?}");
    }
}
