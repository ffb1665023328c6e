//! One message of a bot, read.

use std::collections::BTreeMap;

use events::{Amount, OrderId, Pair, Price, Time, TradeId, ledger::Side};
use serde::{Deserialize, de::DeserializeOwned};

use super::{event, event::BotEvent, topic::Channel};
use crate::{
    LogLine, OrderType, Performance, TradeFee, numbers::tolerant, performance::OfController, scrub::scrub, times,
};

/// What a bot said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It lives: every ten seconds.
    Heartbeat {
        at: Option<Time>,
    },
    /// Its controllers' own figures, by the controller's id: every second.
    Performance(BTreeMap<String, Performance>),
    Log(LogLine),
    /// Something for its owner to read.
    Notify {
        text: String,
    },
    Status(Status),
    Event(BotEvent),
    /// It could not be read. The message's raw bytes are what there is.
    Unreadable {
        why: String,
    },
}

/// A change of a bot's own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Of what: `availability`.
    pub kind: String,
    /// `online`, `offline`.
    pub text: String,
    pub at: Option<Time>,
}

/// A fill, exact to the last digit. It names neither its connector nor its account: whoever knows the bot knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    pub order: OrderId,
    /// The exchange's own, the key of a fill.
    pub trade: TradeId,
    pub exchange_order: Option<OrderId>,
    pub pair: Pair,
    pub side: Side,
    pub order_type: Option<OrderType>,
    pub price: Price,
    pub amount: Amount,
    pub fee: TradeFee,
}

#[derive(Deserialize)]
struct HeartbeatTold {
    #[serde(default, deserialize_with = "times::micros_maybe")]
    ts: Option<Time>,
}

#[derive(Deserialize)]
struct NotifyTold {
    #[serde(default)]
    msg: String,
}

#[derive(Deserialize)]
struct StatusTold {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    msg: String,
    #[serde(default, deserialize_with = "times::millis_maybe")]
    timestamp: Option<Time>,
}

impl Said {
    /// Reads a payload. What is wrong with it is kept, never a reason to drop it.
    pub(super) fn read(channel: Channel, payload: &[u8]) -> Self {
        let said = match channel {
            Channel::Heartbeat => json(payload).map(|HeartbeatTold { ts }| Self::Heartbeat { at: ts }),
            Channel::Performance => json(payload).map(Self::performance),
            Channel::Log => json(payload).map(Self::Log),
            Channel::Notify => json(payload).map(|NotifyTold { msg }| Self::Notify { text: msg }),
            Channel::Status => json(payload)
                .map(|StatusTold { kind, msg, timestamp }| Self::Status(Status { kind, text: msg, at: timestamp })),
            Channel::Events => json(payload).and_then(event::read).map(Self::Event),
        };
        said.unwrap_or_else(|why| Self::Unreadable { why })
    }

    fn performance(told: BTreeMap<String, OfController>) -> Self {
        Self::Performance(told.into_iter().map(|(id, told)| (id, told.performance)).collect())
    }
}

pub(super) fn json<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    let payload = tolerant(payload);
    let mut json = serde_json::Deserializer::from_slice(&payload);
    serde_path_to_error::deserialize(&mut json).map_err(|cause| scrub(&cause.to_string(), []))
}
