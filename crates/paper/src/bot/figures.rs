//! What a controller says of its own performance. The desk's own figures are not made from these.

use events::{Decimal, ledger::Side};
use serde_json::{Value, json};

use crate::exact::{difference, product, quotient, sum};

/// Position at its average price, and what was gained, traded and paid.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    position: Decimal,
    cost: Decimal,
    realized: Decimal,
    volume: Decimal,
    fees: Decimal,
    fills: u64,
}

impl Figures {
    pub(crate) fn trade(&mut self, side: Side, price: Decimal, amount: Decimal, fee_quote: Decimal) {
        let signed = match side {
            Side::Buy => amount,
            Side::Sell => -amount,
        };
        let closes = !self.position.is_zero() && self.position.is_negative() != signed.is_negative();
        if closes {
            let closed = amount.min(self.position.abs());
            let average = quotient(self.cost, self.position);
            let gain = product(difference(price, average).rounded(18), closed);
            self.realized = sum(self.realized, if self.position.is_negative() { -gain } else { gain });
        }
        let before = self.position;
        self.position = sum(before, signed);
        let turned = !self.position.is_zero() && self.position.is_negative() != before.is_negative();
        self.cost = if closes && !turned {
            product(quotient(self.cost, before).rounded(18), self.position)
        } else if closes {
            product(price, self.position)
        } else {
            sum(self.cost, product(price, signed))
        };
        self.volume = sum(self.volume, product(price, amount));
        self.fees = sum(self.fees, fee_quote);
        self.realized = difference(self.realized, fee_quote);
        self.fills += 1;
    }

    /// As the bot reports it, with numbers as its reader writes them.
    pub(crate) fn told(&self, connector: &str, pair: &str, mid: Decimal, number: fn(Decimal) -> Value) -> Value {
        let unrealized = difference(product(self.position, mid), self.cost);
        let global = sum(self.realized, unrealized);
        let part = |gain: Decimal| number(quotient(product(gain, Decimal::from_int(100)), self.volume).rounded(18));
        let summary = json!({
            "connector_name": connector,
            "trading_pair": pair,
            "volume_traded_quote": number(self.volume),
            "side": if self.position.is_negative() { "TradeType.SELL" } else { "TradeType.BUY" },
            "amount": number(self.position.abs()),
            "breakeven_price": number(quotient(self.cost, self.position).rounded(18)),
            "unrealized_pnl_quote": number(unrealized),
            "realized_pnl_quote": number(self.realized),
            "cum_fees_quote": number(self.fees),
        });
        json!({
            "realized_pnl_quote": number(self.realized),
            "unrealized_pnl_quote": number(unrealized),
            "unrealized_pnl_pct": part(unrealized),
            "realized_pnl_pct": part(self.realized),
            "global_pnl_quote": number(global),
            "global_pnl_pct": part(global),
            "volume_traded": number(self.volume),
            "positions_summary": if self.fills == 0 { vec![] } else { vec![summary] },
            "close_type_counts": if self.fills == 0 { json!({}) } else { json!({"CloseType.POSITION_HOLD": self.fills}) },
        })
    }
}
