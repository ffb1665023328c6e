//! The facts of a client's last two days one by one, and the counters before them.
//!
//! Exchanges tell late and correct themselves: a fill that comes late or is corrected counts where it happened, so what
//! follows it is counted again, runs of one side and highest equity included, as if it had always been so. Two days of
//! event time are kept for that. What is told of a time before them still moves position, cash and every equity after it;
//! but a run stays as it was, and the moment that was the highest stays that moment, told by its right figures: to find
//! another would take every fact since the deployment.
//!
//! Nothing here depends on how facts were batched, so a rebuild ends in the same counters.

use std::{collections::BTreeMap, sync::Arc};

use events::{
    Amount, BotId, Event, Price, Recorded, Time,
    bot::{BotEvent, Venue},
    decimal::ArithmeticError,
    ledger::{BookKey, Fill, LedgerEvent},
    market::MarketEvent,
};
use serde::{Deserialize, Serialize};

use super::counters::Counters;
use crate::{
    pnl::entry::{Change, Entry, Place, Trade},
    rates::{Known, Rates},
};

const DAY_US: i64 = 86_400_000_000;
/// Facts between two remembered states.
const STRIDE: usize = if cfg!(test) { 3 } else { 256 };

/// A client's counters, and what can still be counted otherwise.
#[derive(Debug, Default)]
pub struct Past {
    kept: Kept,
    facts: BTreeMap<Place, Fact>,
    /// The counters before the given place, oldest first.
    states: Vec<(Place, State)>,
    now: State,
    reached: Option<Place>,
    /// Facts counted since the newest state.
    since_state: usize,
    /// From here on `now` is not what the facts say.
    changed_from: Option<Place>,
}

/// What is saved of it; the facts themselves stand in the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The counters before the first fact that is remembered singly.
    before: State,
    /// Begin of the days that are remembered.
    since: Option<Time>,
    newest: Option<Time>,
    /// The first event of the stream that any of them comes from.
    pub from_seq: Option<u64>,
}

/// A client's books at one moment of event time. Cheap to clone: what does not change is shared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Begin of the day that it is in.
    pub day: Option<Time>,
    observed: Arc<Rates>,
    supplied: Arc<Rates>,
    #[serde(with = "as_list")]
    books: BTreeMap<BookKey, Arc<Counters>>,
    #[serde(with = "as_list")]
    volumes: BTreeMap<Venue, Arc<Volume>>,
    /// When each bot was asked for last.
    deployed: BTreeMap<BotId, Time>,
}

/// Everybody's trading on a venue, as far as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub day: Time,
    pub amount: Amount,
    pub at: Time,
}

#[derive(Debug, Clone)]
enum Fact {
    Money(Entry),
    Volume { venue: Venue, day: Time, amount: Amount },
    Deploy(BotId),
}

enum Told {
    Put(Place, Fact),
    Remove(Place),
}

impl Told {
    fn of(event: &Recorded) -> Option<Self> {
        let fact = |at: Time, fact| Some(Self::Put(Place::fact(at, event.seq), fact));
        match &event.event {
            Event::Market(MarketEvent::VolumeObserved { venue, day, amount, at }) => {
                fact(*at, Fact::Volume { venue: venue.clone(), day: *day, amount: *amount })
            }
            Event::Bot(BotEvent::BotDeployRequested { at }) => {
                event.aggregate.id.parse().ok().and_then(|bot| fact(*at, Fact::Deploy(bot)))
            }
            Event::Ledger(LedgerEvent::TransferRecorded { .. }) => None,
            Event::Ledger(_)
            | Event::Market(_)
            | Event::Bot(_)
            | Event::Client(_)
            | Event::Order(_)
            | Event::Desk(_)
            | Event::Credential(_)
            | Event::Subscription(_)
            | Event::Alert(_)
            | Event::Rule(_)
            | Event::Agreement(_)
            | Event::Channel(_)
            | Event::Schedule(_)
            | Event::Silence(_)
            | Event::Agent(_)
            | Event::Manual(_)
            | Event::Account(_) => Change::of(event).map(|change| match change {
                Change::Put(place, entry) => Self::Put(place, Fact::Money(entry)),
                Change::Remove(place) => Self::Remove(place),
            }),
        }
    }

    fn place(&self) -> Place {
        match self {
            Self::Put(place, _) | Self::Remove(place) => *place,
        }
    }
}

impl Past {
    /// Goes on from what was saved, with the events since [`Kept::from_seq`] that had been folded by then.
    pub fn restored(kept: Kept, events: &[Recorded]) -> Result<Self, ArithmeticError> {
        let mut past = Self { now: kept.before.clone(), kept, ..Self::default() };
        for told in events.iter().filter_map(Told::of) {
            if past.kept.since.is_none_or(|since| told.place().at >= since) {
                past.put(told);
            }
        }
        past.settle()?;
        Ok(past)
    }

    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Takes an event in, wherever it belongs.
    pub fn take(&mut self, event: &Recorded) -> Result<(), ArithmeticError> {
        let Some(told) = Told::of(event) else { return Ok(()) };
        let place = told.place();
        if self.kept.since.is_some_and(|since| place.at < since) {
            self.kept.before.hear_long_ago(event)?;
            self.restart();
            return Ok(());
        }
        if let Told::Put(..) = told {
            self.kept.from_seq = Some(self.kept.from_seq.map_or(place.seq, |seq| seq.min(place.seq)));
        }
        self.put(told);
        match self.kept.newest.is_none_or(|newest| place.at > newest) {
            true => self.advance(place.at),
            false => Ok(()),
        }
    }

    fn put(&mut self, told: Told) {
        let place = told.place();
        self.changed_from = Some(self.changed_from.map_or(place, |from| from.min(place)));
        match told {
            Told::Put(place, fact) => drop(self.facts.insert(place, fact)),
            Told::Remove(place) => drop(self.facts.remove(&place)),
        }
    }

    /// Nothing that was counted from the facts holds any more.
    fn restart(&mut self) {
        self.states.clear();
        self.now = self.kept.before.clone();
        self.reached = None;
        self.since_state = 0;
        self.changed_from = Some(Place::before(Time::BEGINNING));
    }

    /// Time has come so far: what lies more than a day before today is remembered as a whole.
    fn advance(&mut self, newest: Time) -> Result<(), ArithmeticError> {
        self.kept.newest = Some(newest);
        let since = newest.midnight().plus_micros(-DAY_US);
        if self.kept.since.is_some_and(|before| before >= since) {
            return Ok(());
        }
        self.kept.since = Some(since);
        let rest = self.facts.split_off(&Place::before(since));
        for (place, fact) in std::mem::replace(&mut self.facts, rest) {
            self.kept.before.take(place, &fact)?;
        }
        self.kept.from_seq = self.facts.keys().map(|place| place.seq).min();
        self.states.retain(|(before, _)| before.at >= since);
        // Changes that now lie in what is remembered as a whole are in no state that is left.
        if self.changed_from.is_some_and(|from| from.at < since) {
            self.restart();
        }
        Ok(())
    }

    /// Counts again what has to be.
    pub fn settle(&mut self) -> Result<&State, ArithmeticError> {
        if let Some(changed) = self.changed_from.take() {
            let from = self.rewind(changed);
            for (place, fact) in self.facts.range(from..) {
                if self.since_state >= STRIDE {
                    self.states.push((*place, self.now.clone()));
                    self.since_state = 0;
                }
                self.since_state += 1;
                self.now.take(*place, fact)?;
            }
            self.reached = self.facts.keys().next_back().copied();
        }
        Ok(&self.now)
    }

    /// Back to a remembered state before `place`, if anything was counted after it. Tells from where to count.
    fn rewind(&mut self, place: Place) -> Place {
        if self.reached.is_none_or(|reached| reached < place) {
            return place;
        }
        self.since_state = 0;
        self.states.truncate(self.states.partition_point(|(before, _)| *before <= place));
        match self.states.last() {
            Some((before, state)) => {
                self.now = state.clone();
                *before
            }
            None => {
                self.now = self.kept.before.clone();
                Place::before(Time::BEGINNING)
            }
        }
    }
}

impl State {
    /// Every book.
    pub fn books(&self) -> impl Iterator<Item = (&BookKey, &Counters)> {
        self.books.iter().map(|(key, book)| (key, &**book))
    }

    /// The pair's own price, as far as it was observed.
    pub fn mark(&self, book: &BookKey) -> Option<Price> {
        self.observed.of(&book.pair)
    }

    /// Everybody's trading of this day where the book is.
    pub fn volume(&self, book: &BookKey) -> Option<&Volume> {
        let venue = Venue { exchange: book.exchange, market: book.market, pair: book.pair.clone() };
        self.volumes.get(&venue).map(|volume| &**volume).filter(|volume| Some(volume.day) == self.day)
    }

    fn take(&mut self, place: Place, fact: &Fact) -> Result<(), ArithmeticError> {
        self.pass(place.at);
        match fact {
            Fact::Money(entry) => self.money(entry, place.at),
            Fact::Volume { venue, day, amount } => {
                let volume = Volume { day: *day, amount: *amount, at: place.at };
                self.volumes.insert(venue.clone(), Arc::new(volume));
                Ok(())
            }
            Fact::Deploy(bot) => self.deploy(*bot, place.at),
        }
    }

    /// Time passes: another day may begin.
    fn pass(&mut self, at: Time) {
        let day = at.midnight();
        if self.day.is_some_and(|before| before >= day) {
            return;
        }
        self.day = Some(day);
        self.books.values_mut().for_each(|book| Arc::make_mut(book).begin_day());
    }

    fn deploy(&mut self, bot: BotId, at: Time) -> Result<(), ArithmeticError> {
        self.deployed.insert(bot, at);
        let mut its = self.books.iter_mut().filter(|(key, _)| key.bot == bot);
        its.try_for_each(|(_, book)| Arc::make_mut(book).deploy(at))
    }

    fn money(&mut self, entry: &Entry, at: Time) -> Result<(), ArithmeticError> {
        let (observed, supplied) = (Arc::clone(&self.observed), Arc::clone(&self.supplied));
        let known = Known { observed: &observed, supplied: &supplied };
        match entry {
            Entry::Trade(trade) => self.open(&trade.book).trade(trade, at, known),
            Entry::Opening { book, position, cost } => self.open(book).opening(*position, *cost, at),
            Entry::Funding { book, amount, asset } => {
                self.open(book).fund(*amount, asset, &book.pair.quote_asset(), at, known)
            }
            Entry::Mark { pair, price } => {
                drop(observed);
                Arc::make_mut(&mut self.observed).observe(pair.clone(), *price);
                let mut its = self.books.iter_mut().filter(|(key, _)| key.pair == *pair);
                its.try_for_each(|(_, book)| Arc::make_mut(book).observe(*price, at))
            }
            Entry::FeeRate { pair, price } => {
                drop(supplied);
                Arc::make_mut(&mut self.supplied).observe(pair.clone(), *price);
                Ok(())
            }
            // Money that is put in or taken out is no gain or loss (R12).
            Entry::Flow { .. } => Ok(()),
        }
    }

    fn open(&mut self, key: &BookKey) -> &mut Counters {
        if !self.books.contains_key(key) {
            let deployed = self.deployed.get(&key.bot).copied();
            let book = Counters::new(self.mark(key), deployed);
            self.books.insert(key.clone(), Arc::new(book));
        }
        Arc::make_mut(self.books.get_mut(key).expect("it is there or was opened"))
    }

    /// An event of a time before all facts that are remembered singly. What any other rate was then is forgotten: a fee
    /// that needs one is unknown, never valued by a later one.
    fn hear_long_ago(&mut self, event: &Recorded) -> Result<(), ArithmeticError> {
        let (nothing, at) = (Rates::default(), event.event.at());
        let known = Known { observed: &nothing, supplied: &nothing };
        match &event.event {
            Event::Ledger(LedgerEvent::FillRecorded(fill)) => {
                self.open(&fill.book()).trade_long_ago(&Trade::of(fill), at, known)
            }
            Event::Ledger(LedgerEvent::FillCorrected { was, fill, .. }) => self.mend(was, Some(fill), known),
            Event::Ledger(LedgerEvent::FillVoided { was, .. }) => self.mend(was, None, known),
            Event::Ledger(LedgerEvent::OpeningPosition { book, position, cost, .. }) => {
                self.open(book).book_long_ago(*position, Some(-*cost), at)
            }
            Event::Ledger(LedgerEvent::FundingPaid { book, amount, asset, .. }) => {
                let cash = known.worth(*amount, asset, &book.pair.quote_asset())?;
                self.open(book).book_long_ago(events::Decimal::ZERO, cash, at)
            }
            Event::Bot(BotEvent::BotDeployRequested { at }) => {
                event.aggregate.id.parse().map_or(Ok(()), |bot| self.deploy(bot, *at))
            }
            Event::Ledger(
                LedgerEvent::FillDisputed { .. }
                | LedgerEvent::TransferRecorded { .. }
                | LedgerEvent::FeeRateSupplied { .. },
            )
            | Event::Bot(_)
            | Event::Market(_)
            | Event::Client(_)
            | Event::Order(_)
            | Event::Desk(_)
            | Event::Credential(_)
            | Event::Subscription(_)
            | Event::Alert(_)
            | Event::Rule(_)
            | Event::Agreement(_)
            | Event::Channel(_)
            | Event::Schedule(_)
            | Event::Silence(_)
            | Event::Agent(_)
            | Event::Manual(_)
            | Event::Account(_) => Ok(()),
        }
    }

    fn mend(&mut self, was: &Fill, right: Option<&Fill>, known: Known<'_>) -> Result<(), ArithmeticError> {
        let right = right.map(Trade::of);
        self.open(&was.book()).correct_long_ago(&Trade::of(was), right.as_ref(), was.at, known)
    }
}

/// JSON has no objects with keys of this kind: a list of pairs, in order.
mod as_list {
    use std::{collections::BTreeMap, sync::Arc};

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, Arc<V>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub fn deserialize<'de, K: DeserializeOwned + Ord, V: DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, Arc<V>>, D::Error> {
        Ok(Vec::<(K, Arc<V>)>::deserialize(deserializer)?.into_iter().collect())
    }
}
