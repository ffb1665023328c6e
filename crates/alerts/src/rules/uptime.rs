//! A bot's quotes were not there, or too wide, for too much of an hour or of a day.

use std::collections::BTreeMap;

use events::{BotId, Decimal, Event, Time, alert::Labels, bot::Venue, market::MarketEvent};
use serde::{Deserialize, Serialize};

use super::{Rule, Window, below, number};
use crate::{
    engine::{Ends, Hearing, Kind, Names, Of, Reading},
    exact::percent,
};

pub(crate) struct QuoteUptimeLow;

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;
/// So much of a window has to be known before its share tells anything.
const KNOWN_MIN_US: u64 = 1_800_000_000;

/// What is known of a bot in one market: minutes of the last hour, and hours of the last day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shares {
    minutes: Window<Share>,
    hours: BTreeMap<Time, Share>,
}

/// How long it quoted well, of how long anybody could tell, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Share {
    good: u64,
    known: u64,
}

impl Share {
    fn and(self, other: Self) -> Self {
        Self { good: self.good + other.good, known: self.known + other.known }
    }

    fn percent(self) -> Option<Decimal> {
        let number = |us: u64| Decimal::from_int(i64::try_from(us).unwrap_or(i64::MAX));
        if self.known < KNOWN_MIN_US { None } else { percent(number(self.good), number(self.known)) }
    }
}

impl Rule for QuoteUptimeLow {
    const KIND: Kind = Kind {
        name: "quote_uptime_low",
        version: 1,
        about: "the share of an hour, or of a day, in which a bot quoted both sides closely enough is too small",
        of: Of::Clients,
        names: Names::BOT_IN_MARKET,
        parameters: &[
            number("share", "%", ["0", "95", "100"], "a smaller share of an hour or a day is low"),
            number("critical_share", "%", ["0", "90", "100"], "a smaller share is critical").up_to("share"),
            number("clear_share", "%", ["0", "96", "100"], "above this share it is well").from("share"),
            number("spread_bps", "bps", ["1", "100", "1000"], "quotes that are further apart do not count"),
        ],
        ends: Ends::WhenClear,
        while_wanted: true,
        inhibited_by: None,
    };

    type Memory = BTreeMap<(BotId, Venue), Shares>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        let Event::Market(MarketEvent::QuoteMinute { bot, venue, unknown_us, band_us, at, .. }) = &hearing.event.event
        else {
            return;
        };
        let labels = Labels::of(*bot, venue);
        let most = hearing.parameter(&labels, "spread_bps");
        let close = band_us.iter().filter(|(bps, _)| Decimal::from_int(i64::from(**bps)) <= most).map(|(_, us)| us);
        let known = (MINUTE_US.unsigned_abs()).saturating_sub(*unknown_us);
        let share = Share { good: close.sum::<u64>().min(known), known };
        let shares = memory.entry((*bot, venue.clone())).or_default();
        shares.minutes.push(*at, share, HOUR_US - 1, 60);
        let hour = at.plus_micros(-at.micros().rem_euclid(HOUR_US));
        let sum = shares.hours.entry(hour).or_default();
        *sum = sum.and(share);
        shares.hours.retain(|hour, _| at.micros() - hour.micros() < DAY_US);
        let of_hour = shares.minutes.iter().fold(Share::default(), |sum, (_, share)| sum.and(*share)).percent();
        let of_day = shares.hours.values().fold(Share::default(), |sum, share| sum.and(*share)).percent();
        let Some(least) = [of_hour, of_day].into_iter().flatten().min() else { return };
        let [low, critical, clear] =
            ["share", "critical_share", "clear_share"].map(|name| hearing.parameter(&labels, name));
        let now = below(least, low, Some(critical), clear);
        let summary = format!(
            "{} quoted {} closely enough for {} % of the time",
            hearing.world.name(*bot),
            venue.pair,
            least.rounded(2)
        );
        let mut reading = Reading::new(now, summary).with("share", least, Some(low), "%");
        for (name, share) in [("share_of_the_hour", of_hour), ("share_of_the_day", of_day)] {
            if let Some(share) = share {
                reading = reading.with(name, share, None, "%");
            }
        }
        hearing.say(labels, reading);
    }
}
