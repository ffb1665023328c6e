//! Balances, tried: what a ledger explains and what it does not.

use events::{
    Amount, BotId, Price,
    ledger::{Fee, FeeKind, Liquidity},
};
use proptest::prelude::*;

use super::*;
use crate::told::at;

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn client() -> ClientId {
    ClientId(Uuid::from_u128(7))
}

fn bought(second: i64, amount: &str, price: &str, fees: Option<(&str, &str)>) -> Fill {
    Fill {
        bot: BotId(Uuid::from_u128(1)),
        account: "acme".parse().unwrap(),
        exchange: Exchange::Kucoin,
        market: Market::Spot,
        pair: "SOL-USDT".parse().unwrap(),
        side: Side::Buy,
        price: Price(d(price)),
        amount: Amount(d(amount)),
        fees: fees
            .map(|(amount, asset)| vec![Fee { asset: asset.parse().unwrap(), amount: d(amount), kind: FeeKind::Fee }]),
        liquidity: Liquidity::Maker,
        order: Some("o1".parse().unwrap()),
        trade: format!("t{second}").parse().unwrap(),
        at: at(second),
        mid_at_fill: None,
        source: "test".into(),
        precision: None,
        raw_hash: None,
    }
}

#[derive(Clone)]
enum Told {
    Seen(&'static str, &'static str, i64),
    Fact(Box<LedgerEvent>),
    Renewed(i64),
}

fn seen(asset: &'static str, total: &'static str, second: i64) -> Told {
    Told::Seen(asset, total, second)
}

fn filled(fill: Fill) -> Told {
    Told::Fact(Box::new(LedgerEvent::FillRecorded(fill)))
}

fn on(market: Market, given: &[Told]) -> Balances {
    let mut balances = Balances::default();
    for told in given.iter().cloned() {
        match told {
            Told::Seen(asset, total, second) => {
                let of = (Exchange::Kucoin, market, asset.parse().unwrap());
                balances.observe(client(), of, d(total), at(second)).unwrap();
            }
            Told::Fact(fact) => balances.count(&fact).unwrap(),
            Told::Renewed(second) => {
                let credential = CredentialId::of(client(), Exchange::Kucoin, Market::Spot).to_string();
                balances.renew(client(), &credential, at(second));
            }
        }
    }
    balances
}

fn compared(balances: Balances, asset: &str) -> Balance {
    let held = balances.held.into_values().find(|held| held.asset.as_str() == asset).unwrap();
    held.compared(false, false).unwrap()
}

/// The difference of an asset, and what nothing explains of it.
fn check(given: &[Told], asset: &str, difference: &str, unexplained: Option<&str>) {
    let found = compared(on(Market::Spot, given), asset);
    assert_eq!((found.difference, found.unexplained), (Some(d(difference)), unexplained.map(d)), "{found:?}");
}

#[test]
fn fills_their_fees_and_transfers_explain_a_balance_whenever_they_are_told() {
    let first = || vec![seen("SOL", "10", 0), seen("USDT", "1000", 0), seen("KCS", "5", 0)];
    let last = || vec![seen("SOL", "11.998", 120), seen("USDT", "1050", 120), seen("KCS", "4.9", 120)];
    let fact = |asset: &str, amount: &str| LedgerEvent::TransferRecorded {
        exchange: Exchange::Kucoin,
        account: "acme".parse().unwrap(),
        asset: asset.parse().unwrap(),
        amount: d(amount),
        transfer: "x".parse().unwrap(),
        at: at(50),
    };
    let facts = || {
        vec![
            filled(bought(60, "2", "100", Some(("0.002", "SOL")))),
            filled(bought(65, "0", "100", Some(("0.1", "KCS")))),
            Told::Fact(Box::new(fact("USDT", "250"))),
        ]
    };
    for given in [[first(), facts(), last()].concat(), [first(), last(), facts()].concat()] {
        for asset in ["SOL", "USDT", "KCS"] {
            check(&given, asset, "0", Some("0"));
        }
    }
    // What happened before the first look is in it.
    check(&[first(), vec![filled(bought(-60, "2", "100", None))]].concat(), "SOL", "0", Some("0"));
}

#[test]
fn what_no_fact_of_ours_tells_is_left_unexplained_with_its_sign() {
    let taken = [seen("SOL", "10", 0), filled(bought(60, "2", "100", Some(("0", "SOL")))), seen("SOL", "9", 120)];
    // Binary fractions may hide a part of a thousand billionth.
    let found = compared(on(Market::Spot, &taken), "SOL");
    assert_eq!(found.difference, Some(d("-3")));
    let left = found.unexplained.unwrap();
    assert!(left < d("-2.999999999999") && left >= d("-3"), "{left}");
}

#[test]
fn what_is_close_to_a_look_cut_or_unknown_is_a_cause_of_its_own() {
    let near = [seen("SOL", "10", 0), seen("SOL", "10", 120), filled(bought(115, "2", "100", Some(("0", "SOL"))))];
    check(&near, "SOL", "-2", Some("0"));
    let not_near = [seen("SOL", "10", 0), seen("SOL", "10", 120), filled(bought(105, "2", "100", Some(("0", "SOL"))))];
    assert!(compared(on(Market::Spot, &not_near), "SOL").unexplained.unwrap().is_negative());
    let cut = Fill { precision: Some(Precision::SixPlaces), ..bought(60, "2", "100", Some(("0", "SOL"))) };
    let cut = [
        seen("SOL", "10", 0),
        seen("USDT", "1000", 0),
        filled(cut),
        seen("SOL", "12.0000009", 120),
        seen("USDT", "800.0001", 120),
    ];
    check(&cut, "SOL", "0.0000009", Some("0"));
    check(&cut, "USDT", "0.0001", Some("0"));
    let unknown = [seen("SOL", "10", 0), filled(bought(60, "2", "100", None)), seen("SOL", "11.9", 120)];
    check(&unknown, "SOL", "-0.1", None);
}

#[test]
fn a_perpetuals_balance_is_told_and_not_compared() {
    let found = compared(on(Market::Perp, &[seen("USDT", "1000", 0), seen("USDT", "900", 120)]), "USDT");
    assert_eq!((found.observed, found.ours, found.difference, found.unexplained), (d("900"), None, None, None));
    assert_eq!(found.because.last().unwrap().cause, Cause::Method);
    let beside = on(Market::Spot, &[seen("USDT", "1000", 0), seen("USDT", "900", 120)]).held.into_values().next();
    assert_eq!(beside.unwrap().compared(false, true).unwrap().unexplained, None, "it may be one wallet");
}

#[test]
fn another_key_may_be_of_another_account_and_begins_anew() {
    let given = [seen("SOL", "10", 0), seen("SOL", "10", 60), Told::Renewed(70), seen("SOL", "500", 120)];
    let found = compared(on(Market::Spot, &given), "SOL");
    assert_eq!((found.first, found.difference), (d("500"), Some(d("0"))));
}

proptest! {
    #[test]
    fn in_whatever_order_fills_are_told_each_counts_between_the_looks_once(
        seconds in prop::collection::vec(-100_i64..400, 0..60),
        looks in prop::collection::btree_set(1_i64..400, 1..8),
        shuffle in any::<u64>(),
    ) {
        let mut told: Vec<Told> = looks.iter().map(|second| seen("SOL", "10", *second)).collect();
        told.insert(0, seen("SOL", "10", 0));
        // Facts come at any place after the first look.
        for (n, second) in seconds.iter().enumerate() {
            let place = 1 + usize::try_from(shuffle.rotate_left(n as u32 * 7) % told.len() as u64).unwrap();
            told.insert(place, filled(bought(*second, "1", "100", Some(("0", "SOL")))));
        }
        let last = looks.iter().max().unwrap();
        let between = seconds.iter().filter(|second| **second > 0 && *second <= last).count();
        let found = compared(on(Market::Spot, &told), "SOL");
        prop_assert_eq!(found.ours, Some(Decimal::from_int(between as i64)));
    }
}
