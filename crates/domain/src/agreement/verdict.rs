//! What a day's figures come to by what was promised. Time that nobody could tell counts as time without orders: what is not
//! seen is not proved. Only what was declared to be left out is.

use std::collections::BTreeMap;

use events::{
    Decimal,
    agreement::{Clause, Outcome, Verdict},
};

use super::DAY_US;

/// Figures are told to so many places, half to even.
const PLACES: u32 = 12;

/// What a day's figures are, in the time that counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// How much of the day counts, in microseconds, and how much was left out.
    pub counted_us: i64,
    pub excluded_us: i64,
    pub two_sided_us: i64,
    /// Both sides' times together.
    pub sides_us: i64,
    /// Two-sided time within so many bps, for each band that was met.
    pub within_us: BTreeMap<u32, i64>,
    /// Time with at least so much of the quote asset on each side within so many bps of the middle, for each that was met.
    pub sized_us: BTreeMap<(u32, Decimal), i64>,
    /// In bps x microseconds, over the two-sided time.
    pub spread_bps_us: Decimal,
    /// The bot's own, to buy and to sell, by distance in bps: in the quote asset x microseconds.
    pub depth_quote_us: BTreeMap<u32, [Decimal; 2]>,
    /// Of the whole day, in the quote asset; absent: there was more than one.
    pub net_volume: Option<Decimal>,
    /// Amount filled, and everybody's; absent: nobody told, or it was of more than one asset.
    pub share: Option<[Decimal; 2]>,
}

/// What a day's figures come to by one promise.
pub fn verdict(clause: &Clause, figures: &Figures) -> Verdict {
    let time = Decimal::from_int(figures.counted_us);
    let us = |us: i64| Decimal::from_int(us);
    let (numerator, denominator, kept): (_, _, Kept) = match clause {
        Clause::TwoSided { least, within_bps, size_quote } => {
            let met = match (within_bps, size_quote) {
                (None, _) => figures.two_sided_us,
                (Some(bps), None) => within(&figures.within_us, *bps),
                (Some(bps), Some(size)) => sized(&figures.sized_us, *bps, *size),
            };
            (us(met), time, Kept::AtLeast(*least))
        }
        Clause::Sides { least } => (us(figures.sides_us), us(figures.counted_us * 2), Kept::AtLeast(*least)),
        // Without orders on both sides there is no spread, and none was promised that is.
        Clause::Spread { most_bps } => {
            (figures.spread_bps_us, us(figures.two_sided_us), Kept::AtMostAndThere(*most_bps))
        }
        Clause::Depth { within_bps, least_quote } => {
            let [bid, ask] = figures.depth_quote_us.get(within_bps).copied().unwrap_or_default();
            (bid.min(ask), time, Kept::AtLeast(*least_quote))
        }
        Clause::Volume { least_quote, most_quote } => {
            let [volume, days] = figures.net_volume.map_or([Decimal::ZERO; 2], |volume| [volume, Decimal::ONE]);
            (volume, days, Kept::Between(least_quote.and_then(|least| of_day(least, figures.counted_us)), *most_quote))
        }
        Clause::VolumeShare { least, most } => {
            let [own, all] = figures.share.unwrap_or_default();
            (own, all, Kept::Between(*least, *most))
        }
    };
    let measured = (!denominator.is_zero()).then(|| numerator.divided_by(denominator).ok()).flatten();
    let measured = measured.map(|measured| measured.rounded(PLACES).normalised());
    let outcome = if figures.counted_us <= 0 { Outcome::Excused } else { kept.by(measured) };
    let (numerator, denominator) = (numerator.normalised(), denominator.normalised());
    Verdict { clause: clause.clone(), outcome, measured, numerator, denominator }
}

/// What has to be so.
enum Kept {
    AtLeast(Decimal),
    AtMostAndThere(Decimal),
    Between(Option<Decimal>, Option<Decimal>),
}

impl Kept {
    fn by(&self, measured: Option<Decimal>) -> Outcome {
        let of = |kept: bool| if kept { Outcome::Met } else { Outcome::Missed };
        match (self, measured) {
            (Self::AtLeast(least), Some(measured)) => of(measured >= *least),
            (Self::AtMostAndThere(most), Some(measured)) => of(measured <= *most),
            (Self::AtMostAndThere(_), None) => Outcome::Missed,
            (Self::Between(least, most), Some(measured)) => {
                of(least.is_none_or(|least| measured >= least) && most.is_none_or(|most| measured <= most))
            }
            (Self::AtLeast(_) | Self::Between(..), None) => Outcome::Unknown,
        }
    }
}

/// Time within the widest band that fits.
fn within(bands: &BTreeMap<u32, i64>, bps: u32) -> i64 {
    bands.range(..=bps).next_back().map_or(0, |(_, us)| *us)
}

/// Time with at least such a size.
fn sized(sizes: &BTreeMap<(u32, Decimal), i64>, bps: u32, size: Decimal) -> i64 {
    let larger = sizes.range((bps, size)..).take_while(|((of, _), _)| *of == bps);
    larger.map(|(_, us)| *us).next().unwrap_or_default()
}

/// As large a part of a floor as the part of the day that counts.
fn of_day(least: Decimal, counted_us: i64) -> Option<Decimal> {
    let part = least.mul_div(Decimal::from_int(counted_us), Decimal::from_int(DAY_US)).ok()?;
    Some(part.rounded(PLACES).normalised())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    /// 18 h of bids, 23 h of asks, 18 h of both, of which 12 h within 50 bps and 6 h within 100.
    pub fn figures() -> Figures {
        Figures {
            counted_us: 24 * HOUR_US,
            two_sided_us: 18 * HOUR_US,
            sides_us: 41 * HOUR_US,
            within_us: [(50, 12 * HOUR_US), (100, 18 * HOUR_US)].into(),
            spread_bps_us: Decimal::from_int(18 * HOUR_US).times(d("45")).unwrap(),
            depth_quote_us: [(
                100,
                [d("5000"), d("4000")].map(|quote| quote.times(Decimal::from_int(24 * HOUR_US)).unwrap()),
            )]
            .into(),
            sized_us: [((100, d("5000")), 6 * HOUR_US), ((100, d("1000")), 12 * HOUR_US)].into(),
            net_volume: Some(d("120000")),
            share: Some([d("30"), d("1000")]),
            ..Figures::default()
        }
    }

    fn check(clause: Clause, figures: &Figures, then: (Outcome, Option<&str>)) {
        let verdict = verdict(&clause, figures);
        assert_eq!((verdict.outcome, verdict.measured), (then.0, then.1.map(d)), "{clause:?}");
    }

    #[test]
    fn a_day_is_held_against_what_was_promised() {
        let of = figures();
        let two_sided = |least: &str, within_bps| Clause::TwoSided { least: d(least), within_bps, size_quote: None };
        let sized = |size: &str| Clause::TwoSided { least: d("0.5"), within_bps: Some(100), size_quote: Some(d(size)) };
        check(sized("1000"), &of, (Outcome::Met, Some("0.5")));
        check(sized("2000"), &of, (Outcome::Missed, Some("0.25")));
        check(sized("10000"), &of, (Outcome::Missed, Some("0")));
        check(two_sided("0.75", None), &of, (Outcome::Met, Some("0.75")));
        check(two_sided("0.7500001", None), &of, (Outcome::Missed, Some("0.75")));
        check(two_sided("0.5", Some(50)), &of, (Outcome::Met, Some("0.5")));
        check(two_sided("0.6", Some(99)), &of, (Outcome::Missed, Some("0.5")));
        check(Clause::Sides { least: d("0.85") }, &of, (Outcome::Met, Some("0.854166666667")));
        check(Clause::Spread { most_bps: d("45") }, &of, (Outcome::Met, Some("45")));
        check(Clause::Depth { within_bps: 100, least_quote: d("4000.01") }, &of, (Outcome::Missed, Some("4000")));
        check(Clause::Depth { within_bps: 50, least_quote: d("1") }, &of, (Outcome::Missed, Some("0")));
        let volume = |least: Option<&str>, most: Option<&str>| Clause::Volume {
            least_quote: least.map(d),
            most_quote: most.map(d),
        };
        check(volume(Some("100000"), Some("150000")), &of, (Outcome::Met, Some("120000")));
        check(volume(None, Some("119999")), &of, (Outcome::Missed, Some("120000")));
        check(Clause::VolumeShare { least: Some(d("0.03")), most: None }, &of, (Outcome::Met, Some("0.03")));
        // Of a day of which half is left out, half of the floor is promised, and all of the ceiling.
        let half = Figures { counted_us: 12 * HOUR_US, excluded_us: 12 * HOUR_US, ..figures() };
        check(volume(Some("240000"), Some("240000")), &half, (Outcome::Met, Some("120000")));
        check(volume(Some("240002"), None), &half, (Outcome::Missed, Some("120000")));
        check(volume(Some("1"), None), &Figures { net_volume: None, ..figures() }, (Outcome::Unknown, None));
        let untold = Figures { share: None, ..figures() };
        check(Clause::VolumeShare { least: Some(d("0.03")), most: None }, &untold, (Outcome::Unknown, None));
        let excused = Figures { counted_us: 0, excluded_us: DAY_US, ..Figures::default() };
        check(two_sided("0.9", None), &excused, (Outcome::Excused, None));
        check(
            Clause::Spread { most_bps: d("45") },
            &Figures { counted_us: 1, ..Figures::default() },
            (Outcome::Missed, None),
        );
    }
}
