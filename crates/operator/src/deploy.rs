//! How a bot comes to run, exactly once however often the one who asks for it dies on the way.
//!
//! Hummingbot knows no idempotency: asked twice, it runs two. So the name to ask for is noted in the stream first, under
//! the lease; whoever goes on from there looks for an instance of that name before he asks again, and asks again only
//! when a call that went out at the last note can no longer be answered. One that lands even later is a stray.

use std::time::Duration;

use domain::bot::{Bot, Deed, Started};
use events::{BotId, Time, bot::BotConfig};
use hummingbot::{Added, BotName, ControllerDeployment, Fault, ScriptDeployment};
use projections::versions;
use store::read;
use tracing::{info, warn};

use crate::{
    config::{Program, deployable, in_hummingbots_words, name},
    mandate::{HandError, Mandate, Outcome},
    risk,
    switchboard::{asked_name, new_name},
};

/// How long an instance is looked for in vain before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Deploys a bot, or goes on where somebody stopped.
pub(crate) async fn deploy(
    mandate: &Mandate,
    id: BotId,
    bot: &Bot,
    started: Option<Started>,
) -> Result<Outcome, HandError> {
    if let Some(started) = &started {
        if let Some(instance) = running(mandate, &started.name).await? {
            info!(bot.id = %id, instance = %instance, "bot {id} was deployed before: going on with it");
            return deployed(mandate, id, instance).await;
        }
        if let Some(rest) = may_still_come(mandate, started) {
            return Ok(Outcome::Later(rest.min(LOOK_AGAIN)));
        }
    }
    let config = bot.config().cloned().unwrap_or_default();
    let prepared = match beside_others(mandate, id, &config).await? {
        Ok(()) => prepare(mandate, id, &config).await?,
        Err(reason) => Err(reason),
    };
    match prepared {
        Ok(()) => ask(mandate, id, &config, started.map(|started| started.name)).await,
        Err(reason) => {
            mandate.did(id, Deed::DeployFailed { reason }).await?;
            Ok(Outcome::Done)
        }
    }
}

/// Whether the bot would trade with its owner's others: asked again now, because two that are asked for at once do not see
/// each other when they are.
async fn beside_others(mandate: &Mandate, id: BotId, config: &BotConfig) -> Result<Result<(), String>, HandError> {
    let mut tx = mandate.means.query.begin().await?;
    read::for_client(&mut tx, mandate.client).await?;
    versions::use_live(&mut tx).await?;
    let may_start = risk::may_start(&mut tx, mandate.client, id, config).await?;
    Ok(may_start.map_err(|refusal| refusal.to_string()))
}

/// The account, the exchange's key and the config, all of which may be there already; or why it cannot be.
async fn prepare(mandate: &Mandate, id: BotId, config: &BotConfig) -> Result<Result<(), String>, HandError> {
    let (hummingbot, account) = (&mandate.means.hummingbot, mandate.account());
    let (program, venue) = match deployable(config) {
        Ok(known) => known,
        Err(reason) => return Ok(Err(reason)),
    };
    match hummingbot.add_account(&account).await? {
        Added::Added | Added::AlreadyThere => {}
    }
    let connector = hummingbot::ConnectorName::of(venue.exchange, venue.market);
    if !hummingbot.credentials(&account).await?.contains(&connector) {
        return Ok(Err(format!("the client has no working key for {connector}: add one, and deploy again")));
    }
    let config_name = name(mandate.client, id);
    let words = in_hummingbots_words(&config_name, program, venue, config);
    let taken = async {
        match program {
            Program::Controller(_) => {
                hummingbot.validate_controller_config(&words).await?;
                hummingbot.put_controller_config(&config_name, &words).await
            }
            Program::Script(_) => hummingbot.put_script_config(&config_name, &words).await,
        }
    };
    refused_in_words(taken.await)
}

/// Notes what is asked for, and asks. Nothing may stand between the two: who finds the note must know when the call went
/// out.
async fn ask(mandate: &Mandate, id: BotId, config: &BotConfig, asked: Option<String>) -> Result<Outcome, HandError> {
    let name_asked = asked.unwrap_or_else(|| new_name(mandate.client, id));
    let instance: BotName =
        name_asked.parse().map_err(|bad: hummingbot::BadName| HandError::NotYet(bad.to_string()))?;
    mandate.did(id, Deed::StartDeploying { name: name_asked }).await?;
    // The note is written only if the bot is still wanted; what was refused by the store never gets here.
    if !mandate.bot(id).await?.is_wanted() {
        return Ok(Outcome::Done);
    }
    mandate.holds()?;
    match send(mandate, id, instance, config).await {
        Ok(instance) => deployed(mandate, id, instance).await,
        Err(fault) if fault.may_have_happened() => {
            warn!(bot.id = %id, error = %fault, "nobody knows whether bot {id} was deployed: looking for it");
            Ok(Outcome::Later(LOOK_AGAIN))
        }
        Err(fault) if fault.is_refusal() => {
            mandate.did(id, Deed::DeployFailed { reason: fault.to_string() }).await?;
            Ok(Outcome::Done)
        }
        Err(fault) => Err(fault.into()),
    }
}

/// The call itself.
async fn send(mandate: &Mandate, id: BotId, instance: BotName, config: &BotConfig) -> Result<BotName, Fault> {
    let (hummingbot, account, config_name) = (&mandate.means.hummingbot, mandate.account(), name(mandate.client, id));
    if let Some(script) = &config.script {
        let script = script.parse().ok();
        let config = Some(config_name);
        return hummingbot.deploy_script(&ScriptDeployment { instance, account, script, config, image: None }).await;
    }
    let deployment = ControllerDeployment {
        instance,
        account,
        controllers: vec![config_name],
        // Its own breaker is a second one; ours is the first, and says why.
        global_drawdown_max: config.limits.drawdown_limit,
        controller_drawdown_max: None,
        image: None,
    };
    hummingbot.deploy_controllers(&deployment).await
}

async fn deployed(mandate: &Mandate, id: BotId, instance: BotName) -> Result<Outcome, HandError> {
    mandate.did(id, Deed::Deployed { instance: instance.to_string() }).await?;
    Ok(Outcome::Done)
}

/// The newest instance that was asked for under this name, in the server's own record.
pub(crate) async fn running(mandate: &Mandate, asked: &str) -> Result<Option<BotName>, HandError> {
    let runs = mandate.means.hummingbot.bot_runs(&mandate.account()).await?;
    let ours = runs.into_iter().filter(|run| asked_name(run.bot.as_str()) == asked);
    Ok(ours.max_by_key(|run| run.id).map(|run| run.bot))
}

/// How long an instance that was asked for may still appear; `None`: the call is over by all means.
pub(crate) fn may_still_come(mandate: &Mandate, started: &Started) -> Option<Duration> {
    let over = started.at.plus_micros(i64::try_from(mandate.means.settings.deploy_max.as_micros()).unwrap_or(i64::MAX));
    let rest = over.micros() - Time::now().micros();
    (rest > 0).then(|| Duration::from_micros(rest.unsigned_abs()))
}

/// A refusal is an answer that the client reads; everything else is tried again.
fn refused_in_words(taken: Result<(), Fault>) -> Result<Result<(), String>, HandError> {
    match taken {
        Ok(()) => Ok(Ok(())),
        Err(fault) if fault.is_refusal() => Ok(Err(fault.to_string())),
        Err(fault) => Err(fault.into()),
    }
}
