//! Holds every limit against what the read model has counted, and tells the bots that come near one or pass it.
//!
//! Nothing is remembered here: what was told already the bot's own stream knows. So it can be called as often as one
//! likes, by any number of processes, killed at any moment, and each limit is neared and broken once a deployment.

use domain::{
    bot::{Bot, BotCommand, BotRefusal, Sight},
    risk::{Facts, Measure, measured},
    self_match::{Neighbour, SideBySide, beside},
};
use events::{BotId, ClientId, Decimal, Time, bot::BotConfig};
use projections::{
    bots::{self, Desired},
    risk::{self, Book},
    versions,
};
use sqlx::{PgConnection, PgPool};
use store::{Cause, ExecuteError, Streams, read};
use tracing::warn;

/// Why limits could not be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("could not read the risk counters of client {client}")]
    Read {
        client: ClientId,
        #[source]
        cause: sqlx::Error,
    },
    #[error("could not tell bot {bot} of client {client} about its limit")]
    Tell {
        client: ClientId,
        bot: BotId,
        #[source]
        cause: ExecuteError<BotRefusal>,
    },
}

/// Tells each wanted bot of a client of the limits that it nears or passes; how many events that came to. `now` says
/// which day it is: what was counted on an earlier one limits nothing any more.
pub async fn watch(
    client: ClientId,
    db: &PgPool,
    streams: &Streams,
    cause: &Cause,
    now: Time,
) -> Result<u64, WatchError> {
    let books = books(client, db).await.map_err(|cause| WatchError::Read { client, cause })?;
    let mut told = 0;
    for book in books.iter().filter(|book| book.wanted && book.current) {
        for measure in measured(&book.limits, &facts(book, now)).into_iter().filter(Measure::is_near) {
            told += tell(client, book, measure, streams, cause, now).await?;
            if measure.is_passed() {
                told += insist(client, book, measure, streams, cause, now).await?;
            }
        }
    }
    Ok(told)
}

async fn books(client: ClientId, db: &PgPool) -> sqlx::Result<Vec<Book>> {
    let mut tx = db.begin().await?;
    read::for_client(&mut tx, client).await?;
    versions::use_live(&mut tx).await?;
    risk::of_client(&mut tx, client).await
}

async fn tell(
    client: ClientId,
    book: &Book,
    measure: Measure,
    streams: &Streams,
    cause: &Cause,
    now: Time,
) -> Result<u64, WatchError> {
    let (bot, Measure { limit, measured, allowed }) = (book.bot_id, measure);
    let command = BotCommand::Saw { sight: Sight::Limit { limit, measured, allowed }, at: now };
    let outcome = streams.execute::<Bot>(client, &bot.to_string(), command, Some(key(book, &measure)), cause).await;
    let receipt = outcome.map_err(|cause| WatchError::Tell { client, bot, cause })?;
    let Some(receipt) = receipt.filter(|receipt| !receipt.repeated) else { return Ok(0) };
    warn!(client.id = %client, bot.id = %bot, "{}: {measured} of {allowed}", limit.in_words());
    Ok(receipt.last - receipt.first + 1)
}

/// A limit is broken once a deployment, but a bot that could not be stopped still trades: it is told to stop again, once
/// for each time that it failed.
async fn insist(
    client: ClientId,
    book: &Book,
    measure: Measure,
    streams: &Streams,
    cause: &Cause,
    now: Time,
) -> Result<u64, WatchError> {
    let (bot, Some(failed)) = (book.bot_id, book.stop_failed_seq) else { return Ok(0) };
    let Measure { limit, measured, allowed } = measure;
    let reason = format!("could not be stopped, and {} is past its limit: {measured} of {allowed}", limit.in_words());
    let (command, key) = (BotCommand::Stop { reason, at: now }, format!("limit:{bot}:stop-after:{failed}:"));
    match streams.execute::<Bot>(client, &bot.to_string(), command, Some(key), cause).await {
        Ok(Some(receipt)) if !receipt.repeated => Ok(1),
        // Somebody was faster.
        Ok(_) | Err(ExecuteError::Refused(BotRefusal::NotWanted)) => Ok(0),
        Err(cause) => Err(WatchError::Tell { client, bot, cause }),
    }
}

/// Counters may be older than the bot's stream: what was told of one deployment is not told of the next by them.
fn key(book: &Book, measure: &Measure) -> String {
    let what = if measure.is_passed() { "broken" } else { "neared" };
    format!("limit:{}:{}:{:?}:{what}", book.bot_id, book.deployed_seq.unwrap_or_default(), measure.limit)
}

/// What a decision about limits must know of a book. Counters of a day before `today`'s are none of that day.
pub fn facts(book: &Book, today: Time) -> Facts {
    let counts = book.day.is_some_and(|day| day >= today.midnight());
    let of_day = |figure: Decimal| if counts { figure } else { Decimal::ZERO };
    let fills = |fills: i64| if counts { fills.unsigned_abs() } else { 0 };
    Facts {
        kind: book.kind,
        fills: fills(book.fills),
        own_amount: of_day(book.amount),
        market_amount: book.market_amount.filter(|_| counts),
        // Where a figure of money is too large to be added, the folds have said so before.
        volume: of_day(book.bought.plus(book.sold).unwrap_or_default()),
        spell_fills: fills(book.spell_fills),
        bought: of_day(book.spell_bought),
        sold: of_day(book.spell_sold),
        run: book.run_fills.unsigned_abs(),
        position: book.position_since_deploy,
        equity: book.equity,
        // What changed since the newest day began changed before this one did.
        equity_at_day_begin: if counts { book.equity_at_day_begin } else { book.equity },
        equity_highest: book.equity_highest,
    }
}

/// Whether a bot may start beside the bots of its owner that are wanted: asked again right before the deed, because two
/// that are asked for at once do not see each other when they are.
pub async fn may_start(
    db: &mut PgConnection,
    client: ClientId,
    bot: BotId,
    config: &BotConfig,
) -> sqlx::Result<Result<(), SideBySide>> {
    let bots = bots::of_client(db, client).await?;
    Ok(beside(bot, config, wanted(&bots)))
}

/// The bots among these that are wanted to run, or may not have stopped.
pub fn wanted(bots: &[bots::Bot]) -> impl Iterator<Item = Neighbour<'_>> {
    let wanted = |bot: &&bots::Bot| match (bot.desired, bot.answer) {
        (Desired::Running, _) => true,
        // Told to stop is not yet stopped: until then it trades.
        (Desired::Stopped, Some(bots::Answer::Stopped | bots::Answer::DeployFailed)) => false,
        (Desired::Stopped, Some(bots::Answer::StopFailed | bots::Answer::Deployed) | None) => {
            bot.instance.is_some() || bot.config_applied.is_some()
        }
    };
    bots.iter().filter(wanted).map(|bot| Neighbour { bot: bot.bot_id, name: &bot.name, config: &bot.config })
}
