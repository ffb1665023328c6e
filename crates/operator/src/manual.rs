//! How a manual order reaches the exchange, once or not at all, however often the one who sends it dies on the way.
//!
//! Hummingbot knows no idempotency: asked twice, it places two. So the stream is told first that the order is about to be
//! sent, under the lease, and only whoever could tell that sends it. Whoever finds that note without an outcome looks
//! for the order; he never sends it again. What is not found within the patience is unknown until it comes to light, or
//! somebody decides what became of it.

mod check;
mod watch;

use std::{collections::BTreeMap, time::Duration};

use domain::manual::{ManualCommand, ManualDeed, ManualOrder, ManualRefusal, ManualTask, Wanted};
use events::{Event, ManualId, OrderId, Time};
use hummingbot::{ConnectorName, NewOrder, Order, Window};
use store::{AppendError, ExecuteError, read};
use tracing::{info, warn};

use crate::{
    facts::in_hummingbots_words,
    mandate::{HandError, Mandate, Outcome},
};

pub(crate) use watch::{Memory, is_watched, look};

const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How far the clocks of the server and of this process may be apart. Less than the patience with a call, so that an
/// order which was given up as unknown is not taken for a later one of the same price and amount.
const CLOCKS_APART_US: i64 = 2_000_000;

/// Does what is to be done for a manual order.
pub(crate) async fn carry_out(mandate: &Mandate, id: ManualId) -> Result<Outcome, HandError> {
    let (order, _) = mandate.means.streams.load::<ManualOrder>(mandate.client, &id.to_string()).await?;
    let (Some(task), Some(wanted)) = (order.task(), order.wanted()) else { return Ok(Outcome::Done) };
    mandate.holds()?;
    match task {
        ManualTask::Place => place(mandate, id, wanted).await,
        ManualTask::Find { since } => find(mandate, id, wanted, since).await,
        ManualTask::Cancel { order } => cancel(mandate, id, wanted, &order).await,
    }
}

/// All manual orders of the client, as the stream tells them now.
pub(crate) async fn all(mandate: &Mandate) -> Result<BTreeMap<ManualId, ManualOrder>, HandError> {
    let head = read::head(&mandate.means.db, mandate.client).await?;
    let mut orders: BTreeMap<ManualId, ManualOrder> = BTreeMap::new();
    for event in mandate.means.streams.all_of_kind(mandate.client, "manual", 1..=head).await? {
        if let (Event::Manual(told), Ok(id)) = (event.event, event.aggregate.id.parse()) {
            orders.entry(id).or_default().remember(told);
        }
    }
    Ok(orders)
}

async fn place(mandate: &Mandate, id: ManualId, wanted: &Wanted) -> Result<Outcome, HandError> {
    if let Err(reason) = check::may_be_sent(mandate, id, wanted).await? {
        return over(mandate, id, ManualDeed::Refused { reason }).await;
    }
    let order = NewOrder {
        connector: connector(wanted),
        pair: wanted.venue.pair.clone(),
        side: wanted.side,
        order_type: in_hummingbots_words(wanted.order_type),
        amount: wanted.amount,
        price: Some(wanted.price),
        closes: false,
    };
    // Nothing may stand between the note and the call but a look at the clock: who finds the note must know when it went
    // out. Who could not write it does not send.
    if !tell(mandate, id, ManualDeed::Start).await? {
        return Ok(Outcome::Done);
    }
    mandate.holds()?;
    match mandate.means.hummingbot.place_order(&mandate.account(), &order).await {
        Ok(order) => over(mandate, id, ManualDeed::Submitted { order }).await,
        Err(fault) if fault.may_have_happened() => {
            warn!(manual.id = %id, error = %fault, "nobody knows whether order {id} was placed: looking for it");
            Ok(Outcome::Later(LOOK_AGAIN))
        }
        Err(fault) => over(mandate, id, ManualDeed::Refused { reason: fault.to_string() }).await,
    }
}

/// Looks for an order that may have been sent, among those that no other manual order claims.
async fn find(mandate: &Mandate, id: ManualId, wanted: &Wanted, since: Time) -> Result<Outcome, HandError> {
    let window = Window::new(since.plus_micros(-CLOCKS_APART_US), Time::now().plus_micros(CLOCKS_APART_US));
    let rows = mandate.means.hummingbot.orders(&mandate.account(), &connector(wanted), window).await?;
    let known = all(mandate).await?;
    let claimed = |order: &OrderId| known.values().any(|manual| manual.order() == Some(order));
    let like: Vec<Order> = rows.into_iter().filter(|row| is_like(row, wanted) && !claimed(&row.order)).collect();
    match like.as_slice() {
        [one] => {
            info!(manual.id = %id, order = %one.order, "order {id} had been placed: going on with it");
            over(mandate, id, ManualDeed::Submitted { order: one.order.clone() }).await
        }
        [] => {
            let patience = i64::try_from(mandate.means.settings.deploy_max.as_micros()).unwrap_or(i64::MAX);
            if Time::now() < since.plus_micros(patience) {
                return Ok(Outcome::Later(LOOK_AGAIN));
            }
            let reason = "whoever was sending it got no answer, and Hummingbot shows no such order: look at the exchange before you send it again";
            over(mandate, id, ManualDeed::Unknown { reason: reason.to_owned() }).await
        }
        many => {
            let reason =
                format!("whoever was sending it got no answer, and {} orders of that time look like it", many.len());
            over(mandate, id, ManualDeed::Unknown { reason }).await
        }
    }
}

fn is_like(row: &Order, wanted: &Wanted) -> bool {
    row.pair.as_ref() == Some(&wanted.venue.pair)
        && row.side == Some(wanted.side)
        && row.order_type == Some(in_hummingbots_words(wanted.order_type))
        && row.amount == wanted.amount
        && row.price == Some(wanted.price)
}

/// Asks for it to be cancelled until it is seen to be gone: an answer says only that the server will ask the exchange.
async fn cancel(mandate: &Mandate, id: ManualId, wanted: &Wanted, order: &OrderId) -> Result<Outcome, HandError> {
    match mandate.means.hummingbot.cancel_order(&mandate.account(), &connector(wanted), order).await {
        Ok(()) => Ok(Outcome::Later(LOOK_AGAIN)),
        // Not open as far as the server knows: what became of it is found out by whoever watches it.
        Err(fault) if fault.is_not_found() || fault.may_have_happened() => Ok(Outcome::Later(LOOK_AGAIN)),
        Err(fault) if fault.is_refusal() => {
            over(mandate, id, ManualDeed::CancelFailed { reason: fault.to_string() }).await
        }
        Err(fault) => Err(fault.into()),
    }
}

pub(crate) fn connector(wanted: &Wanted) -> ConnectorName {
    ConnectorName::of(wanted.venue.exchange, wanted.venue.market)
}

async fn over(mandate: &Mandate, id: ManualId, deed: ManualDeed) -> Result<Outcome, HandError> {
    tell(mandate, id, deed).await?;
    Ok(Outcome::Done)
}

/// Tells what was done; false if that was no news, or is overtaken.
async fn tell(mandate: &Mandate, id: ManualId, deed: ManualDeed) -> Result<bool, HandError> {
    let (streams, command) = (&mandate.means.streams, ManualCommand::Did { deed, at: Time::now() });
    match streams.execute::<ManualOrder>(mandate.client, &id.to_string(), command, None, &mandate.cause()).await {
        Ok(receipt) => Ok(receipt.is_some()),
        Err(ExecuteError::Refused(
            ManualRefusal::NotWaiting
            | ManualRefusal::NotStarted
            | ManualRefusal::NotSubmitted
            | ManualRefusal::NotAskedToCancel,
        )) => Ok(false),
        Err(ExecuteError::Refused(refusal)) => Err(HandError::NotYet(refusal.to_string())),
        Err(ExecuteError::Append(AppendError::Stale { .. })) => Err(HandError::Overtaken),
        Err(ExecuteError::Append(cause)) => Err(cause.into()),
        Err(ExecuteError::Read(cause)) => Err(cause.into()),
    }
}
