//! The words: what can happen on the desk, exactly as it is written down and read for ever.
//!
//! Everything here is plain data. A reader needs nothing else to understand a client's history, and nothing here
//! reads a clock, a file or a socket.

pub mod account;
pub mod agent;
pub mod agreement;
pub mod alert;
pub mod bot;
mod canonical;
pub mod chain;
pub mod channel;
pub mod client;
pub mod credential;
pub mod decimal;
pub mod desk;
mod envelope;
mod event;
pub mod exchange;
pub mod export;
pub mod fields;
mod ids;
pub mod ledger;
pub mod manual;
pub mod market;
pub mod money;
mod names;
pub mod order;
pub mod schedule;
mod schema;
pub mod subscription;
mod time;
mod zone;

pub use decimal::Decimal;
pub use envelope::{Actor, AggregateRef, Metadata, Recorded};
pub use event::{Event, Unreadable};
pub use exchange::{Exchange, Market};
pub use ids::{
    AgreementId, AlertId, BotId, ChannelId, ClientId, CommandId, CredentialId, EventId, ManualId, MessageId,
    ScheduleId, SealedId, SessionId, SilenceId, SubscriptionId, TokenId, UserId,
};
pub use money::{Amount, Money, Price};
pub use names::{AccountName, Asset, BadName, OrderId, Pair, RuleName, Slug, TradeId};
pub use time::{BadTime, Time};
pub use uuid::Uuid;
pub use zone::{NoZone, Zone};
