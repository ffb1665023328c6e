use super::*;
use crate::told::{Told, at};

/// Events of one bot, and what becomes of each config: its number, the outcome, the reason.
fn check(given: Vec<BotEvent>, then: &[(i64, Outcome, Option<&str>)]) {
    let mut told = Told::default();
    let mut configs = Configs::default();
    for event in given {
        configs.fold(&told.bot(event)).unwrap();
    }
    let head = &configs.heads[&told.bot];
    let outcomes = configs.new.iter().map(|row| match configs.answers.get(&(row.bot_id, row.number)) {
        Some(answer) => (row.number, answer.outcome, answer.reason.as_deref()),
        None if head.handed == Some(row.number) => (row.number, Outcome::HandedOver, None),
        None if head.number == row.number => (row.number, Outcome::Waiting, None),
        None => (row.number, Outcome::NeverHandedOver, None),
    });
    assert_eq!(outcomes.collect::<Vec<_>>(), then);
}

fn config(spread: &str) -> BotConfig {
    let parameters = [("spread".to_owned(), spread.to_owned())].into();
    BotConfig { controller: Some("pmm_simple".into()), parameters, ..BotConfig::default() }
}

fn created() -> BotEvent {
    BotEvent::BotCreated { name: "maker".parse().unwrap(), config: config("1"), at: at(0) }
}

fn changed(spread: &str) -> BotEvent {
    BotEvent::BotConfigChanged { config: config(spread), at: at(1) }
}

fn started() -> BotEvent {
    BotEvent::BotDeployStarted { name: "b-1".into(), at: at(2) }
}

fn deployed() -> BotEvent {
    BotEvent::BotDeployed { instance: "b-1-20250101-000000".into(), at: at(3) }
}

#[test]
fn a_config_that_another_took_the_place_of_before_a_deploy_was_never_handed_over() {
    check(vec![created()], &[(1, Outcome::Waiting, None)]);
    check(
        vec![created(), changed("2"), started()],
        &[(1, Outcome::NeverHandedOver, None), (2, Outcome::HandedOver, None)],
    );
    check(
        vec![created(), changed("2"), started(), deployed()],
        &[(1, Outcome::NeverHandedOver, None), (2, Outcome::Applied, None)],
    );
}

#[test]
fn a_config_changed_while_an_instance_starts_is_not_the_one_that_it_started_with() {
    check(
        vec![created(), started(), changed("2"), deployed()],
        &[(1, Outcome::Applied, None), (2, Outcome::Waiting, None)],
    );
}

#[test]
fn an_answer_is_kept_with_the_config_that_it_speaks_of() {
    let refused = BotEvent::BotConfigNotApplied { config: 2, reason: "unknown field".into(), at: at(4) };
    let applied = BotEvent::BotConfigApplied { config: 3, at: at(5) };
    check(
        vec![created(), started(), deployed(), changed("2"), changed("3"), refused, applied],
        &[(1, Outcome::Applied, None), (2, Outcome::NotApplied, Some("unknown field")), (3, Outcome::Applied, None)],
    );
}

#[test]
fn a_deploy_that_failed_did_not_apply_its_config_until_another_did() {
    let failed = BotEvent::BotDeployFailed { reason: "no image".into(), at: at(3) };
    check(vec![created(), started(), failed.clone()], &[(1, Outcome::NotApplied, Some("no image"))]);
    check(vec![created(), started(), failed, started(), deployed()], &[(1, Outcome::Applied, None)]);
}

#[test]
fn changes_name_each_parameter_and_each_limit_that_differs_and_nothing_else() {
    let mut after = config("2");
    after.parameters.insert("levels".into(), "3".into());
    after.limits.loss_budget = Some("250".parse().unwrap());
    after.limits.same_side_max = Some(40);
    let change = |of, name: &str, was: Option<&str>, is: Option<&str>| Change {
        of,
        name: Some(name.into()),
        was: was.map(Into::into),
        is: is.map(Into::into),
    };
    assert_eq!(
        changes(&config("1"), &after),
        [
            change(Part::Parameter, "levels", None, Some("3")),
            change(Part::Parameter, "spread", Some("1"), Some("2")),
            change(Part::Limit, "loss_budget", None, Some("250")),
            change(Part::Limit, "same_side_max", None, Some("40")),
        ]
    );
    assert_eq!(changes(&after, &after), []);
    assert_eq!(changes(&after, &config("1")).len(), 4);
}
