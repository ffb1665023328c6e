//! What was promised of a bot is judged when its day is over, by figures that anybody can make again from the events; a day
//! that broke it is an alert; time that counts for nothing is left out, and the day judged anew.

use std::{collections::BTreeMap, time::Duration};

use events::{
    AggregateRef, AgreementId, Exchange, Market, Time,
    agreement::{AgreementEvent, Clause},
    bot::Venue,
    ledger::{Fill, LedgerEvent, Side},
    market::MarketEvent,
};
use reqwest::Method;
use serde_json::{Value, json};
use store::Append;
use tests::{Answer, Served};

use crate::{
    alerts::becomes,
    edge::{Edge, Party, seq},
    facts::{append, d, fill, write},
};

const AGREEMENTS: &str = "/api/agreements";
const WRITTEN: &str = "/api/admin/clients/acme/agreements";
const DAY_US: i64 = 86_400_000_000;
const HOUR_US: i64 = 3_600_000_000;

fn venue() -> Venue {
    Venue { exchange: Exchange::Kucoin, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() }
}

/// A day on which it bid for 18 hours, from the first, and offered for 23; both for 18.
fn quoted(of: &Party, day: Time) -> Vec<Append> {
    let minute = |n: i64| {
        let us = |hours: i64| if n < hours * 60 { 60_000_000 } else { 0 };
        let told = MarketEvent::QuoteMinute {
            bot: of.bot,
            venue: venue(),
            bid_us: us(18),
            ask_us: us(23),
            two_sided_us: us(18),
            spread_bps_us: d(&(us(18) * 20).to_string()),
            unknown_us: 0,
            band_us: if n < 18 * 60 { [(20, 60_000_000)].into() } else { BTreeMap::new() },
            changes_left_out: None,
            bid: None,
            ask: None,
            at: day.plus_micros(n * 60_000_000),
        };
        append(of.client, AggregateRef::new("market", "SOL-USDT"), told.into(), None)
    };
    (0..24 * 60).map(minute).collect()
}

/// Two halves of one trade with itself, and 10 at 150 that were real.
fn traded(of: &Party, day: Time) -> Vec<Append> {
    let one = |n: u64, side: Side, amount: &str, trade: &str| {
        let at = day.plus_micros(HOUR_US + i64::try_from(n).unwrap());
        let usual = fill(of.client, of.bot, n, 0);
        let trade = trade.parse().unwrap();
        let (amount, price) = (events::Amount(d(amount)), events::Price(d("150")));
        let Venue { exchange, market, pair } = venue();
        let told = Fill { side, amount, price, trade, at, exchange, market, pair, ..usual };
        append(of.client, AggregateRef::ledger(of.client), LedgerEvent::FillRecorded(told).into(), None)
    };
    vec![one(1, Side::Buy, "2", "one"), one(2, Side::Sell, "2", "one"), one(3, Side::Buy, "10", "other")]
}

/// Promised two days before yesterday began to be judged.
async fn promised(edge: &Edge, day: Time) -> AgreementId {
    let id = AgreementId::named(edge.acme.client, &"maker".parse().unwrap());
    let clauses = vec![
        Clause::TwoSided { least: d("0.75"), within_bps: Some(50), size_quote: None },
        Clause::Sides { least: d("0.9") },
        Clause::Volume { least_quote: Some(d("1500")), most_quote: None },
    ];
    let (name, bot, at) = ("maker".parse().unwrap(), edge.acme.bot, day.plus_micros(-HOUR_US));
    let set = AgreementEvent::AgreementSet { name, bot, clauses, at };
    write(&edge.streams, vec![append(edge.acme.client, AggregateRef::new("agreement", id), set.into(), None)]).await;
    id
}

/// The last day that can be judged now.
fn last_day() -> Time {
    Time::now().plus_micros(-domain::agreement::GRACE_US).midnight().plus_micros(-DAY_US)
}

async fn judged(edge: &Edge, id: AgreementId, fits: impl Fn(&Value) -> bool) -> Value {
    let path = format!("{AGREEMENTS}/{id}/days");
    let found = async {
        loop {
            let days = edge.served.ask(&edge.acme.token, &path).await.json();
            if let Some(day) = days.get(0).filter(|day| fits(day)) {
                return day.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), found).await.expect("it is judged")
}

fn outcomes(day: &Value) -> Vec<(Value, Value)> {
    let verdicts = day["verdicts"].as_array().unwrap();
    verdicts.iter().map(|verdict| (verdict["outcome"].clone(), verdict["measured"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_judged_and_what_it_broke_is_an_alert_until_time_is_left_out_of_it() {
    let edge = Edge::new("api,projector").await;
    let day = last_day();
    write(&edge.streams, quoted(&edge.acme, day)).await;
    write(&edge.streams, traded(&edge.acme, day)).await;
    let id = promised(&edge, day).await;
    let _alerts = Served::start(&edge.database, "alerts");
    let first = judged(&edge, id, |_| true).await;
    let expected = [("met", "0.75"), ("missed", "0.854166666667"), ("met", "1500")];
    assert_eq!(outcomes(&first), expected.map(|(outcome, measured)| (json!(outcome), json!(measured))));
    assert_eq!((&first["outcome"], &first["day"]), (&json!("missed"), &json!(day)));
    let alert = becomes(&edge, &edge.acme, "agreement_missed", "firing").await;
    assert!(alert["summary"].as_str().unwrap().contains("kept 2 of 3 promises"), "{alert}");

    // The same figures are there for whoever asks.
    let window = format!("from={day}&to={}", day.plus_micros(DAY_US));
    let asked = async |what: &str| {
        edge.served.ask(&edge.acme.token, &edge.acme.path(&format!("/{what}?{window}"))).await.json()
    };
    let uptime = asked("uptime").await;
    assert_eq!((&uptime["sides"]["value"], &uptime["two_sided"]["value"]), (&json!("0.854166666667"), &json!("0.75")));
    assert_eq!(uptime["ask"]["value"], "0.958333333333");
    let market = asked("trading").await["markets"][0].clone();
    assert_eq!((&market["gross_volume"], &market["net_volume"]), (&json!("2100"), &json!("1500")));
    assert_eq!(market["self_matched"], json!({"exact": "600", "strong": "0", "weak": "0"}));

    // From 18 to 24 h the exchange was down: both sides stood in all of the rest.
    let down = json!({"from": day.plus_micros(18 * HOUR_US), "to": day.plus_micros(DAY_US), "reason": "it was down"});
    let path = format!("{WRITTEN}/{id}/exclusions");
    let excluded = edge.served.post(&edge.admin, &path, "x1", &down).await;
    assert_eq!(excluded.status, 202, "{}", excluded.text());
    let again = judged(&edge, id, |day| day["excluded_us"] == 6 * HOUR_US).await;
    let expected = [("met", "1"), ("met", "1"), ("met", "1500")];
    assert_eq!(outcomes(&again), expected.map(|(outcome, measured)| (json!(outcome), json!(measured))));
    becomes(&edge, &edge.acme, "agreement_missed", "resolved").await;
    let listed = edge.served.ask(&edge.acme.token, AGREEMENTS).await.json();
    assert_eq!(listed[0]["exclusions"][0]["reason"], "it was down");
}

/// What an exchange's history tells days later, while nobody was there to hear it.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_which_a_fill_comes_late_is_judged_anew() {
    let edge = Edge::new("api,projector").await;
    let day = last_day();
    write(&edge.streams, quoted(&edge.acme, day)).await;
    let mut fills = traded(&edge.acme, day);
    let late = fills.pop().expect("the one that was real");
    write(&edge.streams, fills).await;
    let id = promised(&edge, day).await;
    let mut alerts = Served::start(&edge.database, "alerts");
    let volume = |day: &Value| outcomes(day)[2].clone();
    assert_eq!(volume(&judged(&edge, id, |_| true).await), (json!("missed"), json!("0")));
    alerts.kill();
    write(&edge.streams, vec![late]).await;
    let _alerts = Served::start(&edge.database, "alerts");
    let again = judged(&edge, id, |day| volume(day).0 == "met").await;
    assert_eq!(volume(&again), (json!("met"), json!("1500")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_writes_down_what_is_promised_and_its_client_sees_it() {
    let edge = Edge::new("api,projector").await;
    let of = |name: &str, bot: events::BotId, clauses: Value| json!({"name": name, "bot": bot, "clauses": clauses});
    let set = async |key: &str, body: &Value| edge.served.post(&edge.admin, WRITTEN, key, body).await;
    let fine = json!([{"two_sided": {"least": "0.9", "within_bps": 100}}, {"depth": {"within_bps": 200, "least_quote": "5000"}}]);
    for (n, clauses) in
        [json!([]), json!([{"sides": {"least": "1.2"}}]), json!([{"volume": {}}])].into_iter().enumerate()
    {
        let refused = set(&format!("r{n}"), &of("maker", edge.acme.bot, clauses)).await;
        assert_eq!(refused.problem(), (422, "invalid".into()));
    }
    assert_eq!(set("f", &of("maker", edge.borealis.bot, fine.clone())).await.problem(), (422, "invalid".into()));
    let made = set("k", &of("maker", edge.acme.bot, fine.clone())).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(set("k2", &of("maker", edge.acme.bot, fine.clone())).await.problem(), (409, "conflict".into()));
    let own = edge.served.post(&edge.acme.token, WRITTEN, "o", &of("mine", edge.acme.bot, fine.clone())).await;
    assert_eq!(own.status, 403, "a client does not write down what it is promised");
    let id = made.json()["agreement_id"].as_str().unwrap().to_owned();
    let listed = edge.served.ask(&edge.acme.token, &format!("{AGREEMENTS}?min_seq={}", seq(&made.json()))).await.json();
    assert_eq!((&listed[0]["clauses"], &listed[0]["ended"]), (&fine, &Value::Null));
    assert_eq!(edge.served.ask(&edge.borealis.token, &format!("{AGREEMENTS}/{id}/days")).await.status, 404);
    let end = format!("{WRITTEN}/{id}");
    let end = edge.served.command(Method::DELETE, &edge.admin, &end, "e", &json!({"reason": "over"}));
    assert_eq!(Answer::to(end).await.status, 202);
    assert_eq!(set("k3", &of("maker", edge.acme.bot, fine)).await.status, 201, "its name is free again");
}
