//! A subscriber as one would write it from what the API answers, and what it notices.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_nats::{
    AuthError, Client, ConnectError, ConnectOptions, Event,
    jetstream::{
        self,
        consumer::{PullConsumer, pull},
    },
};
use futures::StreamExt;
use nkeys::KeyPair;
use serde_json::Value;
use tests::Nats;

/// How long what should come may take.
pub const COMES: Duration = Duration::from_secs(60);

/// What happened to a connection, and when.
pub type Noticed = Arc<Mutex<Vec<(Instant, String)>>>;

/// Somebody who follows a client's events.
pub struct Follower {
    pub client: Client,
    pub consumer: PullConsumer,
    pub noticed: Noticed,
}

/// An event as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The message's place in the stream.
    pub sequence: u64,
    /// What its headers say.
    pub client_seq: u64,
    pub id: String,
    pub kind: String,
    pub subject: String,
}

/// Text between the lines that begin and end a part of credentials.
fn part<'a>(creds: &'a str, of: &str) -> &'a str {
    let (_, rest) = creds.split_once(&format!("-----BEGIN {of}-----\n")).expect("it has this part");
    rest.split_once("\n------END").expect("the part ends").0
}

/// The seed in an answer that tells one.
pub fn seed(told: &Value) -> KeyPair {
    KeyPair::from_seed(part(told["creds"].as_str().expect("credentials are told"), "USER NKEY SEED")).unwrap()
}

/// How whoever has this JWT and this key comes in.
pub fn options(jwt: &str, key: &KeyPair, noticed: &Noticed) -> ConnectOptions {
    let (key, noticed) = (key.clone(), Arc::clone(noticed));
    ConnectOptions::with_jwt(jwt.to_owned(), move |nonce| std::future::ready(key.sign(&nonce).map_err(AuthError::new)))
        .event_callback(move |event: Event| {
            noticed.lock().unwrap().push((Instant::now(), event.to_string()));
            std::future::ready(())
        })
}

impl Follower {
    /// By what the API answered, with the key that it told.
    pub async fn come_in(nats: &Nats, told: &Value) -> Self {
        Self::with_key(nats, told, &seed(told)).await.expect("NATS lets it in")
    }

    /// By what the API answered, with a key of one's own.
    pub async fn with_key(nats: &Nats, told: &Value, key: &KeyPair) -> Result<Self, ConnectError> {
        let noticed = Noticed::default();
        let text = |name: &str| told[name].as_str().unwrap_or_else(|| panic!("{name} is not told: {told}")).to_owned();
        let options = options(&text("jwt"), key, &noticed).custom_inbox_prefix(text("inbox_prefix"));
        let client = options.connect(&nats.url).await?;
        let jetstream = jetstream::with_prefix(client.clone(), &text("api_prefix"));
        let consumer = jetstream.get_consumer_from_stream(text("consumer"), text("stream")).await;
        Ok(Self { client, consumer: consumer.expect("its consumer is there"), noticed })
    }

    /// The next events, acknowledged, and that this arrived.
    pub async fn take(&self, most: usize) -> Vec<Delivered> {
        let mut taken = Vec::new();
        let late = Instant::now() + COMES;
        while taken.len() < most {
            assert!(Instant::now() < late, "{} of {most} events came", taken.len());
            taken.extend(self.fetch(most - taken.len(), true).await);
        }
        taken
    }

    /// What is there within a moment.
    pub async fn fetch(&self, most: usize, acknowledge: bool) -> Vec<Delivered> {
        let batch = self.consumer.batch().max_messages(most).expires(Duration::from_millis(500));
        let mut messages: pull::Batch = batch.messages().await.expect("it may fetch");
        let mut delivered = Vec::new();
        while let Some(message) = messages.next().await {
            let message = message.expect("a message comes whole");
            let header = |name: &str| message.headers.as_ref().unwrap().get(name).unwrap().to_string();
            delivered.push(Delivered {
                sequence: message.info().unwrap().stream_sequence,
                client_seq: header("ce-clientseq").parse().unwrap(),
                id: header("ce-id"),
                kind: header("ce-type"),
                subject: message.subject.to_string(),
            });
            if acknowledge {
                message.ack().await.expect("it may acknowledge");
            }
        }
        self.client.flush().await.expect("it is connected");
        delivered
    }

    /// Waits until it is cut off; when.
    pub async fn cut_off(&self) -> Instant {
        let late = Instant::now() + COMES;
        loop {
            let found = self.noticed.lock().unwrap().iter().find(|(_, what)| what.contains("disconnected")).cloned();
            if let Some((when, _)) = found {
                return when;
            }
            assert!(Instant::now() < late, "it is still connected: {:?}", self.noticed.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether it was never cut off.
    pub fn stayed(&self) -> bool {
        !self.noticed.lock().unwrap().iter().any(|(_, what)| what.contains("disconnected"))
    }
}
