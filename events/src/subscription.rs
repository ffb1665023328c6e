//! A subscription: somebody outside follows a client's events over NATS. Asked for, let in, renewed, rotated, revoked.
//! Never a word of a secret: a subscriber is known by the public half of its nkey.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{SessionId, Slug, Time, alert::Severity, desk::Role};

/// The public half of a subscriber's nkey, as NATS writes it: `U` and 55 more characters of base32.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserNkey(Arc<str>);

/// Why a text is no public half of a nkey. Nothing of it is repeated: somebody may have given the secret half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNkey {
    #[error("this is the secret half of a nkey: keep it to yourself, make another, and give its public half")]
    Seed,
    #[error("give the public half of a user nkey: 56 characters of A-Z and 2-7, the first of them U")]
    Shape,
}

/// Which of its client's events a subscription delivers. The set is closed: nobody writes subjects of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// Every event.
    All,
    /// Whatever is no alert; of one kind of aggregate, if it is told which.
    Events(Option<&'static str>),
    /// Alerts; of one severity, if it is told which.
    Alerts(Option<&'static str>),
}

/// A filter that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no filter {text:?}: take all, events, events. and one of {}, alerts, or alerts. and one of {}",
    Filter::AGGREGATES.join(", "), Filter::SEVERITIES.join(", ")
)]
pub struct BadFilter {
    text: String,
}

/// What became of whoever brought a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyBarred {
    /// The login in which it was brought was ended, by anything but its own logout.
    SessionEnded,
    /// The program's token by which it was brought was revoked.
    TokenRevoked,
    /// The person or service that brought it is let in no more.
    UserBarred,
    /// The person that brought it may do something else now.
    RoleChanged,
}

/// Facts of aggregate `subscription`, keyed by the subscription's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum SubscriptionEvent {
    /// Somebody wants to follow, and got a credential that counts until then. NATS does not let it in yet. Delivered is
    /// what follows event `after` of the client's stream; absent: this event and what follows it.
    SubscriptionRequested {
        name: Slug,
        filter: Filter,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        user: UserNkey,
        /// The login in which somebody brought this user, or the program's token; absent in events of before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        /// What somebody was allowed to do then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<Role>,
        expires_at: Time,
        at: Time,
    },
    /// NATS lets this user in from here on, and nobody before it.
    SubscriptionActive { user: UserNkey, at: Time },
    /// The same user got a credential that counts longer.
    SubscriptionRenewed { expires_at: Time, at: Time },
    /// Another user takes the place of one that shall be let in no more. What was delivered and what not stays as it is.
    SubscriptionRotated {
        supersedes: UserNkey,
        user: UserNkey,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<Role>,
        expires_at: Time,
        at: Time,
    },
    /// This user shall be let in no more, because of what became of whoever brought it. What was delivered and what not
    /// stays as it is, for another user to go on with.
    SubscriptionBarred { user: UserNkey, reason: WhyBarred, at: Time },
    /// Nobody shall follow by it any more.
    SubscriptionRevokeRequested { reason: String, at: Time },
    /// NATS let its user go, and lets it in no more.
    SubscriptionRevoked { at: Time },
}

impl UserNkey {
    /// As NATS writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserNkey {
    type Err = BadNkey;

    fn from_str(text: &str) -> Result<Self, BadNkey> {
        let base32 = |text: &str| text.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
        match text.as_bytes() {
            [b'S', ..] if text.len() == 58 && base32(text) => Err(BadNkey::Seed),
            [b'U', ..] if text.len() == 56 && base32(text) => Ok(Self(text.into())),
            _ => Err(BadNkey::Shape),
        }
    }
}

impl Filter {
    /// The kinds of aggregates in a client's stream, but for alerts, which have subjects of their own.
    pub const AGGREGATES: &[&str] = &[
        "account",
        "agent",
        "agreement",
        "bot",
        "channel",
        "client",
        "credential",
        "ledger",
        "manual",
        "market",
        "orders",
        "rule",
        "schedule",
        "silence",
        "subscription",
    ];
    /// How bad an alert can be.
    pub const SEVERITIES: &[&str] = &[Severity::Info.as_str(), Severity::Warning.as_str(), Severity::Critical.as_str()];

    /// What it lets through, below the client's own prefix of subjects.
    pub fn subjects(self) -> String {
        match self {
            Self::All => ">".to_owned(),
            Self::Events(None) => "events.>".to_owned(),
            Self::Events(Some(kind)) => format!("events.{kind}.>"),
            Self::Alerts(None) => "alerts.>".to_owned(),
            Self::Alerts(Some(severity)) => format!("alerts.{severity}.>"),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Events(None) => f.write_str("events"),
            Self::Events(Some(kind)) => write!(f, "events.{kind}"),
            Self::Alerts(None) => f.write_str("alerts"),
            Self::Alerts(Some(severity)) => write!(f, "alerts.{severity}"),
        }
    }
}

impl FromStr for Filter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let bad = || BadFilter { text: text.chars().take(80).collect() };
        let of = |known: &[&'static str], named: &str| known.iter().copied().find(|one| *one == named).ok_or_else(bad);
        match text.split_once('.') {
            None if text == "all" => Ok(Self::All),
            None if text == "events" => Ok(Self::Events(None)),
            None if text == "alerts" => Ok(Self::Alerts(None)),
            Some(("events", kind)) => of(Self::AGGREGATES, kind).map(|kind| Self::Events(Some(kind))),
            Some(("alerts", severity)) => of(Self::SEVERITIES, severity).map(|severity| Self::Alerts(Some(severity))),
            None | Some(_) => Err(bad()),
        }
    }
}

impl fmt::Display for UserNkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserNkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! written_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

written_as_text!(UserNkey);
written_as_text!(Filter);

impl SubscriptionEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::SubscriptionRequested { at, .. }
            | Self::SubscriptionActive { at, .. }
            | Self::SubscriptionRenewed { at, .. }
            | Self::SubscriptionRotated { at, .. }
            | Self::SubscriptionBarred { at, .. }
            | Self::SubscriptionRevokeRequested { at, .. }
            | Self::SubscriptionRevoked { at } => *at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_one_of_a_closed_set_and_reads_as_it_is_written() {
        let of = |known: &'static [&'static str], make: fn(Option<&'static str>) -> Filter| {
            known.iter().map(move |one| make(Some(one))).chain([make(None)])
        };
        for filter in of(Filter::AGGREGATES, Filter::Events).chain(of(Filter::SEVERITIES, Filter::Alerts)) {
            assert_eq!(filter.to_string().parse(), Ok(filter));
            assert!(filter.subjects().ends_with(".>"), "{filter}");
        }
        assert_eq!("all".parse(), Ok(Filter::All));
        for bad in [
            "",
            ">",
            "*",
            "all.",
            "all.x",
            "events.",
            "events.>",
            "events.*",
            "events.bot.x",
            "events.desk",
            "alerts.*",
            "alerts.fatal",
            "EVENTS",
            "pipelabs.>",
            "$JS.>",
            "events .bot",
            "events.b\u{e9}",
        ] {
            let told = bad.parse::<Filter>().unwrap_err().to_string();
            assert!(told.contains("events. and one of account, agent, agreement, bot"), "{told}");
        }
        let told = "x".repeat(9_999).parse::<Filter>().unwrap_err().to_string();
        assert!(told.len() < 450, "{told}");
    }

    #[test]
    fn of_a_nkey_only_the_public_half_is_taken_and_nothing_of_another_text_is_repeated() {
        let public = format!("U{}", "A".repeat(55));
        assert_eq!(public.parse::<UserNkey>().unwrap().as_str(), public);
        let seed = format!("SU{}", "A".repeat(56));
        assert_eq!(seed.parse::<UserNkey>(), Err(BadNkey::Seed));
        let one_more = format!("{public}A");
        let lower = public.to_lowercase();
        let account = format!("A{}", "A".repeat(55));
        for bad in
            ["", "U", &one_more, &lower, &account, &public.replacen("AA", "A.", 1), &public.replacen("AA", "A1", 1)]
        {
            assert_eq!(bad.parse::<UserNkey>(), Err(BadNkey::Shape), "{bad}");
        }
    }
}
