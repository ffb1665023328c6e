//! Our side of a comparison: sums over fills that can be added and taken away in any order.

use std::collections::BTreeMap;

use events::{
    Asset, Decimal, Market, Pair,
    decimal::ArithmeticError,
    ledger::{Fill, Precision, Side},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::rates::{Known, Rates};

/// What is known of a deployment's fills. Money is in the quote asset of its pair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ours {
    /// The pair that it trades; null before its first fill.
    pub pair: Option<Pair>,
    /// How many.
    pub fills: i64,
    /// Sum of price x amount.
    pub volume_quote: Decimal,
    /// What was received less what was spent: sum of -delta x price.
    pub money_quote: Decimal,
    /// Of the base asset, bought less sold, less fees that were taken from it.
    pub position: Decimal,
    /// Fees that were charged in the quote asset.
    pub fees_quote: Decimal,
    /// Fees that were charged in the base asset, and their value at the fills' prices.
    pub base_fees: Decimal,
    pub base_fees_quote: Decimal,
    /// Fees that were charged in any other asset.
    pub other_fees: BTreeMap<Asset, Decimal>,
    /// Fills whose fees nobody knows.
    pub unknown_fees: i64,
    /// Fills whose price is known to six places only, and the most that this puts the volume off.
    pub provisional: i64,
    pub provisional_most: Decimal,
    /// What corrections of exact fills changed: how many, the volume, the money and the position.
    pub corrected: i64,
    pub corrected_volume: Decimal,
    pub corrected_money: Decimal,
    pub corrected_position: Decimal,
}

impl Ours {
    /// One fill, added (1) or taken away (-1). `corrects`: it is one half of a correction of what was exact.
    pub(super) fn of(fill: &Fill, times: i64, corrects: bool) -> Result<Self, ArithmeticError> {
        let sign = Decimal::from_int(times);
        let amount = fill.amount.0.times(sign)?;
        let mut one = Self { pair: Some(fill.pair.clone()), fills: times, ..Self::default() };
        one.volume_quote = fill.price.0.times(amount)?;
        let (base, quote) = (fill.pair.base_asset(), fill.pair.quote_asset());
        for fee in fill.fees.iter().flatten() {
            let charged = fee.amount.times(sign)?;
            if fee.asset == quote {
                one.fees_quote = one.fees_quote.plus(charged)?;
            } else if fee.asset == base {
                one.base_fees = one.base_fees.plus(charged)?;
                one.base_fees_quote = one.base_fees_quote.plus(charged.times(fill.price.0)?)?;
            } else {
                let sum = one.other_fees.entry(fee.asset.clone()).or_default();
                *sum = sum.plus(charged)?;
            }
        }
        let traded = if fill.side == Side::Buy { amount } else { Decimal::ZERO.minus(amount)? };
        one.position = if fill.market == Market::Spot { traded.minus(one.base_fees)? } else { traded };
        one.money_quote = Decimal::ZERO.minus(one.position.times(fill.price.0)?)?;
        one.unknown_fees = if fill.fees.is_none() { times } else { 0 };
        if fill.precision == Some(Precision::SixPlaces) {
            one.provisional = times;
            one.provisional_most = Decimal::new(1, 6).times(amount)?;
        }
        if corrects {
            // A correction is a fill taken away and another added: it counts where the first is taken away.
            one.corrected = i64::from(times < 0);
            one.corrected_volume = one.volume_quote;
            one.corrected_money = one.money_quote;
            one.corrected_position = one.position;
        }
        Ok(one)
    }

    pub(super) fn add(&mut self, other: &Self) -> Result<(), ArithmeticError> {
        self.pair = self.pair.take().or_else(|| other.pair.clone());
        self.fills += other.fills;
        self.unknown_fees += other.unknown_fees;
        self.provisional += other.provisional;
        self.corrected += other.corrected;
        for (sum, more) in [
            (&mut self.volume_quote, other.volume_quote),
            (&mut self.money_quote, other.money_quote),
            (&mut self.position, other.position),
            (&mut self.fees_quote, other.fees_quote),
            (&mut self.base_fees, other.base_fees),
            (&mut self.base_fees_quote, other.base_fees_quote),
            (&mut self.provisional_most, other.provisional_most),
            (&mut self.corrected_volume, other.corrected_volume),
            (&mut self.corrected_money, other.corrected_money),
            (&mut self.corrected_position, other.corrected_position),
        ] {
            *sum = sum.plus(more)?.normalised();
        }
        for (asset, more) in &other.other_fees {
            let sum = self.other_fees.entry(asset.clone()).or_default();
            *sum = sum.plus(*more)?.normalised();
        }
        self.other_fees.retain(|_, sum| !sum.is_zero());
        Ok(())
    }

    /// What its position is worth; absent without a mark, zero when it is flat.
    pub(super) fn worth(&self, marks: &Rates) -> Result<Option<Decimal>, ArithmeticError> {
        if self.position.is_zero() {
            return Ok(Some(Decimal::ZERO));
        }
        let mark = self.pair.as_ref().and_then(|pair| marks.of(pair));
        mark.map(|mark| self.position.times(mark.0)).transpose()
    }

    /// Fees that are valued without a rate: in the quote asset, and in the base asset at the fills' prices.
    pub(super) fn fees(&self) -> Result<Decimal, ArithmeticError> {
        self.fees_quote.plus(self.base_fees_quote)
    }

    /// Realised and unrealised, less those fees: the same by every method. Absent without a mark.
    pub(super) fn pnl(&self, marks: &Rates) -> Result<Option<Decimal>, ArithmeticError> {
        let Some(worth) = self.worth(marks)? else { return Ok(None) };
        self.money_quote.plus(worth)?.minus(self.fees()?).map(Some)
    }

    /// What the fees in other assets are worth at these marks; absent where one has no rate.
    pub(super) fn other_fees_worth(&self, marks: &Rates) -> Result<Option<Decimal>, ArithmeticError> {
        let Some(pair) = &self.pair else { return Ok(Some(Decimal::ZERO)) };
        let (quote, none) = (pair.quote_asset(), Rates::default());
        let known = Known { observed: marks, supplied: &none };
        let mut sum = Decimal::ZERO;
        for (asset, fee) in &self.other_fees {
            let Some(worth) = known.observed_worth(*fee, asset, &quote)? else { return Ok(None) };
            sum = sum.plus(worth.abs())?;
        }
        Ok(Some(sum))
    }

    /// Of all marks those that its figures can need.
    pub(super) fn marks_needed(&self, marks: &Rates) -> Rates {
        let Some(pair) = &self.pair else { return Rates::default() };
        let quote = pair.quote_asset();
        let touches = |of: &Pair| {
            of == pair
                || [of.base_asset(), of.quote_asset()]
                    .iter()
                    .any(|asset| self.other_fees.contains_key(asset) || (*asset == quote && of.base() == "USDT"))
                || (of.base_asset() == quote && of.quote() == "USDT")
        };
        let mut needed = Rates::default();
        for (of, price) in marks.all().filter(|(of, _)| touches(of)) {
            needed.observe(of.clone(), price);
        }
        needed
    }
}
