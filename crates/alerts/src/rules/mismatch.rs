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
    engine::{Condition, Ends, Hearing, Kind, Of, Reading, World, worth},
    exact::{divided, minus, plus, times},
};

pub(crate) struct BalanceMismatch;

type Place = (Exchange, Market, Asset);

/// What happened so close to a look may be in it or not; so many moves are remembered.
const NEAR_US: i64 = 10_000_000;
const NEAR_MAX: usize = 1_000;

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
    /// Fills whose fees nobody knows.
    unknown_fees: i64,
    differed: u32,
}

impl Rule for BalanceMismatch {
    const KIND: Kind = Kind {
        name: "balance_mismatch",
        version: 1,
        about: "what an exchange says of an asset differs from the ledger, twice in a row",
        of: Of::Clients,
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
                look(memory.entry((*exchange, *market, asset.clone())).or_default(), *total, hearing);
            }
        }
    }
}

fn look(expected: &mut Expected, total: Decimal, hearing: &mut Hearing<'_>) {
    let Event::Account(AccountEvent::BalanceObserved { exchange, market, asset, .. }) = &hearing.event.event else {
        return;
    };
    let Some((first, _)) = expected.first else {
        expected.before.forget(hearing.at, NEAR_US);
        let near = expected.before.iter().fold(Decimal::ZERO, |near, (_, amount)| plus(near, amount.abs()));
        *expected = Expected { first: Some((total, hearing.at)), near, ..Expected::default() };
        return;
    };
    let ours = plus(first, expected.moved);
    let off = minus(total, ours).abs();
    let mut labels = Labels::about(asset.as_str());
    (labels.exchange, labels.market) = (Some(*exchange), Some(*market));
    let [share, least, often] = ["share", "least_usdt", "times"].map(|name| hearing.parameter(&labels, name));
    let part = divided(times(total.abs(), share), Decimal::from_int(100)).unwrap_or_default();
    let allowed = plus(part.max(in_asset(hearing.world, asset, least)), expected.near);
    if expected.unknown_fees > 0 {
        return hearing.say(labels, Reading::unknown());
    }
    expected.differed = if off > allowed { expected.differed.saturating_add(1) } else { 0 };
    let now = match (off > allowed, Decimal::from_int(expected.differed.into()) >= often) {
        (false, _) => Condition::Clear,
        (true, true) => Condition::Above(Severity::Critical),
        (true, false) => Condition::Between,
    };
    let summary = format!("{exchange} says {} {asset}, and the ledger {}", total.normalised(), ours.normalised());
    let reading = Reading::new(now, summary)
        .with("difference", off, Some(allowed), asset.as_str())
        .with("said", total, None, asset.as_str())
        .with("expected", ours, None, asset.as_str());
    hearing.say(labels, reading);
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
    if fill.fees.is_none() {
        let of_pair = [fill.pair.base_asset(), fill.pair.quote_asset()].map(place);
        let of_pair = memory.iter_mut().filter(|(at, _)| of_pair.contains(at));
        let since = of_pair.filter(|(_, expected)| expected.first.is_some_and(|(_, first)| fill.at > first));
        since.for_each(|(_, expected)| expected.unknown_fees += if by.is_positive() { 1 } else { -1 });
    }
}

/// Only since an asset was seen can anything be held against it, whenever it is told.
fn moved(memory: &mut BTreeMap<Place, Expected>, place: Place, at: Time, amount: Decimal) {
    let expected = memory.entry(place).or_default();
    let Some((_, first)) = expected.first else { return expected.before.push(at, amount, NEAR_US, NEAR_MAX) };
    if at > first {
        expected.moved = plus(expected.moved, amount);
    }
    if (at.micros() - first.micros()).abs() <= NEAR_US {
        expected.near = plus(expected.near, amount.abs());
    }
}
