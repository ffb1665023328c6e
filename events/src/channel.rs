//! Channels: how people hear of alerts beside NATS. Where a message goes, and what lets it in there, is nobody's to read:
//! it lies in the vault, and the stream tells by what it is known again.

use serde::{Deserialize, Serialize};

use crate::{SealedId, Slug, Time, Zone, alert::Delivery, alert::Severity};

/// By what means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ChannelKind)]
pub enum Kind {
    /// A signed POST to a URL, by the Standard Webhooks specification.
    Webhook,
    /// An incoming webhook of Slack, or of anything that takes the same.
    Slack,
    /// A message of a bot of Telegram.
    Telegram,
    Email,
}

/// A time of each day at which nobody is called for anything but what is critical. It may pass midnight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// Minutes after midnight, 0 to 1439.
    pub from: u16,
    /// The first minute in which people are called again.
    pub to: u16,
    /// Whose midnight.
    pub zone: Zone,
}

/// What is told by a channel, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChannelSettings)]
pub struct Settings {
    /// Alerts that are at least so bad.
    pub severity: Severity,
    /// For so many seconds news of one rule are gathered before they are told together.
    pub wait_s: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<QuietHours>,
    /// Nothing is told where this is false.
    pub on: bool,
}

/// Why a channel tells nothing any more until somebody looks after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhyDisabled {
    /// The other side said that it is gone for good (410).
    Gone,
}

/// Facts of aggregate `channel`, keyed by the channel's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ChannelEvent {
    /// People are told in this way from now on. `shown`: so much of where it leads as may be seen.
    ChannelAdded { name: Slug, kind: Kind, shown: String, sealed: SealedId, settings: Settings, at: Time },
    /// Other settings; all of them.
    ChannelChanged { settings: Settings, at: Time },
    /// It leads elsewhere from now on, or lets in by another secret. Messages are signed by both secrets until then.
    ChannelRenewed { shown: String, sealed: SealedId, supersedes: SealedId, both_until: Time, at: Time },
    /// Nothing is told by it until somebody changes or renews it.
    ChannelDisabled { why: WhyDisabled, at: Time },
    /// Somebody wants to see whether it works.
    ChannelTestRequested { at: Time },
    /// Whether it did. `of`: the event that wanted it.
    ChannelTested { of: u64, attempt: u32, result: Delivery, at: Time },
    /// A schedule wants people to be told how this time went.
    ChannelReportRequested { from: Time, to: Time, at: Time },
    /// Whether they were. `of`: the event that wanted it.
    ChannelReported { of: u64, attempt: u32, result: Delivery, at: Time },
    /// Nothing is told by it any more, and where it led is forgotten.
    ChannelRemoved { reason: String, at: Time },
}

impl ChannelEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::ChannelAdded { at, .. }
            | Self::ChannelChanged { at, .. }
            | Self::ChannelRenewed { at, .. }
            | Self::ChannelDisabled { at, .. }
            | Self::ChannelTestRequested { at }
            | Self::ChannelTested { at, .. }
            | Self::ChannelReportRequested { at, .. }
            | Self::ChannelReported { at, .. }
            | Self::ChannelRemoved { at, .. } => *at,
        }
    }
}

impl Kind {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Telegram => "telegram",
            Self::Email => "email",
        }
    }
}
