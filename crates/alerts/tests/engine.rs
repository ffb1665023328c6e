//! What the engine makes of any rule: versions, configuration, what is late, who looks after it, and what is tried out.

mod story;

use alerts::Engine;
use events::{
    AggregateRef,
    alert::Severity,
    bot::{BotEvent, Limits},
    ledger::Side,
};
use story::{Story, at, check, d, maker};

#[test]
fn a_rule_that_is_off_ends_what_goes_on_and_says_nothing_until_it_is_on_again() {
    let mut story = Story::with_maker();
    story.quotes(5, "149.85", "150.15").quotes(100, "149.55", "150.45").configure(200, "spread_wide", false, &[]);
    // What was told last while it was off is so from when it is on.
    story.quotes(300, "149.55", "150.45").configure(400, "spread_wide", true, &[("for_s", "5")]);
    let told = ["130 spread_wide fired warning", "200 spread_wide resolved ruleoff", "405 spread_wide fired warning"];
    check(story, "spread_wide", 600, &told);
}

#[test]
fn what_another_version_said_ends_when_this_one_speaks_and_the_past_stays_as_it_is() {
    let others = || Engine::versions().into_iter().map(|(rule, version)| (rule, version + 1)).collect();
    let mut story = Story::with_maker();
    story.quotes(5, "149.85", "150.15").quotes(100, "149.55", "150.45").speak(200, others());
    story.quotes(300, "149.85", "150.15").speak(400, Engine::versions()).quotes(500, "149.55", "150.45");
    let told =
        ["130 spread_wide fired warning", "400 spread_wide resolved rulechanged", "530 spread_wide fired warning"];
    check(story, "spread_wide", 600, &told);
    // What was so before anybody spoke is told from then on, and not of before.
    let mut story = Story::with_maker();
    story.speak(1, [].into()).quotes(5, "149.55", "150.45").speak(1_000, Engine::versions());
    check(story, "spread_wide", 2_000, &["1030 spread_wide fired warning"]);
}

#[test]
fn what_is_bad_all_the_time_is_said_again_by_the_version_that_speaks() {
    let others = || Engine::versions().into_iter().map(|(rule, version)| (rule, version + 1)).collect();
    let mut story = Story::with_maker();
    story.bot(BotEvent::BotSilent { last_seen: at(60), at: at(100) }).until(190).speak(200, others());
    story.speak(400, Engine::versions());
    let told = [
        "100 heartbeat_lost fired warning",
        "180 heartbeat_lost escalated critical worse",
        "400 heartbeat_lost resolved rulechanged",
        "400 heartbeat_lost fired critical",
    ];
    check(story, "heartbeat_lost", 600, &told);
}

#[test]
fn what_was_bad_long_before_it_was_told_is_told_on_from_when_it_was_told() {
    let mut story = Story::with_maker();
    story.bot(BotEvent::BotSilent { last_seen: at(-2_000), at: at(100) });
    let told = [
        "100 heartbeat_lost fired critical",
        "400 heartbeat_lost escalated critical unacknowledged",
        "1000 heartbeat_lost escalated critical unacknowledged",
    ];
    check(story, "heartbeat_lost", 2_000, &told);
}

#[test]
fn nothing_fires_before_what_would_have_cleared_it_can_have_come() {
    let mut story = Story::with_maker();
    story.late_quotes(40, 5, "149.85", "150.15");
    // One side for ten seconds, all of it told five seconds late; what else happens meanwhile is told at once.
    story.late_quotes(100, 5, "149.85", "").fill(114, Side::Buy, "150", "0.1").late_quotes(110, 5, "149.85", "150.15");
    story.late_quotes(200, 5, "149.85", "").fill(219, Side::Buy, "150", "0.1").late_quotes(216, 5, "149.85", "150.15");
    let told = ["215 no_two_sided_quotes fired warning", "226 no_two_sided_quotes resolved cleared"];
    check(story, "no_two_sided_quotes", 400, &told);
}

#[test]
fn a_bot_is_not_told_of_while_it_begins_and_is_while_its_stop_has_failed() {
    let mut story = Story::with_maker();
    story.quotes(2, "", "").quotes(50, "149.85", "150.15");
    check(story, "no_two_sided_quotes", 100, &[]);
    let mut story = Story::with_maker();
    story.quotes(2, "", "");
    check(story, "no_two_sided_quotes", 100, &["75 no_two_sided_quotes fired warning"]);
    let mut story = Story::with_maker();
    story.bot(BotEvent::BotDeployRequested { at: at(85) });
    story.bot(BotEvent::BotDeployed { instance: "maker-2".into(), at: at(90) }).quote_minute(60, 20, 40);
    check(story, "feed_stale", 100, &[]);
    let mut story = Story::with_maker();
    story.quotes(50, "149.85", "150.15").bot(BotEvent::BotStopRequested { reason: "done".into(), at: at(100) });
    story.bot(BotEvent::BotStopFailed { reason: "no answer".into(), at: at(110) }).quotes(120, "149.85", "");
    check(story, "no_two_sided_quotes", 140, &["135 no_two_sided_quotes fired warning"]);
}

#[test]
fn a_bot_that_is_deployed_again_has_lost_what_it_had_lost_and_not_what_it_had_made() {
    let limits = || Limits { loss_budget: Some(d("100")), ..Limits::default() };
    let mut story = Story::with_maker_of(limits());
    story.mark(0, "100").fill(1, Side::Buy, "100", "10").mark(10, "150");
    story.bot(BotEvent::BotDeployRequested { at: at(20) }).fill(30, Side::Buy, "150", "1").mark(40, "149");
    check(story, "daily_loss_limit", 100, &[]);
    let mut story = Story::with_maker_of(limits());
    story.mark(0, "100").fill(1, Side::Buy, "100", "10").mark(10, "91");
    story.bot(BotEvent::BotDeployRequested { at: at(20) }).fill(30, Side::Buy, "91", "10").mark(40, "90");
    check(story, "daily_loss_limit", 100, &["40 daily_loss_limit fired critical"]);
}

#[test]
fn no_number_in_a_stream_stops_the_engine() {
    let mut story = Story::with_maker();
    let long = format!("1.{}", "7".repeat(70));
    story.configure(1, "spread_wide", true, &[("for_s", long.as_str()), ("keep_s", "99999999999999999999999999999")]);
    story.quotes(5, "149.55", "150.45").quotes(100, "149.85", "150.15");
    check(story, "spread_wide", 200, &["6 spread_wide fired warning"]);
}

#[test]
fn an_acknowledged_critical_one_is_not_told_on_and_a_worse_one_is_told_again() {
    let mut story = Story::with_maker();
    story.quotes(5, "149.85", "150.15").quotes(100, "147.75", "152.25").until(140).acknowledge(150, "spread_wide");
    check(story, "spread_wide", 2_000, &["130 spread_wide fired critical"]);
    let mut story = Story::with_maker();
    story.quotes(5, "149.85", "150.15").quotes(100, "149.55", "150.45").until(140).acknowledge(150, "spread_wide");
    story.quotes(200, "147.75", "152.25");
    let told = [
        "130 spread_wide fired warning",
        "230 spread_wide escalated critical worse",
        "530 spread_wide escalated critical unacknowledged",
    ];
    check(story, "spread_wide", 600, &told);
}

#[test]
fn what_a_bot_that_stops_had_is_over_and_what_is_history_fires_nothing() {
    let mut story = Story::with_maker();
    story.quotes(5, "149.85", "150.15").quotes(100, "149.55", "150.45").until(200);
    story.bot(BotEvent::BotStopRequested { reason: "done".into(), at: at(300) });
    check(story, "spread_wide", 400, &["130 spread_wide fired warning", "300 spread_wide resolved notwanted"]);
    let mut story = Story::with_maker();
    story.until(2_000);
    let quote = events::market::MarketEvent::QuoteObserved {
        bot: maker(),
        venue: story::venue(),
        bid: Some(events::Price(d("100"))),
        ask: Some(events::Price(d("200"))),
        band_bps: None,
        at: at(100),
    };
    story.tell(AggregateRef::new("market", "SOL-USDT"), quote.into(), at(2_000));
    check(story, "spread_wide", 3_000, &[]);
}

#[test]
fn severities_are_in_order() {
    assert!(Severity::Info < Severity::Warning && Severity::Warning < Severity::Critical);
}
