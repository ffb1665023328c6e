//! Nobody is told something old as if it were new: own writes are read, what lags or is cut off says so and since when.

use std::time::{Duration, Instant};

use events::{AggregateRef, BotId, bot::BotEvent};
use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::json;
use tests::{Answer, Database, Served, Servers};

use crate::{
    edge::{Edge, seq},
    facts::{append, at, fill, recorded, write},
};

/// How long what has to come may take.
const COMES: Duration = Duration::from_secs(60);

/// Asks again until the answer is as it has to be.
async fn until(served: &Served, token: &str, path: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
    let late = Instant::now() + COMES;
    loop {
        let answer = served.ask(token, path).await;
        if holds(&answer) {
            return answer;
        }
        assert!(Instant::now() < late, "{path} stays {} {:?} {}", answer.status, answer.headers, answer.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The standing as it is told in the headers.
fn told(answer: &Answer) -> (u64, u64, &str) {
    (answer.number("as-of-seq"), answer.number("head-seq"), answer.header("stale"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_read_by_whoever_asks_for_its_number() {
    let edge = Edge::new("api,projector").await;
    let callers = stream::iter(0..6).map(|caller| {
        let edge = &edge;
        async move {
            let of = if caller % 2 == 0 { &edge.acme } else { &edge.borealis };
            let name = format!("bot-{caller}");
            let created = edge.served.post(&of.token, "/api/bots", &name, &json!({"name": name})).await.json();
            let bot = format!("/api/bots/{}", created["bot_id"].as_str().unwrap());
            let mut written = seq(&created);
            for n in 0..15 {
                let path = [bot.as_str(), "/api/bots"][n % 2];
                let answer = edge.served.ask(&of.token, &format!("{path}?min_seq={written}")).await;
                let (reached, head, _) = told(&answer);
                assert!(reached >= written && head >= reached, "{written}: {:?}", answer.headers);
                let answer = answer.json();
                let found = answer.as_array().map_or(vec![&answer], |bots| bots.iter().collect());
                let found = found.into_iter().find(|found| found["bot_id"] == created["bot_id"]).expect("it is there");
                let expected = if n == 0 { json!(null) } else { json!((n - 1).to_string()) };
                assert_eq!(found["config"]["parameters"]["n"], expected, "{found}");
                let change = json!({"parameters": {"n": n.to_string()}});
                let key = format!("{name}-{n}");
                let path = format!("{bot}/config");
                let request = edge.served.command(Method::PATCH, &of.token, &path, &key, &change);
                written = seq(&Answer::to(request).await.json());
            }
        }
    });
    callers.buffer_unordered(6).collect::<Vec<()>>().await;
    let beyond = edge.served.ask(&edge.acme.token, "/api/bots?min_seq=100000").await;
    assert_eq!(beyond.problem(), (422, "invalid".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lags_says_so_keeps_its_value_and_catches_up() {
    let edge = Edge::new("api").await;
    let projector = Served::start(&edge.database, "projector");
    let (token, first) = (&edge.acme.token, edge.set(&edge.acme, "1", "old").await);
    let path = edge.acme.path("");
    let fresh = edge.served.ask(token, &format!("{path}?min_seq={first}")).await;
    assert_eq!(told(&fresh), (first, first, "false"));
    assert_eq!(fresh.number("age"), 0);
    projector.signal("STOP");
    let second = edge.set(&edge.acme, "2", "new").await;
    let waited = edge.served.ask(token, &format!("{path}?min_seq={second}")).await;
    assert_eq!(waited.problem(), (503, "not_reached_yet".into()));
    assert!(waited.number("retry-after") >= 1);
    let stale = until(&edge.served, token, &path, |answer| answer.header("stale") == "true").await;
    assert_eq!(told(&stale), (first, second, "true"));
    assert!(stale.number("age") >= 5, "{:?}", stale.headers);
    assert_eq!(stale.json(), fresh.json());
    let tag = stale.header("etag").to_owned();
    assert_eq!(tag, fresh.header("etag"));
    let unchanged = Answer::to(edge.served.get(token, &path).header("if-none-match", &tag)).await;
    assert_eq!((unchanged.status, told(&unchanged), unchanged.body.len()), (304, (first, second, "true"), 0));
    assert!(unchanged.number("age") >= 5);
    let older = until(&edge.served, token, &path, |answer| answer.number("age") > stale.number("age")).await;
    assert_eq!(older.json(), fresh.json());
    projector.signal("CONT");
    let caught_up = until(&edge.served, token, &path, |answer| answer.header("stale") == "false").await;
    assert_eq!(told(&caught_up), (second, second, "false"));
    assert_eq!(caught_up.json()["config"]["parameters"]["n"], "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_what_is_known_is_told_with_its_age() {
    let dir = tempfile::tempdir().unwrap();
    let servers = Servers::start(dir.path());
    let edge = Edge::on(Database::on(&servers).await, "api,projector").await;
    let token = &edge.acme.token;
    let (bots, one, fills) = ("/api/bots", edge.acme.path(""), "/api/fills");
    let of_acme = format!("/api/bots?client={}", edge.acme.slug);
    let head = edge.set(&edge.acme, "1", "known").await;
    let known_one = edge.served.ask(token, &format!("{one}?min_seq={head}")).await;
    let known_to_admin = edge.served.ask(&edge.admin, &of_acme).await;
    let overview = edge.served.ask(&edge.admin, "/api/admin/overview").await;
    let no_fills = edge.served.ask(token, &format!("{fills}?min_seq={head}")).await;
    // One answer was given, then the read model went on: nobody asked for the new one before the outage.
    let streams = &edge.streams;
    let with_fill =
        write(streams, vec![recorded(edge.acme.client, fill(edge.acme.client, edge.acme.bot, 1, 1))]).await[0].last;
    edge.served.ask(token, &format!("{fills}?min_seq={with_fill}&limit=7")).await.json();
    let known = edge.served.ask(token, &format!("{bots}?min_seq={with_fill}")).await;
    servers.stack.kill_postgres().unwrap();
    let stale = until(&edge.served, token, bots, |answer| answer.header("stale") == "true").await;
    assert_eq!((stale.status, stale.json()), (200, known.json()));
    assert!(stale.number("age") >= 5, "{:?}", stale.headers);
    let old_fills = edge.served.ask(token, fills).await;
    assert_eq!((old_fills.json(), told(&old_fills)), (no_fills.json(), (head, with_fill, "true")));
    for (token, path, known) in [
        (token, &one, &known_one),
        (&edge.admin, &of_acme, &known_to_admin),
        (&edge.admin, &"/api/admin/overview".to_owned(), &overview),
    ] {
        let answer = edge.served.ask(token, path).await;
        assert_eq!((answer.status, answer.header("stale")), (200, "true"), "{path}: {}", answer.text());
        if path != "/api/admin/overview" {
            assert_eq!(answer.json(), known.json(), "{path}");
        }
    }
    let older = until(&edge.served, token, bots, |answer| answer.number("age") > stale.number("age")).await;
    assert_eq!(older.json(), known.json());
    let unknown = edge.served.ask(token, "/api/orders").await;
    assert_eq!(unknown.problem(), (503, "unavailable".into()));
    assert!(unknown.number("retry-after") >= 1);
    assert_eq!(edge.served.ask("", "/readyz").await.problem(), (503, "unavailable".into()));
    servers.stack.start_postgres().unwrap();
    until(&edge.served, token, "/api/orders", |answer| answer.status == 200).await;
    let healed = until(&edge.served, token, fills, |answer| answer.header("stale") == "false").await;
    assert_eq!(healed.json()["items"].as_array().unwrap().len(), 1);
    assert!(edge.served.ask("", "/readyz").await.text().starts_with("ok\ndatabase: seen at "));
    let after = edge.set(&edge.acme, "2", "after").await;
    edge.served.ask(token, &format!("{bots}?min_seq={after}")).await.json();
    servers.stack.down(&mut |_| {}).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_that_stopped_says_so_in_every_answer() {
    let edge = Edge::new("api,projector").await;
    let client = edge.acme.client;
    let known = edge.served.ask(&edge.acme.token, "/api/bots?min_seq=2").await;
    let nobody = AggregateRef::new("bot", BotId::new());
    let poison = append(client, nobody, BotEvent::BotStopped { at: at(1) }.into(), None);
    let poisoned = write(&edge.streams, vec![poison]).await[0].last;
    let stale = until(&edge.served, &edge.acme.token, "/api/bots", |answer| answer.header("stale") == "true").await;
    assert_eq!((stale.json(), told(&stale)), (known.json(), (poisoned - 1, poisoned, "true")));
    let parked = edge.served.ask(&edge.acme.token, &format!("/api/bots?min_seq={poisoned}")).await;
    assert_eq!(parked.problem(), (503, "not_reached_yet".into()));
    let others = edge.served.ask(&edge.borealis.token, "/api/bots").await;
    assert_eq!(others.header("stale"), "false");
    let desk = until(&edge.served, &edge.admin, "/api/admin/overview", |answer| answer.header("stale") == "true").await;
    assert_eq!(desk.json()["parked"][0]["projection"], "bots");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_did_not_change_is_not_sent_again() {
    let edge = Edge::new("api,projector").await;
    let (token, path) = (&edge.acme.token, "/api/bots");
    let first = edge.served.ask(token, &format!("{path}?min_seq=2")).await;
    let tag = first.header("etag").to_owned();
    let again =
        async |token: &str, tag: &str| Answer::to(edge.served.get(token, path).header("if-none-match", tag)).await;
    for same in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let unchanged = again(token, &same).await;
        assert_eq!((unchanged.status, unchanged.body.len()), (304, 0), "{same}");
        for name in ["etag", "as-of-seq", "head-seq", "stale", "cache-control", "vary"] {
            assert_eq!(unchanged.header(name), first.header(name), "{name}");
            assert!(!first.header(name).is_empty(), "{name}");
        }
    }
    // Both streams have come equally far: the other's tag says nothing all the same.
    let other = edge.served.ask(&edge.borealis.token, &format!("{path}?min_seq=2")).await;
    assert_eq!(told(&other).0, told(&first).0);
    assert_eq!(again(&edge.borealis.token, &tag).await.status, 200);
    assert_eq!(again(token, "\"x\"").await.status, 200);
    let changed = edge.set(&edge.acme, "1", "x").await;
    until(&edge.served, token, path, |answer| told(answer).0 == changed).await;
    let changed = again(token, &tag).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.json(), first.json());
    // A rebuild says the same from other tables.
    edge.database.succeed(&["rebuild", "bots"]);
    let rebuilt = until(&edge.served, token, path, |answer| answer.header("etag") != changed.header("etag")).await;
    assert_eq!((told(&rebuilt).0, rebuilt.json()), (told(&changed).0, changed.json()));
    let desk = edge.served.ask(&edge.admin, "/api/admin/bots").await;
    let unchanged = edge.served.get(&edge.admin, "/api/admin/bots").header("if-none-match", desk.header("etag"));
    assert_eq!(Answer::to(unchanged).await.status, 304);
}
