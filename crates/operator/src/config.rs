//! A bot's config in Hummingbot's own words, and how a running bot gets a new one.

use domain::bot::{Bot, Deed, run_alike};
use events::{
    BotId, ClientId,
    bot::{BotConfig, Venue},
};
use hummingbot::{BotName, Config, ConfigName, ConnectorName};
use serde_json::{Value, json};

use crate::mandate::{HandError, Mandate, Outcome};

/// What a controller is taken for whose config does not say it.
const CONTROLLER_TYPE: &str = "market_making";

/// What a bot's config is called with Hummingbot, where such names are shared by all accounts and written over without a
/// word: it begins with the client's id, which no other client's does.
pub(crate) fn name(client: ClientId, bot: BotId) -> ConfigName {
    format!("{}_{}", client.0.simple(), bot.0.simple()).parse().expect("hex digits and _ make a config's name")
}

/// What an instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program<'a> {
    Controller(&'a str),
    Script(&'a str),
}

/// What a config must have before Hummingbot can be asked for anything, or why it will not do.
pub(crate) fn deployable(config: &BotConfig) -> Result<(Program<'_>, &Venue), String> {
    let program = match (&config.controller, &config.script) {
        (Some(controller), _) => Program::Controller(controller),
        (None, Some(script)) => Program::Script(script),
        (None, None) => return Err("its config names no controller and no script".to_owned()),
    };
    let venue = config.venue.as_ref().ok_or("its config names no venue: give it an exchange, a market and a pair")?;
    Ok((program, venue))
}

/// The config as the controller or script reads it. A parameter that reads as JSON is taken for it: `[0.001,0.002]`, `30`, `true`;
/// every other is a text. Numbers keep their digits.
pub(crate) fn in_hummingbots_words(
    name: &ConfigName,
    program: Program<'_>,
    venue: &Venue,
    config: &BotConfig,
) -> Config {
    let told = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
    let mut words: Config = config.parameters.iter().map(|(name, value)| (name.clone(), told(value))).collect();
    match program {
        Program::Controller(controller) => {
            words.entry("controller_type").or_insert_with(|| json!(CONTROLLER_TYPE));
            words.insert("id".into(), json!(name));
            words.insert("controller_name".into(), json!(controller));
        }
        Program::Script(script) => drop(words.insert("script_file_name".into(), json!(format!("{script}.py")))),
    }
    words.insert("connector_name".into(), json!(ConnectorName::of(venue.exchange, venue.market)));
    words.insert("trading_pair".into(), json!(venue.pair));
    words
}

/// Hands a running bot the config that it shall have now, where that is another to Hummingbot. (Its own breaker, a second one
/// behind ours, keeps the drawdown that the instance was deployed with.)
pub(crate) async fn apply(
    mandate: &Mandate,
    id: BotId,
    bot: &Bot,
    instance: &str,
    config: u64,
) -> Result<Outcome, HandError> {
    let told = bot.config().ok_or_else(|| HandError::NotYet("the bot has no config".into()))?;
    // Limits are held by us, and from the moment that they were asked for.
    if bot.runs_with().is_some_and(|runs_with| run_alike(runs_with, told)) {
        mandate.did(id, Deed::ConfigApplied { config }).await?;
        return Ok(Outcome::Done);
    }
    let deed = match (deployable(told), instance.parse::<BotName>()) {
        (Ok((program, venue)), Ok(instance)) => {
            let name = name(mandate.client, id);
            let words = in_hummingbots_words(&name, program, venue, told);
            hand_over(mandate, &instance, &name, &words, config).await?
        }
        (Err(reason), _) => Deed::ConfigNotApplied { config, reason },
        (Ok(_), Err(bad)) => Deed::ConfigNotApplied { config, reason: bad.to_string() },
    };
    mandate.did(id, deed).await?;
    Ok(Outcome::Done)
}

async fn hand_over(
    mandate: &Mandate,
    instance: &BotName,
    name: &ConfigName,
    words: &Config,
    config: u64,
) -> Result<Deed, HandError> {
    let hummingbot = &mandate.means.hummingbot;
    let taken = async {
        hummingbot.validate_controller_config(words).await?;
        hummingbot.update_bot_config(instance, name, words).await
    };
    match taken.await {
        Ok(()) => Ok(Deed::ConfigApplied { config }),
        Err(fault) if fault.is_refusal() => Ok(Deed::ConfigNotApplied { config, reason: fault.to_string() }),
        Err(fault) => Err(fault.into()),
    }
}
