//! What the API is, for those who build on it.

use axum::{Router, routing::get};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, Ref, RefOr, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    Parts, admin, auth, bots, credentials, events, exchanges, fills, health, live, manual, orders, past, pnl,
    portfolio, problem::ProblemBody, reconciliation, risk, sessions, uptime,
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
    components(schemas(ProblemBody)),
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
        sessions::routes(),
        portfolio::routes(),
        bots::routes(),
        past::routes(),
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
        admin::routes(),
        reconciliation::routes(),
        health::routes(),
    ]
    .into_iter()
    .fold(OpenApiRouter::with_openapi(Described::openapi()), OpenApiRouter::merge)
}

/// The routes, and their description as JSON.
pub fn routes() -> (Router<Parts>, String) {
    let (router, mut api) = described().split_for_parts();
    for item in api.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let body = Content::new(Some(Ref::from_schema_name("ProblemBody")));
            let problem = ResponseBuilder::new()
                .description("Not answered: why, and what to do")
                .content("application/problem+json", body);
            operation.responses.responses.insert("default".to_owned(), RefOr::T(problem.build()));
        }
    }
    let text = api.to_pretty_json().expect("a description has a JSON form");
    let told = text.clone();
    let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
    (router.route("/openapi.json", get(async move || (json, told))), text)
}
