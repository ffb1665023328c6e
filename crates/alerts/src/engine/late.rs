//! By how much what is observed of markets is told late, so that nothing fires before what would have cleared it can have come.

use std::collections::VecDeque;

use events::{Event, Recorded, Time};
use serde::{Deserialize, Serialize};

/// So many observations back.
const REMEMBERED: usize = 16;
/// What is later than this is history: nothing waits for it.
const MOST_US: i64 = 15_000_000;

/// How late each of the last observations was, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Late(VecDeque<i64>);

impl Late {
    /// Takes an event in that happened then, as far as it is believed.
    pub fn hear(&mut self, event: &Recorded, happened: Time) {
        if !matches!(event.event, Event::Market(_)) {
            return;
        }
        let late_us = event.recorded_at.micros().saturating_sub(happened.micros());
        if late_us <= MOST_US {
            self.0.push_back(late_us);
        }
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    /// As late as the latest of them.
    pub fn by_us(&self) -> i64 {
        self.0.iter().copied().max().unwrap_or_default()
    }
}
