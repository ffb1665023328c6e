//! What Postgres keeps on disk: where it lies, how it is made whole or not at all, how it is configured.

use std::{
    env,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{PIPELABS, Programs, run, succeeded};
use crate::stack::{Say, StackError, account::Account, files, kept, processes, secrets};

/// Holds the path of a home that is not in the stack's own directory.
const POINTER: &str = "postgres.elsewhere";
const PASSWORD: &str = "postgres.password";
const EMPTIED: Duration = Duration::from_secs(10);

/// The data of one stack. Its home is a directory that the account which runs Postgres owns.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    /// One a directory: its processes show it, and its home elsewhere has it as name.
    name: String,
    elsewhere: PathBuf,
    /// Whether the stack's directory says that its home is elsewhere.
    pointed: bool,
}

impl Cluster {
    pub fn of(dir: &Path) -> Result<Self, StackError> {
        let name = format!("{PIPELABS}-{:016x}", digest(dir));
        // The pointer of a directory that was copied names another stack's home, which is not this one's.
        let pointed = kept::read(dir, POINTER)?.map(PathBuf::from).filter(|home| home.ends_with(&name));
        let (dir, is_pointed) = (dir.to_owned(), pointed.is_some());
        let elsewhere = pointed.unwrap_or_else(|| env::temp_dir().join(&name));
        Ok(Self { dir, name, elsewhere, pointed: is_pointed })
    }

    /// In the stack's directory, unless the account cannot get there, as below root's own home.
    pub fn home(&self, account: Account) -> PathBuf {
        let inside = self.inside();
        let stays = self.is_made(&inside) || !self.is_made(&self.elsewhere) && account.may_enter(&self.dir);
        if stays { inside } else { self.elsewhere.clone() }
    }

    /// Data elsewhere that nothing points at is what a stack left whose directory was removed, and its password with it.
    pub fn is_made(&self, home: &Path) -> bool {
        data(home).is_dir() && (self.pointed || home != self.elsewhere)
    }

    /// The major version that made the data.
    pub fn major(&self, home: &Path) -> Result<Option<u32>, StackError> {
        let version = if self.is_made(home) { kept::read(&data(home), "PG_VERSION")? } else { None };
        Ok(version.and_then(|text| text.parse().ok()))
    }

    /// The data, if it is not there yet. Made under another name and renamed, so that what has the right name is whole.
    pub fn make(&self, programs: &Programs, home: &Path, say: Say<'_>) -> Result<(), StackError> {
        if self.is_made(home) {
            return self.password().map(|_| ());
        }
        say(&format!("making a database in {}", home.display()));
        make_home(programs.account, home).map_err(files(home))?;
        let half = home.join("data.new");
        clear(&data(home))?;
        clear(&half)?;
        if home == self.elsewhere {
            say("it is there because Postgres runs as another user, who may not enter the stack's own directory");
            kept::write(&self.dir, POINTER, &home.to_string_lossy())?;
        }
        self.init(programs, home, &half)?;
        fs::rename(&half, data(home)).and_then(|()| File::open(home)?.sync_all()).map_err(files(home))
    }

    /// Ready for its next start; answers with the directory to start over.
    pub fn configure(&self, account: Account, home: &Path, port: u16) -> Result<PathBuf, StackError> {
        let data = data(home);
        forget_dead_server(&data)?;
        kept::write(&data, "postgresql.conf", &self.config(port))?;
        let conf = data.join("postgresql.conf");
        account.give(&conf).map_err(files(&conf))?;
        Ok(data)
    }

    /// Durable as in production: the tests of crashes are about these very settings.
    fn config(&self, port: u16) -> String {
        [
            "# Written by `pipelabs stack up` at each start: changes here are lost.",
            &format!("cluster_name = '{}'", self.name),
            &format!("port = {port}"),
            "listen_addresses = '127.0.0.1'",
            // A socket's path may be no longer than 107 bytes, which a deep directory exceeds; nobody needs one here.
            "unix_socket_directories = ''",
            "max_connections = 300",
            "shared_buffers = '128MB'",
            "fsync = on",
            "full_page_writes = on",
            "synchronous_commit = on",
            "timezone = 'UTC'",
            "log_timezone = 'UTC'",
        ]
        .join("\n")
    }

    pub fn password(&self) -> Result<String, StackError> {
        let gone = || match [self.inside(), self.elsewhere.clone()].into_iter().find(|home| self.is_made(home)) {
            Some(home) => StackError::PasswordGone { file: self.dir.join(PASSWORD), home },
            None => StackError::NeverUp(self.dir.clone()),
        };
        kept::read(&self.dir, PASSWORD)?.ok_or_else(gone)
    }

    pub fn is_postmaster(&self, command: &str) -> bool {
        let over = |home: &Path| command.ends_with(&format!("postgres -D {}", data(home).display()));
        over(&self.inside()) || over(&self.elsewhere)
    }

    pub fn is_child(&self, command: &str) -> bool {
        command.starts_with(&format!("postgres: {}: ", self.name))
    }

    fn inside(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    fn init(&self, programs: &Programs, home: &Path, half: &Path) -> Result<(), StackError> {
        let password = secrets::hex_key();
        kept::write(&self.dir, PASSWORD, &password)?;
        // A copy which the account can read; ours it may not be able to reach.
        kept::write(home, "password", &password)?;
        let copy = home.join("password");
        programs.account.give(&copy).map_err(files(&copy))?;
        let mut initdb = programs.command("initdb");
        initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--username", PIPELABS]);
        initdb.arg("--pwfile").arg(&copy).arg("-D").arg(half);
        let output = run(&mut initdb, "").map_err(|cause| StackError::Run { program: "initdb".to_owned(), cause })?;
        fs::remove_file(&copy).map_err(files(&copy))?;
        succeeded("make a new database", &output)
    }
}

pub fn data(home: &Path) -> PathBuf {
    home.join("data")
}

/// In a directory that everybody can write to, somebody else may have taken the name.
fn make_home(account: Account, home: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(home) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(home)?;
    let ours = match account {
        Account::Own => true,
        // Root's own is one that a killed run made and had not given away yet.
        Account::Other { user, .. } => [0, user].contains(&found.uid()),
    };
    if !found.is_dir() || !ours {
        return Err(io::Error::other("it belongs to somebody else: remove it or choose another directory"));
    }
    account.give(home)
}

/// Removes the pid file of a server that was killed. Postgres itself keeps one whose pid answers a signal, as a zombie's
/// does where nobody reaps it, or that of whatever process got the number since.
fn forget_dead_server(data: &Path) -> Result<(), StackError> {
    let Some(text) = kept::read(data, "postmaster.pid")? else { return Ok(()) };
    let pid = text.lines().next().and_then(|pid| pid.trim().parse().ok());
    if processes::whose(|command| command.contains("postgres"))?.iter().any(|process| Some(process.pid) == pid) {
        return Ok(());
    }
    let file = data.join("postmaster.pid");
    fs::remove_file(&file).map_err(files(&file))
}

/// Removes data that is not whole or not wanted, with whoever a killed run left at work on it.
fn clear(unwanted: &Path) -> Result<(), StackError> {
    let ending = format!("-D {}", unwanted.display());
    let makers = processes::whose(|command| command.ends_with(&ending))?;
    let makers: Vec<u32> = makers.iter().map(|process| process.pid).collect();
    processes::end("initdb", &makers, &[("KILL", Duration::from_secs(10))])?;
    // The server which initdb itself had started still writes for a moment, and its command line does not tell where.
    processes::wait_until(EMPTIED, || fs::remove_dir_all(unwanted).is_ok() || !unwanted.exists());
    if unwanted.exists() { Err(files(unwanted)(io::Error::other("it could not be removed"))) } else { Ok(()) }
}

/// FNV-1a: the same for one path in every build, which the standard library's hashes do not promise.
fn digest(dir: &Path) -> u64 {
    let bytes = dir.as_os_str().as_encoded_bytes();
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
