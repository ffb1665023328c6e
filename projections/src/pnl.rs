//! Profit and loss of every book, exact, by the rules R1 to R14 of `projections/README.md`, at any moment of event time.
//!
//! No second copy of the fills is kept: a late fact rewinds to the last closing before it, and the events since then are
//! read again from the stream. `pnl_blocks` tells in which part of the stream they can be.

mod book;
mod books;
pub(crate) mod entry;
mod grouped;
mod history;
mod lots;
mod offline;
mod report;
mod tables;
mod tally;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use events::{ClientId, Pair, Price, Recorded, Time, ledger::BookKey};
use sqlx::PgConnection;

pub use self::{
    book::Book,
    grouped::{By, Grouped, Line, Method, Of, grouped},
    offline::Recomputed,
    report::{Alternatives, ByLots, Group, Matched, Named, Names, QuoteTotals, Report, Totals},
    tables::{Missing, now_of_all, report, tallies},
    tally::{Day, Tally},
};
pub(crate) use self::{book::delta, tally::fee_in_quote};
use self::{
    entry::Change,
    history::{FoldError, History, TooFarBack},
};
use crate::projection::{ProjectError, Projection};

/// Events of one block of the stream.
const BLOCK: u64 = 256;

/// One client's P&L.
#[derive(Debug)]
pub struct Pnl {
    history: History,
    changes: Vec<Change>,
    blocks: BTreeMap<u64, (Time, Time)>,
    names: Vec<Named>,
    /// What the tables hold, to write only what differs.
    books: BTreeMap<BookKey, Arc<Book>>,
    marks: BTreeMap<Pair, Price>,
}

impl Projection for Pnl {
    const NAME: &'static str = "pnl";
    const FOLD: u32 = 1;
    const BATCH: u64 = 16_384;
    const TABLES: &'static str = include_str!("pnl/tables.sql");

    async fn open(db: &mut PgConnection, client: ClientId, reached: u64) -> Result<Self, ProjectError> {
        let history = tables::history(db, client, reached, Time::END..=Time::END, &[]).await?;
        let now = history.now();
        Ok(Self {
            books: now.iter().map(|(key, book)| (key.clone(), Arc::clone(book))).collect(),
            marks: now.known().observed.all().map(|(pair, price)| (pair.clone(), price)).collect(),
            history,
            changes: Vec::new(),
            blocks: BTreeMap::new(),
            names: Vec::new(),
        })
    }

    fn fold(&mut self, event: &Recorded) -> Result<(), ProjectError> {
        if let Some(change) = Change::of(event) {
            let at = change.place().at;
            let block = self.blocks.entry(event.seq / BLOCK).or_insert((at, at));
            *block = (block.0.min(at), block.1.max(at));
            self.changes.push(change);
        }
        self.names.extend(Named::by(event));
        Ok(())
    }

    async fn save(&mut self, db: &mut PgConnection, client: ClientId, reached: u64) -> Result<(), ProjectError> {
        let changes = std::mem::take(&mut self.changes);
        if let Err(TooFarBack { at }) = self.history.take(&changes)? {
            // The blocks of this batch are not in the table yet; its changes are at hand instead.
            self.history = tables::history(db, client, reached, at..=Time::END, &changes).await?;
        }
        self.save_rows(db, client, reached).await
    }
}

impl Pnl {
    async fn save_rows(&mut self, db: &mut PgConnection, client: ClientId, reached: u64) -> Result<(), ProjectError> {
        tables::save_names(db, client, &std::mem::take(&mut self.names)).await?;
        tables::save_blocks(db, client, &std::mem::take(&mut self.blocks)).await?;
        let now = self.history.now().clone();
        let changed: Vec<(&BookKey, &Book)> = now
            .iter()
            .filter(|(key, book)| self.books.get(key).is_none_or(|saved| !Arc::ptr_eq(saved, book)))
            .map(|(key, book)| (key, &**book))
            .collect();
        for (_, book) in &changed {
            book.tally.check().map_err(|cause| ProjectError::Unfoldable { seq: reached, reason: cause.to_string() })?;
        }
        let present: BTreeSet<&BookKey> = now.iter().map(|(key, _)| key).collect();
        let gone: Vec<&BookKey> = self.books.keys().filter(|key| !present.contains(key)).collect();
        tables::save_books(db, client, &changed, &gone).await?;
        let marks = now.known().observed.all().filter(|(pair, price)| self.marks.get(pair) != Some(price));
        let marks: Vec<(Pair, Price)> = marks.map(|(pair, price)| (pair.clone(), price)).collect();
        tables::save_marks(db, client, &marks).await?;
        tables::save_history(db, client, &now, self.history.unsaved()).await?;
        self.books = now.iter().map(|(key, book)| (key.clone(), Arc::clone(book))).collect();
        self.marks.extend(marks);
        self.history.saved();
        Ok(())
    }
}

impl From<FoldError> for ProjectError {
    fn from(fault: FoldError) -> Self {
        Self::Unfoldable { seq: fault.place.seq, reason: format!("{fault}: {}", fault.cause) }
    }
}
