//! Which rules are heard: those that are on, in the version that speaks; and what ends when that changes, or when a person or
//! a bot's end says so.

use std::collections::BTreeMap;

use events::{
    AlertId, BotId, RuleName, Time,
    alert::{AlertEvent, Labels, Scope, WhyResolved},
};

use super::{Ends, Engine, FRESH_US, Instance, Kind, Transition, kind_of};

impl Engine {
    pub(super) fn acknowledge(
        &mut self,
        id: &str,
        episode: u64,
        until: Option<Time>,
        at: Time,
        transitions: &mut Vec<Transition>,
    ) {
        let Some((rule, labels)) = self.called(id).filter(|(rule, _)| self.is_spoken(rule)) else { return };
        let by_hand = kind_of(&rule).is_some_and(|kind| kind.ends == Ends::ByHand);
        // Whoever tries other numbers counts other episodes: what ended one for real ends the one that goes on.
        let episode = Some(episode).filter(|_| self.tried.is_none());
        let change = self.change(&rule, &labels, |instance| instance.acknowledge(episode, until, by_hand));
        transitions.extend(change.and_then(|change| self.told(&rule, &labels, change, at)));
    }

    /// The rule and the thing of an alert that there is.
    fn called(&self, alert: &str) -> Option<(RuleName, Labels)> {
        let is_it = |(rule, labels): &&(RuleName, Labels)| AlertId::of(self.client, rule, labels).to_string() == alert;
        self.instances.keys().find(is_it).cloned()
    }

    /// What another version of a rule said goes on until this one speaks.
    pub(super) fn remember(&mut self, alert: &str, told: &AlertEvent) {
        let known = match told {
            AlertEvent::AlertFired { rule, labels, .. } => Some((rule.clone(), labels.clone())),
            AlertEvent::AlertEscalated { .. } | AlertEvent::AlertResolved { .. } => self.called(alert),
            AlertEvent::AlertAcknowledged { .. }
            | AlertEvent::AlertSilenced { .. }
            | AlertEvent::AlertNotified { .. } => None,
        };
        if let Some((rule, labels)) = known.filter(|(rule, _)| !self.is_spoken(rule) && self.tried.is_none()) {
            let lasts = kind_of(&rule).is_some_and(|kind| kind.ends == Ends::WhenClear);
            self.change(&rule, &labels, |instance| instance.remember(told, lasts));
        }
    }

    /// From now on these versions speak. What another one said ends, and what is so already is so from now on.
    pub(super) fn speak(&mut self, versions: &BTreeMap<RuleName, u32>, at: Time, transitions: &mut Vec<Transition>) {
        let before = std::mem::replace(&mut self.versions, versions.clone());
        let begins = |rule: &RuleName| self.is_spoken(rule) && before.get(rule) != versions.get(rule);
        let all: Vec<_> = self.instances.keys().filter(|(rule, _)| begins(rule)).cloned().collect();
        for (rule, labels) in all {
            self.end(&rule, &labels, WhyResolved::RuleChanged, at, transitions);
            self.change(&rule, &labels, Instance::sleep);
            self.wake(&rule, &labels, at, transitions);
        }
        let ends: Vec<_> = self.instances.keys().filter(|(rule, _)| !self.is_spoken(rule)).cloned().collect();
        ends.iter().for_each(|(rule, labels)| self.change(rule, labels, Instance::sleep));
    }

    /// Where a rule is off nothing of it goes on; elsewhere the new numbers count from the next reading on, and times at once.
    pub(super) fn reconfigured(&mut self, rule: &RuleName, scope: &Scope, at: Time, transitions: &mut Vec<Transition>) {
        let of_rule = self.instances.keys().filter(|(of, labels)| of == rule && scope.covers(labels));
        let all: Vec<Labels> = of_rule.map(|(_, labels)| labels.clone()).collect();
        for labels in all {
            match self.configs.is_on(rule, &labels) {
                true => self.wake(rule, &labels, at, transitions),
                false => {
                    self.end(rule, &labels, WhyResolved::RuleOff, at, transitions);
                    self.change(rule, &labels, Instance::sleep);
                }
            }
        }
    }

    /// What is said of a bot only while it shall run ends with that.
    pub(super) fn not_wanted(&mut self, bot: BotId, at: Time, transitions: &mut Vec<Transition>) {
        let ends = |rule: &RuleName| kind_of(rule).is_some_and(|kind| kind.while_wanted);
        let of_bot = self.instances.keys().filter(|(rule, labels)| labels.bot == Some(bot) && ends(rule));
        for (rule, labels) in of_bot.cloned().collect::<Vec<_>>() {
            self.end(&rule, &labels, WhyResolved::NotWanted, at, transitions);
            self.change(&rule, &labels, Instance::forget);
        }
    }

    /// Ends what goes on of one thing.
    fn end(&mut self, rule: &RuleName, labels: &Labels, why: WhyResolved, at: Time, transitions: &mut Vec<Transition>) {
        if self.is_spoken(rule) {
            let change = self.change(rule, labels, |instance| instance.end(why));
            transitions.extend(change.and_then(|change| self.told(rule, labels, change, at)));
        }
    }

    /// What a rule said of one thing while it was off, or did not speak, counts from now on.
    fn wake(&mut self, rule: &RuleName, labels: &Labels, at: Time, transitions: &mut Vec<Transition>) {
        if self.is_heard(rule, labels) {
            let lasts = kind_of(rule).is_some_and(|kind| kind.ends == Ends::WhenClear);
            // What tells of one moment is history after a while.
            let since = if lasts { Time::BEGINNING } else { at.plus_micros(-FRESH_US) };
            self.change(rule, labels, |instance| instance.wake(at, since));
            self.pass_one(rule, labels, (at, at), transitions);
        }
    }

    /// Whether the version of a rule that this build has speaks.
    pub(super) fn is_spoken(&self, rule: &RuleName) -> bool {
        let is_this = |kind: &Kind| self.versions.get(rule) == Some(&kind.version);
        self.tried.as_ref().map_or_else(|| kind_of(rule).is_some_and(is_this), |tried| tried == rule)
    }

    pub(super) fn is_heard(&self, rule: &RuleName, labels: &Labels) -> bool {
        self.is_spoken(rule) && self.configs.is_on(rule, labels)
    }
}
