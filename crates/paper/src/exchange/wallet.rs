//! What an API key owns on one market of an exchange: units of assets, and positions where it trades perpetuals.

use std::collections::BTreeMap;

use events::{Decimal, Exchange, Market, Pair, ledger::Side};

use crate::exact::{difference, product, quotient, sum};

/// Whose wallet: the exchange knows a key, never an account's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WalletKey {
    pub exchange: Exchange,
    pub market: Market,
    pub key: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Wallet {
    /// What it began with.
    pub initial: BTreeMap<String, Decimal>,
    pub units: BTreeMap<String, Decimal>,
    /// The part of them that open orders bind.
    pub held: BTreeMap<String, Decimal>,
    pub positions: BTreeMap<Pair, Position>,
}

/// A perpetual position; short is below zero.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Position {
    pub amount: Decimal,
    pub entry: Decimal,
}

impl Wallet {
    pub(crate) fn with(initial: BTreeMap<String, Decimal>) -> Self {
        Self { units: initial.clone(), initial, held: BTreeMap::new(), positions: BTreeMap::new() }
    }

    pub(crate) fn units(&self, asset: &str) -> Decimal {
        self.units.get(asset).copied().unwrap_or_default()
    }

    pub(crate) fn available(&self, asset: &str) -> Decimal {
        difference(self.units(asset), self.held.get(asset).copied().unwrap_or_default())
    }

    pub(crate) fn add(&mut self, asset: &str, amount: Decimal) {
        let now = sum(self.units(asset), amount);
        self.units.insert(asset.to_owned(), now);
    }

    /// Binds so much for an order, or frees it when below zero.
    pub(crate) fn hold(&mut self, asset: &str, amount: Decimal) {
        let held = self.held.entry(asset.to_owned()).or_default();
        *held = sum(*held, amount);
    }

    /// A perpetual trade: what it realised, in the quote asset.
    pub(crate) fn turn(&mut self, pair: &Pair, side: Side, price: Decimal, amount: Decimal) -> Decimal {
        let position = self.positions.entry(pair.clone()).or_default();
        let signed = match side {
            Side::Buy => amount,
            Side::Sell => -amount,
        };
        position.turn(signed, price)
    }
}

impl Position {
    fn turn(&mut self, signed: Decimal, price: Decimal) -> Decimal {
        let before = *self;
        self.amount = sum(before.amount, signed);
        if before.amount.is_zero() || before.amount.is_negative() == signed.is_negative() {
            let cost = sum(product(before.amount, before.entry), product(signed, price));
            self.entry = quotient(cost, self.amount);
            return Decimal::ZERO;
        }
        let closed = signed.abs().min(before.amount.abs());
        if self.amount.is_zero() || self.amount.is_negative() != before.amount.is_negative() {
            self.entry = price;
        }
        let gain = product(difference(price, before.entry), closed);
        if before.amount.is_negative() { -gain } else { gain }
    }
}
