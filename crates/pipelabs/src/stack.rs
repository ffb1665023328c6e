//! A private Postgres and nats-server below one directory, for `pipelabs stack up|down|status|env`, the demo and the
//! tests.
//!
//! Everything they keep is in that directory, so removing it (after `down`) leaves nothing behind. Whether a server
//! runs is asked of the machine's processes, never of a pid file: those outlive their servers.

mod account;
mod kept;
mod nats;
mod ports;
mod postgres;
mod processes;
mod programs;
mod secrets;

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use nats::Nats;
use postgres::Postgres;

use crate::nats_keys::NatsKeys;

/// Told what is being done, a sentence at a time.
pub type Say<'a> = &'a mut dyn FnMut(&str);

/// The servers of one directory, running or not.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Where they keep everything; absolute.
    pub dir: PathBuf,
    accounts: bool,
}

/// Where the servers answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub database_url: String,
    pub nats_url: String,
    /// Whether this call started either of them; false where both ran before.
    pub started: bool,
}

/// What runs of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub postgres: Part,
    pub nats: Part,
}

impl Status {
    /// Whether both servers run.
    pub fn both_run(&self) -> bool {
        self.postgres != Part::Stopped && self.nats != Part::Stopped
    }
}

/// One of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Running { pid: u32, port: u16 },
    Stopped,
}

/// Why the stack is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error("{} holds a quote, a backslash or a dollar sign, which a shell of pg_ctl would read: choose another", path.display())]
    OddPath { path: PathBuf },
    #[error("could not read or write {}", path.display())]
    Files {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("could not run {program}")]
    Run {
        program: String,
        #[source]
        cause: io::Error,
    },
    #[error("could not list the machine's processes")]
    Processes(#[source] io::Error),
    #[error(
        "found no Postgres 15 or newer: run `make setup`, or put its initdb, pg_ctl, postgres and psql on the PATH"
    )]
    NoPostgres,
    #[error(
        "the data in {} was made by Postgres {major}, which is not found: install that version, or remove {} to start \
         with an empty database", data.display(), home.display()
    )]
    OtherPostgres { data: PathBuf, home: PathBuf, major: u32 },
    #[error("found no nats-server 2.10 or newer: run `make setup`, or set NATS_SERVER to the program's path")]
    NoNats,
    #[error("NATS_SERVER names {}, which is not a nats-server 2.10 or newer: correct or unset it", .0.display())]
    NotNats(PathBuf),
    #[error("Postgres does not run as root, and /etc/passwd has no user postgres or nobody: run `make setup`")]
    NoAccount,
    #[error("the database's password is gone from {}: put it back, or remove {} to start with an empty database", file.display(), home.display())]
    PasswordGone { file: PathBuf, home: PathBuf },
    #[error("could not {doing}: {said}")]
    Failed { doing: &'static str, said: String },
    #[error("{name} did not start on port {port}, the whole log is {}: {said}", log.display())]
    NotStarted { name: &'static str, port: u16, log: PathBuf, said: String },
    #[error("found no free port between {} and {}: stop what listens there", ports::FIRST, ports::LAST)]
    NoPort,
    #[error("{name} does not stop: end these processes by hand: {pids:?}")]
    Stubborn { name: &'static str, pids: Vec<u32> },
    #[error("no stack was made in {} yet: run `pipelabs stack up --dir {}`", .0.display(), .0.display())]
    NeverUp(PathBuf),
}

impl Stack {
    /// The stack of a directory, which need not exist yet.
    pub fn at(dir: impl AsRef<Path>) -> Self {
        let dir = std::path::absolute(dir.as_ref()).unwrap_or_else(|_| dir.as_ref().to_owned());
        Self { dir, accounts: true }
    }

    /// The same, whose NATS has no accounts and lets everybody in.
    #[must_use]
    pub fn without_accounts(self) -> Self {
        Self { accounts: false, ..self }
    }

    /// Both servers running and answering; those that run already are left as they are.
    pub fn up(&self, say: Say<'_>) -> Result<Running, StackError> {
        if self.dir.to_string_lossy().contains(['\'', '"', '\\', '$', '`']) {
            return Err(StackError::OddPath { path: self.dir.clone() });
        }
        // Neither server is started where one of them cannot be.
        programs::nats()?;
        fs::create_dir_all(&self.dir).map_err(files(&self.dir))?;
        let _lock = self.lock(say)?;
        secrets::make(&self.real_dir())?;
        let (postgres, nats) = (self.postgres()?, self.nats());
        let started = [postgres.up(say)?, nats.up(say)?];
        Ok(Running { database_url: postgres.url()?, nats_url: nats.url()?, started: started.contains(&true) })
    }

    /// Neither server running; says so too when neither ran.
    pub fn down(&self, say: Say<'_>) -> Result<(), StackError> {
        // Servers can outlive a directory that was removed below them, and then there is nothing to lock.
        let _lock = if self.dir.exists() { Some(self.lock(say)?) } else { None };
        let nats = self.nats().down(say);
        self.postgres()?.down(say)?;
        nats
    }

    /// What runs right now.
    pub fn status(&self) -> Status {
        let postgres = self.postgres().and_then(|postgres| postgres.part()).unwrap_or(Part::Stopped);
        Status { postgres, nats: self.nats().part().unwrap_or(Part::Stopped) }
    }

    /// The settings that the other commands need to reach this stack, by name.
    pub fn env(&self) -> Result<Vec<(String, String)>, StackError> {
        let keys = self.nats_keys().map(|keys| ("NATS_KEYS", keys.relay().display().to_string()));
        let urls = [("DATABASE_URL", self.postgres()?.url()?), ("NATS_URL", self.nats().url()?)];
        let secrets = secrets::read(&self.real_dir())?;
        Ok(urls.into_iter().chain(keys).map(|(name, value)| (name.to_owned(), value)).chain(secrets).collect())
    }

    /// The keys of its NATS; absent where that lets everybody in.
    pub fn nats_keys(&self) -> Option<NatsKeys> {
        self.accounts.then(|| self.nats().keys())
    }

    /// Ends every process of Postgres at once, as a crash would; for tests of what survives one.
    pub fn kill_postgres(&self) -> Result<(), StackError> {
        let _lock = self.lock(&mut |_| {})?;
        self.postgres()?.kill()
    }

    /// Postgres running again, on the port that it had.
    pub fn start_postgres(&self) -> Result<(), StackError> {
        let _lock = self.lock(&mut |_| {})?;
        self.postgres()?.start_again()
    }

    /// Ends nats-server at once, as a crash would; for tests of what survives one.
    pub fn kill_nats(&self) -> Result<(), StackError> {
        let _lock = self.lock(&mut |_| {})?;
        self.nats().kill()
    }

    /// nats-server running, without Postgres, on the port that it had; answers where.
    pub fn start_nats(&self) -> Result<String, StackError> {
        fs::create_dir_all(&self.dir).map_err(files(&self.dir))?;
        let _lock = self.lock(&mut |_| {})?;
        self.nats().up(&mut |_| {})?;
        self.nats().url()
    }

    /// Held until dropped, or until this process dies: two commands at once would start two servers over one store.
    fn lock(&self, say: Say<'_>) -> Result<File, StackError> {
        let path = self.dir.join("lock");
        let file = File::options().create(true).append(true).open(&path).map_err(files(&path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => say("waiting for another command that starts or stops this stack"),
            Err(TryLockError::Error(cause)) => return Err(files(&path)(cause)),
        }
        file.lock().map_err(files(&path))?;
        Ok(file)
    }

    fn postgres(&self) -> Result<Postgres, StackError> {
        Postgres::below(&self.real_dir())
    }

    fn nats(&self) -> Nats {
        Nats::below(&self.real_dir(), self.accounts)
    }

    /// One name for one directory, however it was reached: servers are recognised by the paths they were started with.
    fn real_dir(&self) -> PathBuf {
        fs::canonicalize(&self.dir).unwrap_or_else(|_| self.dir.clone())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres: {}\nnats-server: {}", self.postgres, self.nats)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running { pid, port } => write!(f, "running on 127.0.0.1:{port}, process {pid}"),
            Self::Stopped => write!(f, "stopped"),
        }
    }
}

fn files(path: &Path) -> impl FnOnce(io::Error) -> StackError {
    let path = path.to_owned();
    move |cause| StackError::Files { path, cause }
}
