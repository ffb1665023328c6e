//! What one asset was worth in another at a moment, by the rules of fee conversion (R6).

use std::collections::BTreeMap;

use events::{Asset, Decimal, Pair, Price, decimal::ArithmeticError};
use serde::{Deserialize, Serialize};

/// The last known price of each pair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rates(BTreeMap<Pair, Price>);

impl Rates {
    /// From now on the pair is worth this.
    pub fn observe(&mut self, pair: Pair, price: Price) {
        self.0.insert(pair, price);
    }

    /// The pair's own price, never an inverse or a cross: what a position is marked with.
    pub fn of(&self, pair: &Pair) -> Option<Price> {
        self.0.get(pair).copied()
    }

    /// Every pair and its price.
    pub fn all(&self) -> impl Iterator<Item = (&Pair, Price)> {
        self.0.iter().map(|(pair, price)| (pair, *price))
    }
}

/// The rates that are known at the moment of a fact.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub observed: &'a Rates,
    /// Rates that a person supplied, for fees that no observed one can value.
    pub supplied: &'a Rates,
}

impl Known<'_> {
    /// What this is worth in another asset at this moment; absent where no rate tells it.
    pub fn worth(&self, amount: Decimal, from: &Asset, into: &Asset) -> Result<Option<Decimal>, ArithmeticError> {
        match self.observed_worth(amount, from, into)? {
            None => convert(amount, from, into, |pair| self.observed.of(pair).or_else(|| self.supplied.of(pair))),
            some => Ok(some),
        }
    }

    /// The same by observed rates alone: a supplied rate is for fees and never a mark.
    pub fn observed_worth(
        &self,
        amount: Decimal,
        from: &Asset,
        into: &Asset,
    ) -> Result<Option<Decimal>, ArithmeticError> {
        convert(amount, from, into, |pair| self.observed.of(pair))
    }
}

/// The sum, if both are known: unknown is never zero.
pub fn sum_known(left: Option<Decimal>, right: Option<Decimal>) -> Result<Option<Decimal>, ArithmeticError> {
    left.zip(right).map(|(left, right)| left.plus(right)).transpose()
}

/// What `amount` of an asset is worth in another; absent where no rate tells it. One asset is worth itself; otherwise the
/// direct pair counts, else the inverse, else both legs over USDT, in that order. Rounded at most once, to 36 places.
pub fn convert(
    amount: Decimal,
    from: &Asset,
    into: &Asset,
    rate: impl Fn(&Pair) -> Option<Price>,
) -> Result<Option<Decimal>, ArithmeticError> {
    if from == into || amount.is_zero() {
        return Ok(Some(amount));
    }
    let Some(ratio) = one_leg(from, into, &rate).or_else(|| over_usdt(from, into, &rate)) else { return Ok(None) };
    let above = ratio.above.iter().try_fold(Decimal::ONE, |product, factor| product.times(*factor))?;
    let below = ratio.below.iter().try_fold(Decimal::ONE, |product, factor| product.times(*factor))?;
    if ratio.below.is_empty() { amount.times(above).map(Some) } else { amount.mul_div(above, below).map(Some) }
}

/// A rate as a fraction, so that two inverse legs are still divided once.
#[derive(Default)]
struct Ratio {
    above: Vec<Decimal>,
    below: Vec<Decimal>,
}

fn one_leg(from: &Asset, into: &Asset, rate: &impl Fn(&Pair) -> Option<Price>) -> Option<Ratio> {
    if let Some(direct) = rate(&Pair::of(from, into)) {
        return Some(Ratio { above: vec![direct.0], below: Vec::new() });
    }
    rate(&Pair::of(into, from)).map(|inverse| Ratio { above: Vec::new(), below: vec![inverse.0] })
}

fn over_usdt(from: &Asset, into: &Asset, rate: &impl Fn(&Pair) -> Option<Price>) -> Option<Ratio> {
    let usdt = Asset::usdt();
    if *from == usdt || *into == usdt {
        return None;
    }
    let mut ratio = one_leg(from, &usdt, rate)?;
    let second = one_leg(&usdt, into, rate)?;
    ratio.above.extend(second.above);
    ratio.below.extend(second.below);
    Some(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(amount: &str, from: &str, into: &str, rates: &[(&str, &str)]) -> Option<String> {
        let mut known = Rates::default();
        for (pair, price) in rates {
            known.observe(pair.parse().unwrap(), Price(price.parse().unwrap()));
        }
        let (from, into) = (from.parse().unwrap(), into.parse().unwrap());
        convert(amount.parse().unwrap(), &from, &into, |pair| known.of(pair)).unwrap().map(|worth| worth.to_string())
    }

    #[test]
    fn the_direct_pair_comes_before_the_inverse_and_that_before_two_legs() {
        let all = [("KCS-ETH", "0.004"), ("ETH-KCS", "200"), ("KCS-USDT", "12"), ("ETH-USDT", "2400")];
        assert_eq!(worth("2", "KCS", "ETH", &all).as_deref(), Some("0.008"));
        assert_eq!(worth("2", "KCS", "ETH", &all[1..]).as_deref(), Some("0.01"));
        assert_eq!(worth("2", "KCS", "ETH", &all[2..]).as_deref(), Some("0.01"));
        assert_eq!(worth("2", "KCS", "ETH", &all[3..]), None);
    }

    #[test]
    fn two_inverse_legs_are_divided_once() {
        let rates = [("USDT-KCS", "0.7"), ("ETH-USDT", "3")];
        assert_eq!(worth("1", "KCS", "ETH", &rates).as_deref(), Some("0.47619047619047619047619047619047619"));
    }

    #[test]
    fn an_asset_is_worth_itself_and_nothing_is_worth_nothing() {
        assert_eq!(worth("3", "USDC", "USDC", &[]).as_deref(), Some("3"));
        assert_eq!(worth("0", "XYZ", "USDT", &[]).as_deref(), Some("0"));
        assert_eq!(worth("1", "USDC", "USDT", &[]), None);
    }
}
