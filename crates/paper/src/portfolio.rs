//! What accounts own, with prices that can be old and say nothing of their age.

use std::collections::BTreeMap;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    routing::{get, post},
};
use events::{Decimal, Exchange, Time};
use serde_json::{Value, json};

use crate::{
    exact::{product, quotient},
    floats,
    input::{Answer, Form, ok},
    server::Worlds,
    world::{World, total},
};

const FROZEN_US: i64 = 25 * 60_000_000;
const SNAPSHOTS_MAX: usize = 10_000;

/// The prices that the server last looked up, and the states that it kept.
#[derive(Debug, Default)]
pub(crate) struct Portfolio {
    prices: BTreeMap<(Exchange, String), (Decimal, Time)>,
    snapshots: Vec<(Time, Owned)>,
}

/// By account and connector.
pub(crate) type Owned = BTreeMap<String, BTreeMap<String, Vec<Holding>>>;

#[derive(Debug, Clone)]
pub(crate) struct Holding {
    token: String,
    units: Decimal,
    price: Decimal,
    available: Decimal,
}

impl Portfolio {
    pub(crate) fn keep(&mut self, at: Time, state: Owned) {
        self.snapshots.push((at, state));
        let surplus = self.snapshots.len().saturating_sub(SNAPSHOTS_MAX);
        self.snapshots.drain(..surplus);
    }
}

impl Holding {
    fn value(&self) -> Decimal {
        product(self.units, self.price)
    }

    fn told(&self) -> Value {
        json!({
            "token": self.token,
            "units": floats::number(self.units),
            "price": floats::number(self.price),
            "value": floats::number(self.value()),
            "available_units": floats::number(self.available),
        })
    }
}

pub(crate) fn routes() -> Router<Worlds> {
    Router::new()
        .route("/portfolio/state", post(state))
        .route("/portfolio/history", post(history))
        .route("/portfolio/distribution", post(distribution))
        .route("/portfolio/accounts-distribution", get(accounts_distribution))
}

impl World {
    /// What the accounts own; of all accounts if none is named.
    pub(crate) fn state(&mut self, accounts: Option<&[String]>, connectors: Option<&[String]>) -> Owned {
        let wanted = |filter: Option<&[String]>, name: &String| filter.is_none_or(|names| names.contains(name));
        let all: Vec<_> = self.accounts.credentials.clone().into_iter().collect();
        let mut state = Owned::new();
        for ((account, connector), credential) in all {
            if wanted(accounts, &account) && wanted(connectors, &connector) {
                let wallet = self.exchanges.wallets.get(&credential.wallet).cloned().unwrap_or_default();
                let exchange = credential.wallet.exchange;
                let holdings =
                    wallet.units.iter().filter(|(_, units)| !units.is_zero()).map(|(token, units)| Holding {
                        token: token.clone(),
                        units: *units,
                        price: self.price(exchange, token),
                        available: wallet.available(token),
                    });
                let holdings = holdings.collect();
                state.entry(account).or_default().insert(connector, holdings);
            }
        }
        state
    }

    /// Anything with USD in its name costs one; what has no price costs nothing; the rest may be 25 minutes old.
    fn price(&mut self, exchange: Exchange, token: &str) -> Decimal {
        if token.contains("USD") {
            return Decimal::ONE;
        }
        let key = (exchange, token.to_owned());
        let frozen = self.dice.faults.frozen_prices;
        let kept = self.portfolio.prices.get(&key).filter(|(_, at)| frozen && at.plus_micros(FROZEN_US) > self.now);
        if let Some((price, _)) = kept {
            return *price;
        }
        let price = self.usdt_price(exchange, token).unwrap_or_default();
        self.portfolio.prices.insert(key, (price, self.now));
        price
    }
}

fn told(state: &Owned) -> Value {
    let holdings = |holdings: &Vec<Holding>| Value::Array(holdings.iter().map(Holding::told).collect());
    let account = |connectors: &BTreeMap<String, Vec<Holding>>| {
        Value::Object(connectors.iter().map(|(name, owned)| (name.clone(), holdings(owned))).collect())
    };
    Value::Object(state.iter().map(|(name, connectors)| (name.clone(), account(connectors))).collect())
}

async fn state(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let mut form = Form::body(&body)?;
    let (accounts, connectors) = (form.texts("account_names"), form.texts("connector_names"));
    form.flag("skip_gateway", false);
    // A refresh asks the exchange for units; prices stay what they are.
    form.flag("refresh", false);
    form.done()?;
    let state = worlds.lock().state(accounts.as_deref(), connectors.as_deref());
    ok(&told(&state))
}

async fn history(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let mut form = Form::body(&body)?;
    let (accounts, connectors) = (form.texts("account_names"), form.texts("connector_names"));
    let (start, end, limit) = (form.whole("start_time"), form.whole("end_time"), form.limit());
    let (cursor, interval) = (form.text_if("cursor"), form.text_or("interval", "5m"));
    form.done()?;
    let world = worlds.lock();
    let kept = |at: &Time| {
        let seconds = at.millis() / 1_000;
        start.is_none_or(|start| seconds >= start)
            && end.is_none_or(|end| seconds <= end)
            && cursor.as_ref().is_none_or(|cursor| floats::iso(*at) < *cursor)
    };
    let mut rows = world.portfolio.snapshots.iter().rev().filter(|(at, _)| kept(at));
    let page: Vec<Value> = rows
        .by_ref()
        .take(limit)
        .map(|(at, state)| json!({"timestamp": floats::iso(*at), "state": told(&filtered(state, accounts.as_deref(), connectors.as_deref()))}))
        .collect();
    let has_more = rows.next().is_some();
    let next = page.last().filter(|_| has_more).map(|row| row["timestamp"].clone());
    ok(&json!({
        "data": page,
        "pagination": {
            "limit": limit,
            "has_more": has_more,
            "next_cursor": next,
            "current_cursor": cursor,
            "filters": {
                "account_names": accounts,
                "connector_names": connectors,
                "start_time": start,
                "end_time": end,
                "interval": interval,
            },
        },
    }))
}

fn filtered(state: &Owned, accounts: Option<&[String]>, connectors: Option<&[String]>) -> Owned {
    let mut state = state.clone();
    state.retain(|account, _| accounts.is_none_or(|names| names.contains(account)));
    for owned in state.values_mut() {
        owned.retain(|connector, _| connectors.is_none_or(|names| names.contains(connector)));
    }
    state
}

fn worth<'a>(holdings: impl Iterator<Item = &'a Holding>) -> Decimal {
    total(holdings.map(Holding::value))
}

fn percentage(part: Decimal, whole: Decimal) -> Value {
    floats::number(quotient(product(part, Decimal::from_int(100)), whole).rounded(4))
}

async fn distribution(State(worlds): State<Worlds>, body: Bytes) -> Answer {
    let mut form = Form::body(&body)?;
    let (accounts, connectors) = (form.texts("account_names"), form.texts("connector_names"));
    form.done()?;
    let state = worlds.lock().state(accounts.as_deref(), connectors.as_deref());
    let all = worth(state.values().flat_map(BTreeMap::values).flatten());
    let mut tokens: BTreeMap<&str, Vec<(&str, &str, &Holding)>> = BTreeMap::new();
    for (account, connectors) in &state {
        for (connector, holding) in connectors.iter().flat_map(|(name, owned)| owned.iter().map(move |one| (name, one)))
        {
            tokens.entry(&holding.token).or_default().push((account, connector, holding));
        }
    }
    let rows: Vec<Value> = tokens.iter().map(|(token, held)| token_row(token, held, all)).collect();
    ok(&json!({
        "total_portfolio_value": floats::number(all),
        "token_count": rows.len(),
        "distribution": rows,
        "account_filter": accounts.map_or_else(|| "all_accounts".to_owned(), |names| names.join(", ")),
    }))
}

fn token_row(token: &str, held: &[(&str, &str, &Holding)], all: Decimal) -> Value {
    let mut accounts = serde_json::Map::new();
    for (account, _, _) in held {
        let own: Vec<_> = held.iter().filter(|(owner, _, _)| owner == account).collect();
        let value = worth(own.iter().map(|(_, _, holding)| *holding));
        let connectors = own.iter().map(|(_, connector, holding)| {
            let told = json!({"value": floats::number(holding.value()), "units": floats::number(holding.units)});
            ((*connector).to_owned(), told)
        });
        let told = json!({
            "value": floats::number(value),
            "units": floats::number(total(own.iter().map(|(_, _, holding)| holding.units))),
            "percentage": percentage(value, all),
            "connectors": Value::Object(connectors.collect()),
        });
        accounts.insert((*account).to_owned(), told);
    }
    let value = worth(held.iter().map(|(_, _, holding)| *holding));
    json!({
        "token": token,
        "total_value": floats::number(value),
        "total_units": floats::number(total(held.iter().map(|(_, _, holding)| holding.units))),
        "percentage": percentage(value, all),
        "accounts": accounts,
    })
}

async fn accounts_distribution(State(worlds): State<Worlds>) -> Answer {
    let state = worlds.lock().state(None, None);
    let all = worth(state.values().flat_map(BTreeMap::values).flatten());
    let row = |(account, connectors): (&String, &BTreeMap<String, Vec<Holding>>)| {
        let value = worth(connectors.values().flatten());
        let connectors = connectors.iter().map(|(name, owned)| {
            let value = worth(owned.iter());
            (name.clone(), json!({"value": floats::number(value), "percentage": percentage(value, all)}))
        });
        json!({
            "account": account,
            "total_value": floats::number(value),
            "percentage": percentage(value, all),
            "connectors": Value::Object(connectors.collect()),
        })
    };
    ok(&json!({
        "total_portfolio_value": floats::number(all),
        "account_count": state.len(),
        "distribution": state.iter().map(row).collect::<Vec<_>>(),
    }))
}
