//! What a rule says of an event: how it finds whatever the event is about, and what shows it.

use domain::alert_rule::Parameter;
use events::{
    BotId, Decimal, Event, Recorded, Time,
    alert::{Feature, Labels, RuleEvent, Severity},
    bot::{BotEvent, Venue},
};
use serde::{Deserialize, Serialize};

use super::{Configs, Kind, World};

/// What a rule reads of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    pub now: Condition,
    /// What becomes of it, the next first, if nothing else is read before.
    pub later: Vec<Turn>,
    /// What was measured.
    pub features: Vec<Feature>,
    /// Events that show it, beside the one that is heard.
    pub seqs: Vec<u64>,
    /// For a person, in one sentence.
    pub summary: String,
}

/// What becomes of one thing at a moment, if nothing else is read before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    pub at: Time,
    pub condition: Condition,
    /// What is measured by then, where that is something else than now, and the sentence for it.
    pub shown: Option<(Vec<Feature>, String)>,
}

/// How a rule finds one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Well: better than where it clears.
    Clear,
    /// Neither so bad that it fires nor so well that it clears.
    Between,
    /// Nobody can tell. Nothing fires and nothing clears.
    Unknown,
    /// So bad.
    Above(Severity),
}

/// An event that is being heard, and what rules have to say.
pub struct Hearing<'a> {
    pub event: &'a Recorded,
    /// When it happened, as far as the engine believes it.
    pub at: Time,
    pub world: &'a World,
    pub(super) configs: &'a Configs,
    pub(super) kind: &'static Kind,
    pub(super) fresh: bool,
    pub(super) readings: Vec<(&'static Kind, Labels, Reading)>,
}

impl<'a> Hearing<'a> {
    /// The rule that listens now.
    pub(crate) fn listens(&mut self, kind: &'static Kind) {
        self.kind = kind;
    }

    /// The value of one of the rule's parameters, for this.
    ///
    /// # Panics
    /// If the rule has no such parameter.
    pub fn parameter(&self, labels: &Labels, name: &str) -> Decimal {
        let is_it = |parameter: &&Parameter| parameter.name == name;
        let parameter = self.kind.parameters.iter().find(is_it).expect("a rule asks for its own parameters");
        self.configs.value(self.kind, labels, parameter)
    }

    /// Where no bot is wanted any more, because of this event.
    pub fn left(&self) -> Option<Venue> {
        let Event::Bot(_) = &self.event.event else { return None };
        let bot = self.event.aggregate.id.parse().ok().filter(|bot| !self.world.is_wanted(*bot))?;
        let venue = self.world.bots.get(&bot)?.venue.clone()?;
        let others = self.world.wanted_in(&venue.pair).any(|(_, there)| *there == venue);
        (!others).then_some(venue)
    }

    /// The bot that is asked to run with this event.
    pub fn asked_to_run(&self) -> Option<BotId> {
        let asked = matches!(self.event.event, Event::Bot(BotEvent::BotDeployRequested { .. }));
        asked.then(|| self.event.aggregate.id.parse().ok()).flatten()
    }

    /// Whether the rule has other numbers from this event on, for some of its things.
    pub fn is_configured(&self) -> bool {
        let Event::Rule(RuleEvent::RuleConfigured { rule, .. } | RuleEvent::RuleReset { rule, .. }) = &self.event.event
        else {
            return false;
        };
        rule.as_str() == self.kind.name
    }

    /// Tells that something is well after all, whenever what explains it happened.
    pub fn explain(&mut self, labels: Labels, reading: Reading) {
        self.readings.push((self.kind, labels, reading));
    }

    /// Tells what the rule reads of something. History fires nothing.
    pub fn say(&mut self, labels: Labels, reading: Reading) {
        if self.fresh {
            self.readings.push((self.kind, labels, reading));
        }
    }
}

impl Reading {
    pub fn new(now: Condition, summary: impl Into<String>) -> Self {
        Self { now, later: Vec::new(), features: Vec::new(), seqs: Vec::new(), summary: summary.into() }
    }

    /// It is well.
    pub fn clear() -> Self {
        Self::new(Condition::Clear, "")
    }

    /// Nobody can tell.
    pub fn unknown() -> Self {
        Self::new(Condition::Unknown, "")
    }

    /// A number that was looked at, and what it was held against.
    #[must_use]
    pub fn with(mut self, name: &str, value: Decimal, threshold: Option<Decimal>, unit: &str) -> Self {
        let shown = |number: Decimal| number.rounded(12).normalised();
        self.features.push(Feature {
            name: name.to_owned(),
            value: shown(value),
            threshold: threshold.map(shown),
            unit: unit.to_owned(),
        });
        self
    }

    /// More events that show it.
    #[must_use]
    pub fn by(mut self, seqs: impl IntoIterator<Item = u64>) -> Self {
        self.seqs.extend(seqs);
        self
    }

    /// What becomes of it at a moment, if nothing else is read before.
    #[must_use]
    pub fn then(self, at: Time, condition: Condition) -> Self {
        self.turns(Turn { at, condition, shown: None })
    }

    /// The same, shown by what is measured and said then.
    #[must_use]
    pub fn then_shown(self, at: Time, then: Self) -> Self {
        let Self { now: condition, features, summary, .. } = then;
        self.turns(Turn { at, condition, shown: Some((features, summary)) })
    }

    fn turns(mut self, turn: Turn) -> Self {
        self.later.push(turn);
        self.later.sort_by_key(|turn| turn.at);
        self
    }
}

impl std::fmt::Debug for Hearing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hearing").field("event", &self.event.seq).field("rule", &self.kind.name).finish_non_exhaustive()
    }
}
