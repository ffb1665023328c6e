//! The engine: one client's events in, transitions of its alerts out. Pure, and by the events' own time.
//!
//! Nothing but events and ticks moves it. A tick that finds nothing due leaves no trace; one that does is told by the
//! transitions themselves, each of which says how far the stream was known and at which moment it became so. So whoever
//! replays the stream, and ticks where transitions say that there was a tick, gets the same ones and no other, however the
//! events are cut into batches and whoever was killed meanwhile.

mod configs;
mod instance;
mod kind;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use domain::alert_rule::Parameter;
use events::{
    AlertId, BotId, ClientId, Decimal, Event, Recorded, RuleName, Time,
    alert::{AlertEvent, Feature, Labels, RuleEvent, Scope, Severity, WhyResolved},
    market::MarketEvent,
};
use serde::{Deserialize, Serialize};

use self::instance::{Change, Instance};
pub use self::{
    configs::Configs,
    kind::{Ends, Kind, Of, Timing},
    world::{Bot, Quote, World, venue_of, worth},
};
use crate::rules::{self, Memories};

/// What happened longer ago than this when it was told is history: it is counted, and fires nothing.
const FRESH_US: i64 = 15 * 60 * 1_000_000;
const MINUTE_US: i64 = 60 * 1_000_000;

/// One client's alerts, as they stand after some event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    client: ClientId,
    reached: u64,
    /// The latest moment that was told of, or at which something became so.
    clock: Time,
    world: World,
    configs: Configs,
    memories: Memories,
    instances: BTreeMap<(RuleName, Labels), Instance>,
    /// When something becomes so by itself, the next first. Follows from the instances.
    #[serde(skip)]
    due: BTreeSet<(Time, RuleName, Labels)>,
}

/// An alert began, became worse, or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub alert: AlertId,
    pub event: AlertEvent,
}

/// What a rule reads of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub now: Condition,
    /// What becomes of it at these moments, the next first, if nothing else is read before.
    pub later: Vec<(Time, Condition)>,
    /// What was measured.
    pub features: Vec<Feature>,
    /// Events that show it, beside the one that is heard.
    pub seqs: Vec<u64>,
    /// For a person, in one sentence.
    pub summary: String,
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
    configs: &'a Configs,
    kind: &'static Kind,
    fresh: bool,
    readings: Vec<(&'static Kind, Labels, Reading)>,
}

impl Transition {
    /// What makes it unique in its stream: told twice, recorded once.
    pub fn key(&self) -> String {
        let (id, episode) = (self.alert, self.event.episode());
        match &self.event {
            AlertEvent::AlertFired { .. } => format!("alert:{id}:{episode}:fired"),
            AlertEvent::AlertEscalated { severity, why, evaluated_at, .. } => {
                format!("alert:{id}:{episode}:{severity:?}:{why:?}:{}", evaluated_at.micros())
            }
            AlertEvent::AlertResolved { .. } => format!("alert:{id}:{episode}:resolved"),
            AlertEvent::AlertAcknowledged { .. }
            | AlertEvent::AlertSilenced { .. }
            | AlertEvent::AlertNotified { .. } => unreachable!("the engine decides none of these"),
        }
    }
}

impl Engine {
    /// Before its client's first event. The desk is a client, too, with rules of its own.
    pub fn new(client: ClientId) -> Self {
        Self {
            client,
            reached: 0,
            clock: Time::BEGINNING,
            world: World::default(),
            configs: Configs::default(),
            memories: Memories::default(),
            instances: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// The same with other parameters for one rule, whatever the stream says of that.
    #[must_use]
    pub fn trying(mut self, rule: RuleName, parameters: BTreeMap<String, Decimal>) -> Self {
        self.configs.force(rule, parameters);
        self
    }

    /// How far it has read.
    pub fn reached(&self) -> u64 {
        self.reached
    }

    /// When something becomes so by itself, if nothing else happens before.
    pub fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(at, ..)| (*at).max(self.clock))
    }

    /// Takes in the next event.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn hear(&mut self, event: &Recorded) -> Vec<Transition> {
        assert_eq!(event.seq, self.reached + 1, "the alerts of {} skipped an event", self.client);
        let at = self.clock.max(happened(event));
        // What ends at the very moment at which it would have lasted long enough has not.
        let mut transitions = self.pass(at.plus_micros(-1));
        (self.reached, self.clock) = (event.seq, at);
        self.world.hear(event);
        self.listen(event, at, &mut transitions);
        let fresh = event.recorded_at.micros().saturating_sub(happened(event).micros()) <= FRESH_US;
        let mut hearing = Hearing {
            event,
            at,
            world: &self.world,
            configs: &self.configs,
            kind: rules::ALL[0],
            fresh,
            readings: Vec::new(),
        };
        self.memories.hear(&mut hearing, self.client == ClientId::DESK);
        let readings = hearing.readings;
        for (kind, labels, reading) in readings {
            self.read(kind, labels, reading, at);
        }
        transitions.extend(self.pass(at));
        transitions
    }

    /// What has become so by `now` though nothing was told. Without a transition it leaves no trace.
    pub fn tick(&mut self, now: Time) -> Vec<Transition> {
        let mut transitions = Vec::new();
        while let Some(first) = self.first_change(now) {
            transitions.extend(self.pass(first));
        }
        transitions
    }

    /// The first moment up to `now` at which a transition is due.
    fn first_change(&self, now: Time) -> Option<Time> {
        let waiting = self.due.iter().take_while(|(at, ..)| *at <= now);
        let first = |(_, rule, labels): &(Time, RuleName, Labels)| {
            let instance = &self.instances[&(rule.clone(), labels.clone())];
            instance.clone().first_change(&self.timing(rule, labels), now)
        };
        waiting.filter_map(first).min()
    }

    /// Lets time pass up to a moment.
    fn pass(&mut self, until: Time) -> Vec<Transition> {
        let mut transitions = Vec::new();
        while let Some((at, rule, labels)) = self.due.first().filter(|(at, ..)| *at <= until).cloned() {
            let timing = self.timing(&rule, &labels);
            let change = self.change(&rule, &labels, |instance| instance.pass(at, &timing));
            if let Some(change) = change {
                self.clock = self.clock.max(at);
                transitions.extend(self.told(&rule, &labels, change, self.clock));
            }
        }
        transitions
    }

    /// What the engine itself hears: people who look after alerts, rules that are configured, bots that are wanted no more.
    fn listen(&mut self, event: &Recorded, at: Time, transitions: &mut Vec<Transition>) {
        match &event.event {
            Event::Alert(AlertEvent::AlertAcknowledged { episode, until, .. }) => {
                self.acknowledge(&event.aggregate.id, *episode, *until, at, transitions);
            }
            Event::Rule(RuleEvent::RuleConfigured { rule, scope, on, parameters, .. }) => {
                self.configs.configure(rule.clone(), scope.clone(), *on, parameters.clone());
                self.reconfigured(rule, scope, at, transitions);
            }
            Event::Rule(RuleEvent::RuleReset { rule, scope, .. }) => {
                self.configs.reset(rule, scope);
                self.reconfigured(rule, scope, at, transitions);
            }
            Event::Bot(_) => {
                let bot = event.aggregate.id.parse().ok();
                if let Some(bot) = bot.filter(|bot| !self.world.is_wanted(*bot)) {
                    self.not_wanted(bot, at, transitions);
                }
            }
            Event::Alert(_)
            | Event::Silence(_)
            | Event::Agent(_)
            | Event::Client(_)
            | Event::Credential(_)
            | Event::Ledger(_)
            | Event::Market(_)
            | Event::Order(_)
            | Event::Manual(_)
            | Event::Desk(_)
            | Event::Account(_)
            | Event::Subscription(_) => {}
        }
    }

    fn acknowledge(
        &mut self,
        id: &str,
        episode: u64,
        until: Option<Time>,
        at: Time,
        transitions: &mut Vec<Transition>,
    ) {
        let is_it = |(rule, labels): &&(RuleName, Labels)| AlertId::of(self.client, rule, labels).to_string() == id;
        let Some((rule, labels)) = self.instances.keys().find(is_it).cloned() else { return };
        let by_hand = kind_of(&rule).is_some_and(|kind| kind.ends == Ends::ByHand);
        let change = self.change(&rule, &labels, |instance| instance.acknowledge(episode, until, by_hand));
        transitions.extend(change.and_then(|change| self.told(&rule, &labels, change, at)));
    }

    /// Where a rule is off nothing of it goes on; elsewhere the new numbers count from the next reading on, and times at once.
    fn reconfigured(&mut self, rule: &RuleName, scope: &Scope, at: Time, transitions: &mut Vec<Transition>) {
        let all: Vec<Labels> = self.of_rule(rule).filter(|labels| scope.covers(labels)).cloned().collect();
        for labels in all {
            let off = !self.configs.is_on(rule, &labels);
            let change =
                self.change(rule, &labels, |instance| off.then(|| instance.end(WhyResolved::RuleOff)).flatten());
            transitions.extend(change.and_then(|change| self.told(rule, &labels, change, at)));
        }
    }

    fn of_rule<'a>(&'a self, rule: &'a RuleName) -> impl Iterator<Item = &'a Labels> {
        self.instances.keys().filter(move |(of, _)| of == rule).map(|(_, labels)| labels)
    }

    /// What is said of a bot only while it shall run ends with that.
    fn not_wanted(&mut self, bot: BotId, at: Time, transitions: &mut Vec<Transition>) {
        let ends = |rule: &RuleName| kind_of(rule).is_some_and(|kind| kind.while_wanted);
        let of_bot = self.instances.keys().filter(|(rule, labels)| labels.bot == Some(bot) && ends(rule));
        for (rule, labels) in of_bot.cloned().collect::<Vec<_>>() {
            let change = self.change(&rule, &labels, |instance| instance.end(WhyResolved::NotWanted));
            transitions.extend(change.and_then(|change| self.told(&rule, &labels, change, at)));
        }
    }

    fn read(&mut self, kind: &'static Kind, labels: Labels, reading: Reading, at: Time) {
        let rule = kind.rule();
        let wanted = !kind.while_wanted || labels.bot.is_none_or(|bot| self.world.is_wanted(bot));
        // What was never bad is not remembered to be well.
        let is_news = reading.now != Condition::Clear || !reading.later.is_empty();
        if !wanted || (!is_news && !self.instances.contains_key(&(rule.clone(), labels.clone()))) {
            return;
        }
        let seq = self.reached;
        self.change(&rule, &labels, |instance| instance.read(reading, at, seq));
    }

    /// Changes an instance, and keeps in mind when it is due next.
    fn change<T>(&mut self, rule: &RuleName, labels: &Labels, change: impl FnOnce(&mut Instance) -> T) -> T {
        let timing = self.timing(rule, labels);
        let instance = self.instances.entry((rule.clone(), labels.clone())).or_default();
        let outcome = change(instance);
        let due = instance.due(&timing);
        let noted = std::mem::replace(&mut instance.noted, due);
        if noted != due {
            noted.map(|noted| self.due.remove(&(noted, rule.clone(), labels.clone())));
            self.due.extend(due.map(|due| (due, rule.clone(), labels.clone())));
        }
        outcome
    }

    fn timing(&self, rule: &RuleName, labels: &Labels) -> Timing {
        kind_of(rule).map_or_else(Timing::default, |kind| {
            Timing::of(kind, |parameter| self.configs.value(kind, labels, parameter))
        })
    }

    fn told(&self, rule: &RuleName, labels: &Labels, change: Change, evaluated_at: Time) -> Option<Transition> {
        let kind = kind_of(rule)?;
        let instance = &self.instances[&(rule.clone(), labels.clone())];
        let inhibited_by = kind
            .inhibited_by
            .filter(|_| self.world.hummingbot_lost)
            .map(|by| by.parse().expect("a rule's name is one"));
        let event = instance.told(kind, labels, change, inhibited_by, self.reached, evaluated_at);
        Some(Transition { alert: AlertId::of(self.client, rule, labels), event })
    }

    /// The state as bytes: the same state is the same bytes.
    pub fn written(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).expect("memory takes bytes");
        bytes
    }

    /// The state that these bytes are; absent: another build wrote them.
    pub fn restored(bytes: &[u8]) -> Option<Self> {
        let mut engine: Self = ciborium::from_reader(bytes).ok()?;
        for (rule, labels) in engine.instances.keys().cloned().collect::<Vec<_>>() {
            engine.change(&rule, &labels, |_| ());
        }
        Some(engine)
    }
}

/// When what an event tells was so: nothing is believed that has not happened when it is told, and what is told of a minute
/// is so at its end.
fn happened(event: &Recorded) -> Time {
    let (told, at) = (&event.event, event.event.at());
    let of_minute = matches!(told, Event::Market(MarketEvent::QuoteMinute { .. } | MarketEvent::DepthMinute { .. }));
    let at = if of_minute { at.plus_micros(MINUTE_US) } else { at };
    at.min(event.recorded_at)
}

fn kind_of(rule: &RuleName) -> Option<&'static Kind> {
    rules::ALL.iter().copied().find(|kind| kind.name == rule.as_str())
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

    /// Tells what the rule reads of something. History fires nothing.
    pub fn say(&mut self, labels: Labels, reading: Reading) {
        if self.fresh && self.configs.is_on(&self.kind.rule(), &labels) {
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
    pub fn then(mut self, at: Time, condition: Condition) -> Self {
        self.later.push((at, condition));
        self.later.sort_by_key(|(at, _)| *at);
        self
    }
}

impl std::fmt::Debug for Hearing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hearing").field("event", &self.event.seq).field("rule", &self.kind.name).finish_non_exhaustive()
    }
}
