//! A bot that shall run does not quote both sides.

use events::{
    Event,
    alert::{Labels, Severity},
    bot::BotEvent,
    market::MarketEvent,
};

use super::{Rule, keep, number, seconds, wait, wait_critical};
use crate::engine::{Condition, Ends, Hearing, Kind, Of, Reading};

pub(crate) struct NoTwoSidedQuotes;

const MINUTE_US: u64 = 60_000_000;

impl Rule for NoTwoSidedQuotes {
    const KIND: Kind = Kind {
        name: "no_two_sided_quotes",
        version: 1,
        about: "a bot that shall run has no order on one side of the book, or on none",
        of: Of::Clients,
        parameters: &[
            number("start_s", "s", ["0", "60", "3600"], "how long a bot may take to quote after it began to run"),
            wait("15"),
            wait_critical("60"),
            keep("10"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        if let Event::Market(MarketEvent::QuoteObserved { bot, venue, bid, ask, .. }) = &hearing.event.event {
            let side = match (bid, ask) {
                (Some(_), Some(_)) => return hearing.say(Labels::of(*bot, venue), Reading::clear()),
                (Some(_), None) => "offers nothing",
                (None, Some(_)) => "bids nothing",
                (None, None) => "quotes nothing",
            };
            let (labels, so) = (Labels::of(*bot, venue), Condition::Above(Severity::Critical));
            let summary = format!("{} {side} in {}", hearing.world.name(*bot), venue.pair);
            // What is told of a run before this one says nothing.
            let Some(since) = hearing.world.bots.get(bot).and_then(|bot| bot.runs_since) else {
                return hearing.say(labels, Reading::unknown());
            };
            let begins = Some(since.plus_micros(seconds(hearing.parameter(&labels, "start_s"))));
            hearing.say(labels, match begins.filter(|begins| hearing.at < *begins) {
                Some(begins) => Reading::new(Condition::Unknown, summary).then(begins, so),
                None => Reading::new(so, summary),
            });
        } else if let Some((labels, reading)) = minute(&hearing.event.event) {
            hearing.say(labels, reading);
        } else if let Event::Bot(BotEvent::BotDeployed { .. }) = &hearing.event.event {
            began(hearing);
        }
    }
}

/// Not every change is told of a bot whose quotes change often: a whole minute of both sides says that it is well.
fn minute(event: &Event) -> Option<(Labels, Reading)> {
    let Event::Market(MarketEvent::QuoteMinute { bot, venue, two_sided_us, changes_left_out, .. }) = event else {
        return None;
    };
    let is_well = changes_left_out.is_some_and(|left_out| left_out > 0) && *two_sided_us >= MINUTE_US;
    is_well.then(|| (Labels::of(*bot, venue), Reading::clear()))
}

/// A bot that has just begun is given time to quote.
fn began(hearing: &mut Hearing<'_>) {
    let Ok(bot) = hearing.event.aggregate.id.parse() else { return };
    let Some(venue) = hearing.world.bots.get(&bot).and_then(|bot| bot.venue.clone()) else { return };
    let labels = Labels::of(bot, &venue);
    let begins = hearing.at.plus_micros(seconds(hearing.parameter(&labels, "start_s")));
    let summary = format!("{} has not quoted in {} since it began to run", hearing.world.name(bot), venue.pair);
    hearing.say(labels, Reading::new(Condition::Unknown, summary).then(begins, Condition::Above(Severity::Critical)));
}
