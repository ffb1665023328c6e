//! Every route, and who may do what it does: one line each. A route that is not in the table fails the test.

use std::collections::BTreeMap;

use events::{ClientId, CredentialId, Exchange, ManualId, Market, SessionId, SubscriptionId, desk::Role};
use reqwest::Method;
use serde_json::json;
use tests::Person;

use crate::{
    edge::Edge,
    facts::{credential, order_by_hand, subscription},
};

/// Who asks, in the order of the letters below.
const CALLERS: [&str; 7] = [
    "nobody",
    "another client's owner",
    "a viewer",
    "an owner",
    "an auditor without a grant",
    "an operator",
    "an admin",
];

/// What each gets: `y` an answer, `u` 401, `f` 403, `n` 404. The desk names the client where a question is about one.
const TABLE: &[(&str, &str)] = &[
    ("GET /.well-known/jwks.json", "yyyyyyy"),
    ("GET /livez", "yyyyyyy"),
    ("GET /metrics", "yyyyyyy"),
    ("GET /readyz", "yyyyyyy"),
    ("GET /version", "yyyyyyy"),
    ("POST /api/auth/login", "yyyyyyy"),
    // Without a refresh token.
    ("POST /api/auth/refresh", "uuuuuuu"),
    ("GET /api/auth/me", "uyyyyyy"),
    ("GET /api/auth/sessions", "uyyyyyy"),
    // Of a session that is nobody's.
    ("DELETE /api/auth/sessions/{id}", "unnnnnn"),
    ("GET /api/exchanges", "uyyyyyy"),
    ("GET /api/exchanges/{exchange}/fields", "uyyyyyy"),
    // What a client has.
    ("GET /api/bots", "uyyynyy"),
    ("GET /api/clients/credentials", "uyyynyy"),
    ("GET /api/clients/portfolio", "uyyynyy"),
    ("GET /api/events", "uyyynyy"),
    ("GET /api/fills", "uyyynyy"),
    ("GET /api/orders", "uyyynyy"),
    ("GET /api/pnl", "uyyynyy"),
    ("GET /api/stream", "uyyynyy"),
    ("GET /api/bots/{id}", "unyynyy"),
    ("GET /api/bots/{id}/config/history", "unyynyy"),
    ("GET /api/bots/{id}/history", "unyynyy"),
    ("GET /api/bots/{id}/log", "unyynyy"),
    ("GET /api/bots/{id}/orders", "unyynyy"),
    ("GET /api/bots/{id}/risk", "unyynyy"),
    ("GET /api/bots/{id}/uptime", "unyynyy"),
    ("GET /api/alerts/subscriptions", "uyyynyy"),
    // What is wanted of it.
    ("POST /api/alerts/subscriptions", "uyfynyy"),
    ("DELETE /api/alerts/subscriptions/{id}", "unfynyy"),
    ("POST /api/alerts/subscriptions/{id}/renew", "unfynyy"),
    ("POST /api/alerts/subscriptions/{id}/rotate", "unfynyy"),
    ("POST /api/bots", "uyfynyy"),
    ("POST /api/clients/credentials", "uyfynyy"),
    ("PATCH /api/bots/{id}/config", "unfynyy"),
    ("POST /api/bots/{id}/deploy", "unfynyy"),
    ("POST /api/bots/{id}/orders", "unfynyy"),
    ("POST /api/bots/{id}/orders/{order}/cancel", "unfynyy"),
    ("POST /api/bots/{id}/orders/{order}/resolve", "unfynyy"),
    ("POST /api/bots/{id}/stop", "unfynyy"),
    ("POST /api/clients/credentials/{id}/revoke", "unfynyy"),
    ("POST /api/clients/credentials/{id}/rotate", "unfynyy"),
    // The desk.
    ("GET /api/admin/balances", "uffffyy"),
    ("GET /api/admin/bots", "uffffyy"),
    ("GET /api/admin/clients", "uffffyy"),
    ("GET /api/admin/overview", "uffffyy"),
    ("GET /api/admin/quarantine", "uffffyy"),
    ("GET /api/admin/reconciliation", "uffffyy"),
    ("GET /api/admin/reconciliation/{id}", "uffffyy"),
    ("POST /api/admin/clients", "uffffyy"),
    ("POST /api/admin/clients/{client}/offboard", "uffffyy"),
    // Its people.
    ("GET /api/admin/users/{id}/sessions", "ufffffy"),
    ("DELETE /api/admin/users/{id}/sessions/{session}", "ufffffn"),
    ("DELETE /api/admin/users/{id}/sessions", "ufffffy"),
    // Last, because it is so.
    ("POST /api/auth/logout", "uyyyyyy"),
];

/// Which routes take the client's name from the desk.
fn is_about_a_client(path: &str) -> bool {
    let apart = ["/api/auth/", "/api/admin/", "/api/exchanges"];
    path.starts_with("/api/") && !apart.iter().any(|start| path.starts_with(start))
}

/// The path with what acme has, or with a user.
fn path(edge: &Edge, route: &str, somebody: &Person) -> String {
    let (client, bot) = (edge.acme.client, edge.acme.bot);
    let id = match route {
        route if route.contains("/credentials/") => CredentialId::of(client, Exchange::Okx, Market::Spot).to_string(),
        route if route.contains("/subscriptions/") => {
            SubscriptionId::named(client, &"pager".parse().unwrap()).to_string()
        }
        route if route.contains("/users/") => somebody.id.to_string(),
        route if route.contains("/sessions/") => SessionId::new().to_string(),
        _ => bot.to_string(),
    };
    let order = ManualId::of(client, bot, "by-hand").to_string();
    let path =
        route.replace("{id}", &id).replace("{order}", &order).replace("{session}", &SessionId::new().to_string());
    path.replace("{client}", "acme").replace("{exchange}", "okx")
}

async fn outcome(edge: &Edge, caller: usize, token: &str, method: &str, path: &str) -> char {
    // The client's own users need not say whose they are.
    let of_desk = caller >= 4 && is_about_a_client(path);
    let path = if of_desk { format!("{path}?client=acme") } else { path.to_owned() };
    let request = edge.served.request(method.parse::<Method>().unwrap(), &path).header("idempotency-key", "k");
    let request = if token.is_empty() { request } else { request.bearer_auth(token) };
    let request = if method == "GET" { request } else { request.json(&json!({})) };
    // Some answers have no end.
    match request.send().await.unwrap().status().as_u16() {
        401 => 'u',
        403 => 'f',
        404 => 'n',
        status if status < 500 => 'y',
        status => panic!("{method} {path} is answered {status}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_open_to_those_whom_the_table_names_and_to_nobody_else() {
    let edge = Edge::new("api,projector").await;
    credential(&edge.streams, edge.acme.client).await;
    order_by_hand(&edge.streams, edge.acme.client, edge.acme.bot).await;
    subscription(&edge.streams, edge.acme.client).await;
    let somebody = edge.database.person("somebody@example.com", Role::Operator, None).await;
    let signed_in = async |role, client: Option<ClientId>| edge.database.signed_in(role, client).await.token;
    let (acme, borealis) = (Some(edge.acme.client), Some(edge.borealis.client));
    let tokens = [
        String::new(),
        signed_in(Role::ClientOwner, borealis).await,
        signed_in(Role::ClientViewer, acme).await,
        signed_in(Role::ClientOwner, acme).await,
        signed_in(Role::Auditor, None).await,
        signed_in(Role::Operator, None).await,
        signed_in(Role::Admin, None).await,
    ];
    assert_eq!(edge.served.ask(&tokens[3], &format!("{}?min_seq=4", edge.acme.path(""))).await.status, 200);
    let (mut wrong, mut tried) = (Vec::new(), BTreeMap::new());
    for (route, expected) in TABLE {
        let (method, place) = route.split_once(' ').unwrap();
        let place = path(&edge, place, &somebody);
        for (caller, token) in tokens.iter().enumerate() {
            let (met, expected) =
                (outcome(&edge, caller, token, method, &place).await, expected.as_bytes()[caller] as char);
            if met != expected {
                wrong.push(format!("{} gets {met} for {route}, and not {expected}", CALLERS[caller]));
            }
        }
        assert!(tried.insert(*route, ()).is_none(), "{route} stands twice in the table");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let api = edge.served.ask("", "/openapi.json").await.json();
    for (path, item) in api["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let route = format!("{} {path}", method.to_uppercase());
            assert!(tried.remove(route.as_str()).is_some(), "{route} is missing in the table");
        }
    }
    assert!(tried.is_empty(), "not there any more: {tried:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_for_somebody_is_told_in_one_way_and_what_is_too_much_in_another() {
    let edge = Edge::new("api").await;
    let (viewer, auditor) = (
        edge.database.signed_in(Role::ClientViewer, Some(edge.acme.client)).await.token,
        edge.database.signed_in(Role::Auditor, None).await.token,
    );
    let post = async |token: &str, path: &str| edge.served.post(token, path, "k", &json!({})).await;
    let own = post(&viewer, &edge.acme.path("/stop")).await;
    assert_eq!(own.problem(), (403, "forbidden".into()));
    assert!(own.text().contains("ask an owner of your client"), "{}", own.text());
    let foreign = post(&viewer, &edge.borealis.path("/stop")).await;
    let nobodys = post(&viewer, &format!("/api/bots/{}/stop", events::BotId::new())).await;
    assert_eq!((foreign.status, &foreign.body), (404, &nobodys.body));
    // An auditor learns of no client that was not granted, not even that it is there.
    let there = edge.served.ask(&auditor, "/api/bots?client=acme").await;
    let nowhere = edge.served.ask(&auditor, "/api/bots?client=nobody").await;
    assert_eq!((there.status, &there.body), (404, &nowhere.body));
    assert_eq!(
        (&there.body, post(&auditor, "/api/bots?client=acme").await.body),
        (&nobodys.body, nobodys.body.clone())
    );
    for path in ["/api/bots", "/api/stream"] {
        assert_eq!(edge.served.ask(&auditor, path).await.problem(), (422, "invalid".into()), "{path}");
    }
}
