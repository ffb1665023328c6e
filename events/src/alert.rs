//! Alerts: a rule came true of something, for one episode after another. Each transition carries what was measured, what it
//! was held against, and the events that show it, so that anybody can follow it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    AlertId, BotId, ChannelId, ClientId, Decimal, Exchange, Market, MessageId, Pair, RuleName, Time, Uuid, bot::Venue,
    chain,
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look today.
    Warning,
    /// Somebody should look now.
    Critical,
}

/// What an alert is about. What is absent plays no part in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AlertLabels)]
pub struct Labels {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot: Option<BotId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub market: Option<Market>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<Pair>,
    /// Whatever else tells it apart: an asset, a credential, a user, a read model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

/// One number that a rule looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// What was measured.
    pub name: String,
    pub value: Decimal,
    /// What it was held against; absent: it stands here to explain the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Decimal>,
    /// `bps`, `%`, `s`, `USDT`, …; empty for a count.
    pub unit: String,
}

/// What a transition follows from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    pub features: Vec<Feature>,
    /// The events of the same stream that show it, the newest last.
    pub seqs: Vec<u64>,
}

/// Why an alert became worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhyEscalated {
    /// What was measured did.
    Worse,
    /// It is critical, and nobody has acknowledged it for so long.
    Unacknowledged,
}

/// Why an episode ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhyResolved {
    /// What was measured is well again, and has been for long enough.
    Cleared,
    /// It told of one moment, which has passed.
    Passed,
    /// What it was about is no longer wanted to run.
    NotWanted,
    /// Somebody acknowledged it, and only that ends it.
    ByHand,
    /// The rule is switched off for this.
    RuleOff,
    /// Another version of the rule does not say so.
    RuleChanged,
}

/// What a message to people tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    Fired,
    Escalated,
    /// It goes on.
    Reminder,
    Resolved,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The other side took it.
    Delivered,
    /// It did not; it is tried again.
    Failed { reason: String },
    /// It did not, and is tried no more.
    GivenUp { reason: String },
}

/// Facts of aggregate `alert`, keyed by what the alert is about ([`AlertId::of`]). `as_of_seq`: how far the stream was known
/// when it was decided; `evaluated_at`: the moment, by the events' own time, at which it became so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub enum AlertEvent {
    /// A rule came true; an episode begins. There is one of these for each.
    AlertFired {
        rule: RuleName,
        version: u32,
        severity: Severity,
        labels: Labels,
        episode: u64,
        summary: String,
        evidence: Evidence,
        /// What else explains it, so that nobody is called for this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inhibited_by: Option<RuleName>,
        as_of_seq: u64,
        evaluated_at: Time,
    },
    /// It became worse; `severity` is what it is from now on.
    AlertEscalated {
        rule: RuleName,
        version: u32,
        severity: Severity,
        episode: u64,
        why: WhyEscalated,
        evidence: Evidence,
        as_of_seq: u64,
        evaluated_at: Time,
    },
    /// The episode ended.
    AlertResolved {
        rule: RuleName,
        version: u32,
        severity: Severity,
        episode: u64,
        why: WhyResolved,
        evidence: Evidence,
        as_of_seq: u64,
        evaluated_at: Time,
    },
    /// Somebody looks after it. Until then nobody is called for it again; absent: to the end of the episode. Who it was
    /// stands in the metadata.
    AlertAcknowledged {
        rule: RuleName,
        severity: Severity,
        episode: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Time>,
        note: String,
        at: Time,
    },
    /// Nobody is called for this alert until then, whatever becomes of it.
    AlertSilenced { rule: RuleName, severity: Severity, episode: u64, until: Time, note: String, at: Time },
    /// A message to people was tried for the `attempt`-th time.
    AlertNotified {
        rule: RuleName,
        severity: Severity,
        episode: u64,
        channel: ChannelId,
        notice: Notice,
        attempt: u32,
        result: Delivery,
        /// By which the other side knows the message again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<MessageId>,
        at: Time,
    },
}

/// To what a rule's configuration, or a silence, applies: to everything that these name. Empty: to all of the client's.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AlertScope)]
pub struct Scope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot: Option<BotId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<Pair>,
    /// What else: the asset of a balance, the id of a channel, whatever stands in the alert's labels under this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100)]
    pub about: Option<String>,
}

/// Facts of aggregate `rule`, keyed by the rule's name and what its configuration applies to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RuleEvent {
    /// Where it applies, the rule works with these parameters from now on; those that are not named have their defaults, or
    /// what is said of something wider.
    RuleConfigured { rule: RuleName, scope: Scope, on: bool, parameters: BTreeMap<String, Decimal>, at: Time },
    /// Nothing of its own is said of it any more.
    RuleReset { rule: RuleName, scope: Scope, at: Time },
    /// Whoever evaluates alerts has these rules in these versions, and from now on they speak: what a rule would have said of
    /// earlier events is not said any more. Its aggregate is keyed `versions`.
    RulesSpeak { versions: BTreeMap<RuleName, u32>, at: Time },
}

/// Facts of aggregate `silence`, keyed by the silence's id. What is silent is evaluated and recorded as ever; nobody is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum SilenceEvent {
    /// Nobody is called for alerts of this rule, of any where it is absent, about what `scope` names, until then.
    SilenceSet {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<RuleName>,
        scope: Scope,
        until: Time,
        reason: String,
        at: Time,
    },
    /// It ended before its time.
    SilenceEnded { reason: String, at: Time },
}

impl AlertId {
    /// The one alert of this rule about this, of this client: the first half of a SHA-256 over all three.
    pub fn of(client: ClientId, rule: &RuleName, labels: &Labels) -> Self {
        let told = serde_json::json!({"client": client, "labels": labels, "rule": rule});
        let hash = Sha256::digest(chain::canonical(&told));
        Self(Uuid::new_v8(hash[..16].try_into().expect("a hash has 32 bytes")))
    }
}

impl Labels {
    /// About a bot in one market.
    pub fn of(bot: BotId, venue: &Venue) -> Self {
        Self { bot: Some(bot), ..Self::at(venue) }
    }

    /// About a market.
    pub fn at(venue: &Venue) -> Self {
        let Venue { exchange, market, pair } = venue.clone();
        Self { exchange: Some(exchange), market: Some(market), pair: Some(pair), ..Self::default() }
    }

    /// About a bot, wherever it trades.
    pub fn bot(bot: BotId) -> Self {
        Self { bot: Some(bot), ..Self::default() }
    }

    /// About something else.
    pub fn about(what: impl Into<String>) -> Self {
        Self { about: Some(what.into()), ..Self::default() }
    }
}

impl Scope {
    /// Whether it applies to what an alert is about.
    pub fn covers(&self, labels: &Labels) -> bool {
        self.bot.is_none_or(|bot| labels.bot == Some(bot))
            && self.exchange.is_none_or(|exchange| labels.exchange == Some(exchange))
            && self.pair.as_ref().is_none_or(|pair| labels.pair.as_ref() == Some(pair))
            && self.about.as_ref().is_none_or(|about| labels.about.as_ref() == Some(about))
    }

    /// Of two that apply to the same, the narrower one counts: what an alert is about is narrower than a bot, a bot than a
    /// pair, a pair than an exchange.
    pub fn narrowness(&self) -> u8 {
        u8::from(self.about.is_some()) * 8
            + u8::from(self.bot.is_some()) * 4
            + u8::from(self.pair.is_some()) * 2
            + u8::from(self.exchange.is_some())
    }
}

impl Severity {
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl AlertEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::AlertFired { evaluated_at: at, .. }
            | Self::AlertEscalated { evaluated_at: at, .. }
            | Self::AlertResolved { evaluated_at: at, .. }
            | Self::AlertAcknowledged { at, .. }
            | Self::AlertSilenced { at, .. }
            | Self::AlertNotified { at, .. } => *at,
        }
    }

    /// Which rule came true, and how bad it is by this event.
    pub fn rule(&self) -> (&RuleName, Severity) {
        match self {
            Self::AlertFired { rule, severity, .. }
            | Self::AlertEscalated { rule, severity, .. }
            | Self::AlertResolved { rule, severity, .. }
            | Self::AlertAcknowledged { rule, severity, .. }
            | Self::AlertSilenced { rule, severity, .. }
            | Self::AlertNotified { rule, severity, .. } => (rule, *severity),
        }
    }

    /// Which episode it belongs to.
    pub fn episode(&self) -> u64 {
        match self {
            Self::AlertFired { episode, .. }
            | Self::AlertEscalated { episode, .. }
            | Self::AlertResolved { episode, .. }
            | Self::AlertAcknowledged { episode, .. }
            | Self::AlertSilenced { episode, .. }
            | Self::AlertNotified { episode, .. } => *episode,
        }
    }

    /// Which version of which rule decided this; absent: somebody else did.
    pub fn version(&self) -> Option<(&RuleName, u32)> {
        match self {
            Self::AlertFired { rule, version, .. }
            | Self::AlertEscalated { rule, version, .. }
            | Self::AlertResolved { rule, version, .. } => Some((rule, *version)),
            Self::AlertAcknowledged { .. } | Self::AlertSilenced { .. } | Self::AlertNotified { .. } => None,
        }
    }

    /// What the engine was at when it decided this; absent: somebody else did.
    pub fn decided(&self) -> Option<(u64, Time)> {
        match self {
            Self::AlertFired { as_of_seq, evaluated_at, .. }
            | Self::AlertEscalated { as_of_seq, evaluated_at, .. }
            | Self::AlertResolved { as_of_seq, evaluated_at, .. } => Some((*as_of_seq, *evaluated_at)),
            Self::AlertAcknowledged { .. } | Self::AlertSilenced { .. } | Self::AlertNotified { .. } => None,
        }
    }
}

impl RuleEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::RuleConfigured { at, .. } | Self::RuleReset { at, .. } | Self::RulesSpeak { at, .. } => *at,
        }
    }
}

impl SilenceEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::SilenceSet { at, .. } | Self::SilenceEnded { at, .. } => *at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels { bot: Some(BotId(Uuid::from_u128(2))), pair: Some("SOL-USDT".parse().unwrap()), ..Labels::default() }
    }

    #[test]
    fn an_alert_is_known_by_its_client_its_rule_and_what_it_is_about() {
        let (client, rule): (_, RuleName) = (ClientId(Uuid::from_u128(1)), "spread_wide".parse().unwrap());
        let id = AlertId::of(client, &rule, &labels());
        assert_eq!(id, AlertId::of(client, &rule, &labels()));
        for other in [
            AlertId::of(ClientId(Uuid::from_u128(9)), &rule, &labels()),
            AlertId::of(client, &"depth_low".parse().unwrap(), &labels()),
            AlertId::of(client, &rule, &Labels { about: Some("SOL".into()), ..labels() }),
            AlertId::of(client, &rule, &Labels::default()),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn a_scope_covers_what_it_names_and_the_narrower_one_counts() {
        let pair = Scope { pair: labels().pair, ..Scope::default() };
        let bot = Scope { bot: labels().bot, ..Scope::default() };
        let other = Scope { exchange: Some(Exchange::Okx), ..Scope::default() };
        assert!(Scope::default().covers(&labels()) && pair.covers(&labels()) && bot.covers(&labels()));
        assert!(!other.covers(&labels()) && !pair.covers(&Labels::default()));
        let about = Scope { about: Some("book".into()), ..Scope::default() };
        assert!(!about.covers(&labels()) && about.covers(&Labels { about: about.about.clone(), ..labels() }));
        let narrowness = [&Scope::default(), &other, &pair, &bot, &about].map(Scope::narrowness);
        assert!(narrowness.is_sorted_by(|wide, narrow| wide < narrow), "{narrowness:?}");
    }
}
