//! Nobody can tell what a bot's orders or its market look like.

use events::{
    Decimal, Event,
    alert::{Labels, Severity},
    bot::BotEvent,
    market::MarketEvent,
};

use super::{Rule, keep, micros, number};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct FeedStale;

const MINUTE_US: i64 = 60_000_000;
/// How long it may take after a bot began to run until somebody looks.
const BEGIN_US: i64 = MINUTE_US;
/// How long after its begin the minute after this one is told at the latest: half a minute after its end.
const OVERDUE_US: i64 = 2 * MINUTE_US + 30_000_000;

impl Rule for FeedStale {
    const KIND: Kind = Kind {
        name: "feed_stale",
        version: 3,
        about: "for part of a minute nobody could tell what a bot quoted or what stood in its market, or no minute is told at all",
        of: Of::Clients,
        names: Names::BOTS_FEED,
        parameters: &[
            number("unknown_s", "s", ["1", "10", "60"], "so much of a minute unknown is stale"),
            number("critical_s", "s", ["1", "59", "60"], "so much of a minute unknown is critical").from("unknown_s"),
            // Three minutes of which everything is known.
            keep("120"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        if let Event::Bot(BotEvent::BotDeployed { .. }) = &hearing.event.event {
            return began(hearing);
        }
        let Event::Market(told) = &hearing.event.event else { return };
        let (bot, venue, what, unknown, at) = match told {
            MarketEvent::QuoteMinute { bot, venue, unknown_us, at, .. } => (bot, venue, "quotes", *unknown_us, *at),
            MarketEvent::DepthMinute { bot, venue, known_us, at, .. } => {
                (bot, venue, "book", MINUTE_US.unsigned_abs().saturating_sub(*known_us), *at)
            }
            MarketEvent::MarkObserved { .. }
            | MarketEvent::QuoteObserved { .. }
            | MarketEvent::QuotesUnknown { .. }
            | MarketEvent::DepthObserved { .. }
            | MarketEvent::VolumeObserved { .. } => return,
        };
        // Of the minute in which it began to run nobody could tell all.
        if hearing.world.bots.get(bot).is_some_and(|bot| bot.runs_since.is_none_or(|since| at < since)) {
            return;
        }
        let labels = Labels { about: Some(what.to_owned()), ..Labels::of(*bot, venue) };
        let [stale, critical] =
            ["unknown_s", "critical_s"].map(|name| micros(hearing.parameter(&labels, name)).unsigned_abs());
        let now = match unknown {
            unknown if unknown >= critical => Condition::Above(Severity::Critical),
            unknown if unknown >= stale => Condition::Above(Severity::Warning),
            _ => Condition::Clear,
        };
        let told = Decimal::new(unknown.into(), 6);
        let whose = hearing.world.name(*bot);
        let summary =
            format!("for {} s of a minute nobody could tell the {what} of {whose} in {}", told.rounded(1), venue.pair);
        let reading = Reading::new(now, summary)
            .with("unknown", told, Some(Decimal::new(stale.into(), 6)), "s")
            .then_shown(at.plus_micros(OVERDUE_US), overdue(&format!("the {what} of {whose} in {}", venue.pair)));
        hearing.say(labels, reading);
    }
}

/// The first minute of a bot that runs may never be told, either.
fn began(hearing: &mut Hearing<'_>) {
    let Ok(bot) = hearing.event.aggregate.id.parse() else { return };
    let Some(venue) = hearing.world.bots.get(&bot).and_then(|bot| bot.venue.clone()) else { return };
    let whose = hearing.world.name(bot);
    for what in ["quotes", "book"] {
        let labels = Labels { about: Some(what.to_owned()), ..Labels::of(bot, &venue) };
        let untold = overdue(&format!("the {what} of {whose} in {}", venue.pair));
        let reading =
            Reading::new(Condition::Between, "").then_shown(hearing.at.plus_micros(BEGIN_US + OVERDUE_US), untold);
        hearing.say(labels, reading);
    }
}

/// The minute after the last one is not told.
fn overdue(of_what: &str) -> Reading {
    let most = Decimal::new(OVERDUE_US.into(), 6);
    let summary = format!("nobody has told {of_what} for {} s", most.normalised());
    Reading::new(Condition::Above(Severity::Critical), summary).with("untold", most, Some(most), "s")
}
