//! Every route, and who may do what it does: one line each. A route that is not in the table fails the test.

use std::collections::BTreeMap;

use events::{
    ClientId, SessionId, Time,
    desk::{Factor, Role},
};
use reqwest::Method;
use serde_json::json;

use crate::{
    edge::Edge,
    facts::{credential, order_by_hand, subscription, write},
    neighbours::{id_in, of_alerts, of_the_desk, order_of, people, rule_in, token_of},
};

/// Who asks, in the order of the letters below.
const CALLERS: [&str; 10] = [
    "nobody",
    "another client's owner",
    "a viewer",
    "an owner",
    "an auditor without a grant",
    "an operator",
    "an admin",
    "an auditor with a grant",
    "a program of the client's that reads",
    "an admin who shows no code",
];

/// What each gets: `y` an answer, `u` 401, `f` 403, `n` 404. The desk names the client where a question is about one.
const TABLE: &[(&str, &str)] = &[
    ("GET /.well-known/jwks.json", "yyyyyyyyyy"),
    ("GET /livez", "yyyyyyyyyy"),
    ("GET /metrics", "yyyyyyyyyy"),
    ("GET /readyz", "yyyyyyyyyy"),
    ("GET /version", "yyyyyyyyyy"),
    ("POST /api/auth/login", "yyyyyyyyyy"),
    ("POST /api/auth/login/code", "yyyyyyyyyy"),
    ("POST /api/auth/accept", "yyyyyyyyyy"),
    // Without a refresh token.
    ("POST /api/auth/refresh", "uuuuuuuuuu"),
    ("GET /api/auth/me", "uyyyyyyyyy"),
    ("GET /api/auth/sessions", "uyyyyyyyfy"),
    // Of a session that is nobody's.
    ("DELETE /api/auth/sessions/{id}", "unnnnnnnfn"),
    ("GET /api/auth/grants", "uyyyyyyyfy"),
    ("POST /api/auth/password", "uyyyyyyyfy"),
    ("POST /api/auth/step-up", "uyyyyyyyfy"),
    ("POST /api/auth/second-factor", "uyyyyyyyfy"),
    ("POST /api/auth/second-factor/confirm", "uyyyyyyyfy"),
    // What nobody does who was not asked for a code.
    ("POST /api/auth/second-factor/remove", "uyyyyyyyff"),
    ("POST /api/auth/recovery-codes", "uyyyyyyyff"),
    ("GET /api/auth/tokens", "uyyyyyyyfy"),
    ("POST /api/auth/tokens", "uyyyyyyyff"),
    // Of a token that is nobody's.
    ("DELETE /api/auth/tokens/{id}", "unnnnnnnfn"),
    ("GET /api/exchanges", "uyyyyyyyyy"),
    ("GET /api/exchanges/{exchange}/fields", "uyyyyyyyyy"),
    // What a client has.
    ("GET /api/bots", "uyyynyyyyy"),
    ("GET /api/clients/credentials", "uyyynyyyyy"),
    ("GET /api/clients/portfolio", "uyyynyyyyy"),
    ("GET /api/events", "uyyynyyyyy"),
    ("GET /api/fills", "uyyynyyyyy"),
    ("GET /api/orders", "uyyynyyyyy"),
    ("GET /api/pnl", "uyyynyyyyy"),
    ("GET /api/stream", "uyyynyyyyy"),
    ("GET /api/bots/{id}", "unyynyyyyy"),
    ("GET /api/bots/{id}/config/history", "unyynyyyyy"),
    ("GET /api/bots/{id}/history", "unyynyyyyy"),
    ("GET /api/bots/{id}/log", "unyynyyyyy"),
    ("GET /api/bots/{id}/orders", "unyynyyyyy"),
    ("GET /api/bots/{id}/risk", "unyynyyyyy"),
    ("GET /api/bots/{id}/trading", "unyynyyyyy"),
    ("GET /api/bots/{id}/uptime", "unyynyyyyy"),
    ("GET /api/alerts/subscriptions", "uyyynyyyyy"),
    ("GET /api/alerts", "uyyynyyyyy"),
    ("GET /api/alerts/{id}", "unyynyyyyy"),
    ("GET /api/alerts/rules", "uyyynyyyyy"),
    ("POST /api/alerts/rules/{rule}/try", "uyyynyyyyy"),
    ("GET /api/agreements", "uyyynyyyyy"),
    ("GET /api/agreements/{id}/days", "unyynyyyyy"),
    ("GET /api/schedules", "uyyynyyyyy"),
    ("GET /api/schedules/{id}/runs", "unyynyyyyy"),
    ("GET /api/alerts/channels", "uyyynyyyyy"),
    ("GET /api/alerts/channels/{id}/tries", "unyynyyyyy"),
    ("GET /api/alerts/silences", "uyyynyyyyy"),
    ("GET /api/clients/access-log", "uyfynfyyfy"),
    // Its people and its programs.
    ("GET /api/clients/users", "uyfynfyffy"),
    ("GET /api/clients/services", "uyfynfyffy"),
    ("POST /api/clients/users", "uyfynfyfff"),
    ("POST /api/clients/users/{id}/link", "unfynfyfff"),
    ("POST /api/clients/users/{id}/role", "unfynfyfff"),
    ("POST /api/clients/users/{id}/bar", "unfynfyfff"),
    ("POST /api/clients/users/{id}/unbar", "unfynfyfff"),
    ("POST /api/clients/services", "uyfynfyfff"),
    ("POST /api/clients/services/{id}/end", "unfynfyfff"),
    ("POST /api/clients/services/{id}/tokens", "unfynfyfff"),
    // When its owner has revoked it, an admin finds it no more.
    ("DELETE /api/clients/services/{id}/tokens/{token}", "unfynfnfff"),
    // What is wanted of it.
    ("POST /api/alerts/subscriptions", "uyfynyyffy"),
    ("DELETE /api/alerts/subscriptions/{id}", "unfynyyffy"),
    ("POST /api/alerts/subscriptions/{id}/renew", "unfynyyffy"),
    ("POST /api/alerts/subscriptions/{id}/rotate", "unfynyyffy"),
    ("POST /api/alerts/{id}/acknowledge", "unfynyyffy"),
    ("POST /api/alerts/{id}/silence", "unfynyyffy"),
    // Everybody has the same rules.
    ("PUT /api/alerts/rules/{rule}", "uyfynyyffy"),
    ("DELETE /api/alerts/rules/{rule}", "uyfynyyffy"),
    ("POST /api/schedules", "uyfynyyffy"),
    ("PUT /api/schedules/{id}", "unfynyyffy"),
    ("POST /api/schedules/{id}/switch", "unfynyyffy"),
    ("DELETE /api/schedules/{id}", "unfynyyffy"),
    ("POST /api/alerts/channels", "uyfynyyffy"),
    ("PUT /api/alerts/channels/{id}", "unfynyyffy"),
    ("POST /api/alerts/channels/{id}/renew", "unfynyyffy"),
    ("POST /api/alerts/channels/{id}/test", "unfynyyffy"),
    ("DELETE /api/alerts/channels/{id}", "unfynyyffy"),
    ("POST /api/alerts/silences", "uyfynyyffy"),
    ("DELETE /api/alerts/silences/{id}", "unfynyyffy"),
    ("POST /api/bots", "uyfynyyffy"),
    ("POST /api/clients/credentials", "uyfynyyfff"),
    ("PATCH /api/bots/{id}/config", "unfynyyffy"),
    ("POST /api/bots/{id}/deploy", "unfynyyffy"),
    ("POST /api/bots/{id}/orders", "unfynyyffy"),
    ("POST /api/bots/{id}/orders/{order}/cancel", "unfynyyffy"),
    ("POST /api/bots/{id}/orders/{order}/resolve", "unfynyyffy"),
    ("POST /api/bots/{id}/stop", "unfynyyffy"),
    ("POST /api/clients/credentials/{id}/revoke", "unfynyyfff"),
    ("POST /api/clients/credentials/{id}/rotate", "unfynyyfff"),
    // The desk.
    ("GET /api/admin/alerts", "uffffyyffy"),
    ("GET /api/admin/alerts/platform", "uffffyyffy"),
    ("GET /api/admin/alerts/rules", "uffffyyffy"),
    ("PUT /api/admin/alerts/rules/{rule}", "uffffyyffy"),
    ("DELETE /api/admin/alerts/rules/{rule}", "uffffyyffy"),
    ("GET /api/admin/alerts/channels", "uffffyyffy"),
    ("GET /api/admin/alerts/channels/{id}/tries", "uffffyyffy"),
    ("GET /api/admin/balances", "uffffyyffy"),
    ("GET /api/admin/bots", "uffffyyffy"),
    ("GET /api/admin/clients", "uffffyyffy"),
    ("GET /api/admin/overview", "uffffyyffy"),
    ("GET /api/admin/quarantine", "uffffyyffy"),
    ("GET /api/admin/reconciliation", "uffffyyffy"),
    ("GET /api/admin/reconciliation/{id}", "uffffyyffy"),
    ("POST /api/admin/alerts/platform/{id}/acknowledge", "uffffyyffy"),
    ("POST /api/admin/alerts/platform/{id}/silence", "uffffyyffy"),
    ("POST /api/admin/alerts/channels", "uffffyyffy"),
    ("PUT /api/admin/alerts/channels/{id}", "uffffyyffy"),
    ("POST /api/admin/alerts/channels/{id}/renew", "uffffyyffy"),
    ("POST /api/admin/alerts/channels/{id}/test", "uffffyyffy"),
    ("DELETE /api/admin/alerts/channels/{id}", "uffffyyffy"),
    ("POST /api/admin/clients", "uffffyyfff"),
    ("POST /api/admin/clients/{client}/offboard", "uffffyyfff"),
    ("POST /api/admin/clients/{client}/agreements", "uffffyyfff"),
    ("PUT /api/admin/clients/{client}/agreements/{id}", "uffffyyfff"),
    ("POST /api/admin/clients/{client}/agreements/{id}/exclusions", "uffffyyfff"),
    ("DELETE /api/admin/clients/{client}/agreements/{id}", "uffffyyfff"),
    // Its people.
    ("GET /api/admin/users/{id}/sessions", "ufffffyffy"),
    ("GET /api/admin/access-log", "ufffffyffy"),
    ("GET /api/admin/users", "ufffffyffy"),
    ("GET /api/admin/users/{id}/grants", "ufffffyffy"),
    ("GET /api/admin/services", "ufffffyffy"),
    ("POST /api/admin/users", "ufffffyfff"),
    ("POST /api/admin/users/{id}/link", "ufffffyfff"),
    ("POST /api/admin/users/{id}/role", "ufffffyfff"),
    ("POST /api/admin/users/{id}/bar", "ufffffyfff"),
    ("POST /api/admin/users/{id}/unbar", "ufffffyfff"),
    ("POST /api/admin/users/{id}/grants", "ufffffyfff"),
    ("POST /api/admin/users/{id}/grants/{client}/withdraw", "ufffffyfff"),
    ("DELETE /api/admin/users/{id}/second-factor", "ufffffyfff"),
    ("POST /api/admin/services", "ufffffyfff"),
    ("POST /api/admin/services/{id}/end", "ufffffyfff"),
    ("POST /api/admin/services/{id}/tokens", "ufffffyfff"),
    ("DELETE /api/admin/services/{id}/tokens/{token}", "ufffffnfff"),
    ("DELETE /api/admin/users/{id}/sessions/{session}", "ufffffnfff"),
    ("DELETE /api/admin/users/{id}/sessions", "ufffffyfff"),
    // Last, because it is so.
    ("POST /api/auth/logout", "uyyyyyyyfy"),
];

/// Those of them who belong to one, and whoever belongs nowhere.
const OF_A_CLIENT: [usize; 5] = [0, 1, 2, 3, 8];

/// Which routes take the client's name from the desk.
fn is_about_a_client(path: &str) -> bool {
    let apart = ["/api/auth/", "/api/admin/", "/api/exchanges"];
    path.starts_with("/api/") && !apart.iter().any(|start| path.starts_with(start))
}

/// The path with what acme has, its people included.
fn path(edge: &Edge, route: &str) -> String {
    let id = match route {
        route if route.contains("/auth/") => SessionId::new().to_string(),
        route => id_in(route, &edge.acme),
    };
    let path = route.replace("{id}", &id).replace("{order}", &order_of(&edge.acme).to_string());
    let path = path.replace("{session}", &SessionId::new().to_string());
    let path = path.replace("{token}", &token_of(&edge.acme).to_string());
    path.replace("{client}", "acme").replace("{exchange}", "okx").replace("{rule}", rule_in(route))
}

async fn outcome(edge: &Edge, caller: usize, token: &str, method: &str, path: &str) -> char {
    // Those of a client need not say whose they are.
    let of_desk = !OF_A_CLIENT.contains(&caller) && is_about_a_client(path);
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
    write(&edge.streams, of_alerts(&edge.acme)).await;
    write(&edge.streams, of_the_desk(&edge.acme)).await;
    people(&edge.database, &edge.acme).await;
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
        auditor_of(&edge).await,
        program_of(&edge).await,
        edge.database.signed_in_by(Role::Admin, None, vec![Factor::Password]).await.token,
    ];
    assert_eq!(edge.served.ask(&tokens[3], &format!("{}?min_seq=4", edge.acme.path(""))).await.status, 200);
    let (mut wrong, mut tried) = (Vec::new(), BTreeMap::new());
    for (route, expected) in TABLE {
        let (method, place) = route.split_once(' ').unwrap();
        let place = path(&edge, place);
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

/// Somebody who was granted acme, and of whom every process knows that.
async fn auditor_of(edge: &Edge) -> String {
    let auditor = edge.database.signed_in(Role::Auditor, None).await;
    let grant = json!({"client": "acme", "until": Time::now().plus_micros(3_600_000_000), "reason": "an audit"});
    let path = format!("/api/admin/users/{}/grants", auditor.session.user.id);
    assert_eq!(edge.served.post(&edge.admin, &path, "k", &grant).await.status, 204);
    edge.served.until(&auditor.token, "/api/bots?client=acme", 200).await;
    auditor.token
}

/// A program that may read what acme has.
async fn program_of(edge: &Edge) -> String {
    let new = json!({"name": "a dashboard", "scopes": ["read"]});
    let made = edge.served.post(&edge.acme.token, "/api/clients/services", "k", &new).await;
    made.json()["token"].as_str().unwrap().to_owned()
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
