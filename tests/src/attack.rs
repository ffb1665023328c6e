//! What hostile ones do to a socket: requests that never end, bodies that come drop by drop, answers that nobody reads,
//! nonsense. Each goes on until it is dropped.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Client as Http, Method};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::Served;

/// Between two bytes of somebody who is slow, and before one who was cut off comes again. They begin within one such time,
/// not in step: they come from everywhere.
const DRIP: Duration = Duration::from_secs(1);
/// Nonsense that is under way at once.
const AT_ONCE: usize = 128;

/// Attackers at work, and what came of it so far.
#[derive(Debug)]
pub struct Attack {
    attackers: JoinSet<()>,
    /// Connections that were closed on them, and answers that they got.
    pub ended: Arc<AtomicU64>,
}

/// Many systems give a process 1,024 files unless it asks for more.
static FILES: LazyLock<()> = LazyLock::new(|| {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Refused, it is as it was, and may be enough.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
});

/// A connection from one of this machine's own addresses: there are sixteen million.
pub async fn connect_from(from: Ipv4Addr, to: &str) -> io::Result<TcpStream> {
    LazyLock::force(&FILES);
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to.parse().map_err(io::Error::other)?).await
}

/// The n-th attacker's own address: each has fifty connections.
fn address_of(n: usize) -> Ipv4Addr {
    let house = n / 50 + 2;
    Ipv4Addr::new(
        127,
        7,
        u8::try_from(house / 250).unwrap_or(u8::MAX),
        u8::try_from(house % 250 + 1).unwrap_or(u8::MAX),
    )
}

impl Attack {
    fn of(
        attackers: impl IntoIterator<Item = impl Future<Output = ()> + Send + 'static>,
        ended: Arc<AtomicU64>,
    ) -> Self {
        let mut running = JoinSet::new();
        attackers.into_iter().for_each(|attacker| drop(running.spawn(attacker)));
        Self { attackers: running, ended }
    }

    /// So many connections, made again and again, that send a byte of a head now and then.
    pub fn slow_heads(served: &Served, n: usize) -> Self {
        Self::slow(served, n, "GET /api/bots HTTP/1.1\r\nhost: x\r\nx-slow: ".to_owned())
    }

    /// The same, of bodies of somebody who may command.
    pub fn slow_bodies(served: &Served, token: &str, n: usize) -> Self {
        let head = format!(
            "POST /api/bots HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nidempotency-key: k\r\n\
             content-type: application/json\r\ncontent-length: 60000\r\n\r\n"
        );
        Self::slow(served, n, head)
    }

    fn slow(served: &Served, n: usize, begin: String) -> Self {
        let ended: Arc<AtomicU64> = Arc::default();
        let attacker = |n| {
            let (to, begin, ended) = (served.address().to_owned(), begin.clone(), Arc::clone(&ended));
            async move {
                tokio::time::sleep(rand::random_range(Duration::ZERO..DRIP)).await;
                loop {
                    // Refused or cut off is over, too.
                    let _ = drip(address_of(n), &to, begin.as_bytes()).await;
                    ended.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(DRIP).await;
                }
            }
        };
        Self::of((0..n).map(attacker).collect::<Vec<_>>(), Arc::clone(&ended))
    }

    /// So many who listen to a stream from its beginning, and read nothing of it.
    pub fn deaf(served: &Served, token: &str, n: usize) -> Self {
        let ended: Arc<AtomicU64> = Arc::default();
        let attacker = |n| {
            let (to, token, ended) = (served.address().to_owned(), token.to_owned(), Arc::clone(&ended));
            async move {
                tokio::time::sleep(rand::random_range(Duration::ZERO..DRIP)).await;
                loop {
                    let _ = listen_deaf(address_of(n), &to, &token).await;
                    ended.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(DRIP).await;
                }
            }
        };
        Self::of((0..n).map(attacker).collect::<Vec<_>>(), Arc::clone(&ended))
    }

    /// So many commands that mean nothing, as fast as they are refused.
    pub fn nonsense(served: &Served, token: &str, n: usize) -> Self {
        let (ended, next): (Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
        let attacker = || {
            let (http, url, token) = (Http::new(), format!("{}/api/bots", served.url), token.to_owned());
            let (ended, next) = (Arc::clone(&ended), Arc::clone(&next));
            async move {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= n as u64 {
                        return;
                    }
                    let request = http.request(Method::POST, &url).bearer_auth(&token).header("idempotency-key", "k");
                    let request = request.header("content-type", "application/json").body(nonsense(turn));
                    let answer = request.send().await.expect("nonsense is answered, too");
                    let status = answer.status().as_u16();
                    assert!((400..500).contains(&status) || status == 503, "nonsense {turn}: {status}");
                    answer.bytes().await.expect("the answer has an end");
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        Self::of((0..AT_ONCE).map(|_| attacker()).collect::<Vec<_>>(), Arc::clone(&ended))
    }

    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Waits until those who come to an end by themselves have.
    ///
    /// # Panics
    /// If one of them met what it should not.
    pub async fn finish(&mut self) {
        while let Some(attacker) = self.attackers.join_next().await {
            attacker.expect("an attacker is answered as it should be");
        }
    }
}

/// A byte at a time, until the other side has had enough.
async fn drip(from: Ipv4Addr, to: &str, begin: &[u8]) -> io::Result<()> {
    let mut socket = connect_from(from, to).await?;
    socket.write_all(begin).await?;
    let (mut reading, mut writing) = socket.split();
    let mut answer = Vec::new();
    let sends = async {
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(DRIP).await;
        }
    };
    tokio::select! { _ = reading.read_to_end(&mut answer) => {}, () = sends => {} }
    Ok(())
}

/// Asks and reads nothing, until the connection is gone, of which one hears by writing.
async fn listen_deaf(from: Ipv4Addr, to: &str, token: &str) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    // The less the system takes in our place, the sooner nothing moves.
    socket.set_recv_buffer_size(4_096)?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let mut socket = socket.connect(to.parse().map_err(io::Error::other)?).await?;
    let head = format!("GET /api/stream?after=0 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    loop {
        tokio::time::sleep(DRIP).await;
        // The beginning of a next request, which nobody looks at while this one is answered.
        socket.write_all(b"G").await?;
    }
}

/// What no route takes for a body.
fn nonsense(n: u64) -> Vec<u8> {
    match n % 8 {
        0 => b"{\"name\": \"ab".to_vec(),
        1 => b"[".repeat(30_000),
        2 => b"{\"a\":".repeat(5_000),
        3 => vec![b' '; 64 * 1_024 + 1],
        4 => b"{\"name\": \"\xff\xfe\"}".to_vec(),
        5 => br#"{"name":"a","name":"b"}"#.to_vec(),
        6 => format!("{{\"nonsense\": {n}}}").into_bytes(),
        _ => b"1e999999".to_vec(),
    }
}
