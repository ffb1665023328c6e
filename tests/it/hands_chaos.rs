//! Everything that can go wrong between the desk and its bots, at random: two operators of which one is killed, stopped or
//! cut off from Postgres, a broker that comes and goes, messages that are lost, doubled and late, answers that lie, calls that
//! land when nobody counts on them any more. In the end every client's ledger is the truth, and nobody ran what was wished
//! for twice, but for instances that were found to be too many and put away.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::Duration,
};

use events::{ClientId, Event, bot::BotEvent};
use paper::{Faults, Settings};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Database, Line, Outside, Served};

use crate::desk::{Client, Desk, agrees, events_of};

/// Rounds in `make test`; `make chaos` asks for more.
const ROUNDS: u64 = 12;
/// Worlds beside each other.
const AT_ONCE: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn under_every_fault_each_ledger_is_the_truth_and_nothing_is_done_twice() {
    let rounds = crate::kill::rounds_of(ROUNDS);
    let mut under_way = tokio::task::JoinSet::new();
    for seed in rounds {
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await.unwrap().unwrap();
        }
        under_way.spawn(async move {
            let fills = one_round(seed).await;
            println!("hands, seed {seed}: {fills} fills");
        });
    }
    while let Some(ended) = under_way.join_next().await {
        ended.unwrap();
    }
}

/// Faults of one seed: each alone in some rounds, mixed in the others.
fn faults(random: &mut StdRng) -> Faults {
    let mut faults = Faults { seed: random.random(), ..Faults::default() };
    let alone: Option<u32> = random.random_bool(0.4).then(|| random.random_range(0..8));
    let mut some = |which: u32, most: f64| {
        let there = alone.map_or(random.random_bool(0.5), |only| only == which);
        if there { random.random_range(0.0..most) } else { 0.0 }
    };
    faults.fill_duplicate = some(0, 0.5);
    faults.fill_reorder = some(1, 0.5);
    faults.fill_delay = some(2, 0.3);
    faults.fill_drop = some(3, 0.5);
    let (lies, cuts, slow) = (some(4, 0.2), some(5, 0.3), some(6, 300.0));
    let lied = ["/bot-orchestration/stop-bot", "/accounts/add-account", "/portfolio", "/archived-bots", "/market-data"];
    faults.error_in_200 = lied.map(|path| (path.to_owned(), lies)).into();
    faults.cut_off = [("/bot-orchestration".to_owned(), cuts), ("/accounts".to_owned(), cuts)].into();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred milliseconds")]
    let slow = slow as u32;
    faults.latency_ms = [("/".to_owned(), slow)].into();
    // Sooner than a call is given up, or later.
    let late = some(7, 8_000.0);
    faults.fill_delay_ms = 1_500;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand milliseconds")]
    let late = late as u32;
    faults.late_ms = [("/bot-orchestration/deploy".to_owned(), late)].into();
    faults
}

/// The operators of one world: one has a line of its own to Postgres.
struct Operators<'a> {
    desk: &'a Desk,
    line: Line,
    all: [Served; 2],
}

/// The line that it comes by runs in this process: it must not wait for the process that waits for it.
fn start(desk: &Desk, command: Command) -> Served {
    tokio::task::block_in_place(|| Served::of(desk.outside.served_by(command, 3)))
}

impl<'a> Operators<'a> {
    async fn start(desk: &'a Desk) -> Self {
        let line = Line::to(desk.database.port()).await;
        let all = [Self::cut_off_able(desk, &line), Self::plain(desk)];
        Self { desk, line, all }
    }

    fn cut_off_able(desk: &Desk, line: &Line) -> Served {
        let command = desk.database.command_by(line, &["serve", "--roles", "operator"]);
        start(desk, command)
    }

    fn plain(desk: &Desk) -> Served {
        start(desk, desk.database.command(&["serve", "--roles", "operator"]))
    }

    async fn harm(&mut self, random: &mut StdRng) {
        match random.random_range(0..7) {
            0 => {
                self.all[0].kill();
                self.all[0] = Self::cut_off_able(self.desk, &self.line);
            }
            1 => {
                self.all[1].kill();
                self.all[1] = Self::plain(self.desk);
            }
            2 => {
                self.line.cut();
                tokio::time::sleep(Duration::from_millis(random.random_range(500..4_000))).await;
                self.line.mend();
            }
            3 => {
                let which = random.random_range(0..2);
                self.all[which].signal("STOP");
                tokio::time::sleep(Duration::from_millis(random.random_range(500..3_000))).await;
                self.all[which].signal("CONT");
            }
            4 => drop(self.desk.outside.control(Method::POST, "/paper/broker/restart", None).await),
            5 => {
                self.desk.outside.control(Method::POST, "/paper/broker/stop", None).await;
                tokio::time::sleep(Duration::from_millis(random.random_range(100..1_500))).await;
                self.desk.outside.control(Method::POST, "/paper/broker/start", None).await;
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(50..700))).await;
    }
}

/// One world from its beginning to its end; how many fills it had.
async fn one_round(seed: u64) -> usize {
    let mut random = StdRng::seed_from_u64(seed);
    let settings = Settings {
        seed,
        prints_per_second: 150,
        heartbeat_ms: 500,
        stop_ms: 100,
        archive_ms: 300,
        faults: faults(&mut random),
        ..Settings::default()
    };
    let told = format!("seed {seed}, {:?}", settings.faults);
    let (database, outside) = (Database::new().await, Outside::start(settings).await);
    let served = Served::start(&database, "api,projector");
    let desk = Desk { database, outside, served };
    let mut operators = Operators::start(&desk).await;
    let (acme, borealis) = (desk.onboard("acme").await, desk.onboard("borealis").await);
    desk.connect(&acme, "binance", "acme").await;
    desk.connect(&borealis, "binance", "borealis").await;
    let makers = [
        (&acme, desk.maker(&acme, "pepe", "binance", "PEPE-USDT").await),
        (&acme, desk.maker(&acme, "bitcoin", "binance", "BTC-USDT").await),
        (&borealis, desk.maker(&borealis, "bitcoin", "binance", "BTC-USDT").await),
    ];
    for (client, bot) in &makers {
        desk.want(client, bot, "deploy", &format!("deploy-{bot}")).await;
    }
    for turn in 0..random.random_range(4..9) {
        operators.harm(&mut random).await;
        let (client, bot) = &makers[random.random_range(0..makers.len())];
        let spread = format!("[0.000{}]", random.random_range(1..9));
        let change = json!({"parameters": {"buy_spreads": spread, "sell_spreads": spread}});
        let path = format!("/api/bots/{bot}/config");
        let key = format!("change-{turn}");
        let changed = desk.served.command(Method::PATCH, &client.token, &path, &key, &change).send().await.unwrap();
        assert!([202, 409].contains(&changed.status().as_u16()), "{}", changed.status());
    }
    // A world in which each call lands too late has no end.
    desk.outside.control(Method::POST, "/paper/faults", Some(json!({"late_ms": {}}))).await;
    for (client, bot) in &makers {
        let stop =
            desk.served.post(&client.token, &format!("/api/bots/{bot}/stop"), &format!("stop-{bot}"), &json!({})).await;
        assert!([202, 409].contains(&stop.status), "{}", stop.text());
    }
    let mut fills = 0;
    for client in [&acme, &borealis] {
        let bots = all_put_away(&desk, client, &told).await;
        fills += agrees(&desk, client, &bots).await;
    }
    drop(operators);
    fills
}

/// The same as [`put_away`], once nothing lands any more.
async fn all_put_away(desk: &Desk, client: &Client, told: &str) -> BTreeMap<String, String> {
    let mut unknown = Vec::new();
    for _ in 0..300 {
        let bots = put_away(desk, client, told).await;
        unknown = unknown_of(desk, client, &bots, told).await;
        if unknown.is_empty() {
            return bots;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("nobody knows of {unknown:?}: {told}");
}

/// Waits until nothing is left to do for a client's bots; which bot each instance was.
async fn put_away(desk: &Desk, client: &Client, told: &str) -> BTreeMap<String, String> {
    for _ in 0..600 {
        let (mut of, mut left) = (BTreeMap::new(), BTreeSet::new());
        for (bot, event) in bot_events(&desk.database, client.id).await {
            if matches!(event, BotEvent::BotDeployRequested { .. }) {
                left.insert(bot);
            } else if matches!(event, BotEvent::BotStopped { .. } | BotEvent::BotDeployFailed { .. }) {
                left.remove(&bot);
            } else if let BotEvent::BotDeployed { instance, .. } | BotEvent::BotStrayFound { instance, .. } = event {
                left.insert(instance.clone());
                of.insert(instance, bot);
            } else if let BotEvent::BotArchived { instance, .. } = event {
                left.remove(&instance);
            }
        }
        if left.is_empty() {
            return of;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not everything was put away: {told}");
}

async fn bot_events(database: &Database, client: ClientId) -> Vec<(String, BotEvent)> {
    let told = events_of(database, client).await;
    let of_bots = told.into_iter().filter_map(|(aggregate, event)| {
        let Event::Bot(event) = event else { return None };
        Some((aggregate, event))
    });
    of_bots.collect()
}

/// Instances that Hummingbot ran and nobody knows of; it ran each once.
async fn unknown_of(desk: &Desk, client: &Client, bots: &BTreeMap<String, String>, told: &str) -> Vec<String> {
    let account = client.id.to_string();
    let path = format!("/bot-orchestration/bot-runs?account_name={account}&limit=1000");
    let runs = loop {
        // The faults of the world are still on.
        if let Some(runs) = desk.outside.maybe(Method::GET, &path).await {
            break runs;
        }
    };
    let ran: Vec<&str> =
        runs["data"].as_array().unwrap().iter().map(|run: &Value| run["bot_name"].as_str().unwrap()).collect();
    assert_eq!(ran.len(), ran.iter().collect::<BTreeSet<_>>().len(), "{told}");
    ran.into_iter().filter(|name| !bots.contains_key(*name)).map(str::to_owned).collect()
}
