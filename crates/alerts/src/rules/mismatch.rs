//! What an exchange says that an account holds is not what the ledger says.

use std::collections::BTreeMap;

use events::{
    Asset, Decimal, Event, Exchange, Market, Pair,
    account::AccountEvent,
    alert::{Labels, Severity},
    ledger::{Fill, LedgerEvent, Side},
};
use serde::{Deserialize, Serialize};

use super::{Rule, number};
use crate::{
    engine::{Condition, Ends, Hearing, Kind, Of, Reading, World, worth},
    exact::{divided, minus, plus, times},
};

pub(crate) struct BalanceMismatch;

type Place = (Exchange, Market, Asset);

/// What the ledger says of one asset since it was first seen, and how often the two differed one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expected {
    seen_first: Option<Decimal>,
    moved: Decimal,
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
    let Event::Account(AccountEvent::BalanceObserved { exchange, market, asset, .. }) = &hearing.event.event else { return };
    let Some(first) = expected.seen_first else {
        *expected = Expected { seen_first: Some(total), ..Expected::default() };
        return;
    };
    let ours = plus(first, expected.moved);
    let off = minus(total, ours).abs();
    let mut labels = Labels::about(asset.as_str());
    (labels.exchange, labels.market) = (Some(*exchange), Some(*market));
    let [share, least, often] = ["share", "least_usdt", "times"].map(|name| hearing.parameter(&labels, name));
    let part = divided(times(total.abs(), share), Decimal::from_int(100)).unwrap_or_default();
    let allowed = part.max(in_asset(hearing.world, asset, least));
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
        LedgerEvent::TransferRecorded { exchange, asset, amount, .. } => {
            moved(memory, (*exchange, Market::Spot, asset.clone()), *amount);
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
    moved(memory, place(fill.pair.base_asset()), times(base, by));
    moved(memory, place(fill.pair.quote_asset()), times(quote, by));
    for fee in fill.fees.iter().flatten() {
        moved(memory, place(fee.asset.clone()), times(-fee.amount, by));
    }
}

/// Only since an asset was seen can anything be held against it.
fn moved(memory: &mut BTreeMap<Place, Expected>, place: Place, amount: Decimal) {
    if let Some(expected) = memory.get_mut(&place) {
        expected.moved = plus(expected.moved, amount);
    }
}
