//! Two processes that append to the same clients, which the design avoids where it can: each finds the other's events
//! where it thought to write, and has to look again.

use std::{
    process::Stdio,
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use store::{Login, Streams};
use tests::Database;
use tokio::{process::Command, task::JoinSet};

use crate::{
    append::append_until,
    facts,
    ground::{Ground, a_second},
    table::{Row, Target},
};

/// What this binary is started with to be one of the processes, before the number of its first fill and its seconds.
pub const CHILD: &str = "append-beside";
const CLIENTS: usize = 64;

pub async fn run(ground: &Ground) -> Vec<Row> {
    let database = ground.database().await;
    let (started, turn) = (Instant::now(), ground.turn() * 2);
    let (one, other) = tokio::join!(child(&database, 0, turn), child(&database, 1 << 40, turn));
    let rate = a_second(one + other, started);
    let (stored, keys): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct (client_id, dedupe_key)) from es.events")
            .fetch_one(&database.superuser())
            .await
            .expect("events can be counted");
    let acknowledged = one + other;
    let wrong = (stored as u64).abs_diff(acknowledged) + (keys as u64).abs_diff(acknowledged);
    vec![
        Row::value("two processes, the same 64 clients", rate, "events/s", Target::None),
        Row::value("two processes, lost or doubled", wrong, "events", Target::AtMost(0)),
        Row::value(
            "two processes, share of the slower one",
            one.min(other) * 100 / acknowledged,
            "%",
            Target::AtLeast(25),
        ),
    ]
}

/// Runs one process; how many appends were acknowledged to it.
async fn child(database: &Database, first: u64, turn: Duration) -> u64 {
    let output = Command::new(std::env::current_exe().expect("a bench has a file"))
        .args([CHILD, &first.to_string(), &turn.as_secs().to_string()])
        .env("DATABASE_URL", database.owner.to_url_lossy().as_str())
        .stderr(Stdio::inherit())
        .output()
        .await
        .expect("it can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.trim().parse().unwrap_or_else(|_| panic!("the process broke: {said}"))
}

/// Is one process: a caller a client.
pub async fn be_child(arguments: &[String]) {
    let number = |n: usize| arguments[n].parse::<u64>().expect("it is a number");
    let (first, until) = (number(0), Instant::now() + Duration::from_secs(number(1)));
    let url = std::env::var("DATABASE_URL").expect("the parent names the database");
    let owner = PgConnectOptions::from_str(&url).expect("the parent's url can be read");
    let streams = Streams::new(Login::Writer.pool(&owner, &tests::SECRET.into(), 8));
    let mut callers = JoinSet::new();
    for n in 0..CLIENTS {
        callers.spawn(append_until(streams.clone(), facts::client(n), first, until));
    }
    println!("{}", callers.join_all().await.into_iter().sum::<u64>());
}
