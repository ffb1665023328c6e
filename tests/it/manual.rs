//! Orders by hand against a Hummingbot on paper: each is placed once or not at all, whoever dies on the way; its fills
//! stand in its bot's ledger, and one that the server lost is noticed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use events::{
    ClientId, Event, Exchange, ManualId, Market,
    bot::{BotEvent, Venue},
    desk::DeskEvent,
    ledger::{Fill, LedgerEvent},
    manual::{HowEnded, ManualOrderEvent},
};
use paper::{FeedSettings, MarketSettings, Settings};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use store::{Login, read};
use tests::{Database, Outside, Served, token};

const PATIENCE: Duration = Duration::from_secs(60);

/// A desk whose edge and whose hands are two processes, and a market that moves only when a test says so.
struct Desk {
    database: Database,
    outside: Outside,
    edge: Served,
    hands: Served,
}

struct Client {
    id: ClientId,
    token: String,
    bot: String,
}

impl Desk {
    async fn open() -> Self {
        let venue = Venue { exchange: Exchange::Binance, market: Market::Spot, pair: "BTC-USDT".parse().unwrap() };
        let market = MarketSettings { venue, feed: FeedSettings::Still, listing: None };
        let settings = Settings { markets: vec![market], ..Settings::default() };
        let (database, outside) = (Database::new().await, Outside::start(settings).await);
        let edge = Served::of(outside.serve(&database, "api,projector"));
        let hands = Served::of(outside.serve(&database, "operator"));
        Self { database, outside, edge, hands }
    }

    fn kill_hands(&mut self) {
        self.hands.kill();
        self.hands = Served::of(self.outside.serve(&self.database, "operator"));
    }

    async fn client(&self, slug: &str) -> Client {
        let admin = token(&self.database, None);
        let body = json!({"slug": slug, "name": slug});
        let told = self.edge.post(&admin, "/api/admin/clients", &format!("onboard-{slug}"), &body).await.json();
        let id: ClientId = told["client_id"].as_str().unwrap().parse().unwrap();
        let token = token(&self.database, Some(id));
        let fields = json!({"binance_api_key": format!("fake-{slug}-key"), "binance_api_secret": "fake-secret-value"});
        let key = json!({"exchange": "binance", "market": "spot", "fields": fields});
        assert_eq!(self.edge.post(&token, "/api/clients/credentials", "key", &key).await.status, 201);
        let config = json!({
            "controller": "pmm_simple",
            "venue": {"exchange": "binance", "market": "spot", "pair": "BTC-USDT"},
        });
        let bot = self.edge.post(&token, "/api/bots", "bot", &json!({"name": "book", "config": config})).await.json();
        let client = Client { id, token, bot: bot["bot_id"].as_str().unwrap().to_owned() };
        self.until(&client, "the key is active", |all| {
            all.iter().any(|event| {
                matches!(event, Event::Credential(events::credential::CredentialEvent::CredentialActive { .. }))
            })
        })
        .await;
        client
    }

    async fn events(&self, client: ClientId) -> Vec<(String, Event)> {
        let all = read::after(&self.database.pool(Login::Projector), client, 0, 1_000_000).await.unwrap();
        all.into_iter().map(|event| (event.aggregate.id, event.event)).collect()
    }

    async fn until(&self, client: &Client, what: &str, is_it: impl Fn(&[Event]) -> bool) {
        let since = Instant::now();
        loop {
            let all: Vec<Event> = self.events(client.id).await.into_iter().map(|(_, event)| event).collect();
            if is_it(&all) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "still waiting until {what}: {all:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn wish(&self, client: &Client, side: &str, kind: &str, price: &str, key: &str) -> ManualId {
        let body = json!({"side": side, "order_type": kind, "price": price, "amount": "0.01"});
        let answer = self.edge.post(&client.token, &format!("/api/bots/{}/orders", client.bot), key, &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["manual_id"].as_str().unwrap().parse().unwrap()
    }

    async fn told(&self, client: &Client, id: ManualId) -> Vec<ManualOrderEvent> {
        let all = self.events(client.id).await.into_iter().filter(|(of, _)| *of == id.to_string());
        all.filter_map(|(_, event)| if let Event::Manual(event) = event { Some(event) } else { None }).collect()
    }

    /// Waits for one of these of a manual order.
    async fn comes(&self, client: &Client, id: ManualId, names: &[&str]) -> ManualOrderEvent {
        let since = Instant::now();
        loop {
            let told = self.told(client, id).await;
            if let Some(event) = told.iter().find(|event| names.contains(&event.name())) {
                return event.clone();
            }
            assert!(since.elapsed() < PATIENCE, "{names:?} does not come: {told:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn refused(&self, client: &Client, id: ManualId) -> String {
        let told = self.comes(client, id, &["ManualOrderRefused", "ManualOrderSubmitted"]).await;
        let ManualOrderEvent::ManualOrderRefused { reason, .. } = told else { panic!("{told:?}") };
        reason
    }

    async fn print(&self, price: &str) {
        let prints = json!([{"price": price, "amount": "1"}]);
        let body = json!({"connector": "binance", "trading_pair": "BTC-USDT", "prints": prints});
        self.outside.control(Method::POST, "/paper/prints", Some(body)).await;
    }

    async fn faults(&self, faults: Value) {
        self.outside.control(Method::POST, "/paper/faults", Some(faults)).await;
    }

    /// What stands at the exchange of a client: by order id, the price and the status.
    async fn true_orders(&self, client: &Client) -> BTreeMap<String, (String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let truth = self.outside.truth().await;
        let own = truth["orders"].as_array().unwrap().iter().filter(|order| order["account"] == client.id.to_string());
        own.map(|order| (text(&order["order_id"]), (text(&order["price"]), text(&order["status"])))).collect()
    }

    /// Waits until the list of orders by hand says so of this one; what it says of it.
    async fn shows(&self, client: &Client, id: ManualId, state: &str) -> Value {
        let since = Instant::now();
        loop {
            let all = self.edge.ask(&client.token, &format!("/api/bots/{}/orders", client.bot)).await.json();
            let one = all["items"].as_array().unwrap().iter().find(|one| one["manual_id"] == id.to_string());
            if let Some(one) = one.filter(|one| one["state"] == state) {
                return one.clone();
            }
            assert!(since.elapsed() < PATIENCE, "it is not {state}: {all}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until so many true orders of a client are in this state, and looks often.
    async fn has_true(&self, client: &Client, many: usize, status: &str) {
        let since = Instant::now();
        while self.true_orders(client).await.values().filter(|(_, told)| told == status).count() < many {
            assert!(since.elapsed() < PATIENCE, "no {many} orders are {status}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn resolve(&self, client: &Client, id: ManualId, key: &str, found: &Value) -> tests::Answer {
        let path = format!("/api/bots/{}/orders/{id}/resolve?client=acme", client.bot);
        self.edge.post(&token(&self.database, None), &path, key, found).await
    }

    async fn fills(&self, client: &Client) -> Vec<Fill> {
        let all = self.events(client.id).await.into_iter();
        all.filter_map(
            |(_, event)| {
                if let Event::Ledger(LedgerEvent::FillRecorded(fill)) = event { Some(fill) } else { None }
            },
        )
        .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_by_hand_is_placed_once_filled_into_its_bots_book_or_cancelled() {
    let desk = Desk::open().await;
    let (client, other) = (desk.client("acme").await, desk.client("borealis").await);
    let id = desk.wish(&client, "buy", "limit_maker", "59000", "o1").await;
    assert_eq!(desk.wish(&client, "buy", "limit_maker", "59000", "o1").await, id);
    let submitted = desk.comes(&client, id, &["ManualOrderSubmitted"]).await;
    let ManualOrderEvent::ManualOrderSubmitted { order, .. } = submitted else { panic!("{submitted:?}") };

    let path = format!("/api/bots/{}/orders", client.bot);
    let market = json!({"side": "buy", "order_type": "market", "amount": "0.01"});
    let refused = desk.edge.post(&client.token, &path, "m1", &market).await;
    assert_eq!(refused.problem(), (422, "invalid".to_owned()));
    assert!(refused.text().contains("within 10 ms"), "{}", refused.text());
    let foreign = desk.edge.post(&other.token, &path, "f1", &market).await;
    assert_eq!(foreign.problem().0, 404);
    for named in [id.to_string(), order.to_string()] {
        for bot in [&client.bot, &other.bot] {
            let path = format!("/api/bots/{bot}/orders/{named}/cancel");
            assert_eq!(desk.edge.post(&other.token, &path, "f2", &json!({})).await.problem().0, 404);
        }
    }
    let crossing = desk.wish(&client, "buy", "limit", "61000", "x1").await;
    assert!(desk.refused(&client, crossing).await.contains("would take at once"));
    let own = desk.wish(&client, "sell", "limit_maker", "59000", "x2").await;
    assert!(desk.refused(&client, own).await.contains("same owner's"));
    let odd = desk.wish(&client, "buy", "limit_maker", "58000.001", "x3").await;
    assert!(desk.refused(&client, odd).await.contains("steps of 0.01"));

    // An order that nobody of ours placed, on the same account: its fill is kept aside.
    let stray = json!({
        "account_name": client.id.to_string(), "connector_name": "binance", "trading_pair": "BTC-USDT",
        "trade_type": "BUY", "amount": "0.02", "order_type": "LIMIT", "price": "59500",
    });
    let stray = desk.outside.control(Method::POST, "/trading/orders", Some(stray)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    desk.print("58990").await;
    let ended = desk.comes(&client, id, &["ManualOrderEnded"]).await;
    assert!(matches!(ended, ManualOrderEvent::ManualOrderEnded { ended: HowEnded::Filled, .. }), "{ended:?}");
    let fills = desk.fills(&client).await;
    assert_eq!(fills.len(), 1);
    assert_eq!((fills[0].bot.to_string(), fills[0].source.as_str()), (client.bot.clone(), "api"));
    assert_eq!((fills[0].order.as_ref(), fills[0].amount.0), (Some(&order), "0.01".parse().unwrap()));
    let desks = desk.events(ClientId::DESK).await;
    let quarantined = |event: &Event| matches!(event, Event::Desk(DeskEvent::Quarantined { reason, .. }) if reason.contains(stray["order_id"].as_str().unwrap()));
    assert!(desks.iter().any(|(_, event)| quarantined(event)), "{desks:?}");

    let admin = token(&desk.database, None);
    let kept = desk.edge.ask(&admin, "/api/admin/quarantine").await.json();
    let raw: Value = serde_json::from_str(kept[0]["raw"].as_str().unwrap()).expect("it is kept as the server wrote it");
    assert_eq!((&raw["order_id"], &raw["trading_pair"]), (&stray["order_id"], &json!("BTC-USDT")));

    let second = desk.wish(&client, "buy", "limit_maker", "50000", "o2").await;
    desk.comes(&client, second, &["ManualOrderSubmitted"]).await;
    let cancel = format!("{path}/{second}/cancel");
    assert_eq!(desk.edge.post(&client.token, &cancel, "c1", &json!({})).await.status, 202);
    let ended = desk.comes(&client, second, &["ManualOrderEnded"]).await;
    assert!(matches!(ended, ManualOrderEvent::ManualOrderEnded { ended: HowEnded::Cancelled, .. }), "{ended:?}");
    desk.comes(&client, second, &["ManualCancelDone"]).await;
    assert_eq!(desk.edge.post(&client.token, &cancel, "c2", &json!({})).await.problem().0, 409);
    let mut truth: Vec<_> = desk.true_orders(&client).await.into_values().collect();
    truth.sort();
    let told = |price: &str, status: &str| (price.to_owned(), status.to_owned());
    assert_eq!(truth, [told("50000", "cancelled"), told("59000", "filled"), told("59500", "filled")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_on_the_way_no_wish_becomes_two_orders() {
    let mut desk = Desk::open().await;
    let client = desk.client("acme").await;
    let mut dice = StdRng::seed_from_u64(7);
    desk.faults(json!({
        "seed": 7,
        "cut_off": {"/trading/orders": 0.4, "/trading/orders/": 0.0},
        "latency_ms": {"/trading/orders": 120, "/trading/orders/": 0},
    }))
    .await;
    let mut wishes = Vec::new();
    for round in 0..8 {
        // Some are the same as the one before: they can be told apart by nothing but their turn.
        let price = format!("{}", 50_000 + round / 2);
        wishes.push(desk.wish(&client, "buy", "limit_maker", &price, &format!("w{round}")).await);
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..500))).await;
        desk.kill_hands();
    }
    let (mut submitted, mut unknown) = (Vec::new(), 0);
    for id in &wishes {
        let names = ["ManualOrderSubmitted", "ManualOrderUnknown", "ManualOrderRefused"];
        let told = desk.comes(&client, *id, &names).await;
        assert_ne!(told.name(), "ManualOrderRefused", "{told:?}");
        if let ManualOrderEvent::ManualOrderSubmitted { order, .. } = told {
            submitted.push(order.to_string());
        } else {
            unknown += 1;
        }
    }
    submitted.sort();
    let truth: Vec<String> = desk.true_orders(&client).await.into_keys().collect();
    assert_eq!(submitted, truth, "{unknown} of {} are unknown", wishes.len());
    eprintln!("of {} wishes {} are placed, {unknown} unknown", wishes.len(), submitted.len());
    for id in &wishes {
        let told = desk.told(&client, *id).await;
        assert_eq!(told.iter().filter(|event| event.name() == "ManualOrderStarted").count(), 1, "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_step_of_an_order_by_hand_the_next_hands_go_on_and_one_order_is_placed() {
    let mut desk = Desk::open().await;
    let client = desk.client("acme").await;
    desk.hands.kill();
    let first = desk.wish(&client, "buy", "limit_maker", "59000", "o1").await;
    desk.shows(&client, first, "asked").await;
    // Sent and never answered: the order stands at the exchange, and nothing of that in the stream.
    desk.faults(json!({"cut_off": {"/trading/orders": 1.0, "/trading/orders/": 0.0}})).await;
    desk.kill_hands();
    desk.has_true(&client, 1, "open").await;
    desk.kill_hands();
    let told = desk.comes(&client, first, &["ManualOrderSubmitted", "ManualOrderUnknown", "ManualOrderRefused"]).await;
    assert_eq!(told.name(), "ManualOrderSubmitted");
    desk.kill_hands();
    assert_eq!(desk.shows(&client, first, "resting").await["filled"], "0");
    desk.kill_hands();
    // Cancelled at the exchange, and nobody was told.
    desk.faults(
        json!({"cut_off": {"/trading/": 1.0, "/trading/orders": 1.0, "/trading/orders/": 0.0, "/trading/trades": 0.0}}),
    )
    .await;
    let cancel = format!("/api/bots/{}/orders/{first}/cancel", client.bot);
    assert_eq!(desk.edge.post(&client.token, &cancel, "c1", &json!({})).await.status, 202);
    desk.has_true(&client, 1, "cancelled").await;
    desk.kill_hands();
    let ended = desk.comes(&client, first, &["ManualOrderEnded"]).await;
    assert!(matches!(ended, ManualOrderEvent::ManualOrderEnded { ended: HowEnded::Cancelled, .. }), "{ended:?}");
    desk.kill_hands();
    desk.shows(&client, first, "cancelled").await;

    let second = desk.wish(&client, "sell", "limit_maker", "61000", "o2").await;
    desk.shows(&client, second, "resting").await;
    desk.hands.kill();
    desk.print("61100").await;
    desk.has_true(&client, 1, "filled").await;
    desk.kill_hands();
    desk.comes(&client, second, &["ManualOrderEnded"]).await;
    desk.kill_hands();
    let filled = desk.shows(&client, second, "filled").await;
    assert_eq!(
        (&filled["filled"], &filled["fills"], &filled["fills_missing"]),
        (&json!("0.01"), &json!(1), &json!(false))
    );
    // Whoever comes last has looked at everything once more by the time that it has placed another.
    let third = desk.wish(&client, "buy", "limit_maker", "58000", "o3").await;
    desk.shows(&client, third, "resting").await;
    assert_eq!(desk.fills(&client).await.len(), 1);
    assert_eq!(desk.true_orders(&client).await.len(), 3, "three wishes, three orders");
    for id in [first, second, third] {
        let told = desk.told(&client, id).await;
        for once in ["ManualOrderStarted", "ManualOrderSubmitted"] {
            assert_eq!(told.iter().filter(|event| event.name() == once).count(), 1, "{told:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_given_up_as_unknown_and_lands_later_is_found_and_filled_into_its_bots_book() {
    let desk = Desk::open().await;
    let client = desk.client("acme").await;
    desk.faults(json!({"late_ms": {"/trading/orders": 6_000, "/trading/orders/": 0}})).await;
    let id = desk.wish(&client, "buy", "limit_maker", "59000", "o1").await;
    let unknown = desk.shows(&client, id, "unknown").await;
    assert!(unknown["reason"].as_str().unwrap().contains("look at the exchange"), "{unknown}");
    assert!(desk.true_orders(&client).await.is_empty(), "it landed too early to show anything");
    desk.comes(&client, id, &["ManualOrderFound"]).await;
    let resting = desk.shows(&client, id, "resting").await;
    let truth: Vec<String> = desk.true_orders(&client).await.into_keys().collect();
    assert_eq!(truth, [resting["order_id"].as_str().unwrap()]);
    desk.print("58990").await;
    desk.shows(&client, id, "filled").await;
    let fills = desk.fills(&client).await;
    assert_eq!((fills.len(), fills[0].bot.to_string()), (1, client.bot.clone()));
    let desks = desk.events(ClientId::DESK).await;
    assert!(!desks.iter().any(|(_, event)| matches!(event, Event::Desk(DeskEvent::Quarantined { .. }))), "{desks:?}");
    let decided = desk.resolve(&client, id, "r1", &json!({"verdict": "cancelled", "reason": "no doubt is left"})).await;
    assert_eq!(decided.problem(), (409, "conflict".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_an_unknown_order_can_be_decided_once_and_who_decided_it_is_told() {
    let desk = Desk::open().await;
    let (client, other) = (desk.client("acme").await, desk.client("borealis").await);
    // Longer than anybody here waits.
    desk.faults(json!({"late_ms": {"/trading/orders": 3_600_000, "/trading/orders/": 0}})).await;
    let never = desk.wish(&client, "buy", "limit_maker", "59000", "o1").await;
    desk.shows(&client, never, "unknown").await;
    let not_placed = json!({"verdict": "not_placed", "reason": "the exchange shows no such order"});
    let path = format!("/api/bots/{}/orders/{never}/resolve", client.bot);
    assert_eq!(desk.edge.post(&other.token, &path, "f1", &not_placed).await.problem().0, 404);
    let unclear =
        desk.resolve(&client, never, "r0", &json!({"verdict": "filled", "reason": "it shows it as filled"})).await;
    assert_eq!(unclear.problem(), (422, "invalid".to_owned()));
    assert_eq!(desk.resolve(&client, never, "r1", &not_placed).await.status, 202);
    let refused = desk.shows(&client, never, "refused").await;
    assert_eq!(refused["reason"], "the exchange shows no such order");
    assert!(refused["decided_by"].as_str().unwrap().starts_with("user:"), "{refused}");
    assert_eq!(desk.resolve(&client, never, "r2", &not_placed).await.problem(), (409, "conflict".to_owned()));

    // Decided to be filled, its fills are missing until the ledger has them.
    let filled = desk.wish(&client, "buy", "limit_maker", "58000", "o2").await;
    desk.shows(&client, filled, "unknown").await;
    let found =
        json!({"verdict": "filled", "order_id": "HBOT-seen-there", "reason": "the exchange shows it as filled"});
    assert_eq!(desk.resolve(&client, filled, "r3", &found).await.status, 202);
    let told = desk.shows(&client, filled, "filled").await;
    assert_eq!((&told["fills_missing"], &told["order_id"]), (&json!(true), &json!("HBOT-seen-there")));
    desk.until(&client, "its bot has a gap", |all| {
        all.iter().any(|event| matches!(event, Event::Bot(BotEvent::BotGapOpened { .. })))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_answer_is_cut_off_is_found_and_not_sent_again() {
    let desk = Desk::open().await;
    let client = desk.client("acme").await;
    desk.faults(json!({"cut_off": {"/trading/orders": 1.0, "/trading/orders/": 0.0}})).await;
    let id = desk.wish(&client, "buy", "limit_maker", "59000", "o1").await;
    let told = desk.comes(&client, id, &["ManualOrderSubmitted", "ManualOrderUnknown", "ManualOrderRefused"]).await;
    let ManualOrderEvent::ManualOrderSubmitted { order, .. } = told else { panic!("{told:?}") };
    let truth: Vec<String> = desk.true_orders(&client).await.into_keys().collect();
    assert_eq!(truth, [order.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_the_server_lost_opens_a_gap_that_stays() {
    let desk = Desk::open().await;
    let client = desk.client("acme").await;
    desk.faults(json!({"latency_ms": {"/trading/orders": 1_500, "/trading/orders/": 0}})).await;
    let id = desk.wish(&client, "buy", "limit", "59500", "o1").await;
    // It rested when it was looked at; the market comes while it is on its way, and fills it at once.
    desk.comes(&client, id, &["ManualOrderStarted"]).await;
    desk.print("59000").await;
    let missing = desk.comes(&client, id, &["ManualFillsMissing"]).await;
    let ManualOrderEvent::ManualFillsMissing { reason, .. } = missing else { panic!("{missing:?}") };
    assert!(reason.contains("fills tell of 0 of 0.01"), "{reason}");
    desk.until(&client, "the gap is told", |all| {
        all.iter()
            .any(|event| matches!(event, Event::Bot(BotEvent::BotGapOpened { reason: told, .. }) if *told == reason))
    })
    .await;
    desk.comes(&client, id, &["ManualOrderEnded"]).await;
    assert_eq!(desk.outside.true_fills(&client.id.to_string()).await.len(), 1);
    assert!(desk.fills(&client).await.is_empty());
    let healed = |event: &Event| matches!(event, Event::Bot(BotEvent::BotGapHealed { .. }));
    assert!(!desk.events(client.id).await.iter().any(|(_, event)| healed(event)));
}
