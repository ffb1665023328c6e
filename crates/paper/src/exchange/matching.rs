//! Orders meet prints. A resting order fills only when a real print goes strictly through its price, and only as far as
//! that print's amount reaches; an order that takes gets what stands in the book.

use events::{Decimal, Market, Time, ledger::Side};

use super::{Exchanges, Kind, Order, OrderNo, Status, book::Tick, fee_rate, wallet::Wallet};
use crate::{
    exact::{difference, floor_to, product, sum},
    exchange::listing::Listing,
    truth::{Fill, FillNo},
};

/// How many levels of the book one order may eat.
const LEVELS: usize = 20;
const POOR: &str = "Account has insufficient balance for requested action.";

impl Exchanges {
    pub(crate) fn submit(&mut self, order: Order) -> OrderNo {
        self.orders.push(order);
        self.orders.len() - 1
    }

    /// The exchange looks at an order: it rests, takes, or is refused. Says what it filled.
    pub(crate) fn accept(&mut self, no: OrderNo, at: Time) -> Vec<FillNo> {
        if self.orders[no].status != Status::Submitted {
            return Vec::new();
        }
        self.last_order += 1;
        self.orders[no].exchange_id = self.last_order;
        self.orders[no].updated = at;
        let taken = self.takes(no);
        if let Err(reason) = self.affordable(no, &taken) {
            self.orders[no].status = Status::Rejected(reason);
            return Vec::new();
        }
        self.orders[no].status = Status::Open;
        self.hold(no, self.orders[no].remaining());
        let fills = taken.into_iter().map(|(price, amount)| self.fill(no, price, amount, false, at)).collect();
        self.rest(no, at);
        fills
    }

    /// What stands against an order right now, in the steps that its amount allows.
    fn takes(&self, no: OrderNo) -> Vec<(Decimal, Decimal)> {
        let order = &self.orders[no];
        let Some(standing) = self.standings.get(&order.venue) else { return Vec::new() };
        let mut left = order.amount;
        let mut taken = Vec::new();
        for (price, depth) in standing.levels(order.side, LEVELS) {
            let within = order.price.is_none_or(|limit| match order.side {
                Side::Buy => price <= limit,
                Side::Sell => price >= limit,
            });
            if !within || left.is_zero() {
                break;
            }
            let amount = left.min(depth);
            left = difference(left, amount);
            taken.push((price, amount));
        }
        taken
    }

    fn affordable(&self, no: OrderNo, taken: &[(Decimal, Decimal)]) -> Result<(), String> {
        let order = &self.orders[no];
        if order.kind == Kind::LimitMaker && !taken.is_empty() {
            return Err("Order would immediately match and take.".to_owned());
        }
        let reached = taken.iter().fold(Decimal::ZERO, |reached, (_, amount)| sum(reached, *amount));
        if order.kind == Kind::Market && reached < order.amount {
            return Err("Not enough liquidity for a market order.".to_owned());
        }
        let worth = match order.price {
            Some(price) => product(price, order.amount),
            None => taken.iter().fold(Decimal::ZERO, |worth, (price, amount)| sum(worth, product(*price, *amount))),
        };
        if worth < Listing::notional_min() {
            return Err("Filter failure: NOTIONAL".to_owned());
        }
        let wallet = self.wallets.get(&order.wallet).ok_or("Invalid API-key, IP, or permissions for action.")?;
        let (asset, needed) = match (order.venue.market, order.side) {
            // A perpetual trade binds no units here: what it gains and loses is booked when it closes.
            (Market::Perp, Side::Buy | Side::Sell) => return Ok(()),
            (Market::Spot, Side::Buy) => (order.venue.pair.quote(), worth),
            (Market::Spot, Side::Sell) => (order.venue.pair.base(), order.amount),
        };
        if wallet.available(asset) < needed { Err(POOR.to_owned()) } else { Ok(()) }
    }

    /// Binds what this much of an order needs, or frees it when below zero. A market order binds nothing.
    fn hold(&mut self, no: OrderNo, amount: Decimal) {
        let order = &self.orders[no];
        let Some(price) = order.price.filter(|_| order.venue.market == Market::Spot) else { return };
        let (asset, units) = match order.side {
            Side::Buy => (order.venue.pair.quote(), product(price, amount)),
            Side::Sell => (order.venue.pair.base(), amount),
        };
        if let Some(wallet) = self.wallets.get_mut(&order.wallet) {
            wallet.hold(asset, units);
        }
    }

    fn rest(&mut self, no: OrderNo, at: Time) {
        let order = &self.orders[no];
        let (side, price) = (order.side, order.price);
        match price {
            Some(price) if order.is_open() => {
                if let Some(standing) = self.standings.get_mut(&order.venue) {
                    standing.resting(side).insert((price, no));
                }
            }
            Some(_) => {}
            None => self.orders[no].updated = at,
        }
    }

    /// Takes an order from the book; false if it was not there any more.
    pub(crate) fn cancel(&mut self, no: OrderNo, at: Time) -> bool {
        if !self.orders[no].is_open() {
            return false;
        }
        self.unrest(no);
        if self.orders[no].status == Status::Open {
            self.hold(no, -self.orders[no].remaining());
        }
        self.orders[no].status = Status::Cancelled;
        self.orders[no].updated = at;
        true
    }

    fn unrest(&mut self, no: OrderNo) {
        let order = &self.orders[no];
        if let (Some(price), Some(standing)) = (order.price, self.standings.get_mut(&order.venue)) {
            standing.resting(order.side).remove(&(price, no));
        }
    }

    /// The market moves. Says what it filled.
    pub(crate) fn tick(&mut self, venue: &events::bot::Venue, tick: Tick, at: Time) -> Vec<FillNo> {
        let Some(standing) = self.standings.get_mut(venue) else { return Vec::new() };
        match tick {
            Tick::Best { bid, ask } => {
                (standing.bid, standing.ask) = (bid, ask);
                Vec::new()
            }
            Tick::Print { price, amount } => {
                standing.note_print(price, amount, at);
                let (through, step) = (standing.through(price), standing.listing.amount_step);
                self.print(through, floor_to(amount, step), at)
            }
        }
    }

    fn print(&mut self, through: Vec<OrderNo>, mut left: Decimal, at: Time) -> Vec<FillNo> {
        let mut fills = Vec::new();
        for no in through {
            let amount = self.orders[no].remaining().min(left);
            if !amount.is_positive() {
                break;
            }
            left = difference(left, amount);
            let price = self.orders[no].price.expect("what rests has a price");
            fills.push(self.fill(no, price, amount, true, at));
        }
        fills
    }

    fn fill(&mut self, no: OrderNo, price: Decimal, amount: Decimal, maker: bool, at: Time) -> FillNo {
        self.hold(no, -amount);
        self.last_trade += 1;
        let order = &mut self.orders[no];
        let worth = product(price, amount);
        order.filled = sum(order.filled, amount);
        order.filled_quote = sum(order.filled_quote, worth);
        order.updated = at;
        if order.filled == order.amount {
            order.status = Status::Filled;
        }
        let rate = fee_rate(order.venue.exchange, order.venue.market, maker);
        let (fee_asset, fee) = match (order.venue.market, order.side) {
            (Market::Spot, Side::Buy) => (order.venue.pair.base(), product(amount, rate)),
            (Market::Spot, Side::Sell) | (Market::Perp, Side::Buy | Side::Sell) => {
                (order.venue.pair.quote(), product(worth, rate))
            }
        };
        let fee_quote = if fee_asset == order.venue.pair.quote() { fee } else { product(fee, price) };
        let fill =
            Fill { trade: self.last_trade, order: no, price, amount, fee_asset: fee_asset.to_owned(), fee, maker, at };
        order.fees_quote = sum(order.fees_quote, fee_quote);
        if let Some(wallet) = self.wallets.get_mut(&order.wallet) {
            settle(wallet, order, &fill);
        }
        if !self.orders[no].is_open() {
            self.unrest(no);
        }
        self.truth.record(fill)
    }
}

/// Units change by what was traded and what it cost, and by nothing else.
fn settle(wallet: &mut Wallet, order: &Order, fill: &Fill) {
    let pair = &order.venue.pair;
    let worth = product(fill.price, fill.amount);
    match (order.venue.market, order.side) {
        (Market::Spot, Side::Buy) => {
            wallet.add(pair.base(), fill.amount);
            wallet.add(pair.quote(), -worth);
        }
        (Market::Spot, Side::Sell) => {
            wallet.add(pair.base(), -fill.amount);
            wallet.add(pair.quote(), worth);
        }
        (Market::Perp, side) => {
            let gain = wallet.turn(pair, side, fill.price, fill.amount);
            wallet.add(pair.quote(), gain);
        }
    }
    wallet.add(&fill.fee_asset, -fill.fee);
}
