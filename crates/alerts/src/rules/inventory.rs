//! What a bot's account holds has gone to one of its two assets.

use events::{Asset, BotId, Event, Market, account::AccountEvent, alert::Labels, bot::Venue, market::MarketEvent};

use super::{Rule, above, keep, number, wait};
use crate::{
    engine::{Ends, Hearing, Kind, Names, Of, Reading},
    exact::{minus, percent, plus, times},
};

pub(crate) struct InventoryImbalance;

impl Rule for InventoryImbalance {
    const KIND: Kind = Kind {
        name: "inventory_imbalance",
        version: 1,
        about: "the base asset's share of what a bot's account holds of its pair is far from what it shall be",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
        parameters: &[
            number("target", "%", ["0", "50", "100"], "the share that it shall be"),
            number("off", "points", ["1", "20", "100"], "so far off is too far"),
            number("critical_off", "points", ["1", "35", "100"], "so far off is critical").from("off"),
            number("clear_off", "points", ["0", "15", "100"], "less off than this is well").up_to("off"),
            wait("120"),
            keep("0"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        if let Event::Account(AccountEvent::BalanceObserved { exchange, market, asset, .. }) = &hearing.event.event {
            let there = |venue: &Venue| (venue.exchange, venue.market) == (*exchange, *market);
            let holds = |venue: &Venue| [venue.pair.base(), venue.pair.quote()].contains(&asset.as_str());
            let bots = hearing.world.bots.iter().filter(|(_, bot)| bot.wanted);
            let bots = bots.filter_map(|(id, bot)| Some((*id, bot.venue.clone().filter(|v| there(v) && holds(v))?)));
            bots.collect::<Vec<_>>().into_iter().for_each(|(bot, venue)| say(bot, &venue, hearing));
        } else if let Event::Market(MarketEvent::MarkObserved { pair, .. }) = &hearing.event.event {
            let bots: Vec<(BotId, Venue)> =
                hearing.world.wanted_in(pair).map(|(bot, venue)| (bot, venue.clone())).collect();
            bots.into_iter().for_each(|(bot, venue)| say(bot, &venue, hearing));
        }
    }
}

/// A perpetual holds nothing of its base asset, and says nothing.
fn say(bot: BotId, venue: &Venue, hearing: &mut Hearing<'_>) {
    if venue.market == Market::Perp {
        return;
    }
    let held = |asset: Asset| Some(hearing.world.balances.get(&(venue.exchange, venue.market, asset))?.0);
    let (base, quote) = (held(venue.pair.base_asset()), held(venue.pair.quote_asset()));
    let Some((base, quote)) = base.zip(quote) else { return };
    let Some(mark) = hearing.world.marks.get(&venue.pair) else { return };
    let worth = times(base, mark.0);
    let Some(share) = percent(worth, plus(worth, quote)) else { return };
    let labels = Labels::of(bot, venue);
    let [target, off, critical, clear] =
        ["target", "off", "critical_off", "clear_off"].map(|name| hearing.parameter(&labels, name));
    let is_off = minus(share, target).abs();
    let asset = venue.pair.base();
    let summary =
        format!("{} % of what {} holds of {} is {asset}", share.rounded(2), hearing.world.name(bot), venue.pair);
    let reading = Reading::new(above(is_off, off, Some(critical), clear), summary)
        .with("off", is_off, Some(off), "points")
        .with("share", share, None, "%");
    hearing.say(labels, reading);
}
