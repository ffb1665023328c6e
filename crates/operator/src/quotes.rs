//! A bot's own best quotes over time, from its orders' lives: what is told when they move into another band, and exact sums
//! of every minute.
//!
//! Budget: 5,000 events a bot and day, 1,440 of them minutes. When quotes change too often, changes are left out first, and
//! the minute says how many; its sums are exact all the same.

use std::collections::{BTreeMap, HashMap, VecDeque};

use events::{BotId, Decimal, OrderId, Price, Time, bot::Venue, ledger::Side, market::MarketEvent, order::OrderEvent};

const MINUTE_US: i64 = 60_000_000;
/// Upper ends of the bands of a spread, in bps of the middle.
pub const GRID_BPS: [u32; 14] = [1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1_000];
/// A change is told at once if none was told for so long, else as far as it still stands by then.
const APART_US: i64 = 10_000_000;
/// Changes that are told of a day (UTC): the budget less a day's minutes.
const CHANGES_MAX: u32 = 5_000 - 1_440;
/// Orders that ended before they were told to be there, remembered for when that is told.
const GONE_MAX: usize = 1_000;

/// One bot's quotes on its one venue.
#[derive(Debug)]
pub struct Quotes {
    bot: BotId,
    venue: Venue,
    /// What was heard and lies after the frontier, by time and then as it came.
    heard: BTreeMap<(Time, u64), Told>,
    next: u64,
    /// Up to here everything is summed up; what comes in of earlier counts from here.
    frontier: Time,
    live: HashMap<OrderId, Order>,
    gone: VecDeque<OrderId>,
    /// Whether it can be heard what the bot does.
    hears: bool,
    minute: Minute,
    changes: Changes,
}

#[derive(Debug, Clone)]
enum Told {
    Placed(OrderId, Side, Price),
    Ended(OrderId),
    Deaf,
    Hears,
    Stopped,
}

#[derive(Debug, Clone, Copy)]
struct Order {
    side: Side,
    price: Price,
    /// It was there before the broker was away: it may be gone.
    doubtful: bool,
}

/// Sums of the minute that the frontier lies in.
#[derive(Debug, Default)]
struct Minute {
    known_us: i64,
    bid_us: i64,
    ask_us: i64,
    two_sided_us: i64,
    spread_bps_us: Decimal,
    band_us: BTreeMap<u32, i64>,
    left_out: u64,
}

/// Which changes are told.
#[derive(Debug, Default)]
struct Changes {
    now: Option<Seen>,
    told: Option<Seen>,
    told_at: Option<Time>,
    /// Changes since then that were not told.
    untold: u64,
    day: Option<Time>,
    of_day: u32,
}

/// What makes one state of the quotes differ from another: the sides that are there, and the spread's band.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    bids: bool,
    asks: bool,
    band_bps: Option<u32>,
}

/// The best quotes at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Best {
    bid: Option<Price>,
    ask: Option<Price>,
}

impl Quotes {
    /// Of a bot that has no orders yet. Of the minute that `since` lies in, what was before is unknown.
    pub fn new(bot: BotId, venue: Venue, since: Time) -> Self {
        Self {
            bot,
            venue,
            heard: BTreeMap::new(),
            next: 0,
            frontier: since,
            live: HashMap::new(),
            gone: VecDeque::new(),
            hears: true,
            minute: Minute::default(),
            changes: Changes::default(),
        }
    }

    /// A step of one of its orders' lives. Orders without a price, and those of another venue, quote nothing here.
    pub fn order(&mut self, event: &OrderEvent) {
        if *event.venue() != self.venue {
            return;
        }
        let order = event.order().clone();
        let told = match event {
            OrderEvent::OrderPlaced { side, price: Some(price), .. } => Told::Placed(order, *side, *price),
            OrderEvent::OrderPlaced { price: None, .. } => return,
            OrderEvent::OrderCancelled { .. }
            | OrderEvent::OrderFilled { .. }
            | OrderEvent::OrderRejected { .. }
            | OrderEvent::OrderExpired { .. } => Told::Ended(order),
        };
        self.hear(event.at(), told);
    }

    /// From now on nobody can tell what the bot does.
    pub fn deaf(&mut self, at: Time) {
        self.hear(at, Told::Deaf);
    }

    /// From now on it can be heard again. Its orders of before are believed until the side has a new one.
    pub fn hears(&mut self, at: Time) {
        self.hear(at, Told::Hears);
    }

    /// The bot stopped: none of its orders is left.
    pub fn stopped(&mut self, at: Time) {
        self.hear(at, Told::Stopped);
    }

    fn hear(&mut self, at: Time, told: Told) {
        self.heard.insert((at.max(self.frontier), self.next), told);
        self.next += 1;
    }

    /// Everything that is to be recorded up to this moment. What comes in later of a time before it counts from it, so let
    /// late messages come first.
    pub fn until(&mut self, at: Time) -> Vec<MarketEvent> {
        let mut events = Vec::new();
        while let Some(entry) = self.heard.first_entry().filter(|entry| entry.key().0 <= at) {
            let moment = entry.key().0;
            self.advance(moment, &mut events);
            // What happens at one moment is one change: an order that takes another's place leaves no hole.
            while let Some(entry) = self.heard.first_entry().filter(|entry| entry.key().0 == moment) {
                let told = entry.remove();
                self.take(told);
            }
            self.note_change(&mut events);
        }
        self.advance(at, &mut events);
        events
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Placed(order, side, price) => {
                if let Some(ended) = self.gone.iter().position(|gone| *gone == order) {
                    drop(self.gone.remove(ended));
                    return;
                }
                self.live.retain(|_, other| !(other.doubtful && other.side == side));
                self.live.insert(order, Order { side, price, doubtful: false });
            }
            Told::Ended(order) => {
                if self.live.remove(&order).is_none() {
                    self.gone.push_back(order);
                    if self.gone.len() > GONE_MAX {
                        self.gone.pop_front();
                    }
                }
            }
            Told::Deaf => {
                self.hears = false;
                self.minute.left_out += self.changes.forget();
            }
            Told::Hears => {
                self.hears = true;
                self.live.values_mut().for_each(|order| order.doubtful = true);
            }
            Told::Stopped => self.live.clear(),
        }
    }

    /// Sums up to a moment at which nothing changes before.
    fn advance(&mut self, to: Time, events: &mut Vec<MarketEvent>) {
        while self.frontier < to {
            let minute = minute(self.frontier);
            let end = minute.plus_micros(MINUTE_US);
            let mut next = end.min(to);
            if let Some(due) = self.changes.due().filter(|due| *due > self.frontier) {
                next = next.min(due);
            }
            self.sum(next.micros() - self.frontier.micros());
            self.frontier = next;
            if self.changes.due() == Some(next) {
                self.tell_change(events);
            }
            if next == end {
                events.push(self.close(minute));
            }
        }
    }

    /// Adds a stretch in which nothing changed.
    fn sum(&mut self, us: i64) {
        if !self.hears {
            return;
        }
        let best = self.best();
        self.minute.known_us += us;
        self.minute.bid_us += if best.bid.is_some() { us } else { 0 };
        self.minute.ask_us += if best.ask.is_some() { us } else { 0 };
        let (Some(bid), Some(ask)) = (best.bid, best.ask) else { return };
        self.minute.two_sided_us += us;
        let integral = spread_bps(bid, ask).and_then(|bps| bps.times(Decimal::from_int(us)).ok());
        let sum = integral.and_then(|integral| self.minute.spread_bps_us.plus(integral).ok());
        self.minute.spread_bps_us = sum.expect("prices of orders leave room for a minute's sum");
        if let Some(band) = band(bid, ask) {
            *self.minute.band_us.entry(band).or_default() += us;
        }
    }

    fn close(&mut self, at: Time) -> MarketEvent {
        let minute = std::mem::take(&mut self.minute);
        let us = i64::unsigned_abs;
        MarketEvent::QuoteMinute {
            bot: self.bot,
            venue: self.venue.clone(),
            bid_us: us(minute.bid_us),
            ask_us: us(minute.ask_us),
            two_sided_us: us(minute.two_sided_us),
            spread_bps_us: minute.spread_bps_us.normalised(),
            unknown_us: us(MINUTE_US - minute.known_us),
            band_us: minute.band_us.into_iter().map(|(band, of)| (band, us(of))).collect(),
            changes_left_out: (minute.left_out > 0).then_some(minute.left_out),
            at,
        }
    }

    fn note_change(&mut self, events: &mut Vec<MarketEvent>) {
        if !self.hears {
            return;
        }
        let seen = self.best().seen();
        self.minute.left_out += self.changes.note(seen);
        if self.changes.due().is_some_and(|due| due <= self.frontier) {
            self.tell_change(events);
        }
    }

    fn tell_change(&mut self, events: &mut Vec<MarketEvent>) {
        let (best, at) = (self.best(), self.frontier);
        let (is_told, left_out) = self.changes.tell(best.seen(), at);
        self.minute.left_out += left_out;
        if is_told {
            let Best { bid, ask } = best;
            let (bot, venue, band_bps) = (self.bot, self.venue.clone(), best.seen().band_bps);
            events.push(MarketEvent::QuoteObserved { bot, venue, bid, ask, band_bps, at });
        }
    }

    fn best(&self) -> Best {
        let of = |side| self.live.values().filter(move |order| order.side == side).map(|order| order.price);
        Best { bid: of(Side::Buy).max(), ask: of(Side::Sell).min() }
    }
}

impl Best {
    fn seen(self) -> Seen {
        let band_bps = self.bid.zip(self.ask).and_then(|(bid, ask)| band(bid, ask));
        Seen { bids: self.bid.is_some(), asks: self.ask.is_some(), band_bps }
    }
}

impl Changes {
    /// Takes a state in; how many changes up to it nobody will be told of.
    fn note(&mut self, seen: Seen) -> u64 {
        if self.now.replace(seen) == Some(seen) {
            return 0;
        }
        self.untold += 1;
        // Back where it was told to be, there is nothing to tell.
        if self.told == Some(seen) { std::mem::take(&mut self.untold) } else { 0 }
    }

    /// When the untold change may be told; absent: there is none.
    fn due(&self) -> Option<Time> {
        (self.untold > 0).then(|| self.told_at.map_or(Time::BEGINNING, |told| told.plus_micros(APART_US)))
    }

    /// Whether the state is told now, and how many changes it leaves out.
    fn tell(&mut self, seen: Seen, at: Time) -> (bool, u64) {
        if self.day != Some(at.midnight()) {
            (self.day, self.of_day) = (Some(at.midnight()), 0);
        }
        let untold = std::mem::take(&mut self.untold);
        let is_told = self.of_day < CHANGES_MAX;
        (self.told, self.told_at) = (is_told.then_some(seen), Some(at));
        self.of_day += u32::from(is_told);
        (is_told, untold - u64::from(is_told))
    }

    /// What was told last says nothing of what comes now; how many changes are left out by that.
    fn forget(&mut self) -> u64 {
        (self.now, self.told) = (None, None);
        std::mem::take(&mut self.untold)
    }
}

fn minute(at: Time) -> Time {
    at.plus_micros(-at.micros().rem_euclid(MINUTE_US))
}

/// (ask - bid) / middle in bps, rounded once to 36 places, half to even; a bot that crosses itself has none.
fn spread_bps(bid: Price, ask: Price) -> Option<Decimal> {
    if ask <= bid {
        return Some(Decimal::ZERO);
    }
    let (difference, sum) = (ask.0.minus(bid.0).ok()?, ask.0.plus(bid.0).ok()?);
    difference.mul_div(Decimal::from_int(20_000), sum).ok()
}

/// The first step of the grid that the spread fits into, exactly; absent: it is wider than all.
fn band(bid: Price, ask: Price) -> Option<u32> {
    let (difference, sum) = (ask.0.minus(bid.0).ok()?, ask.0.plus(bid.0).ok()?);
    let spread = difference.times(Decimal::from_int(20_000)).ok()?;
    GRID_BPS.into_iter().find(|bps| sum.times(Decimal::from_int(i64::from(*bps))).is_ok_and(|end| spread <= end))
}

#[cfg(test)]
mod tests;
