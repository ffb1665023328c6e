//! How far the bots' own memories are compared with what is recorded, and how far back the next question reaches.
//!
//! An ordinary question goes back a little behind the last one, for what an exchange told the bot late. A deep one, now and
//! then, goes back a day: after trouble at an exchange, a bot finds fills that are hours old.

use std::{collections::HashMap, time::Duration};

use events::{BotId, Time, bot::Figures};
use hummingbot::{RoundedTrade, Since};

const DEEP: Duration = Duration::from_hours(24);
/// Of so many questions one is a deep one.
const DEEP_EVERY: u32 = 15;
/// What an exchange tells late comes within so many questions' time.
const LATE: u32 = 2;
/// No answer shall hold many more fills: each has some 400 bytes, and the bot writes them all in one message.
const FILLS_MAX: u64 = 50_000;

/// The memory of every bot that runs.
#[derive(Debug)]
pub(super) struct Memories {
    /// How often each bot is asked.
    every: Duration,
    of: HashMap<BotId, Memory>,
}

/// How far the memory of one instance is known.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    instance: String,
    /// All its fills up to then are recorded.
    until: Time,
    /// How many it remembered up to then; absent where that cannot be known without asking for all of them.
    pub fills: Option<u64>,
    /// How many questions were asked.
    questions: u32,
    /// How long a stretch may be for its fills to fit into one answer, by what the last one held.
    reach: Duration,
}

/// A question to one instance.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// From when on its fills may be missing: since the last comparison, or since the instance was asked for.
    pub since: Time,
    /// From when on it is asked for them.
    from: Time,
    is_whole: bool,
    before: Memory,
}

impl Memories {
    pub fn asked_every(every: Duration) -> Self {
        Self { every, of: HashMap::new() }
    }

    /// Its last figures were recorded, by whoever acted then: all fills that they count are.
    pub fn recorded(&mut self, bot: BotId, instance: &str, figures: &Figures) {
        let Some(until) = figures.fills_until else { return };
        if self.of.get(&bot).is_none_or(|known| known.instance != instance || known.until < until) {
            self.of.insert(bot, Memory { fills: figures.fills, ..Memory::of(instance, until) });
        }
    }

    pub fn question(&self, bot: BotId, instance: &str, started: Time, now: Time) -> Question {
        let known = self.of.get(&bot).filter(|known| known.instance == instance).cloned();
        let before = known.unwrap_or_else(|| Memory { fills: Some(0), ..Memory::of(instance, started) });
        let late = before.until.plus_micros(-micros(self.every * LATE));
        let deep = now.plus_micros(-micros(before.reach.min(DEEP)));
        // The first answer tells how much a deep one would hold.
        let from = if before.questions % DEEP_EVERY == 1 { late.min(deep) } else { late };
        Question { since: before.until, from, is_whole: from <= started, before }
    }

    /// What an answer showed.
    pub fn learn(&mut self, bot: BotId, memory: Memory) {
        self.of.insert(bot, memory);
    }

    /// No answer came: the next question shall not fail of the same.
    pub fn unanswered(&mut self, bot: BotId) {
        if let Some(known) = self.of.get_mut(&bot) {
            known.questions += 1;
        }
    }
}

impl Memory {
    fn of(instance: &str, until: Time) -> Self {
        Self { instance: instance.to_owned(), until, fills: None, questions: 0, reach: DEEP }
    }
}

impl Question {
    /// In the bots' words.
    pub fn back(&self, now: Time) -> Since {
        Since::Ago(Duration::from_micros((now.micros() - self.from.micros()).max(0).unsigned_abs()))
    }

    /// What is known once an answer, whose fills up to `until` are these, is recorded.
    pub fn answered(self, trades: &[RoundedTrade], until: Time) -> Memory {
        let Self { from, is_whole, before, .. } = self;
        let fresh = trades.iter().filter(|trade| trade.at > before.until).count() as u64;
        let told = trades.len() as u64;
        let stretch = Duration::from_micros((until.micros() - from.micros()).max(1).unsigned_abs());
        Memory {
            fills: if is_whole { Some(told) } else { before.fills.map(|fills| fills + fresh) },
            until,
            questions: before.questions + 1,
            reach: within(stretch, told),
            ..before
        }
    }
}

/// How long a stretch holds as many fills as fit into one answer, where one of this length holds `fills`.
fn within(stretch: Duration, fills: u64) -> Duration {
    let us = stretch.as_micros() * u128::from(FILLS_MAX) / u128::from(fills.max(1));
    Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
