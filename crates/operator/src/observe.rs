//! Order books and balances, looked at again and again and recorded when they say something new.
//!
//! A server lists what an account holds. What it held and is not listed any more is gone, and that is news like any other; it
//! counts once two looks in a row agree, because a server that has just begun may not have asked the exchange for everything, and
//! only after ten where nothing at all is listed: that is how it answers, too, when it could not ask the exchange.
//!
//! The server's own prices can freeze without a sign, so units come from it and worth comes from order books.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::{
    AggregateRef, Amount, Asset, Decimal, Exchange, Market, Pair, Price, Time, account::AccountEvent, bot::Venue,
    market::MarketEvent,
};
use hummingbot::{ConnectorName, OrderBook};
use projections::{reconciliation, versions};
use store::{Append, Draft, Expected, read};
use tracing::warn;

use crate::mandate::{HandError, Mandate};

/// A mark is recorded when it moved by one part in this many, and once a minute otherwise if it moved at all.
const MARK_MOVES: i64 = 1_000;
const MINUTE_US: i64 = 60_000_000;
/// Looks in a row that have to miss what an account held, and all that it held.
const LOOKS: u32 = 2;
const EMPTY_LOOKS: u32 = 10;
/// Levels of each side of a book that are looked at: a wide book is not seen to its end.
pub(crate) const LEVELS: usize = 500;

/// What was recorded last, so that only news is recorded. A new process records everything once more.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    marks: HashMap<Pair, (Price, Time)>,
    balances: HashMap<Place, Balance>,
    /// What accounts hold as far as anybody knows; and whether it was asked what earlier processes saw.
    held: BTreeSet<Place>,
    asked: bool,
    /// How many looks in a row missed each.
    missed: BTreeMap<Place, u32>,
}

type Place = (Exchange, Market, Asset);

/// A balance as it was recorded last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Balance {
    total: Decimal,
    available: Decimal,
    at: Time,
    /// It was recorded twice: whoever holds it against something wants to be sure.
    sure: bool,
}

/// What one look brought.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// Each as it was when its answer came.
    pub books: Vec<(Venue, OrderBook, Time)>,
    balances: Vec<(Place, Decimal, Decimal, Time)>,
    /// Accounts of which everything was told that they hold.
    accounts: Vec<(Exchange, Market, Time)>,
    volumes: Vec<(Venue, Time, Amount)>,
}

/// Looks at the order book of each venue; if asked for all, also at the balances on each of their exchanges, and at the
/// day's volume where a share of it is limited. What cannot be seen says nothing.
pub(crate) async fn look(mandate: &Mandate, venues: &[Venue], shared: &[Venue], all: bool) -> Looks {
    let mut looks = Looks::default();
    for venue in venues {
        let connector = ConnectorName::of(venue.exchange, venue.market);
        match mandate.means.hummingbot.order_book(&connector, &venue.pair, LEVELS).await {
            Ok(book) => looks.books.push((venue.clone(), book, Time::now())),
            Err(fault) => warn!(error = %fault, "no order book of {} now", venue.pair),
        }
    }
    let mut places: Vec<(Exchange, Market)> = venues.iter().map(|venue| (venue.exchange, venue.market)).collect();
    places.sort();
    places.dedup();
    for (exchange, market) in places.into_iter().filter(|_| all) {
        looks.balances_of(mandate, exchange, market).await;
    }
    for venue in shared.iter().filter(|_| all) {
        looks.volume_of(mandate, venue).await;
    }
    looks
}

impl Looks {
    async fn balances_of(&mut self, mandate: &Mandate, exchange: Exchange, market: Market) {
        let connector = ConnectorName::of(exchange, market);
        match mandate.means.hummingbot.portfolio_state(&mandate.account(), &connector, true).await {
            Ok(Some(told)) => {
                let at = Time::now();
                let held = told.held.into_iter().map(|of| ((exchange, market, of.asset), of.total, of.available, at));
                self.balances.extend(held);
                self.accounts.push((exchange, market, at));
            }
            Ok(None) => warn!("the server knows of no account on {connector} now"),
            Err(fault) => warn!(error = %fault, "no balances of {connector} now"),
        }
    }
}

impl Looks {
    /// The volume of the day that has begun, by its hours.
    async fn volume_of(&mut self, mandate: &Mandate, venue: &Venue) {
        let connector = ConnectorName::of(venue.exchange, venue.market);
        let day = Time::now().midnight();
        match mandate.means.hummingbot.candles(&connector, &venue.pair, "1h", 24).await {
            Ok(candles) => {
                let today = candles.iter().filter(|candle| candle.at >= day);
                let sum = today.map(|candle| candle.volume.0).try_fold(Decimal::ZERO, Decimal::plus);
                self.volumes.extend(sum.ok().map(|sum| (venue.clone(), day, Amount(sum))));
            }
            Err(fault) => warn!(error = %fault, "no volume of {} now", venue.pair),
        }
    }
}

/// The middle of best bid and best ask; none of a book with one side.
fn middle(book: &OrderBook) -> Option<Price> {
    let (bid, ask) = (book.bids.first()?.price.0, book.asks.first()?.price.0);
    bid.plus(ask).ok()?.divided_by(Decimal::from_int(2)).ok().map(Price)
}

impl Seen {
    /// Records what is new in a look.
    pub async fn record(&mut self, mandate: &Mandate, mut looks: Looks) -> Result<(), HandError> {
        let at = Time::now();
        self.miss(mandate, &mut looks).await;
        let mut appends = Vec::new();
        for (venue, book, at) in looks.books {
            let Some(price) = middle(&book) else { continue };
            if self.is_new_mark(&venue.pair, price, at) {
                let source = venue.exchange.to_string();
                let event = MarketEvent::MarkObserved { pair: venue.pair.clone(), price, source, at };
                appends.push(append(mandate, AggregateRef::new("market", &venue.pair), event.into()));
            }
        }
        for (place, total, available, at) in looks.balances {
            if self.is_new_balance(&place, total, available, at) {
                let (account, (exchange, market, asset)) = (mandate.account(), place);
                let event = AccountEvent::BalanceObserved { exchange, market, account, asset, total, available, at };
                let aggregate = AggregateRef::new("account", format!("{exchange}:{market}"));
                appends.push(append(mandate, aggregate, event.into()));
            }
        }
        for (venue, day, amount) in looks.volumes {
            let aggregate = AggregateRef::new("market", &venue.pair);
            appends.push(append(mandate, aggregate, MarketEvent::VolumeObserved { venue, day, amount, at }.into()));
        }
        for outcome in mandate.means.streams.committer().append_all(appends).await {
            outcome?;
        }
        Ok(())
    }

    /// Adds to a look what is held no more.
    async fn miss(&mut self, mandate: &Mandate, looks: &mut Looks) {
        if !looks.accounts.is_empty() && !self.asked {
            match held_before(mandate).await {
                Ok(held) => {
                    self.held.extend(held);
                    self.asked = true;
                }
                Err(cause) => warn!(error = %cause, "what accounts held before is not known yet"),
            }
        }
        let gone = self.gone(looks);
        looks.balances.extend(gone.into_iter().map(|(place, at)| (place, Decimal::ZERO, Decimal::ZERO, at)));
    }

    /// What was missed by enough looks in a row.
    fn gone(&mut self, looks: &Looks) -> Vec<(Place, Time)> {
        let listed: BTreeSet<&Place> = looks.balances.iter().map(|(place, ..)| place).collect();
        self.held.extend(listed.iter().map(|place| (*place).clone()));
        let mut gone = Vec::new();
        for place in &self.held {
            let is_of = |account: &&(Exchange, Market, Time)| (account.0, account.1) == (place.0, place.1);
            let Some((.., at)) = looks.accounts.iter().find(is_of) else { continue };
            if listed.contains(place) {
                self.missed.remove(place);
                continue;
            }
            let is_empty = !listed.iter().any(|other| (other.0, other.1) == (place.0, place.1));
            let missed = self.missed.entry(place.clone()).or_default();
            *missed += 1;
            if *missed >= if is_empty { EMPTY_LOOKS } else { LOOKS } {
                gone.push((place.clone(), *at));
            }
        }
        gone
    }

    fn is_new_mark(&mut self, pair: &Pair, price: Price, at: Time) -> bool {
        let is_new = self.marks.get(pair).is_none_or(|(last, since)| {
            let waited = at.micros() - since.micros() >= MINUTE_US;
            let moved = last.0.minus(price.0).map(Decimal::abs).and_then(|by| by.times(Decimal::from_int(MARK_MOVES)));
            *last != price && (waited || moved.is_ok_and(|moved| moved >= last.0))
        });
        if is_new {
            self.marks.insert(pair.clone(), (price, at));
        }
        is_new
    }

    fn is_new_balance(&mut self, of: &Place, total: Decimal, available: Decimal, at: Time) -> bool {
        let last = self.balances.get(of);
        let sure = last.is_some_and(|last| (last.total, last.available) == (total, available));
        let is_new = last.is_none_or(|last| at.micros() - last.at.micros() >= MINUTE_US && !(sure && last.sure));
        if is_new {
            self.balances.insert(of.clone(), Balance { total, available, at, sure });
        }
        is_new
    }
}

/// What accounts held when somebody looked last, as it is recorded.
async fn held_before(mandate: &Mandate) -> sqlx::Result<Vec<Place>> {
    let mut tx = mandate.means.query.begin().await?;
    read::for_client(&mut tx, mandate.client).await?;
    versions::use_live(&mut tx).await?;
    reconciliation::held(&mut tx, mandate.client).await
}

fn append(mandate: &Mandate, aggregate: AggregateRef, event: events::Event) -> Append {
    let events = vec![Draft { event, key: None }];
    Append { client: mandate.client, aggregate, expected: Expected::Any, events, cause: mandate.cause() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_is_told_when_it_changed_and_once_more_when_it_stayed_so() {
        let mut seen = Seen::default();
        let mut told = |second: i64, total: i64| {
            let of = (Exchange::Okx, Market::Spot, Asset::usdt());
            let total = Decimal::from_int(total);
            seen.is_new_balance(&of, total, total, Time::EPOCH.plus_micros(second * 1_000_000))
        };
        assert_eq!([told(0, 10), told(60, 10), told(120, 10), told(600, 10)], [true, true, false, false]);
        assert_eq!(
            [told(660, 7), told(670, 6), told(720, 6), told(780, 6), told(840, 6)],
            [true, false, true, true, false]
        );
    }

    #[test]
    fn what_an_account_held_is_gone_once_looks_in_a_row_miss_it() {
        let (place, at) = ((Exchange::Okx, Market::Spot, Asset::usdt()), Time::EPOCH);
        let other = (Exchange::Okx, Market::Spot, "SOL".parse().unwrap());
        let look = |market, held: &[&Place]| Looks {
            balances: held.iter().map(|place| ((*place).clone(), Decimal::ONE, Decimal::ONE, at)).collect(),
            accounts: vec![(Exchange::Okx, market, at)],
            ..Looks::default()
        };
        let both = look(Market::Spot, &[&place, &other]);
        let (one, none) = (look(Market::Spot, &[&other]), look(Market::Spot, &[]));
        let elsewhere = look(Market::Perp, &[]);
        let mut seen = Seen::default();
        let mut gone = |looks: &Looks| seen.gone(looks).len();
        assert_eq!([&both, &one, &both, &one, &elsewhere, &one, &one].map(&mut gone), [0, 0, 0, 0, 0, 1, 1]);
        assert_eq!([&both, &one].map(&mut gone), [0, 0], "what came back has to be missed anew");
        assert_eq!([&both; 1].map(&mut gone), [0]);
        let empty: Vec<usize> = (0..10).map(|_| gone(&none)).collect();
        assert_eq!(empty, [0, 0, 0, 0, 0, 0, 0, 0, 0, 2], "the server may not have been able to ask");
        // What an earlier process saw counts as well.
        let mut seen = Seen { held: BTreeSet::from([place]), ..Seen::default() };
        assert_eq!([&one, &one].map(|looks| seen.gone(looks).len()), [0, 1]);
    }
}
