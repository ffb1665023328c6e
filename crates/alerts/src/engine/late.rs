//! By how much what is observed of markets is told late, so that nothing fires before what would have cleared it can have come.

use std::collections::VecDeque;

use events::{Event, Recorded, Time, market::MarketEvent};
use serde::{Deserialize, Serialize};

/// So many observations back.
const REMEMBERED: usize = 16;
/// What is later than this is history: nothing waits for it.
const MOST_US: i64 = 15_000_000;

/// How late each of the last observations was, in microseconds: of quotes and of books, which come by ways of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Late {
    quotes: VecDeque<i64>,
    books: VecDeque<i64>,
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
            of.push_back(late_us);
        }
        if of.len() > REMEMBERED {
            of.pop_front();
        }
    }

    /// As late as the latest of them.
    pub fn by_us(&self) -> i64 {
        self.quotes.iter().chain(&self.books).copied().max().unwrap_or_default()
    }
}
