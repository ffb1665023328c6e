//! A bot quotes wider than it was told to.

use events::{Event, alert::Labels, market::MarketEvent};

use super::{Rule, above, keep, number, wait};
use crate::{
    engine::{Ends, Hearing, Kind, Names, Of, Reading},
    exact::{divided, times},
};

pub(crate) struct SpreadWide;

impl Rule for SpreadWide {
    const KIND: Kind = Kind {
        name: "spread_wide",
        version: 3,
        about: "the best bid and ask of a bot are further apart than its config says",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
        parameters: &[
            number("ratio", "x", ["1", "2", "100"], "how many times the configured spread is too wide"),
            number("critical_ratio", "x", ["1", "4", "100"], "how many times the configured spread is critical")
                .from("ratio"),
            number("clear_ratio", "x", ["1", "1.6", "100"], "below how many times the configured spread it is well")
                .up_to("ratio"),
            number("floor_bps", "bps", ["1", "50", "5000"], "a spread that is never too wide"),
            wait("30"),
            keep("30"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        let Event::Market(
            MarketEvent::QuoteObserved { bot, venue, .. }
            | MarketEvent::QuotesUnknown { bot, venue, .. }
            | MarketEvent::QuoteMinute { bot, venue, bid: Some(_), ask: Some(_), .. },
        ) = &hearing.event.event
        else {
            return;
        };
        let labels = Labels::of(*bot, venue);
        let quote = hearing.world.quotes.get(&(*bot, venue.clone()));
        let Some((_, spread)) = quote.and_then(|quote| quote.spread()) else {
            return hearing.say(labels, Reading::unknown());
        };
        let [ratio, critical, clear, floor] =
            ["ratio", "critical_ratio", "clear_ratio", "floor_bps"].map(|name| hearing.parameter(&labels, name));
        let told = hearing.world.bots.get(bot).and_then(|bot| bot.spread_bps());
        // Where the config does not say, only the floor counts: what it says else is as wide as half of it.
        let configured = told.unwrap_or_else(|| floor.divided_by(ratio).unwrap_or(floor));
        // Where the floor is what counts, its steps are as far apart as those of what is configured would be.
        let of_floor = |step| divided(times(floor, step), ratio).unwrap_or(floor);
        let far = times(configured, ratio).max(floor);
        let critical = match times(configured, critical) {
            step if step > far || far > floor => step,
            _ => of_floor(critical),
        };
        let now = above(spread, far, Some(critical), times(configured, clear).max(of_floor(clear)));
        let summary =
            format!("the quotes of {} in {} are {} bps apart", hearing.world.name(*bot), venue.pair, spread.rounded(2));
        let mut reading = Reading::new(now, summary).with("spread", spread, Some(far), "bps");
        if let Some(told) = told {
            reading = reading.with("configured_spread", told, None, "bps");
        }
        hearing.say(labels, reading);
    }
}
