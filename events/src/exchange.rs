//! The six exchanges the desk trades on, and what Hummingbot calls them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An exchange. Written in the API and in events as its spot connector's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    Binance,
    Bitmart,
    Bybit,
    GateIo,
    Kucoin,
    Okx,
}

/// Where on an exchange: a position in one never nets with the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Market {
    Spot,
    Perp,
}

/// A text that names none of the six exchanges or two markets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not known: use one of {known}")]
pub struct Unknown {
    what: &'static str,
    text: String,
    known: String,
}

impl Exchange {
    pub const ALL: [Self; 6] = [Self::Binance, Self::Bitmart, Self::Bybit, Self::GateIo, Self::Kucoin, Self::Okx];

    /// The name in events, in the API and of the spot connector.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Bitmart => "bitmart",
            Self::Bybit => "bybit",
            Self::GateIo => "gate_io",
            Self::Kucoin => "kucoin",
            Self::Okx => "okx",
        }
    }

    /// The Hummingbot connector for a market of this exchange.
    pub fn connector(self, market: Market) -> String {
        match market {
            Market::Spot => self.name().to_owned(),
            Market::Perp => format!("{}_perpetual", self.name()),
        }
    }
}

impl Market {
    pub const ALL: [Self; 2] = [Self::Spot, Self::Perp];

    /// The name in events and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spot => "spot",
            Self::Perp => "perp",
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Exchange {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|e| e.name() == text).ok_or_else(|| unknown("exchange", text, known()))
    }
}

impl FromStr for Market {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|m| m.name() == text).ok_or_else(|| unknown("market", text, known()))
    }
}

fn unknown(what: &'static str, text: &str, known: String) -> Unknown {
    Unknown { what, text: text.chars().take(40).collect(), known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exchange_is_read_back_from_its_name_and_its_json() {
        for exchange in Exchange::ALL {
            assert_eq!(exchange.name().parse(), Ok(exchange));
            assert_eq!(serde_json::to_value(exchange).unwrap(), exchange.name());
        }
    }
}
