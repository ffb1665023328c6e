use events::{Amount, Exchange, Market, Uuid, market::DepthSum};
use hummingbot::{Level, OrderBook};
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
    begun(0, Beginning::default())
}

fn begun(ms: i64, beginning: Beginning) -> Quotes {
    Quotes::new(BotId(Uuid::from_u128(1)), venue(), at(ms), beginning)
}

fn placed(order: &str, side: Side, price: &str, ms: i64) -> OrderEvent {
    placed_for(order, side, d(price), d("1"), ms)
}

fn placed_for(order: &str, side: Side, price: Decimal, amount: Decimal, ms: i64) -> OrderEvent {
    let (order, price, amount) = (order.parse().unwrap(), Some(Price(price)), Amount(amount));
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
        MarketEvent::QuoteObserved { .. }
        | MarketEvent::QuotesUnknown { .. }
        | MarketEvent::DepthObserved { .. }
        | MarketEvent::DepthMinute { .. }
        | MarketEvent::MarkObserved { .. }
        | MarketEvent::VolumeObserved { .. } => None,
    };
    events.iter().filter_map(of).collect()
}

/// The changes of what is told: when, in seconds after the start, and the band.
fn changes(events: &[MarketEvent]) -> Vec<(i64, bool, bool, Option<u32>)> {
    let of = |event: &MarketEvent| match event {
        MarketEvent::QuoteObserved { bid, ask, band_bps, at: then, .. } => {
            Some(((then.micros() - at(0).micros()) / 1_000_000, bid.is_some(), ask.is_some(), *band_bps))
        }
        MarketEvent::QuoteMinute { .. }
        | MarketEvent::QuotesUnknown { .. }
        | MarketEvent::DepthObserved { .. }
        | MarketEvent::DepthMinute { .. }
        | MarketEvent::MarkObserved { .. }
        | MarketEvent::VolumeObserved { .. } => None,
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
fn the_minute_is_unknown_before_it_was_looked_at_and_after_the_bot_stopped() {
    let mut quotes = begun(40_000, Beginning::default());
    quotes.order(&placed("b", Side::Buy, "99", 40_000));
    quotes.stopped(at(50_000));
    let told = quotes.until(at(120_000));
    assert_eq!(minutes(&told), [(0, 10, 0, 50, Decimal::ZERO)]);
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
    let mut quotes = begun(600_000, Beginning::default());
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
    // What is left of the budget is for the depth of its book: its minutes, and a change in two minutes.
    assert_eq!(told.iter().filter(of_day).count(), 5_000 - 1_440 - 720);
    assert!(minutes(&told).iter().all(|minute| minute.1 == 20 && minute.2 == 60));
    let left_out = told.iter().map(|event| match event {
        MarketEvent::QuoteMinute { changes_left_out, .. } => changes_left_out.unwrap_or_default(),
        MarketEvent::QuoteObserved { .. }
        | MarketEvent::QuotesUnknown { .. }
        | MarketEvent::DepthObserved { .. }
        | MarketEvent::DepthMinute { .. }
        | MarketEvent::MarkObserved { .. }
        | MarketEvent::VolumeObserved { .. } => 0,
    });
    // Every change is either told, left out, or still waiting to be told.
    let all = 2 * 28_800;
    let sum = left_out.sum::<u64>() + changes(&told).len() as u64;
    assert!((all - 2..=all).contains(&sum), "{sum} of {all}");
}

#[test]
fn orders_that_rest_already_quote_from_the_beginning_and_give_way_to_new_ones() {
    let resting = |order: &str, side, price: &str| {
        let (order, price, left) = (order.parse().unwrap(), Price(d(price)), d("1"));
        Resting { order, side, price, left }
    };
    let resting = vec![resting("b1", Side::Buy, "99"), resting("a1", Side::Sell, "101")];
    let mut quotes = begun(10_000, Beginning { resting, ..Beginning::default() });
    quotes.order(&cancelled("a1", 20_000));
    quotes.order(&placed("b2", Side::Buy, "98", 30_000));
    let told = quotes.until(at(60_000));
    assert_eq!(minutes(&told), [(10, 50, 10, 10, d("2000000000"))]);
    assert_eq!(changes(&told), [(10, true, true, Some(200)), (20, true, false, None)]);
    assert_eq!(quotes.best().bid, Some(Price(d("98"))));
}

#[test]
fn a_days_budget_goes_on_where_somebody_else_stopped_and_the_next_day_has_its_own() {
    // Ten minutes before a midnight.
    let told = |quotes_told, depths_told| {
        let mut quotes = begun(0, Beginning { quotes_told, depths_told, ..Beginning::default() });
        for (order, minute) in [("b1", 1), ("b2", 3), ("b3", 11)] {
            quotes.order(&placed(order, Side::Buy, "99", minute * 60_000));
            quotes.order(&cancelled(order, minute * 60_000 + 20_000));
            quotes.book(book(100, 3, true), at(minute * 60_000));
        }
        let told = quotes.until(at(720_000));
        let left_out = told.iter().map(|event| match event {
            MarketEvent::QuoteMinute { changes_left_out, .. } => changes_left_out.unwrap_or_default(),
            MarketEvent::QuoteObserved { .. }
            | MarketEvent::QuotesUnknown { .. }
            | MarketEvent::DepthObserved { .. }
            | MarketEvent::DepthMinute { .. }
            | MarketEvent::MarkObserved { .. }
            | MarketEvent::VolumeObserved { .. } => 0,
        });
        (changes(&told).len(), depths(&told).len(), left_out.sum::<u64>())
    };
    assert_eq!(told(0, 0), (6, 3, 0));
    assert_eq!(told(1_397, 719), (5, 2, 1));
    assert_eq!(told(1_400, 720), (2, 1, 4));
}

#[test]
fn a_spread_on_the_edge_of_a_band_is_within_it() {
    let of = |bid: &str, ask: &str| band(Price(d(bid)), Price(d(ask)));
    assert_eq!((of("99", "101"), of("98.99", "101"), of("9999.5", "10000.5")), (Some(200), Some(300), Some(1)));
    assert_eq!((of("50", "150"), of("101", "100")), (None, Some(1)));
}

#[test]
fn quotes_that_are_wider_than_every_step_are_measured_and_within_none() {
    let mut quotes = quotes();
    quotes.order(&placed("b", Side::Buy, "90", 0));
    quotes.order(&placed("a", Side::Sell, "110", 0));
    let told = quotes.until(at(60_000));
    let bands = told.iter().find_map(|event| {
        let MarketEvent::QuoteMinute { band_us, .. } = event else { return None };
        Some(band_us.clone())
    });
    assert_eq!(bands, Some([(1_000, 0)].into()));
}

#[test]
fn orders_that_may_be_gone_are_believed_for_two_hours_unless_their_side_has_a_new_one() {
    let unknown = |events: &[MarketEvent]| minutes(events).iter().map(|minute| minute.3).collect::<Vec<_>>();
    let mut quotes = quotes();
    quotes.order(&placed("b", Side::Buy, "99", 0));
    quotes.order(&placed("a", Side::Sell, "101", 0));
    quotes.deaf(at(30_000));
    quotes.hears(at(60_000));
    // Its bids are placed anew, its asks never are.
    quotes.order(&placed("c", Side::Buy, "99", 120_000));
    let told = quotes.until(at(123 * 60_000));
    assert_eq!(unknown(&told), [&[30][..], &[0; 120], &[60, 60]].concat());
    let gone = told.iter().filter(|event| matches!(event, MarketEvent::QuotesUnknown { .. })).count();
    assert_eq!(gone, 2, "the broker went, and then nobody could tell any more");
    quotes.order(&placed("d", Side::Sell, "101", 123 * 60_000 + 30_000));
    let told = quotes.until(at(125 * 60_000));
    assert_eq!((unknown(&told), changes(&told).len()), (vec![30, 0], 1));
}

#[test]
fn a_bot_that_is_alone_in_its_market_and_takes_its_asks_back_has_no_depth_there() {
    let mut quotes = quotes();
    quotes.order(&placed("b", Side::Buy, "99900", 0));
    quotes.order(&placed("a", Side::Sell, "100100", 0));
    let own = |events: &[MarketEvent]| {
        events.iter().find_map(|event| {
            let MarketEvent::DepthMinute { known_us, own_known_us, within, .. } = event else { return None };
            let DepthSum { own_bid_quote_us, own_ask_quote_us, .. } = within[&200];
            Some((*known_us, *own_known_us, own_bid_quote_us, own_ask_quote_us))
        })
    };
    (0..6).for_each(|n| quotes.book(book(100, 1, true), at(n * 10_000)));
    let both = own(&quotes.until(at(60_000))).unwrap();
    assert_eq!(both, (60_000_000, 60_000_000, d("5994000000000"), d("6006000000000")));
    quotes.order(&cancelled("a", 60_000));
    let bids_only = OrderBook { asks: Vec::new(), ..order_book(100, 1) };
    (6..12).for_each(|n| quotes.book(Look::at(&bids_only, 10).unwrap(), at(n * 10_000)));
    let bids = own(&quotes.until(at(120_000))).unwrap();
    assert_eq!(bids, (60_000_000, 60_000_000, d("5994000000000"), d("0")));
    assert!(Look::at(&OrderBook { bids: Vec::new(), ..bids_only }, 10).is_none());
}

/// A book of one level a side, so far from 100,000, so deep, and whether that is all of it.
fn book(away: i64, amount: i64, is_whole: bool) -> Look {
    Look::at(&order_book(away, amount), if is_whole { 2 } else { 1 }).unwrap()
}

fn order_book(away: i64, amount: i64) -> OrderBook {
    let level =
        |price: i64| Level { price: Price(Decimal::from_int(price)), amount: Amount(Decimal::from_int(amount)) };
    let (bids, asks) = (vec![level(100_000 - away)], vec![level(100_000 + away)]);
    OrderBook { pair: venue().pair, bids, asks, at: Time::EPOCH }
}

/// The changes of depth that are told: when, in seconds after the start, and what is bid within 100 bps.
fn depths(events: &[MarketEvent]) -> Vec<(i64, Option<Decimal>)> {
    let of = |event: &MarketEvent| match event {
        MarketEvent::DepthObserved { within, at: then, .. } => {
            Some(((then.micros() - at(0).micros()) / 1_000_000, within.get(&100).map(|of| of.bid_quote)))
        }
        MarketEvent::QuoteObserved { .. }
        | MarketEvent::QuotesUnknown { .. }
        | MarketEvent::QuoteMinute { .. }
        | MarketEvent::DepthMinute { .. }
        | MarketEvent::MarkObserved { .. }
        | MarketEvent::VolumeObserved { .. } => None,
    };
    events.iter().filter_map(of).collect()
}

#[test]
fn a_book_is_told_when_it_moves_into_another_band_and_at_most_once_in_two_minutes() {
    let mut quotes = quotes();
    let mut look = |second: i64, away, amount| quotes.book(book(away, amount, true), at(second * 1_000));
    look(0, 100, 3);
    look(10, 100, 4);
    look(20, 100, 30);
    look(30, 600, 30);
    look(130, 600, 30);
    look(140, 100, 30);
    look(150, 600, 30);
    let told = quotes.until(at(400_000));
    let bid = |text: &str| Some(d(text));
    // 299,700 and 399,600 stand on one step of the ladder; the way there and back again is nothing to tell.
    assert_eq!(depths(&told), [(0, bid("299700")), (130, bid("2982000"))]);
}

#[test]
fn how_much_of_the_book_is_its_own_follows_its_fills_whenever_they_are_told() {
    let mut quotes = quotes();
    let fill = |quotes: &mut Quotes, trade: &str, amount: &str, ms: i64| {
        quotes.filled("b".parse().unwrap(), trade.parse().unwrap(), Amount(d(amount)), at(ms));
    };
    quotes.book(book(100, 3, true), at(0));
    fill(&mut quotes, "t1", "0.25", 0);
    quotes.order(&placed("b", Side::Buy, "99900", 1));
    fill(&mut quotes, "t2", "0.5", 5_000);
    fill(&mut quotes, "t2", "0.5", 6_000);
    quotes.order(&cancelled("b", 10_000));
    let told = quotes.until(at(60_000));
    let MarketEvent::DepthMinute { known_us, own_known_us, within, .. } = told.last().unwrap() else { panic!() };
    assert_eq!((*known_us, *own_known_us), (15_000_000, 15_000_000));
    // 0.75 from the first millisecond on, 0.25 from the fifth second.
    let own =
        d("99900").times(d("0.75").times(d("4999000")).unwrap().plus(d("0.25").times(d("5000000")).unwrap()).unwrap());
    assert_eq!(within[&100].own_bid_quote_us, own.unwrap());
    assert_eq!((within[&5].own_bid_quote_us, within[&100].own_ask_quote_us), (Decimal::ZERO, Decimal::ZERO));
}

#[test]
fn that_nobody_can_tell_any_more_is_told_and_so_is_how_it_is_when_somebody_can() {
    let mut quotes = quotes();
    quotes.order(&placed("b", Side::Buy, "99", 1_000));
    quotes.order(&placed("a", Side::Sell, "101", 1_000));
    quotes.deaf(at(20_000));
    quotes.deaf(at(21_000));
    quotes.hears(at(25_000));
    let told = quotes.until(at(60_000));
    let unknown = |event: &MarketEvent| matches!(event, MarketEvent::QuotesUnknown { .. });
    assert_eq!(told.iter().filter(|event| unknown(event)).map(MarketEvent::at).collect::<Vec<_>>(), [at(20_000)]);
    assert_eq!(changes(&told), [(1, true, true, Some(200)), (25, true, true, Some(200))]);
    let Some(MarketEvent::QuoteMinute { bid, ask, unknown_us: 5_000_000, .. }) = told.last() else {
        panic!("no minute: {told:?}")
    };
    assert_eq!((*bid, *ask), (Some(Price(d("99"))), Some(Price(d("101")))));
}

#[test]
fn of_the_rest_of_the_minute_in_which_it_stopped_and_of_those_after_it_nothing_is_known() {
    let mut quotes = quotes();
    quotes.order(&placed("b", Side::Buy, "99", 0));
    quotes.stopped(at(59_500));
    let told = quotes.until(at(240_000));
    assert_eq!(minutes(&told), [(0, 59, 0, 0, Decimal::ZERO)]);
    let Some(MarketEvent::QuoteMinute { unknown_us, .. }) = told.last() else { panic!("no minute: {told:?}") };
    assert_eq!(*unknown_us, 500_000);
}

#[test]
fn own_orders_are_measured_further_out_than_the_book_is_seen_and_so_is_how_large_they_are() {
    let mut quotes = quotes();
    // 999 away from 100,000: within 100 bps, where the book is seen no further than 10.
    quotes.order(&placed_for("b", Side::Buy, d("99001"), d("0.3"), 0));
    quotes.order(&placed_for("a", Side::Sell, d("100999"), d("0.6"), 0));
    quotes.book(book(10, 3, false), at(0));
    quotes.order(&cancelled("b", 10_000));
    let told = quotes.until(at(60_000));
    let Some(MarketEvent::DepthMinute { within, sized_us, middles, own_known_us, .. }) = told.last() else {
        panic!("no minute: {told:?}")
    };
    assert_eq!((within[&100].own_bid_quote_us, *own_known_us), (d("297003000000"), 15_000_000));
    assert_eq!(within[&100].beyond_us, 15_000_000);
    assert!(!within.contains_key(&50));
    // 29,700.3 on the thinner side, for ten of the fifteen seconds that the look is believed.
    assert_eq!(sized_us[&100], [(d("20000"), 10_000_000)].into());
    assert_eq!(*middles, [(0, Price(d("100000")))].into());
}

/// A step of a made-up life: a moment in milliseconds, and what happens then.
#[derive(Debug, Clone)]
enum Step {
    Place(usize, bool, i64),
    Fill(usize, u8),
    End(usize),
    Book(i64, i64, bool),
    Deaf,
    Hears,
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let step = prop_oneof![
        6 => (0_usize..12, any::<bool>(), 1_i64..400).prop_map(|(order, buys, away)| Step::Place(order, buys, away)),
        3 => (0_usize..12, 0_u8..6).prop_map(|(order, trade)| Step::Fill(order, trade)),
        5 => (0_usize..12).prop_map(Step::End),
        6 => (1_i64..400, 1_i64..40, any::<bool>()).prop_map(|(away, amount, is_whole)| Step::Book(away, amount, is_whole)),
        1 => Just(Step::Deaf),
        1 => Just(Step::Hears),
    ];
    prop::collection::vec(((0_i64..300_000 / GLANCE_MS).prop_map(|glance| glance * GLANCE_MS), step), 0..60)
}

/// How much each order is for; each fill is of one.
const WHOLE: i64 = 4;
/// Everything happens at whole multiples of it, so that looking so often misses nothing.
const GLANCE_MS: i64 = 10;

/// Orders are named by step, so that none begins twice.
fn feed(quotes: &mut Quotes, steps: &[(i64, Step)]) {
    let mut names: [Option<String>; 12] = Default::default();
    for (n, (ms, step)) in steps.iter().enumerate() {
        match step {
            Step::Place(order, buys, away) => {
                let name = format!("o{n}");
                let (side, price) = match buys {
                    true => (Side::Buy, 100_000 - away),
                    false => (Side::Sell, 100_000 + away),
                };
                quotes.order(&placed_for(&name, side, Decimal::from_int(price), Decimal::from_int(WHOLE), *ms));
                names[*order] = Some(name);
            }
            Step::Fill(order, trade) => {
                if let Some(name) = &names[*order] {
                    let trade = format!("{name}-{trade}").parse().unwrap();
                    quotes.filled(name.parse().unwrap(), trade, Amount(Decimal::ONE), at(*ms));
                }
            }
            Step::End(order) => {
                if let Some(name) = names[*order].take() {
                    quotes.order(&cancelled(&name, *ms));
                }
            }
            Step::Book(away, amount, is_whole) => quotes.book(book(*away, *amount, *is_whole), at(*ms)),
            Step::Deaf => quotes.deaf(at(*ms)),
            Step::Hears => quotes.hears(at(*ms)),
        }
    }
}

/// A minute as it is found by looking again and again, in milliseconds: two-sided, bid, ask and unknown time, and the spread's integral.
type QuoteSums = (u64, u64, u64, u64, Decimal);
/// Known and own known time, and of each step the integrals of bids, asks, own bids, own asks, and the time beyond.
type DepthSums = (u64, u64, BTreeMap<u32, [i128; 5]>);

#[derive(Debug, Clone, Copy)]
enum Happens {
    Placed(usize, bool, i64),
    Filled(usize, u8),
    Ended(usize),
    Book(i64, i64, bool),
    Deaf,
    Hears,
}

/// What happens, in order of time, orders by the step that placed them.
fn happenings(steps: &[(i64, Step)]) -> Vec<(i64, Happens)> {
    let mut names: [Option<usize>; 12] = Default::default();
    let mut all = Vec::new();
    for (n, (ms, step)) in steps.iter().enumerate() {
        let happens = match step {
            Step::Place(order, buys, away) => {
                names[*order] = Some(n);
                Some(Happens::Placed(n, *buys, *away))
            }
            Step::Fill(order, trade) => names[*order].map(|name| Happens::Filled(name, *trade)),
            Step::End(order) => names[*order].take().map(Happens::Ended),
            Step::Book(away, amount, is_whole) => Some(Happens::Book(*away, *amount, *is_whole)),
            Step::Deaf => Some(Happens::Deaf),
            Step::Hears => Some(Happens::Hears),
        };
        all.extend(happens.map(|happens| (*ms, happens)));
    }
    // Steps of one moment keep their order.
    all.sort_by_key(|(ms, _)| *ms);
    all
}

/// A world of lists, to be looked at.
#[derive(Default)]
struct World {
    /// Name, whether it buys, how far away, whether it is doubtful.
    live: Vec<(usize, bool, i64, bool)>,
    ended: Vec<usize>,
    fills: Vec<(usize, u8)>,
    book: Option<(i64, i64, bool, i64)>,
    deaf: bool,
}

impl World {
    fn happens(&mut self, ms: i64, what: Happens) {
        match what {
            Happens::Placed(name, ..) if self.ended.contains(&name) => {}
            Happens::Placed(name, buys, away) => {
                self.live.retain(|(_, side, _, doubtful)| !(*doubtful && *side == buys));
                self.live.push((name, buys, away, false));
            }
            Happens::Filled(name, trade) if self.fills.contains(&(name, trade)) => {}
            Happens::Filled(name, trade) => self.fills.push((name, trade)),
            Happens::Ended(name) => {
                self.live.retain(|(of, ..)| *of != name);
                self.ended.push(name);
            }
            Happens::Book(away, amount, is_whole) => self.book = Some((away, amount, is_whole, ms + 15_000)),
            Happens::Deaf => self.deaf = true,
            Happens::Hears => {
                self.deaf = false;
                self.live.iter_mut().for_each(|order| order.3 = true);
            }
        }
    }

    fn look_at_quotes(&self, sums: &mut QuoteSums) {
        if self.deaf {
            sums.3 += GLANCE_MS as u64;
            return;
        }
        let nearest = |buys: bool| self.live.iter().filter(|order| order.1 == buys).map(|order| order.2).min();
        let glance = |is_there: bool| if is_there { GLANCE_MS as u64 } else { 0 };
        sums.1 += glance(nearest(true).is_some());
        sums.2 += glance(nearest(false).is_some());
        let (Some(below), Some(above)) = (nearest(true), nearest(false)) else { return };
        sums.0 += GLANCE_MS as u64;
        let middle = Decimal::from_int(200_000 + above - below);
        let bps = Decimal::from_int(below + above).mul_div(Decimal::from_int(20_000), middle).unwrap();
        sums.4 = sums.4.plus(bps.times(Decimal::from_int(1_000 * GLANCE_MS)).unwrap()).unwrap();
    }

    fn look_at_depth(&self, ms: i64, sums: &mut DepthSums) {
        let Some((away, amount, is_whole, until)) = self.book else { return };
        if ms >= until {
            return;
        }
        sums.0 += GLANCE_MS as u64;
        sums.1 += if self.deaf { 0 } else { GLANCE_MS as u64 };
        for bps in GRID_BPS {
            let of = sums.2.entry(bps).or_default();
            // A bp of 100,000 is ten.
            let near = |away: i64| away <= 10 * i64::from(bps);
            match near(away) {
                true if !is_whole => of[4] += i128::from(GLANCE_MS),
                true => {
                    of[0] += i128::from((100_000 - away) * amount * GLANCE_MS);
                    of[1] += i128::from((100_000 + away) * amount * GLANCE_MS);
                }
                false => {}
            }
            let own = self.live.iter().filter(|(_, _, away, _)| near(*away) && !self.deaf);
            for (name, buys, away, _) in own {
                let filled = self.fills.iter().filter(|(of, _)| of == name).count() as i64;
                let (place, price) = if *buys { (2, 100_000 - away) } else { (3, 100_000 + away) };
                of[place] += i128::from(price * (WHOLE - filled).max(0) * GLANCE_MS);
            }
        }
    }
}

/// The sums of five minutes by looking again and again, sharing no arithmetic with the sums: orders as a list.
fn by_brute_force(steps: &[(i64, Step)]) -> (Vec<QuoteSums>, Vec<DepthSums>) {
    let (all, mut world, mut next) = (happenings(steps), World::default(), 0);
    let (mut quotes, mut depths) = (Vec::new(), Vec::new());
    for minute in 0..5 {
        let (mut quote, mut depth) = (QuoteSums::default(), DepthSums::default());
        for ms in (minute * 60_000..(minute + 1) * 60_000).step_by(GLANCE_MS as usize) {
            while let Some((then, what)) = all.get(next).filter(|(then, _)| *then <= ms) {
                next += 1;
                world.happens(*then, *what);
            }
            world.look_at_quotes(&mut quote);
            world.look_at_depth(ms, &mut depth);
        }
        quotes.push((quote.0, quote.1, quote.2, quote.3, quote.4.normalised()));
        depth.2.retain(|_, of| (of[4] as u64) < depth.0 || of[2] != 0 || of[3] != 0);
        depths.extend((depth.0 > 0).then_some(depth));
    }
    (quotes, depths)
}

/// Milliseconds, to compare with brute force.
fn exactly(events: &[MarketEvent]) -> (Vec<QuoteSums>, Vec<DepthSums>) {
    let (mut quotes, mut depths) = (Vec::new(), Vec::new());
    let whole = |sum: Decimal| sum.divided_by(Decimal::from_int(1_000)).unwrap().to_string().parse::<i128>().unwrap();
    for event in events {
        match event {
            MarketEvent::QuoteMinute { bid_us, ask_us, two_sided_us, unknown_us, spread_bps_us, .. } => {
                quotes.push((two_sided_us / 1_000, bid_us / 1_000, ask_us / 1_000, unknown_us / 1_000, *spread_bps_us));
            }
            MarketEvent::DepthMinute { known_us, own_known_us, within, .. } if *known_us > 0 => {
                let sums = |of: &DepthSum| {
                    let DepthSum { bid_quote_us, ask_quote_us, own_bid_quote_us, own_ask_quote_us, beyond_us } = *of;
                    let sums = [bid_quote_us, ask_quote_us, own_bid_quote_us, own_ask_quote_us].map(whole);
                    [sums[0], sums[1], sums[2], sums[3], i128::from(beyond_us / 1_000)]
                };
                let within = within.iter().map(|(bps, of)| (*bps, sums(of))).collect();
                depths.push((known_us / 1_000, own_known_us / 1_000, within));
            }
            MarketEvent::DepthMinute { .. }
            | MarketEvent::QuotesUnknown { .. }
            | MarketEvent::QuoteObserved { .. }
            | MarketEvent::DepthObserved { .. }
            | MarketEvent::MarkObserved { .. }
            | MarketEvent::VolumeObserved { .. } => {}
        }
    }
    (quotes, depths)
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
