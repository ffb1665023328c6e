//! Instances that nobody counts on: a call to deploy that was given up may land at any later time, beside the instance
//! that was deployed in its place, or after the bot was stopped. Whatever carries a bot's name and is not the instance that it
//! runs as is told of, stopped and put away like any other.

use std::collections::{BTreeMap, BTreeSet};

use domain::bot::{Bot, Sight};
use events::BotId;
use hummingbot::BotName;

use crate::{
    mandate::{HandError, Mandate},
    switchboard::{asked_name, is_named_for},
};

/// Looks at every instance of a client's bots that the server has on record, and at those that it hears and has not: a
/// stray may have crashed, and one whose record failed may trade. `bots`: as they are known here; the stream decides.
pub(crate) async fn look(mandate: &Mandate, bots: &BTreeMap<BotId, Bot>) -> Result<(), HandError> {
    let hummingbot = &mandate.means.hummingbot;
    let mut there: BTreeSet<BotName> = hummingbot.heard_bots().await?.into_iter().collect();
    there.extend(hummingbot.deployed_runs(&mandate.account()).await?.into_iter().map(|run| run.bot));
    for instance in &there {
        if let Some((bot, name)) = stray_of(mandate, bots, instance) {
            mandate.saw(bot, Sight::Instance { name, instance: instance.to_string() }).await?;
        }
    }
    Ok(())
}

/// Whose stray an instance is, as far as is known here, and what it was asked for under.
pub(crate) fn stray_of(mandate: &Mandate, bots: &BTreeMap<BotId, Bot>, instance: &BotName) -> Option<(BotId, String)> {
    let (id, bot) = bots.iter().find(|(id, _)| is_named_for(mandate.client, **id, instance))?;
    let name = asked_name(instance.as_str());
    bot.is_stray(name, instance.as_str()).then(|| (*id, name.to_owned()))
}
