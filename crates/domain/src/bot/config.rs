//! What a bot is told to do: how it is changed, and what it can be at all.

use events::{
    Decimal,
    bot::{BotConfig, BotKind, ConfigChange},
};

use super::BotRefusal;

/// The longest name of a controller or of a parameter.
const NAME_MAX: usize = 64;
/// The longest value of a parameter, in characters.
pub(super) const VALUE_MAX: usize = 1_024;
pub(super) const PARAMETERS_MAX: usize = 200;

/// A config with what shall be otherwise in it.
pub(super) fn changed(config: &BotConfig, change: ConfigChange) -> BotConfig {
    let mut changed = config.clone();
    // One takes the other's place: a bot runs a controller or a script.
    match (change.controller, change.script) {
        (None, None) => {}
        (controller, script) => (changed.controller, changed.script) = (controller, script),
    }
    changed.venue = change.venue.or(changed.venue);
    changed.kind = change.kind.unwrap_or(changed.kind);
    changed.limits = change.limits.unwrap_or(changed.limits);
    for (name, value) in change.parameters {
        match value {
            Some(value) => drop(changed.parameters.insert(name, value)),
            None => drop(changed.parameters.remove(&name)),
        }
    }
    changed
}

/// Whether two configs are the same to Hummingbot: what a bot is for and what it may not pass are held by us.
pub fn run_alike(one: &BotConfig, other: &BotConfig) -> bool {
    let BotConfig { controller, script, venue, parameters, kind: _, limits: _ } = one;
    (controller, script, venue, parameters) == (&other.controller, &other.script, &other.venue, &other.parameters)
}

/// A config that Hummingbot can take as far as form goes; whether the controller knows each name only it can say.
pub(super) fn possible(config: BotConfig) -> Result<BotConfig, BotRefusal> {
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
