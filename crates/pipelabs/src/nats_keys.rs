//! Keys of a NATS with an account for each client, as files: each where only those who need it read it.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use events::Time;
use relay::tenancy::bootstrap;
use secrecy::{ExposeSecret, SecretString};

/// Keys that no process needs.
pub const OFFLINE: &str = "offline";
/// What a server has to be told.
const SERVER: &str = "server";

/// The keys below one folder.
#[derive(Debug, Clone)]
pub struct NatsKeys {
    pub dir: PathBuf,
}

/// Why nobody can be let into our own account.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("could not read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("{} is not the key of our own account", .0.display())]
    Seed(PathBuf, #[source] bootstrap::BadSeed),
}

impl NatsKeys {
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// What a server's configuration includes.
    pub fn server(&self) -> PathBuf {
        self.dir.join(SERVER).join("accounts.conf")
    }

    /// `NATS_KEYS` of role relay, and of a process that has every role.
    pub fn relay(&self) -> PathBuf {
        self.dir.join("relay.keys")
    }

    /// `NATS_KEYS` of role api alone.
    pub fn api(&self) -> PathBuf {
        self.dir.join("api.keys")
    }

    /// Whether there are any.
    pub fn exist(&self) -> bool {
        [self.relay(), self.dir.join(OFFLINE)].iter().any(|path| path.exists())
    }

    /// Makes all of them. What is there already is never overwritten: what was signed needs it.
    pub fn make(&self, accounts_dir: &str) -> io::Result<()> {
        let made = bootstrap::bootstrap(accounts_dir, Time::now());
        for part in [OFFLINE, SERVER] {
            DirBuilder::new().recursive(true).mode(0o700).create(self.dir.join(part))?;
        }
        for (file, seed) in &made.offline {
            write(&self.dir.join(OFFLINE).join(file), seed)?;
        }
        // No secret, and a server runs as whoever it likes.
        let mut server = File::options().create_new(true).write(true).mode(0o644).open(self.server())?;
        server.write_all(made.server.as_bytes())?;
        fs::set_permissions(self.dir.join(SERVER), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        write(&self.api(), &made.api)?;
        write(&self.relay(), &made.relay)
    }

    /// Credentials of a person who may do anything in our own account, for so long.
    pub fn admin(&self, life_us: i64) -> Result<SecretString, AdminError> {
        let path = self.dir.join(OFFLINE).join("pipelabs.nk");
        let seed = fs::read_to_string(&path).map_err(|cause| AdminError::Read(path.clone(), cause))?;
        let now = Time::now();
        bootstrap::admin(&seed.into(), now, now.plus_micros(life_us)).map_err(|bad| AdminError::Seed(path, bad))
    }
}

fn write(path: &Path, secret: &SecretString) -> io::Result<()> {
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(secret.expose_secret().trim_end().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_their_owner_reads_keys_and_none_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let keys = NatsKeys::at(dir.path().join("keys"));
        assert!(!keys.exist());
        keys.make("/data/accounts").unwrap();
        assert!(keys.exist());
        let offline = ["operator.nk", "pipelabs.nk", "system.nk"].map(|file| keys.dir.join(OFFLINE).join(file));
        for path in offline.iter().chain([&keys.relay(), &keys.api()]) {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
        let before = fs::read(keys.relay()).unwrap();
        assert_eq!(keys.make("/data/accounts").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(keys.relay()).unwrap(), before);
        assert!(keys.admin(60_000_000).is_ok());
        fs::remove_dir_all(keys.dir.join(OFFLINE)).unwrap();
        assert!(matches!(keys.admin(60_000_000), Err(AdminError::Read(..))), "what is offline is of no use here");
    }
}
