//! One bot's next deed: what it is follows from the stream, never from memory.

use domain::bot::Task;
use events::BotId;

use crate::{
    archive, config, deploy,
    mandate::{HandError, Mandate, Outcome},
    stop,
};

/// Does what is to be done for a bot to be as it is wanted, step by step, until nothing is left or something has to be
/// waited for.
pub(crate) async fn carry_out(mandate: &Mandate, id: BotId) -> Result<Outcome, HandError> {
    loop {
        let bot = mandate.bot(id).await?;
        let Some(task) = bot.task() else { return Ok(Outcome::Done) };
        mandate.holds()?;
        let outcome = match task {
            Task::Deploy { started } => deploy::deploy(mandate, id, &bot, started).await?,
            Task::ApplyConfig { instance, config } => config::apply(mandate, id, &bot, &instance, config).await?,
            Task::Stop { instance, started } => stop::stop(mandate, id, instance, started).await?,
            Task::StopStray { instance } => stop::stray(mandate, id, instance).await?,
            Task::Archive { instance } => archive::put_away(mandate, id, &bot, &instance).await?,
        };
        if let Outcome::Later(_) = outcome {
            return Ok(outcome);
        }
    }
}
