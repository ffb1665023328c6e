//! A command that is sent again, by whomever, to whichever process, is done once and answered alike.

use std::collections::BTreeMap;

use events::{BotId, ClientId};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use store::{Login, read};
use tests::{Answer, Database, Served, token};

use crate::edge::{Edge, seq};

/// Requests that are sent with one key, and how many of them are under way at once.
const TIMES: usize = 1_000;
const AT_ONCE: usize = 200;

/// Sends one command over and over, in turn to each of these processes, and counts the answers by what they say.
async fn over_and_over(to: [&Served; 2], token: &str, path: &str, body: &Value) -> BTreeMap<(u16, String), usize> {
    let requests = stream::iter(0..TIMES).map(|n| to[n % 2].post(token, path, "once", body));
    let answers: Vec<Answer> = requests.buffer_unordered(AT_ONCE).collect().await;
    let mut counted = BTreeMap::new();
    for answer in answers {
        *counted.entry((answer.status, answer.text())).or_default() += 1;
    }
    counted
}

/// All succeeded with one `client_seq`, and one of them, or the one whose answer nobody heard, was the first.
fn done_once(answers: &BTreeMap<(u16, String), usize>, status: u16) -> Value {
    let mut told: Vec<Value> = Vec::new();
    for ((answered, text), times) in answers {
        assert_eq!(*answered, status, "{text}");
        let mut said: Value = serde_json::from_str(text).unwrap();
        let repeated = said.as_object_mut().unwrap().remove("repeated").unwrap();
        assert!(repeated == true || *times == 1, "{times} were told that they were the first: {text}");
        told.push(said);
    }
    told.dedup();
    assert_eq!((told.len(), answers.values().sum::<usize>(), answers.len()), (1, TIMES, 2), "{answers:?}");
    told.remove(0)
}

async fn of_type(database: &Database, client: ClientId, kind: &str) -> usize {
    let events = read::after(&database.pool(Login::Projector), client, 0, 10_000).await.unwrap();
    events.iter().filter(|event| event.event.event_type() == kind).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_deploys_with_one_key_to_two_processes_are_one_event() {
    let edge = Edge::new("api").await;
    let other = Served::start(&edge.database, "api");
    let before = edge.heads().await;
    let path = edge.acme.path("/deploy");
    let answers = over_and_over([&edge.served, &other], &edge.acme.token, &path, &json!({})).await;
    let done = done_once(&answers, 202);
    assert_eq!(seq(&done), before.iter().find(|(client, _)| *client == edge.acme.client).unwrap().1 + 1);
    assert_eq!(of_type(&edge.database, edge.acme.client, "BotDeployRequested").await, 1);
    let moved: u64 = edge.heads().await.iter().zip(&before).map(|((_, now), (_, was))| now - was).sum();
    assert_eq!(moved, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_times_the_same_bot_or_the_same_client_are_one() {
    let edge = Edge::new("api").await;
    let other = Served::start(&edge.database, "api");
    let to = [&edge.served, &other];
    let body = json!({"name": "twin", "config": {"controller": "pmm_simple", "parameters": {"a": "1"}}});
    let done = done_once(&over_and_over(to, &edge.acme.token, "/api/bots", &body).await, 201);
    assert_eq!(done["bot_id"], BotId::named(edge.acme.client, &"twin".parse().unwrap()).to_string());
    assert_eq!(of_type(&edge.database, edge.acme.client, "BotCreated").await, 2);

    let done = done_once(&over_and_over(to, &edge.admin, "/api/admin/clients", &json!({"slug": "cirrus"})).await, 201);
    assert_eq!(seq(&done), 1);
    let client: ClientId = done["client_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(of_type(&edge.database, client, "ClientOnboarded").await, 1);
    assert_eq!(edge.heads().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_the_request_that_it_came_with() {
    let edge = Edge::new("api").await;
    let token = &edge.acme.token;
    let create = json!({"name": "one", "config": {"controller": "pmm_simple"}});
    let created = edge.served.post(token, "/api/bots", "k", &create).await;
    let (place, created) = (created.header("location").to_owned(), created.json());
    assert_eq!(created["repeated"], false);
    let before = edge.heads().await;
    let reused = (422, "idempotency_key_reused".to_owned());
    let config = json!({"name": "one", "config": {"controller": "pmm_dynamic"}});
    for (path, body) in [
        ("/api/bots".to_owned(), json!({"name": "two"})),
        ("/api/bots".to_owned(), config),
        (format!("{place}/deploy"), json!({})),
        (edge.acme.path("/deploy"), create.clone()),
    ] {
        let answer = edge.served.post(token, &path, "k", &body).await;
        // A body that the path does not take is refused for that.
        let expected = if body == create { (422, "invalid".to_owned()) } else { reused.clone() };
        assert_eq!(answer.problem(), expected, "{path} {body}");
    }
    let again = edge.served.post(token, "/api/bots", "k", &create).await.json();
    assert_eq!((&again["client_seq"], &again["repeated"]), (&created["client_seq"], &json!(true)));
    // Another client's keys are its own.
    assert_eq!(edge.heads().await, before);
    let theirs = edge.served.post(&edge.borealis.token, "/api/bots", "k", &create).await.json();
    assert_eq!(theirs["repeated"], false);
    // What is there already is no new bot, whatever the key.
    let taken = edge.served.post(token, "/api/bots", "k2", &create).await;
    assert_eq!(taken.problem(), (409, "conflict".into()));
    let slug = json!({"slug": "acme", "name": "somebody else"});
    assert_eq!(
        edge.served.post(&edge.admin, "/api/admin/clients", "k", &slug).await.problem(),
        (409, "conflict".into())
    );
}

/// What was seen: keys `a` and `a/2` of two commands, then `a` again: the second one's number was told.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_look_like_each_other_are_two() {
    let edge = Edge::new("api").await;
    let mut told = Vec::new();
    for key in ["a", "a/2", "a:", "a:/2", "a/3:"] {
        let done = edge.set(&edge.acme, key, key).await;
        told.push((key, done));
    }
    for (key, done) in told {
        assert_eq!(edge.set(&edge.acme, key, key).await, done, "key {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_lives_by_commands_and_what_cannot_be_is_a_conflict() {
    let edge = Edge::new("api,projector").await;
    let (token, conflict) = (&edge.acme.token, (409, "conflict".to_owned()));
    let post =
        async |path: &str, key: &str, body: Value| edge.served.post(token, &edge.acme.path(path), key, &body).await;
    assert_eq!(post("/stop", "1", json!({})).await.problem(), conflict);
    let asked = seq(&post("/deploy", "2", json!({})).await.json());
    assert_eq!(post("/deploy", "3", json!({})).await.problem(), conflict);
    let stopped = seq(&post("/stop", "4", json!({"reason": "enough"})).await.json());
    assert_eq!(stopped, asked + 1);
    let nothing_new = edge.set(&edge.acme, "5", "1").await;
    let path = edge.acme.path("/config");
    let same = edge.served.command(reqwest::Method::PATCH, token, &path, "6", &json!({"parameters": {"n": "1"}}));
    assert_eq!(Answer::to(same).await.problem(), conflict);
    let bot = edge.served.ask(token, &format!("{}?min_seq={nothing_new}", edge.acme.path(""))).await.json();
    assert_eq!(bot["config"]["parameters"], json!({"n": "1"}), "{bot}");
    // An admin's command for a client is that client's event.
    let path = format!("/api/bots?client={}", edge.borealis.slug);
    let created = edge.served.post(&edge.admin, &path, "k", &json!({"name": "by-the-desk"})).await.json();
    let list = format!("/api/bots?min_seq={}", seq(&created));
    let bots = edge.served.ask(&edge.borealis.token, &list).await.json();
    assert!(bots.as_array().unwrap().iter().any(|bot| bot["bot_id"] == created["bot_id"]), "{bots}");
    let somebodys = token_of_nobody(&edge);
    let answer = edge.served.post(&somebodys, "/api/bots", "k", &json!({"name": "x"})).await;
    assert_eq!(answer.status, 201, "a client's first event may be a bot: {}", answer.text());
}

fn token_of_nobody(edge: &Edge) -> String {
    token(&edge.database, Some(ClientId::new()))
}
