//! A port for a server that has to come back where it was.

use std::net::TcpListener;

/// Free now, and below the range that systems give to outgoing connections, like the ports of the other servers: whoever
/// retries a server that is down could be given the server's own port, connect to itself and keep it.
///
/// # Panics
/// If none is free.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..1_000).map(|_| rand::random_range(20_000..30_000)).find(free).expect("a port is free")
}
