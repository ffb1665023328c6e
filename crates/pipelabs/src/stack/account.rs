//! Whose the database is: ours, or, since Postgres refuses to run as root, another user's.

use std::{
    fs, io,
    os::unix::{fs::lchown, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use super::{StackError, files};

/// Who runs the programs of Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    Own,
    Other { user: u32, group: u32 },
}

impl Account {
    /// Ourselves, unless we are root.
    pub fn for_postgres() -> Result<Self, StackError> {
        let id = Command::new("id").arg("-u").output();
        let id = id.map_err(|cause| StackError::Run { program: "id".to_owned(), cause })?;
        if String::from_utf8_lossy(&id.stdout).trim() != "0" {
            return Ok(Self::Own);
        }
        let users = fs::read_to_string("/etc/passwd").map_err(files(Path::new("/etc/passwd")))?;
        ["postgres", "nobody"].iter().find_map(|name| named(&users, name)).ok_or(StackError::NoAccount)
    }

    /// A program that will run as this account, cut off from our terminal: Ctrl-C there ends us, not the server.
    pub fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).process_group(0).env("LC_ALL", "C");
        // Settings of the caller's own Postgres would point the programs at another server.
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        if let Self::Other { user, group } = self {
            // Our working directory may be closed to that user.
            command.uid(user).gid(group).current_dir("/").env("HOME", "/");
        }
        command
    }

    /// Whether it can reach what is in a directory.
    pub fn may_enter(self, dir: &Path) -> bool {
        let mut enter = self.command(Path::new("/bin/sh"));
        enter.args(["-c", "cd \"$0\" 2>/dev/null"]).arg(dir).status().is_ok_and(|status| status.success())
    }

    /// Gives it a file or directory; a symbolic link that was put in its place gives nothing else away.
    pub fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { user, group } => lchown(path, Some(user), Some(group)),
        }
    }
}

fn named(users: &str, name: &str) -> Option<Account> {
    let fields: Vec<&str> =
        users.lines().map(|line| line.split(':').collect()).find(|user: &Vec<_>| user[0] == name)?;
    Some(Account::Other { user: fields.get(2)?.parse().ok()?, group: fields.get(3)?.parse().ok()? })
}
