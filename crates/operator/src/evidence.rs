//! What shows that a bot lives: what it says, and nothing that others say of it. Silence proves nothing but itself.

use std::time::Duration;

use domain::bot::Sight;
use events::{Time, bot::ReportedState};
use hummingbot::{BotState, BotStatus, Fault};
use tokio::time::Instant;

/// One bot's signs of life, as this process saw them.
#[derive(Debug)]
pub(crate) struct Evidence {
    last_seen: Time,
    heard_at: Instant,
    told_silent: bool,
    /// Whether the stream may still take it for silent: what an earlier process told there is not known here.
    unsure: bool,
}

impl Evidence {
    /// Nothing was heard yet: silence counts from now on.
    pub fn since(at: Time) -> Self {
        Self { last_seen: at, heard_at: Instant::now(), told_silent: false, unsure: true }
    }

    /// It said something. Whether it had been silent before is known to the stream; it is told once.
    pub fn heard(&mut self, at: Time) -> Option<Sight> {
        self.last_seen = self.last_seen.max(at);
        self.heard_at = Instant::now();
        let was_silent = std::mem::take(&mut self.told_silent);
        (was_silent | std::mem::take(&mut self.unsure)).then_some(Sight::Alive)
    }

    /// While the broker is away nothing can be heard, and nothing follows from that.
    pub fn deaf(&mut self) {
        self.heard_at = Instant::now();
    }

    /// Whether it was told to be silent, and has said nothing since.
    pub fn is_silent(&self) -> bool {
        self.told_silent
    }

    /// Whether it has been silent for too long, told once.
    pub fn silent(&mut self, after: Duration) -> Option<Sight> {
        let is_silent = !self.told_silent && self.heard_at.elapsed() >= after;
        self.told_silent |= is_silent;
        is_silent.then_some(Sight::Silent { last_seen: self.last_seen })
    }
}

/// What the server says of a bot; `None`: it could not be asked, which says nothing.
pub(crate) fn reported(status: &Result<BotStatus, Fault>) -> Option<ReportedState> {
    match status {
        Ok(status) => match status.state {
            BotState::Running if status.recently_active => Some(ReportedState::Running),
            BotState::Running | BotState::Other(_) => Some(ReportedState::Failing),
            BotState::Stopped => Some(ReportedState::Stopped),
        },
        Err(fault) if fault.is_not_found() => Some(ReportedState::NotFound),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_told_once_and_so_is_its_end() {
        let mut evidence = Evidence::since(Time::EPOCH);
        assert!(evidence.silent(Duration::from_secs(3_600)).is_none());
        assert!(
            matches!(evidence.heard(Time::EPOCH), Some(Sight::Alive)),
            "an earlier process may have told that it was silent"
        );
        assert!(evidence.heard(Time::EPOCH).is_none());
        assert!(matches!(evidence.silent(Duration::ZERO), Some(Sight::Silent { .. })));
        assert!(evidence.silent(Duration::ZERO).is_none());
        assert!(matches!(evidence.heard(Time::EPOCH), Some(Sight::Alive)));
        assert!(evidence.heard(Time::EPOCH).is_none());
    }
}
