//! Facts for tests: clients, bots, fills and marks, made in one line each.

use domain::{
    bot::{Bot, BotCommand},
    client::{Client, ClientCommand},
    credential::{Credential, CredentialCommand},
    manual::{AskedType, ManualCommand, ManualOrder},
    subscription::{Bringer, Subscription, SubscriptionCommand},
};
use events::{
    AggregateRef, Amount, Asset, BotId, ClientId, CredentialId, Decimal, Exchange, ManualId, Market, Price, SealedId,
    SessionId, SubscriptionId, Time, Uuid,
    bot::{BotConfig, Venue},
    credential::{Fingerprint, Values},
    desk::Role,
    ledger::{Fee, FeeKind, Fill, LedgerEvent, Liquidity, Side},
    market::MarketEvent,
    subscription::Filter,
};
use store::{Append, Cause, Draft, Expected, Receipt, Streams};

/// 2024-08-08 23:50:00 UTC: ten minutes before a midnight.
pub const START_MS: i64 = 1_723_161_000_000;

pub fn at(ms: i64) -> Time {
    Time::from_millis(START_MS + ms).unwrap()
}

pub fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Onboards a client with one bot.
pub async fn client_with_bot(streams: &Streams, slug: &str) -> (ClientId, BotId) {
    let cause = Cause::system("test");
    let slug = slug.parse().unwrap();
    let client = streams.register(&slug, at(0), &cause).await.unwrap();
    let onboard = ClientCommand::Onboard { name: slug.to_string(), slug, reporting_currency: Asset::usdt(), at: at(0) };
    streams.execute::<Client>(client, &client.to_string(), onboard, Some("onboard".into()), &cause).await.unwrap();
    (client, bot(streams, client, "maker").await)
}

pub async fn bot(streams: &Streams, client: ClientId, name: &str) -> BotId {
    let config = BotConfig { controller: Some("pmm_simple".into()), ..BotConfig::default() };
    let id = BotId::new();
    let create = BotCommand::Create { name: name.parse().unwrap(), config, at: at(0) };
    streams.execute::<Bot>(client, &id.to_string(), create, None, &Cause::system("test")).await.unwrap();
    id
}

/// A credential for spot at OKX that the stream tells of, of which the vault knows nothing.
pub async fn credential(streams: &Streams, client: ClientId) -> CredentialId {
    let (exchange, market) = (Exchange::Okx, Market::Spot);
    let id = CredentialId::of(client, exchange, market);
    let values = Values { sealed: SealedId::new(), fingerprint: Fingerprint::of([0; 8]), last_four: None };
    let store = CredentialCommand::Store { exchange, market, values, at: at(0) };
    streams.execute::<Credential>(client, &id.to_string(), store, None, &Cause::system("test")).await.unwrap();
    id
}

/// An order that a client wishes for by hand, in a bot's book.
pub async fn order_by_hand(streams: &Streams, client: ClientId, bot: BotId) -> ManualId {
    let id = ManualId::of(client, bot, "by-hand");
    let venue = Some(Venue { exchange: Exchange::Kucoin, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() });
    let (side, order_type) = (Side::Buy, AskedType::LimitMaker);
    let (price, amount) = (Some(Price(d("150"))), Amount(d("1")));
    let request = ManualCommand::Request { bot, venue, side, order_type, price, amount, at: at(0) };
    streams.execute::<ManualOrder>(client, &id.to_string(), request, None, &Cause::system("test")).await.unwrap();
    id
}

/// A subscription called pager, whose key nobody has.
pub async fn subscription(streams: &Streams, client: ClientId) -> SubscriptionId {
    let name = "pager".parse().unwrap();
    let id = SubscriptionId::named(client, &name);
    let user = format!("U{}", "A".repeat(55)).parse().unwrap();
    let by = Bringer { session: SessionId::new(), role: Role::ClientOwner };
    let request = SubscriptionCommand::Request { name, filter: Filter::All, after: None, user, by, at: at(0) };
    streams.execute::<Subscription>(client, &id.to_string(), request, None, &Cause::system("test")).await.unwrap();
    id
}

/// The n-th fill of a bot, at so many milliseconds after the start.
pub fn fill(client: ClientId, bot: BotId, n: u64, ms: i64) -> Fill {
    let side = if n.is_multiple_of(3) { Side::Sell } else { Side::Buy };
    Fill {
        bot,
        account: client.into(),
        exchange: Exchange::Kucoin,
        market: Market::Spot,
        pair: "SOL-USDT".parse().unwrap(),
        side,
        price: Price(Decimal::new(170_000 + (n as i128 * 37) % 900, 3)),
        amount: Amount(Decimal::new(1 + (n as i128 * 7) % 50, 2)),
        fees: Some(vec![Fee { asset: "KCS".parse().unwrap(), amount: d("0.001"), kind: FeeKind::Fee }]),
        liquidity: Liquidity::Maker,
        order: Some(format!("o{}", n / 2).parse().unwrap()),
        trade: format!("t{n}").parse().unwrap(),
        at: at(ms),
        mid_at_fill: None,
        source: "test".into(),
        precision: None,
        raw_hash: None,
    }
}

pub fn recorded(client: ClientId, fill: Fill) -> Append {
    let key = fill.identity();
    ledger(client, LedgerEvent::FillRecorded(fill), Some(key))
}

pub fn ledger(client: ClientId, event: LedgerEvent, key: Option<String>) -> Append {
    append(client, AggregateRef::ledger(client), event.into(), key)
}

pub fn mark(client: ClientId, pair: &str, price: &str, ms: i64) -> Append {
    let pair: events::Pair = pair.parse().unwrap();
    let event =
        MarketEvent::MarkObserved { pair: pair.clone(), price: Price(d(price)), source: "test".into(), at: at(ms) };
    append(client, AggregateRef::new("market", pair), event.into(), None)
}

pub fn append(client: ClientId, aggregate: AggregateRef, event: events::Event, key: Option<String>) -> Append {
    let events = vec![Draft { event, key }];
    Append { client, aggregate, expected: Expected::Any, events, cause: Cause::system("test") }
}

/// Appends all and expects every one to be written.
pub async fn write(streams: &Streams, appends: Vec<Append>) -> Vec<Receipt> {
    let outcomes = streams.committer().append_all(appends).await;
    outcomes.into_iter().map(|outcome| outcome.expect("it is written")).collect()
}

/// An id that is the same in every run.
pub fn client_id(n: u128) -> ClientId {
    ClientId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n))
}
