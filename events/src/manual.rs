//! Orders that a person places in a bot's book by hand: asked for, about to be sent, sent; refused; or nobody knows.

use serde::{Deserialize, Serialize};

use crate::{Amount, BotId, Decimal, OrderId, Price, Time, bot::Venue, ledger::Side};

/// How a manual order is put to the exchange. There is none that takes at once: of such orders the Hummingbot API loses
/// fills without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestingType {
    /// At its price or better.
    Limit,
    /// The same, and the exchange refuses it rather than let it take.
    LimitMaker,
}

/// How a manual order came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HowEnded {
    /// The whole amount was executed.
    Filled,
    /// It was taken from the book.
    Cancelled,
    /// The exchange did not take it.
    Rejected,
    /// The Hummingbot API no longer holds it open and does not say what became of it.
    Vanished,
}

/// What a person found out about an order of which nobody knew what became.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It never reached the exchange.
    NotPlaced,
    /// It is gone from the book, and nothing more of it was executed than fills tell.
    Cancelled,
    /// All of it was executed. The fills that are not in the ledger stay missing until they are.
    Filled,
}

/// Facts of aggregate `manual`, keyed by the id of the wish for the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ManualOrderEvent {
    /// Somebody wants this order in the bot's book; it was not sent yet. Who it was stands in the metadata.
    ManualOrderRequested {
        bot: BotId,
        venue: Venue,
        side: Side,
        order_type: RestingType,
        price: Price,
        amount: Amount,
        at: Time,
    },
    /// It is about to be sent, once: the call went out at once after this, or never.
    ManualOrderStarted { at: Time },
    /// The Hummingbot API took it under this id; what the exchange says of it is told by the order's own life.
    ManualOrderSubmitted { order: OrderId, at: Time },
    /// It was not sent, or not taken, and will not be.
    ManualOrderRefused { reason: String, at: Time },
    /// Nobody knows whether it was taken. It is never sent again by itself: a person has to look at the exchange.
    ManualOrderUnknown { reason: String, at: Time },
    /// It was unknown, and then the Hummingbot API showed it, under this id: the call had landed late.
    ManualOrderFound { order: OrderId, at: Time },
    /// Somebody looked at the exchange and decided what became of it. `order`: under which id it was there. Who it was stands in
    /// the metadata.
    ManualOrderResolved { verdict: Verdict, order: Option<OrderId>, reason: String, at: Time },
    /// Somebody wants the order cancelled.
    ManualCancelRequested { at: Time },
    /// It is gone from the book; what was filled before stays filled.
    ManualCancelDone { at: Time },
    /// It could not be cancelled.
    ManualCancelFailed { reason: String, at: Time },
    /// Part of what was executed was told by no fill. `filled`: of the base asset, what fills had told of so far.
    ManualFillsMissing { filled: Decimal, reason: String, at: Time },
    /// The missing part is in the ledger now, wherever it was learnt from.
    ManualFillsExplained { filled: Decimal, at: Time },
    /// The order is open no longer. `filled`: of the base asset, what its fills tell of together.
    ManualOrderEnded { ended: HowEnded, filled: Decimal, at: Time },
}

impl ManualOrderEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::ManualOrderRequested { at, .. }
            | Self::ManualOrderStarted { at }
            | Self::ManualOrderSubmitted { at, .. }
            | Self::ManualOrderRefused { at, .. }
            | Self::ManualOrderUnknown { at, .. }
            | Self::ManualOrderFound { at, .. }
            | Self::ManualOrderResolved { at, .. }
            | Self::ManualCancelRequested { at }
            | Self::ManualCancelDone { at }
            | Self::ManualCancelFailed { at, .. }
            | Self::ManualFillsMissing { at, .. }
            | Self::ManualFillsExplained { at, .. }
            | Self::ManualOrderEnded { at, .. } => *at,
        }
    }
}
