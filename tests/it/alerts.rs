//! Alerts end to end: evaluated by processes of their own, recorded in the client's stream, published under subjects of their
//! own, seen and looked after over HTTP, tried on the past; each once, whoever is killed when.

use std::{collections::BTreeMap, time::Duration};

use events::{
    AggregateRef, AlertId, ClientId, Event, Exchange, Market, Price, Time, Uuid,
    alert::{AlertEvent, Evidence, Labels, Severity},
    bot::{BotConfig, BotEvent, Venue},
    ledger::{LedgerEvent, Side},
    market::MarketEvent,
};
use futures::{StreamExt, stream};
use paper::Settings;
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use store::{Append, Login, Streams, read};
use tests::{Answer, Database, Outside, Served, arrived};

use crate::{
    edge::{Edge, Party, seq},
    facts::{append, client_with_bot, d, fill, write},
    kill::rounds,
};

const RULES: &str = "/api/alerts/rules";

fn venue() -> Venue {
    Venue { exchange: Exchange::Kucoin, market: Market::Spot, pair: "SOL-USDT".parse().unwrap() }
}

fn of_bot(of: &Party, event: BotEvent) -> Append {
    append(of.client, AggregateRef::new("bot", of.bot), event.into(), None)
}

/// Its bot shall run, and runs, in one market.
pub async fn runs(streams: &Streams, of: &Party, at: Time) {
    let config = BotConfig { controller: Some("pmm_simple".into()), venue: Some(venue()), ..BotConfig::default() };
    let told = [
        BotEvent::BotConfigChanged { config, at },
        BotEvent::BotDeployRequested { at },
        BotEvent::BotDeployed { instance: "maker-1".into(), at },
    ];
    write(streams, told.into_iter().map(|event| of_bot(of, event)).collect()).await;
}

fn quote(of: &Party, spread: Option<u32>, at: Time) -> Append {
    let price = |bps: i64| Price(d("150").times(d("1").plus(d(&format!("{bps}e-4"))).unwrap()).unwrap());
    let half = spread.map(|bps| i64::from(bps / 2));
    let (bid, ask) = (half.map(|half| price(-half)), half.map(price));
    let quoted = MarketEvent::QuoteObserved { bot: of.bot, venue: venue(), bid, ask, band_bps: None, at };
    append(of.client, AggregateRef::new("market", "SOL-USDT"), quoted.into(), None)
}

pub async fn quotes(edge: &Edge, of: &Party, spread: u32) {
    write(&edge.streams, vec![quote(of, Some(spread), Time::now())]).await;
}

async fn configure(edge: &Edge, of: &Party, rule: &str, parameters: Value) -> Answer {
    let body = json!({"parameters": parameters});
    let (path, key) = (format!("{RULES}/{rule}"), events::CommandId::new().to_string());
    Answer::to(edge.served.command(Method::PUT, &of.token, &path, &key, &body)).await
}

/// Waits until an episode of a rule is so.
pub async fn becomes(edge: &Edge, of: &Party, rule: &str, state: &str) -> Value {
    let path = format!("/api/alerts?rule={rule}&state={state}");
    let found = async {
        loop {
            let page = edge.served.ask(&of.token, &path).await.json();
            if let Some(one) = page["items"].get(0) {
                return one.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.unwrap_or_else(|_| panic!("{rule} is never {state}"))
}

async fn told(database: &Database, of: &Party) -> Vec<(u64, AlertEvent)> {
    let events = read::of_alerts(&database.pool(Login::Projector), of.client, 0).await.unwrap();
    let told = events.into_iter().filter_map(|recorded| {
        let Event::Alert(told) = recorded.event else { return None };
        Some((recorded.seq, told))
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_fires_is_looked_after_and_ends_and_everybody_is_told_once() {
    let edge = Edge::new("api,projector,relay,alerts").await;
    let _second = Served::start(&edge.database, "alerts");
    runs(&edge.streams, &edge.acme, Time::now()).await;
    assert_eq!(configure(&edge, &edge.acme, "spread_wide", json!({"for_s": "1", "keep_s": "1"})).await.status, 202);
    quotes(&edge, &edge.acme, 80).await;
    let fired = becomes(&edge, &edge.acme, "spread_wide", "firing").await;
    assert_eq!((&fired["severity"], &fired["episode"]), (&json!("warning"), &json!(1)));
    assert!(fired["summary"].as_str().unwrap().contains("80 bps apart"), "{fired}");
    assert_eq!(fired["evidence"]["features"][0]["value"], "80");
    let path = format!("/api/alerts/{}", fired["alert_id"].as_str().unwrap());
    let note = json!({"note": "looking into it"});
    let done = edge.served.post(&edge.acme.token, &format!("{path}/acknowledge"), "ack", &note).await;
    assert_eq!(done.status, 202, "{}", done.text());
    quotes(&edge, &edge.acme, 20).await;
    becomes(&edge, &edge.acme, "spread_wide", "resolved").await;
    let history = edge.served.ask(&edge.acme.token, &path).await.json();
    let lines: Vec<&str> =
        history["timeline"].as_array().unwrap().iter().map(|line| line["what"].as_str().unwrap()).collect();
    assert_eq!(lines, ["AlertResolved", "AlertAcknowledged", "AlertFired"]);
    assert_eq!(history["episodes"][0]["note"], "looking into it");
    let again = edge.served.post(&edge.acme.token, &format!("{path}/acknowledge"), "ack2", &note).await;
    assert_eq!(again.problem(), (409, "conflict".into()));
    // Each transition is one event and one message.
    let told = told(&edge.database, &edge.acme).await;
    assert_eq!(told.len(), 3, "{told:?}");
    arrived(&edge.database, edge.acme.client, None).await;
    let stream = edge.database.nats().jetstream().await;
    let stream = stream.get_stream(format!("pipelabs_{}", edge.acme.client.0.simple())).await.unwrap();
    for (seq, event) in &told {
        let message = stream.get_raw_message(*seq).await.unwrap();
        let expected = format!("pipelabs.{}.alerts.warning.spread_wide", edge.acme.client.0.simple());
        assert_eq!(message.subject.as_str(), expected, "{event:?}");
    }
    // Nobody else's, and nothing of it is there for anybody else.
    assert_eq!(edge.served.ask(&edge.borealis.token, "/api/alerts").await.json()["items"], json!([]));
    assert_eq!(edge.served.ask(&edge.borealis.token, &path).await.status, 404);
    let all = edge.served.ask(&edge.admin, "/api/admin/alerts?rule=spread_wide").await.json();
    assert_eq!((all["items"].as_array().unwrap().len(), &all["next"]), (1, &Value::Null));
    assert_eq!(edge.served.ask(&edge.admin, "/api/admin/alerts?of=borealis").await.json()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_pages_through_alerts_that_fired_at_one_moment_and_misses_none() {
    let edge = Edge::new("api,projector").await;
    let at = Time::now();
    let fired = |client: ClientId, n: u64| {
        let event = AlertEvent::AlertFired {
            rule: "spread_wide".parse().unwrap(),
            version: 1,
            severity: Severity::Warning,
            labels: Labels::about(n.to_string()),
            episode: 1,
            summary: "wide".into(),
            evidence: Evidence::default(),
            inhibited_by: None,
            as_of_seq: 1,
            evaluated_at: at,
        };
        append(client, AggregateRef::new("alert", AlertId(Uuid::from_u128(n.into()))), event.into(), None)
    };
    for client in [edge.acme.client, edge.borealis.client, ClientId::DESK] {
        write(&edge.streams, (1..=3).map(|n| fired(client, n)).collect()).await;
    }
    for (path, expected) in [("alerts", 6), ("alerts?of=acme", 3), ("alerts/platform", 3)] {
        let pages = within(async {
            loop {
                let all = pages(&edge, &format!("/api/admin/{path}"), 2).await;
                if all.len() == expected {
                    return all;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let places: Vec<_> = pages
            .await
            .iter()
            .map(|one| (one["client_id"].to_string(), std::cmp::Reverse(one["fired_seq"].as_u64())))
            .collect();
        assert!(places.is_sorted() && places.windows(2).all(|two| two[0] != two[1]), "{path}: {places:?}");
    }
}

/// All pages of a list of the desk.
async fn pages(edge: &Edge, path: &str, limit: u32) -> Vec<Value> {
    let with = |path: &str, more: &str| format!("{path}{}{more}", if path.contains('?') { '&' } else { '?' });
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = with(path, &format!("limit={limit}"));
        let page = cursor.iter().fold(page, |page, cursor| with(&page, &format!("cursor={cursor}")));
        let page = edge.served.ask(&edge.admin, &page).await.json();
        all.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return all,
        }
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it does not take a minute")
}

/// An alert about the platform, once there is one.
async fn of_platform(edge: &Edge, question: &str) -> Value {
    let path = format!("/api/admin/alerts/platform?{question}");
    let fires = async {
        loop {
            let all = edge.served.ask(&edge.admin, &path).await.json();
            if let Some(one) = all["items"].get(0) {
                return one.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), fires).await.expect("it fires")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_in_two_hands_is_an_alert_of_the_desk_alone() {
    let edge = Edge::new("api,projector,alerts").await;
    let somebody = edge.database.signed_in(events::desk::Role::Operator, None).await;
    let mut live = edge.served.listen(&edge.admin, "/api/stream", None).await.expect("the desk may listen");
    for expected in [200, 401] {
        let token = json!({"refresh_token": somebody.refresh});
        let answer = Answer::to(edge.served.request(Method::POST, "/api/auth/refresh").json(&token)).await;
        assert_eq!(answer.status, expected);
    }
    let path = "/api/admin/alerts/platform?rule=auth_anomaly&state=firing";
    let alert = of_platform(&edge, "rule=auth_anomaly&state=firing").await;
    assert_eq!(alert["severity"], "critical");
    assert_eq!(alert["labels"]["about"], somebody.session.user.id.to_string());
    assert_eq!(edge.served.ask(&edge.acme.token, path).await.status, 403);
    assert_eq!(edge.served.ask(&edge.acme.token, "/api/alerts").await.json()["items"], json!([]));
    let heard = async {
        loop {
            let heard = live.next().await.expect("it goes on");
            if heard.kind == "AlertFired" {
                return serde_json::from_str::<Value>(&heard.data).unwrap();
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(60), heard).await.expect("it is told live");
    let of = (&told["client_id"], &told["payload"]["AlertFired"]["rule"]);
    assert_eq!(of, (&json!(ClientId::DESK), &json!("auth_anomaly")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_the_platform_has_numbers_of_its_own_that_the_desk_says() {
    let edge = Edge::new("api,projector").await;
    let rules = "/api/admin/alerts/rules";
    let put = async |token: &str, rule: &str, key: &str, body: &Value| {
        Answer::to(edge.served.command(Method::PUT, token, &format!("{rules}/{rule}"), key, body)).await
    };
    let body = json!({"on": true, "parameters": {"failures": "3"}});
    assert_eq!(put(&edge.acme.token, "auth_anomaly", "a", &body).await.status, 403);
    assert_eq!(put(&edge.admin, "spread_wide", "b", &body).await.status, 404, "it is about bots");
    let flaps = json!({"on": true, "parameters": {"events": "10"}});
    let refused = put(&edge.admin, "projection_lag", "c", &flaps).await;
    assert!(
        refused.text().contains("clear_events is 50 and may not be above events, which is 10"),
        "{}",
        refused.text()
    );
    assert_eq!(put(&edge.admin, "auth_anomaly", "d", &body).await.status, 202);
    let of = async || {
        let all = edge.served.ask(&edge.admin, rules).await.json();
        all.as_array().unwrap().iter().find(|one| one["rule"] == "auth_anomaly").unwrap().clone()
    };
    let said = of().await;
    assert_eq!(
        (&said["said"][0]["parameters"]["failures"], &said["parameters"][0]["default"]),
        (&json!("3"), &json!("10"))
    );
    let path = format!("{rules}/auth_anomaly");
    let reset = edge.served.command(Method::DELETE, &edge.admin, &path, "e", &json!({}));
    assert_eq!(Answer::to(reset).await.status, 202);
    assert_eq!(of().await["said"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_configured_within_its_bounds_for_what_is_there_and_reset() {
    let edge = Edge::new("api,projector").await;
    let refused = async |parameters: Value, says: &str| {
        let answer = configure(&edge, &edge.acme, "spread_wide", parameters).await;
        assert_eq!(answer.problem(), (422, "invalid".into()));
        assert!(answer.text().contains(says), "{}", answer.text());
    };
    refused(json!({"ratio": "0.5"}), "ratio is 1 to 100 x, got 0.5").await;
    refused(json!({"ration": "2"}), "it has ratio, critical_ratio").await;
    let foreign = json!({"scope": {"bot": edge.borealis.bot}});
    let put = edge.served.command(Method::PUT, &edge.acme.token, &format!("{RULES}/spread_wide"), "k", &foreign);
    assert_eq!(Answer::to(put).await.problem(), (422, "invalid".into()));
    assert_eq!(configure(&edge, &edge.acme, "no_such_rule", json!({})).await.status, 404);
    assert_eq!(configure(&edge, &edge.acme, "auth_anomaly", json!({})).await.status, 404, "it is the desk's");
    let done = configure(&edge, &edge.acme, "spread_wide", json!({"ratio": "3"})).await.json();
    let rules = edge.served.ask(&edge.acme.token, &format!("{RULES}?min_seq={}", seq(&done))).await.json();
    let of =
        |rules: &Value| rules.as_array().unwrap().iter().find(|one| one["rule"] == "spread_wide").cloned().unwrap();
    assert_eq!(of(&rules)["said"][0]["parameters"], json!({"ratio": "3"}));
    assert!(of(&rules)["parameters"][0]["about"].as_str().unwrap().contains("configured spread"));
    assert_eq!(
        configure(&edge, &edge.acme, "spread_wide", json!({"ratio": "3"})).await.problem(),
        (409, "conflict".into())
    );
    let reset = edge.served.command(Method::DELETE, &edge.acme.token, &format!("{RULES}/spread_wide"), "r", &json!({}));
    let done = Answer::to(reset).await.json();
    let rules = edge.served.ask(&edge.acme.token, &format!("{RULES}?min_seq={}", seq(&done))).await.json();
    assert_eq!(of(&rules)["said"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_tried_on_the_past_with_other_numbers_and_nothing_is_recorded() {
    let edge = Edge::new("api,projector").await;
    let began = Time::now().plus_micros(-120_000_000);
    runs(&edge.streams, &edge.acme, began).await;
    let at = |second: i64| began.plus_micros(second * 1_000_000);
    let told = [(0, 20), (10, 150), (50, 20)].map(|(second, spread)| quote(&edge.acme, Some(spread), at(second)));
    write(&edge.streams, told.to_vec()).await;
    let before = edge.heads().await;
    let attempt = async |parameters: Value| {
        let body = json!({"parameters": parameters});
        edge.served.post(&edge.acme.token, &format!("{RULES}/spread_wide/try"), "", &body).await
    };
    let usual = attempt(json!({})).await.json();
    let told: Vec<(&str, &str)> = usual["would"]
        .as_array()
        .unwrap()
        .iter()
        .map(|would| (would["what"].as_str().unwrap(), would["at"].as_str().unwrap()))
        .collect();
    let (fires, clears) = (at(40).to_string(), at(80).to_string());
    assert_eq!(told, [("fired", fires.as_str()), ("resolved", clears.as_str())]);
    assert_eq!(attempt(json!({"floor_bps": "200"})).await.json()["would"], json!([]));
    assert_eq!(attempt(json!({"for_s": "41"})).await.json()["would"], json!([]));
    assert_eq!(attempt(json!({"floor_bps": "0"})).await.problem(), (422, "invalid".into()));
    assert_eq!(edge.heads().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_is_set_with_a_reason_and_ends_once() {
    let edge = Edge::new("api,projector").await;
    let until = Time::now().plus_micros(3_600_000_000);
    let body = |rule: &str| json!({"rule": rule, "until": until, "reason": "maintenance"});
    let set =
        async |key: &str, body: &Value| edge.served.post(&edge.acme.token, "/api/alerts/silences", key, body).await;
    assert_eq!(set("k0", &body("no_such_rule")).await.problem(), (422, "invalid".into()));
    let past = json!({"until": Time::now(), "reason": "late"});
    assert_eq!(set("k1", &past).await.problem(), (422, "invalid".into()));
    let made = set("k2", &body("spread_wide")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let again = set("k2", &body("spread_wide")).await.json();
    assert_eq!((&again["repeated"], &again["silence_id"]), (&json!(true), &made.json()["silence_id"]));
    let path = format!("/api/alerts/silences/{}", made.json()["silence_id"].as_str().unwrap());
    let end = async |key: &str| {
        Answer::to(edge.served.command(Method::DELETE, &edge.acme.token, &path, key, &json!({}))).await
    };
    let done = end("e1").await;
    assert_eq!(done.status, 202, "{}", done.text());
    let listed =
        edge.served.ask(&edge.acme.token, &format!("/api/alerts/silences?min_seq={}", seq(&done.json()))).await;
    assert_eq!(listed.json()[0]["ended"], "asked for");
    assert_eq!(end("e2").await.problem(), (409, "conflict".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hummingbot_that_does_not_answer_is_an_alert_of_the_desk_and_a_fact_of_every_client() {
    let (edge, outside) = (Edge::new("api,projector,alerts").await, Outside::start(Settings::default()).await);
    let command = edge.database.command(&["serve", "--roles", "operator"]);
    let _operator = Served::of(outside.served_by(command, 2));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let path = "/api/admin/alerts/platform?rule=hummingbot_down";
    assert_eq!(edge.served.ask(&edge.admin, path).await.json()["items"], json!([]));
    outside.stop().await;
    of_platform(&edge, "rule=hummingbot_down").await;
    for party in [&edge.acme, &edge.borealis] {
        let events = read::after(&edge.database.pool(Login::Projector), party.client, 0, 1_000).await.unwrap();
        let lost = |recorded: &&events::Recorded| recorded.event.event_type() == "HummingbotLost";
        assert_eq!(events.iter().filter(lost).count(), 1, "{}", party.slug);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_failed_logins_of_one_user_are_told_once() {
    let edge = Edge::new("api,alerts").await;
    let person = edge.database.person("guessed@example.com", events::desk::Role::Operator, None).await;
    // From many networks, none of which waits.
    let sessions = edge.database.register();
    let doorman = access::Doorman::new(sessions);
    for n in 0..10_u8 {
        let from = [10, 0, n, 1].into();
        let guessed = doorman.log_in(&person.email.parse().unwrap(), "not-the-password-at-all".into(), from).await;
        assert!(guessed.is_err());
    }
    let alert = of_platform(&edge, "rule=auth_anomaly").await;
    assert_eq!((&alert["severity"], &alert["labels"]["about"]), (&json!("warning"), &json!(person.id.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn that_nobody_evaluates_alerts_is_seen_by_another_process_and_told_on_nats() {
    let edge = Edge::new("api,projector").await;
    // Of one client, while those of the others are evaluated.
    let silent = "insert into alerts.engines (client_id, token, reached, shape, state, passed_at)
                  values ($1, 0, 0, '', '', now() - interval '60 seconds'), ($2, 0, 0, '', '', now() + interval '1 hour')";
    let all = sqlx::query(silent).bind(edge.acme.client.0).bind(ClientId::DESK.0);
    all.execute(&edge.database.superuser()).await.unwrap();
    let mut beats = edge.database.nats().admin().await.subscribe("pipelabs_beats.alerts").await.unwrap();
    let _relay = Served::start(&edge.database, "relay");
    let hears = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let beat: Value = serde_json::from_slice(&beats.next().await.expect("NATS is there").payload).unwrap();
            // Other tests have relays of their own, on the same NATS.
            if beat["alive"] == false {
                return;
            }
        }
    });
    hears.await.expect("it is told on NATS");
    let _alerts = Served::start(&edge.database, "alerts");
    // As soon as somebody can say so.
    of_platform(&edge, "rule=dead_man").await;
}

/// Some seconds of a market that gets wide, one-sided and narrow again, of fills of all sizes, of stops and of people who
/// look after alerts, told late and out of order, while those who evaluate and publish it are killed.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_each_episode_is_told_once_and_follows_from_the_events() {
    let mut running = stream::iter(rounds()).map(one_round).buffer_unordered(3);
    let mut transitions = 0;
    while let Some(made) = running.next().await {
        transitions += made;
    }
    assert!(transitions > 0, "nothing ever fired");
}

async fn one_round(seed: u64) -> usize {
    let mut random = StdRng::seed_from_u64(seed);
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let acme = Party { client, slug: "acme", bot, token: String::new() };
    runs(&streams, &acme, Time::now()).await;
    quickly(&streams, &acme).await;
    let roles = "alerts,relay";
    let mut watching: Vec<Served> = (0..2).map(|_| Served::start(&database, roles)).collect();
    for _ in 0..40 {
        let some: Vec<Append> = (0..random.random_range(1..8)).map(|_| something(&acme, &mut random)).collect();
        write(&streams, some).await;
        if random.random_bool(0.1) {
            let one = random.random_range(0..watching.len());
            watching[one].kill();
            watching[one] = Served::start(&database, roles);
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(5..120))).await;
    }
    write(&streams, vec![quote(&acme, Some(20), Time::now())]).await;
    let told = until_quiet(&database, &acme).await;
    let mut fired = BTreeMap::new();
    for (_, event) in told.iter().filter(|(_, event)| matches!(event, AlertEvent::AlertFired { .. })) {
        let AlertEvent::AlertFired { rule, labels, episode, .. } = event else { continue };
        let before = fired.insert((rule.clone(), labels.clone(), *episode), ());
        assert!(before.is_none(), "seed {seed}: {rule} fired twice in episode {episode}");
    }
    replays(&database, &acme, seed).await;
    arrived(&database, client, None).await;
    println!("alerts, seed {seed}: {} transitions of {} episodes", told.len(), fired.len());
    told.len()
}

/// Rules that would take minutes take a second or less.
async fn quickly(streams: &Streams, of: &Party) {
    let configured = |rule: &str, parameters: &[(&str, &str)]| {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), d(value))).collect();
        let (name, scope, at) = (rule.parse().unwrap(), events::alert::Scope::default(), Time::now());
        let told = events::alert::RuleEvent::RuleConfigured { rule: name, scope, on: true, parameters, at };
        append(of.client, AggregateRef::new("rule", rule), told.into(), None)
    };
    let told = vec![
        configured("spread_wide", &[("for_s", "0.4"), ("keep_s", "0.3")]),
        configured("no_two_sided_quotes", &[("for_s", "0.2"), ("for_critical_s", "0.7"), ("keep_s", "0.1")]),
        configured("fill_large", &[("first_quote", "100"), ("lasts_s", "1")]),
        configured("heartbeat_lost", &[("critical_s", "30"), ("keep_s", "0.5")]),
    ];
    write(streams, told).await;
}

fn something(of: &Party, random: &mut StdRng) -> Append {
    let now = Time::now();
    let late = now.plus_micros(-random.random_range(0..800_000));
    match random.random_range(0..13) {
        0..5 => {
            let spread = [None, Some(20), Some(150), Some(400)][random.random_range(0..4)];
            quote(of, spread, late)
        }
        5..9 => {
            let n = random.random_range(0..u64::MAX / 2);
            let side = [Side::Buy, Side::Sell][random.random_range(0..2)];
            // So few different ones that some are each other's other half.
            let amount = events::Amount(d(&format!("{}e-1", random.random_range(1..30))));
            let one = fill(of.client, of.bot, n, 0);
            let told = events::ledger::Fill { side, amount, price: Price(d("150")), at: late, ..one };
            append(of.client, AggregateRef::ledger(of.client), LedgerEvent::FillRecorded(told).into(), None)
        }
        9 => of_bot(of, BotEvent::BotSilent { last_seen: late, at: now }),
        10 => of_bot(of, BotEvent::BotSeenAlive { at: now }),
        11 => looked_after(of, random.random_range(1..4), now),
        _ if random.random_bool(0.7) => of_bot(of, BotEvent::BotDeployRequested { at: now }),
        _ => of_bot(of, BotEvent::BotStopRequested { reason: "test".into(), at: now }),
    }
}

/// Ends the episode of an alert that ends by hand, if that is the one that goes on.
fn looked_after(of: &Party, episode: u64, at: Time) -> Append {
    let (rule, severity) = ("self_match".parse().unwrap(), Severity::Critical);
    let alert = AlertId::of(of.client, &rule, &Labels::at(&venue()));
    let told = AlertEvent::AlertAcknowledged { rule, severity, episode, until: None, note: "seen".into(), at };
    append(of.client, AggregateRef::new("alert", alert), told.into(), None)
}

/// What was told once nothing more comes.
async fn until_quiet(database: &Database, of: &Party) -> Vec<(u64, AlertEvent)> {
    let mut known = told(database, of).await;
    loop {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let now = told(database, of).await;
        if now.len() == known.len() {
            return now;
        }
        known = now;
    }
}

/// The client's export, replayed by who has nothing else, gives the same.
async fn replays(database: &Database, of: &Party, seed: u64) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_string_lossy().into_owned();
    database.succeed(&["audit", "export", "--client", of.slug, "--output", &path]);
    let output = database.run(&["audit", "alerts", &path]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "seed {seed}: {said}{}", String::from_utf8_lossy(&output.stderr));
}

/// An alert that nobody decided to have is found by whoever replays the export.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_does_not_follow_from_the_events_is_found() {
    let database = Database::new().await;
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    let acme = Party { client, slug: "acme", bot, token: String::new() };
    write(&streams, crate::neighbours::of_alerts(&acme)).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_string_lossy().into_owned();
    database.succeed(&["audit", "export", "--client", "acme", "--output", &path]);
    let output = database.run(&["audit", "alerts", &path]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("does not follow from the events"), "{said}");
}
