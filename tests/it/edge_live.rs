//! Events as they happen: each once and in order, wherever the connection breaks, and nobody else's.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use events::{ClientId, Time};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tests::{Heard, Listener, Served, token_made_at};

use crate::{
    edge::{Edge, Party},
    facts::{fill, recorded, write},
};

/// How long what has to come may take.
const COMES: Duration = Duration::from_secs(60);

async fn heard(listener: &mut Listener) -> Option<Heard> {
    tokio::time::timeout(COMES, listener.next()).await.expect("something is heard, or the end comes")
}

/// Records `n` facts of each of both clients, a few at a time.
async fn go_on(edge: &Edge, from: u64, n: u64) {
    for first in (from..from + n).step_by(4) {
        let of = |party: &Party| {
            let (client, bot) = (party.client, party.bot);
            (first..(first + 4).min(from + n))
                .map(move |n| recorded(client, fill(client, bot, n, 1)))
                .collect::<Vec<_>>()
        };
        write(&edge.streams, [of(&edge.acme), of(&edge.borealis)].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_heard_once_and_in_order_wherever_the_connection_breaks() {
    let mut edge = Edge::new("api").await;
    let (streams, database) = (edge.streams.clone(), &edge.database);
    let (client, bot) = (edge.acme.client, edge.acme.bot);
    let (other, others_bot) = (edge.borealis.client, edge.borealis.bot);
    let writing = tokio::spawn(async move {
        for n in 0..120 {
            let facts = [recorded(client, fill(client, bot, n, 1)), recorded(other, fill(other, others_bot, n, 1))];
            write(&streams, facts.to_vec()).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let mut random = StdRng::seed_from_u64(7);
    let (mut met, mut last): (Vec<u64>, Option<String>) = (Vec::new(), None);
    let mut breaks = 0;
    // Two events make a client with a bot.
    while met.len() < 122 {
        let listener = edge.served.listen(&edge.acme.token, "/api/stream?after=0", last.as_deref()).await;
        let mut listener = listener.unwrap_or_else(|problem| panic!("{}", problem.text()));
        for _ in 0..random.random_range(1..25) {
            if met.len() == 122 {
                break;
            }
            let event = heard(&mut listener).await.expect("it goes on");
            let line = event.line();
            assert_eq!(
                (line["client_seq"].to_string(), &line["client_id"]),
                (event.id.clone(), &client.to_string().into())
            );
            assert_eq!(line["event_type"], event.kind);
            met.push(event.id.parse().unwrap());
            last = Some(event.id);
        }
        breaks += 1;
        if breaks % 4 == 0 {
            edge.served.kill();
            edge.served = Served::start(database, "api");
        }
    }
    writing.await.unwrap();
    assert_eq!(met, (1..=122).collect::<Vec<_>>());
    assert!(breaks >= 4, "{breaks} breaks");
    let chained = edge.served.ask(&edge.acme.token, "/api/events?order=oldest&limit=1&after=121").await.json();
    let mut end = edge.served.listen(&edge.acme.token, "/api/stream", Some("121")).await.unwrap();
    assert_eq!(heard(&mut end).await.unwrap().line(), chained["items"][0], "a line is told as in pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_hears_all_clients_and_resumes_by_a_place_that_only_we_can_make() {
    let mut edge = Edge::new("api").await;
    go_on(&edge, 0, 40).await;
    let mut random = StdRng::seed_from_u64(3);
    let (mut met, mut last): (BTreeMap<String, Vec<u64>>, Option<String>) = (BTreeMap::new(), None);
    let count = |met: &BTreeMap<String, Vec<u64>>| met.values().map(Vec::len).sum::<usize>();
    let mut went_on = false;
    while count(&met) < 2 * 82 {
        if count(&met) == 2 * 42 && !went_on {
            go_on(&edge, 40, 40).await;
            went_on = true;
        }
        let listener = edge.served.listen(&edge.admin, "/api/stream?after=0", last.as_deref()).await;
        let mut listener = listener.unwrap_or_else(|problem| panic!("{}", problem.text()));
        for _ in 0..random.random_range(5..30) {
            if count(&met) == 2 * 82 || count(&met) == 2 * 42 && !went_on {
                break;
            }
            let event = heard(&mut listener).await.expect("it goes on");
            let line = event.line();
            let seq = line["client_seq"].as_u64().unwrap();
            met.entry(line["client_id"].as_str().unwrap().to_owned()).or_default().push(seq);
            last = Some(event.id);
        }
        if random.random_bool(0.2) {
            edge.served.kill();
            edge.served = Served::start(&edge.database, "api");
        }
    }
    let every: Vec<u64> = (1..=82).collect();
    let of = |client: ClientId| (client.to_string(), every.clone());
    assert_eq!(met, BTreeMap::from([of(edge.acme.client), of(edge.borealis.client)]));

    let place = last.unwrap();
    let mut touched = place.clone().into_bytes();
    let middle = touched.len() / 2;
    touched[middle] = if touched[middle] == b'A' { b'B' } else { b'A' };
    let touched = String::from_utf8(touched).unwrap();
    // Our own place with one number changed and its seal kept.
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&place).unwrap();
    assert_eq!(bytes.pop(), Some(82), "the number of the last client");
    let resealed = BASE64_URL_SAFE_NO_PAD.encode([&bytes[..], &[81]].concat());
    for forged in [touched.as_str(), &resealed, "", "7", "e30", &place[1..], &format!("{place}A")] {
        let refused = edge.served.listen(&edge.admin, "/api/stream", Some(forged)).await.unwrap_err();
        assert_eq!(refused.problem(), (422, "invalid".into()), "{forged}");
    }
    let page = edge.served.ask(&edge.admin, "/api/events?client=acme&limit=1").await.json();
    let cursor = page["next"].as_str().unwrap();
    assert!(
        edge.served.listen(&edge.admin, "/api/stream", Some(cursor)).await.is_err(),
        "a cursor of another question"
    );
    assert!(edge.served.listen(&edge.acme.token, "/api/stream", Some(&place)).await.is_err(), "an admin's place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_starts_where_it_says_and_not_beyond_the_end() {
    let edge = Edge::new("api").await;
    go_on(&edge, 0, 4).await;
    let token = &edge.acme.token;
    for (path, last) in [
        ("/api/stream?after=7", None),
        ("/api/stream", Some("7")),
        ("/api/stream", Some("-1")),
        ("/api/stream", Some("1.0")),
        ("/api/stream?after=18446744073709551615", None),
    ] {
        let refused = edge.served.listen(token, path, last).await.unwrap_err();
        assert_eq!(refused.problem(), (422, "invalid".into()), "{path} {last:?}");
    }
    // Last-Event-ID counts more than after, which counts more than now.
    let mut resumed = edge.served.listen(token, "/api/stream?after=1", Some("4")).await.unwrap();
    assert_eq!(heard(&mut resumed).await.unwrap().id, "5");
    let mut after = edge.served.listen(token, "/api/stream?after=1", None).await.unwrap();
    assert_eq!(heard(&mut after).await.unwrap().id, "2");
    let mut of_acme = edge.served.listen(&edge.admin, "/api/stream?client=acme&after=5", None).await.unwrap();
    assert_eq!(heard(&mut of_acme).await.unwrap().id, "6");
    let mut now = edge.served.listen(token, "/api/stream", None).await.unwrap();
    let mut all = edge.served.listen(&edge.admin, "/api/stream", None).await.unwrap();
    let changed = edge.set(&edge.acme, "k", "x").await;
    for listener in [&mut now, &mut all, &mut of_acme] {
        let event = heard(listener).await.unwrap();
        assert_eq!((event.line()["client_seq"].as_u64(), event.kind.as_str()), (Some(changed), "BotConfigChanged"));
    }
    assert_eq!(changed, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_let_go_when_its_token_expires_and_when_the_process_ends() {
    let mut edge = Edge::new("api").await;
    let nearly_over = Time::now().plus_micros(-597_000_000);
    let short = token_made_at(&edge.database, Some(edge.acme.client), nearly_over);
    let mut expiring = edge.served.listen(&short, "/api/stream?after=0", None).await.unwrap();
    let mut lasting = edge.served.listen(&edge.acme.token, "/api/stream?after=0", None).await.unwrap();
    for listener in [&mut expiring, &mut lasting] {
        assert_eq!(heard(listener).await.unwrap().id, "1");
        assert_eq!(heard(listener).await.unwrap().id, "2");
    }
    assert_eq!(heard(&mut expiring).await, None);
    edge.set(&edge.acme, "k", "x").await;
    assert_eq!(heard(&mut lasting).await.unwrap().id, "3");
    edge.served.signal("TERM");
    assert_eq!(heard(&mut lasting).await, None);
    assert_eq!(edge.served.wait().code(), Some(0));
}
