//! Bots on a real broker: heard across its restarts, asked two at a time, and waited for when the reader is slow.

#[path = "stand_in/broker.rs"]
mod broker;
#[path = "stand_in/gate.rs"]
mod gate;

use std::time::Duration;

use broker::{Peer, broker, connected, settings};
use events::{Price, Time};
use gate::Gate;
use hummingbot::{
    BotName, RoundedFees, Since, Start, Why,
    mqtt::{Bots, Epoch, Happened, Heard, Message, Said},
};
use tokio::sync::mpsc;

const PATIENT: Duration = Duration::from_secs(60);

fn fill(trade: usize) -> String {
    format!(
        r#"{{"timestamp":1704164645,"type":"OrderFilled","data":{{"order_id":"x-1","trading_pair":"PEPE-USDT",
        "trade_type":"TradeType.SELL","order_type":"OrderType.LIMIT","price":1.0345678901234567e-5,"amount":7000001.0,
        "trade_fee":{{"fee_type":"DeductedFromReturns","percent":"0","percent_token":"USDT",
        "flat_fees":[{{"token":"USDT","amount":"0.07242"}}]}},"exchange_trade_id":"{trade}","exchange_order_id":"9","leverage":1,"position":"NIL"}}}}"#
    )
}

fn history(trade: &str) -> String {
    format!(
        r#"{{"header":{{"reply_to":""}},"data":{{"status":200,"msg":"","trades":[{{"market":"binance","trade_id":"{trade}",
        "price":"0.000010","quantity":"7000001.","symbol":"PEPE-USDT","trade_timestamp":1704164645000,"trade_type":"SELL",
        "base_asset":"PEPE","quote_asset":"USDT","raw_json":{{"trade_fee":{{"percent":"0","percent_token":"USDT",
        "flat_fees":[{{"token":"USDT","amount":"0.07242"}}]}}}}}}]}}}}"#
    )
}

fn trade(message: &Message) -> String {
    let Said::Event(event) = &message.said else { panic!("{message:?} is no event") };
    let Happened::OrderFilled(fill) = &event.happened else { panic!("{event:?} is no fill") };
    fill.trade.to_string()
}

async fn message(heard: &mut mpsc::Receiver<Heard>) -> Message {
    let next = heard.recv().await.unwrap();
    let Heard::Message(message) = next else { panic!("{next:?} is no message") };
    *message
}

fn bot(name: &str) -> BotName {
    name.parse().unwrap()
}

#[tokio::test]
async fn what_a_bot_says_arrives_exact_and_raw() {
    let at = broker();
    let peer = Peer::at(at, "mm-a", &[]).await;
    let (_bots, mut heard) = connected(at, PATIENT).await;
    peer.say("hbot/mm-a/events", fill(7)).await;
    peer.say("hbot/mm-a/hb", r#"{"ts":1704164645123456}"#).await;
    peer.say("hbot/mm-a/performance", r#"{"pmm":{"performance":{"realized_pnl_quote":NaN,"volume_traded":1e-7}}}"#)
        .await;
    peer.say("hbot/mm-a/events", "{not json").await;

    let first = message(&mut heard).await;
    assert_eq!((&first.bot, first.epoch, trade(&first)), (&bot("mm-a"), Epoch(1), "7".to_owned()));
    assert_eq!(&first.raw[..], fill(7).as_bytes());
    let Said::Event(event) = first.said else { panic!() };
    let Happened::OrderFilled(filled) = event.happened else { panic!() };
    assert_eq!(filled.price, Price("0.000010345678901234567".parse().unwrap()));
    assert_eq!(event.at.millis(), 1_704_164_645_000);
    let alive = Time::from_micros(1_704_164_645_123_456).unwrap();
    assert_eq!(message(&mut heard).await.said, Said::Heartbeat { at: Some(alive) });
    let Said::Performance(figures) = message(&mut heard).await.said else { panic!() };
    assert_eq!(figures["pmm"].realized_pnl, None);
    assert_eq!(figures["pmm"].volume_traded.unwrap().to_string(), "0.0000001");
    let odd = message(&mut heard).await;
    assert!(matches!(odd.said, Said::Unreadable { .. }), "{odd:?}");
    assert_eq!(&odd.raw[..], b"{not json");
}

#[tokio::test]
async fn a_broker_that_restarts_leaves_a_gap_that_is_told() {
    let at = broker();
    let mut gate = Gate::before(at).await;
    let peer = Peer::at(at, "mm-a", &["hbot/mm-a/stop"]).await;
    let (bots, mut heard) = connected(gate.listen, PATIENT).await;
    peer.say("hbot/mm-a/events", fill(1)).await;
    assert_eq!(trade(&message(&mut heard).await), "1");

    gate.shut().await;
    let Heard::Lost { epoch, since, .. } = heard.recv().await.unwrap() else { panic!() };
    assert_eq!(epoch, Epoch(1));
    assert!(since.is_some());
    peer.say("hbot/mm-a/events", fill(2)).await;
    gate.open().await;
    let Heard::Connected { epoch, .. } = heard.recv().await.unwrap() else { panic!() };
    assert_eq!(epoch, Epoch(2));
    peer.say("hbot/mm-a/events", fill(3)).await;
    let next = message(&mut heard).await;
    assert_eq!((next.epoch, trade(&next)), (Epoch(2), "3".to_owned()));

    let mut peer = peer;
    let (told, ()) = tokio::join!(bots.stop(&next.bot), async {
        let (request, reply_to) = peer.request().await;
        assert_eq!(request["data"]["skip_order_cancellation"], false);
        peer.say(&reply_to, r#"{"data":{"status":200,"msg":""}}"#).await;
    });
    told.unwrap();
}

#[tokio::test]
async fn two_calls_answered_in_swapped_order_get_their_own_answers() {
    let at = broker();
    let mut peer = Peer::at(at, "bots", &["hbot/+/history"]).await;
    let (bots, _heard) = connected(at, PATIENT).await;
    let (a, b) = (bot("mm-a"), bot("mm-b"));
    let answering = async {
        let mut requests = Vec::new();
        for _ in 0..2 {
            let publish = peer.heard.recv().await.unwrap();
            let request: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
            let reply_to = request["header"]["reply_to"].as_str().unwrap().to_owned();
            requests.push((publish.topic, reply_to, request["data"]["days"].clone()));
        }
        assert!(requests.iter().all(|(_, reply_to, _)| !reply_to.contains('.')));
        let days = |of: &str| requests.iter().find(|(topic, ..)| topic.contains(of)).unwrap().2.to_string();
        assert_eq!((days("mm-a"), days("mm-b")), ("0.0".to_owned(), "0.25".to_owned()));
        for (topic, reply_to, _) in requests.iter().rev() {
            peer.say(reply_to, history(topic.split('/').nth(1).unwrap())).await;
        }
    };
    let (of_a, of_b, ()) = tokio::join!(
        bots.history(&a, Since::Beginning),
        bots.history(&b, Since::Ago(Duration::from_hours(6))),
        answering
    );
    let (of_a, of_b) = (of_a.unwrap(), of_b.unwrap());
    assert_eq!((of_a[0].trade.as_str(), of_b[0].trade.as_str()), ("mm-a", "mm-b"));
    assert_eq!(of_a[0].amount.to_string(), "7000001");
    assert!(matches!(&of_a[0].fees, RoundedFees::Charged(fee) if fee.charged[0].amount.to_string() == "0.07242"));
}

#[tokio::test]
async fn a_bot_that_refuses_is_heard_and_one_that_is_silent_is_not_waited_for() {
    let at = broker();
    let mut peer = Peer::at(at, "mm-a", &["hbot/mm-a/start"]).await;
    let (bots, _heard) = connected(at, PATIENT).await;
    let (a, start) = (bot("mm-a"), Start::default());
    let (told, ()) = tokio::join!(bots.start(&a, &start), async {
        let (_, reply_to) = peer.request().await;
        peer.say(&reply_to, r#"{"data":{"status":400,"msg":"The bot is already running"}}"#).await;
    });
    let fault = told.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "could not start bot mm-a over MQTT: refused (status 400): The bot is already running"
    );
    assert!(!fault.may_have_happened());

    let (bots, _heard) = connected(at, Duration::from_millis(200)).await;
    let fault = bots.stop(&bot("nobody")).await.unwrap_err();
    assert!(matches!(fault.why, Why::TimedOut(_)) && fault.may_have_happened(), "{fault}");
}

#[tokio::test]
async fn a_call_without_a_broker_was_never_made_and_one_that_lost_it_may_have_been() {
    let at = broker();
    let mut gate = Gate::before(at).await;
    let mut peer = Peer::at(at, "mm-a", &["hbot/mm-a/+"]).await;
    let (bots, _heard) = connected(gate.listen, Duration::from_secs(3)).await;
    let (a, start) = (bot("mm-a"), Start::default());
    let (told, ()) = tokio::join!(bots.stop(&a), async {
        peer.request().await;
        gate.shut().await;
    });
    let fault = told.unwrap_err();
    assert!(matches!(fault.why, Why::Broken(_)) && fault.may_have_happened(), "{fault}");

    let fault = bots.stop(&a).await.unwrap_err();
    assert!(matches!(fault.why, Why::Unreachable(_)) && !fault.may_have_happened(), "{fault}");
    // The broker is back: what was given up must not be carried out now.
    gate.open().await;
    let (_, next) = tokio::join!(bots.start(&a, &start), peer.heard.recv());
    assert_eq!(next.unwrap().topic, "hbot/mm-a/start");
}

#[tokio::test]
async fn a_slow_reader_loses_nothing_and_is_waited_for() {
    let at = broker();
    let peer = Peer::at(at, "mm-a", &[]).await;
    let mut narrow = settings(at, PATIENT);
    narrow.waiting_max = 1;
    let (_bots, mut heard) = Bots::connect(narrow).unwrap();
    while !matches!(heard.recv().await.unwrap(), Heard::Connected { .. }) {}
    for number in 0..300 {
        peer.say("hbot/mm-a/events", fill(number)).await;
    }
    for number in 0..300 {
        assert_eq!(trade(&message(&mut heard).await), number.to_string());
    }
}
