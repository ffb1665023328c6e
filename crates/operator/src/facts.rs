//! What a source told, as facts of a client's ledger: which bot's it is has to be proved first.

use domain::bot::Bot;
use events::{
    AccountName, Amount, BotId, Decimal, OrderId, Price, TradeId,
    bot::Venue,
    ledger::{Fee, FeeKind, Fill, Liquidity, Precision, Side},
    manual::RestingType,
    order::OrderEvent,
};
use hummingbot::{
    ArchivedOrder, ConnectorName, LastEvent, OrderType, RoundedFees, RoundedTrade, Trade, TradeFee,
    mqtt::{self, Happened},
};
use sha2::{Digest, Sha256};

use crate::switchboard::asked_name;

/// Whose trading a message or a row is taken for.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub bot: BotId,
    pub account: AccountName,
    /// Where this deployment trades. A bot keeps it for as long as it runs.
    pub venue: Venue,
}

impl Owner {
    /// The owner of what an instance tells; absent where the bot never had one of this name.
    pub fn of(id: BotId, bot: &Bot, instance: &str, account: AccountName) -> Option<Self> {
        let venue = bot.venue_of(asked_name(instance))?.clone();
        Some(Self { bot: id, account, venue })
    }

    /// A fill that the bot told itself, exact. What it tells of another pair is not this bot's.
    pub fn fill(&self, told: &mqtt::Fill, at: events::Time, raw: &[u8]) -> Result<Fill, String> {
        self.trades(&told.pair)?;
        Ok(Fill {
            fees: fees(&told.fee, told.price.0, told.amount.0, &told.pair),
            liquidity: liquidity(told.order_type),
            order: Some(told.order.clone()),
            source: "mqtt".to_owned(),
            raw_hash: Some(hex::encode(Sha256::digest(raw))),
            ..self.bare(told.trade.clone(), told.side, told.price, told.amount, at)
        })
    }

    /// A fill from a source that rounds. It must be of the connector and the pair that the bot trades.
    pub fn rounded(&self, told: &RoundedTrade, source: &str) -> Result<Fill, String> {
        if told.connector != ConnectorName::of(self.venue.exchange, self.venue.market) {
            return Err(format!("the bot does not trade on {}", told.connector));
        }
        self.trades(&told.pair)?;
        Ok(Fill {
            fees: match &told.fees {
                RoundedFees::Charged(fee) => fees(fee, told.price.0, told.amount.0, &told.pair),
                RoundedFees::InQuote(paid) => {
                    Some(vec![Fee { asset: paid.asset.clone(), amount: paid.amount, kind: FeeKind::Fee }])
                }
                RoundedFees::Untold => None,
            },
            order: told.order.clone(),
            source: source.to_owned(),
            precision: Some(Precision::SixPlaces),
            ..self.bare(told.trade.clone(), told.side, told.price, told.amount, told.at)
        })
    }

    /// A fill of an order that the API placed for this bot's book.
    pub fn api_fill(&self, told: &Trade, order_type: RestingType) -> Result<Fill, String> {
        self.trades(&told.pair)?;
        let trade = told.exchange_trade().ok_or("it does not say which trade of the exchange it is")?;
        Ok(Fill {
            fees: told
                .fee
                .as_ref()
                .map(|paid| vec![Fee { asset: paid.asset.clone(), amount: paid.amount, kind: FeeKind::Fee }]),
            liquidity: liquidity(Some(in_hummingbots_words(order_type))),
            order: Some(told.order.clone()),
            source: "api".to_owned(),
            ..self.bare(trade, told.side, told.price, told.amount, told.at)
        })
    }

    /// A fill of this bot on its pair, with nothing known of it but the trade itself.
    fn bare(&self, trade: TradeId, side: Side, price: Price, amount: Amount, at: events::Time) -> Fill {
        Fill {
            bot: self.bot,
            account: self.account.clone(),
            exchange: self.venue.exchange,
            market: self.venue.market,
            pair: self.venue.pair.clone(),
            side,
            price,
            amount,
            fees: None,
            liquidity: Liquidity::Unknown,
            order: None,
            trade,
            at,
            mid_at_fill: None,
            source: String::new(),
            precision: None,
            raw_hash: None,
        }
    }

    fn trades(&self, pair: &events::Pair) -> Result<(), String> {
        if *pair == self.venue.pair { Ok(()) } else { Err(format!("the bot does not trade {pair}")) }
    }

    /// What an archive tells of an order's life: that it was placed, where its side is known, and how it ended.
    pub fn archived(&self, told: &ArchivedOrder, side: Option<Side>) -> Result<Life, String> {
        if told.connector != ConnectorName::of(self.venue.exchange, self.venue.market) {
            return Err(format!("the bot does not trade on {}", told.connector));
        }
        self.trades(&told.pair)?;
        let (order, venue, at) = (|| told.order.clone(), || self.venue.clone(), told.updated_at);
        let end = match told.last {
            LastEvent::Created | LastEvent::Filled | LastEvent::Other(_) => None,
            LastEvent::Completed => Some(OrderEvent::OrderFilled { order: order(), venue: venue(), at }),
            LastEvent::Cancelled => Some(OrderEvent::OrderCancelled { order: order(), venue: venue(), at }),
            LastEvent::Expired => Some(OrderEvent::OrderExpired { order: order(), venue: venue(), at }),
            LastEvent::Failed => {
                let reason = "its bot's archive gives no reason".to_owned();
                Some(OrderEvent::OrderRejected { order: order(), venue: venue(), reason, at })
            }
        };
        // What failed may never have been taken.
        let side = side.or(told.side).filter(|_| told.last != LastEvent::Failed);
        let (price, amount, at) = (told.price, told.amount, told.created_at);
        let precision = Some(Precision::SixPlaces);
        let placed =
            |side| OrderEvent::OrderPlaced { order: order(), venue: venue(), side, price, amount, precision, at };
        Ok(Life { placed: side.map(placed), end })
    }

    /// What an event of the bot tells of an order's life; `None`: nothing.
    pub fn order(&self, told: &Happened, at: events::Time) -> Result<Option<OrderEvent>, String> {
        let venue = || self.venue.clone();
        let event = match told {
            Happened::OrderCreated { order, pair, side, amount, price, .. } => {
                self.trades(pair)?;
                let (order, price) = (order.clone(), *price);
                let (side, amount) = (*side, *amount);
                OrderEvent::OrderPlaced { order, venue: venue(), side, price, amount, precision: None, at }
            }
            Happened::OrderCompleted { order, .. } => {
                OrderEvent::OrderFilled { order: order.clone(), venue: venue(), at }
            }
            Happened::OrderCancelled { order, .. } => {
                OrderEvent::OrderCancelled { order: order.clone(), venue: venue(), at }
            }
            Happened::OrderFailed { order, reason } => {
                let reason = reason.clone().unwrap_or_else(|| "the exchange gave no reason".to_owned());
                OrderEvent::OrderRejected { order: order.clone(), venue: venue(), reason, at }
            }
            Happened::OrderExpired { order } => OrderEvent::OrderExpired { order: order.clone(), venue: venue(), at },
            Happened::OrderFilled(_) | Happened::FundingPaid { .. } | Happened::Other { .. } => return Ok(None),
        };
        Ok(Some(event))
    }
}

/// An order's life as far as an archive knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    pub placed: Option<OrderEvent>,
    pub end: Option<OrderEvent>,
}

/// What makes one step of an order's life unique in its client's stream.
pub(crate) fn order_key(bot: BotId, event: &OrderEvent) -> String {
    step_key(bot, event.order(), event.name())
}

/// The same, for a step by its event's name.
pub(crate) fn step_key(bot: BotId, order: &OrderId, name: &str) -> String {
    format!("order:{bot}:{}:{name}", events::ledger::escaped(order.as_str()))
}

/// What was charged. A rate is turned into an amount of its asset; without either nobody knows the fee, which is not none.
fn fees(told: &TradeFee, price: Decimal, amount: Decimal, pair: &events::Pair) -> Option<Vec<Fee>> {
    if !told.charged.is_empty() {
        let charged = told.charged.iter();
        return Some(
            charged.map(|paid| Fee { asset: paid.asset.clone(), amount: paid.amount, kind: FeeKind::Fee }).collect(),
        );
    }
    let asset = told.share_asset.clone().unwrap_or_else(|| pair.quote_asset());
    let of = if asset.as_str() == pair.base() { amount } else { price.times(amount).ok()? };
    let is_known = !told.share.is_zero() && (asset.as_str() == pair.base() || asset.as_str() == pair.quote());
    is_known.then(|| told.share.times(of).ok().map(|amount| vec![Fee { asset, amount, kind: FeeKind::Fee }])).flatten()
}

/// How Hummingbot calls it.
pub(crate) fn in_hummingbots_words(order_type: RestingType) -> OrderType {
    match order_type {
        RestingType::Limit => OrderType::Limit,
        RestingType::LimitMaker => OrderType::LimitMaker,
    }
}

fn liquidity(told: Option<OrderType>) -> Liquidity {
    match told {
        Some(OrderType::Market) => Liquidity::Taker,
        // A limit order may have crossed the book; only one that may not is sure to have rested.
        Some(OrderType::LimitMaker) => Liquidity::Maker,
        Some(OrderType::Limit) | None => Liquidity::Unknown,
    }
}
