//! What does not move is told once: where something else makes another thing of it, it is read again. And what moves for another
//! reason than the rule watches for is none of its business.

mod story;

use events::{
    AggregateRef,
    alert::Scope,
    bot::{BotEvent, Limits, ReportedState},
    ledger::{BookKey, LedgerEvent, Side},
};
use story::{Story, at, check, d, maker, of, venue};

fn deployed(story: &mut Story, second: i64) {
    story.bot(BotEvent::BotStopRequested { reason: "again".into(), at: at(second) });
    story.bot(BotEvent::BotStopped { at: at(second) });
    story.bot(BotEvent::BotDeployRequested { at: at(second) });
    story.bot(BotEvent::BotDeployed { instance: format!("maker-{second}"), at: at(second) });
}

#[test]
fn a_balance_that_stands_still_is_low_for_a_bot_that_begins_or_places_larger_orders() {
    let mut story = Story::with_maker();
    story.mark(0, "100").holds(10, "USDT", "10", "10");
    deployed(&mut story, 100);
    let told = ["70 balance_low fired warning", "100 balance_low resolved cleared", "160 balance_low fired warning"];
    check(story, "balance_low", 300, &told);
    let mut story = Story::with_maker();
    story.mark(0, "100").holds(10, "USDT", "5000", "1300").reconfigured(100, "6000");
    check(story, "balance_low", 300, &["160 balance_low fired warning"]);
}

#[test]
fn what_shall_be_free_is_said_for_an_asset_and_counts_at_once() {
    let usdt = || Scope { about: Some("USDT".into()), ..Scope::default() };
    let mut story = Story::with_maker();
    story.mark(0, "100").holds(10, "USDT", "5000", "5000").holds(10, "BNB", "3", "3");
    story.configure_for(100, "balance_low", usdt(), true, &[("least", "6000")]);
    story.configure_for(300, "balance_low", usdt(), true, &[("least", "4000")]);
    check(story, "balance_low", 500, &["160 balance_low fired warning", "300 balance_low resolved cleared"]);
}

#[test]
fn a_silence_is_held_against_what_is_allowed_now() {
    let mut story = Story::with_maker();
    story.configure(1, "heartbeat_lost", true, &[("least_s", "3600"), ("critical_s", "7200")]);
    story.bot(BotEvent::BotSilent { last_seen: at(60), at: at(100) });
    story.configure(200, "heartbeat_lost", true, &[("least_s", "60"), ("critical_s", "7200")]);
    check(story, "heartbeat_lost", 400, &["200 heartbeat_lost fired warning"]);
}

#[test]
fn an_instance_that_dies_as_the_one_before_did_is_told_of_again() {
    let mut story = Story::with_maker();
    let gone = |second| BotEvent::BotStateReported { state: ReportedState::NotFound, at: at(second) };
    story.bot(gone(100));
    deployed(&mut story, 200);
    story.bot(gone(300));
    let told = [
        "100 bot_stopped_unexpectedly fired critical",
        "200 bot_stopped_unexpectedly resolved cleared",
        "300 bot_stopped_unexpectedly fired critical",
    ];
    check(story, "bot_stopped_unexpectedly", 301, &told);
}

#[test]
fn what_a_bot_bought_before_it_was_deployed_again_still_loses() {
    let limits = || Limits { loss_budget: Some(d("100")), ..Limits::default() };
    let mut story = Story::with_maker_of(limits());
    story.mark(0, "100").fill(1, Side::Buy, "100", "10");
    deployed(&mut story, 50);
    story.mark(100, "80");
    check(story, "daily_loss_limit", 200, &["100 daily_loss_limit fired critical"]);
    // A bot that trades no more is held against nothing, whatever becomes of what it holds.
    let mut story = Story::with_maker_of(limits());
    story.mark(0, "100").fill(1, Side::Buy, "100", "10");
    story.bot(BotEvent::BotStopRequested { reason: "done".into(), at: at(50) }).mark(100, "80");
    check(story, "daily_loss_limit", 200, &[]);
}

#[test]
fn funding_is_a_loss_and_what_was_held_before_is_none() {
    let book = || BookKey { bot: maker(), exchange: venue().exchange, market: venue().market, pair: venue().pair };
    let mut story = Story::with_maker_of(Limits { loss_budget: Some(d("100")), ..Limits::default() });
    let ledger = AggregateRef::ledger(story.client);
    let (position, cost) = (d("10"), d("5000"));
    story.mark(0, "100").at(
        10,
        ledger.clone(),
        LedgerEvent::OpeningPosition { book: book(), position, cost, at: at(-9) },
    );
    let paid = |second, amount: &str| LedgerEvent::FundingPaid {
        book: book(),
        amount: d(amount),
        asset: "USDT".parse().unwrap(),
        funding: format!("f{second}").parse().unwrap(),
        at: at(second),
    };
    story.at(20, ledger.clone(), paid(20, "-60")).at(30, ledger, paid(30, "-40"));
    check(story, "daily_loss_limit", 100, &["30 daily_loss_limit fired critical"]);
}

#[test]
fn who_gives_a_bot_less_to_quote_with_has_lost_nothing_and_who_gives_it_more_has_won_nothing() {
    let mut story = Story::with_maker();
    story.mark(0, "100").fill(1, Side::Buy, "100", "10").reconfigured(50, "1000").mark(60, "100.1");
    check(story, "pnl_drawdown", 300, &[]);
    let mut story = Story::with_maker();
    story.mark(0, "100").fill(1, Side::Buy, "100", "10").reconfigured(50, "4000").mark(60, "90");
    check(story, "pnl_drawdown", 300, &["90 pnl_drawdown fired warning"]);
}

#[test]
fn a_fall_in_money_that_trembles_about_its_limit_is_one_fall() {
    let mut story = Story::with_maker();
    story.configure(0, "pnl_drawdown", true, &[("capital_quote", "100000"), ("limit_quote", "500")]);
    story.mark(1, "100").fill(2, Side::Buy, "100", "100").mark(10, "94.9").mark(100, "95.05").mark(200, "94.95");
    story.mark(300, "97");
    let told = ["40 pnl_drawdown fired warning", "300 pnl_drawdown resolved cleared"];
    check(story, "pnl_drawdown", 400, &told);
}

#[test]
fn a_sweep_of_seconds_is_no_burst_of_a_minute() {
    let mut story = Story::with_maker();
    for minute in 0..60 {
        story.fill(minute * 60, Side::Buy, "150", "0.1");
    }
    for n in 0..30 {
        story.fill(3_600 + n / 15, Side::Buy, "150", "0.1");
    }
    check(story, "fill_burst", 4_000, &[]);
}

#[test]
fn refused_orders_leave_the_window_though_no_other_follows() {
    let mut story = Story::with_maker();
    for n in 0..106 {
        story.order(n, n < 11);
    }
    // Two of 97 are less than 3 %.
    let told = ["70 order_reject_rate fired warning", "308 order_reject_rate resolved cleared"];
    check(story, "order_reject_rate", 1_000, &told);
}

#[test]
fn a_fill_that_is_told_late_explains_what_was_seen_before_it() {
    let mut story = Story::with_maker();
    story.holds(0, "USDT", "10000", "10000").holds(60, "USDT", "8500", "8500").holds(120, "USDT", "8500", "8500");
    story.late_fill((20, 150), Side::Buy, "150", "10", "late");
    let told = ["120 balance_mismatch fired critical", "120 balance_mismatch resolved cleared"];
    check(story, "balance_mismatch", 300, &told);
}

#[test]
fn a_fee_that_nobody_tells_hides_no_theft() {
    let mut story = Story::with_maker();
    story.holds(0, "USDT", "10000", "10000");
    story.untold_fill(20, Side::Buy, "150", "10");
    // A hundredth of the trade may be its fee.
    story.holds(60, "USDT", "8490", "8490").holds(120, "USDT", "8490", "8490");
    story.holds(180, "USDT", "4000", "4000").holds(240, "USDT", "4000", "4000");
    check(story, "balance_mismatch", 300, &["240 balance_mismatch fired critical"]);
}

#[test]
fn a_tightly_configured_bot_becomes_critical_and_is_well_again_about_its_floor() {
    let mut story = Story::with_maker();
    // Twice what is configured, 20 bps, is less than the floor of 50.
    story.configure(0, "spread_wide", true, &[("ratio", "1.2"), ("clear_ratio", "1"), ("critical_ratio", "2")]);
    story.quotes(5, "149.55", "150.45").quotes(100, "149.175", "150.825").quotes(200, "149.7", "150.3");
    let told = [
        "35 spread_wide fired warning",
        "130 spread_wide escalated critical worse",
        "230 spread_wide resolved cleared",
    ];
    check(story, "spread_wide", 300, &told);
}

#[test]
fn numbers_of_different_scopes_give_way_where_they_would_make_a_rule_flap() {
    let mut story = Story::with_maker();
    let bot = Scope { bot: Some(maker()), ..Scope::default() };
    story.configure(0, "pnl_drawdown", true, &[("fall", "10"), ("critical_fall", "20"), ("clear_fall", "8")]);
    story.configure_for(0, "pnl_drawdown", bot, true, &[("fall", "2")]);
    // It falls by 5 of 100 and stays there: 5 is more than 2, and less than 8.
    story.mark(1, "100").fill(2, Side::Buy, "100", "10").mark(10, "90").mark(100, "90.1").mark(200, "90");
    check(story, "pnl_drawdown", 300, &["40 pnl_drawdown fired warning"]);
}

#[test]
fn a_pause_is_the_time_that_a_bot_quoted_in_vain() {
    let mut story = Story::with_maker();
    story.quotes(5, "149.85", "150.15").configure(6, "no_fills", true, &[("least_s", "120")]);
    // It fills once a minute, and quotes nothing for hours between.
    for n in 0..20 {
        let begin = 10 + n * 10_000;
        story.quotes(begin, "149.85", "150.15").fill(begin + 60, Side::Buy, "150", "0.1").quotes(
            begin + 61,
            "149.85",
            "",
        );
    }
    story.quotes(200_010, "149.85", "150.15");
    check(story, "no_fills", 201_000, &["200192 no_fills fired info"]);
}

#[test]
fn what_nobody_could_value_before_there_was_a_price_is_no_loss_of_the_day() {
    let limits = || Limits { loss_budget: Some(d("100")), ..Limits::default() };
    let mut story = Story::with_maker_of(limits());
    story.fill(1, Side::Buy, "500", "10").mark(10, "100").mark(20, "91");
    check(story, "daily_loss_limit", 100, &[]);
    let mut story = Story::with_maker_of(limits());
    story.fill(1, Side::Buy, "500", "10").mark(10, "100").mark(20, "90");
    check(story, "daily_loss_limit", 100, &["20 daily_loss_limit fired critical"]);
}

#[test]
fn what_fills_while_a_bot_stops_is_its_loss() {
    let mut story = Story::with_maker_of(Limits { loss_budget: Some(d("100")), ..Limits::default() });
    story.mark(0, "100").fill(1, Side::Buy, "100", "1");
    story.bot(BotEvent::BotStopRequested { reason: "done".into(), at: at(50) }).fill(60, Side::Buy, "110", "10");
    check(story, "daily_loss_limit", 100, &["60 daily_loss_limit fired critical"]);
}

#[test]
fn steps_that_are_one_are_one_where_the_spread_is_configured_wider_than_the_floor() {
    let mut story = Story::with_maker();
    story.reconfigured_spreads(0, "0.005", "0.005");
    story.configure(0, "spread_wide", true, &[("ratio", "2"), ("critical_ratio", "2")]);
    // 100 bps as configured; 200 is where both steps are.
    story.quotes(5, "149.25", "150.75").quotes(100, "147.75", "152.25");
    check(story, "spread_wide", 200, &["130 spread_wide fired critical"]);
}

#[test]
fn a_gap_that_is_healed_after_long_explains_what_was_seen_meanwhile() {
    let mut story = Story::with_maker();
    story.holds(0, "USDT", "10000", "10000").holds(60, "USDT", "8500", "8500").holds(120, "USDT", "8500", "8500");
    story.acknowledge(130, "balance_mismatch");
    story.late_fill((20, 1_500), Side::Buy, "150", "10", "late");
    let told = of("balance_mismatch", story.until(1_600));
    assert!(
        matches!(&*told, [fired, resolved] if fired.starts_with("120 ") && resolved.ends_with("resolved cleared")),
        "{told:?}"
    );
}

#[test]
fn a_rule_that_is_switched_on_with_other_numbers_says_nothing_by_those_before() {
    let mut story = Story::with_maker();
    story.configure(1, "heartbeat_lost", false, &[]).bot(BotEvent::BotSilent { last_seen: at(60), at: at(100) });
    story.configure(200, "heartbeat_lost", true, &[("least_s", "3600"), ("critical_s", "3600")]);
    check(story, "heartbeat_lost", 400, &[]);
}
