//! What a fill cost, as Hummingbot tells it.

use events::{Asset, Decimal};
use serde::Deserialize;

use crate::numbers;

/// An amount of one asset that was paid as a fee.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FeePaid {
    #[serde(rename = "token", alias = "asset")]
    pub asset: Asset,
    #[serde(deserialize_with = "numbers::exact")]
    pub amount: Decimal,
}

/// A fill's fee: what the exchange charged, or, where it did not say, a share of the trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradeFee {
    /// Charged in these assets. Exact.
    pub charged: Vec<FeePaid>,
    /// A share of the fill, 0.001 is 0.1 %, where Hummingbot knows only the rate. Zero otherwise.
    pub share: Decimal,
    /// The asset that the share is taken of.
    pub share_asset: Option<Asset>,
}

/// The fee of a fill from a source that rounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoundedFees {
    /// As the exchange charged them.
    Charged(TradeFee),
    /// Turned into the quote asset by Hummingbot and rounded to six decimals: what was paid, and in which asset, is lost.
    InQuote(FeePaid),
    /// Not told.
    Untold,
}

impl<'de> Deserialize<'de> for TradeFee {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Told {
            #[serde(default, deserialize_with = "numbers::maybe")]
            percent: Option<Decimal>,
            #[serde(default)]
            percent_token: Option<String>,
            #[serde(default)]
            flat_fees: Vec<FeePaid>,
        }
        let told = Told::deserialize(deserializer)?;
        let share_asset = told.percent_token.and_then(|token| token.parse().ok());
        Ok(Self { charged: told.flat_fees, share: told.percent.unwrap_or(Decimal::ZERO), share_asset })
    }
}
