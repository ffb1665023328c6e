//! An account holds too little that no order holds.

use std::collections::BTreeMap;

use events::{
    Asset, BotId, Decimal, Event, Exchange, Market, Pair,
    account::AccountEvent,
    alert::Labels,
    bot::{BotEvent, Venue},
};

use super::{Rule, below, keep, number, wait};
use crate::{
    engine::{Ends, Hearing, Kind, Names, Of, Reading, World},
    exact::{divided, times},
};

pub(crate) struct BalanceLow;

impl Rule for BalanceLow {
    const KIND: Kind = Kind {
        name: "balance_low",
        version: 3,
        about: "an account has less of an asset free than was said, or than two orders of its bots need",
        of: Of::Clients,
        names: Names::ASSET,
        parameters: &[
            number(
                "least",
                "asset",
                ["0", "0", "1000000000000"],
                "what shall be free of an asset, whatever orders need: say it for that asset (scope.about); 0: nothing beside",
            ),
            number("orders", "orders", ["0", "2", "100"], "how many orders' worth shall be free"),
            number("clear_ratio", "x", ["1", "1.2", "100"], "above how many times that it is well"),
            wait("60"),
            keep("0"),
        ],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    /// The events that told what is there.
    type Memory = BTreeMap<Place, u64>;

    fn hear(told_by: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        if let Event::Account(AccountEvent::BalanceObserved { exchange, market, asset, .. }) = &hearing.event.event {
            told_by.insert((*exchange, *market, asset.clone()), hearing.event.seq);
        }
        for place in moved(hearing) {
            say(&place, told_by.get(&place).copied(), hearing);
        }
    }
}

type Place = (Exchange, Market, Asset);

/// Of which balances an event says something: what is there, or what shall be. One that stands still is told once, so whoever
/// needs another amount of it asks anew.
fn moved(hearing: &Hearing<'_>) -> Vec<Place> {
    if let Event::Account(AccountEvent::BalanceObserved { exchange, market, asset, .. }) = &hearing.event.event {
        return vec![(*exchange, *market, asset.clone())];
    }
    if hearing.is_configured() {
        return hearing.world.balances.keys().cloned().collect();
    }
    let Event::Bot(told) = &hearing.event.event else { return Vec::new() };
    let (BotEvent::BotDeployRequested { .. }
    | BotEvent::BotConfigChanged { .. }
    | BotEvent::BotDeployFailed { .. }
    | BotEvent::BotStopRequested { .. }
    | BotEvent::BotStopFailed { .. }) = told
    else {
        return Vec::new();
    };
    let bot = hearing.event.aggregate.id.parse::<BotId>().ok();
    let venue = bot.and_then(|bot| hearing.world.bots.get(&bot)?.venue.clone());
    let assets = |venue: Venue| {
        [venue.pair.base_asset(), venue.pair.quote_asset()].map(|asset| (venue.exchange, venue.market, asset))
    };
    venue.into_iter().flat_map(assets).collect()
}

fn say(place: &Place, told_by: Option<u64>, hearing: &mut Hearing<'_>) {
    let (exchange, market, asset) = place;
    let Some((_, available)) = hearing.world.balances.get(place).copied() else { return };
    let labels = Labels { exchange: Some(*exchange), market: Some(*market), ..Labels::about(asset.as_str()) };
    let [least, orders, clear] = ["least", "orders", "clear_ratio"].map(|name| hearing.parameter(&labels, name));
    let needed = largest_order(hearing.world, (*exchange, *market), asset).map(|order| times(order, orders));
    let wanted = needed.into_iter().chain([least]).filter(Decimal::is_positive).max();
    // No bot needs anything there, and nobody said how much shall be there.
    let Some(wanted) = wanted else { return hearing.say(labels, Reading::clear()) };
    let summary = format!("only {} {asset} are free on {exchange}", available.normalised());
    let reading = Reading::new(below(available, wanted, None, times(wanted, clear)), summary);
    hearing.say(labels, reading.with("free", available, Some(wanted), asset.as_str()).by(told_by));
}

/// The largest order of the bots that are wanted there, in an asset.
fn largest_order(world: &World, (exchange, market): (Exchange, Market), asset: &Asset) -> Option<Decimal> {
    let bots = world.bots.values().filter(|bot| bot.wanted);
    let orders = bots.filter_map(|bot| {
        let venue = bot.venue.as_ref().filter(|venue| (venue.exchange, venue.market) == (exchange, market))?;
        in_asset(world, &venue.pair, asset, bot.order_worth()?)
    });
    orders.max()
}

fn in_asset(world: &World, pair: &Pair, asset: &Asset, quote: Decimal) -> Option<Decimal> {
    if asset.as_str() == pair.quote() {
        Some(quote)
    } else if asset.as_str() == pair.base() {
        divided(quote, world.marks.get(pair)?.0)
    } else {
        None
    }
}
