//! A bot's life: created, asked for, deployed, stopped. Asking comes first, the deed follows at its own pace.

use std::collections::BTreeMap;

use events::{
    Slug, Time,
    bot::{BotConfig, BotEvent, ReportedState, Venue},
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
    ConfirmDeployed { instance: String, at: Time },
    ReportDeployFailed { reason: String, at: Time },
    Stop { reason: String, at: Time },
    ConfirmStopped { at: Time },
    ReportStopFailed { reason: String, at: Time },
    ReportState { state: ReportedState, at: Time },
}

/// What shall be otherwise in a bot's config; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigChange {
    /// The Hummingbot controller, e.g. `pmm_simple`.
    pub controller: Option<String>,
    /// Where it trades.
    pub venue: Option<Venue>,
    /// The controller's own settings; null takes one away.
    pub parameters: BTreeMap<String, Option<String>>,
}

impl ConfigChange {
    fn of(self, config: &BotConfig) -> BotConfig {
        let mut changed = config.clone();
        changed.controller = self.controller.or(changed.controller);
        changed.venue = self.venue.or(changed.venue);
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
    #[error("the bot has no controller to deploy: give its config one")]
    NoController,
    #[error("nobody asked for this deployment")]
    NotAskedToDeploy,
    #[error("nobody asked for this stop")]
    NotAskedToStop,
    #[error("the config is the one it has")]
    SameConfig,
    #[error("a controller is called 1 to 64 characters of a-z, 0-9 and _, this one {0:?}")]
    ControllerName(String),
    #[error("a parameter is called 1 to 64 characters of a-z, A-Z, 0-9, _ and ., this one {0:?}")]
    ParameterName(String),
    #[error("the value of parameter {0} is longer than {VALUE_MAX} characters, or holds one that cannot be read")]
    ParameterValue(String),
    #[error("a reason is one line of at most {REASON_MAX} characters")]
    Reason,
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

/// What a decision about a bot must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bot {
    config: Option<BotConfig>,
    phase: Phase,
    reported: Option<ReportedState>,
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
            BotCommand::ChangeConfig { change, at } => change_config(config, change, at)?,
            BotCommand::Deploy { at } => self.deploy(config, at)?,
            BotCommand::ConfirmDeployed { instance, at } => {
                self.is(Phase::Deploying, BotRefusal::NotAskedToDeploy)?;
                BotEvent::BotDeployed { instance, at }
            }
            BotCommand::ReportDeployFailed { reason, at } => {
                self.is(Phase::Deploying, BotRefusal::NotAskedToDeploy)?;
                BotEvent::BotDeployFailed { reason, at }
            }
            BotCommand::Stop { reason, at } => self.stop(reason, at)?,
            BotCommand::ConfirmStopped { at } => {
                self.is(Phase::Stopping, BotRefusal::NotAskedToStop)?;
                BotEvent::BotStopped { at }
            }
            BotCommand::ReportStopFailed { reason, at } => {
                self.is(Phase::Stopping, BotRefusal::NotAskedToStop)?;
                BotEvent::BotStopFailed { reason, at }
            }
            // A report that says nothing new is no fact worth keeping.
            BotCommand::ReportState { state, .. } if self.reported == Some(state) => return Ok(Vec::new()),
            BotCommand::ReportState { state, at } => BotEvent::BotStateReported { state, at },
        };
        Ok(vec![event])
    }

    fn deploy(&self, config: &BotConfig, at: Time) -> Result<BotEvent, BotRefusal> {
        self.is(Phase::Idle, BotRefusal::AlreadyWanted)?;
        match config.controller {
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

    pub(crate) fn remember(&mut self, event: BotEvent) {
        match event {
            BotEvent::BotCreated { config, .. } | BotEvent::BotConfigChanged { config, .. } => {
                self.config = Some(config)
            }
            BotEvent::BotDeployRequested { .. } => self.phase = Phase::Deploying,
            BotEvent::BotDeployed { .. } | BotEvent::BotStopFailed { .. } => self.phase = Phase::Running,
            BotEvent::BotDeployFailed { .. } | BotEvent::BotStopped { .. } => self.phase = Phase::Idle,
            BotEvent::BotStopRequested { .. } => self.phase = Phase::Stopping,
            BotEvent::BotStateReported { state, .. } => self.reported = Some(state),
            BotEvent::BotSeenAlive { .. } | BotEvent::BotSilent { .. } => {}
        }
    }
}

fn change_config(config: &BotConfig, change: ConfigChange, at: Time) -> Result<BotEvent, BotRefusal> {
    let changed = possible(change.of(config))?;
    if changed == *config {
        Err(BotRefusal::SameConfig)
    } else {
        Ok(BotEvent::BotConfigChanged { config: changed, at })
    }
}

/// A config that Hummingbot can take as far as form goes; whether the controller knows each name only it can say.
fn possible(config: BotConfig) -> Result<BotConfig, BotRefusal> {
    let short = |name: &str| (1..=NAME_MAX).contains(&name.len());
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if let Some(name) = config.controller.as_ref().filter(|name| !short(name) || !name.chars().all(word)) {
        return Err(BotRefusal::ControllerName(start_of(name)));
    }
    for (name, value) in &config.parameters {
        if !short(name) || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c)) {
            return Err(BotRefusal::ParameterName(start_of(name)));
        }
        if value.chars().count() > VALUE_MAX || value.contains(char::is_control) {
            return Err(BotRefusal::ParameterValue(name.clone()));
        }
    }
    match config.parameters.len() {
        0..=PARAMETERS_MAX => Ok(config),
        many => Err(BotRefusal::TooManyParameters(many)),
    }
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
        let confirm = BotCommand::ConfirmDeployed { instance: "x".into(), at: AT };
        check([created()], confirm, Err(BotRefusal::NotAskedToDeploy));
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
        let again = BotCommand::ReportState { state: ReportedState::Running, at: AT };
        check([created()], again.clone(), Ok(vec![said.clone()]));
        check([created(), said], again, Ok(vec![]));
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
            Just(BotCommand::ConfirmDeployed { instance: "i".into(), at: AT }),
            Just(BotCommand::ReportDeployFailed { reason: reason(), at: AT }),
            Just(BotCommand::Stop { reason: reason(), at: AT }),
            Just(BotCommand::ConfirmStopped { at: AT }),
            Just(BotCommand::ReportStopFailed { reason: reason(), at: AT }),
            Just(BotCommand::ReportState { state: ReportedState::Failing, at: AT }),
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
                    BotEvent::BotDeployed { .. } | BotEvent::BotStopRequested { .. } => prop_assert!(wanted),
                    BotEvent::BotDeployFailed { .. } | BotEvent::BotStopped { .. } => {
                        prop_assert!(wanted);
                        wanted = false;
                    }
                    BotEvent::BotCreated { .. }
                    | BotEvent::BotConfigChanged { .. }
                    | BotEvent::BotStopFailed { .. }
                    | BotEvent::BotStateReported { .. }
                    | BotEvent::BotSeenAlive { .. }
                    | BotEvent::BotSilent { .. } => {}
                }
            }
        }
    }
}
