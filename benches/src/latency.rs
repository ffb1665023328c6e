//! From the acknowledged append to the read model that shows it: writers append at a steady rate, the real projector
//! folds every read model, and a look a millisecond at one model's checkpoints tells when each event is visible.

use std::{
    collections::{HashMap, VecDeque},
    process::Child,
    time::{Duration, Instant},
};

use events::ClientId;
use sqlx::PgPool;
use store::{Login, Streams};
use tests::Database;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinSet,
    time,
};
use uuid::Uuid;

use crate::{
    facts,
    ground::Ground,
    table::{Row, Target},
};

const WRITERS: usize = 64;
/// Clients that only have a history: the projector has them in its books, too.
const SILENT: usize = 64;
const LOOK_EVERY: Duration = Duration::from_millis(1);
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

pub async fn run(ground: &Ground) -> Vec<Row> {
    let mut rows = Vec::new();
    for (a_second, p50_ms, p99_ms) in [(200, Some(3), Some(15)), (1_000, None, None)] {
        let seen = measure(ground, a_second, false).await;
        let what = format!("commit to visible, {a_second} events/s");
        rows.push(Row::latency(format!("{what}, p50"), seen.percentile(50), p50_ms));
        rows.push(Row::latency(format!("{what}, p99"), seen.percentile(99), p99_ms));
        rows.extend(seen.counted(&what));
    }
    let seen = measure(ground, 200, true).await;
    let what = "commit to visible, 200 events/s, deaf";
    rows.push(Row::latency(format!("{what}, p99"), seen.percentile(99), Some(1_200)));
    rows.extend(seen.counted(what));
    rows
}

/// How long each event took, and what became of them all.
struct Seen {
    micros: Vec<u64>,
    lost: u64,
    doubled: u64,
}

/// An acknowledged event that is to become visible.
struct Acknowledged {
    client: ClientId,
    seq: u64,
    at: Instant,
}

impl Seen {
    fn percentile(&self, part: usize) -> u64 {
        self.micros[(self.micros.len() * part / 100).min(self.micros.len() - 1)]
    }

    fn counted(&self, what: &str) -> [Row; 2] {
        let row = |name, count| Row::value(format!("{what}, {name}"), count, "events", Target::AtMost(0));
        [row("lost", self.lost), row("doubled", self.doubled)]
    }
}

/// With `deaf`, the projector's listening connection is ended over and over, so that it hears next to nothing.
async fn measure(ground: &Ground, a_second: u64, deaf: bool) -> Seen {
    let database = ground.database().await;
    let (streams, db) = (database.streams(), database.pool(Login::Projector));
    let mut projector = database.start(&["serve", "--roles", "projector"]);
    begin(&streams, &db).await;
    let killer = deaf.then(|| tokio::spawn(kill_listeners(database.superuser())));
    let (acknowledged, unseen) = mpsc::unbounded_channel();
    let watcher = tokio::spawn(watch(db, unseen));
    let appended = write(&streams, a_second, ground.turn() * 4, acknowledged).await;
    let micros = watcher.await.expect("the watch ends");
    killer.inspect(|killer| killer.abort());
    let told = appended + (WRITERS + SILENT) as u64;
    let seen = counted(told, &database, micros, appended).await;
    stop(&mut projector);
    seen
}

/// A first event of every client, folded.
async fn begin(streams: &Streams, db: &PgPool) {
    let clients = || (0..WRITERS + SILENT).map(facts::client);
    let begun = streams.committer().append_all(clients().map(|client| facts::recorded(client, 0..=0)).collect()).await;
    for outcome in begun {
        outcome.expect("it is written");
    }
    let started = Instant::now();
    while reached(db).await.len() < clients().count() {
        assert!(started.elapsed() < GIVE_UP_AFTER, "the projector does not begin");
        time::sleep(LOOK_EVERY * 20).await;
    }
}

/// Every writer in its own steady step, whether the last append is acknowledged soon or late.
async fn write(streams: &Streams, a_second: u64, turn: Duration, acknowledged: UnboundedSender<Acknowledged>) -> u64 {
    let step = Duration::from_micros(1_000_000 * WRITERS as u64 / a_second);
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let (streams, acknowledged) = (streams.clone(), acknowledged.clone());
        let first = time::Instant::now() + step * n as u32 / WRITERS as u32;
        writers.spawn(async move {
            let (client, mut steps) = (facts::client(n), time::interval_at(first, step));
            let appends = turn.as_micros() as u64 / step.as_micros() as u64;
            for fill in 1..=appends {
                steps.tick().await;
                let receipt = streams.committer().append(facts::recorded(client, fill..=fill)).await;
                let seq = receipt.expect("it is written").last;
                acknowledged.send(Acknowledged { client, seq, at: Instant::now() }).expect("the watch listens");
            }
            appends
        });
    }
    writers.join_all().await.into_iter().sum()
}

/// How long each acknowledged event took to be visible, in order of length.
async fn watch(db: PgPool, mut unseen: UnboundedReceiver<Acknowledged>) -> Vec<u64> {
    let (mut waiting, mut micros) = (VecDeque::new(), Vec::new());
    let mut steps = time::interval(LOOK_EVERY);
    steps.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        steps.tick().await;
        while let Ok(event) = unseen.try_recv() {
            waiting.push_back(event);
        }
        if waiting.is_empty() && unseen.is_closed() || last.elapsed() > GIVE_UP_AFTER {
            micros.sort_unstable();
            return micros;
        }
        let reached = reached(&db).await;
        let before = micros.len();
        waiting.retain(|event: &Acknowledged| {
            let visible = reached.get(&event.client.0).is_some_and(|reached| *reached >= event.seq);
            if visible {
                micros.push(event.at.elapsed().as_micros() as u64);
            }
            !visible
        });
        if micros.len() > before {
            last = Instant::now();
        }
    }
}

/// How far the desk's overview has come: the model that the projector starts last.
async fn reached(db: &PgPool) -> HashMap<Uuid, u64> {
    let rows: Vec<(Uuid, i64)> =
        sqlx::query_as("select client_id, reached from rm.checkpoints where projection = 'overview' and reached > 0")
            .fetch_all(db)
            .await
            .expect("checkpoints can be read");
    rows.into_iter().map(|(client, reached)| (client, reached as u64)).collect()
}

async fn kill_listeners(db: PgPool) {
    loop {
        // Whatever a listening connection said last begins with this word.
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen %'")
            .execute(&db)
            .await
            .expect("connections can be ended");
        time::sleep(LOOK_EVERY * 20).await;
    }
}

fn stop(projector: &mut Child) {
    projector.kill().expect("the projector runs");
    projector.wait().expect("it ends");
}

/// Every fill is one row, and is counted once.
async fn counted(told: u64, database: &Database, micros: Vec<u64>, appended: u64) -> Seen {
    let (shown, rows) = shown(database, told).await;
    let unseen = appended - micros.len() as u64;
    Seen {
        micros,
        lost: unseen.max(told.saturating_sub(shown.min(rows))),
        doubled: shown.max(rows).saturating_sub(told),
    }
}

/// Fills that the overview counts and that the fills' model has, once the slower of the two is done.
async fn shown(database: &Database, told: u64) -> (u64, u64) {
    let counts =
        "select (select sum(fills)::bigint from rm_overview_v1.overview), (select count(*) from rm_fills_v1.fills)";
    let (db, started) = (database.superuser(), Instant::now());
    loop {
        let (shown, rows): (i64, i64) = sqlx::query_as(counts).fetch_one(&db).await.expect("they can be counted");
        let (shown, rows) = (shown as u64, rows as u64);
        if shown.min(rows) >= told || started.elapsed() > GIVE_UP_AFTER {
            return (shown, rows);
        }
        time::sleep(LOOK_EVERY * 20).await;
    }
}
