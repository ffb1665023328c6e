//! A bot has fallen far below the best of its day.

use std::collections::BTreeMap;

use events::{BotId, Decimal, Time, alert::Labels, bot::Venue};
use serde::{Deserialize, Serialize};

use super::{Rule, above, keep, number, wait};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading},
    exact::{divided, minus, percent, plus, times},
    rules::daily_loss::{Valued, valued},
};

pub(crate) struct PnlDrawdown;

/// The best that a bot made on a day, since ever, in the quote asset. What it quotes with is no part of that: who gives it
/// more or less has neither won nor lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peak {
    day: Time,
    highest: Decimal,
    seq: u64,
    /// The last that was known.
    last: Decimal,
    /// What it had made when it was asked to run last.
    before: Decimal,
}

impl Rule for PnlDrawdown {
    const KIND: Kind = Kind {
        name: "pnl_drawdown",
        version: 3,
        about: "what a bot is worth has fallen below its highest of the day by too much of it",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
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
        if let Some(bot) = hearing.asked_to_run() {
            // What it makes from now on is held against its best from now on.
            let seq = hearing.event.seq;
            memory.iter_mut().filter(|((of, _), _)| *of == bot).for_each(|(_, peak)| {
                (peak.highest, peak.before, peak.seq) = (peak.last, peak.last, seq);
            });
        }
        for Valued { bot, venue, made, of_before, is_traded } in valued(hearing) {
            let (day, seq) = (hearing.at.midnight(), hearing.event.seq);
            let before = if of_before || !is_traded { made } else { Decimal::ZERO };
            let begin = Peak { day, highest: made, seq, last: made, before };
            let peak = memory.entry((bot, venue.clone())).or_insert(begin);
            if of_before {
                // What another day or another run brought or took was there all of this one.
                let late = minus(made, peak.last);
                (peak.highest, peak.before) = (plus(peak.highest, late), plus(peak.before, late));
            }
            peak.last = made;
            if peak.day != day || made >= peak.highest {
                (peak.day, peak.highest, peak.seq) = (day, made, seq);
            }
            if hearing.world.trades(bot, &venue) {
                say(bot, &venue, peak, hearing);
            }
        }
    }
}

fn say(bot: BotId, venue: &Venue, peak: &Peak, hearing: &mut Hearing<'_>) {
    let labels = Labels::of(bot, venue);
    let [far, critical, clear, limit, capital] =
        ["fall", "critical_fall", "clear_fall", "limit_quote", "capital_quote"]
            .map(|name| hearing.parameter(&labels, name));
    let quotes_with = || hearing.world.bots.get(&bot)?.capital();
    let Some(capital) = Some(capital).filter(Decimal::is_positive).or_else(quotes_with) else { return };
    let (highest, money) = (plus(capital, minus(peak.highest, peak.before)), minus(peak.highest, peak.last));
    let Some(fall) = percent(money, highest) else { return };
    let of_money = above(money, limit, None, divided(times(limit, clear), far).unwrap_or(limit));
    let now = match (above(fall, far, Some(critical), clear), of_money) {
        (of_highest, _) if limit.is_zero() => of_highest,
        (Condition::Clear, of_money) | (Condition::Between, of_money @ Condition::Above(_)) => of_money,
        (of_highest, _) => of_highest,
    };
    let pair = &venue.pair;
    let quote = pair.quote().to_owned();
    let name = hearing.world.name(bot);
    let summary = format!("{name} is {} {quote} below the best of its day in {pair}", money.rounded(2));
    let reading = Reading::new(now, summary)
        .with("fall", fall, Some(far), "%")
        .with("fall_quote", money, Some(limit).filter(Decimal::is_positive), &quote)
        .with("highest", highest, None, &quote)
        .by([peak.seq]);
    hearing.say(labels, reading);
}
