use super::*;
use crate::told::{Told, at};

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// A minute in which it bid and offered for so many seconds, both for the shorter, at a spread of so many bps.
fn told(bid_s: u64, ask_s: u64, spread_bps: i64, unknown_s: u64) -> MarketEvent {
    let both = bid_s.min(ask_s) * 1_000_000;
    MarketEvent::QuoteMinute {
        bot: Told::default().bot,
        venue: Venue { exchange: Exchange::Okx, market: Market::Spot, pair: "BTC-USDT".parse().unwrap() },
        bid_us: bid_s * 1_000_000,
        ask_us: ask_s * 1_000_000,
        two_sided_us: both,
        spread_bps_us: Decimal::from_int(spread_bps).times(Decimal::from_int(both as i64)).unwrap(),
        unknown_us: unknown_s * 1_000_000,
        band_us: [(u32::try_from(spread_bps).unwrap(), both)].into(),
        changes_left_out: None,
        bid: None,
        ask: None,
        at: at(0),
    }
}

fn check(given: &[MarketEvent], window_s: i64) -> Quoting {
    let mut sums = Sums::default();
    for event in given {
        sums.add(&Sums::of(&event.clone().into()).unwrap()).unwrap();
    }
    let window = Except::nothing(at(0), at(window_s));
    sums.quoting(Told::default().bot, Some(&window), Default::default()).unwrap()
}

#[test]
fn side_uptime_is_the_mean_of_both_sides() {
    // Of twenty minutes one side was up for 75 %, the other for 95.83 %.
    let mut minutes = vec![told(45, 60, 20, 0); 15];
    minutes.extend(vec![told(45, 50, 20, 0); 5]);
    let quoting = check(&minutes, 1_200);
    assert_eq!(quoting.bid.value, Some(d("0.75")));
    assert_eq!(quoting.ask.value, Some(d("0.958333333333")));
    assert_eq!(quoting.sides.value, Some(d("0.854166666667")));
    assert_eq!((quoting.two_sided.value, quoting.spread_bps.value), (Some(d("0.75")), Some(d("20"))));
}

#[test]
fn what_nobody_could_tell_is_left_out_of_every_share_and_shown() {
    let quoting = check(&[told(30, 30, 10, 30), told(60, 60, 50, 0)], 180);
    assert_eq!((quoting.window_us, quoting.known_us, quoting.unknown_us), (180_000_000, 90_000_000, 90_000_000));
    assert_eq!(quoting.two_sided.value, Some(d("1")));
    let within: Vec<_> = quoting.within.iter().map(|within| (within.bps, within.share.value.unwrap())).collect();
    assert_eq!(within, [(10, d("0.333333333333")), (50, d("1"))]);
    // (10 x 30 + 50 x 60) / 90
    assert_eq!(quoting.spread_bps.value, Some(d("36.666666666667")));
}

#[test]
fn nothing_known_has_no_shares() {
    let quoting = Sums::default().quoting(Told::default().bot, None, Default::default()).unwrap();
    assert_eq!((quoting.two_sided.value, quoting.spread_bps.value, quoting.from), (None, None, None));
}

#[test]
fn a_minute_that_cannot_be_is_refused() {
    assert_eq!(Sums::of(&told(31, 10, 1, 30).into()), None);
    let mut told_twice = Told::default();
    let event = told_twice.bot(told(61, 10, 1, 0));
    assert!(Uptime::default().fold(&event).is_err());
}

#[test]
fn whole_minutes_are_left_out_that_a_time_touches_each_once() {
    let window =
        Except { begin: at(0), end: at(600), except: vec![(at(90), at(91)), (at(100), at(150)), (at(590), at(700))] };
    // The second and the third minute, and the last.
    assert_eq!(window.us(), (600 - 180) * 1_000_000);
    assert_eq!(Except::nothing(at(0), at(600)).us(), 600_000_000);
}
