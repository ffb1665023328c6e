//! What bots say of themselves over MQTT, and what they are asked there.
//!
//! This is the only place where a bot's fills are exact, and it keeps nothing: what is published while nobody is connected
//! is gone. So every connection has an [`Epoch`], its beginning and its end are told in the same channel as the messages,
//! and whoever reads it knows from when to when it heard nothing.
//!
//! Listening and asking are two connections. A reader that falls behind holds up the first one only.

mod answer;
mod ask;
mod event;
mod listen;
mod said;
mod topic;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use events::Time;
use rumqttc::{AsyncClient, EventLoop, MqttOptions};
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::mpsc, task::JoinHandle};
use url::Url;
use uuid::Uuid;

use crate::BotName;
pub use event::{BotEvent, Happened};
pub use said::{Fill, Said, Status};

/// The largest message; a bot's whole history is one.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// What may wait to be sent; a subscription and the calls of one moment.
const REQUESTS: usize = 256;
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const PORT: u16 = 1883;

/// Where the broker is and how long is waited.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `mqtt://host:port`.
    pub url: String,
    pub username: Option<String>,
    pub password: Option<SecretString>,
    /// The longest that a bot may take to answer.
    pub answer: Duration,
    /// How many messages may wait for the reader. Then the connection is not read any further, and nothing is dropped here.
    pub waiting_max: usize,
}

/// An address of the broker that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBroker {
    #[error("the address of the MQTT broker is not a URL: {0}")]
    NotAUrl(String),
    #[error(
        "the address of the MQTT broker begins with {0}://: this client speaks plain mqtt, inside a private network"
    )]
    NotMqtt(String),
    #[error("the address of the MQTT broker names no host")]
    NoHost,
    #[error("the address of the MQTT broker holds a user or password: give them in settings of their own")]
    HoldsCredentials,
}

/// Which connection to the broker: 1 for the first, then up. Zero is none yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// What comes from the broker, in its order.
#[derive(Debug, Clone)]
pub enum Heard {
    /// From here on everything is heard, until the same epoch is lost.
    Connected {
        epoch: Epoch,
        at: Time,
    },
    /// The connection ended, told once however long it stays so. Since `since` nothing was heard, not even a sign of life:
    /// the gap begins there. `since` is absent when there was no connection yet.
    Lost {
        epoch: Epoch,
        since: Option<Time>,
        why: String,
    },
    Message(Box<Message>),
}

/// One message of one bot.
#[derive(Debug, Clone)]
pub struct Message {
    pub epoch: Epoch,
    pub bot: BotName,
    /// When it was read here.
    pub received: Time,
    /// The payload as it came, whatever became of reading it.
    pub raw: Bytes,
    pub said: Said,
}

/// The bots behind one broker, to be asked. Cheap to clone; the connection ends with the last one.
#[derive(Clone)]
pub struct Bots {
    asking: Arc<ask::Asking>,
    _task: Arc<Task>,
}

/// A task that ends with whoever holds it.
struct Task(JoinHandle<()>);

impl Bots {
    /// Connects, again and again as long as it takes, in tasks of the current runtime. Listening goes on until the receiver
    /// is dropped.
    pub fn connect(settings: Settings) -> Result<(Self, mpsc::Receiver<Heard>), BadBroker> {
        let (heard, receiver) = mpsc::channel(settings.waiting_max.max(1));
        let (client, events) = settings.connection("listen")?;
        tokio::spawn(listen::listen(client, events, heard));
        let (client, events) = settings.connection("ask")?;
        let asking = Arc::new(ask::Asking::new(client, settings.answer));
        let task = tokio::spawn(ask::serve(Arc::clone(&asking), events));
        Ok((Self { asking, _task: Arc::new(Task(task)) }, receiver))
    }
}

impl Settings {
    /// A connection of its own name: two of one name would end each other.
    fn connection(&self, purpose: &str) -> Result<(AsyncClient, EventLoop), BadBroker> {
        let (host, port) = broker(&self.url)?;
        let mut options = MqttOptions::new(format!("pipelabs-{purpose}-{}", Uuid::new_v4().simple()), host, port);
        options.set_keep_alive(KEEP_ALIVE).set_clean_session(true);
        options.set_max_packet_size(MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX);
        if let Some(username) = &self.username {
            let password = self.password.as_ref().map_or("", |password| password.expose_secret());
            options.set_credentials(username, password);
        }
        Ok(AsyncClient::new(options, REQUESTS))
    }
}

fn broker(text: &str) -> Result<(String, u16), BadBroker> {
    let url: Url = text.parse().map_err(|cause: url::ParseError| BadBroker::NotAUrl(cause.to_string()))?;
    if url.scheme() != "mqtt" {
        return Err(BadBroker::NotMqtt(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadBroker::HoldsCredentials);
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(BadBroker::NoHost)?;
    Ok((host.trim_matches(['[', ']']).to_owned(), url.port().unwrap_or(PORT)))
}

/// Waits longer each time, up to ten seconds, each time a little differently.
#[derive(Debug)]
struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: Duration::from_millis(100) }
    }
}

impl Backoff {
    async fn wait(&mut self) {
        let part = rand::random_range(50..=100);
        tokio::time::sleep(self.next * part / 100).await;
        self.next = (self.next * 2).min(Duration::from_secs(10));
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Bots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bots").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_address_without_secrets_is_taken() {
        assert_eq!(broker("mqtt://broker:1999"), Ok(("broker".to_owned(), 1999)));
        assert_eq!(broker("mqtt://127.0.0.1"), Ok(("127.0.0.1".to_owned(), 1883)));
        assert_eq!(broker("mqtts://broker"), Err(BadBroker::NotMqtt("mqtts".to_owned())));
        assert_eq!(broker("mqtt://user:fake@broker"), Err(BadBroker::HoldsCredentials));
        assert!(matches!(broker("broker"), Err(BadBroker::NotAUrl(_))));
    }
}
