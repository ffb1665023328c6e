//! The process at the edge: who comes in, what it writes into its log, and how it ends.

use std::{net::TcpListener, process::Stdio, time::Duration};

use events::{ClientId, desk::Role};
use serde_json::{Value, json};
use tests::{Answer, Database, Nats, PASSWORD, SECRET, Served};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::edge::Edge;

async fn add(database: &Database, email: &str, client: Option<ClientId>) {
    let role = if client.is_some() { Role::ClientOwner } else { Role::Admin };
    database.person(email, role, client).await;
}

async fn log_in(served: &Served, email: &str, password: &str) -> Answer {
    let credentials = json!({"email": email, "password": password});
    Answer::to(served.request(reqwest::Method::POST, "/api/auth/login").json(&credentials)).await
}

/// What a person does, and what it left in the log at its most talkative.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_tells_what_happened_and_no_secret() {
    let mut edge = Edge::new("projector").await;
    add(&edge.database, "Trader.Joe@example.com", Some(edge.acme.client)).await;
    add(&edge.database, "boss@example.com", None).await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = edge.database.command(&["serve", "--roles", "api,projector", "--port", "0"]);
    command.env("RUST_LOG", "debug").stderr(Stdio::from(log.reopen().unwrap()));
    edge.served = Served::heard_elsewhere(command);
    let served = &mut edge.served;
    let wrong = log_in(served, "trader.joe@example.com", "not-a-real-password-2").await;
    assert_eq!(wrong.problem(), (401, "wrong_credentials".into()));
    assert_eq!(log_in(served, "stranger@example.com", PASSWORD).await.body, wrong.body);
    assert_eq!(log_in(served, "no address", PASSWORD).await.problem(), (422, "invalid".into()));
    let mut tokens = Vec::new();
    for (email, role, client) in [
        ("trader.joe@example.com", "client_owner", json!(edge.acme.client)),
        ("boss@example.com", "admin", Value::Null),
    ] {
        let answer = log_in(served, email, PASSWORD).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        let told = answer.json();
        assert_eq!((&told["role"], &told["client_id"], &told["token_type"]), (&json!(role), &client, &json!("Bearer")));
        let token = told["access_token"].as_str().unwrap().to_owned();
        tokens.push(told["refresh_token"].as_str().unwrap().to_owned());
        let me = served.ask(&token, "/api/auth/me").await.json();
        assert_eq!((me["email"].as_str().unwrap().to_lowercase(), &me["client_id"]), (email.to_owned(), &client));
        tokens.push(token);
    }
    assert_eq!(served.ask(&tokens[1], "/api/bots").await.status, 200);
    assert_eq!(served.ask(&tokens[3], "/api/admin/overview").await.status, 200);
    assert_eq!(served.ask(&format!("{}x", tokens[1]), "/api/bots").await.status, 401);
    served.post(&tokens[1], "/api/bots", "a-key-of-a-command", &json!({"name": "x1"})).await.json();
    served.ask("", "/metrics").await;
    served.signal("TERM");
    assert_eq!(served.wait().code(), Some(0));
    let written = std::fs::read_to_string(log.path()).unwrap();
    assert!(written.contains("DEBUG"), "{written:.300}");
    let lower = written.to_lowercase();
    let secrets = [PASSWORD, "not-a-real-password-2", SECRET, "trader.joe", "boss@", "stranger@", "$argon2", "bearer "];
    for secret in secrets.into_iter().chain(tokens.iter().map(String::as_str)) {
        let line = lower.lines().find(|line| line.contains(&secret.to_lowercase()));
        assert!(line.is_none(), "{secret} stands in the log: {line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_passwords_is_told_to_wait() {
    let edge = Edge::new("api").await;
    add(&edge.database, "someone@example.com", Some(edge.acme.client)).await;
    for n in 0..20 {
        let answer = log_in(&edge.served, "someone@example.com", "not-a-real-password-2").await;
        if answer.problem() == (429, "too_many_requests".into()) {
            assert!(n >= 3 && answer.number("retry-after") >= 1, "after {n} tries: {:?}", answer.headers);
            return;
        }
        assert_eq!(answer.problem(), (401, "wrong_credentials".into()));
    }
    panic!("20 wrong passwords were heard at once");
}

/// A command of which the body is still to come.
async fn half_sent(edge: &Edge, name: &str) -> (TcpStream, String) {
    let body = json!({"name": name}).to_string();
    let (half, rest) = body.split_at(5);
    let head = format!(
        "POST /api/bots HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nidempotency-key: {name}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{half}",
        edge.acme.token,
        body.len()
    );
    let mut socket = TcpStream::connect(edge.served.address()).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    (socket, rest.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_answered_before_the_process_ends() {
    let mut edge = Edge::new("api").await;
    let mut begun = Vec::new();
    for n in 0..5 {
        begun.push(half_sent(&edge, &format!("bot-{n}")).await);
    }
    // A question that waits for a read model which nobody folds yet.
    let request = edge.served.get(&edge.acme.token, "/api/bots?min_seq=2");
    let waiting = tokio::spawn(Answer::to(request));
    // The server has taken all of them once it has answered one that came later.
    for _ in 0..3 {
        assert_eq!(edge.served.ask("", "/livez").await.text(), "ok");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    edge.served.signal("TERM");
    let refused = async {
        while TcpStream::connect(edge.served.address()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), refused).await.expect("nobody new is let in");
    for (socket, rest) in &mut begun {
        socket.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    let _projector = Served::start(&edge.database, "projector");
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(edge.served.wait().code(), Some(0));
    let head = edge.heads().await.into_iter().find(|(client, _)| *client == edge.acme.client);
    assert_eq!(head.unwrap().1, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_told_to_end_says_so_first_and_lets_listeners_go_with_a_hint() {
    let mut edge = Edge::new("projector").await;
    let mut command = edge.database.command(&["serve", "--roles", "api", "--port", "0"]);
    command.env("DRAIN_SECONDS", "300");
    edge.served = Served::of(command);
    let token = edge.acme.token.clone();
    let mut listener = edge.served.listen(&token, "/api/stream", None).await.unwrap();
    assert_eq!(edge.served.ask("", "/readyz").await.status, 200);
    edge.served.signal("TERM");
    let told = async {
        while edge.served.ask("", "/readyz").await.status == 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.expect("balancers are told");
    let unready = edge.served.ask("", "/readyz").await;
    assert_eq!(unready.problem(), (503, "unavailable".into()));
    assert!(unready.text().contains("about to end"), "{}", unready.text());
    // Whoever has not noticed yet is answered as ever, and asked to come back over another connection.
    let answer = edge.served.ask(&token, "/api/bots").await;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert_eq!(edge.served.ask("", "/livez").await.text(), "ok");
    let seq = edge.set(&edge.acme, "k", "x").await;
    assert_eq!(listener.next().await.unwrap().id, seq.to_string());
    // Told again, it waits no longer.
    edge.served.signal("TERM");
    let rest = tokio::time::timeout(Duration::from_secs(60), listener.rest()).await.expect("it is let go");
    assert!(rest.contains("event: reconnect\n") && rest.contains("retry: "), "{rest}");
    assert_eq!(edge.served.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_whether_it_can_answer_is_told_how_everything_does() {
    let database = Database::new().await;
    let with_relay = Served::start(&database, "api,relay");
    let told = with_relay.ask("", "/readyz").await.text();
    for line in ["ok\n", "database: seen at ", "read models: 0 events behind", "limits: counted in this process alone"]
    {
        assert!(told.contains(line), "{told}");
    }
    let connected = async {
        while !with_relay.ask("", "/readyz").await.text().contains("NATS: connected") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), connected).await.expect("the relay connects");
    let mut lonely = Database::new().await;
    lonely.use_nats(&Nats { url: "nats://127.0.0.1:1".to_owned(), keys: None });
    let told = Served::start(&lonely, "api,relay").ask("", "/readyz").await;
    assert!(told.status == 200 && told.text().contains("NATS: away"), "{}", told.text());
    let without = Served::start(&lonely, "api").ask("", "/readyz").await.text();
    assert!(!without.contains("NATS"), "{without}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_told_in_words() {
    let database = Database::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, said) in [
        (vec!["serve", "--roles", "api", "--port", port.as_str()], format!("port {port} of 127.0.0.1 cannot be taken")),
        (vec!["serve", "--roles", "api", "--port", "70000"], "70000".to_owned()),
        (vec!["serve", "--roles", "edge"], "edge".to_owned()),
    ] {
        let output = database.run(&arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(&said), "{told}");
    }
}
