//! The paper world: one clock, an agenda of what is due next, and everything that it can happen to.
//!
//! Every change goes through here, in the order of the agenda, so that the same seed and the same calls give the same
//! world. It is one value behind one lock: the server's calls and the clock's driver take turns.

mod bots;
mod deploys;

pub(crate) use deploys::{archive_path, second_ms};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use events::{Decimal, Time, bot::Venue};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use crate::{
    accounts::Accounts,
    bot::{
        Bot,
        words::{Message, Outgoing},
    },
    bots::Run,
    controllers::Configs,
    exact::{product, sum},
    exchange::{
        Exchanges, Kind, Order, OrderNo, Owner, Status,
        book::{Feed, Standing, Tick},
        listing::Listing,
        tape::{Tape, TapeFault},
        walk::Walk,
        wallet::{Wallet, WalletKey},
    },
    faults::Dice,
    portfolio::Portfolio,
    settings::{FeedSettings, MarketSettings, Settings},
    truth::{FillNo, Funding},
};

/// From a request until the exchange sees the order.
const SENDING_US: i64 = 2_000;
/// Defect 1 loses fills that come so soon after the exchange took the order.
const LOST_WITHIN_US: i64 = 10_000;
const HOUR_US: i64 = 3_600_000_000;
const FUNDING_US: i64 = 8 * HOUR_US;
const SNAPSHOT_US: i64 = 300_000_000;

#[derive(Debug)]
pub(crate) struct World {
    pub settings: Arc<Settings>,
    pub now: Time,
    agenda: BTreeMap<(Time, u64), Due>,
    planned: u64,
    pub dice: Dice,
    pub exchanges: Exchanges,
    pub accounts: Accounts,
    pub bots: BTreeMap<String, Bot>,
    pub runs: Vec<Run>,
    pub configs: Configs,
    pub portfolio: Portfolio,
    /// Fills of API-placed orders that the server noticed.
    pub api_fills: Vec<FillNo>,
    /// API-placed orders whose row will never follow what happens to them.
    pub stuck_rows: BTreeSet<OrderNo>,
    pub history_calls: BTreeMap<i64, String>,
    /// The last part of an order id, in microseconds: it grows whatever the clock does.
    nonce: i64,
    outbox: UnboundedSender<Outgoing>,
}

/// What the agenda holds.
#[derive(Debug)]
pub(crate) enum Due {
    Tick(Venue, Tick),
    Accept(OrderNo),
    /// Of the start with this number: what was planned before a stop is forgotten.
    BotTick(Arc<str>, u32),
    Heartbeat(Arc<str>),
    Performance(Arc<str>, u32),
    Publish(Message),
    Completed(OrderNo),
    Created(OrderNo),
    StopBot {
        bot: String,
        leave_orders: bool,
    },
    Archive(String),
    Funding,
    Snapshot,
}

impl World {
    pub(crate) fn new(
        settings: Arc<Settings>,
        now: Time,
        outbox: UnboundedSender<Outgoing>,
    ) -> Result<Self, TapeFault> {
        let mut world = Self {
            dice: Dice::new(settings.faults.clone()),
            now,
            agenda: BTreeMap::new(),
            planned: 0,
            exchanges: Exchanges::new(settings.seed),
            accounts: Accounts::default(),
            bots: BTreeMap::new(),
            runs: Vec::new(),
            configs: Configs::default(),
            portfolio: Portfolio::default(),
            api_fills: Vec::new(),
            stuck_rows: BTreeSet::new(),
            history_calls: BTreeMap::new(),
            nonce: 0,
            outbox,
            settings: settings.clone(),
        };
        for market in &settings.markets {
            world.list(market)?;
        }
        world.after(FUNDING_US, Due::Funding);
        world.after(SNAPSHOT_US, Due::Snapshot);
        Ok(world)
    }

    /// Puts a market on its exchange, or another feed under one that is there.
    pub(crate) fn list(&mut self, market: &MarketSettings) -> Result<(), TapeFault> {
        let mut listing = market.listing.clone().unwrap_or_else(|| Listing::of(&market.venue.pair));
        let feed = match &market.feed {
            FeedSettings::Tape { paths } => {
                let tape = Tape::read(paths)?;
                listing.price = tape.first_price();
                Feed::Tape(tape)
            }
            FeedSettings::Walk { prints_per_second } => self.walk(&market.venue, &listing, *prints_per_second),
            FeedSettings::Still => Feed::Still,
        };
        self.exchanges.standings.insert(market.venue.clone(), Standing::new(listing, feed, self.now));
        self.plan_tick(&market.venue);
        Ok(())
    }

    fn walk(&self, venue: &Venue, listing: &Listing, prints_per_second: u32) -> Feed {
        Feed::Walk(Box::new(Walk::new(venue, listing, self.exchanges.seed, prints_per_second)))
    }

    /// Any market that is asked for is there.
    pub(crate) fn open(&mut self, venue: &Venue) {
        if !self.exchanges.standings.contains_key(venue) {
            let listing = Listing::of(&venue.pair);
            let feed = self.walk(venue, &listing, self.settings.prints_per_second);
            self.exchanges.standings.insert(venue.clone(), Standing::new(listing, feed, self.now));
            self.plan_tick(venue);
        }
    }

    pub(crate) fn standing(&mut self, venue: &Venue) -> &mut Standing {
        self.open(venue);
        self.exchanges.standings.get_mut(venue).expect("the market was opened")
    }

    pub(crate) fn after(&mut self, us: i64, due: Due) {
        self.at(self.now.plus_micros(us), due);
    }

    fn at(&mut self, at: Time, due: Due) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), due);
    }

    pub(crate) fn publish(&self, message: Message) {
        // The broker's side is gone only when everything ends.
        self.outbox.send(Outgoing::Say(message)).ok();
    }

    /// Comes when everything that was said so far has reached the broker.
    pub(crate) fn reached(&self) -> oneshot::Receiver<()> {
        let (reached, seen) = oneshot::channel();
        self.outbox.send(Outgoing::Reached(reached)).ok();
        seen
    }

    /// Lets everything happen that is due until then.
    pub(crate) fn advance(&mut self, until: Time) {
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), due) = entry.remove_entry();
            // An entry may be older than now when a market was opened late: time never runs back.
            self.now = self.now.max(at);
            self.happen(due);
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Tick(venue, tick) => {
                let tick = self.standing(&venue).shaken(tick);
                self.move_market(&venue, tick);
                self.plan_tick(&venue);
            }
            Due::Accept(no) => self.accept(no),
            Due::BotTick(bot, start) => self.bot_tick(&bot, start),
            Due::Heartbeat(bot) => self.heartbeat(&bot),
            Due::Performance(bot, start) => self.performance(&bot, start),
            Due::Publish(message) => self.publish(message),
            Due::Created(no) => self.tell_created(no),
            Due::Completed(no) => self.tell_completed(no),
            Due::StopBot { bot, leave_orders } => self.stop_bot(&bot, leave_orders),
            Due::Archive(bot) => self.archive(&bot),
            Due::Funding => {
                self.pay_funding();
                self.after(FUNDING_US, Due::Funding);
            }
            Due::Snapshot => self.snapshot(),
        }
    }

    fn plan_tick(&mut self, venue: &Venue) {
        if let Some((at, tick)) = self.standing(venue).next() {
            self.at(at, Due::Tick(venue.clone(), tick));
        }
    }

    /// A price or a print, from the feed or by hand.
    pub(crate) fn move_market(&mut self, venue: &Venue, tick: Tick) {
        let fills = self.exchanges.tick(venue, tick, self.now);
        self.notice(&fills);
    }

    /// Logs in with a key: its wallet, made when it is first seen.
    pub(crate) fn log_in(&mut self, key: &WalletKey) -> bool {
        if key.key.contains("bad") || (self.settings.strict && !self.settings.keys.contains_key(&key.key)) {
            return false;
        }
        let initial = self.settings.keys.get(&key.key).unwrap_or(&self.settings.balances).clone();
        self.exchanges.wallets.entry(key.clone()).or_insert_with(|| Wallet::with(initial));
        true
    }

    /// An order as Hummingbot names it, sent to no exchange yet.
    pub(crate) fn send(&mut self, mut order: Order, mark: &str) -> OrderNo {
        self.nonce = (self.nonce + 1).max(self.now.micros());
        let prefix = if order.venue.exchange == events::Exchange::Binance { "x-MG43PCSN" } else { "HBOT" };
        let side = &crate::exchange::side_name(order.side)[..1];
        let ends = |asset: &str| asset.chars().take(1).chain(asset.chars().last()).collect::<String>();
        let pair = [order.venue.pair.base(), order.venue.pair.quote()].map(ends).concat();
        order.id = format!("{prefix}{side}{pair}{:x}{mark}", self.nonce);
        self.open(&order.venue.clone());
        self.exchanges.submit(order)
    }

    /// An order that the API server places itself: answered before the exchange is asked.
    pub(crate) fn send_for_api(&mut self, order: Order) -> OrderNo {
        let kind = order.kind;
        let no = self.send(order, "cb04");
        if self.dice.faults.wrong_order_rows && self.dice.happens(0.3) {
            self.stuck_rows.insert(no);
        }
        let matched_us = match kind {
            Kind::Market => self.dice.among(0..=24) * 1_000,
            Kind::Limit | Kind::LimitMaker => 0,
        };
        self.after(SENDING_US + matched_us, Due::Accept(no));
        no
    }

    pub(crate) fn accept(&mut self, no: OrderNo) {
        let fills = self.exchanges.accept(no, self.now);
        self.notice(&fills);
    }

    /// Everybody sees what happened to his own orders.
    fn notice(&mut self, fills: &[FillNo]) {
        for fill in fills {
            let order = self.exchanges.truth.fills[*fill].order;
            match self.exchanges.orders[order].owner.clone() {
                Owner::Bot { bot, controller } => self.bot_filled(&bot, controller, *fill),
                Owner::Api => self.api_filled(order, *fill),
            }
        }
    }

    fn api_filled(&mut self, order: OrderNo, fill: FillNo) {
        let accepted = self.exchanges.orders[order].created.plus_micros(SENDING_US);
        let soon = self.now.micros() - accepted.micros() < LOST_WITHIN_US;
        if !(soon && self.dice.faults.lost_api_fills) {
            self.api_fills.push(fill);
        }
    }

    pub(crate) fn cancel(&mut self, no: OrderNo) -> bool {
        self.exchanges.cancel(no, self.now)
    }

    /// Longs pay shorts a hundredth of a percent, each eight hours.
    pub(crate) fn pay_funding(&mut self) {
        let rate = Decimal::new(1, 4);
        let keys: Vec<WalletKey> = self.exchanges.wallets.keys().cloned().collect();
        for key in keys {
            let positions: Vec<_> = self.exchanges.wallets[&key].positions.clone().into_iter().collect();
            for (pair, position) in positions.into_iter().filter(|(_, position)| !position.amount.is_zero()) {
                let venue = Venue { exchange: key.exchange, market: key.market, pair: pair.clone() };
                let worth = product(position.amount, self.standing(&venue).mid());
                let amount = -product(worth, rate);
                if let Some(wallet) = self.exchanges.wallets.get_mut(&key) {
                    wallet.add(pair.quote(), amount);
                }
                let (wallet, at) = (key.clone(), self.now);
                self.exchanges.truth.funding.push(Funding {
                    wallet,
                    pair,
                    rate,
                    amount,
                    position: position.amount,
                    at,
                });
            }
        }
    }

    fn snapshot(&mut self) {
        let state = self.state(None, None);
        self.portfolio.keep(self.now, state);
        self.after(SNAPSHOT_US, Due::Snapshot);
    }

    /// What one unit of an asset costs in USDT on a market of this exchange, if there is one.
    pub(crate) fn usdt_price(&self, exchange: events::Exchange, asset: &str) -> Option<Decimal> {
        let pair = format!("{asset}-USDT").parse().ok()?;
        let venue = Venue { exchange, market: events::Market::Spot, pair };
        let listed = self.exchanges.standings.get(&venue).map(Standing::mid);
        let known = ["BTC", "ETH", "BNB", "SOL", "PEPE"].contains(&asset);
        listed.or_else(|| known.then(|| Listing::of(&venue.pair).price))
    }

    pub(crate) fn new_order(&self, wallet: WalletKey, account: &str, owner: Owner, wish: crate::bot::Wish) -> Order {
        Order {
            id: String::new(),
            exchange_id: 0,
            owner,
            account: account.to_owned(),
            wallet,
            venue: wish.venue,
            side: wish.side,
            kind: if wish.price.is_some() { Kind::Limit } else { Kind::Market },
            price: wish.price,
            amount: wish.amount,
            filled: Decimal::ZERO,
            filled_quote: Decimal::ZERO,
            fees_quote: Decimal::ZERO,
            status: Status::Submitted,
            created: self.now,
            updated: self.now,
        }
    }
}

/// So many milliseconds later.
pub(crate) const fn ms(milliseconds: u32) -> i64 {
    milliseconds as i64 * 1_000
}

/// What stands on both sides of a list of amounts, together.
pub(crate) fn total(amounts: impl Iterator<Item = Decimal>) -> Decimal {
    amounts.fold(Decimal::ZERO, sum)
}
