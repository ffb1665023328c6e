//! The stack's nats-server: JetStream on, its store in the stack's directory, an account for each client unless it shall
//! let everybody in.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Part, Say, StackError, files, kept, ports, postgres::last_words, processes, programs};
use crate::nats_keys::NatsKeys;

const NAME: &str = "nats-server";
const PORT: &str = "nats";
const LOG: &str = "nats.log";
const START: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 3;
const WAYS_TO_END: [(&str, Duration); 2] = [("TERM", Duration::from_secs(15)), ("KILL", Duration::from_secs(5))];

/// The server of one directory.
#[derive(Debug)]
pub struct Nats {
    dir: PathBuf,
    accounts: bool,
}

impl Nats {
    pub fn below(dir: &Path, accounts: bool) -> Self {
        Self { dir: dir.to_owned(), accounts }
    }

    /// Made once; what they signed is in use.
    pub fn keys(&self) -> NatsKeys {
        NatsKeys::at(self.dir.join("nats-keys"))
    }

    fn make_keys(&self) -> Result<(), StackError> {
        if self.keys().exist() {
            return Ok(());
        }
        // Under another name first: a crash leaves all of them or none.
        let fresh = NatsKeys::at(self.dir.join("nats-keys.new"));
        let _ = fs::remove_dir_all(&fresh.dir);
        let accounts = self.dir.join("nats-accounts");
        let made = fresh.make(&accounts.to_string_lossy()).and_then(|()| fs::rename(&fresh.dir, self.keys().dir));
        made.map_err(files(&fresh.dir))
    }

    /// True if it had to be started.
    pub fn up(&self, say: Say<'_>) -> Result<bool, StackError> {
        // One whose directory was removed below it keeps its port, and writes to files that nobody finds again.
        // One of an earlier build lets everybody in, or nobody whom we know.
        let kept = ports::read(&self.dir, PORT)?.filter(|_| self.conf_says_accounts() == Some(self.accounts));
        let pids = self.pids()?;
        if let Some(port) = kept.filter(|_| !pids.is_empty()) {
            let answers = processes::wait_until(START, || answers(port));
            return answers.then_some(false).ok_or_else(|| self.not_started(port));
        }
        processes::end(NAME, &pids, &WAYS_TO_END)?;
        let port = self.start(&programs::nats()?)?;
        say(&format!("nats-server answers on 127.0.0.1:{port}"));
        Ok(true)
    }

    pub fn down(&self, say: Say<'_>) -> Result<(), StackError> {
        let pids = self.pids()?;
        if !pids.is_empty() {
            say("stopping nats-server");
        }
        processes::end(NAME, &pids, &WAYS_TO_END)
    }

    pub fn kill(&self) -> Result<(), StackError> {
        processes::end(NAME, &self.pids()?, &[("KILL", Duration::from_secs(10))])
    }

    pub fn part(&self) -> Result<Part, StackError> {
        let port = ports::read(&self.dir, PORT)?;
        Ok(match (self.pids()?.first(), port) {
            (Some(&pid), Some(port)) => Part::Running { pid, port },
            (Some(_), None) | (None, _) => Part::Stopped,
        })
    }

    pub fn url(&self) -> Result<String, StackError> {
        let port = ports::read(&self.dir, PORT)?.ok_or_else(|| StackError::NeverUp(self.dir.clone()))?;
        Ok(format!("nats://127.0.0.1:{port}"))
    }

    /// Between choosing a free port and listening on it, somebody else may take it: then another is chosen.
    fn start(&self, program: &Path) -> Result<u16, StackError> {
        let mut attempt = 1;
        loop {
            let port = ports::choose(&self.dir, PORT)?;
            let mut server = self.spawn(program, port)?;
            let mut ended = false;
            processes::wait_until(START, || {
                ended = server.try_wait().is_ok_and(|end| end.is_some());
                ended || answers(port)
            });
            if !ended && answers(port) {
                return Ok(port);
            }
            processes::end(NAME, &self.pids()?, &WAYS_TO_END)?;
            if attempt == ATTEMPTS || ports::is_free(port) {
                return Err(self.not_started(port));
            }
            attempt += 1;
        }
    }

    fn spawn(&self, program: &Path, port: u16) -> Result<Child, StackError> {
        kept::write(&self.dir, "nats.conf", &self.config(port)?)?;
        let log = kept::log(&self.dir, LOG)?;
        let errors = log.try_clone().map_err(files(&self.log()))?;
        let mut server = Command::new(program);
        // A process group of its own: Ctrl-C in the terminal ends us, not the server.
        server.arg("-c").arg(self.conf()).stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        server.spawn().map_err(|cause| StackError::Run { program: program.display().to_string(), cause })
    }

    /// JSON is valid in this format, and escapes whatever a path may hold.
    fn config(&self, port: u16) -> Result<String, StackError> {
        let quoted = |path: PathBuf| serde_json::Value::from(path.to_string_lossy()).to_string();
        let (pid, store) = (quoted(self.dir.join("nats.pid")), quoted(self.dir.join("nats")));
        let accounts = match self.accounts {
            true => {
                self.make_keys()?;
                let file = self.keys().server();
                fs::read_to_string(&file).map_err(files(&file))?
            }
            false => "# No accounts: everybody may do anything.".to_owned(),
        };
        let lines = [
            "# Written by `pipelabs stack up` at each start: changes here are lost.".to_owned(),
            "server_name: pipelabs".to_owned(),
            format!("listen: \"127.0.0.1:{port}\""),
            format!("pid_file: {pid}"),
            // What a crash loses of the last second is published again by the relay, so waiting for each write is waste.
            format!("jetstream {{ store_dir: {store}, sync_interval: \"1s\" }}"),
            accounts,
        ];
        Ok(lines.join("\n"))
    }

    /// Absent: there is no configuration.
    fn conf_says_accounts(&self) -> Option<bool> {
        let conf = fs::read_to_string(self.conf()).ok()?;
        Some(conf.lines().any(|line| line.starts_with("operator:")))
    }

    /// Known by the file it was started with.
    fn pids(&self) -> Result<Vec<u32>, StackError> {
        let ending = format!(" -c {}", self.conf().display());
        Ok(processes::whose(|command| command.ends_with(&ending))?.iter().map(|process| process.pid).collect())
    }

    fn conf(&self) -> PathBuf {
        self.dir.join("nats.conf")
    }

    fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    fn not_started(&self, port: u16) -> StackError {
        let said = last_words(&fs::read(self.log()).unwrap_or_default());
        StackError::NotStarted { name: NAME, port, log: self.log(), said }
    }
}

/// A nats-server greets first, and says there whether JetStream is ready.
fn answers(port: u16) -> bool {
    let Ok(connection) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut greeting = String::new();
    let in_time = connection.set_read_timeout(Some(Duration::from_secs(1))).is_ok();
    in_time
        && BufReader::new(connection).read_line(&mut greeting).is_ok()
        && greeting.starts_with("INFO ")
        && greeting.contains("\"jetstream\":true")
}
