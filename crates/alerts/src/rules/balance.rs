//! An account holds too little that no order holds.

use events::{Asset, Decimal, Event, Exchange, Market, Pair, account::AccountEvent, alert::Labels, bot::Venue};

use super::{Rule, below, keep, number, wait};
use crate::{
    engine::{Ends, Hearing, Kind, Of, Reading, World},
    exact::{divided, times},
};

pub(crate) struct BalanceLow;

impl Rule for BalanceLow {
    const KIND: Kind = Kind {
        name: "balance_low",
        version: 2,
        about: "an account has less of an asset free than was said, or than two orders of its bots need",
        of: Of::Clients,
        parameters: &[
            number(
                "least",
                "asset",
                ["0", "0", "1000000000000"],
                "what shall be free of the asset, whatever its orders need; 0: nothing beside",
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

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        if let Some(venue) = hearing.left() {
            return [venue.pair.base_asset(), venue.pair.quote_asset()]
                .iter()
                .for_each(|asset| left(&venue, asset, hearing));
        }
        let Event::Account(AccountEvent::BalanceObserved { exchange, market, asset, available, .. }) =
            &hearing.event.event
        else {
            return;
        };
        let labels = of(*exchange, *market, asset);
        let [least, orders, clear] = ["least", "orders", "clear_ratio"].map(|name| hearing.parameter(&labels, name));
        let needed = largest_order(hearing.world, (*exchange, *market), asset).map(|order| times(order, orders));
        let Some(wanted) = needed.into_iter().chain([least]).filter(Decimal::is_positive).max() else { return };
        let summary = format!("only {} {asset} are free on {exchange}", available.normalised());
        let reading = Reading::new(below(*available, wanted, None, times(wanted, clear)), summary).with(
            "free",
            *available,
            Some(wanted),
            asset.as_str(),
        );
        hearing.say(labels, reading);
    }
}

fn of(exchange: Exchange, market: Market, asset: &Asset) -> Labels {
    Labels { exchange: Some(exchange), market: Some(market), ..Labels::about(asset.as_str()) }
}

/// No bot needs anything there any more, unless somebody said how much shall be there.
fn left(venue: &Venue, asset: &Asset, hearing: &mut Hearing<'_>) {
    let labels = of(venue.exchange, venue.market, asset);
    let needed = largest_order(hearing.world, (venue.exchange, venue.market), asset);
    if needed.is_none() && hearing.parameter(&labels, "least").is_zero() {
        hearing.say(labels, Reading::clear());
    }
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
