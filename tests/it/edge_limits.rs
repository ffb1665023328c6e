//! How often each may ask: by who they are and what they ask for, in one process and in all together, with and without a
//! Redis.

use std::{process::Stdio, time::Duration};

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use tests::{Answer, Database, OwnRedis, Served, token};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::edge::Edge;

/// How long what has to come may take.
const COMES: Duration = Duration::from_secs(60);

/// An edge that lets each ask a hundredth as often as usual: 20 reads at once and 5 a second, 2 commands and one each five
/// seconds, one login each fifty.
fn strict(database: &Database, more: &[(&str, &str)]) -> Served {
    let mut command = database.command(&["serve", "--roles", "api", "--port", "0"]);
    command.env("RATE_LIMITS_PERCENT", "1").envs(more.iter().copied()).stderr(Stdio::null());
    Served::of(command)
}

async fn log_in(served: &Served, email: &str, forwarded: Option<&str>) -> Answer {
    let credentials = json!({"email": email, "password": "not-a-real-password-1"});
    let request = served.request(Method::POST, "/api/auth/login").json(&credentials);
    Answer::to(forwarded.iter().fold(request, |request, from| request.header("x-forwarded-for", *from))).await
}

/// Asks until the answer is as it has to be.
async fn until(served: &Served, path: &str, fine: impl Fn(&Answer) -> bool) -> Answer {
    let asking = async {
        loop {
            let answer = served.ask("", path).await;
            if fine(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(COMES, asking).await.expect("it comes to be so")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back_and_nobody_else_notices() {
    let mut edge = Edge::new("projector").await;
    edge.served = strict(&edge.database, &[]);
    let first = edge.served.ask(&edge.acme.token, "/api/bots").await;
    let policy = "\"read-user\";q=20;w=4, \"read-client\";q=80;w=4";
    assert_eq!((first.status, first.header("ratelimit-policy")), (200, policy));
    assert_eq!(first.header("ratelimit"), "\"read-user\";r=19;t=1, \"read-client\";r=79;t=1");
    let answers = join_all((0..100).map(|_| edge.served.ask(&edge.acme.token, "/api/bots"))).await;
    let refused = answers.iter().find(|answer| answer.status == 429).expect("a hundred at once are too many");
    assert_eq!(refused.problem(), (429, "rate_limited".into()));
    assert!(refused.number("retry-after") >= 1 && refused.text().contains("ask again in"), "{}", refused.text());
    assert!(refused.header("ratelimit").starts_with("\"read-user\";r=0;t="), "{:?}", refused.headers);
    assert!(answers.iter().filter(|answer| answer.status == 200).count() >= 19, "what is free is had");
    // Another user of the same client, another client, another class, whoever looks whether we live.
    let colleague = token(&edge.database, Some(edge.acme.client));
    assert_eq!(edge.served.ask(&colleague, "/api/bots").await.status, 200);
    assert_eq!(edge.served.ask(&edge.borealis.token, "/api/bots").await.status, 200);
    assert_eq!(edge.served.ask(&edge.admin, "/api/admin/bots").await.status, 200);
    edge.served.post(&edge.acme.token, "/api/bots", "k", &json!({"name": "b1"})).await.json();
    for answer in join_all((0..100).map(|_| edge.served.ask("", "/livez"))).await {
        assert_eq!((answer.text().as_str(), answer.header("ratelimit")), ("ok", ""));
    }
    let anonymous = join_all((0..100).map(|_| edge.served.ask("", "/version"))).await;
    let (code, policy) = ((429, "rate_limited".to_owned()), "\"read-network\";q=10;w=10");
    assert!(anonymous.iter().any(|answer| answer.status == 429 && answer.problem() == code), "who has no token, too");
    assert!(anonymous.iter().all(|answer| answer.header("ratelimit-policy") == policy));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_users_of_a_client_together_have_the_clients_share() {
    let edge = Edge::new("projector").await;
    let served = strict(&edge.database, &[]);
    let users: Vec<String> = (0..10).map(|_| token(&edge.database, Some(edge.acme.client))).collect();
    // Two commands each are every user's own to send.
    let sent = (0..20).map(|n| {
        let (served, user, name) = (&served, &users[n % 10], format!("b{n}"));
        async move { served.post(user, "/api/bots", &name, &json!({ "name": name })).await }
    });
    let answers = join_all(sent).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty(), "twenty commands of one client are too many");
    for refused in refused {
        assert!(refused.text().contains("command-client is used up"), "{}", refused.text());
    }
    assert!(answers.iter().filter(|answer| answer.status < 300).count() >= 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_counts_for_the_network_that_a_trusted_proxy_tells_and_for_no_other() {
    let database = Database::new().await;
    let behind = strict(&database, &[("TRUSTED_PROXIES", "127.0.0.0/8")]);
    let code = async |served: &Served, from| log_in(served, "someone@example.com", from).await.problem().1;
    assert_eq!(code(&behind, Some("203.0.113.7")).await, "wrong_credentials");
    assert_eq!(code(&behind, Some("203.0.113.200")).await, "rate_limited", "the same network");
    assert_eq!(code(&behind, Some("198.51.100.7, 203.0.113.7")).await, "rate_limited", "whatever it says itself");
    assert_eq!(code(&behind, Some("203.0.113.7, 198.51.100.7")).await, "wrong_credentials", "another network");
    assert_eq!(code(&behind, Some("nonsense")).await, "wrong_credentials", "the proxy itself");
    let direct = strict(&database, &[]);
    assert_eq!(code(&direct, Some("203.0.113.7")).await, "wrong_credentials");
    assert_eq!(code(&direct, Some("198.51.100.7")).await, "rate_limited", "nobody here is a proxy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_so_many_streams_at_once_and_closing_one_makes_room() {
    let edge = Edge::new("api").await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(edge.served.listen(&edge.acme.token, "/api/stream", None).await.unwrap());
    }
    let refused = edge.served.listen(&edge.acme.token, "/api/stream", None).await.unwrap_err();
    assert_eq!(refused.problem(), (429, "rate_limited".into()));
    assert!(refused.text().contains("streams"), "{}", refused.text());
    let colleague = token(&edge.database, Some(edge.acme.client));
    edge.served.listen(&colleague, "/api/stream", None).await.expect("another user has its own");
    open.pop();
    let room = async {
        while edge.served.listen(&edge.acme.token, "/api/stream", None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(COMES, room).await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_with_one_redis_count_together_and_by_themselves_while_it_is_away() {
    let edge = Edge::new("projector").await;
    let mut redis = OwnRedis::start();
    let url = redis.url.clone();
    let both = [(); 2].map(|()| strict(&edge.database, &[("REDIS_URL", url.as_str())]));
    let (together, alone) = ("limits: counted in Redis", "limits: Redis is away");
    for served in &both {
        until(served, "/readyz", |answer| answer.text().contains(together)).await;
    }
    let login = async |n: usize| log_in(&both[n], "someone@example.com", None).await.problem().1;
    assert_eq!(login(0).await, "wrong_credentials");
    assert_eq!(login(1).await, "rate_limited", "one login for all processes");
    let reads = join_all((0..200).map(|n| both[n % 2].ask(&edge.acme.token, "/api/bots"))).await;
    let refused = reads.iter().find(|answer| answer.status == 429).expect("two hundred are too many for both");
    assert!(refused.header("ratelimit").contains("\"read-user\";r=0;t="), "{:?}", refused.headers);
    // What was taken long ago is forgotten.
    assert!(redis_says(&redis, "DBSIZE").await.starts_with(':'));
    assert_eq!(redis_says(&redis, "FLUSHALL").await.trim(), "+OK");
    assert_eq!(both[0].ask(&edge.acme.token, "/api/bots").await.status, 200);
    let forgotten = async {
        while redis_says(&redis, "DBSIZE").await.trim() != ":0" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(COMES, forgotten).await.expect("nobody who is idle is kept");

    redis.kill();
    for served in &both {
        let told = until(served, "/readyz", |answer| answer.text().contains(alone)).await;
        assert_eq!(told.status, 200, "it can do without");
        assert!(told.text().contains("logins and commands at one part in 4"), "{}", told.text());
        assert_eq!(served.ask(&edge.borealis.token, "/api/bots").await.status, 200);
    }
    assert_eq!((login(0).await, login(1).await), ("wrong_credentials".into(), "wrong_credentials".into()));
    assert_eq!((login(0).await, login(1).await), ("rate_limited".into(), "rate_limited".into()), "each by itself");

    redis.start_again();
    for served in &both {
        until(served, "/readyz", |answer| answer.text().contains(together)).await;
    }
    redis.hold_up();
    for served in &both {
        assert_eq!(served.ask(&edge.borealis.token, "/api/bots").await.status, 200, "nobody waits for it");
        until(served, "/readyz", |answer| answer.text().contains(alone)).await;
    }
    redis.go_on();
    for served in &both {
        until(served, "/readyz", |answer| answer.text().contains(together)).await;
    }
}

/// What it answers to a word.
async fn redis_says(redis: &OwnRedis, word: &str) -> String {
    let mut socket = TcpStream::connect(redis.url.trim_start_matches("redis://")).await.unwrap();
    socket.write_all(format!("{word}\r\nQUIT\r\n").as_bytes()).await.unwrap();
    let mut said = String::new();
    socket.read_to_string(&mut said).await.unwrap();
    said.lines().next().unwrap_or_default().to_owned()
}
