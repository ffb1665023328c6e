//! A bot's life: created, configured, asked for, deployed, seen alive, stopped.
//!
//! What we asked for (desired), what Hummingbot says (reported) and what we saw ourselves (observed) are three facts
//! and three kinds of event; none of them stands in for another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Exchange, Market, Pair, Slug, Time};

/// What a bot is told to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BotConfig {
    /// The Hummingbot controller, e.g. `pmm_simple`; absent for a bot known only from its history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// Where it trades; absent for a bot known only from its history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<Venue>,
    /// The controller's own settings, by their Hummingbot names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// One market of one exchange.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Venue {
    /// Where.
    pub exchange: Exchange,
    /// Spot or perpetual.
    pub market: Market,
    /// What for what.
    pub pair: Pair,
}

/// What Hummingbot says of a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportedState {
    Running,
    Stopped,
    Failing,
    NotFound,
}

/// Facts of aggregate `bot`, keyed by the bot's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum BotEvent {
    /// A bot exists. It does nothing until it is deployed.
    BotCreated { name: Slug, config: BotConfig, at: Time },
    /// It is told something else; a running bot takes it over live.
    BotConfigChanged { config: BotConfig, at: Time },
    /// Someone wants it to run.
    BotDeployRequested { at: Time },
    /// It runs, under the name that Hummingbot gave this deployment.
    BotDeployed { instance: String, at: Time },
    /// It could not be started; it is wanted no longer.
    BotDeployFailed { reason: String, at: Time },
    /// Someone wants it to stop.
    BotStopRequested { reason: String, at: Time },
    /// It stopped.
    BotStopped { at: Time },
    /// It could not be stopped; it may still trade.
    BotStopFailed { reason: String, at: Time },
    /// Hummingbot says something new of it.
    BotStateReported { state: ReportedState, at: Time },
    /// A sign of its life reached us; recorded when it came back after a silence, not at every beat.
    BotSeenAlive { at: Time },
    /// No sign of life since `last_seen`.
    BotSilent { last_seen: Time, at: Time },
}

impl BotEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::BotCreated { at, .. }
            | Self::BotConfigChanged { at, .. }
            | Self::BotDeployRequested { at }
            | Self::BotDeployed { at, .. }
            | Self::BotDeployFailed { at, .. }
            | Self::BotStopRequested { at, .. }
            | Self::BotStopped { at }
            | Self::BotStopFailed { at, .. }
            | Self::BotStateReported { at, .. }
            | Self::BotSeenAlive { at }
            | Self::BotSilent { at, .. } => *at,
        }
    }
}
