//! What the market was worth, as far as a client's own figures need it.

use serde::{Deserialize, Serialize};

use crate::{Pair, Price, Time};

/// Facts of aggregate `market`, keyed by the pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum MarketEvent {
    /// The middle of best bid and best ask, of no particular exchange. Never the last trade's price.
    MarkObserved { pair: Pair, price: Price, source: String, at: Time },
}

impl MarketEvent {
    /// When it was seen.
    pub fn at(&self) -> Time {
        match self {
            Self::MarkObserved { at, .. } => *at,
        }
    }
}
