//! A bot's fills go one way.

use std::collections::BTreeMap;

use events::{
    BotId, Decimal, Event,
    alert::{Labels, Severity},
    bot::Venue,
    ledger::{LedgerEvent, Side},
};

use super::{Rule, Window, number};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading, venue_of, worth},
    exact::{minus, percent, plus},
};

pub(crate) struct FillOneSided;

const FILLS: usize = 50;
const EVER_US: i64 = i64::MAX / 4;

impl Rule for FillOneSided {
    const KIND: Kind = Kind {
        name: "fill_one_sided",
        version: 1,
        about: "of what a bot traded in its last 50 fills nearly all was bought, or nearly all sold",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
        parameters: &[
            number("share", "%", ["50", "85", "100"], "a larger share of one side is one-sided"),
            number("clear_share", "%", ["50", "75", "100"], "up to this share it is well").up_to("share"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: None,
    };

    /// The worth of each fill, and whether it was bought.
    type Memory = BTreeMap<(BotId, Venue), Window<(Decimal, bool)>>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Event::Ledger(LedgerEvent::FillRecorded(fill)) = &hearing.event.event else { return };
        let venue = venue_of(fill);
        let labels = Labels::of(fill.bot, &venue);
        let fills = memory.entry((fill.bot, venue.clone())).or_default();
        fills.push(hearing.at, (worth(fill.price, fill.amount), fill.side == Side::Buy), EVER_US, FILLS);
        if fills.len() < FILLS {
            return;
        }
        let sum = |only: bool| {
            fills
                .iter()
                .filter(|(_, (_, bought))| !only || *bought)
                .fold(Decimal::ZERO, |sum, (_, (worth, _))| plus(sum, *worth))
        };
        let Some(bought) = percent(sum(true), sum(false)) else { return };
        let larger = bought.max(minus(Decimal::from_int(100), bought));
        let [share, clear] = ["share", "clear_share"].map(|name| hearing.parameter(&labels, name));
        let now = if larger > share {
            Condition::Above(Severity::Warning)
        } else if larger <= clear {
            Condition::Clear
        } else {
            Condition::Between
        };
        let summary = format!(
            "{} bought {} % of its last {FILLS} fills in {}",
            hearing.world.name(fill.bot),
            bought.rounded(2),
            venue.pair
        );
        hearing.say(labels, Reading::new(now, summary).with("bought", bought, Some(share), "%"));
    }
}
