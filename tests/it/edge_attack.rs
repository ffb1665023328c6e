//! Hostile ones at the socket, in small: everybody else is answered, and rightly, and the process stays as it was.
//! `make bench BENCH=edge` has them in large, and measures.

use std::{fs, net::Ipv4Addr, time::Duration};

use futures::future::join_all;
use serde_json::Value;
use tests::{Answer, Attack, Served, connect_from, token};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use crate::{
    edge::Edge,
    facts::{fill, recorded, write},
};

/// How long what has to come may take.
const COMES: Duration = Duration::from_secs(120);
/// More than a process of ours needs for what it is asked here, and far less than what it is sent.
const GROWS_KB_MAX: u64 = 200 * 1_024;

/// What a process holds in memory.
fn memory_kb(served: &Served) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", served.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn metric(served: &Served, name: &str) -> String {
    let metrics = served.ask("", "/metrics").await.text();
    let line = metrics.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    line.and_then(|line| line.split_whitespace().last()).unwrap_or("0").to_owned()
}

/// Asks what it always asked, and expects what it always got, until `done`.
async fn goes_on(edge: &Edge, known: &Value, done: impl AsyncFn() -> bool) {
    let asking = async {
        while !done().await {
            let answer = edge.served.ask(&edge.acme.token, "/api/bots").await;
            assert_eq!((answer.status, &answer.json()), (200, known));
            assert_eq!(edge.served.ask("", "/livez").await.text(), "ok");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(COMES, asking).await.expect("it comes to be so");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_nobody_else_notices() {
    let edge = Edge::new("api,projector").await;
    let (known, heads) = (edge.served.ask(&edge.acme.token, "/api/bots?min_seq=2").await.json(), edge.heads().await);
    let before = memory_kb(&edge.served);
    let mut nonsense = Attack::nonsense(&edge.served, &edge.borealis.token, 1_000);
    goes_on(&edge, &known, async || nonsense.ended() == 1_000).await;
    nonsense.finish().await;
    assert_eq!(edge.heads().await, heads, "and nothing has come of it");
    assert!(memory_kb(&edge.served) < before + GROWS_KB_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_drop_by_drop_is_cut_off_and_nobody_else_notices() {
    let edge = Edge::new("api,projector").await;
    let known = edge.served.ask(&edge.acme.token, "/api/bots?min_seq=2").await.json();
    let before = memory_kb(&edge.served);
    let heads = Attack::slow_heads(&edge.served, 200);
    let bodies = Attack::slow_bodies(&edge.served, &edge.borealis.token, 200);
    // Each was cut off more than once.
    goes_on(&edge, &known, async || heads.ended() >= 400 && bodies.ended() >= 400).await;
    assert!(memory_kb(&edge.served) < before + GROWS_KB_MAX);
    drop((heads, bodies));
    goes_on(&edge, &known, async || metric(&edge.served, "pipelabs_http_connections ").await.len() <= 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_and_never_reads_is_cut_off_and_nobody_else_notices() {
    let edge = Edge::new("api,projector").await;
    let of = |n: u64| recorded(edge.borealis.client, fill(edge.borealis.client, edge.borealis.bot, n, 1));
    for first in (0..6_000).step_by(500) {
        write(&edge.streams, (first..first + 500).map(of).collect()).await;
    }
    let known = edge.served.ask(&edge.acme.token, "/api/bots?min_seq=2").await.json();
    let mut reads = edge.served.listen(&edge.borealis.token, "/api/stream?after=0", None).await.unwrap();
    let before = memory_kb(&edge.served);
    let deaf = Attack::deaf(&edge.served, &edge.borealis.token, 8);
    let reading = async {
        for seq in 1..=6_002_u64 {
            assert_eq!(reads.next().await.expect("who reads hears all").id, seq.to_string());
        }
    };
    tokio::time::timeout(COMES, reading).await.expect("and in time");
    goes_on(&edge, &known, async || deaf.ended() >= 8).await;
    assert!(memory_kb(&edge.served) < before + GROWS_KB_MAX);
    drop(deaf);
    goes_on(&edge, &known, async || metric(&edge.served, "pipelabs_listeners").await == "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_and_a_trusted_proxy_any_number() {
    let edge = Edge::new("projector").await;
    let mut command = edge.database.command(&["serve", "--roles", "api", "--port", "0"]);
    command.env("TRUSTED_PROXIES", "127.9.9.0/24");
    let served = Served::of(command);
    let ask = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut held = JoinSet::new();
    for from in [Ipv4Addr::new(127, 8, 8, 8), Ipv4Addr::new(127, 9, 9, 9)] {
        for _ in 0..300 {
            let to = served.address().to_owned();
            held.spawn(async move {
                let mut socket = connect_from(from, &to).await.unwrap();
                // It may have been turned away before it has asked.
                let _ = socket.write_all(ask).await;
                let mut begin = [0; 12];
                let answered = socket.read_exact(&mut begin).await.is_ok() && begin == *b"HTTP/1.1 200";
                (from, answered, socket)
            });
        }
    }
    let held = held.join_all().await;
    let answered = |from| held.iter().filter(|(of, answered, _)| of == &from && *answered).count();
    assert_eq!(answered(Ipv4Addr::new(127, 8, 8, 8)), 256);
    assert_eq!(answered(Ipv4Addr::new(127, 9, 9, 9)), 300);
    let other = Answer::to(served.get(&edge.acme.token, "/livez")).await;
    assert_eq!(other.text(), "ok", "another address has its own");
    assert_eq!(metric(&served, "pipelabs_http_connections_refused_total").await, "44");
}

/// A question that waits for a read model which nobody folds; the answer to it, as it is sent.
async fn wait_in_vain(served: &Served, from: u8, token: &str) -> String {
    let mut socket = connect_from(Ipv4Addr::new(127, 6, 6, from), served.address()).await.unwrap();
    let head = format!("GET /api/bots?min_seq=2 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n");
    socket.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn when_more_is_asked_than_can_be_answered_the_rest_is_told_to_come_back() {
    let edge = Edge::new("api").await;
    let users: Vec<String> = (0..8).map(|_| token(&edge.database, Some(edge.acme.client))).collect();
    let shed = async {
        loop {
            // Of one user alone, and of all together.
            let one = (0..250).map(|_| wait_in_vain(&edge.served, 1, &users[0]));
            let more = (0..150).map(|_| wait_in_vain(&edge.served, 2, &users[0]));
            let all = (0..1_400).map(|n| {
                let user = n / 200 + 1;
                wait_in_vain(&edge.served, 10 + n as u8 % 100, &users[user])
            });
            let (one, more, all) = tokio::join!(join_all(one), join_all(more), join_all(all));
            let told = |code: &str| {
                let code = format!("\"code\":\"{code}\"");
                one.iter().chain(&more).chain(&all).filter(|answer| answer.contains(&code)).cloned().collect::<Vec<_>>()
            };
            let (overloaded, limited, waited) = (told("overloaded"), told("rate_limited"), told("not_reached_yet"));
            assert_eq!(overloaded.len() + limited.len() + waited.len(), 1_800, "each is told one of these");
            for answer in &overloaded {
                assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1\r\n"), "{answer}");
            }
            for answer in &limited {
                assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("requests under way"), "{answer}");
            }
            if !overloaded.is_empty() && !limited.is_empty() {
                return;
            }
        }
    };
    tokio::time::timeout(COMES, shed).await.expect("some are too many");
    assert_eq!(edge.served.ask("", "/livez").await.text(), "ok");
    assert_eq!(edge.served.ask(&edge.acme.token, "/api/bots").await.status, 200, "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let edge = Edge::new("api").await;
    let mut socket = connect_from(Ipv4Addr::LOCALHOST, edge.served.address()).await.unwrap();
    for pause in [0, 7] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        socket.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            assert!(
                socket.read_buf(&mut answer).await.unwrap() > 0,
                "it is kept: {}",
                String::from_utf8_lossy(&answer)
            );
        }
    }
}
