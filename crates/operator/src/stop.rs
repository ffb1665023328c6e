//! How a bot comes to stand still, its orders cancelled. That it was told is not that it stopped: the server says so as
//! soon as it has passed the word on.

use std::time::Duration;

use domain::bot::{Deed, Started};
use events::BotId;
use hummingbot::{BotName, BotState};
use tracing::warn;

use crate::{
    deploy::{may_still_come, running},
    mandate::{HandError, Mandate, Outcome},
};

const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Stops a bot, or what may have been asked for as one.
pub(crate) async fn stop(
    mandate: &Mandate,
    id: BotId,
    instance: Option<String>,
    started: Option<Started>,
) -> Result<Outcome, HandError> {
    let instance = match (instance, &started) {
        (Some(instance), _) => {
            instance.parse().map_err(|bad: hummingbot::BadName| HandError::NotYet(bad.to_string()))?
        }
        (None, Some(started)) => match running(mandate, &started.name).await? {
            // What it traded until now is the bot's, too: it has to be put away like any other.
            Some(instance) => {
                mandate.did(id, Deed::Deployed { instance: instance.to_string() }).await?;
                instance
            }
            None => match may_still_come(mandate, started) {
                Some(rest) => return Ok(Outcome::Later(rest.min(LOOK_AGAIN))),
                None => return stopped(mandate, id).await,
            },
        },
        (None, None) => return stopped(mandate, id).await,
    };
    tell(mandate, &instance).await?;
    match stands_still(mandate, &instance).await? {
        true => stopped(mandate, id).await,
        false => Ok(Outcome::Later(LOOK_AGAIN)),
    }
}

/// Stops an instance that landed late.
pub(crate) async fn stray(mandate: &Mandate, id: BotId, instance: String) -> Result<Outcome, HandError> {
    let name: BotName = instance.parse().map_err(|bad: hummingbot::BadName| HandError::NotYet(bad.to_string()))?;
    tell(mandate, &name).await?;
    if !stands_still(mandate, &name).await? {
        return Ok(Outcome::Later(LOOK_AGAIN));
    }
    warn!(bot.id = %id, instance = %name, "instance {name} of bot {id}, which landed late, is stopped");
    mandate.did(id, Deed::StrayStopped { instance }).await?;
    Ok(Outcome::Done)
}

/// The bot itself is told first: its answer is its own. One that does not answer is told through the server.
async fn tell(mandate: &Mandate, instance: &BotName) -> Result<(), HandError> {
    let Err(fault) = mandate.means.bots.stop(instance).await else { return Ok(()) };
    warn!(instance = %instance, error = %fault, "bot {instance} does not answer, telling it through the server");
    match mandate.means.hummingbot.stop_bot(instance).await {
        Ok(()) => Ok(()),
        Err(fault) if fault.is_not_found() => Ok(()),
        Err(fault) => Err(fault.into()),
    }
}

/// Whether the bot trades no longer: the server calls it stopped or knows it no more, and the bot itself has been quiet.
async fn stands_still(mandate: &Mandate, instance: &BotName) -> Result<bool, HandError> {
    match mandate.means.hummingbot.bot_status(instance).await {
        Ok(status) => Ok(status.state == BotState::Stopped || !status.recently_active),
        Err(fault) if fault.is_not_found() => Ok(true),
        Err(fault) => Err(fault.into()),
    }
}

async fn stopped(mandate: &Mandate, id: BotId) -> Result<Outcome, HandError> {
    mandate.did(id, Deed::Stopped).await?;
    Ok(Outcome::Done)
}
