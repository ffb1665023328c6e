//! A bot's life: created, configured, asked for, deployed, seen alive, stopped.
//!
//! What we asked for (desired), what Hummingbot says (reported) and what we saw ourselves (observed) are three facts
//! and three kinds of event; none of them stands in for another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Decimal, Exchange, Market, Pair, Slug, Time};

/// What a bot is told to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BotConfig {
    /// The Hummingbot controller, e.g. `pmm_simple`; absent for a bot known only from its history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// The Hummingbot script that runs in place of a controller, e.g. `v2_twap`; absent where a controller does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Where it trades; absent for a bot known only from its history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<Venue>,
    /// The controller's or script's own settings, by their Hummingbot names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "BotKind::is_market_making")]
    pub kind: BotKind,
    /// What it may not pass.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

/// What a bot is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BotKind {
    /// Rests on both sides of the book.
    #[default]
    MarketMaking,
    /// Trades towards a volume, within a participation cap, a loss budget and a position limit.
    Volume,
}

impl BotKind {
    fn is_market_making(&self) -> bool {
        *self == Self::MarketMaking
    }
}

/// What a bot may not pass; an absent limit limits nothing. Amounts of money are in the quote asset of its pair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Its own volume of a day over the market's, above 0 and at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participation_cap: Option<Decimal>,
    /// What it may lose in a day (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_budget: Option<Decimal>,
    /// The most of the base asset that it may be long or short, counted from where it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_limit: Option<Decimal>,
    /// How far its P&L may fall below its highest since the bot was deployed: the breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawdown_limit: Option<Decimal>,
    /// What it may trade in a day (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_volume_max: Option<Decimal>,
    /// |bought - sold| over bought + sold since the day (UTC) began or it was deployed, whichever came later, above 0 and at
    /// most 1, once it had 20 fills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side_imbalance_max: Option<Decimal>,
    /// Fills of one side in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_side_max: Option<u32>,
}

impl Limits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One of the limits, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    ParticipationCap,
    LossBudget,
    PositionLimit,
    DrawdownLimit,
    DailyVolumeMax,
    SideImbalanceMax,
    SameSideMax,
}

impl Limit {
    /// What it is called in an answer to a person.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::ParticipationCap => "share of the market's volume",
            Self::LossBudget => "loss of the day",
            Self::PositionLimit => "position",
            Self::DrawdownLimit => "fall below the highest P&L",
            Self::DailyVolumeMax => "volume of the day",
            Self::SideImbalanceMax => "imbalance of bought and sold",
            Self::SameSideMax => "fills of one side in a row",
        }
    }
}

/// How much a line of a bot's log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Warning,
    Error,
}

/// What a bot's instance says of its own success, since it was deployed. It is its arithmetic, not ours: shown beside ours
/// and never booked. All money is in the quote asset of its pair; a figure is absent where it was not told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Sum of price x amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_quote: Option<Decimal>,
    /// What came of the trades that it holds to be closed, less their fees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realized_pnl_quote: Option<Decimal>,
    /// What the open ones would bring now: less their fees for trades under way, before fees for positions that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrealized_pnl_quote: Option<Decimal>,
    /// All fees, by its own conversion; absent where it tells them of a part of its volume only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fees_quote: Option<Decimal>,
    /// The fees of the positions that it holds: the ones that it did not take off its P&L.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_fees_quote: Option<Decimal>,
    /// How many fills are in its history, up to `fills_until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fills: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fills_until: Option<Time>,
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

/// What shall be otherwise in a bot's config; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigChange {
    /// The Hummingbot controller, e.g. `pmm_simple`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// The Hummingbot script that runs in place of a controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Where it trades.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venue: Option<Venue>,
    /// The controller's own settings; null takes one away.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Option<String>>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<BotKind>,
    /// What it may not pass: all of its limits anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// Facts of aggregate `bot`, keyed by the bot's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum BotEvent {
    /// A bot exists. It does nothing until it is deployed.
    BotCreated { name: Slug, config: BotConfig, at: Time },
    /// It is told something else; a running bot takes it over live.
    BotConfigChanged { config: BotConfig, at: Time },
    /// Hummingbot took the bot's `config`-th config over into the running bot; the first is the one it was created with.
    BotConfigApplied { config: u64, at: Time },
    /// Hummingbot did not take the bot's `config`-th config; the bot runs on with the one before.
    BotConfigNotApplied { config: u64, reason: String, at: Time },
    /// Someone wants it to run.
    BotDeployRequested { at: Time },
    /// Hummingbot is about to be asked for an instance whose name begins with `name`: whoever goes on from here looks for
    /// one before he asks again.
    BotDeployStarted { name: String, at: Time },
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
    /// Its stopped instance was put away, and everything in that archive was looked through.
    BotArchived { instance: String, at: Time },
    /// An instance that carries its name came to light beside the one that it runs as: a call to deploy that landed after it
    /// was given up. It is to be stopped and put away; what it traded is the bot's.
    BotStrayFound { instance: String, at: Time },
    /// That instance stopped, its orders cancelled.
    BotStrayStopped { instance: String, at: Time },
    /// From `since` on its fills may not have reached us at once.
    BotGapOpened { since: Time, reason: String, at: Time },
    /// Everything between `since` and `until` was asked for again; `fills` of it were new.
    BotGapHealed { since: Time, until: Time, fills: u64, at: Time },
    /// It passed eight tenths of a limit.
    BotLimitNeared { limit: Limit, measured: Decimal, allowed: Decimal, at: Time },
    /// It passed a limit; it is told to stop.
    BotLimitBroken { limit: Limit, measured: Decimal, allowed: Decimal, at: Time },
    /// It warned or complained in its log.
    BotLogged { level: LogLevel, message: String, at: Time },
    /// What its instance said of its own success; recorded when it changed, at most once in five minutes, and at its end.
    BotFiguresReported { instance: String, figures: Figures, source: String, at: Time },
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
            | Self::BotSilent { at, .. }
            | Self::BotConfigApplied { at, .. }
            | Self::BotConfigNotApplied { at, .. }
            | Self::BotDeployStarted { at, .. }
            | Self::BotArchived { at, .. }
            | Self::BotStrayFound { at, .. }
            | Self::BotStrayStopped { at, .. }
            | Self::BotGapOpened { at, .. }
            | Self::BotGapHealed { at, .. }
            | Self::BotLimitNeared { at, .. }
            | Self::BotLimitBroken { at, .. }
            | Self::BotLogged { at, .. }
            | Self::BotFiguresReported { at, .. } => *at,
        }
    }
}
