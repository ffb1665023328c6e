use events::{Amount, Exchange, Market, Uuid};
use proptest::prelude::*;

use super::*;

/// 2025-02-18 23:50:00 UTC: ten minutes before a midnight.
const START_MS: i64 = 1_739_922_600_000;

fn at(ms: i64) -> Time {
    Time::from_millis(START_MS + ms).unwrap()
}

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn venue() -> Venue {
    Venue { exchange: Exchange::Okx, market: Market::Spot, pair: "BTC-USDT".parse().unwrap() }
}

fn quotes() -> Quotes {
    Quotes::new(BotId(Uuid::from_u128(1)), venue(), at(0))
}

fn placed(order: &str, side: Side, price: &str, ms: i64) -> OrderEvent {
    let (order, price, amount) = (order.parse().unwrap(), Some(Price(d(price))), Amount(d("1")));
    OrderEvent::OrderPlaced { order, venue: venue(), side, price, amount, precision: None, at: at(ms) }
}

fn cancelled(order: &str, ms: i64) -> OrderEvent {
    OrderEvent::OrderCancelled { order: order.parse().unwrap(), venue: venue(), at: at(ms) }
}

/// The minutes of what is told: each one's two-sided, bid, ask and unknown seconds and its integral.
fn minutes(events: &[MarketEvent]) -> Vec<(u64, u64, u64, u64, Decimal)> {
    let of = |event: &MarketEvent| match event {
        MarketEvent::QuoteMinute { bid_us, ask_us, two_sided_us, unknown_us, spread_bps_us, .. } => Some((
            two_sided_us / 1_000_000,
            bid_us / 1_000_000,
            ask_us / 1_000_000,
            unknown_us / 1_000_000,
            *spread_bps_us,
        )),
        MarketEvent::QuoteObserved { .. } | MarketEvent::MarkObserved { .. } | MarketEvent::VolumeObserved { .. } => {
            None
        }
    };
    events.iter().filter_map(of).collect()
}

/// The changes of what is told: when, in seconds after the start, and the band.
fn changes(events: &[MarketEvent]) -> Vec<(i64, bool, bool, Option<u32>)> {
    let of = |event: &MarketEvent| match event {
        MarketEvent::QuoteObserved { bid, ask, band_bps, at: then, .. } => {
            Some(((then.micros() - at(0).micros()) / 1_000_000, bid.is_some(), ask.is_some(), *band_bps))
        }
        MarketEvent::QuoteMinute { .. } | MarketEvent::MarkObserved { .. } | MarketEvent::VolumeObserved { .. } => None,
    };
    events.iter().filter_map(of).collect()
}

#[test]
fn a_minute_sums_up_each_side_and_the_spread_by_exact_time() {
    let mut quotes = quotes();
    quotes.order(&placed("b", Side::Buy, "99", 0));
    quotes.order(&placed("a", Side::Sell, "101", 15_000));
    quotes.order(&cancelled("b", 45_000));
    let told = quotes.until(at(120_000));
    // 200 bps for 30 s.
    assert_eq!(minutes(&told), [(30, 45, 45, 0, d("6000000000")), (0, 0, 60, 0, Decimal::ZERO)]);
    assert_eq!(changes(&told), [(0, true, false, None), (15, true, true, Some(200)), (45, false, true, None)]);
}

#[test]
fn the_best_of_several_orders_counts_and_a_better_one_that_ends_gives_way() {
    let mut quotes = quotes();
    for (order, side, price) in [("b1", Side::Buy, "90"), ("b2", Side::Buy, "99"), ("a1", Side::Sell, "101")] {
        quotes.order(&placed(order, side, price, 0));
    }
    quotes.order(&cancelled("b2", 30_000));
    let told = quotes.until(at(60_000));
    assert_eq!(changes(&told), [(0, true, true, Some(200)), (30, true, true, None)]);
}

#[test]
fn an_order_that_takes_anothers_place_at_one_moment_leaves_no_hole() {
    let mut quotes = quotes();
    quotes.order(&placed("b1", Side::Buy, "99", 0));
    quotes.order(&placed("a1", Side::Sell, "101", 0));
    quotes.order(&cancelled("b1", 30_000));
    quotes.order(&placed("b2", Side::Buy, "99", 30_000));
    let told = quotes.until(at(60_000));
    assert_eq!(changes(&told), [(0, true, true, Some(200))]);
    assert_eq!(minutes(&told)[0].0, 60);
}

#[test]
fn while_the_broker_is_away_nothing_but_unknown_time_goes_by() {
    let mut quotes = quotes();
    quotes.order(&placed("b", Side::Buy, "99", 0));
    quotes.order(&placed("a", Side::Sell, "101", 0));
    quotes.deaf(at(20_000));
    quotes.hears(at(90_000));
    let told = quotes.until(at(120_000));
    let two_sided: Vec<_> = minutes(&told).iter().map(|minute| (minute.0, minute.3)).collect();
    assert_eq!(two_sided, [(20, 40), (30, 30)]);
    assert_eq!(changes(&told).last(), Some(&(90, true, true, Some(200))), "what stood before says nothing of now");
}

#[test]
fn an_order_from_before_the_silence_gives_way_to_a_new_one_of_its_side() {
    let mut quotes = quotes();
    quotes.order(&placed("b1", Side::Buy, "99.9", 0));
    quotes.deaf(at(1_000));
    quotes.hears(at(2_000));
    quotes.order(&placed("b2", Side::Buy, "99", 3_000));
    quotes.until(at(4_000));
    assert_eq!(quotes.best().bid, Some(Price(d("99"))));
}

#[test]
fn the_minute_before_it_was_looked_at_is_unknown_and_a_stopped_bot_quotes_nothing() {
    let mut quotes = Quotes::new(BotId(Uuid::from_u128(1)), venue(), at(40_000));
    quotes.order(&placed("b", Side::Buy, "99", 40_000));
    quotes.stopped(at(50_000));
    let told = quotes.until(at(120_000));
    assert_eq!(minutes(&told), [(0, 10, 0, 40, Decimal::ZERO), (0, 0, 0, 0, Decimal::ZERO)]);
}

#[test]
fn an_end_that_comes_before_its_beginning_is_no_quote_for_ever() {
    let mut quotes = quotes();
    quotes.order(&cancelled("b", 1_000));
    quotes.until(at(2_000));
    quotes.order(&placed("b", Side::Buy, "99", 1_000));
    let told = quotes.until(at(60_000));
    assert_eq!(minutes(&told)[0].1, 0);
}

#[test]
fn a_bot_that_changes_all_the_time_keeps_within_its_budget_and_its_minutes_say_what_is_left_out() {
    let mut quotes = Quotes::new(BotId(Uuid::from_u128(1)), venue(), at(600_000));
    quotes.order(&placed("a", Side::Sell, "101", 600_000));
    let mut told = Vec::new();
    // A whole day (UTC), a side that comes and goes each second, by turns for 1 s and 2 s.
    let day_ms = 86_400_000;
    for second in (0..day_ms / 1_000).step_by(3) {
        let order = format!("b{second}");
        quotes.order(&placed(&order, Side::Buy, "99", 600_000 + second * 1_000));
        quotes.order(&cancelled(&order, 600_000 + second * 1_000 + 1_000));
        told.extend(quotes.until(at(600_000 + (second + 3) * 1_000)));
    }
    assert_eq!(minutes(&told).len(), 1_440);
    // The last moment is of the next day.
    let of_day = |event: &&MarketEvent| event.at() < at(600_000 + day_ms);
    assert_eq!(told.iter().filter(of_day).count(), 5_000);
    assert!(minutes(&told).iter().all(|minute| minute.1 == 20 && minute.2 == 60));
    let left_out = told.iter().map(|event| match event {
        MarketEvent::QuoteMinute { changes_left_out, .. } => changes_left_out.unwrap_or_default(),
        MarketEvent::QuoteObserved { .. } | MarketEvent::MarkObserved { .. } | MarketEvent::VolumeObserved { .. } => 0,
    });
    // Every change is either told, left out, or still waiting to be told.
    let all = 2 * 28_800;
    let sum = left_out.sum::<u64>() + changes(&told).len() as u64;
    assert!((all - 2..=all).contains(&sum), "{sum} of {all}");
}

#[test]
fn a_spread_on_the_edge_of_a_band_is_within_it() {
    let of = |bid: &str, ask: &str| band(Price(d(bid)), Price(d(ask)));
    assert_eq!((of("99", "101"), of("98.99", "101"), of("9999.5", "10000.5")), (Some(200), Some(300), Some(1)));
    assert_eq!((of("50", "150"), of("101", "100")), (None, Some(1)));
}

/// A step of a made-up life: a moment in milliseconds, and what happens then.
#[derive(Debug, Clone)]
enum Step {
    Place(usize, bool, i64),
    End(usize),
    Deaf,
    Hears,
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let step = prop_oneof![
        6 => (0_usize..12, any::<bool>(), 1_i64..400).prop_map(|(order, buys, away)| Step::Place(order, buys, away)),
        5 => (0_usize..12).prop_map(Step::End),
        1 => Just(Step::Deaf),
        1 => Just(Step::Hears),
    ];
    prop::collection::vec((0_i64..300_000, step), 0..60)
}

/// Orders are named by step, so that none begins twice.
fn feed(quotes: &mut Quotes, steps: &[(i64, Step)]) {
    let mut names: [Option<String>; 12] = Default::default();
    for (n, (ms, step)) in steps.iter().enumerate() {
        match step {
            Step::Place(order, buys, away) => {
                let name = format!("o{n}");
                let (side, price) = match buys {
                    true => (Side::Buy, format!("{}", 100_000 - away)),
                    false => (Side::Sell, format!("{}", 100_000 + away)),
                };
                quotes.order(&placed(&name, side, &price, *ms));
                names[*order] = Some(name);
            }
            Step::End(order) => {
                if let Some(name) = names[*order].take() {
                    quotes.order(&cancelled(&name, *ms));
                }
            }
            Step::Deaf => quotes.deaf(at(*ms)),
            Step::Hears => quotes.hears(at(*ms)),
        }
    }
}

/// The sums of five minutes by looking at every millisecond, sharing no arithmetic with the sums: orders as a list.
fn by_brute_force(steps: &[(i64, Step)]) -> Vec<(u64, u64, u64, u64, Decimal)> {
    let mut all = Vec::new();
    let mut names: [Option<usize>; 12] = Default::default();
    for (n, (ms, step)) in steps.iter().enumerate() {
        match step {
            Step::Place(order, buys, away) => {
                all.push((*ms, n, Some((n, *buys, *away)), None));
                names[*order] = Some(n);
            }
            Step::End(order) => {
                if let Some(name) = names[*order].take() {
                    all.push((*ms, n, None, Some(name)));
                }
            }
            Step::Deaf => all.push((*ms, n, None, Some(usize::MAX))),
            Step::Hears => all.push((*ms, n, None, Some(usize::MAX - 1))),
        }
    }
    all.sort_by_key(|(ms, n, ..)| (*ms, *n));
    let mut live: Vec<(usize, bool, i64, bool)> = Vec::new();
    let mut ended: Vec<usize> = Vec::new();
    let (mut deaf, mut next, mut found) = (false, 0, Vec::new());
    for minute in 0..5 {
        let (mut both, mut bid, mut ask, mut unknown, mut integral) = (0, 0, 0, 0, Decimal::ZERO);
        let mut spread = (0, 0, Decimal::ZERO);
        for ms in minute * 60_000..(minute + 1) * 60_000 {
            while let Some((_, _, place, end)) = all.get(next).filter(|(at, ..)| *at <= ms) {
                next += 1;
                match (place, end) {
                    (Some((name, buys, away)), _) if !ended.contains(name) => {
                        live.retain(|(_, side, _, doubtful)| !(*doubtful && side == buys));
                        live.push((*name, *buys, *away, false));
                    }
                    (Some(_), _) | (None, None) => {}
                    (None, Some(usize::MAX)) => deaf = true,
                    (None, Some(name)) if *name == usize::MAX - 1 => {
                        deaf = false;
                        live.iter_mut().for_each(|order| order.3 = true);
                    }
                    (None, Some(name)) => {
                        live.retain(|(of, ..)| of != name);
                        ended.push(*name);
                    }
                }
            }
            if deaf {
                unknown += 1;
                continue;
            }
            let nearest = |buys: bool| live.iter().filter(|order| order.1 == buys).map(|order| order.2).min();
            bid += u64::from(nearest(true).is_some());
            ask += u64::from(nearest(false).is_some());
            if let (Some(below), Some(above)) = (nearest(true), nearest(false)) {
                both += 1;
                if (below, above) != (spread.0, spread.1) {
                    let middle = Decimal::from_int(200_000 + above - below);
                    let bps = Decimal::from_int(below + above).mul_div(Decimal::from_int(20_000), middle).unwrap();
                    spread = (below, above, bps);
                }
                integral = integral.plus(spread.2.times(Decimal::from_int(1_000)).unwrap()).unwrap();
            }
        }
        found.push((both, bid, ask, unknown, integral.normalised()));
    }
    found
}

/// Milliseconds, to compare with brute force.
fn exactly(events: &[MarketEvent]) -> Vec<(u64, u64, u64, u64, Decimal)> {
    let of = |event: &MarketEvent| match event {
        MarketEvent::QuoteMinute { bid_us, ask_us, two_sided_us, unknown_us, spread_bps_us, .. } => {
            Some((two_sided_us / 1_000, bid_us / 1_000, ask_us / 1_000, unknown_us / 1_000, *spread_bps_us))
        }
        MarketEvent::QuoteObserved { .. } | MarketEvent::MarkObserved { .. } | MarketEvent::VolumeObserved { .. } => {
            None
        }
    };
    events.iter().filter_map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn minutes_are_what_brute_force_finds_however_they_are_asked_for(
        steps in steps(),
        mut splits in prop::collection::vec(0_i64..300_000, 0..12),
    ) {
        let mut whole = quotes();
        feed(&mut whole, &steps);
        let at_once = whole.until(at(300_000));
        prop_assert_eq!(exactly(&at_once), by_brute_force(&steps));

        let mut split = quotes();
        feed(&mut split, &steps);
        splits.sort_unstable();
        let mut in_parts = Vec::new();
        for ms in splits.into_iter().chain([300_000]) {
            in_parts.extend(split.until(at(ms)));
        }
        prop_assert_eq!(in_parts, at_once);
    }
}
