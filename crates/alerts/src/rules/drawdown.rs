//! A bot has fallen far below the best of its day.

use std::collections::BTreeMap;

use events::{BotId, Decimal, Time, alert::Labels, bot::Venue};
use serde::{Deserialize, Serialize};

use super::{Rule, above, keep, number, wait};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Of, Reading},
    exact::{minus, percent, plus},
    rules::daily_loss::{Valued, begins_anew, valued},
};

pub(crate) struct PnlDrawdown;

/// The best that a bot made on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peak {
    day: Time,
    highest: Decimal,
    seq: u64,
    /// The last that was known.
    last: Decimal,
}

impl Rule for PnlDrawdown {
    const KIND: Kind = Kind {
        name: "pnl_drawdown",
        version: 2,
        about: "what a bot is worth has fallen below its highest of the day by too much of it",
        of: Of::Clients,
        parameters: &[
            number("fall", "%", ["0.01", "2", "100"], "a fall that is too far"),
            number("critical_fall", "%", ["0.01", "5", "100"], "a fall that is critical").from("fall"),
            number("clear_fall", "%", ["0", "1.5", "100"], "a fall that is well again").up_to("fall"),
            number("limit_quote", "quote", ["0", "0", "1000000000"], "a fall that is too far in money; 0: none"),
            number("capital_quote", "quote", ["0", "0", "1000000000"], "what it began with; 0: what it quotes with"),
            wait("30"),
            keep("0"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: None,
    };

    type Memory = BTreeMap<(BotId, Venue), Peak>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        if let Some(bot) = begins_anew(hearing) {
            memory.retain(|(of, _), _| *of != bot);
        }
        for Valued { bot, venue, made, of_before } in valued(hearing) {
            let labels = Labels::of(bot, &venue);
            let told = hearing.parameter(&labels, "capital_quote");
            let quotes_with = || hearing.world.bots.get(&bot)?.capital();
            let Some(capital) = Some(told).filter(Decimal::is_positive).or_else(quotes_with) else { continue };
            let (worth, day, seq) = (plus(capital, made), hearing.at.midnight(), hearing.event.seq);
            let begin = Peak { day, highest: worth, seq, last: worth };
            let peak = memory.entry((bot, venue.clone())).or_insert(begin.clone());
            if of_before {
                // What another day brought or took was there all of this one.
                peak.highest = plus(peak.highest, minus(worth, peak.last));
            }
            peak.last = worth;
            if peak.day != day || worth >= peak.highest {
                *peak = begin;
            }
            say(&labels, peak, worth, hearing);
        }
    }
}

fn say(labels: &Labels, peak: &Peak, worth: Decimal, hearing: &mut Hearing<'_>) {
    let money = minus(peak.highest, worth);
    let Some(fall) = percent(money, peak.highest) else { return };
    let [far, critical, clear, limit] =
        ["fall", "critical_fall", "clear_fall", "limit_quote"].map(|name| hearing.parameter(labels, name));
    let of_highest = above(fall, far, Some(critical), clear);
    let now = match (limit.is_positive() && money > limit, of_highest) {
        (true, Condition::Clear | Condition::Between) => Condition::Above(events::alert::Severity::Warning),
        (_, of_highest) => of_highest,
    };
    let (bot, pair) = (labels.bot.expect("it is about a bot"), labels.pair.clone().expect("in a market"));
    let quote = pair.quote().to_owned();
    let name = hearing.world.name(bot);
    let summary = format!("{name} is {} {quote} below the best of its day in {pair}", money.rounded(2));
    let reading = Reading::new(now, summary)
        .with("fall", fall, Some(far), "%")
        .with("fall_quote", money, Some(limit).filter(Decimal::is_positive), &quote)
        .with("highest", peak.highest, None, &quote)
        .by([peak.seq]);
    hearing.say(labels.clone(), reading);
}
