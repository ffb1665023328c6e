//! What holds for every answer and every request, whatever it is about: names, pages elsewhere, proxies, headers, and the
//! one line that it leaves in the log.

use std::process::Stdio;

use events::BotId;
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tests::{Answer, Database, Served};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::edge::Edge;

/// Serves with settings of its own.
fn serve(database: &Database, settings: &[(&str, &str)]) -> Served {
    let mut command = database.command(&["serve", "--roles", "api", "--port", "0"]);
    command.envs(settings.iter().copied());
    Served::of(command)
}

/// The same, and what it writes into its log, at its most talkative.
fn serve_and_log(database: &Database, settings: &[(&str, &str)]) -> (Served, NamedTempFile) {
    let log = NamedTempFile::new().unwrap();
    let mut command = database.command(&["serve", "--roles", "api,projector", "--port", "0"]);
    command.env("RUST_LOG", "trace").envs(settings.iter().copied()).stderr(Stdio::from(log.reopen().unwrap()));
    (Served::heard_elsewhere(command), log)
}

/// A head as it is sent, letter for letter; the answer to it.
async fn raw(served: &Served, head: &str) -> String {
    let mut socket = TcpStream::connect(served.address()).await.unwrap();
    socket.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

fn of_cors(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("access-control-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_browsers_to_do_nothing_with_it_but_read_it() {
    let edge = Edge::new("api").await;
    let secure = serve(&edge.database, &[("PUBLIC_URL", "https://desk.example")]);
    let nobody = format!("/api/bots/{}", BotId::new());
    for (served, https) in [(&edge.served, false), (&secure, true)] {
        for path in ["/livez", "/api/bots", "/api/bots?nonsense=1", &nobody, "/nothing", "/openapi.json", "/metrics"] {
            for token in ["", &edge.acme.token] {
                let answer = served.ask(token, path).await;
                assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
                assert!(answer.header("content-security-policy").starts_with("default-src 'none';"), "{path}");
                assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
                assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
                assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{path}");
                assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
                assert!(answer.header("permissions-policy").contains("camera=()"), "{path}");
                let (kept, fresh) = (answer.header("cache-control"), answer.header("etag").is_empty());
                assert_eq!(kept, if fresh { "no-store" } else { "private, no-cache" }, "{path}");
                assert_eq!(answer.header("strict-transport-security").is_empty(), !https, "{path}");
                assert_eq!(answer.header("x-request-id").len(), 32, "{path}");
                assert_eq!(of_cors(&answer.headers), [""; 0], "{path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_elsewhere_may_ask_if_it_is_named_and_others_are_told_nothing() {
    let edge = Edge::new("api").await;
    let served = serve(&edge.database, &[("CORS_ORIGINS", "https://desk.example, http://localhost:5173")]);
    let preflight = async |served: &Served, origin: &str| {
        let request = served.request(Method::OPTIONS, "/api/bots").header("origin", origin);
        let request = request.header("access-control-request-headers", "authorization,idempotency-key");
        Answer::to(request.header("access-control-request-method", "POST")).await
    };
    for origin in ["https://desk.example", "http://localhost:5173"] {
        let allowed = preflight(&served, origin).await;
        assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, origin));
        assert_eq!(allowed.header("access-control-allow-credentials"), "true");
        assert!(allowed.header("access-control-allow-methods").contains("PATCH"), "{:?}", allowed.headers);
        for sent in ["authorization", "content-type", "idempotency-key", "last-event-id"] {
            assert!(allowed.header("access-control-allow-headers").contains(sent), "{:?}", allowed.headers);
        }
        let asked = Answer::to(served.get(&edge.acme.token, "/api/bots").header("origin", origin)).await;
        assert_eq!((asked.status, asked.header("access-control-allow-origin")), (200, origin));
        assert!(asked.header("access-control-expose-headers").contains("as-of-seq"), "{:?}", asked.headers);
        let told = asked.headers.get_all("vary").iter().filter(|vary| *vary == "origin").count();
        assert_eq!(told, 1, "a cache must not give it to another page");
        let refused = Answer::to(served.request(Method::GET, "/api/bots").header("origin", origin)).await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, origin), "it may read why");
    }
    for origin in ["https://evil.example", "https://desk.example.evil.example", "http://desk.example", "null", "*"] {
        for served in [&served, &edge.served] {
            let refused = preflight(served, origin).await;
            assert_eq!(refused.problem(), (405, "method_not_allowed".into()), "{origin}");
            let asked = Answer::to(served.get(&edge.acme.token, "/api/bots").header("origin", origin)).await;
            assert_eq!((of_cors(&refused.headers), of_cors(&asked.headers)), (vec![], vec![]), "{origin}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_host_that_is_not_this_one_gets_nothing() {
    let edge = Edge::new("projector").await;
    let served = serve(&edge.database, &[("PUBLIC_URL", "https://desk.example"), ("ALLOWED_HOSTS", "desk.internal")]);
    let ask = async |target: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("host: {host}\r\n")).collect();
        let head = format!("GET {target} HTTP/1.1\r\n{hosts}authorization: Bearer {}\r\n", edge.acme.token);
        raw(&served, &head).await
    };
    for host in ["desk.example", "DESK.example:443", "desk.internal", "localhost:8080", "healthcheck.railway.app"] {
        assert!(ask("/api/bots", &[host]).await.starts_with("HTTP/1.1 200"), "{host}");
    }
    assert!(ask("http://desk.example/api/bots", &["desk.example"]).await.starts_with("HTTP/1.1 200"));
    for hosts in [&["evil.example"][..], &["desk.example.evil.example"], &["desk.example", "evil.example"], &[], &[""]]
    {
        let answer = ask("/api/bots", hosts).await;
        assert!(answer.starts_with("HTTP/1.1 421") && answer.contains("\"wrong_host\""), "{hosts:?}: {answer}");
        assert!(ask("/readyz", hosts).await.starts_with("HTTP/1.1 200"), "balancers know no names");
    }
    assert!(ask("http://evil.example/api/bots", &["desk.example"]).await.starts_with("HTTP/1.1 421"));
    let any = serve(&edge.database, &[]);
    assert_eq!(Answer::to(any.get(&edge.acme.token, "/api/bots").header("host", "any.example")).await.status, 200);
}

/// The line of the log about the request with this id.
fn line(log: &NamedTempFile, id: &str) -> Value {
    let written = std::fs::read_to_string(log.path()).unwrap();
    let lines = written.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_requests = lines.filter(|line| line["target"] == "pipelabs::request");
    let mut mine = of_requests.filter(|line| line["fields"]["request.id"] == id);
    let line = mine.next().unwrap_or_else(|| panic!("the log has no line about {id}"));
    assert!(mine.next().is_none(), "one line a request");
    line["fields"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_leaves_one_line_that_tells_who_asked_and_what_came_of_it() {
    let mut edge = Edge::new("projector").await;
    let (served, log) = serve_and_log(&edge.database, &[("TRUSTED_PROXIES", "127.0.0.1")]);
    edge.served = served;
    let named = |request: RequestBuilder, id: &str| request.header("x-request-id", id);
    let answered = Answer::to(named(edge.served.get(&edge.acme.token, "/api/bots?min_seq=2"), "one-1")).await;
    assert_eq!((answered.status, answered.header("x-request-id")), (200, "one-1"));
    let path = edge.acme.path("");
    let forwarded = named(edge.served.get("", &path), "two-2").header("x-forwarded-for", "6.6.6.6, 203.0.113.9");
    assert_eq!(Answer::to(forwarded).await.status, 401);
    let unnamed = Answer::to(named(edge.served.get(&edge.admin, "/nothing/here"), "not a \u{fc} short word")).await;
    let own = unnamed.header("x-request-id").to_owned();
    let mut listener = edge.served.listen(&edge.borealis.token, "/api/stream?after=0", None).await.unwrap();
    listener.next().await.expect("it is heard");
    drop(listener);
    edge.served.signal("TERM");
    assert_eq!(edge.served.wait().code(), Some(0));

    let one = line(&log, "one-1");
    assert_eq!((&one["method"], &one["route"], &one["status"]), (&json!("GET"), &json!("/api/bots"), &json!(200)));
    assert_eq!((&one["client.id"], &one["role"]), (&json!(edge.acme.client), &json!("client_owner")));
    assert_eq!(one["bytes"], json!(answered.body.len()));
    assert!(one["time_ms"].is_f64() && one["user.id"].is_string() && one["address"] == "127.0.0.1", "{one}");
    let two = line(&log, "two-2");
    assert_eq!((&two["route"], &two["status"]), (&json!("/api/bots/{id}"), &json!(401)));
    assert_eq!(
        (&two["address"], &two["user.id"], &two["client.id"]),
        (&json!("203.0.113.9"), &Value::Null, &Value::Null)
    );
    let own = line(&log, &own);
    assert_eq!((&own["route"], &own["status"], &own["role"]), (&json!("none"), &json!(404), &json!("admin")));
    let written = std::fs::read_to_string(log.path()).unwrap();
    let streams = written.lines().filter(|line| line.contains("GET /api/stream: 200")).count();
    assert_eq!(streams, 1, "one that was listened to leaves one, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_secret_is_put_wherever_in_a_request_stands_in_no_log() {
    let mut edge = Edge::new("projector").await;
    let (served, log) = serve_and_log(&edge.database, &[("PUBLIC_URL", "https://desk.example")]);
    edge.served = served;
    let (token, canary) = (edge.acme.token.clone(), |place: &str| format!("canary{place}7f3a9b"));
    let said = |place: &str| (format!("{}@example.com", canary(place)), canary(place));
    let (email, password) = said("login");
    let login = json!({"email": email, "password": password, "nonsense": canary("field")});
    let requests = [
        edge.served.get(&canary("bearer"), "/api/bots"),
        edge.served.request(Method::GET, "/api/bots").header("authorization", format!("Basic {}", canary("basic"))),
        edge.served.request(Method::GET, "/api/bots").header("cookie", format!("session={}", canary("cookie"))),
        edge.served.get(&token, &format!("/api/bots/{}", canary("id"))),
        edge.served.get(&token, &format!("/{}/x", canary("path"))),
        edge.served.get(&token, &format!("/api/bots?token={}", canary("query"))),
        edge.served.get(&token, &format!("/api/fills?cursor={}", canary("cursor"))),
        edge.served.get(&token, "/api/stream").header("last-event-id", canary("event")),
        edge.served.get(&token, "/api/bots").header("x-api-key", canary("header")),
        edge.served.get(&token, "/api/bots").header("host", format!("{}.example", canary("host"))),
        edge.served.get(&token, "/api/bots").header("x-forwarded-for", canary("forwarded")),
        edge.served.get(&token, "/api/bots").header("x-request-id", format!("{} odd", canary("request"))),
        edge.served.get(&token, "/api/bots").header("if-none-match", format!("\"{}\"", canary("tag"))),
        edge.served.request(Method::from_bytes(canary("method").as_bytes()).unwrap(), "/api/bots").bearer_auth(&token),
        edge.served.request(Method::POST, "/api/auth/login").json(&login),
        edge.served.request(Method::POST, "/api/auth/login").json(&json!({"email": email, "password": password})),
        edge.served.request(Method::POST, "/api/auth/login").body(canary("form")),
        edge.served.command(Method::POST, &token, "/api/bots", &canary("key"), &json!({"name": canary("name")})),
        edge.served.command(Method::POST, &token, "/api/bots", "k2", &json!({ canary("unknown"): 1 })),
        edge.served.command(Method::POST, &token, "/api/clients/credentials", "k3", &credential(&canary("credential"))),
        edge.served.get(&token, "/api/bots").header("x-long", canary("long").repeat(1_000)),
    ];
    for request in requests {
        Answer::to(request).await;
    }
    raw(&edge.served, &format!("GET /{} HTTP/1.1\r\nbad header {}\r\n", canary("odd"), canary("bad"))).await;
    edge.served.signal("TERM");
    assert_eq!(edge.served.wait().code(), Some(0));
    let written = std::fs::read_to_string(log.path()).unwrap();
    assert!(
        written.contains("DEBUG") && written.lines().filter(|line| line.contains("pipelabs::request")).count() > 20
    );
    for line in written.to_lowercase().lines() {
        assert!(!line.contains("canary") && !line.contains(&token.to_lowercase()), "{line}");
    }
}

fn credential(secret: &str) -> Value {
    let fields = json!({"kucoin_api_key": secret, "kucoin_secret_key": secret, "kucoin_passphrase": secret});
    json!({"exchange": "kucoin", "market": "spot", "fields": fields})
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_edge_that_will_not_do_are_told_together_and_repeat_no_secret() {
    let database = Database::new().await;
    let mut command = database.command(&["serve", "--roles", "api", "--port", "0"]);
    command.envs([
        ("SECRET_KEY", "short"),
        ("PUBLIC_URL", "desk.example"),
        ("CORS_ORIGINS", "*"),
        ("TRUSTED_PROXIES", "everybody"),
        ("REDIS_URL", "http://user:hunter22@127.0.0.1"),
    ]);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    for name in ["SECRET_KEY", "PUBLIC_URL", "CORS_ORIGINS", "TRUSTED_PROXIES", "REDIS_URL"] {
        assert!(told.contains(name), "{name} is not told: {told}");
    }
    assert!(!told.contains("hunter22"), "{told}");
}
