//! kill -9 of everything at once, under load: two edges with a relay each, the workers, Postgres, NATS and what it keeps.
//! What was acknowledged is stored, projected, on NATS and heard by those who listen: in order, once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use events::{BotId, ClientId};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::{Client as Http, Method, RequestBuilder};
use serde_json::{Value, json};
use store::{Login, read};
use tests::{Database, Heard, Listener, OwnNats, Served, Servers, arrived, caller, free_port, token};

use crate::{
    append::verified,
    facts::{client_with_bot, fill, recorded},
    kill::rounds,
    worker::equal_to_a_rebuild,
};

/// Clients of one round, each with a user that commands and one that listens.
const CLIENTS: usize = 3;

/// The platform as two machines would run it, and everything that it stands on.
struct Platform<'a> {
    servers: &'a Servers,
    nats: &'a OwnNats,
    database: &'a Database,
    ports: [u16; 2],
    edges: Vec<Served>,
    workers: Served,
}

/// How the platform is reached: either edge will do.
#[derive(Clone)]
struct Reach {
    http: Http,
    urls: [String; 2],
    tries: Arc<AtomicU64>,
}

/// What one client was told: which command stands under which number.
type Acknowledged = BTreeMap<String, u64>;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_what_was_acknowledged_is_stored_projected_published_and_heard_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (servers, nats) = (Servers::start(dir.path()), OwnNats::start());
    for round in rounds() {
        let mut random = StdRng::seed_from_u64(round ^ 0xc4a0);
        let mut database = Database::on(&servers).await;
        database.use_nats(&nats.at);
        one_round(&servers, &nats, &database, &mut random).await;
        println!("round {round}: in order, once, everywhere");
    }
    servers.stack.down(&mut |_| {}).unwrap();
}

async fn one_round(servers: &Servers, nats: &OwnNats, database: &Database, random: &mut StdRng) {
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        clients.push(client_with_bot(&database.streams(), &format!("c{n}")).await);
    }
    let mut platform = Platform::start(servers, nats, database);
    let (reach, over) = (platform.reach(), Arc::new(AtomicBool::new(false)));
    let commanding: Vec<_> = clients
        .iter()
        .map(|(client, bot)| {
            tokio::spawn(command(reach.clone(), token(database, Some(*client)), *bot, Arc::clone(&over)))
        })
        .collect();
    let collecting = tokio::spawn(collect(database.streams(), clients.clone(), Arc::clone(&over)));
    let heads = Arc::new(tokio::sync::OnceCell::new());
    let listening: Vec<_> = clients
        .iter()
        .map(|(client, _)| {
            tokio::spawn(hear(reach.clone(), token(database, Some(*client)), *client, Arc::clone(&heads)))
        })
        .collect();
    for _ in 0..random.random_range(3..7) {
        tokio::time::sleep(Duration::from_millis(random.random_range(30..400))).await;
        platform.fault(random);
    }
    over.store(true, Ordering::Relaxed);
    let fills = collecting.await.unwrap();
    let mut acknowledged = Vec::new();
    for commanding in commanding {
        acknowledged.push(commanding.await.unwrap());
    }
    let db = database.pool(Login::Projector);
    heads.set(read::heads_of_all(&db).await.unwrap().into_iter().collect::<BTreeMap<_, _>>()).unwrap();
    for (place, (client, _)) in clients.iter().enumerate() {
        stored(database, *client, &acknowledged[place], fills[place]).await;
        arrived(database, *client, None).await;
        seen(&reach, database, *client, heads.get().unwrap()[client]).await;
    }
    for (listening, (client, _)) in listening.into_iter().zip(&clients) {
        heard_all(database, *client, listening.await.unwrap()).await;
    }
    drop(platform);
    equal_to_a_rebuild(database).await;
}

impl<'a> Platform<'a> {
    fn start(servers: &'a Servers, nats: &'a OwnNats, database: &'a Database) -> Self {
        let ports = [free_port(), free_port()];
        let edges = ports.iter().map(|port| edge(database, *port)).collect();
        Self { servers, nats, database, ports, edges, workers: workers(database) }
    }

    fn reach(&self) -> Reach {
        let urls = self.ports.map(|port| format!("http://127.0.0.1:{port}"));
        Reach { http: caller(), urls, tries: Arc::default() }
    }

    /// One thing breaks, and is started again.
    fn fault(&mut self, random: &mut StdRng) {
        match random.random_range(0..10) {
            place @ 0..4 => {
                let place = place % 2;
                self.edges[place].kill();
                self.edges[place] = edge(self.database, self.ports[place]);
            }
            4..6 => {
                self.workers.kill();
                self.workers = workers(self.database);
            }
            6..8 => {
                self.servers.stack.kill_postgres().unwrap();
                self.servers.stack.start_postgres().unwrap();
            }
            8 => {
                self.nats.kill();
                self.nats.start_again();
            }
            _ => self.nats.lose_everything(),
        }
    }
}

fn edge(database: &Database, port: u16) -> Served {
    Served::of(database.command(&["serve", "--roles", "api,relay", "--port", &port.to_string()]))
}

fn workers(database: &Database) -> Served {
    Served::start(database, "projector")
}

impl Reach {
    /// A request to one of the edges, another one each time.
    fn request(&self, method: Method, token: &str, path: &str) -> RequestBuilder {
        let place = self.tries.fetch_add(1, Ordering::Relaxed) as usize % self.urls.len();
        self.http.request(method, format!("{}{path}", self.urls[place])).bearer_auth(token)
    }

    /// Sends a command until it is answered for good: its status and what was said.
    async fn until_answered(&self, token: &str, path: &str, key: &str) -> (u16, Value) {
        loop {
            let request = self.request(Method::POST, token, path).header("idempotency-key", key).json(&json!({}));
            if let Ok(answer) = request.send().await
                && let status = answer.status().as_u16()
                && status != 503
                && let Ok(said) = answer.json().await
            {
                return (status, said);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Deploys and stops a bot in turn, as the platform lets it, and sends some commands twice.
async fn command(reach: Reach, token: String, bot: BotId, over: Arc<AtomicBool>) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    for n in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let (deed, key) = (["deploy", "stop"][n % 2], format!("command-{n}"));
        let path = format!("/api/bots/{bot}/{deed}");
        let (status, said) = reach.until_answered(&token, &path, &key).await;
        // Nobody confirms a stop here, so the next deploys are refused for good.
        assert!(status == 202 || status == 409, "{status} {said}");
        if status == 202 {
            let seq = said["client_seq"].as_u64().expect("a command has a place");
            assert!(acknowledged.insert(key.clone(), seq).is_none());
            let (status, again) = reach.until_answered(&token, &path, &key).await;
            assert_eq!((status, again["client_seq"].as_u64()), (202, Some(seq)), "sent again it is the same event");
        }
        let name = format!("bot-{n}");
        let body = json!({ "name": name, "config": { "controller": "pmm_simple" } });
        acknowledged.extend(create(&reach, &token, &format!("create-{n}"), &body).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    acknowledged
}

async fn create(reach: &Reach, token: &str, key: &str, body: &Value) -> Option<(String, u64)> {
    loop {
        let request = reach.request(Method::POST, token, "/api/bots").header("idempotency-key", key).json(body);
        if let Ok(answer) = request.send().await
            && let status = answer.status().as_u16()
            && status != 503
            && let Ok(said) = answer.json::<Value>().await
        {
            assert_eq!(status, 201, "{said}");
            return said["client_seq"].as_u64().map(|seq| (key.to_owned(), seq));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Records fills as the operator would: each until it is known to stand. How many of each client.
async fn collect(streams: store::Streams, clients: Vec<(ClientId, BotId)>, over: Arc<AtomicBool>) -> Vec<u64> {
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        for (client, bot) in &clients {
            let append = recorded(*client, fill(*client, *bot, n, n as i64));
            while streams.committer().append(append.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        n += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    vec![n; clients.len()]
}

/// Listens until everything was heard, coming back whenever the connection breaks.
async fn hear(
    reach: Reach,
    token: String,
    client: ClientId,
    heads: Arc<tokio::sync::OnceCell<BTreeMap<ClientId, u64>>>,
) -> Vec<Heard> {
    let mut heard: Vec<Heard> = Vec::new();
    let all = |heard: &[Heard]| heads.get().is_some_and(|heads| heard.len() as u64 >= heads[&client]);
    while !all(&heard) {
        let last = heard.last().map_or("0".to_owned(), |last| last.id.clone());
        let request = reach.request(Method::GET, &token, "/api/stream").header("last-event-id", last);
        let Ok(answer) = request.send().await else { continue };
        if answer.status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let mut listener = Listener::to(answer);
        while !all(&heard) {
            // Between two events it is looked whether there is anything left to hear.
            match tokio::time::timeout(Duration::from_millis(200), listener.next()).await {
                Ok(Some(event)) => heard.push(event),
                Ok(None) => break,
                Err(_) => {}
            }
        }
    }
    heard
}

/// Everything that was acknowledged stands under its number, once, in an unbroken chain.
async fn stored(database: &Database, client: ClientId, acknowledged: &Acknowledged, fills: u64) {
    let head = verified(database, client).await;
    let lines = read::lines(&database.pool(Login::Projector), client, 1, head).await.unwrap();
    for (key, seq) in acknowledged {
        let stored = &lines[*seq as usize - 1].metadata["key"];
        assert_eq!(stored, &format!("http:{key}:"), "acknowledged as {seq}");
    }
    let recorded = lines.iter().filter(|line| line.event_type == "FillRecorded").count() as u64;
    assert_eq!(recorded, fills, "each fill once");
}

/// The read models show it, whichever edge is asked.
async fn seen(reach: &Reach, database: &Database, client: ClientId, head: u64) {
    let token = token(database, Some(client));
    for page in ["/api/bots", "/api/fills", "/api/orders", "/api/pnl", "/api/clients/portfolio", "/api/events"] {
        let answer = loop {
            let request = reach.request(Method::GET, &token, &format!("{page}?min_seq={head}"));
            match request.send().await {
                Ok(answer) if answer.status() == 503 => {}
                Ok(answer) => break answer,
                Err(error) => panic!("{page}: {error}"),
            }
        };
        assert_eq!(answer.status(), 200, "{page}");
        assert_eq!(answer.headers()["as-of-seq"], head.to_string(), "{page}");
        assert_eq!(answer.headers()["stale"], "false", "{page}");
    }
}

async fn heard_all(database: &Database, client: ClientId, heard: Vec<Heard>) {
    let lines = read::lines(&database.pool(Login::Projector), client, 1, i64::MAX as u64).await.unwrap();
    let ids: Vec<u64> = heard.iter().map(|event| event.id.parse().unwrap()).collect();
    assert_eq!(ids, (1..=lines.len() as u64).collect::<Vec<_>>(), "each once, in order");
    for (event, line) in heard.iter().zip(&lines) {
        assert_eq!(event.line()["event_id"], line.event_id.to_string());
    }
}
