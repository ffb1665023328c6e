//! What is said of rules, by scope: the narrowest that says something of a parameter counts.

use std::collections::BTreeMap;

use domain::alert_rule::Parameter;
use events::{
    Decimal, RuleName,
    alert::{Labels, Scope},
};
use serde::{Deserialize, Serialize};

use super::kind::Kind;

/// A client's configuration of its rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configs {
    said: BTreeMap<RuleName, BTreeMap<Scope, Said>>,
    /// What is tried out for a rule, whatever is said.
    forced: BTreeMap<RuleName, BTreeMap<String, Decimal>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    on: bool,
    parameters: BTreeMap<String, Decimal>,
}

impl Configs {
    pub fn configure(&mut self, rule: RuleName, scope: Scope, on: bool, parameters: BTreeMap<String, Decimal>) {
        self.said.entry(rule).or_default().insert(scope, Said { on, parameters });
    }

    pub fn reset(&mut self, rule: &RuleName, scope: &Scope) {
        if let Some(said) = self.said.get_mut(rule) {
            said.remove(scope);
        }
    }

    pub(super) fn force(&mut self, rule: RuleName, parameters: BTreeMap<String, Decimal>) {
        self.forced.insert(rule, parameters);
    }

    /// Whether a rule is on for something.
    pub fn is_on(&self, rule: &RuleName, labels: &Labels) -> bool {
        self.forced.contains_key(rule) || self.covering(rule, labels).next().is_none_or(|said| said.on)
    }

    /// A parameter's value for something. What is said for different scopes can be out of order where they meet; then it
    /// gives way to the number that it may not pass, or the rule would flap.
    pub fn value(&self, kind: &Kind, labels: &Labels, parameter: &Parameter) -> Decimal {
        let other = |name: Option<&str>| {
            let parameter = kind.parameters.iter().find(|parameter| Some(parameter.name) == name)?;
            Some(self.said(kind, labels, parameter))
        };
        let value = self.said(kind, labels, parameter);
        let value = other(parameter.from).map_or(value, |least| value.max(least));
        other(parameter.up_to).map_or(value, |most| value.min(most))
    }

    fn said(&self, kind: &Kind, labels: &Labels, parameter: &Parameter) -> Decimal {
        let rule = kind.rule();
        let forced = self.forced.get(&rule).and_then(|forced| forced.get(parameter.name));
        let said = || self.covering(&rule, labels).find_map(|said| said.parameters.get(parameter.name));
        // What is tried out says all that it does not leave at the default.
        let told = if self.forced.contains_key(&rule) { forced } else { said() };
        told.copied().unwrap_or_else(|| parameter.value())
    }

    /// What is said of a rule for something, the narrowest first.
    fn covering<'a>(&'a self, rule: &RuleName, labels: &'a Labels) -> impl Iterator<Item = &'a Said> {
        let all = self.said.get(rule).into_iter().flatten();
        let mut covering: Vec<_> = all.filter(|(scope, _)| scope.covers(labels)).collect();
        covering.sort_by_key(|(scope, _)| std::cmp::Reverse(scope.narrowness()));
        covering.into_iter().map(|(_, said)| said)
    }
}
