//! A bot's life: created, asked for, deployed, stopped. Asking comes first, the deed follows at its own pace.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    Decimal, Slug, Time,
    bot::{BotConfig, BotEvent, BotKind, Figures, Limit, Limits, LogLevel, ReportedState, Venue},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The longest name of a controller or of a parameter.
const NAME_MAX: usize = 64;
/// The longest value of a parameter, in characters.
const VALUE_MAX: usize = 1_024;
const PARAMETERS_MAX: usize = 200;
/// The longest reason, in characters.
const REASON_MAX: usize = 500;

/// What can be wanted of a bot, and what the operator tells of it.
#[derive(Debug, Clone)]
pub enum BotCommand {
    Create { name: Slug, config: BotConfig, at: Time },
    ChangeConfig { change: ConfigChange, at: Time },
    Deploy { at: Time },
    Stop { reason: String, at: Time },
    Did { deed: Deed, at: Time },
    Saw { sight: Sight, at: Time },
}

/// What the operator did for a bot.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Hummingbot is about to be asked for an instance of this name.
    StartDeploying {
        name: String,
    },
    Deployed {
        instance: String,
    },
    DeployFailed {
        reason: String,
    },
    Stopped,
    StopFailed {
        reason: String,
    },
    ConfigApplied {
        config: u64,
    },
    ConfigNotApplied {
        config: u64,
        reason: String,
    },
    Archived {
        instance: String,
    },
}

/// What the operator saw of a bot.
#[derive(Debug, Clone)]
pub enum Sight {
    Reported(ReportedState),
    Alive,
    Silent {
        last_seen: Time,
    },
    Gap {
        since: Time,
        reason: String,
    },
    GapHealed {
        until: Time,
        fills: u64,
    },
    /// It passed eight tenths of a limit, or all of it.
    Limit {
        limit: Limit,
        measured: Decimal,
        allowed: Decimal,
    },
    Logged {
        level: LogLevel,
        message: String,
    },
    /// What an instance says of its own success; whoever listens to it has judged that it is worth keeping.
    Figures {
        instance: String,
        figures: Figures,
        source: String,
    },
}

/// What is to be done next for a bot to be as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Ask Hummingbot for an instance; one may have been asked for already.
    Deploy { started: Option<Started> },
    /// Hand the running instance the config that it shall have now.
    ApplyConfig { instance: String, config: u64 },
    /// Stop the instance and cancel its orders; without one there is nothing to stop but what may have been asked for.
    Stop { instance: Option<String>, started: Option<Started> },
    /// Put the stopped instance away and look through what is in its archive.
    Archive { instance: String },
}

/// That Hummingbot was asked for an instance, or was about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// What the instance's name begins with.
    pub name: String,
    /// When that was last noted: the call went out at once after it, or never.
    pub at: Time,
}

/// What shall be otherwise in a bot's config; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigChange {
    /// The Hummingbot controller, e.g. `pmm_simple`.
    pub controller: Option<String>,
    /// The Hummingbot script that runs in place of a controller.
    pub script: Option<String>,
    /// Where it trades.
    pub venue: Option<Venue>,
    /// The controller's own settings; null takes one away.
    pub parameters: BTreeMap<String, Option<String>>,
    /// What it is for.
    pub kind: Option<BotKind>,
    /// What it may not pass: all of its limits anew.
    pub limits: Option<Limits>,
}

impl ConfigChange {
    fn of(self, config: &BotConfig) -> BotConfig {
        let mut changed = config.clone();
        // One takes the other's place: a bot runs a controller or a script.
        match (self.controller, self.script) {
            (None, None) => {}
            (controller, script) => (changed.controller, changed.script) = (controller, script),
        }
        changed.venue = self.venue.or(changed.venue);
        changed.kind = self.kind.unwrap_or(changed.kind);
        changed.limits = self.limits.unwrap_or(changed.limits);
        for (name, value) in self.parameters {
            match value {
                Some(value) => drop(changed.parameters.insert(name, value)),
                None => drop(changed.parameters.remove(&name)),
            }
        }
        changed
    }
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BotRefusal {
    #[error("the bot exists already")]
    AlreadyCreated,
    #[error("there is no such bot")]
    NotCreated,
    #[error("the bot is asked for or running already: stop it first")]
    AlreadyWanted,
    #[error("the bot is neither asked for nor running")]
    NotWanted,
    #[error("the bot has no controller and no script to deploy: give its config one")]
    NoController,
    #[error("nobody asked for this deployment")]
    NotAskedToDeploy,
    #[error("nobody asked for this stop")]
    NotAskedToStop,
    #[error("the config is the one it has")]
    SameConfig,
    #[error("a controller or script is called 1 to 64 characters of a-z, 0-9 and _, this one {0:?}")]
    ControllerName(String),
    #[error("a bot runs a controller or a script, not both")]
    BothControllerAndScript,
    #[error("a running script takes no other config: stop the bot first")]
    ScriptRuns,
    #[error("a parameter is called 1 to 64 characters of a-z, A-Z, 0-9, _ and ., this one {0:?}")]
    ParameterName(String),
    #[error("the value of parameter {0} is longer than {VALUE_MAX} characters, or holds one that cannot be read")]
    ParameterValue(String),
    #[error("a reason is one line of at most {REASON_MAX} characters")]
    Reason,
    #[error("a running bot keeps its controller and its venue: stop it first")]
    MovedWhileRunning,
    #[error(
        "a volume bot needs a participation cap, a loss budget and a position limit, this one lacks its {0}: volume for its own sake is not traded here"
    )]
    NoCap(&'static str),
    #[error("{what} must be above zero{most}, got {got}")]
    Limit { what: &'static str, most: &'static str, got: Decimal },
    #[error("a bot has at most {PARAMETERS_MAX} parameters, this one would have {0}")]
    TooManyParameters(usize),
}

/// Where the bot is between being asked for and gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    #[default]
    Idle,
    Deploying,
    Running,
    Stopping,
}

/// An instance that was asked for, and where it trades.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Placed {
    name: String,
    venue: Venue,
}

/// Instances of one bot that are remembered: what comes in of older ones is kept aside.
const PLACED_MAX: usize = 8;

/// What a decision about a bot must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bot {
    config: Option<BotConfig>,
    phase: Phase,
    reported: Option<ReportedState>,
    /// How many configs it has had, and which of them its instance has or refused.
    configs: u64,
    answered_config: u64,
    /// What Hummingbot was asked for since the bot was last asked for, and what came of it.
    started: Option<Started>,
    instance: Option<String>,
    /// Where its last instances were asked for to trade: what comes in late is judged by that.
    placed: Vec<Placed>,
    /// Stopped instances that were not put away yet.
    to_archive: Vec<String>,
    gap_since: Option<Time>,
    silent: bool,
    neared: BTreeSet<Limit>,
    broken: BTreeSet<Limit>,
}

impl Bot {
    /// Decides a command.
    pub fn decide(&self, command: BotCommand) -> Result<Vec<BotEvent>, BotRefusal> {
        if let BotCommand::Create { name, config, at } = command {
            return match self.config {
                Some(_) => Err(BotRefusal::AlreadyCreated),
                None => Ok(vec![BotEvent::BotCreated { name, config: possible(config)?, at }]),
            };
        }
        let config = self.config.as_ref().ok_or(BotRefusal::NotCreated)?;
        let event = match command {
            BotCommand::Create { .. } => return Err(BotRefusal::AlreadyCreated),
            BotCommand::ChangeConfig { change, at } => self.change_config(config, change, at)?,
            BotCommand::Deploy { at } => self.deploy(config, at)?,
            BotCommand::Stop { reason, at } => self.stop(reason, at)?,
            BotCommand::Did { deed, at } => return Ok(self.did(deed, at)?.into_iter().collect()),
            BotCommand::Saw { sight, at } => return Ok(self.saw(sight, at)),
        };
        Ok(vec![event])
    }

    /// What the operator did; nothing if it was told already or is overtaken.
    fn did(&self, deed: Deed, at: Time) -> Result<Option<BotEvent>, BotRefusal> {
        match deed {
            Deed::StartDeploying { .. } | Deed::DeployFailed { .. } => {
                self.is(Phase::Deploying, BotRefusal::NotAskedToDeploy)?;
            }
            // It may come to light only when it is to be stopped already.
            Deed::Deployed { .. } if self.phase == Phase::Stopping && self.instance.is_none() => {}
            Deed::Deployed { .. } => self.is(Phase::Deploying, BotRefusal::NotAskedToDeploy)?,
            Deed::Stopped | Deed::StopFailed { .. } => self.is(Phase::Stopping, BotRefusal::NotAskedToStop)?,
            Deed::ConfigApplied { .. } | Deed::ConfigNotApplied { .. } | Deed::Archived { .. } => {}
        }
        Ok(match deed {
            Deed::StartDeploying { name } => Some(BotEvent::BotDeployStarted { name, at }),
            Deed::Deployed { instance } => Some(BotEvent::BotDeployed { instance, at }),
            Deed::DeployFailed { reason } => Some(BotEvent::BotDeployFailed { reason, at }),
            Deed::Stopped => Some(BotEvent::BotStopped { at }),
            Deed::StopFailed { reason } => Some(BotEvent::BotStopFailed { reason, at }),
            Deed::ConfigApplied { config } => {
                (config > self.answered_config).then_some(BotEvent::BotConfigApplied { config, at })
            }
            Deed::ConfigNotApplied { config, reason } => {
                (config > self.answered_config).then_some(BotEvent::BotConfigNotApplied { config, reason, at })
            }
            Deed::Archived { instance } => {
                self.to_archive.contains(&instance).then_some(BotEvent::BotArchived { instance, at })
            }
        })
    }

    /// What the operator saw. What says nothing new is no fact worth keeping.
    fn saw(&self, sight: Sight, at: Time) -> Vec<BotEvent> {
        let event = match sight {
            Sight::Reported(state) => {
                (self.reported != Some(state)).then_some(BotEvent::BotStateReported { state, at })
            }
            Sight::Alive => self.silent.then_some(BotEvent::BotSeenAlive { at }),
            Sight::Silent { last_seen } => (!self.silent).then_some(BotEvent::BotSilent { last_seen, at }),
            Sight::Gap { since, reason } => {
                self.gap_since.is_none().then_some(BotEvent::BotGapOpened { since, reason, at })
            }
            Sight::GapHealed { until, fills } => {
                self.gap_since.map(|since| BotEvent::BotGapHealed { since, until, fills, at })
            }
            Sight::Limit { limit, measured, allowed } if measured > allowed => {
                return self.break_limit(limit, measured, allowed, at);
            }
            Sight::Limit { limit, measured, allowed } => {
                (!self.neared.contains(&limit)).then_some(BotEvent::BotLimitNeared { limit, measured, allowed, at })
            }
            Sight::Logged { level, message } => Some(BotEvent::BotLogged { level, message, at }),
            Sight::Figures { instance, figures, source } => {
                Some(BotEvent::BotFiguresReported { instance, figures, source, at })
            }
        };
        event.into_iter().collect()
    }

    /// A limit is broken once a deployment, and the bot stops for it.
    fn break_limit(&self, limit: Limit, measured: Decimal, allowed: Decimal, at: Time) -> Vec<BotEvent> {
        if self.broken.contains(&limit) {
            return Vec::new();
        }
        let mut events = vec![BotEvent::BotLimitBroken { limit, measured, allowed, at }];
        if matches!(self.phase, Phase::Deploying | Phase::Running) {
            let reason = format!("{}: {measured} passed the limit of {allowed}", limit.in_words());
            events.push(BotEvent::BotStopRequested { reason, at });
        }
        events
    }

    /// What is to be done next for the bot to be as it is wanted.
    pub fn task(&self) -> Option<Task> {
        match self.phase {
            Phase::Deploying => Some(Task::Deploy { started: self.started.clone() }),
            Phase::Stopping => Some(Task::Stop { instance: self.instance.clone(), started: self.started.clone() }),
            Phase::Running if self.configs > self.answered_config => {
                self.instance.clone().map(|instance| Task::ApplyConfig { instance, config: self.configs })
            }
            Phase::Running | Phase::Idle => self.to_archive.first().cloned().map(|instance| Task::Archive { instance }),
        }
    }

    /// What it is told to do.
    pub fn config(&self) -> Option<&BotConfig> {
        self.config.as_ref()
    }

    /// What its newest instance's name begins with.
    pub fn started(&self) -> Option<&Started> {
        self.started.as_ref()
    }

    /// Where the instance trades that was asked for under this name; absent: none was, or it is long put away.
    pub fn venue_of(&self, name: &str) -> Option<&Venue> {
        self.placed.iter().find(|placed| placed.name == name).map(|placed| &placed.venue)
    }

    /// What the names begin with of the instances that may still tell something of it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.placed.iter().map(|placed| placed.name.as_str())
    }

    /// The instance that trades for it now.
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// Since when its fills may be missing.
    pub fn gap_since(&self) -> Option<Time> {
        self.gap_since
    }

    /// Whether it is asked for or running.
    pub fn is_wanted(&self) -> bool {
        matches!(self.phase, Phase::Deploying | Phase::Running)
    }

    fn deploy(&self, config: &BotConfig, at: Time) -> Result<BotEvent, BotRefusal> {
        self.is(Phase::Idle, BotRefusal::AlreadyWanted)?;
        match config.controller.as_ref().or(config.script.as_ref()) {
            Some(_) => Ok(BotEvent::BotDeployRequested { at }),
            None => Err(BotRefusal::NoController),
        }
    }

    fn stop(&self, reason: String, at: Time) -> Result<BotEvent, BotRefusal> {
        if reason.chars().count() > REASON_MAX || reason.contains(char::is_control) {
            return Err(BotRefusal::Reason);
        }
        match self.phase {
            Phase::Deploying | Phase::Running => Ok(BotEvent::BotStopRequested { reason, at }),
            Phase::Idle | Phase::Stopping => Err(BotRefusal::NotWanted),
        }
    }

    fn is(&self, phase: Phase, otherwise: BotRefusal) -> Result<(), BotRefusal> {
        if self.phase == phase { Ok(()) } else { Err(otherwise) }
    }

    /// Takes in what happened.
    pub fn remember(&mut self, event: BotEvent) {
        match event {
            BotEvent::BotCreated { config, .. } | BotEvent::BotConfigChanged { config, .. } => {
                self.config = Some(config);
                self.configs += 1;
            }
            BotEvent::BotConfigApplied { config, .. } | BotEvent::BotConfigNotApplied { config, .. } => {
                self.answered_config = config
            }
            BotEvent::BotDeployRequested { .. } => {
                self.phase = Phase::Deploying;
                (self.started, self.instance) = (None, None);
                self.neared.clear();
                self.broken.clear();
            }
            BotEvent::BotDeployStarted { name, at } => {
                self.place(&name);
                self.started = Some(Started { name, at });
                self.answered_config = self.configs;
            }
            BotEvent::BotDeployed { instance, .. } => {
                if self.phase == Phase::Deploying {
                    self.phase = Phase::Running;
                }
                self.instance = Some(instance);
            }
            BotEvent::BotStopFailed { .. } => self.phase = Phase::Running,
            BotEvent::BotDeployFailed { .. } => self.phase = Phase::Idle,
            BotEvent::BotStopped { .. } => {
                self.phase = Phase::Idle;
                self.to_archive.extend(self.instance.take());
            }
            BotEvent::BotStopRequested { .. } => self.phase = Phase::Stopping,
            BotEvent::BotArchived { instance, .. } => self.to_archive.retain(|stopped| *stopped != instance),
            BotEvent::BotStateReported { state, .. } => self.reported = Some(state),
            BotEvent::BotSeenAlive { .. } => self.silent = false,
            BotEvent::BotSilent { .. } => self.silent = true,
            BotEvent::BotGapOpened { since, .. } => self.gap_since = Some(since),
            BotEvent::BotGapHealed { .. } => self.gap_since = None,
            BotEvent::BotLimitNeared { limit, .. } => drop(self.neared.insert(limit)),
            BotEvent::BotLimitBroken { limit, .. } => drop(self.broken.insert(limit)),
            BotEvent::BotLogged { .. } | BotEvent::BotFiguresReported { .. } => {}
        }
    }

    /// Notes where the instance of this name trades.
    fn place(&mut self, name: &str) {
        let Some(venue) = self.config.as_ref().and_then(|config| config.venue.clone()) else { return };
        self.placed.retain(|placed| placed.name != name);
        self.placed.push(Placed { name: name.to_owned(), venue });
        if self.placed.len() > PLACED_MAX {
            self.placed.remove(0);
        }
    }

    fn change_config(&self, config: &BotConfig, change: ConfigChange, at: Time) -> Result<BotEvent, BotRefusal> {
        let changed = possible(change.of(config))?;
        let runs = |config: &BotConfig| (config.controller.clone(), config.script.clone(), config.venue.clone());
        let moved = runs(&changed) != runs(config);
        if changed == *config {
            return Err(BotRefusal::SameConfig);
        }
        if config.script.is_some() && self.phase != Phase::Idle {
            return Err(BotRefusal::ScriptRuns);
        }
        // Its fills would be taken for those of a market where it no longer trades.
        if moved && self.phase != Phase::Idle {
            return Err(BotRefusal::MovedWhileRunning);
        }
        Ok(BotEvent::BotConfigChanged { config: changed, at })
    }
}

/// A config that Hummingbot can take as far as form goes; whether the controller knows each name only it can say.
fn possible(config: BotConfig) -> Result<BotConfig, BotRefusal> {
    let short = |name: &str| (1..=NAME_MAX).contains(&name.len());
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let names = config.controller.iter().chain(&config.script);
    if let Some(name) = names.into_iter().find(|name| !short(name) || !name.chars().all(word)) {
        return Err(BotRefusal::ControllerName(start_of(name)));
    }
    if config.controller.is_some() && config.script.is_some() {
        return Err(BotRefusal::BothControllerAndScript);
    }
    for (name, value) in &config.parameters {
        if !short(name) || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c)) {
            return Err(BotRefusal::ParameterName(start_of(name)));
        }
        if value.chars().count() > VALUE_MAX || value.contains(char::is_control) {
            return Err(BotRefusal::ParameterValue(name.clone()));
        }
    }
    limited(&config)?;
    match config.parameters.len() {
        0..=PARAMETERS_MAX => Ok(config),
        many => Err(BotRefusal::TooManyParameters(many)),
    }
}

/// Limits that can be held, and those without which a volume bot does not run.
fn limited(config: &BotConfig) -> Result<(), BotRefusal> {
    let limits = &config.limits;
    let one = Decimal::from_int(1);
    for (what, limit, is_share) in [
        ("participation cap", limits.participation_cap, true),
        ("loss budget", limits.loss_budget, false),
        ("position limit", limits.position_limit, false),
        ("drawdown limit", limits.drawdown_limit, false),
        ("daily volume limit", limits.daily_volume_max, false),
        ("side imbalance limit", limits.side_imbalance_max, true),
        ("limit of fills of one side", limits.same_side_max.map(|fills| Decimal::from_int(fills.into())), false),
    ] {
        let Some(got) = limit else { continue };
        if !got.is_positive() || (is_share && got > one) {
            return Err(BotRefusal::Limit { what, most: if is_share { " and at most 1" } else { "" }, got });
        }
    }
    let needed = [
        ("participation cap", limits.participation_cap),
        ("loss budget", limits.loss_budget),
        ("position limit", limits.position_limit),
    ];
    let lacking = needed.into_iter().find(|(_, limit)| config.kind == BotKind::Volume && limit.is_none());
    lacking.map_or(Ok(()), |(what, _)| Err(BotRefusal::NoCap(what)))
}

/// As much of a bad name as an answer should repeat.
fn start_of(name: &str) -> String {
    name.chars().take(80).collect()
}

crate::aggregate!(Bot, "bot", BotCommand, BotEvent, BotRefusal);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(given: impl IntoIterator<Item = BotEvent>, when: BotCommand, then: Result<Vec<BotEvent>, BotRefusal>) {
        let mut bot = Bot::default();
        given.into_iter().for_each(|event| bot.remember(event));
        assert_eq!(bot.decide(when), then);
    }

    const AT: Time = Time::EPOCH;

    fn did(deed: Deed) -> BotCommand {
        BotCommand::Did { deed, at: AT }
    }

    fn saw(sight: Sight) -> BotCommand {
        BotCommand::Saw { sight, at: AT }
    }

    fn over(measured: i64) -> Sight {
        let (measured, allowed) = (Decimal::from_int(measured), Decimal::from_int(10));
        Sight::Limit { limit: Limit::DrawdownLimit, measured, allowed }
    }

    fn config() -> BotConfig {
        BotConfig { controller: Some("pmm_simple".into()), ..BotConfig::default() }
    }

    fn created() -> BotEvent {
        BotEvent::BotCreated { name: "maker".parse().unwrap(), config: config(), at: AT }
    }

    fn asked_for() -> BotEvent {
        BotEvent::BotDeployRequested { at: AT }
    }

    fn deployed() -> BotEvent {
        BotEvent::BotDeployed { instance: "maker-20261124-120000".into(), at: AT }
    }

    #[test]
    fn a_bot_is_asked_for_once_until_it_has_stopped() {
        check([created()], BotCommand::Deploy { at: AT }, Ok(vec![asked_for()]));
        check([created(), asked_for()], BotCommand::Deploy { at: AT }, Err(BotRefusal::AlreadyWanted));
        check([created(), asked_for(), deployed()], BotCommand::Deploy { at: AT }, Err(BotRefusal::AlreadyWanted));
        let stopping = BotEvent::BotStopRequested { reason: "done".into(), at: AT };
        let gone = [created(), asked_for(), deployed(), stopping, BotEvent::BotStopped { at: AT }];
        check(gone, BotCommand::Deploy { at: AT }, Ok(vec![asked_for()]));
    }

    #[test]
    fn a_bot_that_nobody_created_or_configured_cannot_be_deployed() {
        check([], BotCommand::Deploy { at: AT }, Err(BotRefusal::NotCreated));
        let bare = BotEvent::BotCreated { name: "old".parse().unwrap(), config: BotConfig::default(), at: AT };
        check([bare], BotCommand::Deploy { at: AT }, Err(BotRefusal::NoController));
    }

    #[test]
    fn a_deployment_that_nobody_asked_for_is_refused() {
        let confirm = did(Deed::Deployed { instance: "x".into() });
        check([created()], confirm, Err(BotRefusal::NotAskedToDeploy));
    }

    #[test]
    fn an_instance_that_comes_to_light_while_the_bot_is_to_be_stopped_is_stopped_and_put_away() {
        let stopping = BotEvent::BotStopRequested { reason: "done".into(), at: AT };
        let found = did(Deed::Deployed { instance: "maker-20261124-120000".into() });
        check([created(), asked_for(), stopping.clone()], found.clone(), Ok(vec![deployed()]));
        check([created(), asked_for(), deployed(), stopping.clone()], found, Err(BotRefusal::NotAskedToDeploy));
        let mut bot = Bot::default();
        [created(), asked_for(), stopping, deployed()].into_iter().for_each(|event| bot.remember(event));
        let instance = Some("maker-20261124-120000".to_owned());
        assert_eq!(bot.task(), Some(Task::Stop { instance, started: None }));
    }

    #[test]
    fn a_failed_stop_leaves_the_bot_running() {
        let stopping = BotEvent::BotStopRequested { reason: "done".into(), at: AT };
        let failed = BotEvent::BotStopFailed { reason: "no answer".into(), at: AT };
        let given = [created(), asked_for(), deployed(), stopping.clone(), failed];
        check(given, BotCommand::Stop { reason: "done".into(), at: AT }, Ok(vec![stopping]));
    }

    #[test]
    fn a_report_that_says_nothing_new_is_not_recorded() {
        let said = BotEvent::BotStateReported { state: ReportedState::Running, at: AT };
        let again = saw(Sight::Reported(ReportedState::Running));
        check([created()], again.clone(), Ok(vec![said.clone()]));
        check([created(), said], again, Ok(vec![]));
    }

    #[test]
    fn a_limit_stops_the_bot_once_a_deployment_however_often_it_is_seen_broken() {
        let running = || vec![created(), asked_for(), deployed()];
        let (measured, allowed) = (Decimal::from_int(11), Decimal::from_int(10));
        let broken = BotEvent::BotLimitBroken { limit: Limit::DrawdownLimit, measured, allowed, at: AT };
        let reason = "fall below the highest P&L: 11 passed the limit of 10".to_owned();
        let stop = BotEvent::BotStopRequested { reason, at: AT };
        check(running(), saw(over(11)), Ok(vec![broken.clone(), stop.clone()]));
        let tripped = [running(), vec![broken, stop]].concat();
        check(tripped.clone(), saw(over(12)), Ok(vec![]));
        let again = [tripped, vec![BotEvent::BotStopped { at: AT }, asked_for(), deployed()]].concat();
        let mut bot = Bot::default();
        again.into_iter().for_each(|event| bot.remember(event));
        assert_eq!(bot.decide(saw(over(12))).unwrap().len(), 2, "a new deployment has its breaker again");
        let near =
            BotEvent::BotLimitNeared { limit: Limit::DrawdownLimit, measured: Decimal::from_int(9), allowed, at: AT };
        check(running(), saw(over(9)), Ok(vec![near.clone()]));
        check([running(), vec![near]].concat(), saw(over(10)), Ok(vec![]));
    }

    #[test]
    fn a_volume_bot_without_its_caps_is_refused_and_says_which_it_lacks() {
        let kind = |limits: Limits| ConfigChange {
            kind: Some(BotKind::Volume),
            limits: Some(limits),
            ..ConfigChange::default()
        };
        let all = Limits {
            participation_cap: Some("0.1".parse().unwrap()),
            loss_budget: Some(Decimal::from_int(100)),
            position_limit: Some(Decimal::from_int(5)),
            ..Limits::default()
        };
        let refused = |limits: Limits| {
            let mut bot = Bot::default();
            bot.remember(created());
            bot.decide(change(kind(limits))).unwrap_err()
        };
        assert_eq!(refused(Limits::default()), BotRefusal::NoCap("participation cap"));
        assert_eq!(refused(Limits { loss_budget: None, ..all.clone() }), BotRefusal::NoCap("loss budget"));
        assert_eq!(refused(Limits { position_limit: None, ..all.clone() }), BotRefusal::NoCap("position limit"));
        let whole_market = Limits { participation_cap: Some("1.1".parse().unwrap()), ..all.clone() };
        assert_eq!(refused(whole_market).to_string(), "participation cap must be above zero and at most 1, got 1.1");
        let nothing = Limits { loss_budget: Some(Decimal::ZERO), ..all.clone() };
        assert_eq!(refused(nothing).to_string(), "loss budget must be above zero, got 0");
        let config = BotConfig { kind: BotKind::Volume, limits: all.clone(), ..config() };
        check([created()], change(kind(all)), Ok(vec![BotEvent::BotConfigChanged { config, at: AT }]));
    }

    #[test]
    fn what_is_to_be_done_follows_from_what_happened() {
        let task = |given: &[BotEvent]| {
            let mut bot = Bot::default();
            given.iter().cloned().for_each(|event| bot.remember(event));
            bot.task()
        };
        let mut story = vec![created()];
        let mut then = |event: BotEvent, expected: Option<Task>| {
            story.push(event.clone());
            assert_eq!(task(&story), expected, "after {event:?}");
        };
        let instance = || "maker-20261124-120000".to_owned();
        let started = || Some(Started { name: "maker".into(), at: AT });
        then(asked_for(), Some(Task::Deploy { started: None }));
        then(BotEvent::BotDeployStarted { name: "maker".into(), at: AT }, Some(Task::Deploy { started: started() }));
        then(deployed(), None);
        let changed = BotEvent::BotConfigChanged { config: config(), at: AT };
        then(changed, Some(Task::ApplyConfig { instance: instance(), config: 2 }));
        then(BotEvent::BotConfigApplied { config: 2, at: AT }, None);
        let stop = BotEvent::BotStopRequested { reason: "done".into(), at: AT };
        then(stop, Some(Task::Stop { instance: Some(instance()), started: started() }));
        then(BotEvent::BotStopped { at: AT }, Some(Task::Archive { instance: instance() }));
        then(BotEvent::BotArchived { instance: instance(), at: AT }, None);
    }

    #[test]
    fn a_bot_runs_a_controller_or_a_script_and_a_running_script_keeps_its_config() {
        let script = |name: &str| ConfigChange { script: Some(name.into()), ..ConfigChange::default() };
        let config = BotConfig { controller: None, script: Some("v2_twap".into()), ..config() };
        let runs_script = BotEvent::BotConfigChanged { config, at: AT };
        check([created()], change(script("v2_twap")), Ok(vec![runs_script.clone()]));
        check([created()], change(script("../x")), Err(BotRefusal::ControllerName("../x".into())));
        let both = ConfigChange { controller: Some("pmm_simple".into()), ..script("v2_twap") };
        check([created()], change(both), Err(BotRefusal::BothControllerAndScript));
        let running = [created(), runs_script, asked_for(), deployed()];
        check(running, change(set("interval", "5")), Err(BotRefusal::ScriptRuns));
    }

    #[test]
    fn a_running_bot_keeps_its_market() {
        let venue =
            Venue { exchange: events::Exchange::Okx, market: events::Market::Spot, pair: "BTC-USDT".parse().unwrap() };
        let moved = || ConfigChange { venue: Some(venue.clone()), ..ConfigChange::default() };
        check([created(), asked_for(), deployed()], change(moved()), Err(BotRefusal::MovedWhileRunning));
        let config = BotConfig { venue: Some(venue.clone()), ..config() };
        check([created()], change(moved()), Ok(vec![BotEvent::BotConfigChanged { config, at: AT }]));
    }

    fn set(name: &str, value: &str) -> ConfigChange {
        let parameters = BTreeMap::from([(name.to_owned(), Some(value.to_owned()))]);
        ConfigChange { parameters, ..ConfigChange::default() }
    }

    fn change(change: ConfigChange) -> BotCommand {
        BotCommand::ChangeConfig { change, at: AT }
    }

    #[test]
    fn a_change_touches_only_what_it_names() {
        let mut config = config();
        config.parameters.insert("spread".into(), "1".into());
        let changed = || BotEvent::BotConfigChanged { config: config.clone(), at: AT };
        check([created()], change(set("spread", "1")), Ok(vec![changed()]));
        check([created(), changed()], change(set("spread", "1")), Err(BotRefusal::SameConfig));
        let gone = ConfigChange { parameters: BTreeMap::from([("spread".into(), None)]), ..ConfigChange::default() };
        let back = BotEvent::BotConfigChanged { config: self::config(), at: AT };
        check([created(), changed()], change(gone), Ok(vec![back]));
    }

    #[test]
    fn a_config_that_cannot_be_one_is_refused() {
        let controller = |name: &str| ConfigChange { controller: Some(name.into()), ..ConfigChange::default() };
        for name in ["", "../etc", "PMM", &"x".repeat(65)] {
            check([created()], change(controller(name)), Err(BotRefusal::ControllerName(name.into())));
        }
        check([created()], change(set("a b", "1")), Err(BotRefusal::ParameterName("a b".into())));
        for value in ["a\nb".to_owned(), "x".repeat(VALUE_MAX + 1)] {
            check([created()], change(set("a", &value)), Err(BotRefusal::ParameterValue("a".into())));
        }
    }

    fn any_command() -> impl Strategy<Value = BotCommand> {
        let reason = || "reason".to_owned();
        prop_oneof![
            Just(BotCommand::Create { name: "maker".parse().unwrap(), config: config(), at: AT }),
            any::<bool>().prop_map(|same| BotCommand::ChangeConfig {
                change: if same { ConfigChange::default() } else { set("spread", "1") },
                at: AT
            }),
            Just(BotCommand::Deploy { at: AT }),
            Just(did(Deed::StartDeploying { name: "n".into() })),
            Just(did(Deed::Deployed { instance: "i".into() })),
            Just(did(Deed::DeployFailed { reason: reason() })),
            Just(BotCommand::Stop { reason: reason(), at: AT }),
            Just(did(Deed::Stopped)),
            Just(did(Deed::Archived { instance: "i".into() })),
            (1_u64..4).prop_map(|config| did(Deed::ConfigApplied { config })),
            Just(did(Deed::StopFailed { reason: reason() })),
            Just(saw(Sight::Reported(ReportedState::Failing))),
            Just(saw(Sight::Silent { last_seen: AT })),
            Just(saw(Sight::Alive)),
            (1_i64..20).prop_map(|measured| saw(over(measured))),
        ]
    }

    proptest! {
           #[test]
           fn whatever_is_commanded_every_deed_was_asked_for_first(commands in proptest::collection::vec(any_command(), 0..60)) {
               let (mut bot, mut told) = (Bot::default(), Vec::new());
               for command in commands {
                   for event in bot.decide(command).unwrap_or_default() {
                       bot.remember(event.clone());
                       told.push(event);
                   }
               }
               let mut replayed = Bot::default();
               told.iter().cloned().for_each(|event| replayed.remember(event));
               prop_assert_eq!(&replayed, &bot);
               // Between any two askings to deploy the bot failed to start or stopped.
               let mut wanted = false;
               for event in &told {
                   match event {
                       BotEvent::BotDeployRequested { .. } => {
                           prop_assert!(!wanted);
                           wanted = true;
                       }
                       BotEvent::BotDeployed { .. }
                       | BotEvent::BotStopRequested { .. }
                       | BotEvent::BotDeployStarted { .. } => prop_assert!(wanted),
                       BotEvent::BotDeployFailed { .. } | BotEvent::BotStopped { .. } => {
                           prop_assert!(wanted);
                           wanted = false;
                       }
                       BotEvent::BotCreated { .. }
                       | BotEvent::BotConfigChanged { .. }
                       | BotEvent::BotStopFailed { .. }
                       | BotEvent::BotStateReported { .. }
                       | BotEvent::BotSeenAlive { .. }
                       | BotEvent::BotSilent { .. }
                       | BotEvent::BotConfigApplied { .. }
                       | BotEvent::BotConfigNotApplied { .. }
                       | BotEvent::BotArchived { .. }
                       | BotEvent::BotGapOpened { .. }
                       | BotEvent::BotGapHealed { .. }
                       | BotEvent::BotLimitNeared { .. }
                       | BotEvent::BotLimitBroken { .. }
                       | BotEvent::BotLogged { .. }
    | BotEvent::BotFiguresReported { .. } => {}
                   }
               }
           }
       }
}
