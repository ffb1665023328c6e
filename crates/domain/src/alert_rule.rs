//! How a rule of alerts is configured, for all of a client's things or for some: which of its parameters have which values.
//! A rule says itself which it has, in which unit and between which bounds; that arrives in the command.

use std::collections::BTreeMap;

use events::{
    Decimal, RuleName, Time,
    alert::{RuleEvent, Scope},
};
use serde::{Deserialize, Serialize};

/// A parameter has so many decimals at most: times are microseconds, and nothing needs more.
const DECIMALS_MAX: u32 = 6;

/// A number that a rule can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// `bps`, `%`, `s`, …; empty for a plain number.
    pub unit: &'static str,
    /// The least and the most that it can be, and what it is where nothing is said, as decimals are written.
    pub least: &'static str,
    pub most: &'static str,
    pub default: &'static str,
}

/// What can be wanted of a rule.
#[derive(Debug, Clone)]
pub enum RuleCommand {
    /// What is said takes the place of all that was said for this scope before.
    Configure {
        rule: RuleName,
        scope: Scope,
        on: bool,
        parameters: BTreeMap<String, Decimal>,
        known: &'static [Parameter],
        at: Time,
    },
    /// What was said for this scope counts no more.
    Reset { at: Time },
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleRefusal {
    #[error("parameter {name:?} is none of this rule's: it has {}", known.join(", "))]
    Unknown { name: String, known: Vec<&'static str> },
    #[error("{name} is {least} to {most} {unit}, got {value}")]
    Range { name: &'static str, least: &'static str, most: &'static str, unit: &'static str, value: Decimal },
    #[error("{name} has more than {DECIMALS_MAX} decimals: round it")]
    Decimals { name: &'static str },
    #[error("it is configured so already")]
    AlreadySo,
    #[error("nothing of its own is said for this: there is nothing to reset")]
    NotConfigured,
}

/// What a decision about a rule must know: what is said for one scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRule {
    said: Option<Said>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    rule: RuleName,
    scope: Scope,
    on: bool,
    parameters: BTreeMap<String, Decimal>,
}

impl Parameter {
    /// What it is where nothing is said.
    pub fn value(&self) -> Decimal {
        number(self.default)
    }

    fn check(&self, value: Decimal) -> Result<(), RuleRefusal> {
        let Self { name, least, most, unit, .. } = *self;
        if !(number(least)..=number(most)).contains(&value) {
            return Err(RuleRefusal::Range { name, least, most, unit, value });
        }
        if value.rounded(DECIMALS_MAX) != value {
            return Err(RuleRefusal::Decimals { name });
        }
        Ok(())
    }
}

fn number(text: &str) -> Decimal {
    text.parse().expect("a parameter is written in decimals")
}

impl AlertRule {
    /// The id of what is said of a rule for a scope.
    pub fn id(rule: &RuleName, scope: &Scope) -> String {
        let Scope { bot, exchange, pair } = scope;
        let named = [
            bot.map(|bot| format!("bot={bot}")),
            exchange.map(|exchange| format!("exchange={exchange}")),
            pair.as_ref().map(|pair| format!("pair={pair}")),
        ];
        named.into_iter().flatten().fold(rule.to_string(), |id, one| format!("{id}:{one}"))
    }

    /// Decides a command.
    pub fn decide(&self, command: RuleCommand) -> Result<Vec<RuleEvent>, RuleRefusal> {
        match command {
            RuleCommand::Configure { rule, scope, on, parameters, known, at } => {
                for (name, value) in &parameters {
                    let all = || known.iter().map(|parameter| parameter.name).collect();
                    let parameter = known.iter().find(|parameter| parameter.name == name);
                    let unknown = || RuleRefusal::Unknown { name: name.chars().take(80).collect(), known: all() };
                    parameter.ok_or_else(unknown)?.check(*value)?;
                }
                let said = Said { rule, scope, on, parameters };
                if self.said.as_ref() == Some(&said) {
                    return Err(RuleRefusal::AlreadySo);
                }
                let Said { rule, scope, on, parameters } = said;
                Ok(vec![RuleEvent::RuleConfigured { rule, scope, on, parameters, at }])
            }
            RuleCommand::Reset { at } => {
                let Said { rule, scope, .. } = self.said.clone().ok_or(RuleRefusal::NotConfigured)?;
                Ok(vec![RuleEvent::RuleReset { rule, scope, at }])
            }
        }
    }

    /// Takes in what happened.
    pub fn remember(&mut self, event: RuleEvent) {
        self.said = match event {
            RuleEvent::RuleConfigured { rule, scope, on, parameters, .. } => Some(Said { rule, scope, on, parameters }),
            RuleEvent::RuleReset { .. } | RuleEvent::RulesSpeak { .. } => None,
        };
    }
}

crate::aggregate!(AlertRule, "rule", RuleCommand, RuleEvent, RuleRefusal);

#[cfg(test)]
mod tests {
    use events::Exchange;

    use super::*;

    const KNOWN: &[Parameter] = &[Parameter {
        name: "ratio",
        about: "how many times as wide",
        unit: "x",
        least: "1",
        most: "100",
        default: "2",
    }];

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn configure(parameters: &[(&str, &str)]) -> RuleCommand {
        RuleCommand::Configure {
            rule: "spread_wide".parse().unwrap(),
            scope: Scope::default(),
            on: true,
            parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), d(value))).collect(),
            known: KNOWN,
            at: Time::EPOCH,
        }
    }

    fn configured(parameters: &[(&str, &str)]) -> RuleEvent {
        AlertRule::default().decide(configure(parameters)).unwrap().remove(0)
    }

    fn check(given: impl IntoIterator<Item = RuleEvent>, when: RuleCommand, then: Result<RuleEvent, RuleRefusal>) {
        let mut rule = AlertRule::default();
        given.into_iter().for_each(|event| rule.remember(event));
        assert_eq!(rule.decide(when), then.map(|event| vec![event]));
    }

    #[test]
    fn a_value_lies_between_the_bounds_that_the_rule_names() {
        for value in ["1", "2.5", "100"] {
            check([], configure(&[("ratio", value)]), Ok(configured(&[("ratio", value)])));
        }
        for value in ["0.999", "100.001", "-2"] {
            let (name, least, most, unit) = ("ratio", "1", "100", "x");
            let refused = RuleRefusal::Range { name, least, most, unit, value: d(value) };
            check([], configure(&[("ratio", value)]), Err(refused));
        }
        let unknown = RuleRefusal::Unknown { name: "ration".into(), known: vec!["ratio"] };
        check([], configure(&[("ration", "2")]), Err(unknown));
    }

    #[test]
    fn what_is_said_takes_the_place_of_all_before_and_is_said_once() {
        let reset = |at| RuleCommand::Reset { at };
        check([], reset(Time::EPOCH), Err(RuleRefusal::NotConfigured));
        check([configured(&[("ratio", "3")])], configure(&[("ratio", "3")]), Err(RuleRefusal::AlreadySo));
        check([configured(&[("ratio", "3")])], configure(&[]), Ok(configured(&[])));
        let (rule, scope, at) = ("spread_wide".parse().unwrap(), Scope::default(), Time::EPOCH);
        check([configured(&[])], reset(at), Ok(RuleEvent::RuleReset { rule, scope, at }));
    }

    #[test]
    fn each_scope_of_a_rule_is_a_thing_of_its_own() {
        let rule: RuleName = "spread_wide".parse().unwrap();
        let scope =
            Scope { exchange: Some(Exchange::Okx), pair: Some("SOL-USDT".parse().unwrap()), ..Scope::default() };
        assert_eq!(AlertRule::id(&rule, &Scope::default()), "spread_wide");
        assert_eq!(AlertRule::id(&rule, &scope), "spread_wide:exchange=okx:pair=SOL-USDT");
    }
}
