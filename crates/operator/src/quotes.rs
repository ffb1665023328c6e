//! A bot's own best quotes over time, from its orders' lives, and the order book that they stand in: what is told when they move
//! into another band, and exact sums of every minute.
//!
//! Budget: 5,000 events a bot and day, minutes of both and changes of both. When quotes change too often, changes are left out
//! first, and the minute says how many; its sums are exact all the same.

mod changes;
mod depth;

use std::collections::{BTreeMap, HashMap, VecDeque};

use events::{
    Amount, BotId, Decimal, OrderId, Price, Time, TradeId,
    bot::Venue,
    ledger::Side,
    market::{GRID_BPS, MarketEvent},
    order::OrderEvent,
};

use changes::{Changes, Pace};
pub use depth::Look;
use depth::{Depth, Own};

const MINUTE_US: i64 = 60_000_000;
/// Events of a bot and a day (UTC), and what of them is left for changes of its quotes.
const DAY_MAX: u32 = 5_000;
const DEPTH_CHANGES_MAX: u32 = 720;
const CHANGES_MAX: u32 = DAY_MAX - 2 * 1_440 - DEPTH_CHANGES_MAX;
const PACE: Pace = Pace { apart_us: 10_000_000, day_max: CHANGES_MAX };
/// How long orders are believed that were there before anybody listened, or before the broker was away. A bot that places no
/// other one on their side meanwhile may as well have taken them back: then nobody can tell how it quotes.
const BELIEVED_US: i64 = 120 * MINUTE_US;
/// Orders that ended before they were told to be there, and fills, remembered for what may still be told of them.
const GONE_MAX: usize = 1_000;
const WIDEST_BPS: u32 = GRID_BPS[GRID_BPS.len() - 1];

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
    /// The last fills: one may be told twice, or before its order.
    fills: VecDeque<(OrderId, TradeId, Amount)>,
    /// Whether it can be heard what the bot does.
    hears: bool,
    /// Until when orders are believed that may be gone.
    believed: Time,
    /// The minute in which the bot stopped: nothing is told of those after it.
    stopped: Option<Time>,
    /// From when on anything is known.
    since: Time,
    minute: Minute,
    changes: Changes<Seen>,
    depth: Depth,
}

/// What is known of a bot when somebody begins to listen to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beginning {
    /// Its orders that rest already.
    pub resting: Vec<Resting>,
    /// Changes of its quotes and of its book that were told of this day (UTC) before.
    pub quotes_told: u32,
    pub depths_told: u32,
}

/// An order that was there before: it may have ended since, unheard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    pub order: OrderId,
    pub side: Side,
    pub price: Price,
    /// As far as nothing of it was executed.
    pub left: Decimal,
}

#[derive(Debug, Clone)]
enum Told {
    Resting(Resting),
    Placed(OrderId, Side, Price, Amount),
    Filled(OrderId, TradeId, Amount),
    Ended(OrderId),
    Book(Look),
    Deaf,
    Hears,
    /// What may be gone is believed no longer.
    Doubted,
    Stopped,
}

#[derive(Debug, Clone, Copy)]
struct Order {
    own: Own,
    /// It was there before anybody listened, or before the broker was away: it may be gone.
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
    /// Of the minute that `since` lies in, what was before is unknown.
    pub fn new(bot: BotId, venue: Venue, since: Time, beginning: Beginning) -> Self {
        let Beginning { resting, quotes_told, depths_told } = beginning;
        let mut quotes = Self {
            bot,
            venue,
            heard: BTreeMap::new(),
            next: 0,
            frontier: since,
            live: HashMap::new(),
            gone: VecDeque::new(),
            fills: VecDeque::new(),
            hears: true,
            believed: since.plus_micros(BELIEVED_US),
            stopped: None,
            since,
            minute: Minute::default(),
            changes: Changes::new(PACE, since, quotes_told),
            depth: Depth::new(since, depths_told),
        };
        if !resting.is_empty() {
            quotes.hear(quotes.believed, Told::Doubted);
        }
        resting.into_iter().for_each(|order| quotes.hear(since, Told::Resting(order)));
        quotes
    }

    /// Where it quotes.
    pub fn venue(&self) -> &Venue {
        &self.venue
    }

    /// From when on anything is known: no two have the same of one bot.
    pub fn since(&self) -> Time {
        self.since
    }

    /// A step of one of its orders' lives. Orders without a price, and those of another venue, quote nothing here.
    pub fn order(&mut self, event: &OrderEvent) {
        if *event.venue() != self.venue {
            return;
        }
        let order = event.order().clone();
        let told = match event {
            OrderEvent::OrderPlaced { side, price: Some(price), amount, .. } => {
                Told::Placed(order, *side, *price, *amount)
            }
            OrderEvent::OrderPlaced { price: None, .. } => return,
            OrderEvent::OrderCancelled { .. }
            | OrderEvent::OrderFilled { .. }
            | OrderEvent::OrderRejected { .. }
            | OrderEvent::OrderExpired { .. } => Told::Ended(order),
        };
        self.hear(event.at(), told);
    }

    /// So much of one of its orders was executed.
    pub fn filled(&mut self, order: OrderId, trade: TradeId, amount: Amount, at: Time) {
        self.hear(at, Told::Filled(order, trade, amount));
    }

    /// What the order book looked like.
    pub fn book(&mut self, look: Look, at: Time) {
        self.hear(at, Told::Book(look));
    }

    /// From now on nobody can tell what the bot does.
    pub fn deaf(&mut self, at: Time) {
        self.hear(at, Told::Deaf);
    }

    /// From now on it can be heard again. Its orders of before are believed until the side has a new one, and not for long.
    pub fn hears(&mut self, at: Time) {
        self.hear(at, Told::Hears);
        self.hear(at.max(self.frontier).plus_micros(BELIEVED_US), Told::Doubted);
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
            let known = self.is_known();
            self.advance(moment, &mut events);
            // What happens at one moment is one change: an order that takes another's place leaves no hole.
            while let Some(entry) = self.heard.first_entry().filter(|entry| entry.key().0 == moment) {
                let told = entry.remove();
                self.take(told);
            }
            self.note_change(&mut events);
            if known && !self.is_known() {
                let (bot, venue, at) = (self.bot, self.venue.clone(), self.frontier);
                events.push(MarketEvent::QuotesUnknown { bot, venue, at });
            }
        }
        self.advance(at, &mut events);
        events
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Resting(Resting { order, side, price, left }) => {
                self.live.insert(order, Order { own: Own { side, price, left }, doubtful: true });
            }
            Told::Placed(order, side, price, amount) => self.place(order, side, price, amount),
            Told::Filled(order, trade, amount) => self.fill(order, trade, amount),
            Told::Ended(order) => {
                if self.live.remove(&order).is_none() {
                    remember(&mut self.gone, order);
                }
            }
            Told::Book(look) => self.depth.see(look, self.frontier),
            Told::Deaf => {
                self.hears = false;
                self.minute.left_out += self.changes.forget();
            }
            Told::Hears => {
                (self.hears, self.believed) = (true, self.frontier.plus_micros(BELIEVED_US));
                self.live.values_mut().for_each(|order| order.doubtful = true);
            }
            Told::Doubted => {
                if !self.is_known() {
                    self.minute.left_out += self.changes.forget();
                }
            }
            Told::Stopped => {
                // Whatever is told of the rest of the minute is told by the run that comes next.
                self.live.clear();
                self.depth.end();
                (self.hears, self.stopped) = (false, Some(minute(self.frontier)));
            }
        }
    }

    /// Whether anybody can tell how it quotes.
    fn is_known(&self) -> bool {
        self.hears && (self.frontier < self.believed || self.live.values().all(|order| !order.doubtful))
    }

    fn place(&mut self, order: OrderId, side: Side, price: Price, amount: Amount) {
        if let Some(ended) = self.gone.iter().position(|gone| *gone == order) {
            drop(self.gone.remove(ended));
            return;
        }
        self.live.retain(|_, other| !(other.doubtful && other.own.side == side));
        let filled = self.fills.iter().filter(|(of, ..)| *of == order);
        let left = filled.fold(amount.0, |left, (.., filled)| less(left, *filled));
        self.live.insert(order, Order { own: Own { side, price, left }, doubtful: false });
    }

    fn fill(&mut self, order: OrderId, trade: TradeId, amount: Amount) {
        if self.fills.iter().any(|(of, known, _)| (of, known) == (&order, &trade)) {
            return;
        }
        if let Some(live) = self.live.get_mut(&order) {
            live.own.left = less(live.own.left, amount);
        }
        remember(&mut self.fills, (order, trade, amount));
    }

    /// Sums up to a moment at which nothing changes before.
    fn advance(&mut self, to: Time, events: &mut Vec<MarketEvent>) {
        while self.frontier < to {
            let minute = minute(self.frontier);
            let end = minute.plus_micros(MINUTE_US);
            let moments = [self.changes.due(), self.depth.changes.due(), self.depth.ends()];
            let ahead = moments.into_iter().flatten().filter(|moment| *moment > self.frontier);
            let next = ahead.fold(end.min(to), Time::min);
            self.sum(next.micros() - self.frontier.micros());
            self.frontier = next;
            if self.depth.ends() == Some(next) {
                self.depth.end();
            }
            if self.changes.due() == Some(next) {
                self.tell_change(events);
            }
            if self.depth.changes.due() == Some(next) {
                self.tell_depth(events);
            }
            if next == end {
                self.close(minute, events);
            }
        }
    }

    /// Adds a stretch in which nothing changed.
    fn sum(&mut self, us: i64) {
        let own: Vec<Own> = self.live.values().map(|order| order.own).collect();
        self.depth.sum(us, self.is_known().then_some(&own[..]));
        if !self.is_known() {
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
        // One that is wider than every step was measured, too: it counts for none of them.
        let (step, within) = band(bid, ask).map_or((WIDEST_BPS, 0), |step| (step, us));
        *self.minute.band_us.entry(step).or_default() += within;
    }

    fn close(&mut self, at: Time, events: &mut Vec<MarketEvent>) {
        let minute = std::mem::take(&mut self.minute);
        if self.stopped.is_some_and(|stopped| stopped < at) {
            return;
        }
        let (bot, us) = (self.bot, i64::unsigned_abs);
        let Best { bid, ask } = if self.is_known() { self.best() } else { Best { bid: None, ask: None } };
        events.push(MarketEvent::QuoteMinute {
            bot,
            venue: self.venue.clone(),
            bid_us: us(minute.bid_us),
            ask_us: us(minute.ask_us),
            two_sided_us: us(minute.two_sided_us),
            spread_bps_us: minute.spread_bps_us.normalised(),
            unknown_us: us(MINUTE_US - minute.known_us),
            band_us: minute.band_us.into_iter().map(|(band, of)| (band, us(of))).collect(),
            changes_left_out: (minute.left_out > 0).then_some(minute.left_out),
            bid,
            ask,
            at,
        });
        let Some((depth, left_out)) = self.depth.close() else { return };
        let (best_bid, best_ask) = self.depth.best().unzip();
        events.push(MarketEvent::DepthMinute {
            bot,
            venue: self.venue.clone(),
            known_us: us(depth.known_us),
            own_known_us: us(depth.own_known_us),
            within: depth.within,
            changes_left_out: (left_out > 0).then_some(left_out),
            slippage: depth.slippage,
            sized_us: depth.sized_us,
            middles: depth.middles,
            best_bid,
            best_ask,
            at,
        });
    }

    fn note_change(&mut self, events: &mut Vec<MarketEvent>) {
        if self.depth.changes.due().is_some_and(|due| due <= self.frontier) {
            self.tell_depth(events);
        }
        if !self.is_known() {
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

    fn tell_depth(&mut self, events: &mut Vec<MarketEvent>) {
        let (bot, venue, at) = (self.bot, self.venue.clone(), self.frontier);
        if let Some(Look { best, middle, within, .. }) = self.depth.tell(at).cloned() {
            let (best_bid, best_ask) = best.unzip();
            events.push(MarketEvent::DepthObserved { bot, venue, middle, best_bid, best_ask, within, at });
        }
    }

    fn best(&self) -> Best {
        let of = |side| self.live.values().filter(move |order| order.own.side == side).map(|order| order.own.price);
        Best { bid: of(Side::Buy).max(), ask: of(Side::Sell).min() }
    }
}

impl Best {
    fn seen(self) -> Seen {
        let band_bps = self.bid.zip(self.ask).and_then(|(bid, ask)| band(bid, ask));
        Seen { bids: self.bid.is_some(), asks: self.ask.is_some(), band_bps }
    }
}

/// What is left of an order; of one that seems to have been filled by more than it was for, nothing.
fn less(left: Decimal, filled: Amount) -> Decimal {
    left.minus(filled.0).unwrap_or_default().max(Decimal::ZERO)
}

fn remember<T>(last: &mut VecDeque<T>, one: T) {
    last.push_back(one);
    if last.len() > GONE_MAX {
        last.pop_front();
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
