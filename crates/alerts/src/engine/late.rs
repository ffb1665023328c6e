//! By how much what is observed of markets is told late, so that nothing fires before what would have cleared it can have come.

use std::collections::VecDeque;

use events::{Event, Recorded, Time, market::MarketEvent};
use serde::{Deserialize, Serialize};

/// So many observations back, and no longer: one slow look delays nothing for a quarter of an hour.
const REMEMBERED: usize = 16;
const REMEMBERED_US: i64 = 120_000_000;
/// What is later than this is history: nothing waits for it.
const MOST_US: i64 = 15_000_000;

/// How late each of the last observations was, in microseconds, and when it was recorded: of quotes and of books, which come by
/// ways of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Late {
    quotes: VecDeque<(Time, i64)>,
    books: VecDeque<(Time, i64)>,
}

impl Late {
    /// Takes an event in that happened then, as far as it is believed.
    pub fn hear(&mut self, event: &Recorded, happened: Time) {
        let Event::Market(told) = &event.event else { return };
        let of = match told {
            MarketEvent::QuoteObserved { .. } | MarketEvent::QuoteMinute { .. } => &mut self.quotes,
            MarketEvent::DepthObserved { .. } | MarketEvent::DepthMinute { .. } => &mut self.books,
            MarketEvent::MarkObserved { .. }
            | MarketEvent::QuotesUnknown { .. }
            | MarketEvent::VolumeObserved { .. } => return,
        };
        let late_us = event.recorded_at.micros().saturating_sub(happened.micros());
        if late_us <= MOST_US {
            of.push_back((event.recorded_at, late_us));
        }
        if of.len() > REMEMBERED {
            of.pop_front();
        }
    }

    /// As late as the latest of them, as it is known at a moment.
    pub fn by_us(&self, now: Time) -> i64 {
        let recent = |(at, _): &&(Time, i64)| now.micros().saturating_sub(at.micros()) <= REMEMBERED_US;
        self.quotes.iter().chain(&self.books).filter(recent).map(|(_, late_us)| *late_us).max().unwrap_or_default()
    }
}
