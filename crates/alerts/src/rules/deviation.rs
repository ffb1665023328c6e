//! A bot quotes around a price that other exchanges do not have.

use events::{
    BotId, Decimal, Event,
    alert::{Labels, Severity},
    bot::Venue,
    market::MarketEvent,
};

use super::{Rule, keep, median, number, wait};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading},
    exact::{divided, minus, times},
};

pub(crate) struct PriceDeviation;

/// So many exchanges have to be known.
const VENUES_MIN: usize = 3;
/// Quotes and middles are told at the end of each minute, and when they change by a band: what was told longer ago says nothing.
const KNOWN_FOR_US: i64 = 90_000_000;

impl Rule for PriceDeviation {
    const KIND: Kind = Kind {
        name: "price_deviation",
        version: 2,
        about: "the middle of a bot's quotes is far from the median of three exchanges or more",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
        parameters: &[
            number("off_bps", "bps", ["1", "100", "10000"], "so far off is too far"),
            number("clear_bps", "bps", ["1", "60", "10000"], "less off than this is well").up_to("off_bps"),
            wait("10"),
            keep("0"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        let Event::Market(told) = &hearing.event.event else { return };
        if let MarketEvent::QuoteObserved { bot, venue, .. }
        | MarketEvent::QuotesUnknown { bot, venue, .. }
        | MarketEvent::QuoteMinute { bot, venue, .. } = told
        {
            say(*bot, venue, hearing);
        } else if let MarketEvent::DepthObserved { venue, .. } | MarketEvent::DepthMinute { venue, .. } = told {
            let bots: Vec<(BotId, Venue)> =
                hearing.world.wanted_in(&venue.pair).map(|(bot, venue)| (bot, venue.clone())).collect();
            bots.into_iter().for_each(|(bot, venue)| say(bot, &venue, hearing));
        }
    }
}

fn say(bot: BotId, venue: &Venue, hearing: &mut Hearing<'_>) {
    let labels = Labels::of(bot, venue);
    let quote = hearing.world.quotes.get(&(bot, venue.clone())).copied();
    let until = quote.map(|quote| quote.at.plus_micros(KNOWN_FOR_US)).filter(|until| hearing.at < *until);
    let Some(until) = until else { return hearing.say(labels, Reading::unknown()) };
    let recent = |at: events::Time| hearing.at.micros() - at.micros() <= KNOWN_FOR_US;
    let others: Vec<Decimal> = hearing
        .world
        .middles
        .iter()
        .filter(|(of, (_, at))| of.pair == venue.pair && recent(*at))
        .map(|(_, (middle, _))| middle.0)
        .collect();
    let known = others.len() >= VENUES_MIN;
    let measured = quote.and_then(|quote| quote.spread()).zip(median(others).filter(|_| known));
    let Some(((own, _), usual)) = measured else { return hearing.say(labels, Reading::unknown()) };
    let Some(off) = divided(times(minus(own, usual).abs(), Decimal::from_int(10_000)), usual) else { return };
    let [far, clear] = ["off_bps", "clear_bps"].map(|name| hearing.parameter(&labels, name));
    let now = if off > far {
        Condition::Above(Severity::Critical)
    } else if off < clear {
        Condition::Clear
    } else {
        Condition::Between
    };
    let summary =
        format!("{} quotes {} {} bps from what others have", hearing.world.name(bot), venue.pair, off.rounded(1));
    let reading = Reading::new(now, summary)
        .with("off", off, Some(far), "bps")
        .with("own_middle", own, None, venue.pair.quote())
        .with("median", usual, None, venue.pair.quote())
        .then(until, Condition::Unknown);
    hearing.say(labels, reading);
}
