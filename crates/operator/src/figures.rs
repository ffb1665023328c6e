//! What bots say of their own success, thinned: their arithmetic, kept beside ours to be compared with it.
//!
//! A bot tells its figures every second. Recorded are those that changed, at most once in five minutes, and the last ones of
//! an instance: 288 events a bot and day, and one more for each instance and for each time another process takes over.

use std::collections::{BTreeMap, HashMap};

use domain::bot::Sight;
use events::{BotId, Decimal, Time, bot::Figures, decimal::ArithmeticError};
use hummingbot::Performance;

const APART_US: i64 = 300_000_000;

/// The newest figures of every bot of a client.
#[derive(Debug, Default)]
pub struct OwnFigures {
    of: HashMap<BotId, Known>,
}

/// What one instance said.
#[derive(Debug, Default)]
struct Known {
    instance: String,
    told: Figures,
    recorded: Option<(Figures, Time)>,
}

impl OwnFigures {
    /// A bot's instance told its figures; what is worth recording of it. `hear` is for `Said::Performance`.
    pub fn hear(
        &mut self,
        bot: BotId,
        instance: &str,
        told: &BTreeMap<String, Performance>,
        at: Time,
    ) -> Option<Sight> {
        let figures = figures(told).ok()?;
        let known = self.known(bot, instance);
        let (fills, fills_until) = (known.told.fills, known.told.fills_until);
        known.told = Figures { fills, fills_until, ..figures };
        known.record(at, APART_US)
    }

    /// How many fills its instance remembers up to a moment, as the comparison of its history found. They are recorded with its
    /// next figures.
    pub fn fills(&mut self, bot: BotId, instance: &str, fills: u64, until: Time) {
        let told = &mut self.known(bot, instance).told;
        (told.fills, told.fills_until) = (Some(fills), Some(until));
    }

    /// Its instance is at its end: its last figures, unless they are recorded.
    pub fn end(&mut self, bot: BotId, at: Time) -> Option<Sight> {
        self.of.remove(&bot)?.record(at, 0)
    }

    /// A new instance begins from nothing.
    fn known(&mut self, bot: BotId, instance: &str) -> &mut Known {
        let known = self.of.entry(bot).or_default();
        if known.instance != instance {
            *known = Known { instance: instance.to_owned(), ..Known::default() };
        }
        known
    }
}

impl Known {
    fn record(&mut self, at: Time, apart_us: i64) -> Option<Sight> {
        let is_new = match &self.recorded {
            None => self.told != Figures::default(),
            Some((told, then)) => *told != self.told && at.micros() - then.micros() >= apart_us,
        };
        is_new.then(|| {
            self.recorded = Some((self.told.clone(), at));
            let (instance, figures) = (self.instance.clone(), self.told.clone());
            Sight::Figures { instance, figures, source: "mqtt".to_owned() }
        })
    }
}

/// The sums over a bot's controllers; a figure that one of them lacks is unknown.
fn figures(told: &BTreeMap<String, Performance>) -> Result<Figures, ArithmeticError> {
    let sum = |of: fn(&Performance) -> Option<Decimal>| all(told.values().map(of));
    let held = || told.values().flat_map(|performance| &performance.positions);
    let volume = sum(|performance| performance.volume_traded)?;
    let held_volume = all(held().map(|position| position.volume_traded))?;
    let is_told = !told.is_empty();
    let held_fees = all(held().map(|position| position.fees))?.filter(|_| is_told);
    Ok(Figures {
        volume_quote: volume.filter(|_| is_told),
        realized_pnl_quote: sum(|performance| performance.realized_pnl)?.filter(|_| is_told),
        unrealized_pnl_quote: sum(|performance| performance.unrealized_pnl)?.filter(|_| is_told),
        // It tells the fees of the positions that it holds, and of nothing else.
        fees_quote: held_fees.filter(|_| volume == held_volume),
        held_fees_quote: held_fees,
        ..Figures::default()
    })
}

fn all(mut figures: impl Iterator<Item = Option<Decimal>>) -> Result<Option<Decimal>, ArithmeticError> {
    figures.try_fold(Some(Decimal::ZERO), |sum, figure| sum.zip(figure).map(|(sum, one)| sum.plus(one)).transpose())
}

#[cfg(test)]
mod tests {
    use events::Uuid;

    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_millis(1_739_923_140_000 + seconds * 1_000).unwrap()
    }

    fn bot() -> BotId {
        BotId(Uuid::from_u128(1))
    }

    /// What a controller tells: its volume and its P&L, and of the positions that it holds volume and fees.
    fn told(volume: &str, realized: &str, held: &[(&str, &str)]) -> BTreeMap<String, Performance> {
        let positions: Vec<String> = held
            .iter()
            .map(|(volume, fees)| {
                format!(
                    r#"{{"connector_name":"okx","trading_pair":"BTC-USDT","volume_traded_quote":{volume},"side":"TradeType.BUY",
                        "amount":1.5,"breakeven_price":10.5,"unrealized_pnl_quote":0.25,"realized_pnl_quote":0.0,
                        "cum_fees_quote":{fees}}}"#
                )
            })
            .collect();
        let performance = format!(
            r#"{{"realized_pnl_quote":{realized},"unrealized_pnl_quote":-0.125,"volume_traded":{volume},
                "positions_summary":[{}],"close_type_counts":{{}}}}"#,
            positions.join(",")
        );
        [("c1".to_owned(), serde_json::from_str(&performance).unwrap())].into()
    }

    /// What is recorded of figures told at these seconds; each its realised P&L.
    fn check(given: &[(i64, &str)], then: &[(i64, &str)]) {
        let mut figures = OwnFigures::default();
        let mut recorded = Vec::new();
        for (second, realized) in given {
            if let Some(Sight::Figures { figures, .. }) =
                figures.hear(bot(), "b-1", &told("10", realized, &[]), at(*second))
            {
                recorded.push((*second, figures.realized_pnl_quote.unwrap().to_string()));
            }
        }
        let recorded: Vec<_> = recorded.iter().map(|(second, realized)| (*second, realized.as_str())).collect();
        assert_eq!(recorded, then);
    }

    #[test]
    fn figures_are_recorded_when_they_changed_and_at_most_once_in_five_minutes() {
        check(&[(0, "1"), (1, "2"), (299, "3"), (300, "4"), (301, "5")], &[(0, "1"), (300, "4")]);
        check(&[(0, "1"), (300, "1"), (900, "1")], &[(0, "1")]);
    }

    #[test]
    fn the_last_figures_of_an_instance_are_recorded_at_its_end_and_the_next_one_begins_from_nothing() {
        let mut figures = OwnFigures::default();
        assert!(figures.hear(bot(), "b-1", &told("10", "1", &[]), at(0)).is_some());
        assert!(figures.hear(bot(), "b-1", &told("20", "2", &[]), at(5)).is_none());
        figures.fills(bot(), "b-1", 7, at(4));
        let Some(Sight::Figures { instance, figures: last, .. }) = figures.end(bot(), at(6)) else { panic!() };
        assert_eq!((instance.as_str(), last.fills, last.volume_quote), ("b-1", Some(7), Some("20".parse().unwrap())));
        assert!(figures.end(bot(), at(7)).is_none());
        let next = figures.hear(bot(), "b-2", &told("0", "0", &[]), at(8));
        assert!(matches!(next, Some(Sight::Figures { figures: Figures { fills: None, .. }, .. })), "{next:?}");
    }

    #[test]
    fn fees_are_known_only_where_the_positions_are_all_of_the_volume() {
        let of = |volume, held| figures(&told(volume, "0", held)).unwrap();
        let d = |text: &str| Some(text.parse().unwrap());
        let some = of("22239.5", &[("999.5", "0.9995")]);
        assert_eq!((some.fees_quote, some.held_fees_quote), (None, d("0.9995")));
        let all = of("999.5", &[("999.5", "0.9995")]);
        assert_eq!((all.fees_quote, all.held_fees_quote), (d("0.9995"), d("0.9995")));
        assert_eq!(figures(&BTreeMap::new()).unwrap(), Figures::default());
    }
}
