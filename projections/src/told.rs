//! A client's stream for the tests of folds: events told one after another.

use events::{Actor, AggregateRef, BotId, ClientId, Event, EventId, Recorded, Time, Uuid};

/// 2025-02-18 23:59:00 UTC.
const START_MS: i64 = 1_739_923_140_000;

/// So many seconds after the start.
pub fn at(seconds: i64) -> Time {
    Time::from_millis(START_MS + seconds * 1_000).unwrap()
}

/// One client with one bot.
#[derive(Debug)]
pub struct Told {
    pub bot: BotId,
    seq: u64,
}

impl Default for Told {
    fn default() -> Self {
        Self { bot: BotId(Uuid::from_u128(1)), seq: 0 }
    }
}

impl Told {
    /// The next event, of the bot.
    pub fn bot(&mut self, event: impl Into<Event>) -> Recorded {
        self.of(AggregateRef::new("bot", self.bot), event)
    }

    /// The next event.
    pub fn of(&mut self, aggregate: AggregateRef, event: impl Into<Event>) -> Recorded {
        self.seq += 1;
        let event = event.into();
        Recorded {
            client: ClientId(Uuid::from_u128(7)),
            seq: self.seq,
            aggregate,
            aggregate_seq: self.seq,
            id: EventId(Uuid::from_u128(u128::from(self.seq))),
            occurred_at: event.at(),
            event,
            recorded_at: Time::END,
            actor: Some(Actor::System("test".to_owned())),
        }
    }
}
