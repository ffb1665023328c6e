//! A client's ledger, as its stream tells it, held against what really happened on the paper exchanges.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use events::{
    BotId, ClientId, Decimal, Event, Time,
    bot::BotEvent,
    ledger::{Fill, LedgerEvent, Side},
};
use sqlx::PgPool;
use store::read;

use super::outside::{TrueFee, TrueFill};

/// Events that are read at a time.
const PAGE: u32 = 5_000;
/// A trade with oneself has one id and two sides.
type Trade = (String, Side);

/// What a client's stream tells since the demo began.
#[derive(Debug, Default)]
struct Ledger {
    /// By the number that each was recorded under first.
    fills: BTreeMap<u64, Fill>,
    /// Whose instance each is.
    instances: BTreeMap<String, BotId>,
}

/// Whether the fills since a moment are the true ones, one for one; how many there are.
pub async fn agrees(db: &PgPool, client: ClientId, since: Time, truth: &[TrueFill]) -> anyhow::Result<usize> {
    let mut ledger = Ledger::read(db, client).await?;
    ledger.fills.retain(|_, fill| fill.at >= since);
    ledger.agrees(truth.iter().filter(|fill| fill.account == client.into()))
}

impl Ledger {
    async fn read(db: &PgPool, client: ClientId) -> anyhow::Result<Self> {
        let (mut ledger, mut reached) = (Self::default(), 0);
        loop {
            let events = read::after(db, client, reached, PAGE).await?;
            let Some(last) = events.last() else { return Ok(ledger) };
            reached = last.seq;
            events.into_iter().for_each(|event| ledger.follow(event.seq, event.aggregate.id, event.event));
        }
    }

    fn agrees<'a>(&self, truth: impl Iterator<Item = &'a TrueFill>) -> anyhow::Result<usize> {
        let mut ours: BTreeMap<Trade, &Fill> = BTreeMap::new();
        for fill in self.fills.values() {
            let before = ours.insert((fill.trade.to_string(), fill.side), fill);
            ensure!(before.is_none(), "trade {} stands in it twice", fill.trade);
        }
        let really: BTreeMap<Trade, &TrueFill> = truth.map(|fill| ((fill.trade.clone(), fill.side), fill)).collect();
        for (trade, fill) in &really {
            let own = ours.remove(trade).with_context(|| format!("it lacks {fill:?}"))?;
            let bot = fill.bot.as_ref().and_then(|instance| self.instances.get(instance));
            ensure!(bot == Some(&own.bot) && is_same(own, fill)?, "it tells {own:?}, and what happened is {fill:?}");
        }
        ensure!(ours.is_empty(), "it tells what never happened: {ours:?}");
        Ok(really.len())
    }

    fn follow(&mut self, seq: u64, id: String, event: Event) {
        if let Event::Ledger(LedgerEvent::FillRecorded(fill)) = event {
            self.fills.insert(seq, fill);
        } else if let Event::Ledger(LedgerEvent::FillCorrected { corrects, fill, .. }) = event {
            self.fills.insert(corrects, *fill);
        } else if let Event::Ledger(LedgerEvent::FillVoided { voids, .. }) = event {
            self.fills.remove(&voids);
        } else if let Event::Bot(BotEvent::BotDeployed { instance, .. }) = event
            && let Ok(bot) = id.parse()
        {
            self.instances.insert(instance, bot);
        }
    }
}

/// Whether both tell the same. What no source told exactly may be off by the places that were cut.
fn is_same(own: &Fill, fill: &TrueFill) -> anyhow::Result<bool> {
    let off_max = if own.precision.is_some() { Decimal::new(1, 6) } else { Decimal::ZERO };
    let off = |told: Decimal, really: Decimal| told.minus(really).map(Decimal::abs);
    let order_is_known = own.order.is_some() || own.precision.is_some();
    Ok(order_is_known
        && own.order.as_ref().is_none_or(|order| *order == fill.order)
        && (own.exchange, own.market, &own.pair) == (fill.exchange, fill.market, &fill.pair)
        && off(own.price.0, fill.price)? <= off_max
        && off(own.amount.0, fill.amount)? <= off_max
        && (own.precision.is_some() || charged(own) == fill.fees))
}

fn charged(fill: &Fill) -> Vec<TrueFee> {
    let fees = fill.fees.iter().flatten();
    fees.map(|fee| TrueFee { asset: fee.asset.clone(), amount: fee.amount }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const BOT: &str = "01900000-0000-7000-8000-000000000001";
    const CLIENT: &str = "01900000-0000-7000-8000-000000000002";

    fn own(other: &Value) -> Fill {
        let mut fill = json!({
            "bot": BOT, "account": CLIENT, "exchange": "kucoin", "market": "spot", "pair": "SOL-USDT", "side": "buy",
            "price": "170.0000001", "amount": "2", "fees": [{"asset": "SOL", "amount": "0.002"}], "liquidity": "maker",
            "order": "o1", "trade": "t1", "at": "2026-01-01T00:00:00Z", "source": "mqtt",
        });
        fill.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        serde_json::from_value(fill).unwrap()
    }

    fn ledger(fills: &[Fill]) -> Ledger {
        let instances = BTreeMap::from([("pl-1".to_owned(), BOT.parse().unwrap())]);
        Ledger { fills: (1..).zip(fills.iter().cloned()).collect(), instances }
    }

    fn really() -> TrueFill {
        serde_json::from_value(json!({
            "bot": "pl-1", "account": CLIENT, "exchange": "kucoin", "market": "spot", "pair": "SOL-USDT", "side": "buy",
            "price": "170.0000001", "amount": "2", "fees": [{"asset": "SOL", "amount": "0.002"}],
            "order_id": "o1", "exchange_trade_id": "t1",
        }))
        .unwrap()
    }

    #[test]
    fn a_ledger_agrees_only_with_what_happened() {
        let agrees = |own: &[Fill], really: &[TrueFill]| ledger(own).agrees(really.iter()).ok();
        let same = own(&json!({}));
        assert_eq!(agrees(std::slice::from_ref(&same), &[really()]), Some(1));
        assert_eq!(agrees(&[], &[]), Some(0));
        let rounded = own(&json!({"price": "170", "precision": "6dp"}));
        assert_eq!(agrees(&[rounded], &[really()]), Some(1));
        for other in [
            json!({"price": "170"}),
            json!({"amount": "2.1"}),
            json!({"side": "sell"}),
            json!({"trade": "t2"}),
            json!({"order": "o2"}),
            json!({"bot": CLIENT}),
            json!({"exchange": "okx"}),
            json!({"fees": [{"asset": "SOL", "amount": "0.001"}]}),
            json!({"price": "170.1", "precision": "6dp"}),
        ] {
            assert_eq!(agrees(&[own(&other)], &[really()]), None, "{other}");
        }
        assert_eq!(agrees(&[], &[really()]), None);
        assert_eq!(agrees(std::slice::from_ref(&same), &[]), None);
        assert_eq!(agrees(&[same.clone(), same], &[really()]), None);
    }
}
