//! How a stopped instance is put away: its own memory is asked a last time, it is archived, and the archive, which knows
//! every order and every fill, is looked through for what nobody told.

use std::time::Duration;

use domain::bot::{Bot, Deed};
use events::BotId;
use hummingbot::{ArchivePath, BotName, Since};
use tracing::debug;

use crate::{
    facts::Owner,
    keep::Gate,
    lives,
    mandate::{HandError, Mandate, Outcome},
    reconcile,
};

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Puts an instance away.
pub(crate) async fn put_away(mandate: &Mandate, id: BotId, bot: &Bot, instance: &str) -> Result<Outcome, HandError> {
    let name: BotName = instance.parse().map_err(|bad: hummingbot::BadName| HandError::NotYet(bad.to_string()))?;
    let owner = Owner::of(id, bot, instance, mandate.account());
    let gate = &mandate.gate;
    let Some(archive) = find(mandate, &name).await? else {
        if let Some(owner) = &owner {
            ask_the_bot(mandate, gate, owner, &name).await?;
        }
        begin(mandate, &name).await?;
        return Ok(Outcome::Later(LOOK_AGAIN));
    };
    let trades = mandate.means.hummingbot.archived_trades(&archive).await?;
    match owner {
        Some(owner) => {
            let orders = mandate.means.hummingbot.archived_orders(&archive).await?;
            let sides = trades.iter().filter_map(|trade| Some((trade.order.clone()?, trade.side))).collect();
            let steps = lives::restore(mandate, &owner, instance, &orders, &sides).await?;
            let fills = reconcile::with(mandate, gate, &owner, instance, trades, "archive").await?;
            debug!(bot.id = %id, fills, steps, "the archive of bot {id} held {fills} fills and {steps} steps of orders that were not known");
        }
        // A stray of a name that is long forgotten.
        None => reconcile::set_all_aside(mandate, instance, &trades, "nobody knows where it traded", "archive").await?,
    }
    mandate.did(id, Deed::Archived { instance: instance.to_owned() }).await?;
    Ok(Outcome::Done)
}

/// A stopped bot still answers until it is archived; one that crashed does not, and its archive has to do.
async fn ask_the_bot(mandate: &Mandate, gate: &Gate, owner: &Owner, name: &BotName) -> Result<(), HandError> {
    match mandate.means.bots.history(name, Since::Beginning).await {
        Ok(trades) => reconcile::with(mandate, gate, owner, name.as_str(), trades, "history").await.map(drop),
        Err(fault) => {
            debug!(instance = %name, error = %fault, "bot {name} does not answer any more");
            Ok(())
        }
    }
}

async fn begin(mandate: &Mandate, name: &BotName) -> Result<(), HandError> {
    match mandate.means.hummingbot.stop_and_archive(name).await {
        Ok(()) => Ok(()),
        // It may be under way.
        Err(fault) if fault.is_not_found() => Ok(()),
        Err(fault) => Err(fault.into()),
    }
}

async fn find(mandate: &Mandate, name: &BotName) -> Result<Option<ArchivePath>, HandError> {
    let archives = mandate.means.hummingbot.archives().await?;
    Ok(archives.into_iter().find(|archive| archive.bot().as_ref() == Some(name)))
}
