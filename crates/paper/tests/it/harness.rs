//! A paper server of its own for each test, a caller, and a listener to its broker.

use std::{collections::VecDeque, time::Duration};

use events::{Decimal, Exchange, Market, bot::Venue};
use paper::{FeedSettings, MarketSettings, Pace, Paper, Settings};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

pub struct Bench {
    pub paper: Paper,
    client: reqwest::Client,
}

pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub body: Value,
}

pub fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub fn venue(pair: &str) -> Venue {
    Venue { exchange: Exchange::Binance, market: Market::Spot, pair: pair.parse().unwrap() }
}

/// Time stands still unless it is stepped, and so do the markets of BTC and PEPE.
pub fn stepped() -> Settings {
    let still = |pair| MarketSettings { venue: venue(pair), feed: FeedSettings::Still, listing: None };
    Settings { pace: Pace::Stepped, markets: vec![still("BTC-USDT"), still("PEPE-USDT")], ..Settings::default() }
}

impl Bench {
    pub async fn start(settings: Settings) -> Self {
        Self { paper: Paper::start(settings).await.unwrap(), client: reqwest::Client::new() }
    }

    /// With one account that holds a key, and nobody else.
    pub async fn with_account(settings: Settings) -> Self {
        let bench = Self::start(settings).await;
        bench.account("client_a", "keyA").await;
        bench
    }

    pub async fn account(&self, account: &str, key: &str) {
        self.post(&format!("/accounts/add-account?account_name={account}"), json!({})).await;
        let fields = json!({"binance_api_key": key, "binance_api_secret": "not-a-secret"});
        let added = self.post(&format!("/accounts/add-credential/{account}/binance"), fields).await;
        assert_eq!(added.status, 201, "{}", added.body);
    }

    pub async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        auth: Option<(&str, &str)>,
    ) -> Option<Answer> {
        let url = format!("http://{}{path}", self.paper.http);
        let mut request = self.client.request(method.parse().unwrap(), url);
        if let Some((username, password)) = auth {
            request = request.basic_auth(username, Some(password));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let text = response.text().await.ok()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Some(Answer { status, kind: kind.unwrap_or_default(), body })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None, Some(("admin", "admin"))).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some(&body), Some(("admin", "admin"))).await.unwrap()
    }

    pub async fn step(&self, ms: u32) {
        assert_eq!(self.post("/paper/step", json!({"ms": ms})).await.status, 200);
    }

    pub async fn faults(&self, faults: Value) {
        let set = self.post("/paper/faults", faults).await;
        assert_eq!(set.status, 200, "{}", set.body);
    }

    pub async fn print(&self, pair: &str, price: &str, amount: &str) {
        let prints = json!([{"price": price, "amount": amount}]);
        let asked = json!({"connector": "binance", "trading_pair": pair, "prints": prints});
        assert_eq!(self.post("/paper/prints", asked).await.status, 200);
    }

    pub async fn truth(&self) -> Value {
        self.get("/paper/truth").await.body
    }

    /// A market maker on this pair: its instance.
    pub async fn maker(&self, account: &str, name: &str, pair: &str, headless: bool) -> String {
        let config = format!("{name}-config");
        self.post(&format!("/controllers/configs/{config}"), maker(&config, pair)).await;
        self.deploy(account, name, &config, headless).await.body["unique_instance_name"].as_str().unwrap().to_owned()
    }

    pub async fn deploy(&self, account: &str, name: &str, config: &str, headless: bool) -> Answer {
        let deployment = json!({
            "instance_name": name,
            "credentials_profile": account,
            "controllers_config": [config],
            "headless": headless,
        });
        self.post("/bot-orchestration/deploy-v2-controllers", deployment).await
    }

    /// An order of the API itself, and its id.
    pub async fn order(&self, account: &str, order: Value) -> String {
        let mut asked = json!({"account_name": account, "connector_name": "binance", "trading_pair": "BTC-USDT"});
        asked.as_object_mut().unwrap().extend(order.as_object().unwrap().clone());
        let placed = self.post("/trading/orders", asked).await;
        assert_eq!(placed.status, 201, "{}", placed.body);
        placed.body["order_id"].as_str().unwrap().to_owned()
    }

    pub async fn listen(&self, filter: &str) -> Ears {
        Ears::new(self.paper.mqtt.port(), filter).await
    }
}

pub fn maker(id: &str, pair: &str) -> Value {
    json!({
        "id": id,
        "controller_name": "pmm_simple",
        "controller_type": "market_making",
        "connector_name": "binance",
        "trading_pair": pair,
        "total_amount_quote": 2000,
        "buy_spreads": [0.001, 0.002],
        "sell_spreads": [0.001, 0.002],
        "executor_refresh_time": 10,
        "cooldown_time": 3,
        "manual_kill_switch": false,
    })
}

/// A subscriber.
pub struct Ears {
    pub client: AsyncClient,
    events: rumqttc::EventLoop,
    early: VecDeque<(String, String)>,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl Ears {
    async fn new(port: u16, filter: &str) -> Self {
        let id = format!("ears-{port}-{}", filter.replace('/', "-").replace(['#', '+'], "all"));
        let mut options = MqttOptions::new(id, "127.0.0.1", port);
        options.set_max_packet_size(16 << 20, 16 << 20);
        let (client, events) = AsyncClient::new(options, 100);
        let mut ears = Self { client, events, early: VecDeque::new() };
        ears.subscribe(filter).await;
        ears
    }

    pub async fn subscribe(&mut self, filter: &str) {
        self.client.subscribe(filter, QoS::AtMostOnce).await.unwrap();
        loop {
            match tokio::time::timeout(PATIENCE, self.events.poll()).await.unwrap() {
                Ok(Event::Incoming(Packet::SubAck(_))) => return,
                Ok(Event::Incoming(Packet::Publish(publish))) => self.keep(&publish),
                Ok(_) => {}
                Err(cause) => panic!("the broker put us out: {cause}"),
            }
        }
    }

    fn keep(&mut self, publish: &rumqttc::Publish) {
        let text = String::from_utf8(publish.payload.to_vec()).unwrap();
        self.early.push_back((publish.topic.clone(), text));
    }

    /// The next message, or that we were put out.
    pub async fn next(&mut self) -> Result<(String, String), rumqttc::ConnectionError> {
        loop {
            if let Some(message) = self.early.pop_front() {
                return Ok(message);
            }
            if let Event::Incoming(Packet::Publish(publish)) =
                tokio::time::timeout(PATIENCE, self.events.poll()).await.expect("nothing came")?
            {
                self.keep(&publish);
            }
        }
    }

    /// Everything up to a message on this topic.
    pub async fn until(&mut self, topic: &str) -> Vec<(String, String)> {
        let mut heard = Vec::new();
        loop {
            let message = self.next().await.unwrap();
            let last = message.0 == topic;
            heard.push(message);
            if last {
                return heard;
            }
        }
    }

    /// All that was published so far: a message of our own comes back after it, because every control call answers only
    /// when what it caused has reached the broker.
    pub async fn all(&mut self) -> Vec<(String, String)> {
        self.subscribe("test/end").await;
        self.client.publish("test/end", QoS::AtMostOnce, false, "").await.unwrap();
        let mut heard = self.until("test/end").await;
        heard.pop();
        heard
    }
}

/// The payload as JSON, its bare `NaN` as null.
pub fn parsed(payload: &str) -> Value {
    serde_json::from_str(&payload.replace(":NaN", ":null")).unwrap_or_else(|cause| panic!("{payload}: {cause}"))
}
