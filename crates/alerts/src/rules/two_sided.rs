//! A bot that shall run does not quote both sides.

use events::{
    BotId, Decimal, Event,
    alert::{Labels, Severity},
    bot::{BotEvent, Venue},
    market::MarketEvent,
};

use super::{Rule, count, keep, micros, number, wait, wait_critical};
use crate::engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading};

pub(crate) struct NoTwoSidedQuotes;

const MINUTE_US: u64 = 60_000_000;
/// A missing side is as bad as can be; how long it is missing makes the difference.
const SO: Condition = Condition::Above(Severity::Critical);

impl Rule for NoTwoSidedQuotes {
    const KIND: Kind = Kind {
        name: "no_two_sided_quotes",
        version: 2,
        about: "a bot that shall run has no order on one side of the book, or on none",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
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
        if let Event::Market(told) = &hearing.event.event {
            quoted(told, hearing);
        } else if let Event::Bot(BotEvent::BotDeployed { .. }) = &hearing.event.event {
            began(hearing);
        }
    }
}

fn quoted(told: &MarketEvent, hearing: &mut Hearing<'_>) {
    match told {
        MarketEvent::QuoteObserved { bot, venue, bid, ask, .. } => {
            say(*bot, venue, [bid.is_some(), ask.is_some()], hearing);
        }
        MarketEvent::QuoteMinute { bot, venue, bid, ask, .. } if bid.is_some() || ask.is_some() => {
            say(*bot, venue, [bid.is_some(), ask.is_some()], hearing);
        }
        // Not every change is told of a bot whose quotes change often; a whole minute says enough.
        MarketEvent::QuoteMinute { bot, venue, bid_us, ask_us, two_sided_us, unknown_us, changes_left_out, .. } => {
            let is_known = *unknown_us == 0;
            if changes_left_out.is_some() && *two_sided_us >= MINUTE_US {
                say(*bot, venue, [true; 2], hearing);
            } else if is_known && *bid_us == 0 && *ask_us == 0 {
                say(*bot, venue, [false; 2], hearing);
            }
        }
        MarketEvent::QuotesUnknown { bot, venue, .. } => hearing.say(Labels::of(*bot, venue), Reading::unknown()),
        MarketEvent::MarkObserved { .. }
        | MarketEvent::DepthObserved { .. }
        | MarketEvent::DepthMinute { .. }
        | MarketEvent::VolumeObserved { .. } => {}
    }
}

fn say(bot: BotId, venue: &Venue, sides: [bool; 2], hearing: &mut Hearing<'_>) {
    let labels = Labels::of(bot, venue);
    let side = match sides {
        [true, true] => {
            let none = Decimal::ZERO;
            return hearing.say(labels, Reading::clear().with("missing", none, Some(none), "sides"));
        }
        [true, false] => "offers nothing",
        [false, true] => "bids nothing",
        [false, false] => "quotes nothing",
    };
    // What is told of a run before this one says nothing.
    let Some(since) = hearing.world.bots.get(&bot).and_then(|bot| bot.runs_since) else {
        return hearing.say(labels, Reading::unknown());
    };
    let summary = format!("{} {side} in {}", hearing.world.name(bot), venue.pair);
    let missing = count(sides.iter().filter(|there| !**there).count());
    let reading = |now| Reading::new(now, summary).with("missing", missing, Some(Decimal::ZERO), "sides");
    let begins = since.plus_micros(micros(hearing.parameter(&labels, "start_s")));
    let reading = match hearing.at < begins {
        true => reading(Condition::Unknown).then(begins, SO),
        false => reading(SO),
    };
    hearing.say(labels, reading);
}

/// A bot that has just begun is given time to quote.
fn began(hearing: &mut Hearing<'_>) {
    let Ok(bot) = hearing.event.aggregate.id.parse() else { return };
    let Some(venue) = hearing.world.bots.get(&bot).and_then(|bot| bot.venue.clone()) else { return };
    let labels = Labels::of(bot, &venue);
    let begins = hearing.at.plus_micros(micros(hearing.parameter(&labels, "start_s")));
    let summary = format!("{} has not quoted in {} since it began to run", hearing.world.name(bot), venue.pair);
    let reading = Reading::new(Condition::Unknown, summary).with("missing", count(2), Some(Decimal::ZERO), "sides");
    hearing.say(labels, reading.then(begins, SO));
}
