//! The rules, one file each: what each watches, its numbers, and how it reads them off the events.
//!
//! A rule measures; when an episode begins and ends is the engine's affair. To add one, write its file and list it below.

use std::collections::VecDeque;

use domain::alert_rule::Parameter;
use events::{Decimal, Time, alert::Severity};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use crate::engine::micros;
use crate::engine::{Condition, Hearing, Kind};

/// What a rule is.
pub(crate) trait Rule {
    const KIND: Kind;

    /// What it keeps in mind between events.
    type Memory: std::fmt::Debug + Clone + Default + PartialEq + Eq + Serialize + DeserializeOwned;

    /// Takes an event in, and says what it reads of whatever that changes.
    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>);
}

macro_rules! rules {
    ($($module:ident::$rule:ident),+ $(,)?) => {
        $(mod $module;)+

        /// Every rule there is.
        pub static ALL: &[&Kind] = &[$(&<$module::$rule as Rule>::KIND),+];

        /// What all of them keep in mind.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) struct Memories {
            $(#[serde(default)] $module: <$module::$rule as Rule>::Memory,)+
        }

        impl Memories {
            pub fn hear(&mut self, hearing: &mut Hearing<'_>, desk: bool) {
                $(
                    if <$module::$rule as Rule>::KIND.listens_to(desk) {
                        hearing.listens(&<$module::$rule as Rule>::KIND);
                        $module::$rule::hear(&mut self.$module, hearing);
                    }
                )+
            }
        }
    };
}

rules! {
    spread::SpreadWide,
    market_spread::MarketSpreadWide,
    two_sided::NoTwoSidedQuotes,
    uptime::QuoteUptimeLow,
    depth::DepthLow,
    fill_large::FillLarge,
    fill_burst::FillBurst,
    fill_one_sided::FillOneSided,
    no_fills::NoFills,
    inventory::InventoryImbalance,
    drawdown::PnlDrawdown,
    daily_loss::DailyLossLimit,
    stopped::BotStoppedUnexpectedly,
    heartbeat::HeartbeatLost,
    hummingbot::HummingbotDown,
    balance::BalanceLow,
    mismatch::BalanceMismatch,
    feed::FeedStale,
    deviation::PriceDeviation,
    self_match::SelfMatch,
    rejects::OrderRejectRate,
    agent_denied::AgentActionDenied,
    agent_limit::AgentLimitNear,
    auth::AuthAnomaly,
    keys::KeyAnomaly,
    channel::ChannelFailing,
    agreement::AgreementMissed,
    schedule::ScheduledRunFailed,
    lag::ProjectionLag,
    relay_lag::RelayLag,
    dead_man::DeadMan,
}

/// A number of a rule, shortly written in its list.
pub(crate) const fn number(
    name: &'static str,
    unit: &'static str,
    [least, default, most]: [&'static str; 3],
    about: &'static str,
) -> Parameter {
    Parameter { name, about, unit, least, most, default, up_to: None, from: None }
}

/// How long it has to be so before it fires, in seconds.
pub(crate) const fn wait(default: &'static str) -> Parameter {
    number("for_s", "s", ["0", default, "3600"], "how long it has to be so before it fires")
}

/// The same for a critical one.
pub(crate) const fn wait_critical(default: &'static str) -> Parameter {
    number("for_critical_s", "s", ["0", default, "3600"], "how long it has to be so before it is critical")
}

/// How long it has to be well before the episode ends, in seconds.
pub(crate) const fn keep(default: &'static str) -> Parameter {
    number("keep_s", "s", ["0", default, "3600"], "how long it has to be well before the episode ends")
}

/// What is said of something that is bad above two steps and well below a third.
pub(crate) fn above(value: Decimal, warning: Decimal, critical: Option<Decimal>, clear: Decimal) -> Condition {
    if critical.is_some_and(|critical| value > critical) {
        Condition::Above(Severity::Critical)
    } else if value > warning {
        Condition::Above(Severity::Warning)
    } else if value < clear {
        Condition::Clear
    } else {
        Condition::Between
    }
}

/// The same of something that is bad below.
pub(crate) fn below(value: Decimal, warning: Decimal, critical: Option<Decimal>, clear: Decimal) -> Condition {
    above(-value, -warning, critical.map(|critical| -critical), -clear)
}

/// A count as a number.
pub(crate) fn count(of: usize) -> Decimal {
    Decimal::from_int(i64::try_from(of).expect("memory holds fewer"))
}

/// What happened within some time, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window<T>(VecDeque<(Time, T)>);

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Window<T> {
    /// Adds one, and forgets what is older than the window and what is too much.
    pub fn push(&mut self, at: Time, one: T, lasts_us: i64, most: usize) {
        let place = self.0.partition_point(|(earlier, _)| *earlier <= at);
        self.0.insert(place, (at, one));
        self.forget(at, lasts_us);
        while self.0.len() > most {
            self.0.pop_front();
        }
    }

    /// The same of something that lasts until the next one: what lasted into the window is kept.
    pub fn push_lasting(&mut self, at: Time, one: T, lasts_us: i64, most: usize) {
        let place = self.0.partition_point(|(earlier, _)| *earlier <= at);
        self.0.insert(place, (at, one));
        while self.0.get(1).is_some_and(|(next, _)| at.micros() - next.micros() >= lasts_us) || self.0.len() > most {
            self.0.pop_front();
        }
    }

    /// Forgets what is older than the window.
    pub fn forget(&mut self, now: Time, lasts_us: i64) {
        while self.0.front().is_some_and(|(at, _)| now.micros() - at.micros() > lasts_us) {
            self.0.pop_front();
        }
    }

    /// When each leaves the window if nothing comes, the oldest first, and how many are left then.
    pub fn leaving(&self, lasts_us: i64) -> impl Iterator<Item = (Time, &T, usize)> {
        let left = (0..self.0.len()).rev();
        self.0.iter().zip(left).map(move |((at, one), left)| (at.plus_micros(lasts_us + 1), one, left))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(Time, T)> {
        self.0.iter()
    }

    /// The last one.
    pub fn last(&self) -> Option<&(Time, T)> {
        self.0.back()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn first(&self) -> Option<&(Time, T)> {
        self.0.front()
    }
}

/// The value in the middle of some; absent: of none.
pub(crate) fn median(values: impl IntoIterator<Item = Decimal>) -> Option<Decimal> {
    let mut values: Vec<Decimal> = values.into_iter().collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
