//! Everybody's spread in a market is wide, compared with what it was before.

use std::collections::BTreeMap;

use events::{
    Decimal, Event, Price, Time,
    alert::{Labels, Severity},
    bot::Venue,
    market::MarketEvent,
};

use super::{Rule, Window, keep, number, wait};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Quote, Reading},
    exact::times,
};

pub(crate) struct MarketSpreadWide;

const HOUR_US: i64 = 3_600_000_000;
/// A market has to be known for so long before anything is unusual there.
const KNOWN_US: i64 = 600_000_000;
const CHANGES_MAX: usize = 2_000;

impl Rule for MarketSpreadWide {
    const KIND: Kind = Kind {
        name: "market_spread_wide",
        version: 2,
        about: "the best bid and ask of everybody in a market are further apart than in the hour before",
        of: Of::Clients,
        names: Names::MARKET,
        parameters: &[
            number("ratio", "x", ["1", "3", "100"], "how many times the median of an hour is wide"),
            number("clear_ratio", "x", ["1", "2", "100"], "below how many times the median it is usual").up_to("ratio"),
            wait("60"),
            keep("60"),
        ],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    /// The spreads of each market, each as it was from then on.
    type Memory = BTreeMap<Venue, Window<Decimal>>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        if let Some(venue) = hearing.left() {
            // Nobody looks at that market any more.
            return hearing.say(Labels::at(&venue), Reading::clear());
        }
        let Some((venue, bid, ask)) = best(&hearing.event.event) else { return };
        let labels = Labels::at(venue);
        let best = Quote { bid, ask, at: hearing.at };
        let Some((_, spread)) = best.spread() else { return hearing.say(labels, Reading::unknown()) };
        let known = memory.entry(venue.clone()).or_default();
        let usual = median_of(known, hearing.at);
        let since = known.first().map_or(hearing.at, |(at, _)| *at);
        known.push_lasting(hearing.at, spread, HOUR_US, CHANGES_MAX);
        let Some(usual) = usual.filter(|_| hearing.at.micros() - since.micros() >= KNOWN_US) else { return };
        let [ratio, clear] = ["ratio", "clear_ratio"].map(|name| hearing.parameter(&labels, name));
        let now = if spread > times(usual, ratio) {
            Condition::Above(Severity::Info)
        } else if spread < times(usual, clear) {
            Condition::Clear
        } else {
            Condition::Between
        };
        let summary = format!("the market of {} on {} is {} bps wide", venue.pair, venue.exchange, spread.rounded(2));
        let reading = Reading::new(now, summary).with("spread", spread, Some(times(usual, ratio)), "bps").with(
            "median_of_an_hour",
            usual,
            None,
            "bps",
        );
        hearing.say(labels, reading);
    }
}

/// The best prices of a book that an event tells of. How a minute ended says that a moment's change is over; one that does not
/// tell it says nothing.
fn best(event: &Event) -> Option<(&Venue, Option<Price>, Option<Price>)> {
    let Event::Market(told) = event else { return None };
    if let MarketEvent::DepthObserved { venue, best_bid, best_ask, .. } = told {
        return Some((venue, *best_bid, *best_ask));
    }
    let MarketEvent::DepthMinute { venue, best_bid: Some(bid), best_ask: Some(ask), .. } = told else { return None };
    Some((venue, Some(*bid), Some(*ask)))
}

/// The spread that was not exceeded for half of the last hour, as far as that is known.
fn median_of(known: &Window<Decimal>, now: Time) -> Option<Decimal> {
    let hour = now.micros() - HOUR_US;
    let ends = known.iter().skip(1).map(|(at, _)| *at).chain([now]);
    let mut lasted: Vec<(Decimal, i64)> = known
        .iter()
        .zip(ends)
        .map(|((at, spread), end)| (*spread, (end.micros() - at.micros().max(hour)).max(0)))
        .collect();
    lasted.sort_unstable();
    let half = lasted.iter().map(|(_, us)| us).sum::<i64>() / 2;
    let mut so_far = 0;
    lasted.into_iter().find_map(|(spread, us)| {
        so_far += us;
        (so_far >= half).then_some(spread)
    })
}
