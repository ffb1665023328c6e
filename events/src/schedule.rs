//! Schedules: what is to be done by the clock, and what came of it each time.

use serde::{Deserialize, Serialize};

use crate::{BotId, ChannelId, Slug, Time, Zone, bot::ConfigChange};

/// What is done when the time has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = ScheduledAction)]
pub enum Action {
    /// A bot is deployed.
    Start { bot: BotId },
    /// A bot is stopped.
    Stop { bot: BotId },
    /// A bot's config is changed.
    Configure { bot: BotId, change: Box<ConfigChange> },
    /// People are told by a channel how the period that ended went.
    Report { channel: ChannelId, period: Period },
}

/// What a report is about: the last whole one that had ended, by the schedule's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReportPeriod)]
pub enum Period {
    Day,
    Week,
    Month,
}

/// By what clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = ScheduledWhen)]
pub enum When {
    /// Each time a cron expression of five fields names: minute, hour, day of the month, month, day of the week.
    Cron { expression: String, zone: Zone },
    /// Once.
    Once { at: Time },
}

/// What becomes of runs whose time passed while nobody was there to carry them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MissedRuns)]
pub enum Missed {
    /// The last of them is carried out late, the others are not.
    RunOnce,
    /// None is.
    Skip,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = RunOutcome)]
pub enum Outcome {
    /// It is wanted from now on, as if somebody had asked for it; absent: it was so already.
    Wanted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    /// It may not be so.
    Refused { reason: String },
}

/// Facts of aggregate `schedule`, keyed by the schedule's id. `due`: the moment that the clock named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ScheduleEvent {
    /// From now on this is done then; said again, in place of what was said before.
    ScheduleSet { name: Slug, action: Action, when: When, missed: Missed, at: Time },
    /// It rests, or goes on.
    ScheduleSwitched { on: bool, at: Time },
    /// The time had come, and somebody takes it up. There is one of these for each `due`.
    ScheduleTriggered { due: Time, at: Time },
    /// What came of it.
    ScheduleRan { due: Time, outcome: Outcome, at: Time },
    /// So many runs, from `due` to `last`, were not carried out: nobody was there when their time had come.
    ScheduleMissed { due: Time, last: Time, runs: u64, at: Time },
    /// It is over.
    ScheduleEnded { reason: String, at: Time },
}

impl ScheduleEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::ScheduleSet { at, .. }
            | Self::ScheduleSwitched { at, .. }
            | Self::ScheduleTriggered { at, .. }
            | Self::ScheduleRan { at, .. }
            | Self::ScheduleMissed { at, .. }
            | Self::ScheduleEnded { at, .. } => *at,
        }
    }
}

impl Action {
    /// The bot that it is about.
    pub fn bot(&self) -> Option<BotId> {
        match self {
            Self::Start { bot } | Self::Stop { bot } | Self::Configure { bot, .. } => Some(*bot),
            Self::Report { .. } => None,
        }
    }
}
