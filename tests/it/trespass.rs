//! What somebody can try to get at a neighbour's: through every route, in every place where an id can stand. Who may see
//! which route at all stands in `who_may_see.rs`.

use std::collections::{BTreeMap, BTreeSet};

use events::{BotId, Uuid, desk::Role};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};
use tests::{Answer, Served};

use crate::{
    edge::{Edge, Party},
    edge_input::{Route, routes},
    neighbours::{Neighbours, colleague_of, credential_of, id_in, order_of, rule_in, service_of, token_of},
};

/// How many lists of more than a page there are: each has a cursor to be stolen.
const CURSORS_MIN: usize = 4;

/// What fell into the wrong hands: places in the neighbour's lists, marks of its answers, the key of a command that it
/// gave, and how far its stream goes.
struct Stolen {
    cursors: BTreeSet<String>,
    tags: BTreeMap<String, String>,
    key: String,
    head: u64,
}

/// One thing that is tried.
struct Try {
    what: String,
    request: RequestBuilder,
    /// It speaks of what is not the caller's: it has to be answered as if that had never been.
    foreign: bool,
}

/// Tries everything with a token of the first client against what is the second's; what came of it that should not have.
pub async fn trespasses(neighbours: &Neighbours, served: &Served, token: &str) -> Vec<String> {
    let (edge, canaries) = (&neighbours.edge, neighbours.canaries());
    let stolen = Stolen::from(edge, &edge.borealis).await;
    let never = Never::of(served, token).await;
    let (before, mut wrong) = (neighbours.rows_of_others().await, Vec::new());
    for route in &routes_to_try(served).await {
        for Try { what, request, foreign } in tries(served, route, edge, &stolen, token) {
            let answer = answer_to(request, route).await;
            wrong.extend(told(&what, &answer, &canaries));
            if foreign && !never.is_like(&answer, route) {
                wrong.push(format!("{what} is not answered like what never was: {} {}", answer.status, answer.text()));
            }
            if answer.status == 304 {
                wrong.push(format!("{what} is told to be as it was for another"));
            }
        }
    }
    wrong.extend(listens(served, edge, token, &canaries).await);
    let after = neighbours.rows_of_others().await;
    let moved = after.iter().filter(|(table, rows)| before.get(*table) != Some(*rows));
    wrong.extend(moved.map(|(table, _)| format!("{table} has other rows of others than before")));
    wrong
}

/// All but the one that would end the tries: whose session somebody may end is tried in `sessions.rs`.
async fn routes_to_try(served: &Served) -> Vec<Route> {
    routes(served).await.into_iter().filter(|route| route.path != "/api/auth/logout").collect()
}

/// The answer; of a stream that is told its head alone, as it has no end. What it tells is listened to below.
async fn answer_to(request: RequestBuilder, route: &Route) -> Answer {
    let response = match request.send().await {
        Ok(response) => response,
        // Cut off before it could say anything: no answer is a fault.
        Err(error) => return Answer { status: 599, headers: HeaderMap::new(), body: error.to_string().into_bytes() },
    };
    match response.status().as_u16() {
        status @ 200 if route.path == "/api/stream" => {
            Answer { status, headers: response.headers().clone(), body: Vec::new() }
        }
        _ => Answer::of(response).await,
    }
}

/// All answers that a client gets to questions about itself, by what was asked.
pub async fn answers(served: &Served, edge: &Edge, of: &Party) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for route in routes(served).await.iter().filter(|route| route.is_question() && !route.is_of_desk()) {
        let path = path_of(route, of);
        let mut queries = vec![String::new()];
        for (name, values) in [
            ("group", ["bot", "day", "exchange", "pair"].as_slice()),
            ("method", &["fifo", "lifo"]),
            ("limit", &["3"]),
            ("order", &["oldest"]),
            ("open", &["true"]),
            ("from", &["2024-08-08T23:55:00Z"]),
            ("bot", &[&of.bot.to_string(), &edge.borealis.bot.to_string()]),
        ] {
            let named = route.queries.iter().any(|query| query == name);
            queries.extend(values.iter().filter(|_| named).map(|value| format!("?{name}={value}")));
        }
        for query in queries {
            let asked = format!("{path}{query}");
            let answer = served.ask(&of.token, &asked).await;
            found.insert(asked, format!("{} {}", answer.status, answer.text()));
        }
    }
    found
}

impl Stolen {
    async fn from(edge: &Edge, other: &Party) -> Self {
        let (mut cursors, mut tags) = (BTreeSet::new(), BTreeMap::new());
        for route in routes(&edge.served).await.iter().filter(|route| route.is_question() && !route.is_of_desk()) {
            let answer = edge.served.ask(&other.token, &path_of(route, other)).await;
            tags.insert(route.path.clone(), answer.header("etag").to_owned());
            if route.queries.iter().any(|query| query == "cursor") {
                let page = edge.served.ask(&other.token, &format!("{}?limit=1", path_of(route, other))).await.json();
                cursors.extend(page["next"].as_str().map(str::to_owned));
            }
        }
        assert!(cursors.len() >= CURSORS_MIN, "{cursors:?}");
        let key = format!("k-{}", Uuid::now_v7());
        let done = edge.set(other, &key, &key).await;
        Self { cursors, tags, key, head: done }
    }
}

/// How something is answered that nobody has.
struct Never {
    bot: Answer,
}

impl Never {
    async fn of(served: &Served, token: &str) -> Self {
        Self { bot: served.ask(token, &format!("/api/bots/{}", BotId::new())).await }
    }

    /// A route of the desk says only that it is the desk's.
    fn is_like(&self, answer: &Answer, route: &Route) -> bool {
        if route.is_of_desk() {
            return answer.status == 403;
        }
        (answer.status, &answer.body) == (self.bot.status, &self.bot.body)
    }
}

/// Where an answer tells of the neighbour, or is none.
fn told(what: &str, answer: &Answer, canaries: &[String]) -> Vec<String> {
    let said = format!("{} {:?}", answer.text(), answer.headers);
    // What one has said oneself is no news.
    let found = canaries.iter().find(|canary| said.contains(*canary) && !what.contains(*canary));
    let leaked = found.map(|canary| format!("{what} tells of {canary}: {} {said:.300}", answer.status));
    let failed = (answer.status >= 500).then(|| format!("{what} fails: {} {said:.300}", answer.status));
    leaked.into_iter().chain(failed).collect()
}

/// The path of a route, about what a client has.
fn path_of(route: &Route, of: &Party) -> String {
    let id = id_in(&route.path, of);
    path(route, of, &id, &order_of(of).to_string())
}

fn path(route: &Route, of: &Party, id: &str, order: &str) -> String {
    let path = route
        .path
        .replace("{id}", id)
        .replace("{order}", order)
        .replace("{rule}", rule_in(&route.path))
        .replace("{token}", &token_of(of).to_string());
    path.replace("{client}", of.slug).replace("{exchange}", "okx")
}

/// Paths that name something of the other's, alone or beside what is one's own.
fn foreign_paths(route: &Route, me: &Party, other: &Party) -> BTreeSet<String> {
    let mut paths = BTreeSet::from([path_of(route, other)]);
    let ids = [
        other.bot.to_string(),
        other.client.to_string(),
        credential_of(other).to_string(),
        order_of(other).to_string(),
        colleague_of(other).to_string(),
        service_of(other).to_string(),
        token_of(other).to_string(),
    ];
    for id in ids.iter().chain([&other.slug.to_owned(), &format!("{}-maker", other.slug)]) {
        paths.insert(path(route, me, id, &order_of(me).to_string()));
        let own = me.bot.to_string();
        paths.insert(path(route, me, &own, id));
        paths.insert(path(route, other, id, &format!("{}-by-hand", other.slug)));
    }
    paths.insert(path(route, me, &me.bot.to_string(), &format!("{}-by-hand", other.slug)));
    paths.remove(&path_of(route, me));
    paths
}

fn tries(served: &Served, route: &Route, edge: &Edge, stolen: &Stolen, token: &str) -> Vec<Try> {
    let (me, other) = (&edge.acme, &edge.borealis);
    let own = path_of(route, me);
    let mut tries = Vec::new();
    let mut add = |what: &str, request: RequestBuilder, foreign: bool| {
        tries.push(Try { what: format!("{} {what}", route.method), request, foreign });
    };
    let ask = |path: &str| request(served, route, token, path, &json!({}));
    let names = [
        me.bot.to_string(),
        credential_of(me).to_string(),
        colleague_of(me).to_string(),
        service_of(me).to_string(),
        me.slug.to_owned(),
    ];
    if names.iter().any(|name| own.contains(name)) {
        for path in foreign_paths(route, me, other) {
            add(&path, ask(&path), true);
        }
    }
    for query in queries(route, other, stolen) {
        let asked = format!("{own}?{query}");
        add(&asked, ask(&asked), false);
    }
    for (name, value) in headers(route, other, stolen) {
        add(&format!("{own} with {name}: {value}"), ask(&own).header(name, value), false);
    }
    if route.command {
        for body in bodies(other) {
            add(&format!("{own} with {body}"), request(served, route, token, &own, &body), false);
        }
        let keyed = served.command(route.method.clone(), token, &own, &stolen.key, &json!({}));
        add(&format!("{own} under a key of the other's"), keyed, false);
    }
    tries
}

/// A request that would be carried out if it spoke of one's own.
fn request(served: &Served, route: &Route, token: &str, path: &str, body: &Value) -> RequestBuilder {
    let request = served.request(route.method.clone(), path);
    let request = if token.is_empty() { request } else { request.bearer_auth(token) };
    match route.method {
        Method::GET => request,
        _ => request.header("idempotency-key", format!("k-{}", Uuid::now_v7())).json(body),
    }
}

fn queries(route: &Route, other: &Party, stolen: &Stolen) -> Vec<String> {
    let ids = [
        other.client.to_string(),
        other.client.0.simple().to_string(),
        other.slug.to_owned(),
        other.bot.to_string(),
        credential_of(other).to_string(),
        order_of(other).to_string(),
    ];
    let common = ["client", "bot", "client_id", "account", "as", "user"].map(str::to_owned);
    let names: BTreeSet<String> = common.into_iter().chain(route.queries.iter().cloned()).collect();
    let mut queries: Vec<String> =
        names.iter().flat_map(|name| ids.iter().map(move |id| format!("{name}={id}"))).collect();
    queries.extend(stolen.cursors.iter().map(|cursor| format!("limit=1&cursor={cursor}")));
    queries.extend(["after", "cursor"].map(|name| format!("{name}={}", stolen.head)));
    queries
}

/// Headers that mean something here, and some by which other systems have let themselves be told who asks.
fn headers(route: &Route, other: &Party, stolen: &Stolen) -> Vec<(&'static str, String)> {
    let mut headers: Vec<(&str, String)> =
        ["x-client-id", "x-client", "x-tenant-id", "x-user-id", "x-forwarded-user", "x-account", "app.client_id"]
            .into_iter()
            .flat_map(|name| [other.client.to_string(), other.slug.to_owned()].map(|value| (name, value)))
            .collect();
    headers.push(("x-role", "admin".to_owned()));
    headers.push(("cookie", format!("client_id={}; role=admin", other.client)));
    headers
        .extend(stolen.tags.get(&route.path).filter(|tag| !tag.is_empty()).map(|tag| ("if-none-match", tag.clone())));
    headers.push(("last-event-id", stolen.head.to_string()));
    headers
}

/// Bodies that speak of what is the other's.
fn bodies(other: &Party) -> Vec<Value> {
    let (client, bot) = (other.client.to_string(), other.bot.to_string());
    vec![
        json!({"client": other.slug}),
        json!({"client_id": client}),
        json!({"bot_id": bot, "id": bot}),
        json!({"reason": "x", "bot": bot, "client_id": client}),
        json!({"name": "x", "config": {"account": client}}),
        json!({"fields": {"client_id": client}}),
        json!({"side": "buy", "order_type": "limit", "price": "1", "amount": "1", "bot": bot}),
    ]
}

/// A stream is told to one who listens, and to nobody else.
async fn listens(served: &Served, edge: &Edge, token: &str, canaries: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    let own = served.ask(&edge.acme.token, "/api/events?limit=1").await;
    let head = own.json()["items"][0]["client_seq"].as_u64().unwrap();
    match served.listen(token, "/api/stream?after=0", None).await {
        Ok(mut listener) => {
            for _ in 0..head {
                let Some(heard) = listener.next().await else {
                    wrong.push("the stream ends before its end".to_owned());
                    break;
                };
                wrong.extend(
                    canaries
                        .iter()
                        .filter(|canary| heard.data.contains(*canary))
                        .map(|canary| format!("the stream tells of {canary}: {:.300}", heard.data)),
                );
            }
        }
        Err(answer) => wrong.push(format!("the stream is not told: {} {}", answer.status, answer.text())),
    }
    for last in [edge.borealis.client.to_string(), edge.borealis.slug.to_owned()] {
        if served.listen(token, "/api/stream", Some(&last)).await.is_ok() {
            wrong.push(format!("a stream is told from after {last}"));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_belongs_to_a_client_gets_at_nothing_of_its_neighbours_through_any_route_and_changes_nothing_of_it() {
    let neighbours = Neighbours::new().await;
    let edge = &neighbours.edge;
    for role in [Role::ClientOwner, Role::ClientViewer] {
        let token = edge.database.signed_in(role, Some(edge.acme.client)).await.token;
        let wrong = trespasses(&neighbours, &edge.served, &token).await;
        assert!(wrong.is_empty(), "{role:?}: {}", wrong.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_auditors_who_were_granted_nothing_hear_nothing_of_anybody() {
    let neighbours = Neighbours::new().await;
    let (edge, canaries) = (&neighbours.edge, neighbours.canaries());
    let auditor = edge.database.signed_in(Role::Auditor, None).await.token;
    let (before, mut wrong) = (neighbours.rows_of_others().await, Vec::new());
    for route in routes_to_try(&edge.served).await {
        let path = path_of(&route, &edge.borealis);
        for (who, token) in [("a stranger", ""), ("an auditor", auditor.as_str())] {
            for query in ["", "?client=borealis", "?after=0", "?client=borealis&after=0"] {
                let asked = format!("{path}{query}");
                let answer = Answer::to(request(&edge.served, &route, token, &asked, &json!({}))).await;
                wrong.extend(told(&format!("{who} who asks {} {asked}", route.method), &answer, &canaries));
                if !route.public && answer.status < 400 && route.is_about_a_client() {
                    wrong.push(format!("{who} is answered {} to {} {asked}", answer.status, route.method));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(neighbours.rows_of_others().await, before);
}

/// Whoever is a client's cannot speak of another, and whoever is of the desk has to say of which.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_whose_a_client_is_and_the_desk_names_one() {
    let neighbours = Neighbours::new().await;
    let (edge, mut wrong) = (&neighbours.edge, Vec::new());
    for route in routes(&edge.served).await.into_iter().filter(Route::is_about_a_client) {
        let path = path_of(&route, &edge.acme);
        let all = route.path == "/api/stream";
        let own = if route.method == Method::GET { 200 } else { 422 };
        // What is acme's is not to be found with its neighbour, whoever asks; the rules of alerts are everybody's.
        let is_acmes = route.path.contains('{') && !route.path.contains("{rule}");
        let elsewhere = if is_acmes { 404 } else { own };
        let (client, admin) = (&edge.acme.token, &edge.admin);
        for (token, query, expected) in [
            (client, "", own),
            (client, "?client=acme", 422),
            (client, "?client=borealis", 422),
            (client, "?client=nobody", 422),
            (admin, "", if all { own } else { 422 }),
            (admin, "?client=acme", own),
            (admin, "?client=borealis", elsewhere),
            (admin, "?client=nobody", 404),
        ] {
            let asked = format!("{path}{query}");
            // A body that no route takes: who may not is told so first, and nothing is changed.
            let request = request(&edge.served, &route, token, &asked, &json!({"nonsense": 1}));
            let status = answer_to(request, &route).await.status;
            if status != expected {
                wrong.push(format!("{} {asked} is answered {status}, not {expected}", route.method));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_a_name_of_a_neighbours_are_free_for_oneself() {
    let neighbours = Neighbours::new().await;
    let (edge, new) = (&neighbours.edge, json!({"name": "twin"}));
    let theirs = edge.served.post(&edge.borealis.token, "/api/bots", "k-twin", &new).await.json();
    let mine = edge.served.post(&edge.acme.token, "/api/bots", "k-twin", &new).await.json();
    assert_eq!((&theirs["repeated"], &mine["repeated"]), (&json!(false), &json!(false)));
    assert_ne!(theirs["bot_id"], mine["bot_id"]);
}
