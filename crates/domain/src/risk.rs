//! How far a bot has gone of what it may not pass: facts in, a measure of each limit out.

use events::{
    Decimal,
    bot::{BotKind, Limit, Limits},
};

/// Fills of a day before its balance of sides, or a market that nobody knows, tells anything.
const FILLS_MIN: u64 = 20;

/// What must be known of a bot in one market to hold its limits against it. Money is in the quote asset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the bot is for.
    pub kind: BotKind,
    /// Fills of the day.
    pub fills: u64,
    /// Traded on that day, in the base asset, by the bot and by everybody; absent: nobody knows.
    pub own_amount: Decimal,
    pub market_amount: Option<Decimal>,
    /// Traded on that day, in the quote asset.
    pub volume: Decimal,
    /// Fills, and what was bought and sold in them, since the day began or the bot was deployed.
    pub spell_fills: u64,
    pub bought: Decimal,
    pub sold: Decimal,
    /// Fills of one side, one after the other, up to the last one.
    pub run: u64,
    /// In the base asset, since the bot was deployed; below zero: short.
    pub position: Decimal,
    /// Cash and position at the mark now, when the day began, and at their highest since the bot was deployed; absent:
    /// there is a position that nobody can value.
    pub equity: Option<Decimal>,
    pub equity_at_day_begin: Option<Decimal>,
    pub equity_highest: Option<Decimal>,
}

/// How far one limit is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    pub limit: Limit,
    /// Never below zero.
    pub measured: Decimal,
    pub allowed: Decimal,
}

impl Measure {
    /// Whether eight tenths of the limit are used up.
    pub fn is_near(&self) -> bool {
        let (tenths, eight) = (self.measured.times(Decimal::from_int(10)), self.allowed.times(Decimal::from_int(8)));
        // What is too large to be multiplied is near enough where it is not below.
        tenths.and_then(|tenths| Ok(tenths >= eight?)).unwrap_or(self.measured >= self.allowed)
    }

    /// Whether the limit is passed: all of it may be used up.
    pub fn is_passed(&self) -> bool {
        self.measured > self.allowed
    }

    /// How much of the limit is used up: 1 is all of it. Absent where that is no number.
    pub fn share(&self) -> Option<Decimal> {
        self.measured.divided_by(self.allowed).ok()
    }
}

/// Measures each limit that is set and that the facts tell something of. What cannot be computed exactly is not measured.
pub fn measured(limits: &Limits, facts: &Facts) -> Vec<Measure> {
    let measure = |limit, allowed: Option<Decimal>, measured: Option<Decimal>| {
        let (allowed, measured) = allowed.zip(measured)?;
        Some(Measure { limit, measured: measured.max(Decimal::ZERO), allowed })
    };
    let whole = |fills: u64| i64::try_from(fills).ok().map(Decimal::from_int);
    [
        measure(
            Limit::ParticipationCap,
            limits.participation_cap,
            limits.participation_cap.and_then(|cap| participation(facts, cap)),
        ),
        measure(Limit::LossBudget, limits.loss_budget, fall(facts.equity_at_day_begin, facts.equity)),
        measure(Limit::PositionLimit, limits.position_limit, Some(facts.position.abs())),
        measure(Limit::DrawdownLimit, limits.drawdown_limit, fall(facts.equity_highest, facts.equity)),
        measure(Limit::DailyVolumeMax, limits.daily_volume_max, Some(facts.volume)),
        measure(Limit::SideImbalanceMax, limits.side_imbalance_max, imbalance(facts)),
        measure(Limit::SameSideMax, limits.same_side_max.and_then(|most| whole(most.into())), whole(facts.run)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Its own share of the market's volume.
///
/// A volume bot is allowed for its cap alone, so a market whose volume nobody knows does not excuse it: with the first
/// fills it counts as at the cap, which warns and stops nothing, because a day's first candle comes after the day's
/// first trades; from the twentieth on its own volume is all of the volume that is known, and its share is 1.
fn participation(facts: &Facts, cap: Decimal) -> Option<Decimal> {
    if let Some(market) = facts.market_amount.filter(Decimal::is_positive) {
        return facts.own_amount.divided_by(market).ok();
    }
    let unknown = match facts.fills {
        ..FILLS_MIN => cap,
        FILLS_MIN.. => Decimal::ONE.max(cap),
    };
    (facts.kind == BotKind::Volume && facts.own_amount.is_positive()).then_some(unknown)
}

fn fall(from: Option<Decimal>, to: Option<Decimal>) -> Option<Decimal> {
    from?.minus(to?).ok()
}

fn imbalance(facts: &Facts) -> Option<Decimal> {
    let more = facts.bought.minus(facts.sold).ok()?;
    let all = facts.bought.plus(facts.sold).ok()?;
    (facts.spell_fills >= FILLS_MIN).then(|| more.abs().divided_by(all).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn all() -> Limits {
        Limits {
            participation_cap: Some(d("0.1")),
            loss_budget: Some(d("100")),
            position_limit: Some(d("5")),
            drawdown_limit: Some(d("500")),
            daily_volume_max: Some(d("1000")),
            side_imbalance_max: Some(d("0.8")),
            same_side_max: Some(40),
        }
    }

    fn check(facts: Facts, limit: Limit, measured_as: Option<&str>) {
        let found = measured(&all(), &facts).into_iter().find(|measure| measure.limit == limit);
        assert_eq!(found.map(|measure| measure.measured), measured_as.map(d), "{limit:?}");
    }

    fn traded(own: &str, market: Option<&str>) -> Facts {
        Facts { own_amount: d(own), market_amount: market.map(d), ..Facts::default() }
    }

    #[test]
    fn each_limit_is_measured_by_its_own_rule() {
        check(traded("3", Some("60")), Limit::ParticipationCap, Some("0.05"));
        let equity = Facts {
            equity: Some(d("-30")),
            equity_at_day_begin: Some(d("12")),
            equity_highest: Some(d("40")),
            ..Facts::default()
        };
        check(equity.clone(), Limit::LossBudget, Some("42"));
        check(equity.clone(), Limit::DrawdownLimit, Some("70"));
        check(Facts { equity: Some(d("50")), ..equity }, Limit::LossBudget, Some("0"));
        check(Facts { position: d("-4.5"), ..Facts::default() }, Limit::PositionLimit, Some("4.5"));
        check(Facts { volume: d("700"), ..Facts::default() }, Limit::DailyVolumeMax, Some("700"));
        check(Facts { run: 12, ..Facts::default() }, Limit::SameSideMax, Some("12"));
        let sides = Facts { spell_fills: 20, bought: d("30"), sold: d("10"), ..Facts::default() };
        check(sides.clone(), Limit::SideImbalanceMax, Some("0.5"));
        check(Facts { spell_fills: 19, ..sides }, Limit::SideImbalanceMax, None);
    }

    #[test]
    fn what_nobody_knows_is_not_measured() {
        check(Facts::default(), Limit::LossBudget, None);
        check(Facts { equity: Some(d("1")), ..Facts::default() }, Limit::DrawdownLimit, None);
        check(traded("3", None), Limit::ParticipationCap, None);
        check(traded("3", Some("0")), Limit::ParticipationCap, None);
        check(Facts { spell_fills: 20, ..Facts::default() }, Limit::SideImbalanceMax, None);
    }

    #[test]
    fn a_volume_bot_in_an_unknown_market_is_at_its_cap_and_soon_past_it() {
        let volume = |fills, own: &str| Facts { kind: BotKind::Volume, fills, ..traded(own, None) };
        check(volume(0, "0"), Limit::ParticipationCap, None);
        check(volume(1, "0.5"), Limit::ParticipationCap, Some("0.1"));
        check(volume(19, "9"), Limit::ParticipationCap, Some("0.1"));
        check(volume(20, "10"), Limit::ParticipationCap, Some("1"));
        check(Facts { market_amount: Some(d("400")), ..volume(20, "10") }, Limit::ParticipationCap, Some("0.025"));
    }

    #[test]
    fn eight_tenths_are_near_and_all_of_it_is_not_passed() {
        let of = |measured: &str| Measure { limit: Limit::LossBudget, measured: d(measured), allowed: d("10") };
        assert!(!of("7.999999999999999999").is_near() && of("8").is_near());
        assert!(!of("10").is_passed() && of("10.000000000000000001").is_passed());
        assert_eq!(of("4").share(), Some(d("0.4")));
    }

    fn any_number() -> impl Strategy<Value = Decimal> {
        // Up to the edge of what can be held, and far behind the point.
        ("[1-9][0-9]{0,75}", 0..=76_u32, any::<bool>()).prop_filter_map("too precise", |(digits, scale, negative)| {
            let number: Decimal = format!("{digits}e-{scale}").parse().ok()?;
            Some(if negative { -number } else { number })
        })
    }

    fn any_facts() -> impl Strategy<Value = Facts> {
        let numbers = proptest::collection::vec(proptest::option::of(any_number()), 9);
        (any::<bool>(), any::<u64>(), any::<u64>(), any::<u64>(), numbers).prop_map(
            |(volume, fills, spell_fills, run, numbers)| {
                let sum = |n: usize| numbers[n].unwrap_or_default().abs();
                Facts {
                    kind: if volume { BotKind::Volume } else { BotKind::MarketMaking },
                    fills,
                    own_amount: sum(0),
                    market_amount: numbers[1],
                    volume: sum(2),
                    spell_fills,
                    bought: sum(3),
                    sold: sum(4),
                    run,
                    position: numbers[5].unwrap_or_default(),
                    equity: numbers[6],
                    equity_at_day_begin: numbers[7],
                    equity_highest: numbers[8],
                }
            },
        )
    }

    proptest! {
        #[test]
        fn whatever_the_facts_are_nothing_breaks_and_nothing_is_below_zero(facts in any_facts(), allowed in any_number()) {
            let limits = Limits { loss_budget: Some(allowed.abs()), position_limit: Some(allowed.abs()), ..all() };
            for measure in measured(&limits, &facts) {
                prop_assert!(!measure.measured.is_negative());
                prop_assert!(measure.is_near() || !measure.is_passed(), "{measure:?}");
                let _ = measure.share();
            }
            prop_assert_eq!(measured(&Limits::default(), &facts), vec![]);
        }

        #[test]
        fn what_is_mirrored_is_as_unbalanced(facts in any_facts()) {
            let mirrored = Facts { bought: facts.sold, sold: facts.bought, ..facts.clone() };
            prop_assert_eq!(imbalance(&facts), imbalance(&mirrored));
            // A share of all, give or take the last place.
            let most = Decimal::ONE.plus(Decimal::new(1, 35)).unwrap();
            prop_assert!(imbalance(&facts).is_none_or(|share| share <= most));
        }
    }
}
