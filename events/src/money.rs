//! Prices, amounts and money: exact, each its own type, money never without its asset.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Asset,
    decimal::{ArithmeticError, Decimal},
};

/// How much of the base asset a fill or an order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(pub Decimal);

/// What one unit of the base asset costs, in the quote asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Price(pub Decimal);

/// So much of an asset.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Money {
    /// How much.
    pub amount: Decimal,
    /// Of what.
    pub asset: Asset,
}

impl Price {
    /// What this amount costs at this price, in the quote asset. Exact, or an error: never rounded.
    pub fn times(self, amount: Amount) -> Result<Decimal, ArithmeticError> {
        self.0.times(amount.0)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.asset)
    }
}
