//! A bot has lost on a day what it may lose.

use std::collections::BTreeMap;

use events::{
    BotId, Decimal, Event, Time,
    alert::{Labels, Severity},
    bot::Venue,
    ledger::LedgerEvent,
    market::MarketEvent,
};
use serde::{Deserialize, Serialize};

use super::{Rule, number};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading, place_of, venue_of},
    exact::{minus, plus},
};

pub(crate) struct DailyLossLimit;

/// What a bot had made when the day began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begin {
    day: Time,
    made: Decimal,
    /// The last that was known of the day.
    last: Decimal,
}

impl Rule for DailyLossLimit {
    const KIND: Kind = Kind {
        name: "daily_loss_limit",
        version: 3,
        about: "a bot has lost as much on a day (UTC) as it may",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
        parameters: &[number(
            "limit_quote",
            "quote",
            ["0", "0", "1000000000"],
            "what it may lose on a day; 0: its loss budget, if it has one",
        )],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = BTreeMap<(BotId, Venue), Begin>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        for Valued { bot, venue, made, of_before, is_traded } in valued(hearing) {
            let labels = Labels::of(bot, &venue);
            let day = hearing.at.midnight();
            // Of what nobody could value before there was a mark nobody can tell when it was made.
            let before = if is_traded { Decimal::ZERO } else { made };
            let begin = memory.entry((bot, venue.clone())).or_insert(Begin { day, made: before, last: before });
            if begin.day != day {
                *begin = Begin { day, made: begin.last, last: begin.last };
            }
            if of_before {
                // What it made on another day, or before it was asked to run, is no part of what it made on this one.
                begin.made = plus(begin.made, minus(made, begin.last));
            }
            begin.last = made;
            // What is still held where nobody trades any more is nobody's loss; what was lost by then goes on to the day's end.
            if !is_traded && !hearing.world.trades(bot, &venue) {
                continue;
            }
            let told = hearing.parameter(&labels, "limit_quote");
            let budget = || hearing.world.bots.get(&bot)?.limits.loss_budget;
            let Some(limit) = Some(told).filter(Decimal::is_positive).or_else(budget) else { continue };
            let lost = minus(begin.made, made);
            let quote = venue.pair.quote().to_owned();
            let name = hearing.world.name(bot);
            let summary = format!("{name} has lost {} {quote} today in {}", lost.rounded(2), venue.pair);
            // What is won back does not end it: the day does.
            let now = if lost >= limit { Condition::Above(Severity::Critical) } else { Condition::Between };
            let reading = Reading::new(now, summary).with("lost", lost, Some(limit), &quote);
            hearing.say(labels, reading.then(hearing.at.next_midnight(), Condition::Clear));
        }
    }
}

/// What a bot has made in a market since ever.
pub(super) struct Valued {
    pub bot: BotId,
    pub venue: Venue,
    pub made: Decimal,
    /// What changed it happened on a day before, or before the bot was asked to run.
    pub of_before: bool,
    /// The bot's own doing changed it, and not the market alone.
    pub is_traded: bool,
}

/// Which bots' figures an event changes.
pub(super) fn valued(hearing: &Hearing<'_>) -> Vec<Valued> {
    let made = |bot: BotId, venue: Venue, of_before: bool, is_traded: bool| {
        let made = hearing.world.made(bot, &venue)?;
        Some(Valued { bot, venue, made, of_before, is_traded })
    };
    if let Event::Ledger(told) = &hearing.event.event {
        let Some((bot, venue)) = book_of(told) else { return Vec::new() };
        let asked = hearing.world.bots.get(&bot).and_then(|bot| bot.asked_at);
        let was_held = matches!(told, LedgerEvent::OpeningPosition { .. });
        let is_late = told.at() < hearing.at.midnight() || asked.is_some_and(|asked| told.at() < asked);
        return made(bot, venue, was_held || is_late, true).into_iter().collect();
    }
    let Event::Market(MarketEvent::MarkObserved { pair, .. }) = &hearing.event.event else { return Vec::new() };
    let books = hearing.world.books.keys().filter(|(_, venue)| venue.pair == *pair);
    books.filter_map(|(bot, venue)| made(*bot, venue.clone(), false, false)).collect()
}

/// Whose figures a fact of the ledger changes, and where.
fn book_of(told: &LedgerEvent) -> Option<(BotId, Venue)> {
    match told {
        LedgerEvent::FillRecorded(fill) => Some((fill.bot, venue_of(fill))),
        LedgerEvent::FillCorrected { was: fill, .. } | LedgerEvent::FillVoided { was: fill, .. } => {
            Some((fill.bot, venue_of(fill)))
        }
        LedgerEvent::OpeningPosition { book, .. } | LedgerEvent::FundingPaid { book, .. } => {
            Some((book.bot, place_of(book)))
        }
        LedgerEvent::FillDisputed { .. }
        | LedgerEvent::TransferRecorded { .. }
        | LedgerEvent::FeeRateSupplied { .. } => None,
    }
}
