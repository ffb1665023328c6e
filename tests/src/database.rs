//! A database of one test's own, with everything that a user of it needs.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, Executor, PgPool, postgres::PgConnectOptions};
use store::{Login, Streams};

use crate::{
    Line, Nats, canaries,
    world::{Servers, TEMPLATE, binary, log},
};

/// Obviously no real ones.
pub const SECRET: &str = "0123456789-for-tests-only-abcdefgh";
pub const SIGNING_KEY: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

/// Fernet keys whose 32 bytes say what they are.
pub const ENCRYPTION_KEY: &str = "Zm9yLXRlc3RzLW9ubHktbm90LWEtcmVhbC1rZXktMDE=";
pub const NEWER_ENCRYPTION_KEY: &str = "Zm9yLXRlc3RzLW9ubHktbm90LWEtcmVhbC1rZXktMDI=";

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A fresh, migrated database.
#[derive(Debug)]
pub struct Database {
    pub owner: PgConnectOptions,
    pub secret: SecretString,
    url: String,
    nats: Nats,
}

/// Migrates a database and makes its read models.
pub(crate) async fn prepare(owner: &PgConnectOptions, secret: &SecretString) {
    store::migrate(owner, secret).await.expect("migrations apply");
    let projector = Login::Projector.pool(owner, secret, 2);
    projections::versions::prepare(&projector, &projections::all(&projector)).await.expect("read models can be made");
    projector.close().await;
}

impl Database {
    /// On the servers that all tests share.
    pub async fn new() -> Self {
        Self::on(Servers::shared()).await
    }

    pub async fn on(servers: &Servers) -> Self {
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut db = servers.superuser.connect().await.expect("Postgres answers");
        db.execute(format!("create database {name} template {TEMPLATE}").as_str()).await.expect("it can be copied");
        // A copy has the rows' grants but not the database's own.
        let grant = format!("grant create on database {name} to pipelabs_owner, pipelabs_projector");
        db.execute(grant.as_str()).await.expect("it can be granted");
        let owner = servers.superuser.clone().database(&name);
        let url = owner.to_url_lossy().to_string();
        Self { owner, secret: SECRET.into(), url, nats: servers.nats.clone() }
    }

    /// Another database of the same servers.
    pub fn move_to(&mut self, name: &str) {
        self.owner = self.owner.clone().database(name);
        self.url = self.owner.to_url_lossy().to_string();
    }

    /// Another NATS than the shared one.
    pub fn use_nats(&mut self, nats: &Nats) {
        self.nats = nats.clone();
    }

    pub fn nats(&self) -> &Nats {
        &self.nats
    }

    /// Connections of one login.
    pub fn pool(&self, login: Login) -> PgPool {
        login.pool(&self.owner, &self.secret, 8)
    }

    /// How a program of another kind connects under one login.
    pub fn pool_url(&self, login: Login) -> SecretString {
        login.options(&self.owner, &self.secret).to_url_lossy().to_string().into()
    }

    /// Connections of the superuser, for a look that no login has.
    pub fn superuser(&self) -> PgPool {
        sqlx::postgres::PgPoolOptions::new().max_connections(4).connect_lazy_with(self.owner.clone())
    }

    /// Every row of every table, as text.
    pub async fn everything(&self) -> String {
        let superuser = self.superuser();
        let tables =
            "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')";
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&superuser).await.expect("tables can be listed");
        let mut all = String::new();
        for table in &tables {
            let rows = format!("select coalesce(string_agg(t::text, e'\\n'), '') from {table} t");
            all += &sqlx::query_scalar::<_, String>(&rows).fetch_one(&superuser).await.expect("a table can be read");
        }
        all
    }

    pub fn streams(&self) -> Streams {
        Streams::new(self.pool(Login::Writer))
    }

    /// The real binary on this database.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("DATABASE_URL", &self.url)
            .env("SECRET_KEY", self.secret.expose_secret())
            .env("AUDIT_SIGNING_KEY", SIGNING_KEY)
            .env("ENCRYPTION_KEY", ENCRYPTION_KEY)
            .env("NATS_URL", &self.nats.url)
            .envs(self.nats.keys_file().map(|file| ("NATS_KEYS", file)))
            // Tests ask more often than anybody, and wait for no balancer; those of limits and of draining say so.
            .env("RATE_LIMITS_PERCENT", "1000000")
            .env("DRAIN_SECONDS", "0")
            .env("RUST_LOG", "warn,pipelabs=info,pipelabs::request=off,rumqttd=off")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// The same, by another way to Postgres.
    pub fn command_by(&self, line: &Line, arguments: &[&str]) -> Command {
        self.command_at(line.port(), arguments)
    }

    /// The same, to whatever takes it to Postgres from a port of this machine.
    pub fn command_at(&self, port: u16, arguments: &[&str]) -> Command {
        let there = self.owner.clone().host("127.0.0.1").port(port);
        let mut command = self.command(arguments);
        command.env("DATABASE_URL", there.to_url_lossy().to_string());
        command
    }

    /// Where Postgres answers.
    pub fn port(&self) -> u16 {
        self.owner.get_port()
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().expect("the binary can be started");
        canaries::none_in(&format!("what {arguments:?} says"), &output.stdout, &[]);
        canaries::none_in(&format!("what {arguments:?} complains of"), &output.stderr, &[]);
        output
    }

    /// Runs it and expects it to succeed; what it wrote to standard output.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} failed: {said}{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).expect("it writes UTF-8")
    }

    /// Starts it and lets it run.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(log(arguments.first().unwrap_or(&"pipelabs")).1);
        command.spawn().expect("the binary can be started")
    }

    /// Imports a folder; the last line that it says.
    pub fn import(&self, dir: &Path) -> String {
        let output = self.run(&["import", "--dir", &dir.to_string_lossy()]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr))).to_owned()
    }
}
