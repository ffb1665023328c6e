//! One story a rule that fires, holds, clears and does not flap, and one that must not fire.

mod story;

use events::{
    AggregateRef, AgreementId, AlertId, BotId, ChannelId, Exchange, MessageId, ScheduleId, Uuid,
    account::AccountEvent,
    agent::{AgentEvent, PlanRefusal},
    agreement::{AgreementEvent, Clause, Outcome, Verdict},
    alert::{AlertEvent, Delivery, Notice, Severity},
    bot::{BotEvent, Limits, ReportedState},
    channel::{self, ChannelEvent, WhyDisabled},
    credential::{CredentialEvent, Misfit, Purpose},
    desk::DeskEvent,
    ledger::Side,
    schedule::{Outcome as RunOutcome, ScheduleEvent},
};
use story::{Story, at, check, d, maker, of};

#[test]
fn spread_wide_fires_after_half_a_minute_becomes_critical_and_clears_when_it_is_narrow_again_for_as_long() {
    let mut story = Story::with_maker();
    // 20 bps as configured; 60 is more than what never is too wide, 300 more than four times what is configured.
    story.quotes(5, "149.85", "150.15").quotes(100, "149.55", "150.45").quotes(200, "147.75", "152.25");
    story.quotes(300, "149.4", "150.6").quotes(400, "149.85", "150.15");
    let told = [
        "130 spread_wide fired warning",
        "230 spread_wide escalated critical worse",
        "430 spread_wide resolved cleared",
    ];
    check(story, "spread_wide", 1_000, &told);
}

#[test]
fn spread_wide_is_silent_when_it_is_wide_for_a_moment_or_one_sided_or_the_bot_is_stopped() {
    let mut story = Story::with_maker();
    for begin in [100, 200, 300] {
        story.quotes(begin, "149.55", "150.45").quotes(begin + 29, "149.85", "150.15");
    }
    story.quotes(400, "149.55", "150.45").quotes(420, "149.25", "").quotes(500, "149.55", "150.45");
    story.bot(BotEvent::BotStopRequested { reason: "done".into(), at: at(520) });
    check(story, "spread_wide", 1_000, &[]);
}

#[test]
fn market_spread_wide_is_held_against_the_hour_before() {
    let mut story = Story::with_maker();
    story.book(0, Exchange::Kucoin, "149.97", "150.03").book(500, Exchange::Kucoin, "149.96", "150.04");
    story.book(1_000, Exchange::Kucoin, "149.5", "150.5").book(1_100, Exchange::Kucoin, "149.97", "150.03");
    let told = ["1060 market_spread_wide fired info", "1160 market_spread_wide resolved cleared"];
    check(story, "market_spread_wide", 2_000, &told);
}

#[test]
fn market_spread_wide_says_nothing_of_a_market_that_is_not_known_for_long() {
    let mut story = Story::with_maker();
    story.book(0, Exchange::Kucoin, "149.97", "150.03").book(300, Exchange::Kucoin, "149.5", "150.5");
    check(story, "market_spread_wide", 900, &[]);
}

#[test]
fn a_missing_side_fires_after_a_quarter_of_a_minute_and_is_critical_after_one() {
    let mut story = Story::with_maker();
    story.quotes(5, "149.85", "150.15").quotes(100, "149.85", "").quotes(200, "149.85", "150.15");
    // It does not flap: ten seconds of both sides end it, and nine do not.
    story
        .quotes(400, "", "150.15")
        .quotes(430, "149.85", "150.15")
        .quotes(439, "", "150.15")
        .quotes(500, "149.85", "150.15");
    let told = [
        "115 no_two_sided_quotes fired warning",
        "160 no_two_sided_quotes escalated critical worse",
        "210 no_two_sided_quotes resolved cleared",
        "415 no_two_sided_quotes fired warning",
        "499 no_two_sided_quotes escalated critical worse",
        "510 no_two_sided_quotes resolved cleared",
    ];
    check(story, "no_two_sided_quotes", 1_000, &told);
}

#[test]
fn a_bot_that_never_quotes_is_told_of_and_one_that_is_about_to_is_not() {
    let told = ["75 no_two_sided_quotes fired warning", "120 no_two_sided_quotes escalated critical worse"];
    check(Story::with_maker(), "no_two_sided_quotes", 200, &told);
    let mut story = Story::with_maker();
    story.quotes(70, "149.85", "150.15");
    check(story, "no_two_sided_quotes", 1_000, &[]);
}

#[test]
fn quote_uptime_is_of_the_hour_and_of_the_day_and_what_nobody_could_tell_is_in_neither() {
    let mut story = Story::with_maker();
    for minute in 0..40 {
        story.quote_minute(minute * 60, if minute < 35 { 60 } else { 30 }, 0);
    }
    for minute in 40..160 {
        story.quote_minute(minute * 60, 60, 0);
    }
    // 35 good minutes and 3 half ones of 38 are 96.1 %, and with a fourth 94.9 %.
    let told = ["2340 quote_uptime_low fired warning", "5760 quote_uptime_low resolved cleared"];
    check(story, "quote_uptime_low", 9_700, &told);
    let mut story = Story::with_maker();
    for minute in 0..120 {
        story.quote_minute(minute * 60, 40, 20);
    }
    check(story, "quote_uptime_low", 7_300, &[]);
}

#[test]
fn depth_is_low_on_the_thinner_side_for_a_minute_and_well_above_seven_tenths() {
    let mut story = Story::with_maker();
    // Half of the 2000 that it quotes with is what it shall have a side.
    story.depth_minute(0, "1000", "1000").depth_minute(60, "1000", "400").depth_minute(120, "1000", "450");
    story.depth_minute(180, "1000", "600").depth_minute(240, "1000", "800");
    check(story, "depth_low", 600, &["120 depth_low fired warning", "300 depth_low resolved cleared"]);
    let mut story = Story::with_maker();
    story.depth_minute(0, "1000", "600").depth_minute(60, "500", "800");
    check(story, "depth_low", 200, &[]);
}

#[test]
fn a_fill_is_large_beside_the_median_and_is_shown_for_a_while() {
    let mut story = Story::with_maker();
    for n in 0..50 {
        story.fill(n, Side::Buy, "150", "0.1");
    }
    story.fill(100, Side::Sell, "150", "0.6").fill(200, Side::Sell, "150", "2");
    let told =
        ["100 fill_large fired info", "200 fill_large escalated warning worse", "1000 fill_large resolved passed"];
    check(story, "fill_large", 3_000, &told);
}

#[test]
fn a_fill_that_is_not_large_is_none_nor_one_below_what_is_allowed() {
    let mut story = Story::with_maker();
    story.configure(0, "fill_large", true, &[("limit_quote", "500")]);
    for n in 0..50 {
        story.fill(n, Side::Buy, "150", "0.1");
    }
    story.fill(100, Side::Sell, "150", "0.4").fill(110, Side::Sell, "150", "3");
    check(story, "fill_large", 500, &[]);
}

#[test]
fn a_burst_is_many_fills_a_minute_for_a_minute_beside_what_was_usual() {
    let mut story = Story::with_maker();
    for minute in 0..60 {
        story.fill(minute * 60, Side::Buy, "150", "0.1");
    }
    for n in 0..300 {
        story.fill(3_600 + n, if n % 2 == 0 { Side::Buy } else { Side::Sell }, "150", "0.1");
    }
    let told = ["3680 fill_burst fired warning", "4070 fill_burst resolved cleared"];
    check(story, "fill_burst", 6_000, &told);
    let mut story = Story::with_maker();
    for minute in 0..60 {
        story.fill(minute * 60, Side::Buy, "150", "0.1");
    }
    for n in 0..15 {
        story.fill(3_600 + n, Side::Buy, "150", "0.1");
    }
    check(story, "fill_burst", 6_000, &[]);
}

#[test]
fn fills_go_one_way_when_nearly_all_of_fifty_are_of_one_side() {
    let mut story = Story::with_maker();
    for n in 0..50 {
        story.fill(n, Side::Buy, "150", "0.1");
    }
    for n in 50..80 {
        story.fill(n, Side::Sell, "150", "0.1");
    }
    check(story, "fill_one_sided", 200, &["49 fill_one_sided fired warning", "62 fill_one_sided resolved cleared"]);
    let mut story = Story::with_maker();
    for n in 0..200 {
        story.fill(n, if n % 5 == 0 { Side::Sell } else { Side::Buy }, "150", "0.1");
    }
    check(story, "fill_one_sided", 300, &[]);
}

#[test]
fn a_pause_is_long_beside_those_before_and_never_under_two_hours() {
    let mut story = Story::with_maker();
    story.quotes(5, "149.85", "150.15");
    for n in 0..10 {
        story.fill(10 + n * 3_000, Side::Buy, "150", "0.1");
    }
    // The last fill is of second 27010, and thrice the usual pause is 9000 s.
    story.until(40_000).fill(40_000, Side::Sell, "150", "0.1");
    check(story, "no_fills", 41_000, &["36010 no_fills fired info", "40000 no_fills resolved cleared"]);
    let mut story = Story::with_maker();
    story.quotes(5, "149.85", "150.15").fill(10, Side::Buy, "150", "0.1").quotes(20, "149.85", "");
    check(story, "no_fills", 20_000, &[]);
}

#[test]
fn inventory_is_far_off_its_target_for_two_minutes() {
    let mut story = Story::with_maker();
    story.mark(0, "100").holds(1, "SOL", "10", "10").holds(2, "USDT", "1000", "1000");
    story.holds(100, "SOL", "30", "30").holds(400, "SOL", "80", "80").holds(700, "SOL", "11", "11");
    let told = [
        "220 inventory_imbalance fired warning",
        "520 inventory_imbalance escalated critical worse",
        "700 inventory_imbalance resolved cleared",
    ];
    check(story, "inventory_imbalance", 1_000, &told);
    let mut story = Story::with_maker();
    story.mark(0, "100").holds(1, "SOL", "10", "10").holds(2, "USDT", "1000", "1000").holds(100, "SOL", "22", "22");
    check(story, "inventory_imbalance", 1_000, &[]);
}

#[test]
fn a_drawdown_is_of_the_best_of_the_day_and_a_new_day_begins_anew() {
    let mut story = Story::with_maker();
    // 2000 to quote with and 10 SOL bought at 100.
    story.mark(0, "100").fill(1, Side::Buy, "100", "10").mark(10, "110").mark(100, "104").mark(200, "98");
    story.mark(43_300, "97");
    let told = [
        "130 pnl_drawdown fired warning",
        "230 pnl_drawdown escalated critical worse",
        "530 pnl_drawdown escalated critical unacknowledged",
        "1130 pnl_drawdown escalated critical unacknowledged",
        "43300 pnl_drawdown resolved cleared",
    ];
    check(story, "pnl_drawdown", 44_000, &told);
    let mut story = Story::with_maker();
    story.mark(0, "100").fill(1, Side::Buy, "100", "10").mark(10, "102").mark(20, "99").mark(40, "101");
    check(story, "pnl_drawdown", 1_000, &[]);
}

#[test]
fn a_days_loss_is_told_once_however_it_goes_on_and_ends_with_the_day() {
    let limits = Limits { loss_budget: Some(d("100")), ..Limits::default() };
    let mut story = Story::with_maker_of(limits.clone());
    story
        .mark(0, "100")
        .fill(1, Side::Buy, "100", "10")
        .mark(100, "90")
        .acknowledge(150, "daily_loss_limit")
        .mark(200, "95")
        .mark(300, "80");
    let told = ["100 daily_loss_limit fired critical", "43200 daily_loss_limit resolved cleared"];
    check(story, "daily_loss_limit", 44_000, &told);
    let mut story = Story::with_maker_of(limits);
    story.mark(0, "100").fill(1, Side::Buy, "100", "10").mark(100, "90.1").mark(43_300, "81");
    check(story, "daily_loss_limit", 44_000, &[]);
}

#[test]
fn a_stop_that_nobody_asked_for_is_told_at_once_and_ends_when_it_runs_again() {
    let mut story = Story::with_maker();
    let reported = |state, second| BotEvent::BotStateReported { state, at: at(second) };
    story.bot(reported(ReportedState::Running, 10)).bot(reported(ReportedState::NotFound, 100));
    story.bot(reported(ReportedState::Running, 200));
    let told = ["100 bot_stopped_unexpectedly fired critical", "200 bot_stopped_unexpectedly resolved cleared"];
    check(story, "bot_stopped_unexpectedly", 300, &told);
    let mut story = Story::with_maker();
    story.bot(BotEvent::BotStopRequested { reason: "done".into(), at: at(100) });
    story.bot(reported(ReportedState::Stopped, 130)).bot(BotEvent::BotStopped { at: at(400) });
    check(story, "bot_stopped_unexpectedly", 1_000, &[]);
}

#[test]
fn silence_is_a_warning_and_critical_after_two_minutes_and_is_explained_by_a_hummingbot_that_is_away() {
    let mut story = Story::with_maker();
    let silent = |last, second| BotEvent::BotSilent { last_seen: at(last), at: at(second) };
    story.bot(silent(60, 100)).bot(BotEvent::BotSeenAlive { at: at(300) });
    let told = [
        "100 heartbeat_lost fired warning",
        "180 heartbeat_lost escalated critical worse",
        "345 heartbeat_lost resolved cleared",
    ];
    check(story, "heartbeat_lost", 500, &told);
    let mut story = Story::with_maker();
    let lost = AccountEvent::HummingbotLost { since: at(20), reason: "connection refused".into(), at: at(50) };
    story.at(50, AggregateRef::new("account", "hummingbot"), lost).bot(silent(60, 100));
    let (_, fired) = story.fired("heartbeat_lost");
    assert!(
        matches!(&fired, AlertEvent::AlertFired { inhibited_by: Some(by), .. } if by.as_str() == "hummingbot_down")
    );
    story.bot(BotEvent::BotSeenAlive { at: at(110) }).bot(silent(120, 125));
    check(story, "heartbeat_lost", 130, &["100 heartbeat_lost fired warning"]);
    // One that shall not run may be silent.
    let mut story = Story::with_maker();
    story.bot(BotEvent::BotStopRequested { reason: "done".into(), at: at(50) }).bot(silent(60, 100));
    check(story, "heartbeat_lost", 500, &[]);
}

#[test]
fn a_hummingbot_that_is_away_is_critical_until_it_is_back() {
    let mut story = Story::desk();
    let desk = || AggregateRef::new("desk", "hummingbot");
    let lost = DeskEvent::HummingbotLost { since: at(10), reason: "connection refused".into(), at: at(40) };
    story.at(40, desk(), lost).at(100, desk(), DeskEvent::HummingbotBack { at: at(100) });
    check(
        story,
        "hummingbot_down",
        200,
        &["40 hummingbot_down fired critical", "100 hummingbot_down resolved cleared"],
    );
    let mut story = Story::desk();
    story.at(100, desk(), DeskEvent::HummingbotBack { at: at(100) });
    check(story, "hummingbot_down", 200, &[]);
}

#[test]
fn a_balance_is_low_when_two_orders_do_not_fit_for_a_minute() {
    let mut story = Story::with_maker();
    // Four orders of 500 each.
    story
        .mark(0, "100")
        .holds(10, "USDT", "5000", "999")
        .holds(100, "USDT", "5000", "1100")
        .holds(200, "USDT", "5000", "1300");
    check(story, "balance_low", 400, &["70 balance_low fired warning", "200 balance_low resolved cleared"]);
    let mut story = Story::with_maker();
    story
        .mark(0, "100")
        .holds(10, "USDT", "5000", "999")
        .holds(60, "USDT", "5000", "2000")
        .holds(70, "SOL", "10", "10.1");
    story.holds(80, "BNB", "1", "0");
    check(story, "balance_low", 400, &[]);
}

#[test]
fn a_balance_differs_twice_in_a_row_or_it_is_nothing() {
    let mut story = Story::with_maker();
    story.holds(0, "USDT", "10000", "10000").fill(20, Side::Buy, "150", "10").holds(60, "USDT", "8400", "8400");
    story.holds(120, "USDT", "8400", "8400").holds(180, "USDT", "8500", "8500");
    let told = ["120 balance_mismatch fired critical", "180 balance_mismatch resolved cleared"];
    check(story, "balance_mismatch", 300, &told);
    let mut story = Story::with_maker();
    story.holds(0, "USDT", "10000", "10000").fill(20, Side::Buy, "150", "10").holds(60, "USDT", "8400", "8400");
    story.holds(120, "USDT", "8499", "8499").holds(180, "USDT", "8400", "8400");
    check(story, "balance_mismatch", 300, &[]);
}

#[test]
fn a_feed_is_stale_when_part_of_a_minute_is_unknown_and_critical_when_minutes_stop() {
    let mut story = Story::with_maker();
    for (begin, good) in [(0, 60), (60, 45), (120, 60), (180, 45), (240, 60), (300, 60), (360, 60)] {
        story.quote_minute(begin, good, 60 - good).depth_minute(begin, "1000", "1000");
    }
    let told = [
        "120 feed_stale fired warning",
        "420 feed_stale resolved cleared",
        "510 feed_stale fired critical",
        "510 feed_stale fired critical",
    ];
    check(story, "feed_stale", 600, &told);
    // Neither quotes nor book are ever told of a bot that runs.
    check(Story::with_maker(), "feed_stale", 300, &["210 feed_stale fired critical"; 2]);
    let mut story = Story::with_maker();
    story.quote_minute(0, 60, 0).quote_minute(60, 52, 8);
    story.bot(BotEvent::BotStopRequested { reason: "done".into(), at: at(130) });
    check(story, "feed_stale", 1_000, &[]);
}

#[test]
fn a_price_is_held_against_the_median_of_three_exchanges() {
    let mut story = Story::with_maker();
    let others = [Exchange::Kucoin, Exchange::Okx, Exchange::Bybit];
    let books = |story: &mut Story, second| {
        for exchange in others {
            story.book(second, exchange, "149.95", "150.05");
        }
    };
    books(&mut story, 50);
    story.quotes(55, "149.85", "150.15").quotes(100, "152.85", "153.15");
    // 80 bps are neither so far off that it fires nor so near that it is over.
    for second in [130, 210, 290] {
        books(&mut story, second);
        story.quotes(second + 10, "151.05", "151.35").quotes(second + 30, "152.85", "153.15");
    }
    story.quotes(350, "149.85", "150.15");
    let told = ["110 price_deviation fired critical", "350 price_deviation resolved cleared"];
    check(story, "price_deviation", 400, &told);
    let mut story = Story::with_maker();
    story.book(50, Exchange::Kucoin, "149.95", "150.05").book(51, Exchange::Okx, "149.95", "150.05");
    story.quotes(100, "152.85", "153.15");
    check(story, "price_deviation", 250, &[]);
}

#[test]
fn a_self_match_is_exact_strong_or_weak_and_ends_by_hand() {
    let other = BotId(Uuid::from_u128(2));
    let mut story = Story::with_maker();
    story.fill_of(10, maker(), Side::Buy, "150", "1", "same").fill_of(11, other, Side::Sell, "150", "1", "same");
    story.until(5_000);
    let told = [
        "11 self_match fired critical",
        "311 self_match escalated critical unacknowledged",
        "911 self_match escalated critical unacknowledged",
    ];
    assert_eq!(of("self_match", &mut story), told);
    story.acknowledge(5_100, "self_match");
    check(story, "self_match", 5_200, &["5100 self_match resolved byhand"]);
    let mut story = Story::with_maker();
    story.fill(10, Side::Buy, "150", "1").fill(12, Side::Sell, "150.0", "1.0");
    check(story, "self_match", 20, &["12 self_match fired critical"]);
    let mut story = Story::with_maker();
    story.fill(10, Side::Buy, "150", "1").fill_of(18, other, Side::Sell, "151", "1", "x");
    check(story, "self_match", 20, &["18 self_match fired critical"]);
}

#[test]
fn what_only_looks_like_two_sides_is_no_self_match() {
    let mut story = Story::with_maker();
    story.fill(10, Side::Buy, "150", "1").fill(13, Side::Sell, "150", "1");
    story.fill(20, Side::Buy, "150", "2").fill(21, Side::Buy, "150", "2");
    story.fill(30, Side::Buy, "150", "3").fill(31, Side::Sell, "150", "3.01");
    check(story, "self_match", 100, &[]);
}

#[test]
fn many_refused_orders_are_told_after_a_minute_and_few_are_not() {
    let mut story = Story::with_maker();
    for n in 0..120 {
        story.order(n, n % 5 == 0);
    }
    for n in 120..500 {
        story.order(n, false);
    }
    let told = ["110 order_reject_rate fired warning", "371 order_reject_rate resolved cleared"];
    check(story, "order_reject_rate", 600, &told);
    let mut story = Story::with_maker();
    for n in 0..10 {
        story.order(n, true);
    }
    check(story, "order_reject_rate", 400, &[]);
}

#[test]
fn what_an_agent_was_refused_is_a_warning_and_critical_the_third_time_or_for_another_client() {
    let refused = |foreign, second| AgentEvent::PlanRejected {
        plan: Uuid::from_u128(9),
        action: "propose_order".into(),
        refusals: vec![PlanRefusal { rule: "max_order_notional".into(), limit: "500".into(), value: "900".into() }],
        foreign,
        at: at(second),
    };
    let agent = || AggregateRef::new("agent", "chat");
    let mut story = Story::with_maker();
    for second in [10, 20, 30] {
        story.at(second, agent(), refused(false, second));
    }
    let told = [
        "10 agent_action_denied fired warning",
        "30 agent_action_denied escalated critical worse",
        "330 agent_action_denied escalated critical unacknowledged",
        "910 agent_action_denied resolved passed",
    ];
    check(story, "agent_action_denied", 1_000, &told);
    let mut story = Story::with_maker();
    story.at(10, agent(), refused(true, 10));
    check(story, "agent_action_denied", 20, &["10 agent_action_denied fired critical"]);
    let mut story = Story::with_maker();
    for second in [10, 1_000, 2_000] {
        story.at(second, agent(), refused(false, second));
    }
    story.until(2_100);
    assert!(of("agent_action_denied", &mut story).iter().all(|line| !line.contains("critical")));
    // What it spends is no refusal.
    let mut story = Story::with_maker();
    let charged = AgentEvent::BudgetCharged {
        model: "a-model".into(),
        input_tokens: 10,
        output_tokens: 10,
        cost: d("1"),
        spent_today: d("90"),
        allowed_a_day: Some(d("100")),
        request: "r1".into(),
        at: at(10),
    };
    story.at(10, agent(), charged);
    check(story, "agent_action_denied", 100, &[]);
}

#[test]
fn an_agent_is_near_its_limit_until_the_day_ends() {
    let charged = |spent: &str, allowed: Option<&str>, second| AgentEvent::BudgetCharged {
        model: "claude".into(),
        input_tokens: 1,
        output_tokens: 1,
        cost: d("0.1"),
        spent_today: d(spent),
        allowed_a_day: allowed.map(d),
        request: "r".into(),
        at: at(second),
    };
    let agent = || AggregateRef::new("agent", "chat");
    let mut story = Story::with_maker();
    story.at(10, agent(), charged("4", Some("5"), 10)).at(20, agent(), charged("4.01", Some("5"), 20));
    let told = ["20 agent_limit_near fired warning", "43200 agent_limit_near resolved cleared"];
    check(story, "agent_limit_near", 44_000, &told);
    let mut story = Story::with_maker();
    story.at(10, agent(), charged("400", None, 10));
    check(story, "agent_limit_near", 100, &[]);
}

#[test]
fn a_token_in_two_hands_and_many_failed_logins_wait_for_somebody_to_look() {
    let user = events::UserId(Uuid::from_u128(5));
    let desk = || AggregateRef::new("desk", user);
    let failed = |failures, second| DeskEvent::LoginsFailed { user, failures, since: at(0), at: at(second) };
    let mut story = Story::desk();
    story.at(10, desk(), failed(10, 10));
    let session = events::SessionId(Uuid::from_u128(6));
    story.at(20, desk(), DeskEvent::RefreshReused { session, user, at: at(20) });
    let told = ["10 auth_anomaly fired warning", "20 auth_anomaly escalated critical worse"];
    story.until(100);
    assert_eq!(of("auth_anomaly", &mut story), told);
    story.acknowledge(200, "auth_anomaly");
    check(story, "auth_anomaly", 300, &["200 auth_anomaly resolved byhand"]);
    let mut story = Story::desk();
    story.at(10, desk(), failed(9, 10));
    check(story, "auth_anomaly", 100, &[]);
}

#[test]
fn a_key_that_is_opened_much_more_often_than_usual_or_lies_in_the_wrong_place_is_told() {
    let sealed = events::SealedId(Uuid::from_u128(8));
    let key = || AggregateRef::new("credential", "key");
    let opened = |second| CredentialEvent::CredentialOpened { sealed, purpose: Purpose::Connect, at: at(second) };
    let mut story = Story::with_maker();
    for n in 0..21 {
        story.at(n, key(), opened(n));
    }
    story.until(40).acknowledge(50, "key_anomaly");
    check(story, "key_anomaly", 100, &["20 key_anomaly fired critical", "50 key_anomaly resolved byhand"]);
    let mut story = Story::with_maker();
    let refused = CredentialEvent::CredentialRefused { sealed, misfit: Misfit::Client, at: at(10) };
    story.at(10, key(), refused);
    check(story, "key_anomaly", 100, &["10 key_anomaly fired critical"]);
    let mut story = Story::with_maker();
    // Ten an hour for days are a habit; forty are no more than five times that.
    for hour in 0..72 {
        for n in 0..10 {
            story.at(hour * 3_600 + n, key(), opened(hour * 3_600 + n));
        }
    }
    for n in 0..40 {
        story.at(72 * 3_600 + n, key(), opened(72 * 3_600 + n));
    }
    check(story, "key_anomaly", 72 * 3_600 + 100, &[]);
}

#[test]
fn lag_is_told_after_ten_seconds_and_is_critical_after_a_minute() {
    let lag = |part: &str, events, s: u64, second| DeskEvent::LagObserved {
        part: part.into(),
        events,
        age_us: s * 1_000_000,
        at: at(second),
    };
    let desk = || AggregateRef::new("desk", "lag");
    for (rule, part) in [("projection_lag", "projection:pnl"), ("relay_lag", "relay")] {
        let mut story = Story::desk();
        story.at(10, desk(), lag(part, 600, 1, 10)).at(50, desk(), lag(part, 60, 1, 50)).at(
            100,
            desk(),
            lag(part, 10, 1, 100),
        );
        let told = [format!("20 {rule} fired warning"), format!("100 {rule} resolved cleared")];
        check(story, rule, 200, &told.each_ref().map(String::as_str));
        let mut story = Story::desk();
        story.at(10, desk(), lag(part, 10, 6, 10));
        check(story, rule, 100, &[&format!("20 {rule} fired warning"), &format!("70 {rule} escalated critical worse")]);
        let mut story = Story::desk();
        story.at(10, desk(), lag(part, 499, 4, 10)).at(30, desk(), lag(part, 600, 6, 30)).at(
            39,
            desk(),
            lag(part, 0, 0, 39),
        );
        check(story, rule, 100, &[]);
    }
}

#[test]
fn that_nobody_evaluated_alerts_is_told_when_somebody_does_again() {
    let desk = || AggregateRef::new("desk", "alerts");
    let mut story = Story::desk();
    story.at(40, desk(), DeskEvent::AlertsSilent { since: at(10), at: at(40) });
    story.at(100, desk(), DeskEvent::AlertsBack { at: at(100) });
    check(story, "dead_man", 200, &["40 dead_man fired critical", "145 dead_man resolved cleared"]);
    let mut story = Story::desk();
    story.at(100, desk(), DeskEvent::AlertsBack { at: at(100) });
    check(story, "dead_man", 200, &[]);
}

#[test]
fn a_channel_that_fails_three_times_or_is_gone_is_told_until_it_takes_something() {
    let channel = ChannelId(Uuid::from_u128(7));
    let of = || AggregateRef::new("channel", channel);
    let failed = || Delivery::Failed { reason: "it answered 503".into() };
    let tested =
        |seq, attempt, result, second| ChannelEvent::ChannelTested { of: seq, attempt, result, at: at(second) };
    let mut story = Story::with_maker();
    for (attempt, second) in [(1, 10), (2, 15), (3, 315)] {
        story.at(second, of(), tested(4, attempt, failed(), second));
    }
    story.at(2_115, of(), tested(4, 4, Delivery::Delivered, 2_115));
    let told = ["315 channel_failing fired warning", "2115 channel_failing resolved cleared"];
    check(story, "channel_failing", 2_200, &told);
    let mut story = Story::with_maker();
    story.at(10, of(), ChannelEvent::ChannelDisabled { why: WhyDisabled::Gone, at: at(10) });
    let settings = channel::Settings { severity: Severity::Info, wait_s: 30, quiet: None, on: true };
    story.at(100, of(), ChannelEvent::ChannelChanged { settings, at: at(100) });
    check(
        story,
        "channel_failing",
        200,
        &["10 channel_failing fired critical", "100 channel_failing resolved cleared"],
    );
    // One message that tells of many alerts is one try, and two tries are none too many.
    let mut story = Story::with_maker();
    for (attempt, second) in [(1, 10), (1, 10), (1, 10), (2, 15), (2, 15)] {
        let notified = AlertEvent::AlertNotified {
            rule: "spread_wide".parse().unwrap(),
            severity: Severity::Warning,
            episode: 1,
            channel,
            notice: Notice::Fired,
            attempt,
            result: failed(),
            message: Some(MessageId(Uuid::from_u128(3))),
            at: at(second),
        };
        story.at(second, AggregateRef::new("alert", AlertId(Uuid::from_u128(5))), notified);
    }
    check(story, "channel_failing", 200, &[]);
}

#[test]
fn a_promise_that_a_day_did_not_keep_is_told_until_a_day_keeps_it() {
    let of = || AggregateRef::new("agreement", AgreementId(Uuid::from_u128(6)));
    let day = |n: i64| at(n * 86_400);
    let judged = |n: i64, outcome| {
        let clause = Clause::Sides { least: d("0.9") };
        let (measured, numerator, denominator) = (Some(d("0.85")), d("85"), d("100"));
        let verdicts = vec![Verdict { clause, outcome, measured, numerator, denominator }];
        let judged_at = day(n + 1).plus_micros(900_000_000);
        AgreementEvent::AgreementJudged { day: day(n), verdicts, excluded_us: 0, as_of_seq: 1, at: judged_at }
    };
    let when = |n: i64| (n + 1) * 86_400 + 900;
    let mut story = Story::with_maker();
    story.at(when(1), of(), judged(1, Outcome::Missed)).at(when(2), of(), judged(2, Outcome::Missed));
    story.at(when(3), of(), judged(3, Outcome::Met));
    // A day before, judged anew, is history.
    story.at(when(3) + 50, of(), judged(2, Outcome::Missed));
    let told = [
        format!("{} agreement_missed fired warning", when(1)),
        format!("{} agreement_missed resolved cleared", when(3)),
    ];
    check(story, "agreement_missed", when(3) + 500, &told.each_ref().map(String::as_str));
    let mut story = Story::with_maker();
    for (n, outcome) in [(1, Outcome::Met), (2, Outcome::Excused), (3, Outcome::Unknown)] {
        story.at(when(n), of(), judged(n, outcome));
    }
    check(story, "agreement_missed", when(3) + 500, &[]);
    // A day that nobody could measure was not kept, and what is judged when it is over concerns nobody.
    let mut story = Story::with_maker();
    story.at(when(1), of(), judged(1, Outcome::Missed)).at(when(2), of(), judged(2, Outcome::Unknown));
    story.at(when(2) + 60, of(), AgreementEvent::AgreementEnded { reason: "over".into(), at: at(when(2) + 60) });
    story.at(when(3), of(), judged(3, Outcome::Missed));
    let told = [
        format!("{} agreement_missed fired warning", when(1)),
        format!("{} agreement_missed resolved cleared", when(2) + 60),
    ];
    check(story, "agreement_missed", when(3) + 500, &told.each_ref().map(String::as_str));
}

#[test]
fn a_run_of_a_schedule_that_was_missed_or_refused_is_told_for_a_while() {
    let of = || AggregateRef::new("schedule", ScheduleId(Uuid::from_u128(6)));
    let ran = |outcome, second| ScheduleEvent::ScheduleRan { due: at(second), outcome, at: at(second + 1) };
    let mut story = Story::with_maker();
    story.at(11, of(), ran(RunOutcome::Refused { reason: "the bot is not there".into() }, 10));
    story.at(20, of(), ScheduleEvent::ScheduleMissed { due: at(1), last: at(5), runs: 3, at: at(20) });
    let told = ["11 scheduled_run_failed fired warning", "911 scheduled_run_failed resolved passed"];
    check(story, "scheduled_run_failed", 1_000, &told);
    let mut story = Story::with_maker();
    story.at(10, of(), ScheduleEvent::ScheduleTriggered { due: at(10), at: at(10) });
    story.at(11, of(), ran(RunOutcome::Wanted { seq: Some(7) }, 10));
    check(story, "scheduled_run_failed", 1_000, &[]);
}

#[test]
fn every_rule_has_a_story_here_and_says_what_its_numbers_are() {
    let text = include_str!("stories.rs");
    let mut names: Vec<&str> = alerts::rules().iter().map(|kind| kind.name).collect();
    for kind in alerts::rules() {
        let checks = || text.lines().filter(|line| line.contains(&format!("\"{}\",", kind.name)));
        // Those about the lag of two parts, and those that stand on several lines, name their rule by itself.
        let is_silent = |line: &str| line.trim_end().ends_with("&[]);");
        let elsewhere = ["projection_lag", "relay_lag"].contains(&kind.name);
        assert!(elsewhere || checks().any(|line| !is_silent(line)), "{} fires in no story", kind.name);
        assert!(elsewhere || checks().any(is_silent), "{} is silent in no story", kind.name);
        assert!(kind.name.parse::<events::RuleName>().is_ok() && !kind.about.is_empty(), "{}", kind.name);
        for parameter in kind.parameters {
            let numbers = [parameter.least, parameter.default, parameter.most].map(d);
            assert!(numbers.is_sorted(), "{} {}", kind.name, parameter.name);
        }
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), alerts::rules().len(), "two rules have one name");
}
