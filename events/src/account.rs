//! What a client holds on an exchange, as far as it was seen, and whether it can be seen at all. Units only: what they are
//! worth is told by marks.

use serde::{Deserialize, Serialize};

use crate::{AccountName, Asset, Decimal, Exchange, Market, Time};

/// Facts of aggregate `account`, keyed by exchange and market, or by what else stands between them and us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum AccountEvent {
    /// The account held this much of an asset. Recorded when it changed, at most once a minute and asset.
    BalanceObserved {
        exchange: Exchange,
        market: Market,
        account: AccountName,
        asset: Asset,
        /// All of it, orders included.
        total: Decimal,
        /// What no order holds.
        available: Decimal,
        at: Time,
    },
    /// The Hummingbot API has not answered since then: what it would say of bots and balances is unknown. Told under
    /// `hummingbot`.
    HummingbotLost { since: Time, reason: String, at: Time },
    /// It answers again.
    HummingbotBack { at: Time },
}

impl AccountEvent {
    /// When it was seen.
    pub fn at(&self) -> Time {
        match self {
            Self::BalanceObserved { at, .. } | Self::HummingbotLost { at, .. } | Self::HummingbotBack { at } => *at,
        }
    }
}
