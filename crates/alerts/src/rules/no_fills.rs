//! A bot quotes both sides and nothing fills.

use std::collections::BTreeMap;

use events::{
    BotId, Decimal, Event, Time,
    alert::{Labels, Severity},
    bot::Venue,
    ledger::LedgerEvent,
    market::MarketEvent,
};
use serde::{Deserialize, Serialize};

use super::{Rule, micros, number};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading, venue_of},
    exact::times,
};

pub(crate) struct NoFills;

/// Pauses between fills that are remembered.
const PAUSES_MAX: usize = 200;
/// No pause is waited for longer.
const MOST_S: i64 = 8_000_000;

/// When a bot filled last, and for how long it quoted both sides between its fills, in microseconds: what it did not quote it
/// did not wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pauses {
    last: Option<(Time, u64)>,
    pauses: Vec<i64>,
    /// Since when it quotes both sides without a break; absent: it does not.
    two_sided: Option<Time>,
    /// For how long it did so since its last fill, before that.
    waited_us: i64,
}

impl Rule for NoFills {
    const KIND: Kind = Kind {
        name: "no_fills",
        version: 3,
        about: "a bot that quotes both sides has had no fill for much longer than usual",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
        parameters: &[
            number("ratio", "x", ["1", "3", "1000"], "how many times as long as 95 % of the pauses before"),
            number("least_s", "s", ["60", "7200", "604800"], "a pause that is never too long"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: None,
    };

    type Memory = BTreeMap<(BotId, Venue), Pauses>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        if let Some(bot) = hearing.asked_to_run() {
            memory.iter_mut().filter(|((of, _), _)| *of == bot).for_each(|(_, pauses)| {
                (pauses.two_sided, pauses.waited_us) = (None, 0);
            });
        } else if let Event::Ledger(LedgerEvent::FillRecorded(fill)) = &hearing.event.event {
            let key = (fill.bot, venue_of(fill));
            let pauses = memory.entry(key.clone()).or_default();
            pauses.filled(fill.at, hearing.event.seq);
            say(&key, pauses, hearing);
        } else if let Event::Market(told) = &hearing.event.event
            && let Some((bot, venue, both)) = quoted(told)
        {
            let key = (bot, venue.clone());
            let pauses = memory.entry(key.clone()).or_default();
            pauses.quotes(hearing.at, both);
            say(&key, pauses, hearing);
        }
    }
}

/// Whose quotes an event tells, and whether they are on both sides; nobody quotes both where nobody can tell.
fn quoted(told: &MarketEvent) -> Option<(BotId, &Venue, bool)> {
    match told {
        MarketEvent::QuoteObserved { bot, venue, bid, ask, .. } => Some((*bot, venue, bid.is_some() && ask.is_some())),
        // A minute that does not tell how it ended leaves what was told before.
        MarketEvent::QuoteMinute { bot, venue, bid, ask, .. } if bid.is_some() || ask.is_some() => {
            Some((*bot, venue, bid.is_some() && ask.is_some()))
        }
        MarketEvent::QuotesUnknown { bot, venue, .. } => Some((*bot, venue, false)),
        MarketEvent::QuoteMinute { .. }
        | MarketEvent::MarkObserved { .. }
        | MarketEvent::DepthObserved { .. }
        | MarketEvent::DepthMinute { .. }
        | MarketEvent::VolumeObserved { .. } => None,
    }
}

impl Pauses {
    /// By the fill's own time: one that was before the last says nothing of the pauses since.
    fn filled(&mut self, at: Time, seq: u64) {
        if self.last.is_some_and(|(last, _)| at < last) {
            return;
        }
        if self.last.is_some() {
            let now = self.two_sided.map_or(0, |since| (at.micros() - since.micros()).max(0));
            self.pauses.push(self.waited_us + now);
            let old = self.pauses.len().saturating_sub(PAUSES_MAX);
            self.pauses.drain(..old);
        }
        self.last = Some((at, seq));
        (self.two_sided, self.waited_us) = (self.two_sided.map(|since| since.max(at)), 0);
    }

    /// A moment of one side does not begin the wait anew.
    fn quotes(&mut self, at: Time, both: bool) {
        if let Some(since) = self.two_sided.take() {
            self.waited_us += (at.micros() - since.micros()).max(0);
        }
        self.two_sided = both.then_some(at);
    }
}

fn say((bot, venue): &(BotId, Venue), pauses: &Pauses, hearing: &mut Hearing<'_>) {
    let labels = Labels::of(*bot, venue);
    let Some(since) = pauses.two_sided else {
        return hearing.say(labels, if is_filled(hearing) { Reading::clear() } else { Reading::unknown() });
    };
    let [ratio, least] = ["ratio", "least_s"].map(|name| hearing.parameter(&labels, name));
    let usual = Decimal::new(i128::from(ninety_fifth(&pauses.pauses)), 6);
    let longest = times(usual, ratio).max(least);
    let left = micros(longest.min(Decimal::from_int(MOST_S))).saturating_sub(pauses.waited_us).max(0);
    // Only a fill makes it well.
    let now = if is_filled(hearing) { Condition::Clear } else { Condition::Between };
    let summary = format!("{} quotes {} and has had no fill for long", hearing.world.name(*bot), venue.pair);
    let reading = Reading::new(now, summary)
        .with("pause", longest, Some(longest), "s")
        .with("usual_pause", usual, None, "s")
        .by(pauses.last.map(|(_, seq)| seq))
        .then(since.plus_micros(left), Condition::Above(Severity::Info));
    hearing.say(labels, reading);
}

fn is_filled(hearing: &Hearing<'_>) -> bool {
    matches!(hearing.event.event, Event::Ledger(LedgerEvent::FillRecorded(_)))
}

/// The pause that 95 of 100 do not exceed; none: zero.
fn ninety_fifth(pauses: &[i64]) -> i64 {
    let mut sorted = pauses.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}
