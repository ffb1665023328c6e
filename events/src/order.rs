//! An order's life on the exchange. What it filled is told by fills alone.

use serde::{Deserialize, Serialize};

use crate::{
    Amount, OrderId, Price, Time,
    bot::Venue,
    ledger::{Precision, Side},
};

/// Facts of aggregate `orders`, keyed by the bot that placed them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum OrderEvent {
    /// The exchange took the order. A market order has no price, nor has one whose price was cut to nothing.
    OrderPlaced {
        order: OrderId,
        venue: Venue,
        side: Side,
        price: Option<Price>,
        amount: Amount,
        /// How exactly price and amount are known; absent: to their last digit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        precision: Option<Precision>,
        at: Time,
    },
    /// It is gone from the book; what was filled before stays filled.
    OrderCancelled { order: OrderId, venue: Venue, at: Time },
    /// The whole amount was executed.
    OrderFilled { order: OrderId, venue: Venue, at: Time },
    /// The exchange refused it.
    OrderRejected { order: OrderId, venue: Venue, reason: String, at: Time },
    /// Its time ran out on the exchange.
    OrderExpired { order: OrderId, venue: Venue, at: Time },
}

impl OrderEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::OrderPlaced { at, .. }
            | Self::OrderCancelled { at, .. }
            | Self::OrderFilled { at, .. }
            | Self::OrderRejected { at, .. }
            | Self::OrderExpired { at, .. } => *at,
        }
    }

    /// Where the order stands.
    pub fn venue(&self) -> &Venue {
        match self {
            Self::OrderPlaced { venue, .. }
            | Self::OrderCancelled { venue, .. }
            | Self::OrderFilled { venue, .. }
            | Self::OrderRejected { venue, .. }
            | Self::OrderExpired { venue, .. } => venue,
        }
    }

    /// The order it speaks of.
    pub fn order(&self) -> &OrderId {
        match self {
            Self::OrderPlaced { order, .. }
            | Self::OrderCancelled { order, .. }
            | Self::OrderFilled { order, .. }
            | Self::OrderRejected { order, .. }
            | Self::OrderExpired { order, .. } => order,
        }
    }
}
