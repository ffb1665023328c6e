//! Folding facts that arrive in any order into books in canonical order.
//!
//! The recent past is kept in memory with the books as they stood every few entries, so a fact that comes a little late
//! costs a short refold. Further back stand the closings: the books as they were at each day's end, at each hour of the
//! newest day and at each ten minutes of the newest hour. Which closings there are depends on the entries alone, never on
//! how they were batched, so a rebuild ends in the same rows.

use std::collections::BTreeMap;

use events::{Time, decimal::ArithmeticError};

use super::{
    books::{Books, Days},
    entry::{Change, Entry, Place},
};

/// Entries kept in memory behind the newest, at least; few in our own tests, so that these reach further back.
const KEPT: usize = if cfg!(test) { 12 } else { 256 };
/// Entries between two remembered states.
const STRIDE: usize = if cfg!(test) { 3 } else { 128 };

const TEN_MINUTES_US: i64 = 600_000_000;
const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 86_400_000_000;

/// A change lies further back than memory reaches: start again from the closing before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFarBack {
    pub at: Time,
}

/// A figure has no exact form: the fold stops rather than round.
#[derive(Debug, thiserror::Error)]
#[error("the fact of {} numbered {} leads to a figure that cannot be kept exactly", place.at, place.seq)]
pub struct FoldError {
    pub place: Place,
    #[source]
    pub cause: ArithmeticError,
}

/// A client's books and their recent past.
#[derive(Debug, Clone)]
pub struct History {
    /// The books before the given place, oldest first.
    states: Vec<(Place, Books)>,
    /// Every entry that is not in the oldest state.
    entries: BTreeMap<Place, Entry>,
    now: Books,
    /// Entries folded since the newest state.
    since_state: usize,
    /// What the last save does not know yet.
    unsaved: Unsaved,
}

/// Rows to be written.
#[derive(Debug, Clone, Default)]
pub struct Unsaved {
    /// Closings by their moment.
    pub closings: BTreeMap<Time, Books>,
    pub days: Days,
    /// Closings after this moment, and days from its day on, are void in what was saved before.
    pub void_after: Option<Time>,
}

impl History {
    /// Goes on from a closing, or from nothing. What was saved after it is void.
    pub fn from_closing(closing: Option<(Time, Books)>) -> Self {
        let (at, books) = closing.unwrap_or((Time::BEGINNING, Books::default()));
        let mut unsaved = Unsaved::default();
        unsaved.void_after(&books);
        let states = vec![(Place::before(at), books.clone())];
        Self { states, entries: BTreeMap::new(), now: books, since_state: 0, unsaved }
    }

    /// The books after the newest entry.
    pub fn now(&self) -> &Books {
        &self.now
    }

    /// Takes changes in, wherever they belong. Where that is too far back, nothing here counts any more.
    pub fn take(&mut self, changes: &[Change]) -> Result<Result<(), TooFarBack>, FoldError> {
        let Some(first) = changes.iter().map(Change::place).min() else { return Ok(Ok(())) };
        if first < self.states[0].0 {
            return Ok(Err(TooFarBack { at: first.at }));
        }
        let newest = self.newest();
        let from = self.rewind(first);
        for change in changes {
            match change {
                Change::Put(place, entry) => self.entries.insert(*place, entry.clone()),
                Change::Remove(place) => self.entries.remove(place),
            };
        }
        self.fold(from)?;
        if self.newest() < newest {
            // The newest facts were voided: closings of what is the newest day again were let go of.
            let midnight = self.newest().map_or(Time::BEGINNING, Time::midnight);
            return Ok(Err(TooFarBack { at: midnight.min(first.at) }));
        }
        self.forget();
        Ok(Ok(()))
    }

    fn newest(&self) -> Option<Time> {
        self.now.reached.map(|place| place.at)
    }

    /// Back to a remembered state before `place`, if anything was folded after it. Tells where to fold from.
    fn rewind(&mut self, place: Place) -> Place {
        if self.now.reached.is_none_or(|reached| reached < place) {
            return place;
        }
        let kept = self.states.partition_point(|(before, _)| *before <= place);
        self.states.truncate(kept);
        let (from, books) = self.states.last().expect("the oldest state is before the place");
        self.now = books.clone();
        self.since_state = 0;
        self.unsaved.void_after(books);
        *from
    }

    fn fold(&mut self, from: Place) -> Result<(), FoldError> {
        let Some(newest) = self.entries.keys().next_back().map(|place| place.at) else { return Ok(()) };
        let ahead = self.entries.range(from..).count();
        for ((place, entry), ahead) in self.entries.range(from..).zip((0..ahead).rev()) {
            // Further back than what is kept no state is ever asked for.
            if self.since_state >= STRIDE && ahead < KEPT + STRIDE {
                self.states.push((*place, self.now.clone()));
                self.since_state = 0;
            }
            self.since_state += 1;
            for boundary in boundaries(self.now.reached, *place).filter(|boundary| is_kept(*boundary, newest)) {
                self.unsaved.closings.insert(boundary, self.now.clone());
            }
            let failed = |cause| FoldError { place: *place, cause };
            self.now.pass(place.at, &mut self.unsaved.days).map_err(failed)?;
            self.now.take(*place, entry).map_err(failed)?;
        }
        Ok(())
    }

    /// Lets go of what is too old, and of closings that the newest time has made superfluous.
    fn forget(&mut self) {
        let newest = self.newest();
        self.unsaved.closings.retain(|at, _| newest.is_some_and(|newest| is_kept(*at, newest)));
        if self.entries.len() < 2 * KEPT {
            return;
        }
        let cut = *self.entries.keys().nth(self.entries.len() - KEPT).expect("there are more than that");
        let oldest = self.states.partition_point(|(before, _)| *before <= cut).saturating_sub(1);
        self.states.drain(..oldest);
        let oldest = self.states[0].0;
        self.entries = self.entries.split_off(&oldest);
    }

    /// What the last save does not know yet.
    pub fn unsaved(&self) -> &Unsaved {
        &self.unsaved
    }

    /// Everything was saved.
    pub fn saved(&mut self) {
        self.unsaved = Unsaved::default();
    }
}

/// The last moment of each kind of closing between two entries.
fn boundaries(reached: Option<Place>, next: Place) -> impl Iterator<Item = Time> {
    let reached = reached.map(|place| place.at);
    let last = move |length: i64| Time::EPOCH.plus_micros(next.at.micros().div_euclid(length) * length);
    [TEN_MINUTES_US, HOUR_US, DAY_US]
        .into_iter()
        .map(last)
        .filter(move |boundary| reached.is_some_and(|reached| reached < *boundary))
}

impl Unsaved {
    /// Everything after these books is folded anew. That there is a closing between their last entry and the next one
    /// depends on the next one, so it is void, too.
    fn void_after(&mut self, books: &Books) {
        let moment = books.reached.map_or(Time::BEGINNING, |place| place.at);
        self.void_after = Some(self.void_after.map_or(moment, |before| before.min(moment)));
        self.closings.retain(|at, _| *at <= moment);
        self.days.retain(|(date, _), _| *date < moment.day());
    }
}

/// Whether a closing is still worth keeping when the newest entry is at `newest`.
pub fn is_kept(closing: Time, newest: Time) -> bool {
    let within = |length: i64| closing.micros().div_euclid(length) == newest.micros().div_euclid(length);
    let on = |length: i64| closing.micros().rem_euclid(length) == 0;
    on(DAY_US) || (on(HOUR_US) && within(DAY_US)) || (on(TEN_MINUTES_US) && within(HOUR_US))
}

#[cfg(test)]
mod tests {
    use events::Price;
    use proptest::prelude::*;

    use super::*;

    /// Marks of one pair at odd moments within some hours, some of them taken back.
    fn changes() -> impl Strategy<Value = Vec<(i64, Option<u32>)>> {
        proptest::collection::vec((0..60_i64, proptest::option::weighted(0.6, 1..9_u32)), 1..150)
    }

    fn change((slot, price): (i64, Option<u32>)) -> Change {
        let at = Time::from_millis(1_723_140_000_000 + slot * 487_000).unwrap();
        let place = Place::before(at);
        match price {
            Some(price) => {
                let (pair, price) = ("SOL-USDT".parse().unwrap(), Price(events::Decimal::from_int(i64::from(price))));
                Change::Put(place, Entry::Mark { pair, price })
            }
            None => Change::Remove(place),
        }
    }

    /// What the tables hold after each batch was taken and saved.
    fn in_batches(changes: &[Change], size: usize) -> Vec<(Books, BTreeMap<Time, Books>)> {
        let (mut history, mut saved) = (History::from_closing(None), BTreeMap::new());
        let (mut all, mut held) = (Vec::new(), Vec::new());
        for batch in changes.chunks(size) {
            all.extend(batch.iter().cloned());
            if let Err(TooFarBack { at }) = history.take(batch).unwrap() {
                history = from_saved(&saved, &all, at);
            }
            let unsaved = history.unsaved();
            saved.retain(|at, _| unsaved.void_after.is_none_or(|moment| *at <= moment));
            saved.extend(unsaved.closings.clone());
            let newest = history.now().reached.map(|place| place.at);
            saved.retain(|at, _| newest.is_some_and(|newest| is_kept(*at, newest)));
            history.saved();
            held.push((history.now().clone(), saved.clone()));
        }
        held
    }

    /// Begins again at the last saved closing, with the facts since then.
    fn from_saved(saved: &BTreeMap<Time, Books>, all: &[Change], at: Time) -> History {
        let closing = saved.range(..=at).next_back().map(|(at, books)| (*at, books.clone()));
        let from = closing.as_ref().map_or(Time::BEGINNING, |(at, _)| *at);
        let since: Vec<Change> = all.iter().filter(|change| change.place().at >= from).cloned().collect();
        let mut history = History::from_closing(closing);
        history.take(&since).unwrap().expect("nothing lies before the closing");
        history
    }

    proptest! {
        #[test]
        fn however_facts_are_batched_the_books_and_the_closings_are_the_same(told in changes(), size in 1..12_usize) {
            let changes: Vec<Change> = told.into_iter().map(change).collect();
            for (held, batches) in in_batches(&changes, size).into_iter().zip(1..) {
                let told = &changes[..changes.len().min(batches * size)];
                prop_assert_eq!(Some(held), in_batches(told, told.len()).pop());
            }
        }
    }
}
