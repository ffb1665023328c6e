//! What a question about trading is narrowed to.

use events::{BotId, Exchange, Pair, Time};

/// Whose, where and what; absent: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Only {
    pub bot: Option<BotId>,
    pub exchange: Option<Exchange>,
    pub pair: Option<Pair>,
}

/// A stretch of event time, both ends in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    pub from: Time,
    pub to: Time,
}

impl Window {
    /// All of event time.
    pub const ALL: Self = Self { from: Time::BEGINNING, to: Time::END };
}
