//! Subscribers on NATS: each gets exactly its client's events, once and in order, whatever was lost or restarted; a
//! credential is told once, counts for a day and is taken back at once. What attackers try stands in `attacks`, what becomes
//! of keys whose bringers are let in no more in `departures`.

mod attacks;
mod departures;
mod follower;

use std::{
    fs,
    io::Write,
    process::Stdio,
    time::{Duration, Instant},
};

use events::{Event, Time, subscription::SubscriptionEvent};
use nkeys::KeyPair;
use reqwest::Method;
use serde_json::{Value, json};
use store::{Login, Streams, read};
use tests::{Answer, Database, OwnNats, Served, arrived};

use self::follower::{Delivered, Follower, seed};
use crate::{
    edge::{Edge, Party, seq},
    facts::{fill, recorded, write},
};

const PATH: &str = "/api/alerts/subscriptions";

/// A desk on a NATS of its own.
async fn desk() -> (Edge, OwnNats) {
    let (mut database, nats) = (Database::new().await, OwnNats::start());
    database.use_nats(&nats.at);
    (Edge::on(database, "api,projector,relay").await, nats)
}

async fn fills(streams: &Streams, of: &Party, numbers: std::ops::Range<u64>) {
    write(streams, numbers.map(|n| recorded(of.client, fill(of.client, of.bot, n, n as i64))).collect()).await;
}

/// Asks for a subscription, and waits until NATS lets it in.
async fn subscribe(edge: &Edge, of: &Party, name: &str, more: Value) -> Value {
    let mut body = json!({"name": name, "filter": "all"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut told = edge.served.post(&of.token, PATH, &format!("ask-{name}"), &body).await;
    // A machine that has much to do: the same is sent again, as the problem says.
    while told.status == 503 {
        told = edge.served.post(&of.token, PATH, &format!("ask-{name}"), &body).await;
    }
    assert_eq!(told.status, 201, "{}", told.text());
    becomes(edge, of, name, "active").await;
    told.json()
}

/// One subscription as it is listed.
async fn listed(edge: &Edge, of: &Party, name: &str) -> Value {
    let all = edge.served.ask(&of.token, PATH).await.json();
    all.as_array().unwrap().iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
}

async fn becomes(edge: &Edge, of: &Party, name: &str, state: &str) -> Value {
    until(&format!("{name} is {state}"), async || listed(edge, of, name).await["state"] == state).await;
    listed(edge, of, name).await
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), asking).await.unwrap_or_else(|_| panic!("it never is so: {what}"));
}

async fn revoke(edge: &Edge, of: &Party, told: &Value, key: &str) -> Answer {
    let path = format!("{PATH}/{}", told["subscription_id"].as_str().unwrap());
    Answer::to(edge.served.command(Method::DELETE, &of.token, &path, key, &json!({}))).await
}

async fn post(edge: &Edge, of: &Party, told: &Value, what: &str, body: &Value) -> Answer {
    let path = format!("{PATH}/{}/{what}", told["subscription_id"].as_str().unwrap());
    edge.served.post(&of.token, &path, &format!("{what}-{}", events::CommandId::new()), body).await
}

async fn told_of(edge: &Edge, of: &Party) -> Vec<SubscriptionEvent> {
    let events = read::after(&edge.database.pool(Login::Projector), of.client, 0, 100_000).await.unwrap();
    let told = events.into_iter().filter_map(|recorded| match recorded.event {
        Event::Subscription(told) => Some(told),
        Event::Client(_)
        | Event::Bot(_)
        | Event::Credential(_)
        | Event::Ledger(_)
        | Event::Market(_)
        | Event::Order(_)
        | Event::Manual(_)
        | Event::Desk(_)
        | Event::Alert(_)
        | Event::Rule(_)
        | Event::Agreement(_)
        | Event::Channel(_)
        | Event::Schedule(_)
        | Event::Silence(_)
        | Event::Agent(_)
        | Event::Account(_) => None,
    });
    told.collect()
}

/// Events as the API tells what follows a number.
async fn events_after(edge: &Edge, of: &Party, after: u64) -> Vec<(u64, String)> {
    let (mut found, mut more) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/events?after_seq={after}&limit=100{more}");
        let page = edge.served.ask(&of.token, &path).await.json();
        let lines = page["items"].as_array().unwrap().iter();
        found.extend(lines.map(|line| (seq(line), line["event_id"].as_str().unwrap().to_owned())));
        match page["next"].as_str() {
            Some(next) => more = format!("&cursor={next}"),
            None => return found,
        }
    }
}

fn numbered(delivered: &[Delivered]) -> Vec<(u64, String)> {
    delivered.iter().map(|one| (one.client_seq, one.id.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_exactly_its_clients_events_in_order_and_goes_on_where_it_was() {
    let (edge, nats) = desk().await;
    fills(&edge.streams, &edge.acme, 0..300).await;
    fills(&edge.streams, &edge.borealis, 0..300).await;
    let told = subscribe(&edge, &edge.acme, "all", json!({"after_seq": 0})).await;
    let first = Follower::come_in(&nats.at, &told).await;
    let mut delivered = first.take(200).await;
    // Fetched and not acknowledged: it comes again.
    let lost = first.fetch(5, false).await;
    assert!(!lost.is_empty());
    drop(first);
    fills(&edge.streams, &edge.acme, 300..400).await;
    fills(&edge.streams, &edge.borealis, 300..400).await;
    // Two events before the fills, the subscription's two among them.
    let head = 2 + 400 + 2;
    let second = Follower::come_in(&nats.at, &told).await;
    delivered.extend(second.take(head - 200 - lost.len()).await);
    let again = second.take(lost.len()).await;
    assert_eq!(numbered(&again), numbered(&lost), "what was not acknowledged comes again, and nothing else");
    delivered.extend(again);
    assert!(second.fetch(1, false).await.is_empty(), "something comes twice");
    delivered.sort_by_key(|one| one.sequence);
    let own = format!("pipelabs.{}.events.", edge.acme.client.0.simple());
    for (one, expected) in delivered.iter().zip(1..) {
        assert_eq!((one.sequence, one.client_seq), (expected, expected), "{one:?}");
        assert!(one.subject.starts_with(&own) && one.subject.ends_with(&one.kind), "{one:?}");
    }
    let known = events_after(&edge, &edge.acme, 0).await;
    assert_eq!(numbered(&delivered), known, "NATS and the API tell the same under the same numbers");
    let listed = until_reached(&edge, &edge.acme, "all", head as u64).await;
    assert_eq!(listed["delivers"], format!("pipelabs.{}.>", edge.acme.client.0.simple()));
}

/// Waits until it is known that a subscriber has acknowledged so much.
async fn until_reached(edge: &Edge, of: &Party, name: &str, acknowledged: u64) -> Value {
    let reached = async || listed(edge, of, name).await["reached"]["acknowledged"].as_u64();
    until("it is known how far it has come", async || reached().await == Some(acknowledged)).await;
    listed(edge, of, name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_catches_up_by_either_way_from_the_same_number() {
    let (edge, nats) = desk().await;
    let told = subscribe(&edge, &edge.acme, "pager", json!({})).await;
    let follower = Follower::come_in(&nats.at, &told).await;
    fills(&edge.streams, &edge.acme, 0..50).await;
    let seen = follower.take(52).await;
    assert_eq!(seen[0].kind, "SubscriptionRequested", "from its own request on");
    assert_eq!(seen[0].sequence, 3);
    drop(follower);
    fills(&edge.streams, &edge.acme, 50..250).await;
    arrived(&edge.database, edge.acme.client, None).await;
    let last = seen.last().unwrap().client_seq;
    let follower = Follower::come_in(&nats.at, &told).await;
    let missed = follower.take(200).await;
    assert_eq!(missed[0].sequence, last + 1);
    assert_eq!(numbered(&missed), events_after(&edge, &edge.acme, last).await);
    let newest = edge.served.ask(&edge.acme.token, &format!("/api/events?after={last}&order=newest&limit=1")).await;
    assert_eq!(newest.json()["items"][0]["client_seq"], missed.last().unwrap().client_seq);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_lets_through_what_it_names_and_a_raw_subject_is_none() {
    let (edge, nats) = desk().await;
    let bots = subscribe(&edge, &edge.acme, "bots", json!({"filter": "events.bot", "after_seq": 0})).await;
    let alerts = subscribe(&edge, &edge.acme, "alerts", json!({"filter": "alerts", "after_seq": 0})).await;
    fills(&edge.streams, &edge.acme, 0..20).await;
    let deployed = edge.served.post(&edge.acme.token, &edge.acme.path("/deploy"), "d", &json!({})).await.json();
    arrived(&edge.database, edge.acme.client, None).await;
    let follower = Follower::come_in(&nats.at, &bots).await;
    let kinds: Vec<String> = follower.take(2).await.into_iter().map(|one| one.kind).collect();
    assert_eq!(kinds, ["BotCreated", "BotDeployRequested"]);
    assert!(follower.fetch(1, false).await.is_empty());
    assert!(
        Follower::come_in(&nats.at, &alerts).await.fetch(1, false).await.is_empty(),
        "no event of ours is an alert"
    );
    let before = edge.heads().await;
    for filter in ["", ">", "*", "pipelabs.>", "events.*", "events.bot.>", "$JS.>", "alerts.fatal", "events.desk"] {
        let body = json!({"name": "raw", "filter": filter});
        let refused = edge.served.post(&edge.acme.token, PATH, "raw", &body).await;
        assert_eq!(refused.problem(), (422, "invalid".into()), "{filter}");
    }
    assert_eq!(edge.heads().await, before);
    assert!(seq(&deployed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_told_once_and_its_seed_is_nowhere_to_be_found() {
    let (edge, nats) = desk().await;
    let told = subscribe(&edge, &edge.acme, "ours", json!({})).await;
    let made = seed(&told).seed().unwrap();
    assert_eq!(told["user_public_nkey"], seed(&told).public_key());
    let again = edge.served.post(&edge.acme.token, PATH, "ask-ours", &json!({"name": "ours", "filter": "all"})).await;
    assert_eq!((again.status, again.header("cache-control")), (201, "no-store"));
    let again = again.json();
    assert_eq!((&again["repeated"], &again["client_seq"]), (&json!(true), &told["client_seq"]));
    assert_eq!((&again["creds"], &again["jwt"]), (&Value::Null, &Value::Null));
    // Whoever brings its own key is told no seed, and may be told the rest again: without the seed it opens nothing.
    let key = KeyPair::new_user();
    let theirs = subscribe(&edge, &edge.acme, "theirs", json!({"user_public_nkey": key.public_key()})).await;
    assert_eq!(theirs["creds"], Value::Null);
    let body = json!({"name": "theirs", "filter": "all", "user_public_nkey": key.public_key()});
    let repeated = edge.served.post(&edge.acme.token, PATH, "ask-theirs", &body).await.json();
    assert_eq!(repeated["jwt"], theirs["jwt"]);
    let follower = Follower::with_key(&nats.at, &theirs, &key).await.unwrap();
    assert!(!follower.take(1).await.is_empty());
    let everything = edge.database.everything().await;
    assert!(everything.contains("SubscriptionRequested") && everything.contains(&key.public_key()));
    for secret in [&made, told["jwt"].as_str().unwrap(), theirs["jwt"].as_str().unwrap()] {
        assert!(!everything.contains(secret), "a table holds a credential");
    }
    let list = edge.served.ask(&edge.acme.token, PATH).await.text();
    assert!(!list.contains(&made) && !list.contains("jwt"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_credential_is_refused_in_words_and_no_seed_is_repeated() {
    let (edge, _nats) = desk().await;
    let key = KeyPair::new_user();
    subscribe(&edge, &edge.acme, "one", json!({"user_public_nkey": key.public_key()})).await;
    let before = edge.heads().await;
    let refused = async |body: Value, expected: (u16, &str), says: &str| {
        let answer = edge.served.post(&edge.acme.token, PATH, "k", &body).await;
        assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()), "{body}");
        assert!(answer.text().contains(says), "{}", answer.text());
        answer.text()
    };
    let body = |more: Value| {
        let mut body = json!({"name": "two", "filter": "all"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let seed = KeyPair::new_user().seed().unwrap();
    let text = refused(body(json!({"user_public_nkey": seed})), (422, "invalid"), "keep it to yourself").await;
    assert!(!text.contains(&seed[4..]), "{text}");
    let account = KeyPair::new_account().public_key();
    refused(body(json!({"user_public_nkey": account})), (422, "invalid"), "the first of them U").await;
    let damaged = format!("{}{}", &key.public_key()[..55], if key.public_key().ends_with('A') { 'B' } else { 'A' });
    refused(body(json!({"user_public_nkey": damaged})), (422, "invalid"), "public half").await;
    refused(body(json!({"after_seq": 99})), (422, "invalid"), "ends with event").await;
    refused(body(json!({"name": "one"})), (409, "conflict"), "of this name").await;
    let taken = body(json!({"user_public_nkey": key.public_key()}));
    refused(taken, (409, "conflict"), "one for each subscription").await;
    assert_eq!(edge.heads().await, before);
    for n in 1..32 {
        let more = json!({"name": format!("n{n}"), "filter": "all"});
        assert_eq!(edge.served.post(&edge.acme.token, PATH, &format!("n{n}"), &more).await.status, 201, "{n}");
    }
    until("all are known", async || {
        edge.served.ask(&edge.acme.token, PATH).await.json().as_array().unwrap().len() == 32
    })
    .await;
    refused(body(json!({})), (409, "conflict"), "at most 32").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_one_stays_connected_and_a_rotated_one_goes_on_under_another_key_only() {
    let (edge, nats) = desk().await;
    let told = subscribe(&edge, &edge.acme, "pager", json!({})).await;
    let follower = Follower::come_in(&nats.at, &told).await;
    follower.take(2).await;
    // A credential says its times in whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let renewed = post(&edge, &edge.acme, &told, "renew", &json!({})).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let renewed = renewed.json();
    assert_eq!((&renewed["creds"], &renewed["user_public_nkey"]), (&Value::Null, &told["user_public_nkey"]));
    let at = |told: &Value| told["expires_at"].as_str().unwrap().parse::<Time>().unwrap();
    assert!(at(&renewed) > at(&told) && renewed["jwt"] != told["jwt"]);
    let longer = Follower::with_key(&nats.at, &renewed, &seed(&told)).await.unwrap();
    longer.take(1).await;
    assert!(follower.stayed(), "a renewal cuts nobody off");

    let rotated = post(&edge, &edge.acme, &told, "rotate", &json!({})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let rotated = rotated.json();
    follower.cut_off().await;
    longer.cut_off().await;
    becomes(&edge, &edge.acme, "pager", "active").await;
    for old in [&told, &renewed] {
        assert!(Follower::with_key(&nats.at, old, &seed(&told)).await.is_err(), "the old key is let in");
    }
    let follower = Follower::come_in(&nats.at, &rotated).await;
    fills(&edge.streams, &edge.acme, 0..10).await;
    // After three events that the first two took: rotated, active, and the fills.
    let taken = follower.take(12).await;
    assert_eq!(taken[0].sequence, 6, "{taken:?}");
    assert_eq!(taken.iter().map(|one| one.sequence).collect::<Vec<_>>(), (6..18).collect::<Vec<_>>());
    let same = json!({"user_public_nkey": rotated["user_public_nkey"]});
    assert_eq!(post(&edge, &edge.acme, &told, "rotate", &same).await.problem(), (409, "conflict".into()));
    let first = json!({"user_public_nkey": told["user_public_nkey"]});
    assert_eq!(post(&edge, &edge.acme, &told, "rotate", &first).await.problem(), (409, "conflict".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_one_is_off_at_once_and_never_comes_back_and_the_others_stay() {
    let (edge, nats) = desk().await;
    let told = subscribe(&edge, &edge.acme, "pager", json!({})).await;
    let other = subscribe(&edge, &edge.acme, "other", json!({})).await;
    let (follower, stays) = (Follower::come_in(&nats.at, &told).await, Follower::come_in(&nats.at, &other).await);
    follower.take(1).await;
    let asked = Instant::now();
    let done = revoke(&edge, &edge.acme, &told, "bye").await;
    assert_eq!(done.status, 202, "{}", done.text());
    let off = follower.cut_off().await;
    println!("revoked, and off {} ms after it was asked for", off.duration_since(asked).as_millis());
    let gone = becomes(&edge, &edge.acme, "pager", "revoked").await;
    assert_eq!((&gone["reason"], &gone["reached"]), (&json!("asked for"), &Value::Null));
    assert!(Follower::with_key(&nats.at, &told, &seed(&told)).await.is_err(), "it is let in again");
    let consumer = told["consumer"].as_str().unwrap();
    let stream = nats.at.jetstream().await.get_stream(told["stream"].as_str().unwrap()).await.unwrap();
    assert!(stream.consumer_info(consumer).await.is_err(), "its consumer is left");
    fills(&edge.streams, &edge.acme, 0..5).await;
    assert!(stays.stayed() && !stays.take(5).await.is_empty());
    for (what, expected) in [("renew", 409), ("rotate", 409)] {
        assert_eq!(post(&edge, &edge.acme, &told, what, &json!({})).await.status, expected, "{what}");
    }
    assert_eq!(revoke(&edge, &edge.acme, &told, "bye2").await.problem(), (409, "conflict".into()));
    assert_eq!(revoke(&edge, &edge.acme, &told, "bye").await.json()["repeated"], true);
    // The name is free again, and what is given under it begins anew.
    let again = edge.served.post(&edge.acme.token, PATH, "again", &json!({"name": "pager", "filter": "all"})).await;
    assert_eq!(again.status, 201, "{}", again.text());
    becomes(&edge, &edge.acme, "pager", "active").await;
    let anew = Follower::come_in(&nats.at, &again.json()).await.take(1).await;
    assert_eq!(anew[0].sequence, seq(&again.json()));
    assert!(Follower::with_key(&nats.at, &told, &seed(&told)).await.is_err(), "the first key is let in again");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_nats_lost_is_made_again_from_the_events() {
    let (edge, nats) = desk().await;
    let told = subscribe(&edge, &edge.acme, "pager", json!({"after_seq": 0})).await;
    let gone = subscribe(&edge, &edge.acme, "gone", json!({})).await;
    revoke(&edge, &edge.acme, &gone, "bye").await;
    becomes(&edge, &edge.acme, "gone", "revoked").await;
    fills(&edge.streams, &edge.acme, 0..100).await;
    let follower = Follower::come_in(&nats.at, &told).await;
    follower.take(60).await;
    until_reached(&edge, &edge.acme, "pager", 60).await;
    let comes_in = async |told: &Value| Follower::with_key(&nats.at, told, &seed(told)).await.is_ok();
    // Every account.
    nats.while_down(|_| fs::remove_dir_all(nats.accounts()).unwrap());
    until("its account is there again", async || comes_in(&told).await).await;
    assert!(!comes_in(&gone).await, "what was revoked is let in");
    let follower = Follower::come_in(&nats.at, &told).await;
    assert_eq!(follower.take(10).await[0].sequence, 61);
    until_reached(&edge, &edge.acme, "pager", 70).await;
    // Every stream and consumer.
    nats.lose_everything();
    arrived(&edge.database, edge.acme.client, None).await;
    let js = nats.at.jetstream().await;
    until("its consumer is there again", async || {
        let stream = js.get_stream(told["stream"].as_str().unwrap()).await.unwrap();
        stream.consumer_info(told["consumer"].as_str().unwrap()).await.is_ok()
    })
    .await;
    let follower = Follower::come_in(&nats.at, &told).await;
    assert_eq!(follower.take(10).await[0].sequence, 71, "it goes on from what was noted");
    // Somebody removes one consumer, and nothing else moves.
    let stream = js.get_stream(told["stream"].as_str().unwrap()).await.unwrap();
    until_reached(&edge, &edge.acme, "pager", 80).await;
    stream.delete_consumer(told["consumer"].as_str().unwrap()).await.unwrap();
    until("it is there again", async || stream.consumer_info(told["consumer"].as_str().unwrap()).await.is_ok()).await;
    let told_twice = told_of(&edge, &edge.acme).await;
    assert_eq!(told_twice.iter().filter(|told| told.name() == "SubscriptionActive").count(), 2, "{told_twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nats_is_away_wishes_are_taken_and_several_relays_do_what_is_left_once() {
    let (mut database, nats) = (Database::new().await, OwnNats::start());
    database.use_nats(&nats.at);
    let edge = Edge::on(database, "api,projector").await;
    nats.kill();
    let body = json!({"name": "pager", "filter": "all"});
    let told = edge.served.post(&edge.acme.token, PATH, "k", &body).await.json();
    let also = edge.served.post(&edge.acme.token, PATH, "k2", &json!({"name": "also", "filter": "all"})).await.json();
    until("it is listed", async || listed(&edge, &edge.acme, "also").await["state"] == "wanted").await;
    let mut relays: Vec<Served> = (0..3).map(|_| Served::start(&edge.database, "relay")).collect();
    revoke(&edge, &edge.acme, &also, "bye").await;
    nats.start_again();
    becomes(&edge, &edge.acme, "pager", "active").await;
    becomes(&edge, &edge.acme, "also", "revoked").await;
    assert!(!Follower::come_in(&nats.at, &told).await.take(1).await.is_empty());
    assert!(Follower::with_key(&nats.at, &also, &seed(&also)).await.is_err());
    relays.iter_mut().for_each(Served::kill);
    // One that begins when all is done finds it done.
    let _relay = Served::start(&edge.database, "relay");
    let next = subscribe(&edge, &edge.acme, "next", json!({})).await;
    assert!(!Follower::come_in(&nats.at, &next).await.take(1).await.is_empty());
    let names: Vec<&str> = told_of(&edge, &edge.acme).await.iter().map(SubscriptionEvent::name).collect();
    assert_eq!(names.iter().filter(|name| **name == "SubscriptionActive").count(), 2, "{names:?}");
    assert_eq!(names.iter().filter(|name| **name == "SubscriptionRevoked").count(), 1, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_comes_before_nats_knows_of_it_waits_to_be_let_in() {
    let (mut database, nats) = (Database::new().await, OwnNats::start());
    database.use_nats(&nats.at);
    let edge = Edge::on(database, "api,projector").await;
    let told = edge.served.post(&edge.acme.token, PATH, "k", &json!({"name": "pager", "filter": "all"})).await;
    let mut follow = edge.database.command(&["nats", "follow", "--server", &nats.at.url, "--count", "1"]);
    let mut follow = follow.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    follow.stdin.take().unwrap().write_all(told.text().as_bytes()).unwrap();
    // Long enough to be turned away once.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(follow.try_wait().unwrap().is_none(), "it gave up");
    let _relay = Served::start(&edge.database, "relay");
    let output = tokio::task::spawn_blocking(|| follow.wait_with_output()).await.unwrap().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.starts_with(&format!("{} ", seq(&told.json()))), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_followed_by_nobody() {
    let (edge, nats) = desk().await;
    let told = subscribe(&edge, &edge.acme, "pager", json!({})).await;
    let theirs = subscribe(&edge, &edge.borealis, "pager", json!({})).await;
    let (follower, other) = (Follower::come_in(&nats.at, &told).await, Follower::come_in(&nats.at, &theirs).await);
    let goodbye = json!({"reason": "contract ended"});
    assert_eq!(edge.served.post(&edge.admin, "/api/admin/clients/acme/offboard", "bye", &goodbye).await.status, 202);
    follower.cut_off().await;
    until("its subscription is revoked", async || {
        told_of(&edge, &edge.acme).await.iter().any(|told| told.name() == "SubscriptionRevoked")
    })
    .await;
    assert!(Follower::with_key(&nats.at, &told, &seed(&told)).await.is_err());
    let path = format!("{PATH}?client=acme");
    let refused = edge.served.post(&edge.admin, &path, "more", &json!({"name": "x", "filter": "all"})).await;
    assert_eq!(refused.problem(), (409, "conflict".into()));
    assert!(other.stayed() && !other.take(1).await.is_empty(), "another client's subscriber stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_without_accounts_goes_on_for_development_and_gives_no_subscriptions() {
    let (mut database, nats) = (Database::new().await, OwnNats::without_accounts());
    database.use_nats(&nats.at);
    let edge = Edge::on(database, "api,projector,relay").await;
    fills(&edge.streams, &edge.acme, 0..20).await;
    arrived(&edge.database, edge.acme.client, None).await;
    let refused = edge.served.post(&edge.acme.token, PATH, "k", &json!({"name": "x", "filter": "all"})).await;
    assert_eq!(refused.problem(), (409, "conflict".into()));
    assert!(refused.text().contains("pipelabs nats bootstrap"), "{}", refused.text());
    assert_eq!(edge.served.ask(&edge.acme.token, PATH).await.json(), json!([]));
    assert!(told_of(&edge, &edge.acme).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_clients_subscription_is_found_or_changed() {
    let (edge, nats) = desk().await;
    let told = subscribe(&edge, &edge.acme, "pager", json!({})).await;
    let before = edge.heads().await;
    let nobody =
        revoke(&edge, &edge.borealis, &json!({"subscription_id": events::BotId::new().to_string()}), "k").await;
    for what in ["renew", "rotate"] {
        let foreign = post(&edge, &edge.borealis, &told, what, &json!({})).await;
        assert_eq!((foreign.status, foreign.body), (404, nobody.body.clone()), "{what}");
    }
    let foreign = revoke(&edge, &edge.borealis, &told, "k").await;
    assert_eq!((foreign.status, foreign.body), (404, nobody.body));
    assert_eq!(edge.served.ask(&edge.borealis.token, PATH).await.json(), json!([]));
    assert_eq!(edge.heads().await, before);
    assert!(!Follower::come_in(&nats.at, &told).await.take(1).await.is_empty());
}
