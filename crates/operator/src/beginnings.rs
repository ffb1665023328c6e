//! Where whoever begins to listen to a bot takes up: its orders that rest, and what was told of its day, from the read models.

use events::{BotId, Price, Time, bot::Venue};
use projections::{
    only::Only,
    orders::{self, Orders},
    uptime::{self, Uptime},
    versions,
};
use store::read;

use crate::{
    caught_up::caught_up,
    mandate::{HandError, Mandate},
    quotes::{Beginning, Resting},
};

/// Open orders of one bot that are taken over.
const RESTING_MAX: u32 = 1_000;

/// What is recorded of a bot up to now.
pub(crate) async fn of(mandate: &Mandate, bot: BotId, venue: &Venue, now: Time) -> Result<Beginning, HandError> {
    let client = mandate.client;
    let head = read::head(&mandate.means.db, client).await?;
    let mut tx = mandate.means.query.begin().await?;
    read::for_client(&mut tx, client).await?;
    caught_up::<Orders>(&mut tx, client, head).await?;
    caught_up::<Uptime>(&mut tx, client, head).await?;
    versions::use_live(&mut tx).await?;
    let only = Only { bot: Some(bot), exchange: Some(venue.exchange), pair: Some(venue.pair.clone()) };
    let open = orders::page(&mut tx, client, &only, true, None, RESTING_MAX).await?;
    let told = uptime::told_of_day(&mut tx, client, bot, now).await?;
    let resting = open.into_iter().filter(|order| order.market == venue.market).filter_map(resting);
    Ok(Beginning { resting: resting.collect(), quotes_told: told.quotes, depths_told: told.depths })
}

fn resting(order: orders::Order) -> Option<Resting> {
    let left = order.amount?.minus(order.filled).ok().filter(events::Decimal::is_positive)?;
    Some(Resting { order: order.order_id, side: order.side?, price: Price(order.price?), left })
}
