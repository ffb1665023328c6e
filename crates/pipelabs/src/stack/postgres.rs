//! The stack's Postgres: started, stopped, and killed the way a crash would.

mod cluster;

use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use super::{Part, Say, StackError, account::Account, files, kept, ports, processes, programs};
use cluster::Cluster;

const NAME: &str = "Postgres";
const PORT: &str = "postgres";
const LOG: &str = "postgres.log";
/// The superuser's name and the database's.
const PIPELABS: &str = "pipelabs";
/// After a crash it first replays its log, which may be long.
const START: Duration = Duration::from_secs(300);
const ATTEMPTS: u32 = 3;
const PORT_FREED: Duration = Duration::from_secs(10);
/// Fast shutdown first, then without a checkpoint.
const WAYS_TO_STOP: [(&str, Duration); 2] = [("INT", Duration::from_secs(60)), ("QUIT", Duration::from_secs(10))];
/// Backends that lost their postmaster end by themselves once they notice; a busy one may not notice for long, and
/// while one lives, a new server refuses to start beside it.
const WAYS_TO_CLEAR: [(&str, Duration); 2] = [("CONT", Duration::from_secs(5)), ("KILL", Duration::from_secs(10))];
const CREATE_DATABASE: &str = "select 'create database pipelabs' \
     where not exists (select from pg_database where datname = 'pipelabs') \\gexec\n";

/// The server of one directory.
#[derive(Debug)]
pub struct Postgres {
    dir: PathBuf,
    cluster: Cluster,
}

/// Its programs, and who runs them.
#[derive(Debug)]
struct Programs {
    account: Account,
    bin: PathBuf,
}

impl Postgres {
    pub fn below(dir: &Path) -> Result<Self, StackError> {
        Ok(Self { dir: dir.to_owned(), cluster: Cluster::of(dir)? })
    }

    /// True if it had to be started.
    pub fn up(&self, say: Say<'_>) -> Result<bool, StackError> {
        let account = Account::for_postgres()?;
        let home = self.cluster.home(account);
        let programs = Programs::find(account, &self.cluster, &home)?;
        let is_whole = self.cluster.is_made(&home) && ports::read(&self.dir, PORT)?.is_some();
        let running = is_whole && self.postmaster()?.is_some();
        if !running {
            // One whose files were removed below it, or what a killed one left.
            self.stop()?;
            self.cluster.make(&programs, &home, say)?;
            self.start(&programs, &home)?;
        }
        let port = self.ready(&programs)?;
        if !running {
            say(&format!("Postgres answers on 127.0.0.1:{port}"));
        }
        Ok(!running)
    }

    pub fn down(&self, say: Say<'_>) -> Result<(), StackError> {
        if !self.family()?.is_empty() {
            say("stopping Postgres");
        }
        self.stop()
    }

    /// Held still first, so that it starts no child between the look and the blow.
    pub fn kill(&self) -> Result<(), StackError> {
        if let Some(postmaster) = self.postmaster()? {
            processes::signal("STOP", &[postmaster]);
        }
        processes::end(NAME, &self.family()?, &[("KILL", Duration::from_secs(10))])
    }

    /// On the port it had, whoever waits for it there.
    pub fn start_again(&self) -> Result<(), StackError> {
        let account = Account::for_postgres()?;
        let home = self.cluster.home(account);
        let (programs, port) = (Programs::find(account, &self.cluster, &home)?, self.port()?);
        if self.postmaster()?.is_none() {
            processes::end(NAME, &self.family()?, &WAYS_TO_CLEAR)?;
            processes::wait_until(PORT_FREED, || ports::is_free(port));
            if !self.start_on(&programs, &home, port)? {
                return Err(self.not_started(port));
            }
        }
        self.ready(&programs).map(|_| ())
    }

    pub fn part(&self) -> Result<Part, StackError> {
        let port = ports::read(&self.dir, PORT)?;
        Ok(match (self.postmaster()?, port) {
            (Some(pid), Some(port)) => Part::Running { pid, port },
            (Some(_), None) | (None, _) => Part::Stopped,
        })
    }

    pub fn url(&self) -> Result<String, StackError> {
        let (port, password) = (self.port()?, self.cluster.password()?);
        Ok(format!("postgres://{PIPELABS}:{password}@127.0.0.1:{port}/{PIPELABS}"))
    }

    fn stop(&self) -> Result<(), StackError> {
        if let Some(postmaster) = self.postmaster()? {
            // One that does not listen is killed below, with its children.
            let _ = processes::end(NAME, &[postmaster], &WAYS_TO_STOP);
        }
        processes::end(NAME, &self.family()?, &WAYS_TO_CLEAR)
    }

    /// Between choosing a free port and listening on it, somebody else may take it: then another is chosen.
    fn start(&self, programs: &Programs, home: &Path) -> Result<(), StackError> {
        let mut attempt = 1;
        loop {
            let port = ports::choose(&self.dir, PORT)?;
            if self.start_on(programs, home, port)? {
                return Ok(());
            }
            if attempt == ATTEMPTS || ports::is_free(port) {
                return Err(self.not_started(port));
            }
            attempt += 1;
        }
    }

    /// False when it ended at once; why stands in the log.
    fn start_on(&self, programs: &Programs, home: &Path, port: u16) -> Result<bool, StackError> {
        let data = self.cluster.configure(programs.account, home, port)?;
        // Opened by us and inherited: the account that runs Postgres may not be able to reach our directory.
        let log = kept::log(&self.dir, LOG)?;
        let errors = log.try_clone().map_err(files(&self.log()))?;
        let mut start = programs.command("pg_ctl");
        start.arg("-D").arg(data).args(["start", "-w", "-t", &START.as_secs().to_string()]).stdout(log).stderr(errors);
        let status = start.status().map_err(|cause| StackError::Run { program: "pg_ctl".to_owned(), cause })?;
        Ok(status.success())
    }

    /// Accepting connections, with its database in it; on this port.
    fn ready(&self, programs: &Programs) -> Result<u16, StackError> {
        let port = self.port()?;
        let mut ask = programs.command("pg_isready");
        ask.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        let ready = processes::wait_until(START, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok() && ask.status().is_ok_and(|status| status.success())
        });
        if !ready {
            return Err(self.not_started(port));
        }
        self.make_database(programs, port)?;
        Ok(port)
    }

    /// At every start, since the first one may have been killed before it came to this.
    fn make_database(&self, programs: &Programs, port: u16) -> Result<(), StackError> {
        let mut psql = programs.command("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", PIPELABS, "-d", "postgres"]);
        psql.args(["-p", &port.to_string()]).env("PGPASSWORD", self.cluster.password()?);
        let output = run(psql.stdin(Stdio::piped()), CREATE_DATABASE)
            .map_err(|cause| StackError::Run { program: "psql".to_owned(), cause })?;
        succeeded("create the database pipelabs", &output)
    }

    /// Known by the data it was started over.
    fn postmaster(&self) -> Result<Option<u32>, StackError> {
        Ok(processes::whose(|command| self.cluster.is_postmaster(command))?.first().map(|process| process.pid))
    }

    /// The postmaster and its children, those too that outlived it.
    fn family(&self) -> Result<Vec<u32>, StackError> {
        let family = processes::whose(|command| self.cluster.is_postmaster(command) || self.cluster.is_child(command))?;
        Ok(family.iter().map(|process| process.pid).collect())
    }

    fn port(&self) -> Result<u16, StackError> {
        ports::read(&self.dir, PORT)?.ok_or_else(|| StackError::NeverUp(self.dir.clone()))
    }

    fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    fn not_started(&self, port: u16) -> StackError {
        let said = last_words(&fs::read(self.log()).unwrap_or_default());
        StackError::NotStarted { name: NAME, port, log: self.log(), said }
    }
}

impl Programs {
    /// Those that fit the data, if there is any: another major version cannot read it.
    fn find(account: Account, cluster: &Cluster, home: &Path) -> Result<Self, StackError> {
        let major = cluster.major(home)?;
        let missing = || match major {
            Some(major) => StackError::OtherPostgres { data: cluster::data(home), home: home.to_owned(), major },
            None => StackError::NoPostgres,
        };
        let bin = programs::postgres(account, major).ok_or_else(missing)?;
        Ok(Self { account, bin })
    }

    fn command(&self, name: &str) -> Command {
        self.account.command(&self.bin.join(name))
    }
}

/// The line of a log that most likely says why its server ended.
pub fn last_words(log: &[u8]) -> String {
    let log = String::from_utf8_lossy(log);
    let lines = || log.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(20);
    let telling = |line: &&str| ["FATAL", "PANIC", "[FTL]", "error"].iter().any(|word| line.contains(word));
    lines().find(telling).or_else(|| lines().next()).unwrap_or("its log is empty").to_owned()
}

fn run(command: &mut Command, input: &str) -> std::io::Result<Output> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    child.wait_with_output()
}

fn succeeded(doing: &'static str, output: &Output) -> Result<(), StackError> {
    if output.status.success() {
        return Ok(());
    }
    Err(StackError::Failed { doing, said: last_words(&output.stderr) })
}
