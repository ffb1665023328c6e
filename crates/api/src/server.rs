//! The socket: how many may come, at what pace they have to read and write, and how they are let go.

mod pace;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use metrics::{counter, gauge};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    edge::{
        address::{Proxies, holder},
        seats::{Seat, Seats},
    },
    settings::Settings,
};
use pace::{IDLE_MAX, Paced, STALLED_MAX, Turn};

/// Larger than the headers that a request may have, so that one that has more is told so in words.
const BUFFER_BYTES: usize = 64 * 1_024;
/// What the system keeps for somebody who does not read. Answers are smaller, nearly all of them.
const UNREAD_BYTES: usize = 128 * 1_024;
/// Connections of one address; a house full of people has one.
const OF_ONE_MAX: usize = 256;
/// Requests under way are waited for so long.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// All that one is told for whom there is no room: nothing of it is read.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How many connections there is room for.
#[derive(Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    of_one: Seats<std::net::IpAddr>,
    /// They bring everybody's.
    proxies: Proxies,
}

/// A connection's place, and its one of those that its address has.
struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_one: Option<Seat<std::net::IpAddr>>,
}

impl Room {
    pub fn new(settings: &Settings) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.connections_max)),
            of_one: Seats::new(OF_ONE_MAX),
            proxies: settings.proxies.clone(),
        }
    }

    /// None, and for what, where there is no more.
    fn place(&self, from: SocketAddr) -> Result<Place, &'static str> {
        let _of_one = match self.proxies.are(from.ip()) {
            true => None,
            false => Some(self.of_one.take(holder(from.ip())).ok_or("address")?),
        };
        let _of_all = Arc::clone(&self.all).try_acquire_owned().map_err(|_| "all")?;
        gauge!("pipelabs_http_connections").increment(1.0);
        Ok(Place { _of_all, _of_one })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!("pipelabs_http_connections").decrement(1.0);
    }
}

/// Serves until told to stop, then finishes what is under way.
pub async fn serve(listener: TcpListener, router: Router, room: Room, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    // Ours is told apart by whether a request has begun; this one is the fuse behind it.
    http.timer(TokioTimer::new()).header_read_timeout(IDLE_MAX * 2).max_buf_size(BUFFER_BYTES);
    while let Some((stream, from)) = accept(&listener, &stop).await {
        match room.place(from) {
            Ok(place) => speak(&http, stream, from, &router, &graceful, place),
            Err(why) => turn_away(&stream, why),
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still under way when the time was up");
    }
}

/// The next who comes; none, when nobody shall.
async fn accept(listener: &TcpListener, stop: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return None,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(cause) => {
                // Out of file descriptors, most likely: some will be free again.
                tracing::warn!(error = %cause, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn speak(
    http: &http1::Builder,
    stream: TcpStream,
    from: SocketAddr,
    router: &Router,
    graceful: &GracefulShutdown,
    place: Place,
) {
    tune(&stream);
    let (turn, router) = (Turn::default(), router.clone());
    let stream = TokioIo::new(Paced::new(stream, turn.clone()));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let answering = turn.answering();
        request.extensions_mut().insert(ConnectInfo(from));
        let answer = router.clone().oneshot(request);
        async move { answer.await.map(|answer| Response::map(answer, |body| answering.until_sent(body))) }
    });
    let connection = graceful.watch(http.serve_connection(stream, service));
    tokio::spawn(async move {
        let _place = place;
        if let Err(cause) = connection.await {
            tracing::debug!(error = &cause as &dyn std::error::Error, "a connection ended early");
        }
    });
}

/// What a system refuses of this is no reason to refuse the connection.
fn tune(stream: &TcpStream) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = socket.set_send_buffer_size(UNREAD_BYTES);
    // One whose machine is gone says nothing more, and would be written to for a quarter of an hour.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(STALLED_MAX * 2));
}

/// Costs as little as can be: who floods us is not worth more, and who does not comes back.
fn turn_away(stream: &TcpStream, why: &'static str) {
    counter!("pipelabs_http_connections_refused_total", "full" => why).increment(1);
    let _ = stream.try_write(FULL);
}
