//! Whatever is sent to whatever route: a problem that says what to do, never a fault of ours, and nothing is changed.

use std::{sync::Mutex, time::Duration};

use events::{BotId, Time, desk::Role};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tests::{Answer, Served, token_made_at};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    edge::Edge,
    facts::{credential, order_by_hand, subscription, write},
    neighbours::{id_in, of_alerts, of_the_desk, order_of, people, rule_in, token_of},
};

/// A route as its description tells it.
pub struct Route {
    pub method: Method,
    pub path: String,
    pub public: bool,
    pub queries: Vec<String>,
    pub command: bool,
}

const UNAUTHENTICATED: &[(u16, &str)] = &[(401, "unauthenticated")];
const INVALID: &[(u16, &str)] = &[(422, "invalid")];
const UNREADABLE: &[(u16, &str)] = &[(400, "bad_request"), (422, "invalid")];
const TOO_LARGE: &[(u16, &str)] = &[(413, "too_large")];

pub async fn routes(served: &Served) -> Vec<Route> {
    let api = served.ask("", "/openapi.json").await.json();
    let mut found = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let named = |place: &str| {
                let of = parameters.iter().filter(|parameter| parameter["in"] == place);
                of.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            found.push(Route {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                public: operation["security"] == json!([{}]),
                queries: named("query"),
                command: named("header").contains(&"Idempotency-Key".to_owned()),
            });
        }
    }
    assert!(found.len() >= 19, "{} routes are described", found.len());
    found
}

impl Route {
    fn is_of_health(&self) -> bool {
        ["/livez", "/readyz", "/version", "/metrics"].contains(&self.path.as_str())
    }

    pub fn is_of_desk(&self) -> bool {
        self.path.starts_with("/api/admin/")
    }

    /// About what one client has.
    pub fn is_about_a_client(&self) -> bool {
        let apart = ["/api/auth/", "/api/admin/", "/api/exchanges"];
        self.path.starts_with("/api/") && !apart.iter().any(|start| self.path.starts_with(start))
    }

    /// Asked once and answered once.
    pub fn is_question(&self) -> bool {
        !self.is_of_health() && !self.takes_a_body() && self.path != "/api/stream"
    }

    fn takes_a_body(&self) -> bool {
        self.method != Method::GET
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn of(&self, id: impl std::fmt::Display) -> String {
        let path = self.path.replace("{id}", &id.to_string());
        path.replace("{client}", "acme").replace("{exchange}", "okx").replace("{rule}", rule_in(&self.path))
    }

    /// About what acme has.
    fn of_acme(&self, edge: &Edge) -> String {
        let path = self.path.replace("{id}", &id_in(&self.path, &edge.acme)).replace("{client}", "acme");
        let path = path.replace("{exchange}", "okx").replace("{order}", &order_of(&edge.acme).to_string());
        path.replace("{token}", &token_of(&edge.acme).to_string()).replace("{rule}", rule_in(&self.path))
    }

    /// A request to which nothing but what a test adds is wrong.
    fn request(&self, edge: &Edge, query: &str) -> RequestBuilder {
        let path = format!("{}{query}", self.of_acme(edge));
        let token = if self.is_of_desk() { &edge.admin } else { &edge.acme.token };
        let request = edge.served.get(token, &path);
        let (client, request) = request.build_split();
        let mut request = request.unwrap();
        *request.method_mut() = self.method.clone();
        let request = RequestBuilder::from_parts(client, request);
        if self.command { request.header("idempotency-key", format!("k-{}", BotId::new())) } else { request }
    }
}

/// What was answered otherwise than it should be; told together, at the end.
#[derive(Default)]
struct Wrong(Mutex<Vec<String>>);

impl Wrong {
    /// Sends it and expects one of these problems; with none named, any answer that is no fault.
    async fn expect(&self, request: RequestBuilder, what: &str, expected: &[(u16, &str)]) {
        let response = request.send().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let status = response.status().as_u16();
        if status < 400 && expected.is_empty() {
            return;
        }
        if status < 400 {
            return self.tell(format!("{what}: {status}, and not one of {expected:?}"));
        }
        let answer = Answer::of(response).await;
        let (status, code) = answer.problem();
        if status >= 500 || !(expected.is_empty() || expected.contains(&(status, &code))) {
            self.tell(format!("{what}: not one of {expected:?}, but {}", answer.text()));
        }
    }

    fn tell(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn nothing(&self) {
        let wrong = self.0.lock().unwrap();
        assert!(wrong.is_empty(), "{} answers:\n{}", wrong.len(), wrong.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_brings_no_token_that_counts_gets_nowhere() {
    let edge = Edge::new("api").await;
    let (wrong, client) = (Wrong::default(), Some(edge.acme.client));
    let hour_ago = Time::now().plus_micros(-3_600_000_000);
    let somebody = edge.database.signed_in(Role::ClientOwner, client).await;
    let mut other = tests::Database::new().await;
    other.secret = "another-secret-9876543210-for-tests".into();
    let given = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer garbage".to_owned(),
        format!("Bearer {}", "a.".repeat(3_000)),
        format!("Basic {}", edge.acme.token),
        format!("Bearer {}", token_made_at(&edge.database, client, hour_ago)),
        format!("Bearer {}", somebody.token_made_at(&other, Time::now())),
        format!("Bearer {}x", edge.acme.token),
    ];
    let before = edge.heads().await;
    for route in routes(&edge.served).await.iter().filter(|route| !route.public) {
        for given in &given {
            let path = route.of_acme(&edge);
            let request = edge.served.request(route.method.clone(), &path).header("idempotency-key", "k").body("{}");
            let request = if given.is_empty() { request } else { request.header("authorization", given) };
            let answer = Answer::to(request).await;
            assert_eq!(answer.problem(), (401, "unauthenticated".into()), "{} with {given:.40}", route.name());
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{}", route.name());
        }
    }
    assert_eq!(edge.heads().await, before);
    wrong.expect(edge.served.get("\u{fc}", "/api/bots"), "a token that is no ASCII", UNAUTHENTICATED).await;
    wrong.nothing();
}

/// What it is, the bytes, and the problems that it may lead to.
type Body = (&'static str, Vec<u8>, &'static [(u16, &'static str)]);

/// What no route takes as a body, and how it is refused.
fn bodies() -> Vec<Body> {
    let text = |text: &str| text.as_bytes().to_vec();
    let nested = |n: usize| [b"{\"a\":".repeat(n), b"1".to_vec(), b"}".repeat(n)].concat();
    let mut bodies = vec![
        ("no JSON", text("name=x"), UNREADABLE),
        ("truncated", text("{\"name\": \"ab"), UNREADABLE),
        ("trailing junk", text("{} {}"), UNREADABLE),
        ("a text", text("\"x\""), UNREADABLE),
        ("a list", text("[]"), UNREADABLE),
        ("a full list", text("[\"x\", {}]"), UNREADABLE),
        ("a number", text("1e999999"), UNREADABLE),
        ("null", text("null"), UNREADABLE),
        ("an unknown field", text("{\"nonsense\": 1}"), UNREADABLE),
        ("100,000 brackets", b"[".repeat(100_000), TOO_LARGE),
        ("30,000 brackets", b"[".repeat(30_000), UNREADABLE),
        ("10,000 objects", nested(10_000), UNREADABLE),
        ("33 objects", nested(33), INVALID),
        ("65 KiB and a byte", vec![b' '; 65 * 1_024 + 1], TOO_LARGE),
        ("64 KiB and a byte", vec![b' '; 64 * 1_024 + 1], TOO_LARGE),
        ("64 KiB of blanks", vec![b' '; 64 * 1_024], UNREADABLE),
        ("no UTF-8", b"{\"name\": \"\xff\xfe\"}".to_vec(), UNREADABLE),
        ("a field twice", text(r#"{"name":"a","name":"b","reason":"a","reason":"b"}"#), UNREADABLE),
        ("a parameter twice", text(r#"{"name":"b1","config":{"parameters":{"a":"1","a":"2"}}}"#), UNREADABLE),
        ("a changed parameter twice", text(r#"{"parameters":{"a":"1","a":"2"}}"#), UNREADABLE),
    ];
    // A field that a route does not know is refused as such.
    for value in ["7", "-1e400", "null", "true", "[]", "{}", "\"\"", "\"a\\u0000b\"", "\"\\ud800\"", "\"\\udc00x\""] {
        for field in ["slug", "controller", "email", "config", "parameters", "venue"] {
            let body = format!("{{\"{field}\": {value}}}");
            // A change may leave each of these as it is.
            let may_be = match field {
                "parameters" => value == "{}",
                "controller" | "venue" => value == "null",
                _ => false,
            };
            if !may_be {
                bodies.push(("a wrong value", body.into_bytes(), &[]));
            }
        }
        bodies.push(("a wrong name", format!("{{\"name\": {value}, \"slug\": {value}}}").into_bytes(), UNREADABLE));
    }
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_meant_is_refused_in_words_and_changes_nothing() {
    let edge = Edge::new("api").await;
    credential(&edge.streams, edge.acme.client).await;
    order_by_hand(&edge.streams, edge.acme.client, edge.acme.bot).await;
    subscription(&edge.streams, edge.acme.client).await;
    write(&edge.streams, of_alerts(&edge.acme)).await;
    write(&edge.streams, of_the_desk(&edge.acme)).await;
    people(&edge.database, &edge.acme).await;
    let (before, wrong) = (edge.heads().await, Wrong::default());
    for route in routes(&edge.served).await.iter().filter(|route| route.takes_a_body()) {
        for (what, body, expected) in bodies() {
            let what = format!("{} with {what}: {:.80}", route.name(), String::from_utf8_lossy(&body));
            let request = route.request(&edge, "").header("content-type", "application/json").body(body);
            wrong.expect(request, &what, expected).await;
        }
        for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "\u{fc}"] {
            let request = route.request(&edge, "").header("content-type", kind).body("{}");
            wrong.expect(request, &format!("{} as {kind}", route.name()), &[(415, "unsupported_media_type")]).await;
        }
    }
    let reasons = [
        json!({"reason": "a\u{0}b"}),
        json!({"reason": 7}),
        json!({"reason": null}),
        json!({"reason": "x".repeat(501)}),
    ];
    for reason in reasons {
        edge.served.post(&edge.acme.token, &edge.acme.path("/stop"), "k", &reason).await.problem();
    }
    let empty = edge.served.request(Method::POST, "/api/bots").bearer_auth(&edge.acme.token);
    wrong.expect(empty.header("idempotency-key", "k"), "no body at all", INVALID).await;
    assert_eq!(edge.heads().await, before);
    wrong.nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_cannot_be_meant_is_refused_in_words() {
    let edge = Edge::new("api,projector").await;
    credential(&edge.streams, edge.acme.client).await;
    order_by_hand(&edge.streams, edge.acme.client, edge.acme.bot).await;
    subscription(&edge.streams, edge.acme.client).await;
    write(&edge.streams, of_alerts(&edge.acme)).await;
    write(&edge.streams, of_the_desk(&edge.acme)).await;
    people(&edge.database, &edge.acme).await;
    let (before, wrong) = (edge.heads().await, Wrong::default());
    let routes = routes(&edge.served).await;
    for route in routes.iter().filter(|route| !route.is_of_health() && !route.takes_a_body()) {
        let try_it = async |query: &str, expected: &[(u16, &str)]| {
            wrong.expect(route.request(&edge, query), &format!("{} {query}", route.name()), expected).await;
        };
        for query in ["?nonsense=1", "?limitt=5", "?=", "?%00=1", "?min_seq=1&min_seq=2", "?client=a&client=b"] {
            try_it(query, INVALID).await;
        }
        for value in
            ["", "-1", "x", "1.0", "1e3", "%00", "%ff", "18446744073709551615", "99999999999999999999999", "%31%30%"]
        {
            try_it(&format!("?min_seq={value}"), INVALID).await;
        }
        // Of the desk's own questions one may be about one client.
        if !(route.is_of_desk() && route.queries.iter().any(|query| query == "client")) {
            try_it("?client=acme", INVALID).await;
        }
        try_it(&format!("?cursor={}", "A".repeat(9 * 1_024)), TOO_LARGE).await;
        for name in &route.queries {
            try_it(&format!("?{name}=1&{name}=1"), INVALID).await;
            for value in [
                "",
                "%00",
                "%ff%fe",
                "-1",
                "%",
                "%zz",
                "\u{1f4a5}",
                "18446744073709551615",
                "99999999999999999999999",
                "null",
                "NaN",
            ] {
                try_it(&format!("?{name}={value}"), &[]).await;
            }
            for (of, bad) in [
                ("limit", ["0", "-1", "501", "1000000000", "x"]),
                ("bot", ["7", "acme", "00000000", "g", "01900000-0000-7000-8000-00000000000"]),
                ("from", ["yesterday", "2024-13-01T00:00:00Z", "2024-01-01", "1723161905012", "10000-01-01T00:00:00Z"]),
                ("to", ["now", "2024-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z0", "+"]),
                ("exchange", ["Kucoin1", "kukoin", "0", "kucoin%00", "%20"]),
                ("pair", ["SOL", "%00", "SOL/USDT/X%00", "-", ""]),
                ("order", ["Newest", "desc", "0", "newest%20", "oldes"]),
                ("group", ["bots", "0", "Bot", "client", "day%00"]),
                ("method", ["hifo", "0", "FIFO", "averag", "lifo,fifo"]),
                ("open", ["1", "yes", "True", "", "null"]),
                ("after_seq", ["-1", "x", "1e3", "99999999999999999999999", ""]),
                ("after", ["-1", "x", "1e3", "99999999999999999999999", ""]),
                ("cursor", ["garbage", "AAAA", "%00", "", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"]),
            ] {
                for bad in bad.iter().filter(|_| of == name) {
                    try_it(&format!("?{name}={bad}"), INVALID).await;
                }
            }
        }
    }
    let turned = "/api/pnl?from=2024-08-09T00:00:00Z&to=2024-08-08T00:00:00Z";
    wrong.expect(edge.served.get(&edge.acme.token, turned), turned, INVALID).await;
    let ahead = "/api/pnl?group=day&to=9999-12-31T23:59:59Z";
    wrong.expect(edge.served.get(&edge.acme.token, ahead), ahead, INVALID).await;
    wrong.expect(edge.served.get(&edge.admin, "/api/bots"), "an admin who names no client", INVALID).await;
    wrong.expect(edge.served.get(&edge.admin, "/api/bots?client=nobody"), "nobody", &[(404, "not_found")]).await;
    for route in routes.iter().filter(|route| route.takes_a_body()) {
        let request = route.request(&edge, "?nonsense=1").json(&json!({"nonsense": 1}));
        wrong.expect(request, &format!("{} with a query", route.name()), INVALID).await;
    }
    let deploy = format!("{}?nonsense=1", edge.acme.path("/deploy"));
    let deployed = edge.served.post(&edge.acme.token, &deploy, "k1", &json!({})).await;
    assert_eq!(deployed.problem(), (422, "invalid".into()));
    assert_eq!(edge.heads().await, before);
    wrong.nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_paths_ids_and_headers_are_refused_in_words() {
    let edge = Edge::new("api").await;
    credential(&edge.streams, edge.acme.client).await;
    order_by_hand(&edge.streams, edge.acme.client, edge.acme.bot).await;
    subscription(&edge.streams, edge.acme.client).await;
    write(&edge.streams, of_alerts(&edge.acme)).await;
    write(&edge.streams, of_the_desk(&edge.acme)).await;
    people(&edge.database, &edge.acme).await;
    let (before, wrong) = (edge.heads().await, Wrong::default());
    let routes = routes(&edge.served).await;
    for path in routes.iter().map(|route| &route.path) {
        let known: Vec<&Method> =
            routes.iter().filter(|route| &route.path == path).map(|route| &route.method).collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"] {
            let method: Method = method.parse().unwrap();
            if !known.contains(&&method) {
                let request = edge.served.request(method.clone(), &path.replace("{id}", "x"));
                let answer = Answer::to(request.bearer_auth(&edge.acme.token)).await;
                assert_eq!(answer.problem(), (405, "method_not_allowed".into()), "{method} {path}");
                assert!(answer.header("allow").contains(known[0].as_str()), "{method} {path}: {:?}", answer.headers);
            }
        }
    }
    for path in
        ["/", "/api", "/api/", "/api/bots/", "/api/nonsense", "//", "/api/bots/%2e%2e/x", "/%00", "/api/bots/a/b/c"]
    {
        wrong.expect(edge.served.get(&edge.acme.token, path), path, &[(404, "not_found")]).await;
    }
    let nobody = edge.served.ask(&edge.acme.token, &format!("/api/bots/{}", BotId::new())).await;
    for route in routes.iter().filter(|route| route.path.contains("{id}")) {
        // The desk sees every client's bots; what nobody has it does not see either.
        let foreign = if route.is_of_desk() { BotId::new() } else { edge.borealis.bot }.to_string();
        let token = if route.is_of_desk() { &edge.admin } else { &edge.acme.token };
        for id in [
            foreign.as_str(),
            &BotId::new().to_string(),
            "x",
            "%2F",
            "a%2Fb",
            "%00",
            "%ff",
            "..%2f..",
            "%20",
            "\u{1f4a5}",
        ] {
            let path = route.of(id);
            let request = edge.served.command(route.method.clone(), token, &path, "k", &json!({}));
            let answer = Answer::to(request).await;
            assert_eq!((answer.status, &answer.body), (404, &nobody.body), "{} of {id}", route.name());
        }
    }
    for route in routes.iter().filter(|route| !route.is_of_health()) {
        let large = route.request(&edge, "").header("x-large", "x".repeat(17 * 1_024));
        wrong.expect(large, &format!("{} with 17 KiB of headers", route.name()), TOO_LARGE).await;
    }
    for route in routes.iter().filter(|route| route.command) {
        keys(&edge, &wrong, route).await;
    }
    assert_eq!(edge.heads().await, before);
    wrong.nothing();
}

async fn keys(edge: &Edge, wrong: &Wrong, route: &Route) {
    let token = if route.is_of_desk() { &edge.admin } else { &edge.acme.token };
    let request = || edge.served.request(route.method.clone(), &route.of_acme(edge)).bearer_auth(token);
    let named = json!({"name": "x1", "slug": "x1"});
    let body = if route.path.ends_with("deploy") || route.path.ends_with("stop") { json!({}) } else { named };
    let missing = request().json(&body);
    wrong.expect(missing, &format!("{} without a key", route.name()), &[(400, "idempotency_key_missing")]).await;
    let long = "k".repeat(256);
    for bad in [&b""[..], b"a b", b"\xfc\xff", "schl\u{fc}ssel".as_bytes(), b"\t", long.as_bytes()] {
        let value = reqwest::header::HeaderValue::from_bytes(bad).unwrap();
        let request = request().header("idempotency-key", value).json(&body);
        wrong.expect(request, &format!("{} with key {bad:?}", route.name()), INVALID).await;
    }
}

/// Sends bytes, and reads until the server closes.
async fn raw(served: &Served, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(served.address()).await.unwrap();
    // It may have closed before all was sent.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), socket.read_to_end(&mut answer)).await;
    let _ = read.expect("the server closes what leads nowhere");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_http_is_let_go_and_nobody_else_notices() {
    let edge = Edge::new("api,projector").await;
    let head = format!("GET /api/bots HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", edge.acme.token);
    let many: String = (0..10_000).map(|n| format!("x-{n}: y\r\n")).collect();
    let unfinished = format!(
        "POST /api/bots HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nidempotency-key: k\r\n\
         content-type: application/json\r\ncontent-length: 50\r\n\r\n{{\"name\":",
        edge.acme.token
    );
    let served = &edge.served;
    let others = async {
        for _ in 0..200 {
            assert_eq!(served.ask(&edge.acme.token, "/api/bots").await.status, 200);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (silent, garbage, crowded, half_body, nul, ()) = tokio::join!(
        raw(served, head.as_bytes()),
        raw(served, b"\x16\x03\x01 not http at all\r\n\r\n"),
        async { raw(served, format!("{head}{many}\r\n").as_bytes()).await },
        raw(served, unfinished.as_bytes()),
        raw(served, b"GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n"),
        others
    );
    assert!(silent.is_empty() || silent.starts_with("HTTP/1.1 408"), "{silent}");
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    assert!(crowded.starts_with("HTTP/1.1 431") || crowded.is_empty(), "{crowded}");
    assert!(half_body.starts_with("HTTP/1.1 400") && half_body.contains("bad_request"), "{half_body}");
    assert!(nul.starts_with("HTTP/1.1 400"), "{nul}");
    assert_eq!(edge.served.ask("", "/livez").await.text(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_of_a_problem_is_described() {
    let edge = Edge::new("api").await;
    let api: Value = edge.served.ask("", "/openapi.json").await.json();
    let codes = api["components"]["schemas"]["Code"]["enum"].as_array().map_or(0, Vec::len)
        + api["components"]["schemas"]["Code"]["oneOf"].as_array().map_or(0, Vec::len);
    assert_eq!(codes, 22, "{}", api["components"]["schemas"]["Code"]);
}
