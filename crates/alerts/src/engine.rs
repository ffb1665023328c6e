//! The engine: one client's events in, transitions of its alerts out. Pure, and by the events' own time.
//!
//! Nothing but events and ticks moves it. A tick that finds nothing due leaves no trace; one that does is told by the
//! transitions themselves, each of which says how far the stream was known and at which moment it became so. So whoever
//! replays the stream, and ticks where transitions say that there was a tick, gets the same ones and no other, however the
//! events are cut into batches and whoever was killed meanwhile.

mod configs;
mod heard;
mod instance;
mod kind;
mod late;
mod reading;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use events::{
    AlertId, ClientId, Decimal, Event, Recorded, RuleName, Time,
    alert::{AlertEvent, Labels, RuleEvent},
    market::MarketEvent,
};
use serde::{Deserialize, Serialize};

pub(crate) use self::kind::micros;
pub use self::{
    configs::Configs,
    kind::{Ends, Kind, Names, Of, Timing},
    reading::{Condition, Hearing, Reading, Turn},
    world::{Bot, Quote, World, place_of, venue_of, worth},
};
use self::{
    instance::{Change, Instance},
    late::Late,
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
    /// Up to which moment time has passed for what becomes so by itself. It is behind the clock by what events are late by.
    settled: Time,
    late: Late,
    /// How many transitions the last event made.
    made: usize,
    /// Which version of each rule speaks.
    versions: BTreeMap<RuleName, u32>,
    /// The one rule that is tried out, if there is one.
    tried: Option<RuleName>,
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
            settled: Time::BEGINNING,
            late: Late::default(),
            made: 0,
            versions: BTreeMap::new(),
            tried: None,
            world: World::default(),
            configs: Configs::default(),
            memories: Memories::default(),
            instances: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// The same of one rule alone, with these parameters, whatever the stream says of it.
    #[must_use]
    pub fn trying(mut self, rule: RuleName, parameters: BTreeMap<String, Decimal>) -> Self {
        self.configs.force(rule.clone(), parameters);
        self.tried = Some(rule);
        self
    }

    /// The rules of this build, as an event tells them.
    pub fn versions() -> BTreeMap<RuleName, u32> {
        rules::ALL.iter().map(|kind| (kind.rule(), kind.version)).collect()
    }

    /// Whether the stream tells that the rules of this build speak.
    pub fn speaks(&self) -> bool {
        self.versions == Self::versions()
    }

    /// How far it has read.
    pub fn reached(&self) -> u64 {
        self.reached
    }

    /// How many transitions the last event made by itself, beside those that were due before it.
    pub(crate) fn made(&self) -> usize {
        self.made
    }

    /// By how much the events of this stream are late, in microseconds: time is not looked at before they can have come.
    pub fn late_us(&self, now: Time) -> i64 {
        self.late.by_us(now)
    }

    /// When something comes of it if nothing else happens before.
    pub fn next_change(&self) -> Option<Time> {
        self.first_change(Time::END)
    }

    /// Takes in the next event.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn hear(&mut self, event: &Recorded) -> Vec<Transition> {
        assert_eq!(event.seq, self.reached + 1, "the alerts of {} skipped an event", self.client);
        let (happened, mut transitions) = (happened(event), Vec::new());
        self.late.hear(event, happened);
        let at = self.clock.max(happened);
        // What ends at the very moment at which it would have lasted long enough has not.
        let known = event.recorded_at.plus_micros(-self.late.by_us(event.recorded_at)).min(at.plus_micros(-1));
        self.pass(known, &mut transitions);
        self.settled = self.settled.max(known);
        let passed = transitions.len();
        (self.reached, self.clock) = (event.seq, at);
        self.world.hear(event);
        self.listen(event, at, &mut transitions);
        let readings = self.readings(event, at, happened);
        // It was so when it happened, whatever else was told meanwhile.
        let at = self.settled.max(happened);
        for (kind, labels, reading) in readings {
            self.read(kind, labels, reading, at, &mut transitions);
        }
        // After what a rule reads by its new numbers: what it read by the old ones counts no more.
        if let Event::Rule(RuleEvent::RuleConfigured { rule, scope, .. } | RuleEvent::RuleReset { rule, scope, .. }) =
            &event.event
        {
            self.reconfigured(rule, scope, at, &mut transitions);
        }
        self.made = transitions.len() - passed;
        transitions
    }

    /// What the rules say of an event. History says nothing.
    fn readings(&mut self, event: &Recorded, at: Time, happened: Time) -> Vec<(&'static Kind, Labels, Reading)> {
        let mut hearing = Hearing {
            event,
            at,
            world: &self.world,
            configs: &self.configs,
            kind: rules::ALL[0],
            fresh: event.recorded_at.micros().saturating_sub(happened.micros()) <= FRESH_US,
            readings: Vec::new(),
        };
        self.memories.hear(&mut hearing, self.client == ClientId::DESK);
        hearing.readings
    }

    /// What has become so by `now` though nothing was told. Without a transition it leaves no trace.
    pub fn tick(&mut self, now: Time) -> Vec<Transition> {
        let mut transitions = Vec::new();
        while let Some(first) = self.first_change(now) {
            self.pass(first, &mut transitions);
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
    fn pass(&mut self, until: Time, transitions: &mut Vec<Transition>) {
        while let Some((_, rule, labels)) = self.due.first().filter(|(at, ..)| *at <= until).cloned() {
            if let Some(told) = self.turn(&rule, &labels, self.settled) {
                self.settled = self.settled.max(told.event.at());
                transitions.push(told);
            }
        }
    }

    /// The same for one thing, of which nothing older will be told; what was due before `since` comes only now.
    fn pass_one(
        &mut self,
        rule: &RuleName,
        labels: &Labels,
        (since, until): (Time, Time),
        transitions: &mut Vec<Transition>,
    ) {
        let key = (rule.clone(), labels.clone());
        while self.instances.get(&key).and_then(|one| one.noted).is_some_and(|due| due <= until) {
            transitions.extend(self.turn(rule, labels, since));
        }
    }

    /// Lets happen what is due next of one thing.
    fn turn(&mut self, rule: &RuleName, labels: &Labels, since: Time) -> Option<Transition> {
        let (timing, mut at) = (self.timing(rule, labels), since);
        let change = self.change(rule, labels, |instance| {
            let due = instance.noted?;
            at = at.max(due);
            instance.pass(at, &timing)
        })?;
        self.clock = self.clock.max(at);
        self.told(rule, labels, change, at)
    }

    /// What the engine itself hears: people who look after alerts, rules that are configured, bots that are wanted no more.
    fn listen(&mut self, event: &Recorded, at: Time, transitions: &mut Vec<Transition>) {
        match &event.event {
            Event::Alert(AlertEvent::AlertAcknowledged { episode, until, .. }) => {
                self.acknowledge(&event.aggregate.id, *episode, *until, at, transitions);
            }
            Event::Alert(told) => self.remember(&event.aggregate.id, told),
            Event::Rule(RuleEvent::RuleConfigured { rule, scope, on, parameters, .. }) => {
                self.configs.configure(rule.clone(), scope.clone(), *on, parameters.clone());
            }
            Event::Rule(RuleEvent::RuleReset { rule, scope, .. }) => self.configs.reset(rule, scope),
            Event::Rule(RuleEvent::RulesSpeak { versions, .. }) => self.speak(versions, at, transitions),
            Event::Bot(_) => {
                let bot = event.aggregate.id.parse().ok();
                if let Some(bot) = bot.filter(|bot| !self.world.is_wanted(*bot)) {
                    self.not_wanted(bot, at, transitions);
                }
            }
            Event::Silence(_)
            | Event::Agreement(_)
            | Event::Channel(_)
            | Event::Schedule(_)
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

    fn read(
        &mut self,
        kind: &'static Kind,
        labels: Labels,
        reading: Reading,
        at: Time,
        transitions: &mut Vec<Transition>,
    ) {
        let (rule, seq) = (kind.rule(), self.reached);
        let wanted = !kind.while_wanted || labels.bot.is_none_or(|bot| self.world.is_wanted(bot));
        // What was never bad is not remembered to be well.
        let is_news = reading.now != Condition::Clear || !reading.later.is_empty();
        if !wanted || (!is_news && !self.instances.contains_key(&(rule.clone(), labels.clone()))) {
            return;
        }
        if self.is_heard(&rule, &labels) {
            // Of this, nothing older will be told.
            self.pass_one(&rule, &labels, (self.settled, at.plus_micros(-1)), transitions);
            self.change(&rule, &labels, |instance| {
                if kind.ends == Ends::WhenClear {
                    instance.keep(reading.clone(), at, seq);
                }
                instance.read(reading, at, seq);
            });
            self.pass_one(&rule, &labels, (at, at), transitions);
        } else if kind.ends == Ends::WhenClear || !self.is_spoken(&rule) {
            self.change(&rule, &labels, |instance| {
                instance.sleep();
                instance.keep(reading, at, seq);
            });
        }
    }

    /// Changes an instance, and keeps in mind when it is due next.
    fn change<T>(&mut self, rule: &RuleName, labels: &Labels, change: impl FnOnce(&mut Instance) -> T) -> T {
        let (timing, is_spoken) = (self.timing(rule, labels), self.is_spoken(rule));
        let instance = self.instances.entry((rule.clone(), labels.clone())).or_default();
        let outcome = change(instance);
        let due = is_spoken.then(|| instance.due(&timing)).flatten();
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
