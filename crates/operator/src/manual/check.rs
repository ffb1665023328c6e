//! Whether a manual order may go out: looked at before anybody notes that it does, while nothing can be in doubt yet.

use domain::{
    manual::{ManualOrder, Wanted},
    self_match::meets,
};
use events::{Decimal, ManualId, Time, ledger::Side, manual::RestingType};
use hummingbot::TradingRule;
use projections::{only::Only, orders, versions};
use store::read;

use super::{all, connector};
use crate::{
    facts::in_hummingbots_words,
    mandate::{HandError, Mandate},
};

/// Own open orders that are looked at.
const OPEN_MAX: u32 = 1_000;

/// Whether it may be sent, or why not.
pub(super) async fn may_be_sent(
    mandate: &Mandate,
    id: ManualId,
    wanted: &Wanted,
) -> Result<Result<(), String>, HandError> {
    let (hummingbot, connector) = (&mandate.means.hummingbot, connector(wanted));
    let within = mandate.means.settings.send_within;
    let latest = wanted.at.plus_micros(i64::try_from(within.as_micros()).unwrap_or(i64::MAX));
    if Time::now() > latest {
        return Ok(Err(format!("it could not be sent within {} s: ask for it again", within.as_secs())));
    }
    if !hummingbot.credentials(&mandate.account()).await?.contains(&connector) {
        return Ok(Err(format!("the client has no working key for {connector}: add one first")));
    }
    if !hummingbot.order_types(&connector).await?.contains(&in_hummingbots_words(wanted.order_type)) {
        return Ok(Err(format!("{connector} does not take orders of this type: use the other one")));
    }
    let pair = &wanted.venue.pair;
    let rules = hummingbot.trading_rules(&connector, std::slice::from_ref(pair)).await?;
    let allowed = rules.get(pair).ok_or_else(|| format!("{pair} is not traded on {connector}"));
    if let Err(reason) = allowed.and_then(|rule| fits(rule, wanted)) {
        return Ok(Err(reason));
    }
    if let Err(reason) = rests(mandate, wanted).await? {
        return Ok(Err(reason));
    }
    meets_own(mandate, id, wanted).await
}

/// The server would cut what does not go in steps, and the order that stands would be another than the one recorded.
fn fits(rule: &TradingRule, wanted: &Wanted) -> Result<(), String> {
    let (price, amount) = (wanted.price.0, wanted.amount.0);
    if let Some(step) = rule.price_step.filter(|step| !goes_in(price, step.0)) {
        return Err(format!("the price goes in steps of {step}, {price} does not"));
    }
    if let Some(step) = rule.amount_step.filter(|step| !goes_in(amount, step.0)) {
        return Err(format!("the amount goes in steps of {step}, {amount} does not"));
    }
    if let Some(least) = rule.amount_min.filter(|least| wanted.amount < *least) {
        return Err(format!("the amount is at least {least}, got {amount}"));
    }
    let worth = price.times(amount).map_err(|cause| cause.to_string())?;
    match rule.notional_min.filter(|least| worth < *least) {
        Some(least) => Err(format!("the order is worth at least {least}, this one {worth}")),
        None => Ok(()),
    }
}

fn goes_in(value: Decimal, step: Decimal) -> bool {
    if !step.is_positive() {
        return true;
    }
    let steps = value.divided_by(step).map(|steps| steps.rounded(0));
    steps.and_then(|steps| steps.times(step)).is_ok_and(|whole| whole == value)
}

/// A limit order may not cross the book as it stands now: it would be filled at once, within the 10 ms in which the
/// server loses fills. Between this look and the exchange's the market may move; what is lost then is noticed by whoever
/// watches the order. `limit_maker` needs no look: the exchange itself refuses it rather than let it take.
async fn rests(mandate: &Mandate, wanted: &Wanted) -> Result<Result<(), String>, HandError> {
    match wanted.order_type {
        RestingType::LimitMaker => return Ok(Ok(())),
        RestingType::Limit => {}
    }
    let book = mandate.means.hummingbot.order_book(&connector(wanted), &wanted.venue.pair, 1).await?;
    let (against, resting) = match wanted.side {
        Side::Buy => (book.asks.first(), Side::Sell),
        Side::Sell => (book.bids.first(), Side::Buy),
    };
    let crossed = against.filter(|best| meets(wanted.side, wanted.price, resting, best.price));
    Ok(crossed.map_or(Ok(()), |best| {
        Err(format!(
            "a {} at {} would take at once, the best {resting} stands at {}: fills within 10 ms of acceptance get lost, so give it a price that rests",
            wanted.side, wanted.price, best.price
        ))
    }))
}

/// The place where one owner's orders are kept from each other: against the open orders of the client's bots on the
/// venue, and against the manual orders that the read model may not know yet.
async fn meets_own(mandate: &Mandate, id: ManualId, wanted: &Wanted) -> Result<Result<(), String>, HandError> {
    let mut tx = mandate.means.query.begin().await?;
    read::for_client(&mut tx, mandate.client).await?;
    versions::use_live(&mut tx).await?;
    let venue = &wanted.venue;
    let only = Only { bot: None, exchange: Some(venue.exchange), pair: Some(venue.pair.clone()) };
    let open = orders::page(&mut tx, mandate.client, &only, true, None, OPEN_MAX).await?;
    let of_bots = open.into_iter().filter(|order| order.market == venue.market).find(|order| {
        let (Some(side), Some(price)) = (order.side, order.price) else { return false };
        meets(wanted.side, wanted.price, side, events::Price(price))
    });
    let told = |what: String| {
        Ok(Err(format!("it would meet the same owner's {what}: cancel that one first, or stay clear of its price")))
    };
    if let Some(order) = of_bots {
        return told(format!("order {} of bot {}", order.order_id.as_str(), order.bot_id));
    }
    let manual = all(mandate).await?;
    let met = manual.iter().find(|(other, order)| {
        **other != id
            && may_rest(order)
            && order
                .wanted()
                .is_some_and(|own| own.venue == *venue && meets(wanted.side, wanted.price, own.side, own.price))
    });
    met.map_or(Ok(Ok(())), |(other, _)| told(format!("manual order {other}")))
}

fn may_rest(order: &ManualOrder) -> bool {
    order.is_open() || order.is_under_way()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_in_steps_or_not() {
        let d = |text: &str| text.parse::<Decimal>().unwrap();
        for (value, step, goes) in [
            ("0.3", "0.1", true),
            ("0.35", "0.1", false),
            ("7", "0", true),
            ("0.00001235", "0.00000001", true),
            ("60000.005", "0.01", false),
        ] {
            assert_eq!(goes_in(d(value), d(step)), goes, "{value} in {step}");
        }
    }
}
