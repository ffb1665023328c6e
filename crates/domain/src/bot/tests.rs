//! A bot's life, tried.

use std::collections::BTreeMap;

use events::bot::{BotKind, Limits};
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
    let kind =
        |limits: Limits| ConfigChange { kind: Some(BotKind::Volume), limits: Some(limits), ..ConfigChange::default() };
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
fn an_instance_that_landed_late_is_stopped_and_put_away_whatever_the_bot_does() {
    let late = || "maker-20261124-120007".to_owned();
    let is_there = |instance: String| saw(Sight::Instance { name: "maker".into(), instance });
    let found = || BotEvent::BotStrayFound { instance: late(), at: AT };
    let started = || BotEvent::BotDeployStarted { name: "maker".into(), at: AT };
    let running = || vec![created(), asked_for(), started(), deployed()];
    check([created(), asked_for(), started()], is_there(late()), Ok(vec![]));
    check(running(), is_there("maker-20261124-120000".into()), Ok(vec![]));
    check(running(), is_there(late()), Ok(vec![found()]));
    check([running(), vec![found()]].concat(), is_there(late()), Ok(vec![]));
    let stop = BotEvent::BotStopRequested { reason: "done".into(), at: AT };
    let never_came = vec![created(), asked_for(), started(), stop.clone(), BotEvent::BotStopped { at: AT }];
    check(never_came.clone(), is_there(late()), Ok(vec![found()]));

    let task = |given: Vec<BotEvent>| {
        let mut bot = Bot::default();
        given.into_iter().for_each(|event| bot.remember(event));
        bot.task()
    };
    let stop_it = Some(Task::StopStray { instance: late() });
    assert_eq!(task([running(), vec![found()]].concat()), stop_it);
    assert_eq!(task([never_came.clone(), vec![found()]].concat()), stop_it);
    let asked_again = [never_came, vec![found(), asked_for()]].concat();
    assert_eq!(task(asked_again.clone()), stop_it, "nothing is started beside it");
    let going_on = Some(Started { name: "maker".into(), at: AT });
    assert_eq!(task([asked_again, vec![started()]].concat()), Some(Task::Deploy { started: going_on }));
    assert!(matches!(task([running(), vec![found(), stop]].concat()), Some(Task::Stop { .. })));
    let stopped = BotEvent::BotStrayStopped { instance: late(), at: AT };
    check(running(), did(Deed::StrayStopped { instance: late() }), Ok(vec![]));
    check([running(), vec![found()]].concat(), did(Deed::StrayStopped { instance: late() }), Ok(vec![stopped.clone()]));
    let put_away = [running(), vec![found(), stopped]].concat();
    assert_eq!(task(put_away.clone()), Some(Task::Archive { instance: late() }));
    let archived = BotEvent::BotArchived { instance: late(), at: AT };
    check(put_away.clone(), did(Deed::Archived { instance: late() }), Ok(vec![archived.clone()]));
    check([put_away, vec![archived]].concat(), is_there(late()), Ok(vec![]));
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
    check(running.clone(), change(set("interval", "5")), Err(BotRefusal::ScriptRuns));
    let limits = Limits { loss_budget: Some(Decimal::from_int(5)), ..Limits::default() };
    let mut limited = Bot::default();
    running.into_iter().for_each(|event| limited.remember(event));
    let told = limited.decide(change(ConfigChange { limits: Some(limits), ..ConfigChange::default() }));
    assert!(matches!(&told.unwrap()[..], [BotEvent::BotConfigChanged { .. }]), "limits are ours, not the script's");
}

#[test]
fn what_an_instance_runs_with_is_what_it_took_last() {
    let mut bot = Bot::default();
    let spread = |value: &str| {
        let parameters = [("spread".to_owned(), value.to_owned())].into();
        BotConfig { parameters, ..config() }
    };
    let changed = |value: &str| BotEvent::BotConfigChanged { config: spread(value), at: AT };
    let runs_with = |bot: &Bot| bot.runs_with().cloned();
    let started = BotEvent::BotDeployStarted { name: "maker".into(), at: AT };
    [created(), asked_for(), started, deployed()].into_iter().for_each(|event| bot.remember(event));
    assert_eq!(runs_with(&bot), Some(config()));
    bot.remember(changed("1"));
    bot.remember(changed("2"));
    // Two changes in a row: the answer to the first comes after the second was asked for.
    bot.remember(BotEvent::BotConfigApplied { config: 2, at: AT });
    assert_eq!(runs_with(&bot), Some(spread("1")));
    bot.remember(BotEvent::BotConfigNotApplied { config: 3, reason: "no".into(), at: AT });
    assert_eq!(runs_with(&bot), Some(spread("1")));
    assert!(run_alike(&spread("1"), &BotConfig { kind: BotKind::Volume, ..spread("1") }));
    assert!(!run_alike(&spread("1"), &spread("2")));
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
        Just(saw(Sight::Instance { name: "n".into(), instance: "i".into() })),
        Just(saw(Sight::Instance { name: "n".into(), instance: "late".into() })),
        Just(did(Deed::StrayStopped { instance: "late".into() })),
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
                   | BotEvent::BotStrayFound { .. }
                   | BotEvent::BotStrayStopped { .. }
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
