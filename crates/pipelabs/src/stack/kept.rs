//! The small files that a stack keeps between runs: ports, passwords, secrets, logs. Whole or absent, and nobody else's.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::{StackError, files};

/// What was kept under this name, if anything.
pub fn read(dir: &Path, name: &str) -> Result<Option<String>, StackError> {
    let path = dir.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(files(&path)(cause)),
    }
}

/// Keeps it, in place of what was kept before.
pub fn write(dir: &Path, name: &str, text: &str) -> Result<(), StackError> {
    replace(dir, name, text).map_err(files(&dir.join(name)))
}

/// A log to write on to.
pub fn log(dir: &Path, name: &str) -> Result<File, StackError> {
    let path = dir.join(name);
    File::options().create(true).append(true).mode(0o600).open(&path).map_err(files(&path))
}

/// Under another name first, so that a crash leaves the old text or the new one, never half of it.
fn replace(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let fresh = dir.join(format!("{name}.new"));
    // One left by a crash keeps its own mode and owner: the mode below counts only for a file that is made here.
    let _ = fs::remove_file(&fresh);
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&fresh, dir.join(name))?;
    File::open(dir)?.sync_all()
}
