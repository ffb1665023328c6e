//! From events to entries in canonical order: event time first, rates before what they price, then the stream's order.

use std::sync::Arc;

use events::{
    Amount, Asset, Decimal, Event, Pair, Price, Recorded, Time,
    ledger::{BookKey, Fee, Fill, LedgerEvent, Liquidity, Side},
    market::MarketEvent,
};
use serde::{Deserialize, Serialize};

/// Where an entry stands in canonical order (R2). A corrected fill keeps the place of the one that it corrects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub at: Time,
    rank: Rank,
    pub seq: u64,
}

/// At one moment rates come first: a fill is priced by what was known at its time, that time included. Then what a book
/// held before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Rank {
    Rate,
    Opening,
    Fact,
}

/// What P&L is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Shared, because the recent past is kept and folded again.
    Trade(Arc<Trade>),
    Opening {
        book: Box<BookKey>,
        position: Decimal,
        cost: Decimal,
    },
    Funding {
        book: Box<BookKey>,
        amount: Decimal,
        asset: Asset,
    },
    Flow {
        asset: Asset,
        amount: Decimal,
    },
    Mark {
        pair: Pair,
        price: Price,
    },
    FeeRate {
        pair: Pair,
        price: Price,
    },
}

/// What P&L counts of a fill: who told it and by which ids is left behind, because thousands are in memory at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade {
    pub book: BookKey,
    pub side: Side,
    pub price: Price,
    pub amount: Amount,
    /// Absent when nobody knows them.
    pub fees: Option<Vec<Fee>>,
    pub liquidity: Liquidity,
    pub mid_at_fill: Option<Price>,
}

/// What an event does to the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Put(Place, Entry),
    Remove(Place),
}

impl Place {
    /// Before everything that happened at this moment or later.
    pub fn before(at: Time) -> Self {
        Self { at, rank: Rank::Rate, seq: 0 }
    }

    fn rate(at: Time, seq: u64) -> Self {
        Self { at, rank: Rank::Rate, seq }
    }

    /// Among what happened at this moment, in the stream's order.
    pub fn fact(at: Time, seq: u64) -> Self {
        Self { at, rank: Rank::Fact, seq }
    }
}

impl Entry {
    fn trade(fill: &Fill) -> Self {
        Self::Trade(Arc::new(Trade::of(fill)))
    }
}

impl Trade {
    /// What counts of this fill.
    pub fn of(fill: &Fill) -> Self {
        let Fill { side, price, amount, ref fees, liquidity, mid_at_fill, .. } = *fill;
        Self { book: fill.book(), side, price, amount, fees: fees.clone(), liquidity, mid_at_fill }
    }
}

impl Change {
    /// What this event changes, if P&L is concerned at all.
    pub fn of(event: &Recorded) -> Option<Self> {
        match &event.event {
            Event::Ledger(fact) => ledger(fact, event.seq),
            Event::Market(MarketEvent::MarkObserved { pair, price, at, .. }) => {
                Some(Self::Put(Place::rate(*at, event.seq), Entry::Mark { pair: pair.clone(), price: *price }))
            }
            Event::Market(
                MarketEvent::QuoteObserved { .. }
                | MarketEvent::QuoteMinute { .. }
                | MarketEvent::QuotesUnknown { .. }
                | MarketEvent::DepthObserved { .. }
                | MarketEvent::DepthMinute { .. }
                | MarketEvent::VolumeObserved { .. },
            )
            | Event::Client(_)
            | Event::Bot(_)
            | Event::Order(_)
            | Event::Subscription(_)
            | Event::Alert(_)
            | Event::Rule(_)
            | Event::Agreement(_)
            | Event::Channel(_)
            | Event::Schedule(_)
            | Event::Silence(_)
            | Event::Agent(_)
            | Event::Manual(_)
            | Event::Desk(_)
            | Event::Account(_)
            | Event::Credential(_) => None,
        }
    }

    /// The place that it changes.
    pub fn place(&self) -> Place {
        match self {
            Self::Put(place, _) | Self::Remove(place) => *place,
        }
    }
}

fn ledger(fact: &LedgerEvent, seq: u64) -> Option<Change> {
    let here = |at: Time, entry| Some(Change::Put(Place::fact(at, seq), entry));
    match fact {
        LedgerEvent::FillRecorded(fill) => here(fill.at, Entry::trade(fill)),
        LedgerEvent::FillCorrected { corrects, was, fill, .. } => {
            Some(Change::Put(Place::fact(was.at, *corrects), Entry::trade(fill)))
        }
        LedgerEvent::FillVoided { voids, was, .. } => Some(Change::Remove(Place::fact(was.at, *voids))),
        LedgerEvent::FillDisputed { .. } => None,
        LedgerEvent::OpeningPosition { book, position, cost, at } => {
            let place = Place { at: *at, rank: Rank::Opening, seq };
            Some(Change::Put(place, Entry::Opening { book: Box::new(book.clone()), position: *position, cost: *cost }))
        }
        LedgerEvent::FundingPaid { book, amount, asset, at, .. } => {
            here(*at, Entry::Funding { book: Box::new(book.clone()), amount: *amount, asset: asset.clone() })
        }
        LedgerEvent::TransferRecorded { asset, amount, at, .. } => {
            here(*at, Entry::Flow { asset: asset.clone(), amount: *amount })
        }
        LedgerEvent::FeeRateSupplied { pair, price, at, .. } => {
            Some(Change::Put(Place::rate(*at, seq), Entry::FeeRate { pair: pair.clone(), price: *price }))
        }
    }
}
