//! Which port a server gets: the one it had, while it is free, so that a restart does not move it.

use std::{net::TcpListener, path::Path, thread, time::Duration};

use super::{StackError, kept};

/// Below the range that systems give to outgoing connections: a client that retries a server which is down could be
/// given the server's own port, connect to itself and keep it.
pub const FIRST: u16 = 20_000;
pub const LAST: u16 = 29_999;

/// The port that was chosen last.
pub fn read(dir: &Path, name: &str) -> Result<Option<u16>, StackError> {
    Ok(kept::read(dir, &file(name))?.and_then(|text| text.parse().ok()))
}

/// A server that was killed a moment ago, or somebody's look at the port, may hold it that long.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// The port to start on now; kept.
pub fn choose(dir: &Path, name: &str) -> Result<u16, StackError> {
    if let Some(port) = read(dir, name)?.filter(|&port| becomes_free(port)) {
        return Ok(port);
    }
    let port = (0..1000).map(|_| rand::random_range(FIRST..=LAST)).find(|&port| is_free(port));
    let port = port.ok_or(StackError::NoPort)?;
    kept::write(dir, &file(name), &port.to_string())?;
    Ok(port)
}

fn becomes_free(port: u16) -> bool {
    (0..LOOKS).any(|look| {
        thread::sleep(if look == 0 { Duration::ZERO } else { PAUSE });
        is_free(port)
    })
}

pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn file(name: &str) -> String {
    format!("{name}.port")
}
