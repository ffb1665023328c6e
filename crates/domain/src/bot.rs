//! A bot's life: created, asked for, deployed, stopped. Asking comes first, the deed follows at its own pace.

mod config;

use std::collections::{BTreeMap, BTreeSet};

use events::{
    Decimal, Slug, Time,
    bot::{BotConfig, BotEvent, ConfigChange, Figures, Limit, LogLevel, ReportedState, Venue},
};
use serde::{Deserialize, Serialize};

pub use config::run_alike;
use config::{PARAMETERS_MAX, VALUE_MAX, changed, possible};

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
    StrayStopped {
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
    /// An instance is there whose name begins with `name`, which is one of the bot's.
    Instance {
        name: String,
        instance: String,
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
    /// Stop an instance that landed late, beside whatever the bot runs as.
    StopStray { instance: String },
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
    #[error("a running script takes no other config, limits aside: stop the bot first")]
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

/// Names of one bot that are remembered: what comes in of older ones is kept aside.
const PLACED_MAX: usize = 8;
/// Instances of one bot that are remembered: an older one that still is there would be taken for a stray, and put away.
const KNOWN_MAX: usize = 64;

/// What a decision about a bot must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bot {
    config: Option<BotConfig>,
    phase: Phase,
    reported: Option<ReportedState>,
    /// How many configs it has had, and which of them its instance has or refused.
    configs: u64,
    answered_config: u64,
    /// Those that it has not answered yet, by number, and the one that it runs with.
    unanswered: BTreeMap<u64, BotConfig>,
    runs_with: Option<BotConfig>,
    /// What Hummingbot was asked for since the bot was last asked for, and what came of it.
    started: Option<Started>,
    instance: Option<String>,
    /// Where its last instances were asked for to trade: what comes in late is judged by that.
    placed: Vec<Placed>,
    /// Stopped instances that were not put away yet.
    to_archive: Vec<String>,
    /// Instances that landed late and were not stopped yet.
    strays: Vec<String>,
    /// Its last instances, whatever became of them.
    known: Vec<String>,
    gap_since: Option<Time>,
    told_silent: bool,
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
            Deed::ConfigApplied { .. }
            | Deed::ConfigNotApplied { .. }
            | Deed::Archived { .. }
            | Deed::StrayStopped { .. } => {}
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
            Deed::StrayStopped { instance } => {
                self.strays.contains(&instance).then_some(BotEvent::BotStrayStopped { instance, at })
            }
        })
    }

    /// What the operator saw. What says nothing new is no fact worth keeping.
    fn saw(&self, sight: Sight, at: Time) -> Vec<BotEvent> {
        let event = match sight {
            Sight::Reported(state) => {
                (self.reported != Some(state)).then_some(BotEvent::BotStateReported { state, at })
            }
            Sight::Alive => self.told_silent.then_some(BotEvent::BotSeenAlive { at }),
            Sight::Silent { last_seen } => (!self.told_silent).then_some(BotEvent::BotSilent { last_seen, at }),
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
            Sight::Instance { name, instance } => {
                self.is_stray(&name, &instance).then_some(BotEvent::BotStrayFound { instance, at })
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
        let stray = self.strays.first().cloned().map(|instance| Task::StopStray { instance });
        match self.phase {
            // What was asked for before comes to light first: until then it is nobody's.
            Phase::Deploying if self.started.is_some() || stray.is_none() => {
                Some(Task::Deploy { started: self.started.clone() })
            }
            Phase::Deploying => stray,
            Phase::Stopping => Some(Task::Stop { instance: self.instance.clone(), started: self.started.clone() }),
            Phase::Running | Phase::Idle if stray.is_some() => stray,
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

    /// What its instance was told last, as far as it took it.
    pub fn runs_with(&self) -> Option<&BotConfig> {
        self.runs_with.as_ref()
    }

    /// What its newest instance's name begins with.
    pub fn started(&self) -> Option<&Started> {
        self.started.as_ref()
    }

    /// Where the instance trades that was asked for under this name; absent: none was, or it is long put away.
    pub fn venue_of(&self, name: &str) -> Option<&Venue> {
        self.placed.iter().find(|placed| placed.name == name).map(|placed| &placed.venue)
    }

    /// Whether it was asked to stop and has not yet.
    pub fn is_stopping(&self) -> bool {
        self.phase == Phase::Stopping
    }

    /// Whether the bot runs as this instance; while none is known yet, it may be any.
    pub fn runs_as(&self, instance: &str) -> bool {
        self.instance.as_ref().map_or(self.is_wanted(), |own| own == instance)
    }

    /// Whether an instance that is there, whose name begins with `name`, is one that nobody counts on.
    pub fn is_stray(&self, name: &str, instance: &str) -> bool {
        let is_awaited = matches!(self.phase, Phase::Deploying | Phase::Stopping)
            && self.instance.is_none()
            && self.started.as_ref().is_some_and(|started| started.name == name);
        !is_awaited && !self.known.iter().any(|known| known == instance)
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
                self.configs += 1;
                if self.phase != Phase::Idle {
                    self.unanswered.insert(self.configs, config.clone());
                }
                self.config = Some(config);
            }
            BotEvent::BotConfigApplied { config, .. } => {
                self.runs_with = self.unanswered.remove(&config);
                self.answer(config);
            }
            BotEvent::BotConfigNotApplied { config, .. } => self.answer(config),
            BotEvent::BotDeployRequested { .. } => {
                self.phase = Phase::Deploying;
                (self.started, self.instance) = (None, None);
                // What was seen of the instance before says nothing of the next one.
                (self.reported, self.told_silent) = (None, false);
                self.neared.clear();
                self.broken.clear();
            }
            BotEvent::BotDeployStarted { name, at } => {
                self.place(&name);
                self.started = Some(Started { name, at });
                self.runs_with = self.config.clone();
                self.answer(self.configs);
            }
            BotEvent::BotDeployed { instance, .. } => {
                if self.phase == Phase::Deploying {
                    self.phase = Phase::Running;
                }
                self.know(&instance);
                self.instance = Some(instance);
            }
            BotEvent::BotStrayFound { instance, .. } => {
                self.know(&instance);
                self.strays.push(instance);
            }
            BotEvent::BotStrayStopped { instance, .. } => {
                self.strays.retain(|stray| *stray != instance);
                self.to_archive.push(instance);
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
            BotEvent::BotSeenAlive { .. } => self.told_silent = false,
            BotEvent::BotSilent { .. } => self.told_silent = true,
            BotEvent::BotGapOpened { since, .. } => self.gap_since = Some(since),
            BotEvent::BotGapHealed { .. } => self.gap_since = None,
            BotEvent::BotLimitNeared { limit, .. } => drop(self.neared.insert(limit)),
            BotEvent::BotLimitBroken { limit, .. } => drop(self.broken.insert(limit)),
            BotEvent::BotLogged { .. } | BotEvent::BotFiguresReported { .. } => {}
        }
    }

    fn answer(&mut self, config: u64) {
        self.answered_config = config;
        self.unanswered.retain(|number, _| *number > config);
    }

    fn know(&mut self, instance: &str) {
        self.known.push(instance.to_owned());
        if self.known.len() > KNOWN_MAX {
            self.known.remove(0);
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
        let changed = possible(changed(config, change))?;
        let runs = |config: &BotConfig| (config.controller.clone(), config.script.clone(), config.venue.clone());
        let moved = runs(&changed) != runs(config);
        if changed == *config {
            return Err(BotRefusal::SameConfig);
        }
        if config.script.is_some() && self.phase != Phase::Idle && !run_alike(&changed, config) {
            return Err(BotRefusal::ScriptRuns);
        }
        // Its fills would be taken for those of a market where it no longer trades.
        if moved && self.phase != Phase::Idle {
            return Err(BotRefusal::MovedWhileRunning);
        }
        Ok(BotEvent::BotConfigChanged { config: changed, at })
    }
}

crate::aggregate!(Bot, "bot", BotCommand, BotEvent, BotRefusal);

#[cfg(test)]
mod tests;
