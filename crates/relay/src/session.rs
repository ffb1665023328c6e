//! One connection to NATS, for as long as the library keeps it up.
//!
//! It reconnects by itself, with growing pauses, but for one case: a server that refuses our credentials closes it for
//! good. Then the relay opens another.

use std::time::Duration;

use async_nats::{
    Client, ConnectError, ConnectOptions, Event, ServerAddr,
    connection::State,
    jetstream::{
        Context,
        context::{AccountError, ContextBuilder},
    },
};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::told::Connected;

/// How long an answer or an acknowledgement of JetStream is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Acknowledgements that are waited for at once: several times what the clients' windows come to, because those of an
/// ended connection are waited for to the end of their time.
const IN_FLIGHT_MAX: usize = 20_000;

/// A connection and what was seen of it.
#[derive(Debug)]
pub(crate) struct Session {
    pub client: Client,
    pub jetstream: Context,
    seen: watch::Receiver<Seen>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    connects: u64,
    closed: bool,
}

/// Why there is no connection that the relay can work over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("NATS does not answer, or does not let us in")]
    Connect(#[from] ConnectError),
    /// Limits of the account that are above the server's turn it off with only a line in the server's log.
    #[error("NATS has no JetStream for our account: look into the log of nats-server for the reason")]
    JetStream(#[from] AccountError),
}

impl Session {
    pub async fn open(
        server: &ServerAddr,
        options: &ConnectOptions,
        connected: Connected,
    ) -> Result<Self, SessionError> {
        let (tell, seen) = watch::channel(Seen::default());
        let options = options.clone().name("pipelabs relay").event_callback(move |event| {
            note(&tell, &connected, &event);
            std::future::ready(())
        });
        let client = options.connect(server.clone()).await?;
        let jetstream = ContextBuilder::new()
            .timeout(ANSWER_MAX)
            .ack_timeout(ANSWER_MAX)
            .max_ack_inflight(IN_FLIGHT_MAX)
            .build(client.clone());
        jetstream.query_account().await?;
        Ok(Self { client, jetstream, seen })
    }

    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// For good, or nobody is left who would tell.
    pub fn is_closed(&self) -> bool {
        self.seen.borrow().closed || self.seen.has_changed().is_err()
    }

    /// How often it was connected: what was learned in an earlier connection may no longer hold.
    pub fn connects(&self) -> u64 {
        self.seen.borrow().connects
    }

    /// Resolves when it is another connection than the n-th: what was in flight then is not answered any more.
    pub async fn is_another_than(&self, connects: u64) {
        // An ended sender is the end of the session, too.
        let _ = self.seen.clone().wait_for(|seen| seen.closed || seen.connects != connects).await;
    }
}

fn note(tell: &watch::Sender<Seen>, connected: &Connected, event: &Event) {
    match event {
        Event::Connected => {
            info!("connected to NATS");
            tell.send_modify(|seen| seen.connects += 1);
            connected.tell(true);
        }
        Event::Disconnected
        | Event::LameDuckMode
        | Event::Draining
        | Event::SlowConsumer(_)
        | Event::ServerError(_) => warn!("NATS: {event}"),
        // One for each try to connect again.
        Event::ClientError(_) => debug!("NATS: {event}"),
        // Nobody waits for it any more: we closed it.
        Event::Closed if tell.is_closed() => {}
        Event::Closed => {
            warn!("NATS closed the connection for good: opening another");
            tell.send_modify(|seen| seen.closed = true);
        }
    }
    if matches!(event, Event::Disconnected | Event::Closed) {
        connected.tell(false);
    }
}
