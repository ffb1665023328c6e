//! The socket: how many may come, how long they may take, and how they are let go.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// A request's head has to be there by then, so that slow senders do not hold connections for ever.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// Larger than the headers that a request may have, so that one that has more is told so in words.
const BUFFER_BYTES: usize = 64 * 1_024;
const CONNECTIONS_MAX: usize = 4_096;
/// Requests under way are waited for so long.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Serves until told to stop, then finishes what is under way.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let (room, graceful) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), GracefulShutdown::new());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(BUFFER_BYTES);
    loop {
        let place = tokio::select! {
            place = Arc::clone(&room).acquire_owned() => place.expect("nobody closes it"),
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(cause) => {
                // Out of file descriptors, most likely: some will be free again.
                tracing::warn!(error = %cause, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are small and waited for.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone().layer(Extension(ConnectInfo::<SocketAddr>(from))));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            let _place = place;
            if let Err(cause) = connection.await {
                tracing::debug!(error = %cause, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still under way when the time was up");
    }
}
