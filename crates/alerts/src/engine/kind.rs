//! What a rule says of itself: its name, its numbers, and how an episode of it begins and ends.

pub use domain::alert_rule::Names;
use domain::alert_rule::Parameter;
use events::{Decimal, RuleName, alert::Severity};

/// A rule, as it is described.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    /// Raised when the same events come to mean something else.
    pub version: u32,
    /// What it watches, in one sentence.
    pub about: &'static str,
    /// Whose events it listens to.
    pub of: Of,
    /// What its alerts are about, beside their client.
    pub names: Names,
    pub parameters: &'static [Parameter],
    pub ends: Ends,
    /// It is about bots, and only while they shall run.
    pub while_wanted: bool,
    /// The rule that explains it.
    pub inhibited_by: Option<&'static str>,
}

/// Whose events a rule listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Clients,
    Desk,
    Both,
}

/// How an episode ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// When it has been well for `keep_s`.
    WhenClear,
    /// By itself, after `lasts_s`: it tells of one moment.
    Passing,
    /// When somebody acknowledges it.
    ByHand,
}

/// The times of one rule for one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// For how long it has to be so bad before it fires: by severity.
    pub for_us: [i64; 3],
    pub keep_us: i64,
    /// Of one that passes by itself.
    pub lasts_us: Option<i64>,
    pub by_hand: bool,
}

/// A hundred days: no parameter is longer.
const LONGEST_US: i64 = 100 * 24 * 3_600 * 1_000_000;

/// The names of the parameters that are times of the machine.
const FOR: &str = "for_s";
const FOR_CRITICAL: &str = "for_critical_s";
const KEEP: &str = "keep_s";
const LASTS: &str = "lasts_s";

impl Kind {
    pub fn rule(&self) -> RuleName {
        self.name.parse().expect("a rule's name is one")
    }

    pub fn listens_to(&self, desk: bool) -> bool {
        match self.of {
            Of::Clients => !desk,
            Of::Desk => desk,
            Of::Both => true,
        }
    }
}

impl Timing {
    pub(super) fn of(kind: &Kind, value: impl Fn(&Parameter) -> Decimal) -> Self {
        let told = |name: &str| kind.parameters.iter().find(|parameter| parameter.name == name).map(&value).map(micros);
        let short = told(FOR).unwrap_or_default();
        let critical = told(FOR_CRITICAL).unwrap_or(short);
        let lasts_us = (kind.ends == Ends::Passing).then(|| told(LASTS).unwrap_or_default());
        let keep_us = told(KEEP).unwrap_or_default();
        Self { for_us: [short, short, critical], keep_us, lasts_us, by_hand: kind.ends == Ends::ByHand }
    }

    pub(super) fn wait(&self, severity: Severity) -> i64 {
        self.for_us[severity as usize]
    }
}

/// Seconds as they are written in parameters, as microseconds; what no parameter can be is as long as can be.
pub(crate) fn micros(seconds: Decimal) -> i64 {
    let us = seconds.rounded(6).times(Decimal::from_int(1_000_000)).map(|us| us.rounded(0).normalised().to_string());
    us.ok().and_then(|us| us.parse().ok()).map_or(LONGEST_US, |us: i64| us.clamp(0, LONGEST_US))
}
