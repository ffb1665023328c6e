//! The servers that a test run needs, started when the first test asks and stopped when the process ends.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use pipelabs::stack::Stack;
use sqlx::{ConnectOptions, Connection, Executor, postgres::PgConnectOptions};

use crate::{
    Nats,
    database::{SECRET, prepare},
};

/// A Postgres with a migrated database to copy from.
#[derive(Debug)]
pub struct Servers {
    pub stack: Stack,
    /// As its superuser, to its maintenance database.
    pub superuser: PgConnectOptions,
    pub nats: Nats,
}

/// The database that every test's own is a copy of.
pub(crate) const TEMPLATE: &str = "template_of_tests";

static SHARED: LazyLock<Servers> = LazyLock::new(|| {
    // Those of the run before are looked through already.
    let _ = fs::remove_dir_all(logs());
    Servers::start(&target().join("test-stack"))
});

/// Where the processes that tests start write what they have to say, one file each.
fn logs() -> PathBuf {
    target().join("test-stack/logs")
}

/// A new file for what one process has to say.
pub(crate) fn log(name: &str) -> (PathBuf, File) {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = logs().join(format!("{}-{n}-{name}.log", std::process::id()));
    fs::create_dir_all(logs()).expect("a folder can be made");
    let file = File::create(&path).expect("a file can be made");
    (path, file)
}

impl Servers {
    /// The ones that all tests share.
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// Servers below a folder; started if they do not run yet, and then stopped with this process.
    pub fn start(dir: &Path) -> Self {
        hold(dir);
        let stack = Stack::at(dir);
        let running = stack.up(&mut |text| eprintln!("{text}")).unwrap_or_else(|error| panic!("{error}"));
        if running.started {
            stop_with_the_process(dir);
        }
        let superuser = PgConnectOptions::from_str(&running.database_url).expect("the stack gives a url");
        let nats = Nats::of(&stack, &running.nats_url);
        let servers = Self { stack, superuser, nats };
        // Tests run in runtimes of their own; this one lives as long as the preparation.
        std::thread::scope(|scope| {
            scope.spawn(|| block_on(servers.make_template())).join().expect("the template can be made");
        });
        servers
    }

    async fn make_template(&self) {
        let mut db = self.superuser.connect().await.expect("Postgres answers");
        let left: Vec<String> =
            sqlx::query_scalar("select datname::text from pg_database where datname like 'test\\_%'")
                .fetch_all(&mut db)
                .await
                .expect("the databases can be listed");
        for name in left.iter().map(String::as_str).chain([TEMPLATE]) {
            db.execute(format!("drop database if exists {name} with (force)").as_str())
                .await
                .expect("it can be dropped");
        }
        db.execute(format!("create database {TEMPLATE}").as_str()).await.expect("it can be made");
        prepare(&self.superuser.clone().database(TEMPLATE), &SECRET.into()).await;
        db.close().await.expect("the connection closes");
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

/// Held by each who uses the servers below a folder, and waited for by whoever stops them: they stop behind the last one,
/// and not under the feet of somebody who has just found them running.
fn users(dir: &Path) -> PathBuf {
    dir.with_extension("users")
}

/// Until this process ends.
fn hold(dir: &Path) {
    fs::create_dir_all(dir.parent().expect("it lies somewhere")).expect("the folder can be made");
    let lock = File::create(users(dir)).expect("the lock can be made");
    lock.lock_shared().expect("it can be held");
    std::mem::forget(lock);
}

/// A test binary has no end of its own, so a process in the background watches this one and stops the servers below this
/// folder after it.
pub fn stop_with_the_process(dir: &Path) {
    let us = std::process::id();
    let watch = format!(
        "(while kill -0 {us}; do sleep 0.2; done; exec flock \"$2\" \"$0\" stack --dir \"$1\" down) >/dev/null 2>&1 &"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &watch]).arg(binary()).arg(dir).arg(users(dir)).stdin(Stdio::null()).process_group(0);
    assert!(shell.status().expect("sh can be started").success(), "the watch over the servers does not start");
}

/// The build's output folder.
pub fn target() -> PathBuf {
    profile().parent().expect("a profile's folder is target/PROFILE").to_owned()
}

/// The binary of the same build.
pub fn binary() -> PathBuf {
    let binary = profile().join("pipelabs");
    assert!(
        binary.is_file(),
        "{} is missing: run `cargo build -p pipelabs` first, as `make test` does",
        binary.display()
    );
    binary
}

/// A test's file is target/PROFILE/deps/NAME, a bench's target/PROFILE/NAME.
fn profile() -> PathBuf {
    let file = std::env::current_exe().expect("a program has a file");
    let dir = file.parent().expect("a file is in a folder");
    if dir.ends_with("deps") { dir.parent().expect("deps is in a profile's folder").to_owned() } else { dir.to_owned() }
}

/// The data that lies beside the repository on the machines that check it; absent for everybody else.
pub fn shared_data(path: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.parent()?.parent()?.join("shared").join(path);
    if !path.exists() {
        eprintln!("note: {} is not here, so the checks against it are left out", path.display());
        return None;
    }
    Some(path)
}
