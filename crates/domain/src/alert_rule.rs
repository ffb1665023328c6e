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
/// So many characters name anything that an alert can be about.
const ABOUT_MAX: usize = 100;

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
    /// The parameters of the same rule that it is no more than, and no less than.
    pub up_to: Option<&'static str>,
    pub from: Option<&'static str>,
}

/// What the alerts of a rule name: what is said of it for anything else would count for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Names {
    pub bot: bool,
    pub exchange: bool,
    pub pair: bool,
    pub about: bool,
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
        names: Names,
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
    #[error("{lower} is {value} and may not be above {upper}, which is {most}: say both")]
    Order { lower: &'static str, value: Decimal, upper: &'static str, most: Decimal },
    #[error("scope.{named}: alerts of this rule name {}", .of.in_words())]
    Scope { named: &'static str, of: Names },
    #[error(
        "scope.about is 1 to {ABOUT_MAX} visible ASCII characters: the asset of a balance, the id of a channel, and so on"
    )]
    About,
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

impl Names {
    pub const NOTHING: Self = Self { bot: false, exchange: false, pair: false, about: false };
    pub const BOT: Self = Self { bot: true, ..Self::NOTHING };
    pub const MARKET: Self = Self { exchange: true, pair: true, ..Self::NOTHING };
    pub const BOT_IN_MARKET: Self = Self { bot: true, ..Self::MARKET };
    pub const BOTS_FEED: Self = Self { about: true, ..Self::BOT_IN_MARKET };
    pub const ASSET: Self = Self { exchange: true, ..Self::THING };
    /// Something that has an id or a name of its own.
    pub const THING: Self = Self { about: true, ..Self::NOTHING };

    /// Whether a scope names nothing else.
    pub fn include(self, scope: &Scope) -> Result<(), RuleRefusal> {
        let Scope { bot, exchange, pair, about } = scope;
        let is_word = |about: &String| {
            (1..=ABOUT_MAX).contains(&about.len()) && about.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let named = [bot.is_some(), exchange.is_some(), pair.is_some(), about.is_some()];
        match self.each().into_iter().zip(named).find(|((_, has), named)| *named && !has) {
            Some(((named, _), _)) => Err(RuleRefusal::Scope { named, of: self }),
            None if !about.as_ref().is_none_or(is_word) => Err(RuleRefusal::About),
            None => Ok(()),
        }
    }

    fn each(self) -> [(&'static str, bool); 4] {
        [("bot", self.bot), ("exchange", self.exchange), ("pair", self.pair), ("about", self.about)]
    }

    /// By their names in a scope.
    pub fn words(self) -> Vec<&'static str> {
        self.each().into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
    }

    fn in_words(self) -> String {
        let words = self.words();
        if words.is_empty() { "nothing that could be told apart".to_owned() } else { words.join(", ") }
    }
}

impl Parameter {
    /// It is no more than another one of the rule.
    #[must_use]
    pub const fn up_to(self, other: &'static str) -> Self {
        Self { up_to: Some(other), ..self }
    }

    /// It is no less than another one of the rule.
    #[must_use]
    pub const fn from(self, other: &'static str) -> Self {
        Self { from: Some(other), ..self }
    }

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

/// A rule that clears where it fires would flap: what is said, and what is left at its default, are in order.
fn in_order(known: &'static [Parameter], said: &BTreeMap<String, Decimal>) -> Result<(), RuleRefusal> {
    let value = |name: &str| {
        said.get(name).copied().or_else(|| known.iter().find(|one| one.name == name).map(Parameter::value))
    };
    let pairs = known.iter().flat_map(|one| {
        let below = one.up_to.map(|other| (one.name, other));
        below.into_iter().chain(one.from.map(|other| (other, one.name)))
    });
    for (lower, upper) in pairs {
        let (Some(value), Some(most)) = (value(lower), value(upper)) else { continue };
        if value > most {
            return Err(RuleRefusal::Order { lower, value, upper, most });
        }
    }
    Ok(())
}

fn number(text: &str) -> Decimal {
    text.parse().expect("a parameter is written in decimals")
}

impl AlertRule {
    /// The id of what is said of a rule for a scope.
    pub fn id(rule: &RuleName, scope: &Scope) -> String {
        let Scope { bot, exchange, pair, about } = scope;
        let named = [
            bot.map(|bot| format!("bot={bot}")),
            exchange.map(|exchange| format!("exchange={exchange}")),
            pair.as_ref().map(|pair| format!("pair={pair}")),
            about.as_ref().map(|about| format!("about={about}")),
        ];
        named.into_iter().flatten().fold(rule.to_string(), |id, one| format!("{id}:{one}"))
    }

    /// Decides a command.
    pub fn decide(&self, command: RuleCommand) -> Result<Vec<RuleEvent>, RuleRefusal> {
        match command {
            RuleCommand::Configure { rule, scope, on, parameters, known, names, at } => {
                names.include(&scope)?;
                for (name, value) in &parameters {
                    let all = || known.iter().map(|parameter| parameter.name).collect();
                    let parameter = known.iter().find(|parameter| parameter.name == name);
                    let unknown = || RuleRefusal::Unknown { name: name.chars().take(80).collect(), known: all() };
                    parameter.ok_or_else(unknown)?.check(*value)?;
                }
                in_order(known, &parameters)?;
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

    const RATIO: Parameter = Parameter {
        name: "ratio",
        about: "how many times as wide",
        unit: "x",
        least: "1",
        most: "100",
        default: "2",
        up_to: None,
        from: None,
    };
    const KNOWN: &[Parameter] = &[
        RATIO,
        Parameter { name: "clear", default: "1.6", ..RATIO }.up_to("ratio"),
        Parameter { name: "critical", default: "4", ..RATIO }.from("ratio"),
    ];

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
            names: Names::BOT_IN_MARKET,
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
        for value in ["1.6", "2.5", "4"] {
            check([], configure(&[("ratio", value)]), Ok(configured(&[("ratio", value)])));
        }
        for value in ["0.999", "100.001", "-2"] {
            let (name, least, most, unit) = ("ratio", "1", "100", "x");
            let refused = RuleRefusal::Range { name, least, most, unit, value: d(value) };
            check([], configure(&[("ratio", value)]), Err(refused));
        }
        let unknown = RuleRefusal::Unknown { name: "ration".into(), known: vec!["ratio", "clear", "critical"] };
        check([], configure(&[("ration", "2")]), Err(unknown));
    }

    #[test]
    fn a_rule_clears_where_it_is_better_than_where_it_fires() {
        let refused = |lower, value: &str, upper, most: &str| {
            Err(RuleRefusal::Order { lower, value: d(value), upper, most: d(most) })
        };
        check([], configure(&[("ratio", "1.2")]), refused("clear", "1.6", "ratio", "1.2"));
        check([], configure(&[("ratio", "5")]), refused("ratio", "5", "critical", "4"));
        check([], configure(&[("clear", "2.1")]), refused("clear", "2.1", "ratio", "2"));
        let all = [("ratio", "1.2"), ("clear", "1.2"), ("critical", "1.2")];
        check([], configure(&all), Ok(configured(&all)));
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

    #[test]
    fn a_scope_that_no_alert_of_the_rule_can_match_is_refused_and_says_what_can() {
        let refused = |names: Names, scope: &Scope| names.include(scope).map_err(|refusal| refusal.to_string());
        let okx = Scope { exchange: Some(Exchange::Okx), ..Scope::default() };
        let usdt = Scope { about: Some("USDT".into()), ..okx.clone() };
        assert_eq!(refused(Names::ASSET, &usdt), Ok(()));
        assert_eq!(refused(Names::MARKET, &usdt), Err("scope.about: alerts of this rule name exchange, pair".into()));
        assert_eq!(
            refused(Names::NOTHING, &okx),
            Err("scope.exchange: alerts of this rule name nothing that could be told apart".into())
        );
        for about in ["", "a b", "\u{e9}", &"x".repeat(101)] {
            let scope = Scope { about: Some(about.into()), ..Scope::default() };
            assert_eq!(Names::THING.include(&scope), Err(RuleRefusal::About), "{about:?}");
        }
    }
}
