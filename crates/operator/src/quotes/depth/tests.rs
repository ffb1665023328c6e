//! Depth, tried: against a book that is counted level by level.

use events::{Amount, Pair};
use proptest::prelude::*;

use super::*;

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn book(bids: &[(&str, &str)], asks: &[(&str, &str)]) -> OrderBook {
    let level = |(price, amount): &(&str, &str)| Level { price: Price(d(price)), amount: Amount(d(amount)) };
    let pair: Pair = "BTC-USDT".parse().unwrap();
    OrderBook { pair, bids: bids.iter().map(level).collect(), asks: asks.iter().map(level).collect(), at: Time::EPOCH }
}

/// What stands within so many bps of a book, of which 3 levels a side were asked for.
fn check(look: &Look, bps: u32, then: Option<(&str, &str)>) {
    let found = look.within.get(&bps).map(|of| (of.bid_quote, of.ask_quote));
    assert_eq!(found, then.map(|(bid, ask)| (d(bid), d(ask))), "within {bps} bps");
}

#[test]
fn depth_is_what_stands_within_each_step_on_either_side_and_its_edge_belongs_to_it() {
    let look = Look::at(&book(&[("99.9", "1"), ("99.5", "2")], &[("100.1", "3"), ("101", "4")]), 3).unwrap();
    assert_eq!(look.middle, Some(Price(d("100"))));
    check(&look, 5, Some(("0", "0")));
    check(&look, 10, Some(("99.9", "300.3")));
    check(&look, 50, Some(("298.9", "300.3")));
    check(&look, 75, Some(("298.9", "300.3")));
    check(&look, 100, Some(("298.9", "704.3")));
    check(&look, 1_000, Some(("298.9", "704.3")));
}

#[test]
fn beyond_the_last_level_of_a_full_page_nothing_is_known() {
    let bids = [("99.9", "1"), ("99.8", "1"), ("99.5", "1")];
    let look = Look::at(&book(&bids, &[("100.1", "1")]), 3).unwrap();
    check(&look, 30, Some(("199.7", "100.1")));
    check(&look, 50, None);
    check(&look, 1_000, None);
    let whole = Look::at(&book(&bids, &[("100.1", "1")]), 4).unwrap();
    check(&whole, 1_000, Some(("299.2", "100.1")));
}

#[test]
fn a_book_with_an_empty_side_has_no_middle_and_numbers_without_end_are_none() {
    let look = Look::at(&book(&[("99.9", "1")], &[]), 3).unwrap();
    assert_eq!((look.middle, look.within.len()), (None, 0));
    let long = "9".repeat(40);
    assert_eq!(Look::at(&book(&[("99.9", "1")], &[("100.1", &long), ("100.2", &format!("0.{long}"))]), 3), None);
}

#[test]
fn a_depth_stands_on_the_highest_step_of_the_ladder_that_it_reaches() {
    let of = |text: &str| rung(d(text)).map(|rung| (rung.of, rung.power));
    assert_eq!((of("0"), of("1"), of("1.99"), of("2")), (None, Some((1, 0)), Some((1, 0)), Some((2, 0))));
    assert_eq!((of("49999.9"), of("50000"), of("99999.99")), (Some((2, 4)), Some((5, 4)), Some((5, 4))));
    assert_eq!((of("0.0051"), of("1000000000"), of("0.3")), (Some((5, -3)), Some((1, 9)), Some((2, -1))));
}

#[test]
fn a_look_is_believed_for_three_looks_and_no_longer() {
    let mut depth = Depth::new(Time::EPOCH, 0);
    depth.see(Look::at(&book(&[("99", "1")], &[("101", "1")]), 3).unwrap(), Time::EPOCH);
    assert_eq!(depth.ends(), Some(Time::EPOCH.plus_micros(15_000_000)));
    depth.sum(1_000_000, None);
    depth.end();
    depth.sum(1_000_000, None);
    let (minute, _) = depth.close().unwrap();
    assert_eq!((minute.known_us, minute.own_known_us), (1_000_000, 0));
    assert!(depth.close().is_none(), "a minute in which nothing was known says nothing");
}

/// Prices and amounts, best first.
type Side = Vec<(i64, i64)>;

/// A book of whole numbers, and how many levels were asked for.
fn any_book() -> impl Strategy<Value = (Side, Side, usize)> {
    let side = || prop::collection::vec((0_i64..40, 1_i64..1_000), 0..12);
    (side(), side(), 1_usize..14).prop_map(|(mut bids, mut asks, asked)| {
        bids.iter_mut().for_each(|level| level.0 = 9_999 - level.0 * 7);
        asks.iter_mut().for_each(|level| level.0 = 10_001 + level.0 * 7);
        bids.sort_by_key(|level| -level.0);
        asks.sort_by_key(|level| level.0);
        bids.truncate(asked);
        asks.truncate(asked);
        (bids, asks, asked)
    })
}

proptest! {
    #[test]
    fn every_step_is_what_counting_level_by_level_finds((bids, asks, asked) in any_book()) {
        let levels = |side: &[(i64, i64)]| -> Vec<Level> {
            side.iter().map(|(price, amount)| Level { price: Price(Decimal::from_int(*price)), amount: Amount(Decimal::from_int(*amount)) }).collect()
        };
        let told = OrderBook { bids: levels(&bids), asks: levels(&asks), ..book(&[], &[]) };
        let Some(look) = Look::at(&told, asked) else {
            prop_assert!(bids.is_empty() && asks.is_empty());
            return Ok(());
        };
        if bids.is_empty() || asks.is_empty() {
            prop_assert_eq!(look, Look { best: None, middle: None, within: BTreeMap::new(), slippage: BTreeMap::new() });
            return Ok(());
        }
        // In doubled prices: the middle is a whole number.
        let middle = bids[0].0 + asks[0].0;
        for bps in GRID_BPS {
            let near = |price: i64| (2 * price - middle).abs() * 10_000 <= i64::from(bps) * middle;
            let sum = |side: &[(i64, i64)]| side.iter().filter(|level| near(level.0)).map(|(price, amount)| price * amount).sum::<i64>();
            let seen = |side: &[(i64, i64)]| side.len() < asked || side.iter().any(|level| !near(level.0));
            let expected = (seen(&bids) && seen(&asks)).then(|| (Decimal::from_int(sum(&bids)), Decimal::from_int(sum(&asks))));
            prop_assert_eq!(look.within.get(&bps).map(|of| (of.bid_quote, of.ask_quote)), expected, "within {} bps", bps);
        }
    }
}
