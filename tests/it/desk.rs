//! A platform beside a Hummingbot on paper, and what a client does there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use events::{
    ClientId, Decimal, Event, Exchange, Market, Time,
    ledger::{Fill, LedgerEvent},
};
use paper::Settings;
use serde_json::{Value, json};
use store::{Login, read};
use tests::{Database, Outside, Served, token};

use crate::edge::seq;

/// How long the test waits for something that takes a second or two.
const PATIENCE: Duration = Duration::from_secs(40);

/// A platform and its outside, and one client's way in.
pub struct Desk {
    pub database: Database,
    pub outside: Outside,
    pub served: Served,
}

pub struct Client {
    pub id: ClientId,
    pub token: String,
}

impl Desk {
    pub async fn open(settings: Settings) -> Self {
        let (database, outside) = (Database::new().await, Outside::start(settings).await);
        let served = Served::of(outside.serve(&database, "api,projector,operator"));
        Self { database, outside, served }
    }

    pub async fn onboard(&self, slug: &str) -> Client {
        let admin = token(&self.database, None);
        let body = json!({"slug": slug, "name": slug});
        let told = self.served.post(&admin, "/api/admin/clients", &format!("onboard-{slug}"), &body).await.json();
        let id: ClientId = told["client_id"].as_str().expect("it tells the id").parse().unwrap();
        Client { token: token(&self.database, Some(id)), id }
    }

    /// Gives a fake key for an exchange.
    pub async fn give_key(&self, client: &Client, exchange: &str, key: &str) {
        let body = json!({"exchange": exchange, "market": "spot", "fields": fields(exchange, key)});
        let path = "/api/clients/credentials";
        let stored = self.served.post(&client.token, path, &format!("key-{exchange}"), &body).await;
        assert_eq!(stored.status, 201, "{}", stored.text());
    }

    /// Gives a fake key for an exchange and waits until it is active.
    pub async fn connect(&self, client: &Client, exchange: &str, key: &str) {
        self.give_key(client, exchange, key).await;
        let is_active = |told: &Value| credential(told, exchange).is_some_and(|one| one["state"] == "active");
        self.until(client, "/api/clients/credentials", is_active).await;
    }

    /// Gives another fake key; when.
    pub async fn rotate_key(&self, client: &Client, exchange: &str, key: &str) -> Time {
        let (at, id) = (Time::now(), self.credential_id(client, exchange).await);
        let path = format!("/api/clients/credentials/{id}/rotate");
        let body = json!({"fields": fields(exchange, key)});
        let told = self.served.post(&client.token, &path, &format!("rotate-{exchange}"), &body).await;
        assert_eq!(told.status, 202, "{}", told.text());
        at
    }

    /// Wants a key out of use.
    pub async fn revoke_key(&self, client: &Client, exchange: &str) {
        let path = format!("/api/clients/credentials/{}/revoke", self.credential_id(client, exchange).await);
        let told =
            self.served.post(&client.token, &path, &format!("revoke-{exchange}"), &json!({"reason": "done"})).await;
        assert_eq!(told.status, 202, "{}", told.text());
    }

    async fn credential_id(&self, client: &Client, exchange: &str) -> String {
        let is_there = |told: &Value| credential(told, exchange).is_some();
        let told = self.until(client, "/api/clients/credentials", is_there).await;
        credential(&told, exchange).unwrap()["credential_id"].as_str().unwrap().to_owned()
    }

    /// Creates a market maker; its id.
    pub async fn maker(&self, client: &Client, name: &str, exchange: &str, pair: &str) -> String {
        let config = json!({
            "controller": "pmm_simple",
            "venue": {"exchange": exchange, "market": "spot", "pair": pair},
            "parameters": {
                "total_amount_quote": "2000",
                "buy_spreads": "[0.0001,0.0004]",
                "sell_spreads": "[0.0001,0.0004]",
                "executor_refresh_time": "2",
                "cooldown_time": "1",
            },
        });
        let body = json!({"name": name, "config": config});
        let created = self.served.post(&client.token, "/api/bots", &format!("create-{name}"), &body).await;
        created.json()["bot_id"].as_str().expect("it tells the id").to_owned()
    }

    pub async fn want(&self, client: &Client, bot: &str, what: &str, key: &str) -> u64 {
        let told = self.served.post(&client.token, &format!("/api/bots/{bot}/{what}"), key, &json!({})).await;
        seq(&told.json())
    }

    /// Asks until the answer is the one that is waited for.
    pub async fn until(&self, client: &Client, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let answer = self.served.ask(&client.token, path).await;
            if answer.status == 200 && is_it(&answer.json()) {
                return answer.json();
            }
            assert!(since.elapsed() < PATIENCE, "{path} still says {}", answer.text());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn running(&self, client: &Client, bot: &str) -> Value {
        self.until(client, &format!("/api/bots/{bot}"), |bot| bot["answer"] == "deployed").await
    }

    pub async fn archived(&self, client: &Client, instance: &str) {
        let since = Instant::now();
        while !events_of(&self.database, client.id).await.iter().any(|(_, event)| {
            matches!(event, Event::Bot(events::bot::BotEvent::BotArchived { instance: told, .. }) if told == instance)
        }) {
            assert!(since.elapsed() < PATIENCE, "{instance} was not put away");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn has_true_fills(&self, client: &Client, at_least: usize) {
        let since = Instant::now();
        while self.outside.true_fills(&client.id.to_string()).await.len() < at_least {
            assert!(since.elapsed() < PATIENCE, "too few fills on paper");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn credential<'a>(told: &'a Value, exchange: &str) -> Option<&'a Value> {
    told.as_array()?.iter().find(|one| one["exchange"] == exchange)
}

/// Obviously no real ones.
fn fields(exchange: &str, key: &str) -> BTreeMap<&'static str, String> {
    let exchange: Exchange = exchange.parse().unwrap();
    let required = exchange.fields(Market::Spot).iter().filter(|field| field.required);
    required.map(|field| (field.name, format!("fake-{key}-{}", field.name))).collect()
}

/// Every event of a client, and what it is about.
pub async fn events_of(database: &Database, client: ClientId) -> Vec<(String, Event)> {
    let events = read::after(&database.pool(Login::Projector), client, 0, 1_000_000).await.unwrap();
    events.into_iter().map(|event| (event.aggregate.id, event.event)).collect()
}

/// The ledger as it is known now, by trade and side; a fill that is there twice fails.
pub async fn ledger(database: &Database, client: ClientId) -> BTreeMap<(String, String), Fill> {
    let mut by_seq: BTreeMap<u64, Fill> = BTreeMap::new();
    for event in read::after(&database.pool(Login::Projector), client, 0, 1_000_000).await.unwrap() {
        let Event::Ledger(fact) = event.event else { continue };
        match fact {
            LedgerEvent::FillRecorded(fill) => drop(by_seq.insert(event.seq, fill)),
            LedgerEvent::FillCorrected { corrects, fill, .. } => drop(by_seq.insert(corrects, *fill)),
            LedgerEvent::FillVoided { .. }
            | LedgerEvent::FillDisputed { .. }
            | LedgerEvent::OpeningPosition { .. }
            | LedgerEvent::FundingPaid { .. }
            | LedgerEvent::TransferRecorded { .. }
            | LedgerEvent::FeeRateSupplied { .. } => panic!("nobody on paper does that: {fact:?}"),
        }
    }
    let count = by_seq.len();
    let by_trade: BTreeMap<_, _> =
        by_seq.into_values().map(|fill| ((fill.trade.to_string(), fill.side.to_string()), fill)).collect();
    assert_eq!(by_trade.len(), count, "a trade stands in the ledger twice");
    by_trade
}

/// Holds the ledger against what really happened: the same fills, each of the right bot, exact unless it says otherwise.
pub async fn agrees(desk: &Desk, client: &Client, bots: &BTreeMap<String, String>) -> usize {
    let (ours, truth) =
        (ledger(&desk.database, client.id).await, desk.outside.true_fills(&client.id.to_string()).await);
    let lists = |keys: Vec<&(String, String)>| format!("{keys:?}");
    assert_eq!(lists(ours.keys().collect()), lists(truth.keys().collect()), "the fills are others than the true ones");
    for (key, fill) in &ours {
        let true_one = &truth[key];
        assert_eq!(bots.get(true_one["bot"].as_str().unwrap()), Some(&fill.bot.to_string()), "{true_one}");
        assert_eq!(
            (fill.pair.as_str(), fill.exchange.name()),
            (true_one["pair"].as_str().unwrap(), true_one["exchange"].as_str().unwrap())
        );
        let exact = |field: &str| -> Decimal { true_one[field].as_str().unwrap().parse().unwrap() };
        if fill.precision.is_none() {
            assert_eq!((fill.price.0, fill.amount.0), (exact("price"), exact("amount")), "{key:?}");
            assert_eq!(fill.order.as_ref().map(ToString::to_string), true_one["order_id"].as_str().map(str::to_owned));
        } else {
            let off = fill.price.0.minus(exact("price")).unwrap().abs();
            assert!(off <= "0.000001".parse().unwrap(), "{key:?} is off by {off}");
        }
        let fees = fill.fees.as_ref().expect("paper tells every fee");
        let paid_in = true_one["fees"][0]["asset"].as_str().unwrap();
        // The archive tells a fee by its worth alone; whoever knew a fill first from the bot knows what was charged.
        assert!(fees[0].asset.as_str() == paid_in || fill.source == "archive", "{fill:?}");
    }
    ours.len()
}
