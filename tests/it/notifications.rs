//! People are told: by each kind of channel, once each, with one id however often it is tried; by none that leads where it
//! must not; and where a channel leads shows nowhere.

use std::{collections::BTreeSet, process::Command, time::Duration};

use data_encoding::BASE64;
use events::{ClientId, Time};
use futures::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use tests::{Answer, Database, Mailbox, Posted, Receiver, Served, canaries::in_database};

use crate::{
    alerts::{becomes, quotes, runs},
    edge::{Edge, Party, seq},
    kill::rounds_of,
};

const CHANNELS: &str = "/api/alerts/channels";
/// No secret of anybody's; it must show nowhere.
const SECRET: &str = "hook-nobody-knows";
/// As long as one of Telegram's.
const TELEGRAM: &str = "7313:hook-nobody-knows-0123456789abcdef";

/// A desk whose channels may lead to this machine.
struct Desk {
    edge: Edge,
    receiver: Receiver,
    mailbox: Mailbox,
    alerts: Served,
}

impl Desk {
    async fn new() -> Self {
        let (receiver, mailbox) = (Receiver::start().await, Mailbox::start().await);
        let database = Database::new().await;
        let roles = "api,projector";
        let edge = Edge::served(database, |database| told_by(database, roles, &receiver, &mailbox)).await;
        let alerts = Served::of(told_by(&edge.database, "alerts", &receiver, &mailbox));
        runs(&edge.streams, &edge.acme, Time::now()).await;
        Self { edge, receiver, mailbox, alerts }
    }

    /// Adds a channel; its id, and the secret that it signs by.
    async fn add(&self, of: &Party, name: &str, target: Value, settings: Value) -> (String, Option<String>) {
        let body = json!({"name": name, "target": target, "settings": settings});
        let added = self.edge.served.post(&of.token, CHANNELS, &format!("add-{name}"), &body).await;
        assert_eq!(added.status, 201, "{}", added.text());
        let added = added.json();
        (text(&added["channel_id"]), added["signing_secret"].as_str().map(str::to_owned))
    }

    async fn webhook(&self, name: &str) -> (String, String, String) {
        let path = format!("/{SECRET}/{name}");
        let target = json!({"kind": "webhook", "url": format!("{}{path}", self.receiver.url)});
        let (id, secret) = self.add(&self.edge.acme, name, target, at_once("info")).await;
        (id, path, secret.expect("a webhook signs"))
    }

    /// Waits until the tries of a channel are so.
    async fn tries(&self, channel: &str, fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let path = format!("{CHANNELS}/{channel}/tries");
        let found = async {
            loop {
                let all = self.edge.served.ask(&self.edge.acme.token, &path).await.json();
                let all = all.as_array().expect("a list").clone();
                if fits(&all) {
                    return all;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), found).await.expect("they become so")
    }

    async fn quickly(&self) {
        let body = json!({"parameters": {"for_s": "0", "keep_s": "0"}});
        let path = "/api/alerts/rules/spread_wide";
        let put = self.edge.served.command(Method::PUT, &self.edge.acme.token, path, "quick", &body);
        assert_eq!(Answer::to(put).await.status, 202);
    }
}

fn told_by(database: &Database, roles: &str, receiver: &Receiver, mailbox: &Mailbox) -> Command {
    let mut command = database.command(&["serve", "--roles", roles, "--port", "0"]);
    command.env("NOTIFY_TRUSTED_NETWORKS", "127.0.0.1").env("TELEGRAM_API_URL", &receiver.url);
    command.env("SMTP_URL", &mailbox.url).env("SMTP_FROM", "Pipe Labs <alerts@desk.example>");
    command
}

fn at_once(severity: &str) -> Value {
    json!({"severity": severity, "wait_s": 0, "on": true})
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it happens")
}

/// Whether what came was signed by this secret, as the specification of Standard Webhooks has it.
fn is_signed(posted: &Posted, secret: &str) -> bool {
    let key = BASE64.decode(secret.strip_prefix("whsec_").expect("it begins so").as_bytes()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.", posted.header("webhook-id"), posted.header("webhook-timestamp")).as_bytes());
    mac.update(&posted.body);
    let expected = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
    posted.header("webhook-signature").split(' ').any(|one| one == expected)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_told_once_by_each_kind_of_channel_and_so_is_its_end() {
    let desk = Desk::new().await;
    let (edge, receiver) = (&desk.edge, &desk.receiver);
    desk.quickly().await;
    let (hook, hook_path, secret) = desk.webhook("hook").await;
    let slack_path = format!("/{SECRET}/slack");
    let slack = json!({"kind": "slack", "url": format!("{}{slack_path}", receiver.url)});
    let telegram = json!({"kind": "telegram", "bot_token": TELEGRAM, "chat_id": "-100200300"});
    let telegram_path = format!("/bot{TELEGRAM}/sendMessage");
    let email = json!({"kind": "email", "to": format!("{SECRET}@acme.example")});
    for (name, target) in [("slack", slack), ("telegram", telegram), ("email", email)] {
        desk.add(&edge.acme, name, target, at_once("info")).await;
    }
    let critical = json!({"kind": "webhook", "url": format!("{}/{SECRET}/critical", receiver.url)});
    desk.add(&edge.acme, "critical", critical, at_once("critical")).await;

    quotes(edge, &edge.acme, 80).await;
    becomes(edge, &edge.acme, "spread_wide", "firing").await;
    within(receiver.until(&hook_path, 1)).await;
    quotes(edge, &edge.acme, 20).await;
    becomes(edge, &edge.acme, "spread_wide", "resolved").await;
    let hooks = within(receiver.until(&hook_path, 2)).await;
    let slacks = within(receiver.until(&slack_path, 2)).await;
    let telegrams = within(receiver.until(&telegram_path, 2)).await;
    within(async {
        while desk.mailbox.mails().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        [&hook_path, &slack_path, &telegram_path].map(|path| receiver.posted(path).len()),
        [2, 2, 2],
        "each once"
    );
    assert!(receiver.posted(&format!("/{SECRET}/critical")).is_empty(), "it is a warning");
    let notices: Vec<String> = hooks.iter().map(|one| text(&one.json()["data"]["items"][0]["notice"])).collect();
    assert_eq!(notices, ["fired", "resolved"]);
    assert!(hooks.iter().all(|one| is_signed(one, &secret)));
    assert_eq!(hooks[0].json()["data"]["client_id"], json!(edge.acme.client));
    assert!(text(&slacks[0].json()["text"]).contains("80 bps apart"), "{}", slacks[0].json());
    assert_eq!(telegrams[0].json()["chat_id"], "-100200300");
    let mails = desk.mailbox.mails();
    assert!(mails[0].text.contains("spread_wide") && mails[0].to[0].contains("acme.example"), "{mails:?}");
    assert!(mails[0].text.contains("Message-ID: <"), "{mails:?}");

    let tries = desk.tries(&hook, |tries| tries.len() == 2).await;
    assert!(tries.iter().all(|one| one["result"] == "delivered" && one["attempt"] == 1), "{tries:?}");
    assert_eq!(tries[0]["message_id"], hooks[1].header("webhook-id"));
    nothing_shows(&desk).await;
}

/// Where channels lead shows in no list, no event and no table but sealed.
async fn nothing_shows(desk: &Desk) {
    let (edge, token) = (&desk.edge, &desk.edge.acme.token);
    let listed = edge.served.ask(token, CHANNELS).await;
    let events = edge.served.ask(token, "/api/events?limit=500").await;
    for answer in [&listed, &events] {
        assert!(!answer.text().contains(SECRET), "{}", answer.text());
    }
    let shown: Vec<String> = listed.json().as_array().unwrap().iter().map(|one| text(&one["shown"])).collect();
    assert!(shown.contains(&"…@acme.example".to_owned()) && shown.contains(&"bot 7313".to_owned()), "{shown:?}");
    assert_eq!(in_database(&edge.database.owner).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_taken_comes_again_with_the_same_id_and_a_dead_channel_rests() {
    let desk = Desk::new().await;
    let (edge, token) = (&desk.edge, &desk.edge.acme.token);
    let (id, path, secret) = desk.webhook("hook").await;
    desk.receiver.will_answer(&path, &[503]);
    let test = async |key: &str| edge.served.post(token, &format!("{CHANNELS}/{id}/test"), key, &json!({})).await;
    assert_eq!(test("t1").await.status, 202);
    assert_eq!(test("t2").await.problem(), (409, "conflict".into()), "one at a time");
    let came = within(desk.receiver.until(&path, 2)).await;
    assert_eq!(came[0].header("webhook-id"), came[1].header("webhook-id"));
    assert_eq!((&came[0].json()["type"], &came[0].body), (&json!("test"), &came[1].body));
    assert!(came.iter().all(|one| is_signed(one, &secret)));
    let tries = desk.tries(&id, |tries| tries.len() == 2).await;
    let results: Vec<_> = tries.iter().map(|one| (one["result"].clone(), one["reason"].clone())).collect();
    let expected = [(json!("delivered"), Value::Null), (json!("failed"), json!("it answered 503"))];
    assert_eq!(results, expected);

    let renew = json!({"target": {"kind": "webhook", "url": format!("{}{path}", desk.receiver.url)}});
    let renewed = edge.served.post(token, &format!("{CHANNELS}/{id}/renew"), "r1", &renew).await.json();
    let newer = text(&renewed["signing_secret"]);
    assert_ne!(newer, secret);
    let again = edge.served.post(token, &format!("{CHANNELS}/{id}/renew"), "r1", &renew).await.json();
    assert_eq!((&again["repeated"], &again["signing_secret"]), (&json!(true), &json!(newer)), "the same wish");
    desk.receiver.will_answer(&path, &[410]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(test("t3").await.status, 202);
    let came = within(desk.receiver.until(&path, 3)).await;
    assert!(is_signed(&came[2], &secret) && is_signed(&came[2], &newer), "by both for a day");
    let disabled = async {
        while edge.served.ask(token, CHANNELS).await.json()[0]["state"] != "disabled" {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    within(disabled).await;
    assert_eq!(test("t4").await.problem(), (409, "conflict".into()));
    becomes(edge, &edge.acme, "channel_failing", "firing").await;
    let put = edge.served.command(Method::PUT, token, &format!("{CHANNELS}/{id}"), "on", &at_once("info"));
    assert_eq!(Answer::to(put).await.status, 202);
    becomes(edge, &edge.acme, "channel_failing", "resolved").await;
}

/// A post that arrived, and of which nothing can be written down for a while, is not made again.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_a_try_is_recorded_when_it_can_be_and_the_try_is_not_made_again() {
    let desk = Desk::new().await;
    let (edge, receiver) = (&desk.edge, &desk.receiver);
    desk.quickly().await;
    let (hook, path, _) = desk.webhook("hook").await;
    receiver.holds(&path, true);
    quotes(edge, &edge.acme, 80).await;
    within(receiver.until(&path, 1)).await;
    let superuser = edge.database.superuser();
    let mut held = superuser.begin().await.unwrap();
    let lock = "select from es.streams where client_id = $1 for update";
    sqlx::query(lock).bind(edge.acme.client.0).execute(&mut *held).await.unwrap();
    receiver.holds(&path, false);
    // Longer than anybody is at a message.
    tokio::time::sleep(Duration::from_secs(55)).await;
    assert_eq!(receiver.posted(&path).len(), 1, "it was posted again");
    held.rollback().await.unwrap();
    let tries = desk.tries(&hook, |tries| !tries.is_empty()).await;
    let told: Vec<_> = tries.iter().map(|one| (text(&one["result"]), one["attempt"].clone())).collect();
    assert_eq!(told, [("delivered".to_owned(), json!(1))]);
    assert_eq!(receiver.posted(&path).len(), 1);
}

/// However slow one client's receiver is, another's is told at once.
#[tokio::test(flavor = "multi_thread")]
async fn slow_receivers_of_one_client_hold_up_nobody_else() {
    let desk = Desk::new().await;
    let (edge, receiver) = (&desk.edge, &desk.receiver);
    let slow: Vec<String> = stream::iter(0..20)
        .then(async |n| {
            let (id, path, _) = desk.webhook(&format!("slow{n}")).await;
            receiver.holds(&path, true);
            let tested = edge
                .served
                .post(&edge.acme.token, &format!("{CHANNELS}/{id}/test"), &format!("t{n}"), &json!({}))
                .await;
            assert_eq!(tested.status, 202, "{}", tested.text());
            path
        })
        .collect()
        .await;
    let arrived = || slow.iter().filter(|path| !receiver.posted(path).is_empty()).count();
    within(async {
        while arrived() < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let quick = format!("/{SECRET}/quick");
    let target = json!({"kind": "webhook", "url": format!("{}{quick}", receiver.url)});
    let (id, _) = desk.add(&edge.borealis, "quick", target, at_once("info")).await;
    let tested = edge.served.post(&edge.borealis.token, &format!("{CHANNELS}/{id}/test"), "q", &json!({})).await;
    assert_eq!(tested.status, 202, "{}", tested.text());
    within(receiver.until(&quick, 1)).await;
    assert!(arrived() < slow.len(), "all of one client's are on their way at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_added_once_within_bounds_by_those_who_may_and_forgotten_when_it_is_removed() {
    let desk = Desk::new().await;
    let (edge, token) = (&desk.edge, &desk.edge.acme.token);
    let add = async |key: &str, target: Value, settings: Value| {
        let body = json!({"name": "ops", "target": target, "settings": settings});
        edge.served.post(token, CHANNELS, key, &body).await
    };
    let slack = |url: &str| json!({"kind": "slack", "url": url});
    for (n, url) in
        ["http://hooks.example.com/x", "https://10.0.0.1/x", "https://localhost/x", "nonsense"].into_iter().enumerate()
    {
        let refused = add(&format!("u{n}"), slack(url), at_once("info")).await;
        assert_eq!(refused.problem(), (422, "invalid".into()), "{url}");
        assert!(!refused.text().contains("nonsense"), "what was given is not repeated");
    }
    let fine = slack(&format!("https://hooks.example.com/{SECRET}"));
    for (n, settings) in [
        json!({"severity": "info", "wait_s": 301, "on": true}),
        json!({"severity": "loud", "wait_s": 1, "on": true}),
        json!({"severity": "info", "wait_s": 1, "on": true, "quiet": {"from": 5, "to": 5, "zone": "UTC"}}),
        json!({"severity": "info", "wait_s": 1, "on": true, "quiet": {"from": 5, "to": 6, "zone": "Mars/Olympus"}}),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(matches!(add(&format!("s{n}"), fine.clone(), settings).await.status, 400 | 422));
    }
    let added = add("k", fine.clone(), at_once("info")).await;
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(added.json()["shown"], "https://hooks.example.com/…");
    assert_eq!(add("k", fine.clone(), at_once("info")).await.json()["repeated"], true);
    assert_eq!(add("k2", fine.clone(), at_once("info")).await.problem(), (409, "conflict".into()));
    let path = format!("{CHANNELS}/{}", text(&added.json()["channel_id"]));
    let other = json!({"target": {"kind": "email", "to": "a@b.example"}});
    assert_eq!(edge.served.post(token, &format!("{path}/renew"), "r", &other).await.problem(), (422, "invalid".into()));
    assert_eq!(edge.served.ask(&edge.borealis.token, &format!("{path}/tries")).await.status, 404);
    assert_eq!(edge.served.ask(&edge.borealis.token, CHANNELS).await.json(), json!([]));
    let sealed = "select count(*) from vault.targets where client_id = $1";
    let count = async |client: ClientId| -> i64 {
        let vault = edge.database.pool(store::Login::Vault);
        sqlx::query_scalar(sealed).bind(client.0).fetch_one(&vault).await.unwrap()
    };
    assert_eq!(count(edge.acme.client).await, 1, "nothing is sealed that is refused");
    let removed = edge.served.command(Method::DELETE, token, &path, "d", &json!({"reason": "moved"}));
    let removed = Answer::to(removed).await.json();
    assert_eq!(count(edge.acme.client).await, 0);
    let listed = edge.served.ask(token, &format!("{CHANNELS}?min_seq={}", seq(&removed))).await.json();
    assert_eq!(listed[0]["state"], "removed");
    assert_eq!(add("k3", fine, at_once("info")).await.status, 201, "its name is free again");
}

/// Those who evaluate and send are killed while alerts come and go: each thing that is told comes by one id, and all of it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_each_episode_is_told_by_one_message() {
    // Whatever was being sent when somebody died waits for most of a minute: many wait together.
    let mut running = stream::iter(rounds_of(3)).map(one_round).buffer_unordered(4);
    while let Some((seed, posted)) = running.next().await {
        println!("notifications, seed {seed}: 12 pieces of news by {posted} posts");
    }
}

async fn one_round(seed: u64) -> (u64, usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut desk = Desk::new().await;
    desk.quickly().await;
    let (_, path, _) = desk.webhook("hook").await;
    for round in 0..12 {
        let spread = if round % 2 == 0 { 80 } else { 20 };
        quotes(&desk.edge, &desk.edge.acme, spread).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(1..400))).await;
        if random.random_bool(0.4) {
            desk.alerts.kill();
            desk.alerts = Served::of(told_by(&desk.edge.database, "alerts", &desk.receiver, &desk.mailbox));
        }
        let state = if spread == 80 { "firing" } else { "resolved" };
        becomes(&desk.edge, &desk.edge.acme, "spread_wide", state).await;
    }
    let told = async {
        loop {
            let posted = desk.receiver.posted(&path);
            let ids: BTreeSet<(String, u64, String)> = posted.iter().flat_map(news).collect();
            let things: BTreeSet<(&str, u64)> = ids.iter().map(|(notice, episode, _)| (&**notice, *episode)).collect();
            assert_eq!(things.len(), ids.len(), "seed {seed}: something came by two messages: {ids:?}");
            if things.len() == 12 {
                return posted.len();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let posted = tokio::time::timeout(Duration::from_secs(150), told).await;
    (seed, posted.unwrap_or_else(|_| panic!("seed {seed}: not all of it is told")))
}

/// What a message tells, of which episode, and by which id.
fn news(posted: &Posted) -> Vec<(String, u64, String)> {
    let told = posted.json();
    let items = told["data"]["items"].as_array().expect("it tells of alerts");
    let id = posted.header("webhook-id");
    items.iter().map(|item| (text(&item["notice"]), item["episode"].as_u64().unwrap(), id.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_is_told_by_its_own_channels_that_its_subscribers_hear_late_and_looks_after_it() {
    const PLATFORM: &str = "/api/admin/alerts/platform";
    const OWN: &str = "/api/admin/alerts/channels";
    let desk = Desk::new().await;
    let edge = &desk.edge;
    let mut relay = Served::start(&edge.database, "relay");
    tests::arrived(&edge.database, edge.acme.client, None).await;
    let path = format!("/{SECRET}/desk");
    let target = json!({"kind": "webhook", "url": format!("{}{path}", desk.receiver.url)});
    let body = json!({"name": "desk", "target": target, "settings": at_once("info")});
    let added = edge.served.post(&edge.admin, OWN, "d1", &body).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let id = text(&added.json()["channel_id"]);
    assert_eq!(edge.served.post(&edge.acme.token, OWN, "d2", &body).await.status, 403);
    let test = edge.served.post(&edge.admin, &format!("{OWN}/{id}/test"), "t", &json!({})).await;
    assert_eq!(test.status, 202, "{}", test.text());
    assert_eq!(within(desk.receiver.until(&path, 1)).await[0].json()["type"], "test");

    relay.kill();
    quotes(edge, &edge.acme, 20).await;
    let told = within(desk.receiver.until(&path, 2)).await;
    assert_eq!(told[1].json()["data"]["rule"], "relay_lag");
    let fired = edge.served.ask(&edge.admin, &format!("{PLATFORM}?rule=relay_lag")).await.json()["items"][0].clone();
    let look = format!("{PLATFORM}/{}/acknowledge", text(&fired["alert_id"]));
    let note = json!({"note": "it is being started again"});
    assert_eq!(edge.served.post(&edge.admin, &look, "a", &note).await.status, 202);
    assert_eq!(edge.served.post(&edge.acme.token, &look, "a", &note).await.status, 403);
    relay = Served::start(&edge.database, "relay");
    let ends = async {
        while !edge
            .served
            .ask(&edge.admin, &format!("{PLATFORM}?rule=relay_lag&state=resolved"))
            .await
            .text()
            .contains("relay_lag")
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(ends).await;
    let told = within(desk.receiver.until(&path, 3)).await;
    assert_eq!(told[2].json()["data"]["items"][0]["notice"], "resolved");
    let tries = edge.served.ask(&edge.admin, &format!("{OWN}/{id}/tries")).await.json();
    assert!(tries.as_array().unwrap().len() >= 3, "{tries}");
    drop(relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_channel_leads_opens_for_its_own_client_and_channel_alone() {
    let desk = Desk::new().await;
    let edge = &desk.edge;
    let target = |of: &str| json!({"kind": "webhook", "url": format!("{}/{SECRET}/{of}", desk.receiver.url)});
    let (acme, _) = desk.add(&edge.acme, "ops", target("acme"), at_once("info")).await;
    desk.add(&edge.borealis, "ops", target("borealis"), at_once("info")).await;
    let check = || edge.database.run(&["vault", "check"]);
    assert!(check().status.success());
    // Somebody who writes to the database has the one's messages go to the other.
    let moved = "update vault.targets t set ciphertext = o.ciphertext
                   from vault.targets o where t.client_id = $1 and o.client_id = $2";
    let moved = sqlx::query(moved).bind(edge.acme.client.0).bind(edge.borealis.client.0);
    assert_eq!(moved.execute(&edge.database.superuser()).await.unwrap().rows_affected(), 1);
    let test = edge.served.post(&edge.acme.token, &format!("{CHANNELS}/{acme}/test"), "t", &json!({})).await;
    assert_eq!(test.status, 202);
    let tries = desk.tries(&acme, |tries| !tries.is_empty()).await;
    assert!(text(&tries[0]["reason"]).contains("refused"), "{tries:?}");
    assert!(desk.receiver.posted(&format!("/{SECRET}/borealis")).is_empty());
    let output = check();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("bad: where channel"), "{said}");
}
