//! What every bench stands on: a Postgres of our own, a fresh database, and how long to measure.

use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use tests::{Database, Servers, target};

/// The servers and how thoroughly to measure.
#[derive(Debug)]
pub struct Ground {
    servers: Servers,
    pub quick: bool,
}

impl Ground {
    /// Servers of the benches' own, stopped with this process.
    pub fn start(quick: bool) -> Self {
        Self { servers: Servers::start(&target().join("bench-stack")), quick }
    }

    pub async fn database(&self) -> Database {
        Database::on(&self.servers).await
    }

    /// How often ours and the baseline take turns.
    pub fn rounds(&self) -> usize {
        if self.quick { 1 } else { 5 }
    }

    /// How long each turn is.
    pub fn turn(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 4 })
    }

    /// kill -9.
    pub fn kill_nats(&self) {
        self.servers.stack.kill_nats().expect("it can be killed");
    }

    pub fn start_nats(&self) {
        self.servers.stack.start_nats().expect("it can be started");
    }

    /// What Postgres promises while it is measured.
    pub async fn settings(&self) -> String {
        let names =
            ["server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_level", "shared_buffers"];
        let mut db = self.servers.superuser.connect().await.expect("Postgres answers");
        let mut told = Vec::new();
        for name in names {
            let value: String = sqlx::query_scalar("select current_setting($1)")
                .bind(name)
                .fetch_one(&mut db)
                .await
                .expect("it is a setting");
            told.push(format!("{name} {value}"));
        }
        told.join(", ")
    }
}

/// So many in that time, as so many a second.
pub fn a_second(count: u64, since: Instant) -> u64 {
    let micros = u64::try_from(since.elapsed().as_micros()).expect("benches end").max(1);
    count.saturating_mul(1_000_000) / micros
}
