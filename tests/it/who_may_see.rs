//! Who may see or do what: one line a route, one column a role. The description that is served is walked, so a route that
//! has no line here fails; each is tried by every role as its line says, and by one client against its neighbour with
//! whatever of the neighbour's it can lay its hands on.

use std::collections::BTreeMap;

use access::AddUser;
use events::{ClientId, Time, desk::Role};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use store::{Cause, Login};
use tests::{Answer, token};

use crate::{
    edge::Edge,
    edge_input::{Route, routes},
    facts::{credential, order_by_hand},
    neighbours::{Neighbours, credential_of, order_of},
    trespass::trespasses,
};

/// What a role may do on a route:
///
/// - `all`: what everybody may, asked or not who it is;
/// - `self`: what concerns the caller alone;
/// - `own`: of the client whose the caller is, and of no other, which cannot even be named;
/// - `named`: of the one client that the caller names, which has to be named;
/// - `desk`: of all clients together, or of one that the path names;
/// - `no`.
const WHO_MAY_SEE: &str = "
                                                      anonymous  client  admin
    GET   /livez                                      all        all     all
    GET   /readyz                                     all        all     all
    GET   /version                                    all        all     all
    GET   /metrics                                    all        all     all
    POST  /api/auth/login                             all        all     all
    GET   /api/auth/me                                no         self    self
    GET   /api/exchanges                              no         self    self
    GET   /api/exchanges/{exchange}/fields            no         self    self
    GET   /api/clients/portfolio                      no         own     named
    GET   /api/clients/credentials                    no         own     named
    POST  /api/clients/credentials                    no         own     named
    POST  /api/clients/credentials/{id}/rotate        no         own     named
    POST  /api/clients/credentials/{id}/revoke        no         own     named
    GET   /api/bots                                   no         own     named
    POST  /api/bots                                   no         own     named
    GET   /api/bots/{id}                              no         own     named
    PATCH /api/bots/{id}/config                       no         own     named
    GET   /api/bots/{id}/config/history               no         own     named
    POST  /api/bots/{id}/deploy                       no         own     named
    POST  /api/bots/{id}/stop                         no         own     named
    GET   /api/bots/{id}/history                      no         own     named
    GET   /api/bots/{id}/log                          no         own     named
    GET   /api/bots/{id}/risk                         no         own     named
    GET   /api/bots/{id}/uptime                       no         own     named
    POST  /api/bots/{id}/orders                       no         own     named
    POST  /api/bots/{id}/orders/{order}/cancel        no         own     named
    GET   /api/orders                                 no         own     named
    GET   /api/fills                                  no         own     named
    GET   /api/pnl                                    no         own     named
    GET   /api/events                                 no         own     named
    GET   /api/stream                                 no         own     desk
    GET   /api/admin/overview                         no         no      desk
    GET   /api/admin/clients                          no         no      desk
    POST  /api/admin/clients                          no         no      desk
    POST  /api/admin/clients/{client}/offboard        no         no      desk
    GET   /api/admin/bots                             no         no      desk
    GET   /api/admin/reconciliation                   no         no      desk
    GET   /api/admin/reconciliation/{id}              no         no      desk
    GET   /api/admin/quarantine                       no         no      desk
";

/// By route, what each role may do there.
fn table() -> BTreeMap<String, BTreeMap<&'static str, &'static str>> {
    let mut lines = WHO_MAY_SEE.lines().map(str::trim).filter(|line| !line.is_empty());
    let roles: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let line = |line: &'static str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.len(), 2 + roles.len(), "{line}");
        (format!("{} {}", words[0], words[1]), roles.iter().copied().zip(words[2..].iter().copied()).collect())
    };
    lines.map(line).collect()
}

/// The token of a user of each role, by role; the client's is of acme.
async fn tokens(edge: &Edge) -> BTreeMap<&'static str, String> {
    let mut tokens = BTreeMap::from([("anonymous", String::new())]);
    for (name, role, client) in [("client", Role::Client, Some(edge.acme.client)), ("admin", Role::Admin, None)] {
        tokens.insert(name, log_in(edge, name, role, client).await);
    }
    tokens
}

async fn log_in(edge: &Edge, name: &str, role: Role, client: Option<ClientId>) -> String {
    let (email, password) = (format!("{name}@example.com"), "not-a-real-password-1");
    let user = AddUser { email: email.parse().unwrap(), password: password.into(), role, client };
    let (auth, cause) = (edge.database.pool(Login::Auth), Cause::system("test"));
    access::add(&auth, &edge.streams, user, Time::now(), &cause).await.unwrap();
    let who = json!({"email": email, "password": password});
    let answer = Answer::to(edge.served.request(Method::POST, "/api/auth/login").json(&who)).await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// A request about what acme has, to which nothing is wrong but a body that says what no route knows: who may not, is told
/// so before that is looked at, and who may, changes nothing.
fn request(edge: &Edge, route: &Route, token: &str, query: &str) -> RequestBuilder {
    let id = if route.path.contains("/credentials/") {
        credential_of(&edge.acme).to_string()
    } else {
        edge.acme.bot.to_string()
    };
    let path = route.path.replace("{id}", &id).replace("{order}", &order_of(&edge.acme).to_string());
    let path = path.replace("{client}", edge.acme.slug).replace("{exchange}", "okx");
    let request = edge.served.request(route.method.clone(), &format!("{path}{query}"));
    let request = if token.is_empty() { request } else { request.bearer_auth(token) };
    match route.method {
        Method::GET => request,
        _ => request.header("idempotency-key", "k").json(&json!({"nonsense": 1})),
    }
}

async fn asked(edge: &Edge, route: &Route, token: &str, query: &str) -> (u16, String) {
    let response = request(edge, route, token, query).send().await.unwrap();
    let status = response.status().as_u16();
    // A stream that is told has no end.
    let fine = status < 400;
    (status, if fine { String::new() } else { Answer::of(response).await.problem().1 })
}

/// What came of a route otherwise than its line says, for one role.
async fn unlike(edge: &Edge, route: &Route, role: &str, token: &str, may: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |query: &str, found: (u16, String), expected: &[(u16, &str)]| {
        if !expected.contains(&(found.0, found.1.as_str())) {
            wrong.push(format!(
                "{} {}{query} by {role}, who may see {may}: {found:?}, not {expected:?}",
                route.method, route.path
            ));
        }
    };
    let fine: &[(u16, &str)] = if route.method == Method::GET { &[(200, "")] } else { &[(422, "invalid")] };
    let nobodys: &[(u16, &str)] = &[(404, "not_found")];
    let unsaid: &[(u16, &str)] = &[(422, "invalid")];
    match may {
        "all" | "self" => expect("", asked(edge, route, token, "").await, fine),
        "own" => {
            expect("", asked(edge, route, token, "").await, fine);
            for query in ["?client=acme", "?client=borealis", "?client=nobody"] {
                expect(query, asked(edge, route, token, query).await, unsaid);
            }
        }
        "named" => {
            expect("", asked(edge, route, token, "").await, unsaid);
            expect("?client=acme", asked(edge, route, token, "?client=acme").await, fine);
            expect("?client=nobody", asked(edge, route, token, "?client=nobody").await, nobodys);
            // What is acme's is not to be found with its neighbour, whoever asks.
            let elsewhere = if route.path.contains("{id}") { nobodys } else { fine };
            expect("?client=borealis", asked(edge, route, token, "?client=borealis").await, elsewhere);
        }
        "desk" => expect("", asked(edge, route, token, "").await, fine),
        "no" if token.is_empty() => expect("", asked(edge, route, token, "").await, &[(401, "unauthenticated")]),
        "no" => expect("", asked(edge, route, token, "").await, &[(403, "forbidden")]),
        other => panic!("nobody knows what {other} means"),
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_seen_by_whom_the_table_says_and_nobody_else() {
    let edge = Edge::new("api,projector").await;
    credential(&edge.streams, edge.acme.client).await;
    order_by_hand(&edge.streams, edge.acme.client, edge.acme.bot).await;
    let bots = edge.heads().await.into_iter().find(|(client, _)| *client == edge.acme.client).unwrap().1;
    edge.served.ask(&edge.acme.token, &format!("/api/bots?min_seq={bots}")).await.json();
    let (mut table, tokens) = (table(), tokens(&edge).await);
    let (before, mut wrong) = (edge.heads().await, Vec::new());
    for route in routes(&edge.served).await {
        let name = format!("{} {}", route.method, route.path);
        let Some(line) = table.remove(&name) else {
            wrong.push(format!("{name} is served and has no line in WHO_MAY_SEE: say who may see it"));
            continue;
        };
        for (role, may) in line {
            wrong.extend(unlike(&edge, &route, role, &tokens[role], may).await);
        }
    }
    wrong.extend(table.keys().map(|name| format!("{name} has a line in WHO_MAY_SEE and is not served")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(edge.heads().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_at_nothing_of_its_neighbours_through_any_route_and_changes_nothing_of_it() {
    let neighbours = Neighbours::new().await;
    let served = &neighbours.edge.served;
    let wrong = trespasses(&neighbours, served, &neighbours.edge.acme.token).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_a_name_of_a_neighbours_are_free_for_oneself() {
    let neighbours = Neighbours::new().await;
    let (edge, (me, other)) = (&neighbours.edge, neighbours.me_and_other());
    let new = json!({"name": "twin"});
    let theirs = edge.served.post(&other.token, "/api/bots", "k-twin", &new).await.json();
    let mine = edge.served.post(&me.token, "/api/bots", "k-twin", &new).await.json();
    assert_eq!((&theirs["repeated"], &mine["repeated"]), (&json!(false), &json!(false)));
    assert_ne!(theirs["bot_id"], mine["bot_id"]);
    // Whether a user is there is told to nobody either.
    let nobody = token(&edge.database, Some(ClientId::new()));
    assert_eq!(edge.served.ask(&nobody, "/api/bots").await.json(), json!([]));
}
