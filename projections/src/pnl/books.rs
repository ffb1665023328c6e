//! All books of one client at one moment of event time: how a fact changes them, and what passing time does.

use std::{collections::BTreeMap, sync::Arc};

use chrono::NaiveDate;
use events::{Asset, Decimal, Pair, Price, Time, decimal::ArithmeticError, ledger::BookKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    book::Book,
    entry::{Entry, Place},
    tally::Day,
};
use crate::rates::{Known, Rates, sum_known};

const MINUTE_US: i64 = 60_000_000;

/// Finished days of books.
pub type Days = BTreeMap<(NaiveDate, BookKey), Day>;

/// A client's books after the entry at `reached`. Cheap to clone: what does not change is shared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    pub reached: Option<Place>,
    observed: Arc<Rates>,
    supplied: Arc<Rates>,
    #[serde(with = "as_list")]
    books: BTreeMap<BookKey, Arc<Book>>,
    /// Deposits less withdrawals, each valued in USDT when it happened; absent where one could not be.
    pub net_flows: Option<Flows>,
}

/// The sum of a client's flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// In USDT; absent once a flow had no rate.
    pub worth: Option<Decimal>,
}

impl Books {
    /// The rates that are known now.
    pub fn known(&self) -> Known<'_> {
        Known { observed: &self.observed, supplied: &self.supplied }
    }

    /// Every book, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&BookKey, &Arc<Book>)> {
        self.books.iter()
    }

    pub fn book(&self, key: &BookKey) -> Option<&Arc<Book>> {
        self.books.get(key)
    }

    /// Time passes until just before `at`: whole minutes are sampled, days end.
    pub fn pass(&mut self, at: Time, days: &mut Days) -> Result<(), ArithmeticError> {
        let Some(reached) = self.reached else { return Ok(()) };
        // Nothing changes between two entries, so one look at the first whole minute in between is as good as all.
        let minute = Time::EPOCH.plus_micros(reached.at.micros().div_euclid(MINUTE_US) * MINUTE_US);
        let minute = if minute < reached.at { minute.plus_micros(MINUTE_US) } else { minute };
        if minute < at {
            self.sample(minute)?;
        }
        let mut midnight = reached.at.next_midnight();
        while midnight <= at {
            self.end_day(midnight.plus_micros(-1), days)?;
            midnight = midnight.next_midnight();
        }
        // A book whose first fill came at that very minute is looked at one minute later.
        let next = minute.plus_micros(MINUTE_US);
        if minute == reached.at && next < at {
            self.sample(next)?;
        }
        Ok(())
    }

    /// Looks at every book's equity at a moment after its first fill, unless nothing has changed it.
    pub fn sample(&mut self, at: Time) -> Result<(), ArithmeticError> {
        for (key, book) in &mut self.books {
            if !book.calm && book.tally.opened.is_some_and(|opened| opened < at) {
                let mark = self.observed.of(&key.pair);
                Arc::make_mut(book).sample(mark)?;
            }
        }
        Ok(())
    }

    fn end_day(&mut self, last: Time, days: &mut Days) -> Result<(), ArithmeticError> {
        for (key, book) in &mut self.books {
            let mark = self.observed.of(&key.pair);
            if let Some(day) = Arc::make_mut(book).tally.end_day(last.day(), mark)? {
                days.insert((day.date, key.clone()), day);
            }
        }
        Ok(())
    }

    /// Takes an entry in. Time must have passed until its moment.
    pub fn take(&mut self, place: Place, entry: &Entry) -> Result<(), ArithmeticError> {
        let known = Known { observed: &self.observed, supplied: &self.supplied };
        match entry {
            Entry::Mark { pair, price } => self.mark(pair, *price),
            Entry::FeeRate { pair, price } => Arc::make_mut(&mut self.supplied).observe(pair.clone(), *price),
            Entry::Trade(trade) => open(&mut self.books, &trade.book, place.at).trade(trade, place.at, known)?,
            Entry::Opening { book, position, cost } => {
                open(&mut self.books, book, place.at).opening(*position, *cost, place.at)?
            }
            Entry::Funding { book, amount, asset } => {
                open(&mut self.books, book, place.at).fund(*amount, asset, &book.pair.quote_asset(), known)?
            }
            Entry::Flow { asset, amount } => {
                let worth = known.observed_worth(*amount, asset, &Asset::usdt())?;
                let before = self.net_flows.take().map_or(Some(Decimal::ZERO), |flows| flows.worth);
                self.net_flows = Some(Flows { worth: sum_known(before, worth)? });
            }
        }
        self.reached = Some(place);
        Ok(())
    }

    fn mark(&mut self, pair: &Pair, price: Price) {
        Arc::make_mut(&mut self.observed).observe(pair.clone(), price);
        for (_, book) in self.books.iter_mut().filter(|(key, book)| book.calm && key.pair == *pair) {
            Arc::make_mut(book).calm = false;
        }
    }
}

fn open<'a>(books: &'a mut BTreeMap<BookKey, Arc<Book>>, key: &BookKey, at: Time) -> &'a mut Book {
    if !books.contains_key(key) {
        books.insert(key.clone(), Arc::new(Book::new(at)));
    }
    Arc::make_mut(books.get_mut(key).expect("it is there or was opened"))
}

/// JSON has no objects with keys of this kind: a list of pairs, in order.
mod as_list {
    use super::{Arc, BTreeMap, Book, BookKey, Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(books: &BTreeMap<BookKey, Arc<Book>>, serializer: S) -> Result<S::Ok, S::Error> {
        books.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<BookKey, Arc<Book>>, D::Error> {
        Ok(Vec::<(BookKey, Arc<Book>)>::deserialize(deserializer)?.into_iter().collect())
    }
}
