//! Looks for the suite's secrets in what the suite left: the logs of every process that it started, what its Postgres and
//! its NATS hold and said. The last step of `make test`; fails with each place and what lies there.
//!
//! `sweep` looks below `target/test-stack`; `sweep DIR` below another stack's folder.

use std::{
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    time::{Duration, Instant},
};

use pipelabs::stack::{Part, Stack, Status};
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use tests::{
    canaries::{Found, in_database, in_files},
    target,
};

/// What lies in a stack's folder beside the data of Postgres, which is asked for instead.
const FILES: [&str; 4] = ["logs", "nats", "nats.log", "postgres.log"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let dir = std::env::args_os().nth(1).map_or_else(|| target().join("test-stack"), PathBuf::from);
    let (looked, found) = sweep(&Stack::at(&dir)).await;
    for Found { place, kind, seen } in &found {
        eprintln!("sweep: {place} holds {kind}: {seen}");
    }
    println!(
        "sweep: {} secrets where none may be, in {looked} databases and what lies in {}",
        found.len(),
        dir.display()
    );
    match (looked, found.len()) {
        // Nothing to look at is no proof.
        (0, _) | (_, 1..) => ExitCode::FAILURE,
        (1.., 0) => ExitCode::SUCCESS,
    }
}

/// How long servers are waited for that somebody else stops.
const LEFT_WITHIN: Duration = Duration::from_secs(30);

async fn sweep(stack: &Stack) -> (usize, Vec<Found>) {
    let mut found = Vec::new();
    for file in FILES.iter().map(|name| stack.dir.join(name)).filter(|path| path.exists()) {
        found.extend(in_files(&file).expect("what the suite left can be read"));
    }
    wait_until_left(stack);
    let running = stack.up(&mut |text| println!("sweep: {text}")).unwrap_or_else(|error| panic!("{error}"));
    let superuser = PgConnectOptions::from_str(&running.database_url).expect("the stack gives a url");
    let databases = databases(&superuser).await.expect("Postgres answers");
    for name in &databases {
        found.extend(in_database(&superuser.clone().database(name)).await.expect("the tables can be read"));
    }
    if running.started {
        stack.down(&mut |text| println!("sweep: {text}")).unwrap_or_else(|error| panic!("{error}"));
    }
    (databases.len(), found)
}

/// The suite's servers are stopped a moment after it has ended: whoever asked them before would be cut off.
fn wait_until_left(stack: &Stack) {
    let late = Instant::now() + LEFT_WITHIN;
    while stack.status() != (Status { postgres: Part::Stopped, nats: Part::Stopped }) && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Those that tests have worked on.
async fn databases(superuser: &PgConnectOptions) -> sqlx::Result<Vec<String>> {
    let mut db = superuser.connect().await?;
    sqlx::query_scalar("select datname::text from pg_database where datname like 'test\\_%' order by 1")
        .fetch_all(&mut db)
        .await
}
