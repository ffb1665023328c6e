//! What goes to and fro between where a rule fires and where it clears begins nothing and ends nothing; what nobody can tell
//! freezes it; what is told late counts by its own time.

mod story;

use events::{
    AggregateRef, BotId, Event, Exchange, Price, Uuid,
    bot::{BotEvent, Limits},
    desk::DeskEvent,
    ledger::Side,
    market::MarketEvent,
};
use story::{Story, at, check, d, maker, of, on, venue};

/// Best quotes of 150 that are so many bps apart.
fn quotes(story: &mut Story, second: i64, bps: &str) {
    let (bid, ask) = sides(bps);
    story.quotes(second, &bid, &ask);
}

fn sides(bps: &str) -> (String, String) {
    let half = d(bps).times(d("0.0075")).unwrap();
    let [bid, ask] = [d("150").minus(half), d("150").plus(half)].map(|price| price.unwrap().normalised().to_string());
    (bid, ask)
}

fn book(story: &mut Story, second: i64, bps: &str) {
    let (bid, ask) = sides(bps);
    story.book(second, Exchange::Kucoin, &bid, &ask);
}

fn market() -> AggregateRef {
    AggregateRef::new("market", "SOL-USDT")
}

#[test]
fn a_spread_between_its_steps_goes_on_and_a_moment_of_a_narrow_one_does_not_end_it() {
    let mut story = Story::with_maker();
    quotes(&mut story, 5, "20");
    quotes(&mut story, 100, "60");
    for n in 0..5 {
        quotes(&mut story, 200 + 20 * n, "40");
        quotes(&mut story, 210 + 20 * n, "60");
    }
    for (second, bps) in [(400, "20"), (429, "40"), (500, "20")] {
        quotes(&mut story, second, bps);
    }
    check(story, "spread_wide", 900, &["130 spread_wide fired warning", "530 spread_wide resolved cleared"]);
}

#[test]
fn a_market_between_its_steps_goes_on_and_one_that_was_wide_for_a_moment_is_not() {
    let mut story = Story::with_maker();
    let told =
        [(0, "4"), (500, "5"), (1_000, "66"), (1_100, "12"), (1_200, "66"), (1_300, "4"), (1_330, "12"), (1_400, "4")];
    told.iter().for_each(|(second, bps)| book(&mut story, *second, bps));
    let told = ["1060 market_spread_wide fired info", "1460 market_spread_wide resolved cleared"];
    check(story, "market_spread_wide", 2_000, &told);
    // Changes are told minutes apart; how the minute ended tells that it is over.
    let mut story = Story::with_maker();
    book(&mut story, 0, "4");
    book(&mut story, 1_000, "66");
    story.at(1_025, market(), depth_minute(960, "4"));
    check(story, "market_spread_wide", 2_000, &[]);
    // A spread that has been the same for hours is known still.
    let mut story = Story::with_maker();
    book(&mut story, 0, "4");
    book(&mut story, 9_000, "66");
    check(story, "market_spread_wide", 9_100, &["9060 market_spread_wide fired info"]);
}

#[test]
fn a_pace_between_its_steps_goes_on() {
    let mut story = Story::with_maker();
    let fill = |story: &mut Story, second: i64| {
        story.fill(second, if second % 2 == 0 { Side::Buy } else { Side::Sell }, "150", "0.1");
    };
    (0..60).for_each(|minute| fill(&mut story, minute * 60));
    (0..300).for_each(|n| fill(&mut story, 3_600 + n));
    (0..75).for_each(|n| fill(&mut story, 3_900 + 4 * n));
    check(story, "fill_burst", 6_000, &["3680 fill_burst fired warning", "4328 fill_burst resolved cleared"]);
}

#[test]
fn fills_that_are_told_all_at_once_are_no_burst() {
    let mut story = Story::with_maker();
    for minute in 0..60 {
        story.fill(minute * 60, Side::Buy, "150", "0.1");
    }
    for n in 0..190 {
        story.late_fill((3_600 + n * 4, 4_400), Side::Buy, "150", "0.1", &format!("late{n}"));
    }
    // Sixteen a minute by their own time, which are never too many.
    story.fill(4_401, Side::Sell, "150", "0.1");
    check(story, "fill_burst", 5_000, &[]);
}

#[test]
fn one_side_between_its_steps_goes_on() {
    let mut story = Story::with_maker();
    for n in 0..180 {
        let sells = n >= 150 || (n >= 50 && n % 5 == 0);
        story.fill(n, if sells { Side::Sell } else { Side::Buy }, "150", "0.1");
    }
    let told = ["49 fill_one_sided fired warning", "153 fill_one_sided resolved cleared"];
    check(story, "fill_one_sided", 180, &told);
}

#[test]
fn an_inventory_between_its_steps_goes_on() {
    let mut story = Story::with_maker();
    story.mark(0, "100").holds(1, "SOL", "10", "10").holds(2, "USDT", "1000", "1000").holds(100, "SOL", "30", "30");
    for (second, held) in [(300, "20"), (400, "30"), (500, "20"), (700, "11")] {
        story.holds(second, "SOL", held, held);
    }
    let told = ["220 inventory_imbalance fired warning", "700 inventory_imbalance resolved cleared"];
    check(story, "inventory_imbalance", 1_000, &told);
}

#[test]
fn a_drawdown_between_its_steps_goes_on() {
    let mut story = Story::with_maker();
    story.mark(0, "100").fill(1, Side::Buy, "100", "10").mark(10, "110").mark(100, "104");
    story.mark(200, "106.2").mark(300, "104").mark(400, "106.2").mark(500, "107");
    let told = ["130 pnl_drawdown fired warning", "500 pnl_drawdown resolved cleared"];
    check(story, "pnl_drawdown", 1_000, &told);
}

#[test]
fn one_beat_between_silences_ends_nothing() {
    let desk = || AggregateRef::new("desk", "alerts");
    let silent = |since, second| DeskEvent::AlertsSilent { since: at(since), at: at(second) };
    let back = |second| DeskEvent::AlertsBack { at: at(second) };
    let mut story = Story::desk();
    // The soonest that it can be silent again is 30 s after it was back.
    story.at(40, desk(), silent(10, 40)).at(100, desk(), back(100)).at(135, desk(), silent(100, 135));
    story.at(150, desk(), back(150));
    check(story, "dead_man", 250, &["40 dead_man fired critical", "195 dead_man resolved cleared"]);
    // A bot that says one word a minute.
    let mut story = Story::with_maker();
    for minute in 1..5 {
        let last_seen = at(minute * 60);
        story.bot(BotEvent::BotSilent { last_seen, at: at(minute * 60 + 35) });
        story.bot(BotEvent::BotSeenAlive { at: at(minute * 60 + 60) });
    }
    check(story, "heartbeat_lost", 500, &["95 heartbeat_lost fired warning", "345 heartbeat_lost resolved cleared"]);
}

#[test]
fn what_nobody_can_tell_of_quotes_fires_nothing_and_ends_nothing() {
    let unknown = |second| MarketEvent::QuotesUnknown { bot: maker(), venue: venue(), at: at(second) };
    let mut story = Story::with_maker();
    quotes(&mut story, 5, "20");
    quotes(&mut story, 50, "60");
    story.market(unknown(70));
    quotes(&mut story, 100, "60");
    quotes(&mut story, 200, "20");
    story.market(unknown(210));
    quotes(&mut story, 400, "20");
    check(story, "spread_wide", 900, &["130 spread_wide fired warning", "430 spread_wide resolved cleared"]);
    let mut story = Story::with_maker();
    story.quotes(70, "149.85", "150.15").quotes(100, "149.85", "").market(unknown(120));
    story.quotes(300, "149.85", "150.15");
    let told = ["115 no_two_sided_quotes fired warning", "310 no_two_sided_quotes resolved cleared"];
    check(story, "no_two_sided_quotes", 900, &told);
    let mut story = Story::with_maker();
    story.quotes(5, "149.85", "150.15").market(unknown(100));
    check(story, "no_fills", 20_000, &[]);
}

#[test]
fn how_a_minute_ended_counts_where_no_change_is_told_any_more() {
    let mut story = Story::with_maker();
    story.quotes(70, "149.85", "150.15");
    let ((near_bid, near_ask), (far_bid, far_ask)) = (sides("20"), sides("60"));
    for (begin, bid, ask) in [
        (60, far_bid.as_str(), far_ask.as_str()),
        (120, &far_bid, ""),
        (180, &near_bid, &near_ask),
        (240, &near_bid, &near_ask),
    ] {
        story.at(begin + 62, market(), quote_minute(begin, bid, ask));
    }
    check(story, "spread_wide", 400, &["150 spread_wide fired warning", "270 spread_wide resolved cleared"]);
    let mut story = Story::with_maker();
    story.quotes(70, "149.85", "150.15").at(182, market(), quote_minute(120, "149.85", ""));
    story.at(242, market(), quote_minute(180, "149.85", "150.15"));
    let told = [
        "195 no_two_sided_quotes fired warning",
        "240 no_two_sided_quotes escalated critical worse",
        "250 no_two_sided_quotes resolved cleared",
    ];
    check(story, "no_two_sided_quotes", 400, &told);
}

#[test]
fn what_another_run_or_another_day_made_is_no_loss_of_this_day() {
    let story = || Story::with_maker_of(Limits { loss_budget: Some(d("100")), ..Limits::default() });
    // Imported: of before it was asked to run.
    let mut imported = story();
    imported.mark(10, "100");
    imported.late_fill((-3_600, 50), Side::Buy, "200", "10", "old");
    imported.mark(100, "99");
    check(imported, "daily_loss_limit", 200, &[]);
    // A day ends at second 43,200; what was lost before that is told after it.
    let bought = |happened, trade| {
        let mut story = story();
        story.mark(10, "100").fill(20, Side::Buy, "100", "1").mark(43_250, "100");
        story.late_fill((happened, 43_300), Side::Buy, "120", "10", trade);
        story.mark(43_400, "100");
        story
    };
    check(bought(43_000, "late"), "daily_loss_limit", 43_500, &[]);
    let told = ["43260 daily_loss_limit fired critical"];
    check(bought(43_260, "today"), "daily_loss_limit", 43_500, &told);
}

#[test]
fn two_halves_of_one_trade_are_one_however_far_apart_they_are_told() {
    let mut story = Story::with_maker();
    story.fill_of(10, BotId(Uuid::from_u128(2)), Side::Sell, "150", "1", "same");
    story.late_fill((10, 700), Side::Buy, "150", "1", "same");
    story.until(710);
    let told = of("self_match", &mut story);
    assert!(matches!(&*told, [one] if one.ends_with("self_match fired critical")), "{told:?}");
}

fn quote_minute(begin: i64, bid: &str, ask: &str) -> Event {
    let price = |text: &str| (!text.is_empty()).then(|| Price(d(text)));
    let us = |text: &str| if text.is_empty() { 30_000_000 } else { 60_000_000 };
    let event = MarketEvent::QuoteMinute {
        bot: maker(),
        venue: venue(),
        bid_us: us(bid),
        ask_us: us(ask),
        two_sided_us: us(bid).min(us(ask)),
        spread_bps_us: d("0"),
        unknown_us: 0,
        band_us: [].into(),
        changes_left_out: Some(9),
        bid: price(bid),
        ask: price(ask),
        at: at(begin),
    };
    event.into()
}

fn depth_minute(begin: i64, bps: &str) -> Event {
    let (bid, ask) = sides(bps);
    let event = MarketEvent::DepthMinute {
        bot: maker(),
        venue: on(Exchange::Kucoin),
        known_us: 60_000_000,
        own_known_us: 0,
        within: [].into(),
        changes_left_out: None,
        slippage: [].into(),
        sized_us: [].into(),
        middles: [].into(),
        best_bid: Some(Price(d(&bid))),
        best_ask: Some(Price(d(&ask))),
        at: at(begin),
    };
    event.into()
}
