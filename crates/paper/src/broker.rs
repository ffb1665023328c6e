//! The MQTT broker that the bots speak through: QoS 0, nothing kept.
//!
//! `rumqttd` runs on a port of its own behind a door of ours, because it cannot be stopped: a broker that goes down is a
//! door that closes with everybody put out, and the one that comes up again is a new one behind it, which knows nobody.
//! The threads of the old one stay until the process ends.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use rumqttd::{
    Config, ConnectionSettings, Notification, RouterConfig, ServerSettings,
    local::{LinkError, LinkRx, LinkTx},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::mpsc::UnboundedSender,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::bot::words::Message;

/// What bots obey.
const COMMANDS: [&str; 4] = ["start", "stop", "history", "config"];
const PAYLOAD_MAX: usize = 64 * 1024 * 1024;
/// What one subscriber may lag behind: ten of these.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
const LOOK_PAUSE: Duration = Duration::from_millis(5);
const LOOKS_MAX: u32 = 1_000;

/// A broker that could not be brought up.
#[derive(Debug, thiserror::Error)]
pub enum BrokerFault {
    #[error("could not listen for MQTT on {addr}")]
    Listen {
        addr: SocketAddr,
        #[source]
        cause: io::Error,
    },
    #[error("the broker did not begin to listen on {addr}")]
    Silent { addr: SocketAddr },
    #[error("the broker did not take our own link")]
    Link(#[source] Box<LinkError>),
}

/// The door and what is behind it.
pub(crate) struct Broker {
    pub addr: SocketAddr,
    up: Mutex<Option<Up>>,
    commands: UnboundedSender<Command>,
}

struct Up {
    tx: LinkTx,
    end: CancellationToken,
    door: JoinHandle<()>,
    ears: JoinHandle<()>,
}

/// A command to a bot, as it came.
#[derive(Debug)]
pub(crate) struct Command {
    pub topic: Bytes,
    pub payload: Bytes,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Broker {
    pub(crate) async fn start(addr: SocketAddr, commands: UnboundedSender<Command>) -> Result<Self, BrokerFault> {
        let listener = listen(addr).await?;
        let addr = listener.local_addr().map_err(|cause| BrokerFault::Listen { addr, cause })?;
        let broker = Self { addr, up: Mutex::new(None), commands };
        broker.open(listener).await?;
        Ok(broker)
    }

    fn up(&self) -> std::sync::MutexGuard<'_, Option<Up>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up().is_some()
    }

    /// Down for nobody knows how long: everybody is put out, what is said meanwhile is lost.
    pub(crate) async fn go_down(&self) {
        let up = self.up().take();
        if let Some(up) = up {
            up.end.cancel();
            up.door.await.ok();
            up.ears.abort();
        }
    }

    pub(crate) async fn come_up(&self) -> Result<(), BrokerFault> {
        if self.is_up() {
            return Ok(());
        }
        self.open(listen(self.addr).await?).await
    }

    async fn open(&self, listener: TcpListener) -> Result<(), BrokerFault> {
        let (inner, tx, rx) = behind().await?;
        let end = CancellationToken::new();
        let door = tokio::spawn(keep_door(listener, inner, end.clone()));
        let ears = tokio::spawn(hear(rx, self.commands.clone()));
        *self.up() = Some(Up { tx, end, door, ears });
        Ok(())
    }

    pub(crate) fn publish(&self, message: &Message) {
        if let Some(up) = self.up().as_mut() {
            let topic = Bytes::copy_from_slice(message.topic.as_bytes());
            if let Err(cause) = up.tx.publish(topic, message.payload.clone()) {
                warn!("a message on {} did not reach the broker: {cause}", message.topic);
            }
        }
    }
}

/// The fault carries what could not be sent: too much to be moved around.
fn link_fault(cause: LinkError) -> BrokerFault {
    BrokerFault::Link(Box::new(cause))
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, BrokerFault> {
    TcpListener::bind(addr).await.map_err(|cause| BrokerFault::Listen { addr, cause })
}

/// A new `rumqttd`, and our own link to it.
async fn behind() -> Result<(SocketAddr, LinkTx, LinkRx), BrokerFault> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let addr = listen(any).await?.local_addr().map_err(|cause| BrokerFault::Listen { addr: any, cause })?;
    let mut broker = rumqttd::Broker::new(config(addr));
    let (mut tx, rx) = broker.link("paper").map_err(link_fault)?;
    for command in COMMANDS {
        tx.subscribe(format!("hbot/+/{command}")).map_err(link_fault)?;
    }
    thread::spawn(move || {
        if let Err(cause) = broker.start() {
            warn!("the broker ended: {cause}");
        }
    });
    for _ in 0..LOOKS_MAX {
        if TcpStream::connect(addr).await.is_ok() {
            return Ok((addr, tx, rx));
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    Err(BrokerFault::Silent { addr })
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: PAYLOAD_MAX,
        max_inflight_count: 1_000,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: "paper-mqtt".to_owned(), listen, tls: None, next_connection_delay_ms: 1, connections };
    Config {
        router: RouterConfig {
            max_connections: 1_000,
            max_outgoing_packet_count: 10_000,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("paper".to_owned(), server)])),
        ..Config::default()
    }
}

async fn keep_door(listener: TcpListener, inner: SocketAddr, end: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        if let Ok((stream, peer)) = accepted {
            let end = end.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = end.cancelled() => {}
                    passed = pass(stream, inner) => debug!("the MQTT connection with {peer} ended: {passed:?}"),
                }
            });
        }
    }
}

async fn pass(mut outside: TcpStream, inner: SocketAddr) -> io::Result<(u64, u64)> {
    let mut inside = TcpStream::connect(inner).await?;
    outside.set_nodelay(true)?;
    inside.set_nodelay(true)?;
    copy_bidirectional(&mut outside, &mut inside).await
}

/// Commands to bots, until the broker goes down.
async fn hear(mut rx: LinkRx, commands: UnboundedSender<Command>) {
    while let Ok(notification) = rx.next().await {
        match notification {
            Some(Notification::Forward(forward)) => {
                let (topic, payload) = (forward.publish.topic, forward.publish.payload);
                if commands.send(Command { topic, payload }).is_err() {
                    return;
                }
            }
            Some(Notification::Unschedule) if rx.ready().is_err() => return,
            Some(_) | None => {}
        }
    }
}
