//! A bot fills much more often than it used to.

use std::collections::BTreeMap;

use events::{BotId, Decimal, Event, Time, alert::Labels, bot::Venue, ledger::LedgerEvent};
use serde::{Deserialize, Serialize};

use super::{Rule, Window, above, count, keep, number, wait};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading, venue_of},
    exact::{minus, plus, times},
};

pub(crate) struct FillBurst;

const MINUTE_US: i64 = 60_000_000;
/// An hour's worth of minutes: each counts for one part in so many.
const MINUTES: i64 = 60;
const FILLS_MAX: usize = 10_000;
const PLACES: u32 = 9;

/// Fills of the last minute, and how many there used to be in one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pace {
    recent: Window<u64>,
    usual: Option<Decimal>,
    minute: Option<Time>,
    in_minute: u32,
    /// From when on anything can be unusual.
    since: Option<Time>,
}

impl Rule for FillBurst {
    const KIND: Kind = Kind {
        name: "fill_burst",
        version: 3,
        about: "a bot fills many times as often within a minute as it did in the hour before",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
        parameters: &[
            number("ratio", "x", ["1", "5", "1000"], "how many times the usual pace is a burst"),
            number("clear_ratio", "x", ["1", "2", "1000"], "below how many times the usual pace it is well")
                .up_to("ratio"),
            number("least", "fills/min", ["1", "20", "100000"], "a pace that is never a burst"),
            wait("60"),
            keep("120"),
        ],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = BTreeMap<(BotId, Venue), Pace>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Event::Ledger(LedgerEvent::FillRecorded(fill)) = &hearing.event.event else { return };
        let venue = venue_of(fill);
        let labels = Labels::of(fill.bot, &venue);
        let pace = memory.entry((fill.bot, venue.clone())).or_default();
        if !pace.fill(fill.at, hearing.event.seq) {
            return;
        }
        // In its first hour nothing is unusual.
        let Some(usual) = pace.usual.filter(|_| pace.since.is_some_and(|since| fill.at >= since)) else { return };
        let now = count(pace.recent.len());
        let seqs: Vec<u64> = pace.recent.iter().rev().take(10).map(|(_, seq)| *seq).collect();
        let [ratio, clear, least] = ["ratio", "clear_ratio", "least"].map(|name| hearing.parameter(&labels, name));
        let burst = times(usual, ratio).max(least);
        let clear = times(usual, clear).max(Decimal::ONE);
        let condition = |fills| above(fills, burst, None, clear);
        let summary = format!("{} filled {now} times within a minute in {}", hearing.world.name(fill.bot), venue.pair);
        let mut reading = Reading::new(condition(now), summary)
            .with("fills_a_minute", now, Some(burst), "fills/min")
            .with("usual", usual, None, "fills/min")
            .by(seqs.into_iter().rev());
        // Without another fill, there are fewer and fewer within a minute.
        let mut last = reading.now;
        for (at, _, left) in pace.recent.leaving(MINUTE_US) {
            let becomes = condition(count(left));
            if becomes != last {
                (reading, last) = (reading.then(at, becomes), becomes);
            }
            if last == Condition::Clear {
                break;
            }
        }
        hearing.say(labels, reading);
    }
}

impl Pace {
    /// Takes a fill in by its own time. One that is told when its minute is long over says nothing of the pace now.
    fn fill(&mut self, at: Time, seq: u64) -> bool {
        let minute = at.plus_micros(-at.micros().rem_euclid(MINUTE_US));
        let before = *self.minute.get_or_insert(minute);
        if minute < before {
            return false;
        }
        self.recent.push(at, seq, MINUTE_US, FILLS_MAX);
        let newest = self.recent.last().map_or(at, |(at, _)| *at);
        self.recent.forget(newest, MINUTE_US);
        self.since.get_or_insert(minute.plus_micros(MINUTES * MINUTE_US));
        let passed = (minute.micros() - before.micros()) / MINUTE_US;
        if passed > 0 {
            // The minute that ended, and those without a fill since; after a day of them nothing is left to fade.
            self.fade(Decimal::from_int(self.in_minute.into()));
            (1..passed.min(1_440)).for_each(|_| self.fade(Decimal::ZERO));
            (self.minute, self.in_minute) = (Some(minute), 0);
        }
        self.in_minute += 1;
        true
    }

    fn fade(&mut self, fills: Decimal) {
        let usual = self.usual.unwrap_or(fills);
        let step = minus(fills, usual).divided_by(Decimal::from_int(MINUTES)).unwrap_or_default();
        self.usual = Some(plus(usual, step).rounded(PLACES).normalised());
    }
}
