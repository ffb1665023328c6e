//! Facts to append: fills as an exchange tells them, the same in every run.

use events::{
    AggregateRef, Amount, BotId, ClientId, Decimal, Exchange, Market, Price, Time, Uuid,
    ledger::{Fee, FeeKind, Fill, LedgerEvent, Liquidity, Side},
};
use store::{Append, Cause, Draft, Expected};

/// 2024-08-08 23:50:00 UTC.
const START_MS: i64 = 1_723_161_000_000;
/// The exchange's time begins anew after so many: some benches leave most numbers out.
const SECONDS: u64 = 1_000_000;

/// The n-th client.
pub fn client(n: usize) -> ClientId {
    ClientId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n as u128))
}

/// A client's n-th fill: one a second, two to an order.
pub fn fill(client: ClientId, n: u64) -> Fill {
    Fill {
        bot: BotId(client.0),
        account: client.into(),
        exchange: Exchange::Kucoin,
        market: Market::Spot,
        pair: "SOL-USDT".parse().expect("it is a pair"),
        side: if mixed(n).is_multiple_of(2) { Side::Buy } else { Side::Sell },
        price: Price(Decimal::new(i128::from(170_000 + mixed(n) % 900), 3)),
        amount: Amount(Decimal::new(i128::from(1 + mixed(n) % 50), 2)),
        fees: Some(vec![Fee {
            asset: "USDT".parse().expect("it is an asset"),
            amount: Decimal::new(i128::from(1 + mixed(n) % 70), 4),
            kind: FeeKind::Fee,
        }]),
        liquidity: Liquidity::Maker,
        order: Some(format!("o{}", n / 2).parse().expect("it is an order's id")),
        trade: format!("t{n}").parse().expect("it is a trade's id"),
        at: Time::from_millis(START_MS + (n % SECONDS) as i64 * 1_000).expect("it is a moment"),
        mid_at_fill: None,
        source: "bench".into(),
        precision: None,
        raw_hash: None,
    }
}

/// These fills of one client, as one command with a dedupe key each.
pub fn recorded(client: ClientId, numbers: impl Iterator<Item = u64>) -> Append {
    let events = numbers
        .map(|n| fill(client, n))
        .map(|fill| Draft { key: Some(fill.identity()), event: LedgerEvent::FillRecorded(fill).into() })
        .collect();
    let cause = Cause::system("bench");
    Append { client, aggregate: AggregateRef::ledger(client), expected: Expected::Any, events, cause }
}

/// What the first so many fills of a client were worth together.
pub fn volume(client: ClientId, fills: u64) -> Decimal {
    let notional = |n| fill(client, n).price.times(fill(client, n).amount).expect("it fits");
    (0..fills).fold(Decimal::ZERO, |sum, n| sum.plus(notional(n)).expect("it fits"))
}

/// The payload of such a fill, for the baselines.
pub fn payload(n: u64) -> String {
    events::chain::canonical(&events::Event::from(LedgerEvent::FillRecorded(fill(client(0), n))))
}

/// Splitmix64: numbers without a pattern, the same in every run.
fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
