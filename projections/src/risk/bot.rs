//! What is wanted of a bot, as far as its limits are concerned.

use events::{
    Time,
    bot::{BotConfig, BotEvent, BotKind, Limits, Venue},
};
use serde::{Deserialize, Serialize};

/// A bot, its limits, and whether it is asked for or running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bot {
    pub kind: BotKind,
    pub limits: Limits,
    pub venue: Option<Venue>,
    pub wanted: bool,
    pub deployed_at: Option<Time>,
    pub deployed_seq: Option<u64>,
    /// It is wanted by nobody, but could not be stopped.
    pub stop_failed_seq: Option<u64>,
}

impl Bot {
    pub fn created(config: &BotConfig) -> Self {
        let BotConfig { kind, limits, venue, .. } = config.clone();
        Self { kind, limits, venue, wanted: false, deployed_at: None, deployed_seq: None, stop_failed_seq: None }
    }

    /// Tells whether it is another now.
    pub fn hear(&mut self, told: &BotEvent, seq: u64) -> bool {
        match told {
            BotEvent::BotConfigChanged { config, .. } => {
                let BotConfig { kind, limits, venue, .. } = config.clone();
                (self.kind, self.limits, self.venue) = (kind, limits, venue);
            }
            BotEvent::BotDeployRequested { at } => {
                self.want(true, None);
                (self.deployed_at, self.deployed_seq) = (Some(*at), Some(seq));
            }
            BotEvent::BotStopRequested { .. } | BotEvent::BotDeployFailed { .. } | BotEvent::BotStopped { .. } => {
                self.want(false, None);
            }
            // It may still trade.
            BotEvent::BotStopFailed { .. } => self.want(true, Some(seq)),
            BotEvent::BotCreated { .. }
            | BotEvent::BotDeployed { .. }
            | BotEvent::BotStateReported { .. }
            | BotEvent::BotSeenAlive { .. }
            | BotEvent::BotSilent { .. }
            | BotEvent::BotConfigApplied { .. }
            | BotEvent::BotConfigNotApplied { .. }
            | BotEvent::BotDeployStarted { .. }
            | BotEvent::BotArchived { .. }
            | BotEvent::BotStrayFound { .. }
            | BotEvent::BotStrayStopped { .. }
            | BotEvent::BotGapOpened { .. }
            | BotEvent::BotGapHealed { .. }
            | BotEvent::BotLimitNeared { .. }
            | BotEvent::BotLimitBroken { .. }
            | BotEvent::BotLogged { .. }
            | BotEvent::BotFiguresReported { .. } => return false,
        }
        true
    }

    fn want(&mut self, wanted: bool, stop_failed_seq: Option<u64>) {
        (self.wanted, self.stop_failed_seq) = (wanted, stop_failed_seq);
    }
}
