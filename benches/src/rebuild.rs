//! How fast P&L is folded anew from a history, by a process with two workers, and how much memory that takes; beside it
//! two connections that read the same events and sum them up in a table of their own.

use std::{process::Stdio, str::FromStr, time::Instant};

use events::{ClientId, Decimal, Event, ledger::LedgerEvent};
use projections::{projection::Step, worker::catch_up};
use sqlx::{ConnectOptions, PgPool, postgres::PgConnectOptions};
use store::{Login, Streams, read};
use tests::Database;
use tokio::{process::Command, task::JoinSet};

use crate::{
    facts,
    ground::{Ground, a_second},
    table::{Pair, Row, Target},
};

/// What this binary is started with to be the projector.
pub const CHILD: &str = "fold-pnl";
const WORKERS: usize = 2;
const CLIENTS: usize = 100;
/// As many events as a worker takes at a time.
const BATCH: u64 = 2_000;

pub async fn run(ground: &Ground) -> Vec<Row> {
    let mut rows = Vec::new();
    let sizes: &[(u64, u64)] = if ground.quick { &[(500, 64)] } else { &[(2_000, 64), (10_000, 500)] };
    for (each, mib_max) in sizes {
        let database = ground.database().await;
        let fills = CLIENTS as u64 * each;
        write(&database.streams(), *each).await;
        // As autovacuum would have done by the time that anybody rebuilds.
        sqlx::raw_sql("vacuum analyze es.events").execute(&database.superuser()).await.expect("it can be vacuumed");
        let started = Instant::now();
        let sums = plain(&database).await;
        let baseline = a_second(fills, started);
        let (subject, mib) = child(&database, fills).await;
        let what = format!("P&L of {fills} fills, {CLIENTS} clients");
        let target = if ground.quick { Target::None } else { Target::AtLeast(150_000) };
        rows.push(Row::value(what.clone(), subject, "fills/s", target).against(Pair { subject, baseline }));
        rows.push(Row::value(format!("{what}, memory"), mib, "MiB", Target::AtMost(*mib_max)));
        let wrong = differences(&database, *each, &sums).await;
        rows.push(Row::value(format!("{what}, clients whose sums differ"), wrong, "clients", Target::AtMost(0)));
    }
    rows
}

async fn write(streams: &Streams, each: u64) {
    for from in (0..each).step_by(500) {
        let numbers = || from..(from + 500).min(each);
        let appends = (0..CLIENTS).map(|n| facts::recorded(facts::client(n), numbers())).collect();
        for outcome in streams.committer().append_all(appends).await {
            outcome.expect("it is written");
        }
    }
}

/// A client's fills, by number and notional, as somebody has them who only adds up.
type Sums = Vec<(ClientId, u64, Decimal)>;

/// The plain way: read, add, and write the sums after each batch.
async fn plain(database: &Database) -> Sums {
    let db = database.pool(Login::Projector);
    sqlx::raw_sql(
        "create table bare_sums (client_id uuid primary key, fills bigint, volume numeric);
                   grant all on bare_sums to pipelabs_projector",
    )
    .execute(&database.superuser())
    .await
    .expect("a table can be made");
    let mut work = JoinSet::new();
    for worker in 0..WORKERS {
        work.spawn(add_up(db.clone(), (worker..CLIENTS).step_by(WORKERS).map(facts::client).collect()));
    }
    work.join_all().await.into_iter().flatten().collect()
}

async fn add_up(db: PgPool, clients: Vec<ClientId>) -> Sums {
    let mut sums = Vec::new();
    for client in clients {
        let (mut fills, mut volume) = (0, Decimal::ZERO);
        loop {
            let events = read::after(&db, client, fills, BATCH as u32).await.expect("it can be read");
            if events.is_empty() {
                break;
            }
            for event in events {
                let Event::Ledger(LedgerEvent::FillRecorded(fill)) = event.event else { continue };
                volume = volume.plus(fill.price.times(fill.amount).expect("it fits")).expect("it fits");
                fills += 1;
            }
            keep(&db, client, fills, volume).await;
        }
        sums.push((client, fills, volume));
    }
    sums
}

async fn keep(db: &PgPool, client: ClientId, fills: u64, volume: Decimal) {
    let kept = sqlx::query(
        "insert into bare_sums values ($1, $2, $3::numeric)
         on conflict (client_id) do update set fills = excluded.fills, volume = excluded.volume",
    );
    kept.bind(client.0).bind(fills as i64).bind(volume.to_string()).execute(db).await.expect("it can be written");
}

/// Runs the projector; fills a second and its largest memory in MiB.
async fn child(database: &Database, fills: u64) -> (u64, u64) {
    let output = Command::new(std::env::current_exe().expect("a bench has a file"))
        .arg(CHILD)
        .env("DATABASE_URL", database.owner.to_url_lossy().as_str())
        .stderr(Stdio::inherit())
        .output()
        .await
        .expect("it can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = said.trim().split_once(' ').and_then(|(micros, kib)| Some((micros.parse().ok()?, kib.parse().ok()?)));
    let (micros, kib): (u64, u64) = told.unwrap_or_else(|| panic!("the projector broke: {said}"));
    (fills * 1_000_000 / micros.max(1), kib / 1_024)
}

/// Is the projector: tells how many microseconds it took, and the most memory it had in KiB.
pub async fn be_child() {
    let url = std::env::var("DATABASE_URL").expect("the parent names the database");
    let owner = PgConnectOptions::from_str(&url).expect("the parent's url can be read");
    let db = Login::Projector.pool(&owner, &tests::SECRET.into(), 8);
    let (started, mut work) = (Instant::now(), JoinSet::new());
    for _ in 0..WORKERS {
        let mut model = projections::named(&db, "pnl").expect("there is P&L");
        work.spawn(async move { catch_up(&mut *model, |_| {}).await.expect("it can be folded") });
    }
    let parked: Vec<Step> = work.join_all().await.into_iter().flatten().collect();
    assert!(parked.is_empty(), "{parked:?}");
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of a process");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    println!("{} {}", started.elapsed().as_micros(), most.expect("it tells the most memory"));
}

/// Clients whose folded figures are not those of the fills that were written.
async fn differences(database: &Database, each: u64, sums: &Sums) -> u64 {
    let folded: Vec<(uuid::Uuid, i64, String)> = sqlx::query_as(
        "select client_id, sum(fills)::bigint, trim_scale(sum(volume_quote))::text from rm_pnl_v1.pnl_books group by client_id",
    )
    .fetch_all(&database.superuser())
    .await
    .expect("P&L can be read");
    let folded: std::collections::HashMap<_, _> =
        folded.into_iter().map(|(client, fills, volume)| (client, (fills as u64, volume))).collect();
    let right = |(client, fills, volume): &&(ClientId, u64, Decimal)| {
        let told = facts::volume(*client, each);
        told == *volume && *fills == each && folded.get(&client.0) == Some(&(each, told.to_string()))
    };
    CLIENTS as u64 - sums.iter().filter(right).count() as u64
}
