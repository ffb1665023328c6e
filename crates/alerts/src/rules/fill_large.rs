//! A single fill is much larger than those before.

use std::collections::BTreeMap;

use events::{
    BotId, Decimal, Event,
    alert::{Labels, Severity},
    bot::Venue,
    ledger::LedgerEvent,
};

use super::{Rule, Window, median, number};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading, venue_of, worth},
    exact::times,
};

pub(crate) struct FillLarge;

/// Fills that are remembered, and how many there have to be before their median counts.
const FILLS_MAX: usize = 200;
const FILLS_MIN: usize = 50;
/// However long ago they were.
const EVER_US: i64 = i64::MAX / 4;

impl Rule for FillLarge {
    const KIND: Kind = Kind {
        name: "fill_large",
        version: 1,
        about: "one fill is worth much more than the median of the last 200",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
        parameters: &[
            number("ratio", "x", ["1", "5", "1000"], "how many times the median is large"),
            number("warning_ratio", "x", ["1", "10", "1000"], "how many times the median is a warning").from("ratio"),
            number("limit_quote", "quote", ["0", "0", "1000000000"], "what is never large, whatever the median"),
            number(
                "first_quote",
                "quote",
                ["0", "1000", "1000000000"],
                "what is large while there are fewer than 50 fills",
            ),
            number("lasts_s", "s", ["1", "900", "86400"], "how long it is shown"),
        ],
        ends: Ends::Passing,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = BTreeMap<(BotId, Venue), Window<Decimal>>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Event::Ledger(LedgerEvent::FillRecorded(fill)) = &hearing.event.event else { return };
        let (venue, notional) = (venue_of(fill), worth(fill.price, fill.amount));
        let labels = Labels::of(fill.bot, &venue);
        let fills = memory.entry((fill.bot, venue.clone())).or_default();
        let usual = median(fills.iter().map(|(_, worth)| *worth)).filter(|_| fills.len() >= FILLS_MIN);
        fills.push(hearing.at, notional, EVER_US, FILLS_MAX);
        let [ratio, warning, limit, first] =
            ["ratio", "warning_ratio", "limit_quote", "first_quote"].map(|name| hearing.parameter(&labels, name));
        let large = usual.map_or(first, |usual| times(usual, ratio)).max(limit);
        let worse = usual.map_or(times(first, Decimal::from_int(2)), |usual| times(usual, warning)).max(limit);
        let now = match (notional > large, notional > worse) {
            (true, true) => Condition::Above(Severity::Warning),
            (true, false) => Condition::Above(Severity::Info),
            (false, _) => return,
        };
        let quote = venue.pair.quote().to_owned();
        let summary =
            format!("{} had a fill of {} {quote} in {}", hearing.world.name(fill.bot), notional.rounded(2), venue.pair);
        let mut reading = Reading::new(now, summary).with("notional", notional, Some(large), &quote);
        if let Some(usual) = usual {
            reading = reading.with("median", usual, None, &quote);
        }
        hearing.say(labels, reading);
    }
}
