//! The relay: every event of a client onto NATS, into one JetStream stream a client.
//!
//! Postgres is the truth; what NATS holds is a copy that can be thrown away and published again. The **JetStream
//! sequence of a message is the event's `client_seq`**, so a subscriber that has seen 1, 2, 3 knows that nothing is
//! missing, whatever was restarted, lost or published twice on the way.
//!
//! # What a subscriber reads
//!
//! The stream of a client is `pipelabs_<client>`, its subjects are `pipelabs.<client>.events.<aggregate>.<type>`, for
//! example `pipelabs.0190…02.events.ledger.FillRecorded`; `<client>` is its id in 32 hex digits. Nothing that a person
//! typed is ever part of a subject. One message is one event, as a CloudEvent 1.0 in binary mode:
//!
//! | header | value |
//! | --- | --- |
//! | `ce-specversion` | `1.0` |
//! | `ce-id` | the event's own id; `Nats-Msg-Id` is the same |
//! | `ce-source` | `/pipelabs/clients/<client>` |
//! | `ce-type` | what happened: `FillRecorded` |
//! | `ce-typeversion` | which version of that word: `1` |
//! | `ce-aggregate` | the kind of thing that it is about: `ledger` |
//! | `ce-subject` | which one of its kind, percent-encoded |
//! | `ce-time` | when the world says it happened |
//! | `ce-recordedtime` | when it entered the stream |
//! | `ce-clientseq` | its place in the client's stream, the message's sequence too |
//! | `ce-chainhash` | the hash that stands for it and all before it, as in exports |
//! | `ce-datacontenttype` | `application/json` |
//!
//! The payload is the event's JSON in its RFC 8785 form: the very bytes that were recorded and hashed, for example
//! `{"BotStopped":{"at":"2024-08-08T23:59:59.999123Z"}}`. Decimals are strings.
//!
//! Signed heads are told on `pipelabs_heads.<client>` each minute, outside the stream: its sequence is the events' alone.
//! Every ten seconds `pipelabs_beats.alerts` tells whether somebody evaluates alerts.
//!
//! # How a subscriber comes in
//!
//! By a subscription, for which `POST /api/alerts/subscriptions` tells names and a credential ([`Address`] says what each
//! is). Its client's account on NATS has no JetStream of its own: the API of ours is called `PLJS` there, and of that a
//! subscriber may look at and fetch from its own durable pull consumer, and acknowledge. With async-nats:
//!
//! ```no_run
//! # async fn follow(creds: &str, inbox_prefix: &str, consumer: &str, stream: &str) -> Result<(), async_nats::Error> {
//! use async_nats::jetstream::{self, consumer::PullConsumer};
//! use futures::StreamExt;
//!
//! let options = async_nats::ConnectOptions::with_credentials(creds)?.custom_inbox_prefix(inbox_prefix);
//! let client = options.connect("nats://127.0.0.1:4222").await?;
//! let jetstream = jetstream::with_prefix(client, "PLJS");
//! let consumer: PullConsumer = jetstream.get_consumer_from_stream(consumer, stream).await?;
//! let mut messages = consumer.messages().await?;
//! while let Some(message) = messages.next().await {
//!     let message = message?;
//!     // The same number as the event's `client_seq`: whoever was away asks GET /api/events?after_seq= with it, too.
//!     println!("{} {}", message.info()?.stream_sequence, message.subject);
//!     message.ack().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Messages come once each and in order as long as they are acknowledged; one that was not comes again after 30 s. A
//! credential counts for 24 hours: renewed, the new one has to be presented at the next connection. Whoever has no accounts
//! on NATS, for development, has no subscribers: everybody may do anything there.
//!
//! # How it stays true
//!
//! Each message is accepted only as the next of its stream (`Nats-Expected-Last-Sequence`), and within one window only
//! behind the very event before it (`Nats-Expected-Last-Msg-Id`), so any number of relays may publish at once. What NATS
//! holds is asked of NATS: at the start, after each new connection, whenever a message was not accepted, and now and then.
//! A copy that lost its end is continued where it ends; one that is gone is made again at the right number; one that holds
//! anything else than the recorded event is left as it is, told as [`events::desk::DeskEvent::RelayDiverged`], and its
//! client stops until somebody has removed that copy.

mod address;
mod asyncapi;
mod checkpoints;
mod copy;
mod dead_man;
mod diverged;
mod heads;
mod lines;
mod message;
mod publish;
mod relay;
mod session;
pub mod tenancy;
mod told;

pub use address::{Address, filtered};
pub use asyncapi::asyncapi;
pub use message::{heads_subject, stream_name, subjects};
pub use relay::{Access, Relay, Settings};
pub use tenancy::{
    consumers::{Reached, reached},
    issue::{Issuer, OwnKey, check_nkey},
};
pub use told::Connected;
