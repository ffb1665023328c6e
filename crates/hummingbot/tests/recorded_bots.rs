//! The real bots' recorded messages and answers, spoken again on a real broker.
//!
//! The recordings lie outside of the repository. Where they are absent, these tests say so and prove nothing.

#[path = "stand_in/broker.rs"]
mod broker;
#[path = "stand_in/digits.rs"]
mod digits;
#[path = "stand_in/shared.rs"]
mod shared;

use std::time::Duration;

use digits::expanded;
use hummingbot::{
    BotName, Since,
    mqtt::{Fill, Happened, Heard, Said},
};
use shared::recordings;

#[tokio::test]
async fn every_recorded_message_of_a_bot_is_read_and_its_fills_are_exact() {
    let Some(shared) = recordings() else { return };
    let log = std::fs::read_to_string(shared.join("recorded/mqtt_headless_false.log")).unwrap();
    let said: Vec<(&str, &str)> = log.lines().filter_map(spoken).collect();
    let at = broker::broker();
    let peer = broker::Peer::at(at, "recorded", &[]).await;
    let (_bots, mut heard) = broker::connected(at, Duration::from_secs(30)).await;
    let mut fills = 0;
    for (topic, payload) in &said {
        // One at a time: the broker keeps the order within a topic, not that of topics among each other.
        peer.say(topic, *payload).await;
        let Heard::Message(message) = heard.recv().await.unwrap() else { panic!("the broker went away") };
        assert_eq!(&message.raw[..], payload.as_bytes(), "{topic}");
        let event = match message.said {
            Said::Unreadable { why } => panic!("{topic} {payload}: {why}"),
            Said::Heartbeat { .. } | Said::Performance(_) | Said::Log(_) | Said::Notify { .. } | Said::Status(_) => {
                continue;
            }
            Said::Event(event) => event,
        };
        assert!(!matches!(event.happened, Happened::Other { .. }), "{payload}");
        if let Happened::OrderFilled(fill) = event.happened {
            fills += 1;
            exact(&fill, payload);
        }
    }
    assert_eq!(fills, log.matches("\"OrderFilled\"").count());
    assert!(fills > 0);
}

/// A fill's digits are those of its payload.
fn exact(fill: &Fill, payload: &str) {
    assert_eq!(fill.price.to_string(), expanded(written(payload, "price")));
    assert_eq!(fill.amount.to_string(), expanded(written(payload, "amount")));
    assert_eq!(fill.trade.as_str(), written(payload, "exchange_trade_id").trim_matches('"'));
    let fee = payload.rsplit("\"amount\":").next().unwrap().split('}').next().unwrap();
    assert_eq!(fill.fee.charged[0].amount.to_string(), expanded(fee.trim_matches('"')));
}

/// A line of the log that a bot spoke: its topic and payload.
fn spoken(line: &str) -> Option<(&str, &str)> {
    let (topic, payload) = line
        .split_once('{')
        .map(|(before, _)| (before.split(' ').rfind(|word| !word.is_empty()), &line[before.len()..]))?;
    let topic = topic?;
    let channel = topic.rsplit('/').next()?;
    let ours = topic.starts_with("hbot/") && !["history", "start", "stop", "config"].contains(&channel);
    ours.then_some((topic, payload))
}

/// The text of a field's value as the payload has it.
fn written<'a>(payload: &'a str, field: &str) -> &'a str {
    let after = payload.split(&format!("\"{field}\":")).nth(1).unwrap();
    after.split([',', '}']).next().unwrap()
}

#[tokio::test]
async fn the_recorded_answers_of_a_bot_are_its_answers() {
    let Some(shared) = recordings() else { return };
    let log = std::fs::read_to_string(shared.join("recorded/mqtt_headless_false.log")).unwrap();
    let answers: Vec<&str> = log
        .lines()
        .filter(|line| line.split(' ').any(|word| word.starts_with("hummingbot-api")) && !line.contains(" hbot/"))
        .map(|line| &line[line.find('{').unwrap()..])
        .collect();
    assert_eq!(answers.len(), 4);
    let at = broker::broker();
    let mut peer = broker::Peer::at(at, "recorded", &["hbot/mm-a/+"]).await;
    let (bots, _heard) = broker::connected(at, Duration::from_secs(30)).await;
    let bot: BotName = "mm-a".parse().unwrap();
    for answer in answers {
        let history = answer.contains("\"trades\"");
        let asked = async {
            if history {
                let trades = bots.history(&bot, Since::Beginning).await.unwrap();
                assert_eq!(trades.len(), answer.matches("\"trade_id\"").count());
            } else {
                assert_eq!(bots.stop(&bot).await.is_ok(), answer.contains("\"status\":200"), "{answer}");
            }
        };
        let ((), ()) = tokio::join!(asked, async {
            let (_, reply_to) = peer.request().await;
            peer.say(&reply_to, answer).await;
        });
    }
}
