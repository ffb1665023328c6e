//! Where the servers' programs are on this machine, and which versions.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{StackError, account::Account};

const POSTGRES_OLDEST: u32 = 15;
const NATS_OLDEST: (u32, u32) = (2, 10);
const POSTGRES_PROGRAMS: [&str; 5] = ["initdb", "pg_ctl", "pg_isready", "postgres", "psql"];
/// Where packages put whole versions beside each other, none of them on the PATH.
const POSTGRES_HOMES: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@"),
];

/// The directory of Postgres' programs: of one major version where data asks for it, otherwise the PATH's or the newest.
pub fn postgres(account: Account, major: Option<u32>) -> Option<PathBuf> {
    let found = postgres_dirs().into_iter().filter(|dir| POSTGRES_PROGRAMS.iter().all(|name| dir.join(name).is_file()));
    // Asked as the account that will run it: a program below root's home is of no use to another user.
    found.map(|dir| (postgres_major(account, &dir), dir)).find_map(|(version, dir)| {
        let version = version.filter(|&version| version >= POSTGRES_OLDEST)?;
        (major.unwrap_or(version) == version).then_some(dir)
    })
}

/// The nats-server to run.
pub fn nats() -> Result<PathBuf, StackError> {
    if let Some(named) = env::var_os("NATS_SERVER").map(PathBuf::from) {
        return if is_nats(&named) { Ok(named) } else { Err(StackError::NotNats(named)) };
    }
    let on_path = on_path().into_iter().map(|dir| dir.join("nats-server"));
    on_path.chain(installed_nats()).find(|program| is_nats(program)).ok_or(StackError::NoNats)
}

fn postgres_dirs() -> Vec<PathBuf> {
    let homes = POSTGRES_HOMES.iter().flat_map(|(home, prefix)| {
        let mut versions: Vec<(u32, PathBuf)> = entries(Path::new(home))
            .filter_map(|dir| {
                let version = dir.file_name()?.to_str()?.strip_prefix(prefix)?.parse().ok()?;
                Some((version, dir.join("bin")))
            })
            .collect();
        versions.sort_by(|one, other| other.cmp(one));
        versions.into_iter().map(|(_, dir)| dir)
    });
    on_path().into_iter().chain(homes).collect()
}

fn postgres_major(account: Account, dir: &Path) -> Option<u32> {
    let (major, _) = version(&mut account.command(&dir.join("postgres")))?;
    Some(major)
}

fn is_nats(program: &Path) -> bool {
    program.is_file() && version(&mut Command::new(program)).is_some_and(|version| version >= NATS_OLDEST)
}

/// Where `make setup` puts it, in this project's directory or one above; that of the running program counts too.
fn installed_nats() -> Vec<PathBuf> {
    let starts = [env::current_dir(), env::current_exe()];
    let above: Vec<PathBuf> =
        starts.iter().flatten().flat_map(|start| start.ancestors()).map(|dir| dir.join(".pipelabs/tools")).collect();
    above.iter().flat_map(|tools| entries(tools)).map(|tool| tool.join("bin/nats-server")).collect()
}

fn on_path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// `postgres (PostgreSQL) 15.18` and `nats-server: v2.15.1` both tell it as their first word that begins with a number.
fn version(program: &mut Command) -> Option<(u32, u32)> {
    let output = program.arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().find_map(|word| {
        let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        let mut parts = word.trim_start_matches('v').split('.');
        Some((digits(parts.next()?)?, parts.next().and_then(digits).unwrap_or(0)))
    })
}
