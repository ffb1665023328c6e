//! A bot has too little in the book near the middle.

use events::{Decimal, Event, alert::Labels, market::MarketEvent};

use super::{Rule, below, keep, number, wait};
use crate::{
    engine::{Ends, Hearing, Kind, Names, Of, Reading},
    exact::{divided, percent, times},
};

pub(crate) struct DepthLow;

/// Within so much of the middle.
const WITHIN_BPS: u32 = 200;

impl Rule for DepthLow {
    const KIND: Kind = Kind {
        name: "depth_low",
        version: 2,
        about: "what a bot has in the book within 2 % of the middle, on its thinner side, is too little",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
        parameters: &[
            number(
                "depth_quote",
                "quote",
                ["0", "0", "1000000000"],
                "what it shall have a side; 0: half of what it quotes with",
            ),
            number("share", "%", ["0", "50", "100"], "a smaller part of that is low"),
            number("clear_share", "%", ["0", "70", "100"], "above this part it is well").from("share"),
            // The mean of a whole minute is what is looked at: it has been so for that long already.
            wait("0"),
            keep("0"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: None,
    };

    type Memory = ();

    fn hear(_: &mut (), hearing: &mut Hearing<'_>) {
        let Event::Market(MarketEvent::DepthMinute { bot, venue, own_known_us, within, .. }) = &hearing.event.event
        else {
            return;
        };
        let labels = Labels::of(*bot, venue);
        let known = Decimal::from_int(i64::try_from(*own_known_us).unwrap_or(i64::MAX));
        if !known.is_positive() {
            return hearing.say(labels, Reading::unknown());
        }
        // Where a minute does not name so wide a step, nothing of the bot's stood there.
        let sum = within.get(&WITHIN_BPS).copied().unwrap_or_default();
        let told = hearing.parameter(&labels, "depth_quote");
        let half = || divided(hearing.world.bots.get(bot)?.capital()?, Decimal::from_int(2));
        let Some(wanted) = Some(told).filter(Decimal::is_positive).or_else(half) else { return };
        let thinner = sum.own_bid_quote_us.min(sum.own_ask_quote_us);
        let Some(has) = divided(thinner, known) else { return };
        let Some(share) = percent(has, wanted) else { return };
        let [low, clear] = ["share", "clear_share"].map(|name| hearing.parameter(&labels, name));
        let quote = venue.pair.quote().to_owned();
        let least = times(wanted, low).divided_by(Decimal::from_int(100)).unwrap_or(wanted);
        let summary =
            format!("{} has {} {quote} near the middle of {}", hearing.world.name(*bot), has.rounded(2), venue.pair);
        let reading = Reading::new(below(share, low, None, clear), summary)
            .with("depth", has, Some(least), &quote)
            .with("wanted", wanted, None, &quote);
        hearing.say(labels, reading);
    }
}
