//! The plain baselines: what Postgres itself does with the same payload and nothing else. Their table has no key and no
//! index, so it does less than any store could.

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, PgPool, postgres::PgPoolOptions};
use tests::Database;
use tokio::{process::Command, task::JoinSet};

use crate::{facts, ground::a_second};

/// Connections that are made within a second at least, on a machine that is not idle.
const CONNECTED_A_SECOND: u64 = 64;

/// A bare table in the database of a bench.
#[derive(Debug)]
pub struct Plain<'a> {
    database: &'a Database,
    pgbench: PathBuf,
}

impl<'a> Plain<'a> {
    pub async fn new(database: &'a Database) -> Self {
        let db = database.superuser();
        sqlx::raw_sql("create table bare (client_id uuid not null, payload jsonb not null)")
            .execute(&db)
            .await
            .expect("a table can be made");
        let programs: String = sqlx::query_scalar("select setting from pg_config where name = 'BINDIR'")
            .fetch_one(&db)
            .await
            .expect("Postgres knows where its programs are");
        Self { database, pgbench: PathBuf::from(programs).join("pgbench") }
    }

    /// One-row inserts a second, each its own commit, over so many connections: pgbench, prepared.
    pub async fn inserts(&self, connections: usize, turn: Duration) -> u64 {
        // Its time begins before its connections are made, which its rate leaves out.
        let seconds = turn.as_secs() + connections as u64 / CONNECTED_A_SECOND;
        let script = self.script();
        let url = self.database.owner.to_url_lossy();
        let output = Command::new(&self.pgbench)
            .args(["-n", "-M", "prepared", "-j", "2", "-c", &connections.to_string(), "-T", &seconds.to_string()])
            .args(["-h", self.database.owner.get_host(), "-p", &self.database.owner.get_port().to_string()])
            .args(["-U", self.database.owner.get_username()])
            .arg("-f")
            .arg(script.path())
            .arg(self.database.owner.get_database().expect("a bench's database has a name"))
            .env("PGPASSWORD", url.password().unwrap_or_default())
            .output()
            .await
            .unwrap_or_else(|cause| panic!("{} cannot be run: {cause}", self.pgbench.display()));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split('.').next()?.parse().ok());
        rate.unwrap_or_else(|| panic!("pgbench told no rate: {said}{}", String::from_utf8_lossy(&output.stderr)))
    }

    fn script(&self) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
        let (client, payload) = (facts::client(0), facts::payload(0));
        writeln!(file, "insert into bare values ('{client}', '{payload}');").expect("it can be written");
        file
    }

    /// Rows a second, inserted so many at a time from one array, over so many connections.
    pub async fn batches(&self, connections: usize, of: u64, turn: Duration) -> u64 {
        let most = u32::try_from(connections).expect("few connections");
        let db = PgPoolOptions::new().max_connections(most).connect_lazy_with(self.database.owner.clone());
        let (started, mut work) = (Instant::now(), JoinSet::new());
        for _ in 0..connections {
            work.spawn(insert_batches(db.clone(), of, started + turn));
        }
        let batches: u64 = work.join_all().await.into_iter().sum();
        a_second(batches * of, started)
    }
}

async fn insert_batches(db: PgPool, of: u64, until: Instant) -> u64 {
    let mut batches = 0;
    while Instant::now() < until {
        let payloads: Vec<String> = (0..of).map(|n| facts::payload(batches * of + n)).collect();
        sqlx::query("insert into bare select $1, p::jsonb from unnest($2::text[]) p")
            .bind(facts::client(0).0)
            .bind(payloads)
            .execute(&db)
            .await
            .expect("rows can be inserted");
        batches += 1;
    }
    batches
}
