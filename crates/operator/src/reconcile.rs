//! What a bot itself remembers, against what is recorded: whatever is missing is added, provisionally where the source
//! does not know the order.

use std::collections::BTreeSet;

use events::{
    BotId, TradeId,
    ledger::{Fill, Side},
};
use hummingbot::RoundedTrade;
use projections::{fills, versions};
use store::read;

use crate::{
    caught_up::caught_up,
    facts::Owner,
    keep::{self, Gate},
    mandate::{HandError, Mandate},
    quarantine::{self, Stray},
};

/// The same trade may carry two times: the clock tick that a source knows, and the whole second of it.
const TIMES_APART_US: i64 = 5_000_000;

/// Records those of these trades that are not recorded yet; how many were new. `source`: `history` or `archive`.
pub(crate) async fn with(
    mandate: &Mandate,
    gate: &Gate,
    owner: &Owner,
    instance: &str,
    trades: Vec<RoundedTrade>,
    source: &'static str,
) -> Result<u64, HandError> {
    let mut told = Vec::new();
    for trade in &trades {
        match owner.rounded(trade, source) {
            Ok(fill) => told.push((fill, trade)),
            Err(reason) => set_aside(mandate, instance, trade, reason, source).await?,
        }
    }
    let alone = gate.close().await;
    let known = known(mandate, owner.bot, told.iter().map(|(fill, _)| fill)).await?;
    // What has an order finds its provisional self by itself; what has none must not stand beside an exact one.
    told.retain(|(fill, _)| fill.order.is_some() || !known.contains(&(fill.trade.clone(), fill.side)));
    let (fills, rows): (Vec<Fill>, Vec<&RoundedTrade>) = told.into_iter().unzip();
    let kept = keep::fills(mandate, &alone, fills).await?;
    for (place, reason) in kept.impossible {
        set_aside(mandate, instance, rows[place], reason, source).await?;
    }
    Ok(kept.new)
}

/// Keeps all of these trades aside.
pub(crate) async fn set_all_aside(
    mandate: &Mandate,
    instance: &str,
    trades: &[RoundedTrade],
    reason: &str,
    source: &'static str,
) -> Result<(), HandError> {
    for trade in trades {
        set_aside(mandate, instance, trade, reason.to_owned(), source).await?;
    }
    Ok(())
}

async fn set_aside(
    mandate: &Mandate,
    instance: &str,
    trade: &RoundedTrade,
    reason: String,
    source: &'static str,
) -> Result<(), HandError> {
    let stray = Stray { client: mandate.client, instance, source, reason, raw: trade.raw.as_bytes() };
    quarantine::keep(&mandate.means.db, &mandate.means.streams, stray).await
}

/// Which trades of a bot are recorded, as of now: the read model has to be as far as the stream is.
async fn known<'a>(
    mandate: &Mandate,
    bot: BotId,
    told: impl Iterator<Item = &'a Fill> + Clone,
) -> Result<BTreeSet<(TradeId, Side)>, HandError> {
    let times = told.clone().map(|fill| fill.at);
    let (Some(first), Some(last)) = (times.clone().min(), times.max()) else { return Ok(BTreeSet::new()) };
    let head = read::head(&mandate.means.db, mandate.client).await?;
    let mut tx = mandate.means.query.begin().await?;
    read::for_client(&mut tx, mandate.client).await?;
    caught_up::<fills::Fills>(&mut tx, mandate.client, head).await?;
    versions::use_live(&mut tx).await?;
    let trades: Vec<TradeId> = told.map(|fill| fill.trade.clone()).collect();
    let (from, to) = (first.plus_micros(-TIMES_APART_US), last.plus_micros(TIMES_APART_US));
    Ok(fills::known_trades(&mut tx, mandate.client, bot, &trades, from, to).await?)
}
