//! What an exchange says that an account holds is not what the ledger says.

use std::collections::BTreeMap;

use events::{
    Asset, CredentialId, Decimal, Event, Exchange, Market, Pair, Time,
    account::AccountEvent,
    alert::{Labels, Severity},
    credential::CredentialEvent,
    ledger::{Fill, LedgerEvent, Side},
};
use serde::{Deserialize, Serialize};

use super::{Rule, Window, number};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Names, Of, Reading, World, worth},
    exact::{divided, minus, plus, times},
};

pub(crate) struct BalanceMismatch;

type Place = (Exchange, Market, Asset);

/// What happened so close to a look may be in it or not; so many moves are remembered.
const NEAR_US: i64 = 10_000_000;
const NEAR_MAX: usize = 1_000;
/// No exchange takes a larger part of a trade than one in so many.
const FEE_PART: i64 = 100;

/// What the ledger says of one asset since it was first seen, and how often the two differed one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// What was seen first, and when.
    first: Option<(Decimal, Time)>,
    moved: Decimal,
    /// What moved shortly before anything was seen.
    before: Window<Decimal>,
    /// What moved so close to the first look that it may be in it or not.
    near: Decimal,
    /// The most that fees can have been which nobody told.
    fees_most: Decimal,
    differed: u32,
    /// What was seen last, when, and what the ledger says of that moment.
    last: Option<(Decimal, Time, Decimal)>,
}

impl Rule for BalanceMismatch {
    const KIND: Kind = Kind {
        name: "balance_mismatch",
        version: 2,
        about: "what an exchange says of an asset differs from the ledger, twice in a row",
        of: Of::Clients,
        names: Names::ASSET,
        parameters: &[
            number("share", "%", ["0", "0.1", "100"], "a smaller part of what is held is no difference"),
            number("least_usdt", "USDT", ["0", "5", "1000000"], "a smaller worth is no difference"),
            number("times", "looks", ["1", "2", "100"], "how often in a row they have to differ"),
        ],
        ends: Ends::WhenClear,
        while_wanted: false,
        inhibited_by: None,
    };

    type Memory = BTreeMap<Place, Expected>;

    fn hear(memory: &mut Self::Memory, hearing: &mut Hearing<'_>) {
        if let Event::Ledger(told) = &hearing.event.event {
            count(memory, told);
            late(memory, hearing);
        } else if let Event::Credential(told) = &hearing.event.event {
            // Another key may be one of another account.
            if let CredentialEvent::CredentialActive { .. } = told {
                let (client, id) = (hearing.event.client, &hearing.event.aggregate.id);
                memory
                    .retain(|(exchange, market, _), _| CredentialId::of(client, *exchange, *market).to_string() != *id);
            }
        } else if let Event::Account(AccountEvent::BalanceObserved { exchange, market, asset, total, .. }) =
            &hearing.event.event
        {
            // What a perpetual gains and loses moves margin as no fill tells.
            if *market == Market::Spot {
                let place = (*exchange, *market, asset.clone());
                look(memory.entry(place.clone()).or_default(), &place, *total, hearing);
            }
        }
    }
}

fn look(expected: &mut Expected, place: &Place, total: Decimal, hearing: &mut Hearing<'_>) {
    let Some((first, _)) = expected.first else {
        expected.before.forget(hearing.at, NEAR_US);
        let near = expected.before.iter().fold(Decimal::ZERO, |near, (_, amount)| plus(near, amount.abs()));
        *expected = Expected { first: Some((total, hearing.at)), near, ..Expected::default() };
        return;
    };
    expected.last = Some((total, hearing.at, plus(first, expected.moved)));
    let Some((off, allowed)) = expected.off(place, hearing) else { return };
    expected.differed = if off > allowed { expected.differed.saturating_add(1) } else { 0 };
    let reading = expected.reading(place, hearing);
    reading.into_iter().for_each(|reading| hearing.say(labels(place), reading));
}

/// What is told late explains what was seen before: nobody looks again at a balance that stands still.
fn late(memory: &mut BTreeMap<Place, Expected>, hearing: &mut Hearing<'_>) {
    for (place, expected) in memory.iter_mut().filter(|(_, expected)| expected.differed > 0) {
        if expected.off(place, hearing).is_some_and(|(off, allowed)| off <= allowed) {
            expected.differed = 0;
            let reading = expected.reading(place, hearing);
            reading.into_iter().for_each(|reading| hearing.explain(labels(place), reading));
        }
    }
}

fn labels((exchange, market, asset): &Place) -> Labels {
    Labels { exchange: Some(*exchange), market: Some(*market), ..Labels::about(asset.as_str()) }
}

impl Expected {
    /// By how much what was seen last differs, and how much of that is no difference.
    fn off(&self, place: &Place, hearing: &Hearing<'_>) -> Option<(Decimal, Decimal)> {
        let (total, _, ours) = self.last?;
        let [share, least] = ["share", "least_usdt"].map(|name| hearing.parameter(&labels(place), name));
        let part = divided(times(total.abs(), share), Decimal::from_int(100)).unwrap_or_default();
        let least = part.max(in_asset(hearing.world, &place.2, least));
        Some((minus(total, ours).abs(), plus(plus(least, self.near), self.fees_most)))
    }

    fn reading(&self, place: &Place, hearing: &Hearing<'_>) -> Option<Reading> {
        let (exchange, _, asset) = place;
        let ((off, allowed), (total, _, ours)) = self.off(place, hearing).zip(self.last)?;
        let often = hearing.parameter(&labels(place), "times");
        let now = match (off > allowed, Decimal::from_int(self.differed.into()) >= often) {
            (false, _) => Condition::Clear,
            (true, true) => Condition::Above(Severity::Critical),
            (true, false) => Condition::Between,
        };
        let summary = format!("{exchange} says {} {asset}, and the ledger {}", total.normalised(), ours.normalised());
        let reading = Reading::new(now, summary)
            .with("difference", off, Some(allowed), asset.as_str())
            .with("said", total, None, asset.as_str())
            .with("expected", ours, None, asset.as_str());
        Some(reading)
    }
}

/// An amount of USDT in an asset; nothing, where nobody knows its worth.
fn in_asset(world: &World, asset: &Asset, usdt: Decimal) -> Decimal {
    if *asset == Asset::usdt() {
        return usdt;
    }
    let mark = world.marks.get(&Pair::of(asset, &Asset::usdt()));
    mark.and_then(|mark| divided(usdt, mark.0)).unwrap_or_default()
}

fn count(memory: &mut BTreeMap<Place, Expected>, told: &LedgerEvent) {
    match told {
        LedgerEvent::FillRecorded(fill) => book(memory, fill, Decimal::ONE),
        LedgerEvent::FillCorrected { was, fill, .. } => {
            book(memory, was, -Decimal::ONE);
            book(memory, fill, Decimal::ONE);
        }
        LedgerEvent::FillVoided { was, .. } => book(memory, was, -Decimal::ONE),
        LedgerEvent::TransferRecorded { exchange, asset, amount, at, .. } => {
            moved(memory, (*exchange, Market::Spot, asset.clone()), *at, *amount);
        }
        LedgerEvent::FillDisputed { .. }
        | LedgerEvent::OpeningPosition { .. }
        | LedgerEvent::FundingPaid { .. }
        | LedgerEvent::FeeRateSupplied { .. } => {}
    }
}

fn book(memory: &mut BTreeMap<Place, Expected>, fill: &Fill, by: Decimal) {
    let (base, quote) = match fill.side {
        Side::Buy => (fill.amount.0, -worth(fill.price, fill.amount)),
        Side::Sell => (-fill.amount.0, worth(fill.price, fill.amount)),
    };
    let place = |asset: Asset| (fill.exchange, fill.market, asset);
    moved(memory, place(fill.pair.base_asset()), fill.at, times(base, by));
    moved(memory, place(fill.pair.quote_asset()), fill.at, times(quote, by));
    for fee in fill.fees.iter().flatten() {
        moved(memory, place(fee.asset.clone()), fill.at, times(-fee.amount, by));
    }
    let most = |of: Decimal| divided(times(of.abs(), by), Decimal::from_int(FEE_PART)).unwrap_or_default();
    let untold = [(fill.pair.base_asset(), most(base)), (fill.pair.quote_asset(), most(quote))];
    for (asset, most) in untold.into_iter().filter(|_| fill.fees.is_none()) {
        let expected = memory.entry(place(asset)).or_default();
        if expected.first.is_some_and(|(_, first)| fill.at > first) {
            expected.fees_most = plus(expected.fees_most, most);
        }
    }
}

/// Only since an asset was seen can anything be held against it, whenever it is told.
fn moved(memory: &mut BTreeMap<Place, Expected>, place: Place, at: Time, amount: Decimal) {
    let expected = memory.entry(place).or_default();
    let Some((_, first)) = expected.first else { return expected.before.push(at, amount, NEAR_US, NEAR_MAX) };
    if at > first {
        expected.moved = plus(expected.moved, amount);
        let seen = expected.last.as_mut().filter(|(_, seen_at, _)| at <= *seen_at);
        seen.into_iter().for_each(|(_, _, ours)| *ours = plus(*ours, amount));
    }
    if (at.micros() - first.micros()).abs() <= NEAR_US {
        expected.near = plus(expected.near, amount.abs());
    }
}
