//! A portfolio read over HTTP, token and tenant checked, beside two plain means in axum: the same bytes held ready, and
//! one typed row selected for each request.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use axum::{Json, Router, body::Bytes, extract::State, http::header, routing::get};
use secrecy::ExposeSecret;
use serde::Serialize;
use sqlx::PgPool;
use store::Login;
use tests::{Database, Served, token};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use uuid::Uuid;

use crate::{
    facts,
    ground::{Ground, a_second},
    table::{Pair, Row, Target},
};

/// The word that makes this binary the plain server.
pub const CHILD: &str = "be-plain-http";

const CONNECTIONS: usize = 64;
/// As many connections to Postgres as the platform has of one login.
const POOL: u32 = 16;
const PAGE: &str = "/api/clients/portfolio";

pub async fn run(ground: &Ground) -> Vec<Row> {
    let database = ground.database().await;
    let client = facts::client(0);
    let fills = (0..1_000).step_by(100).map(|first| facts::recorded(client, first..first + 100));
    for outcome in database.streams().committer().append_all(fills.collect()).await {
        outcome.expect("it is written");
    }
    let api = Served::start(&database, "api,projector");
    let token = token(&database, Some(client));
    let answer = api.ask(&token, &format!("{PAGE}?min_seq=1000")).await;
    let plain = plain(&database, &answer.body, client.0);
    let ours = asked(api.address(), PAGE, &format!("authorization: Bearer {token}\r\n"));
    let (bytes, select) = (asked(plain.address(), "/bytes", ""), asked(plain.address(), "/select", ""));
    let mut rounds = Vec::new();
    for _ in 0..ground.rounds() {
        rounds.push([
            ours.load(ground.turn()).await,
            bytes.load(ground.turn()).await,
            select.load(ground.turn()).await,
        ]);
    }
    let pair = |of: usize| {
        let pairs = rounds.iter().map(|round| Pair { subject: round[0].a_second, baseline: round[of].a_second });
        Pair::median(pairs.collect())
    };
    let mut slowest: Vec<u64> = rounds.iter().map(|round| round[0].p99_us).collect();
    slowest.sort_unstable();
    ground.kill_nats();
    let alone = ours.load(ground.turn()).await;
    ground.start_nats();
    vec![
        Row::ratio("portfolio reads, 64 connections / ready bytes", pair(1), Some(50)),
        Row::ratio("portfolio reads, 64 connections / one row", pair(2), Some(400)),
        Row::latency("portfolio reads, 64 connections, p99", slowest[slowest.len() / 2], Some(5)),
        Row::value("portfolio reads, NATS down", alone.a_second, "/s", Target::None),
        Row::latency("portfolio reads, NATS down, p99", alone.p99_us, Some(5)),
    ]
}

/// One request, over and over.
struct Asked {
    address: SocketAddr,
    request: Vec<u8>,
}

fn asked(address: &str, path: &str, headers: &str) -> Asked {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n").into_bytes();
    Asked { address: address.parse().expect("it is an address"), request }
}

/// What many connections got.
struct Load {
    a_second: u64,
    p99_us: u64,
}

impl Asked {
    /// Each connection asks again as soon as it was answered.
    async fn load(&self, turn: Duration) -> Load {
        let (started, mut asking) = (Instant::now(), JoinSet::new());
        for _ in 0..CONNECTIONS {
            let (address, request) = (self.address, self.request.clone());
            asking.spawn(async move { ask(address, &request, started + turn).await });
        }
        let mut micros: Vec<u64> = asking.join_all().await.into_iter().flatten().collect();
        micros.sort_unstable();
        Load { a_second: a_second(micros.len() as u64, started), p99_us: micros[micros.len() * 99 / 100] }
    }
}

async fn ask(address: SocketAddr, request: &[u8], until: Instant) -> Vec<u64> {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket.set_nodelay(true).expect("it is a socket");
    let (mut micros, mut answer) = (Vec::new(), Vec::new());
    while Instant::now() < until {
        let started = Instant::now();
        socket.write_all(request).await.expect("it reads");
        answer.clear();
        while !is_whole(&answer) {
            assert!(socket.read_buf(&mut answer).await.expect("it answers") > 0, "it hung up");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        micros.push(started.elapsed().as_micros() as u64);
    }
    micros
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&answer[..head]);
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).expect("the answer tells its length");
    answer.len() >= head + 4 + length
}

/// The plain server, as a process like ours.
fn plain(database: &Database, body: &[u8], client: Uuid) -> Served {
    let url = database.pool_url(Login::Projector);
    let mut command = Command::new(std::env::current_exe().expect("this is a program"));
    command
        .args([CHILD, &String::from_utf8_lossy(body), &client.to_string()])
        .env("PLAIN_DATABASE", url.expose_secret());
    command.stdin(Stdio::null());
    Served::of(command)
}

#[derive(Clone)]
struct Plain {
    db: PgPool,
    client: Uuid,
    body: Bytes,
}

/// A row as one would type it.
#[derive(Serialize, sqlx::FromRow)]
struct OneRow {
    client_id: Uuid,
    exchange: String,
    asset: String,
    amount: String,
}

/// Serves ready bytes and one row.
pub async fn be_child(arguments: &[String]) {
    let [body, client] = arguments else { panic!("it is told what to serve") };
    let url = std::env::var("PLAIN_DATABASE").expect("it is told where the database is");
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(POOL);
    let db = options.connect(&url).await.expect("Postgres answers");
    let state = Plain { db, client: client.parse().expect("it is an id"), body: body.clone().into() };
    let router = Router::new().route("/bytes", get(bytes)).route("/select", get(select)).with_state(state);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("ready: http://{}", listener.local_addr().expect("it has an address"));
    axum::serve(listener, router).await.expect("it serves");
}

async fn bytes(State(plain): State<Plain>) -> ([(header::HeaderName, &'static str); 1], Bytes) {
    ([(header::CONTENT_TYPE, "application/json")], plain.body)
}

async fn select(State(plain): State<Plain>) -> Json<OneRow> {
    let one =
        "select client_id, exchange, asset, amount::text from rm_portfolio_v1.holdings where client_id = $1 limit 1";
    Json(sqlx::query_as(one).bind(plain.client).fetch_one(&plain.db).await.expect("the row is there"))
}
