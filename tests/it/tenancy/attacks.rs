//! Whoever has one client's credentials, or makes some, meets nothing of another client: nothing is delivered, and nothing
//! that NATS holds changes.
//!
//! Two attackers try the same: a subscriber of acme, and one who has the keys of role api and so may do anything within
//! acme's account. The second one shows that the accounts hold, and not the first one's few rights alone.

use std::time::Duration;

use async_nats::{
    Client, ConnectOptions,
    jetstream::{Context, consumer::pull},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use events::{ClientId, SubscriptionId, Time};
use futures::{StreamExt, TryStreamExt, future::join_all};
use hkdf::Hkdf;
use nkeys::{KeyPair, KeyPairType};
use relay::{Issuer, stream_name, tenancy::keys::AccountKeys};
use serde_json::{Value, json};
use sha2::Sha256;
use tests::{Nats, OwnNats, arrived};

use super::{
    desk, fills,
    follower::{COMES, Follower, Noticed, options, seed},
    subscribe, until,
};
use crate::edge::Edge;

/// How long an answer is waited for that should never come.
const NO_ANSWER: Duration = Duration::from_millis(400);

/// A client with a subscriber who follows it, one event of whom is on its way unacknowledged.
struct Scene {
    edge: Edge,
    nats: OwnNats,
    /// Answers to acme's and to borealis' subscriptions.
    acme: Value,
    borealis: Value,
}

/// Somebody who tries things, and what is his own.
struct Attacker {
    name: &'static str,
    client: Client,
    noticed: Noticed,
    inbox: String,
    /// Whether he may see what is acme's, as a member of its account.
    within: bool,
}

impl Scene {
    async fn new() -> Self {
        let (edge, nats) = desk().await;
        fills(&edge.streams, &edge.acme, 0..20).await;
        fills(&edge.streams, &edge.borealis, 0..20).await;
        let acme = subscribe(&edge, &edge.acme, "own", json!({"after_seq": 0})).await;
        let borealis = subscribe(&edge, &edge.borealis, "pager", json!({"after_seq": 0})).await;
        for of in [&edge.acme, &edge.borealis] {
            arrived(&edge.database, of.client, None).await;
        }
        let victim = Follower::come_in(&nats.at, &borealis).await;
        victim.take(3).await;
        assert!(!victim.fetch(1, false).await.is_empty(), "one is on its way");
        Self { edge, nats, acme, borealis }
    }

    async fn attackers(&self) -> [Attacker; 2] {
        let [theirs, inside] = [Noticed::default(), Noticed::default()];
        let inbox = self.acme["inbox_prefix"].as_str().unwrap().to_owned();
        let jwt = self.acme["jwt"].as_str().unwrap();
        let subscriber = options(jwt, &seed(&self.acme), &theirs).custom_inbox_prefix(&inbox);
        let (account, user) = (account_of(&self.nats.at, self.edge.acme.client), KeyPair::new_user());
        // Without a word of what is allowed, the account would allow nothing.
        let everything = json!({"allow": [">"]});
        let rights = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": everything, "sub": everything});
        let insider = options(&mint(&account, &user.public_key(), rights, None), &user, &inside);
        let connect = async |options: ConnectOptions| options.connect(&self.nats.at.url).await.unwrap();
        [
            Attacker { name: "a subscriber", client: connect(subscriber).await, noticed: theirs, inbox, within: false },
            Attacker {
                name: "an insider",
                client: connect(insider).await,
                noticed: inside,
                inbox: "_INBOX".to_owned(),
                within: true,
            },
        ]
    }

    /// All that NATS holds: streams, their messages, their consumers.
    async fn held(&self) -> Value {
        let js = self.nats.at.jetstream().await;
        let mut held = Vec::new();
        for name in js.stream_names().try_collect::<Vec<_>>().await.unwrap() {
            let mut stream = js.get_stream(&name).await.unwrap();
            let (config, state) = (stream.cached_info().config.clone(), stream.info().await.unwrap().state.clone());
            let consumers = stream.consumers().try_collect::<Vec<_>>().await.unwrap();
            let consumers: Vec<Value> = consumers
                .iter()
                .map(|one| {
                    let places = [one.delivered.stream_sequence, one.ack_floor.stream_sequence];
                    json!([one.name, one.config, places, one.num_ack_pending, one.num_redelivered])
                })
                .collect();
            let messages = [state.messages, state.bytes, state.first_sequence, state.last_sequence];
            held.push(json!([name, config, messages, consumers]));
        }
        assert_eq!(held.len(), 2, "{held:?}");
        held.into()
    }
}

/// The key of a client's account, as whoever has `api.keys` derives it.
fn account_of(nats: &Nats, client: ClientId) -> KeyPair {
    let file = std::fs::read_to_string(nats.keys.as_ref().unwrap().api()).unwrap();
    let root = hex::decode(file.trim().strip_prefix("accounts=").unwrap()).unwrap();
    let mut seed = [0; 32];
    Hkdf::<Sha256>::new(Some(b"pipelabs nats accounts"), &root).expand(client.0.as_bytes(), &mut seed).unwrap();
    KeyPair::new_from_raw(KeyPairType::Account, seed).unwrap()
}

/// A claim about a user, made by hand.
fn mint(account: &KeyPair, user: &str, nats: Value, header: Option<&Value>) -> String {
    let usual = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let (now, issuer) = (Time::now().millis() / 1_000, account.public_key());
    let claims =
        json!({"jti": "x", "iat": now, "exp": now + 600, "iss": issuer, "sub": user, "name": "x", "nats": nats});
    let text = |value: &Value| BASE64.encode(value.to_string());
    let signed = format!("{}.{}", text(header.unwrap_or(&usual)), text(&claims));
    let signature = if header.is_some() { Vec::new() } else { account.sign(signed.as_bytes()).unwrap() };
    format!("{signed}.{}", BASE64.encode(signature))
}

/// Every call of the JetStream API, on a client's stream.
fn api_calls(client: ClientId, consumer: &str) -> Vec<(String, Value)> {
    let stream = stream_name(client);
    let own = json!({"name": stream, "subjects": ["pipelabs.>"]});
    let make = json!({"stream_name": stream, "config": {"durable_name": "x", "ack_policy": "explicit"}});
    [
        ("INFO".to_owned(), json!({})),
        ("STREAM.NAMES".to_owned(), json!({})),
        ("STREAM.LIST".to_owned(), json!({})),
        ("STREAM.CREATE.mine".to_owned(), json!({"name": "mine", "subjects": ["pipelabs.>"]})),
        (format!("STREAM.UPDATE.{stream}"), own),
        (format!("STREAM.INFO.{stream}"), json!({})),
        (format!("STREAM.DELETE.{stream}"), json!({})),
        (format!("STREAM.PURGE.{stream}"), json!({})),
        (format!("STREAM.MSG.GET.{stream}"), json!({"seq": 1})),
        (format!("STREAM.MSG.DELETE.{stream}"), json!({"seq": 1})),
        (format!("STREAM.SNAPSHOT.{stream}"), json!({"deliver_subject": "x"})),
        (format!("DIRECT.GET.{stream}"), json!({"seq": 1})),
        (format!("CONSUMER.CREATE.{stream}.x"), make.clone()),
        (format!("CONSUMER.DURABLE.CREATE.{stream}.x"), make),
        (format!("CONSUMER.NAMES.{stream}"), json!({})),
        (format!("CONSUMER.LIST.{stream}"), json!({})),
        (format!("CONSUMER.INFO.{stream}.{consumer}"), json!({})),
        (format!("CONSUMER.DELETE.{stream}.{consumer}"), json!({})),
        (format!("CONSUMER.PAUSE.{stream}.{consumer}"), json!({"pause_until": "2099-01-01T00:00:00Z"})),
        (format!("CONSUMER.MSG.NEXT.{stream}.{consumer}"), json!({"batch": 5, "no_wait": true})),
    ]
    .into()
}

impl Attacker {
    /// Asks, and tells what came back.
    async fn ask(&self, subject: &str, payload: &Value) -> Option<String> {
        let reply = format!("{}.{}", self.inbox, SubscriptionId::new().0.simple());
        let mut answers = self.client.subscribe(reply.clone()).await.unwrap();
        self.client.publish_with_reply(subject.to_owned(), reply, payload.to_string().into()).await.unwrap();
        let answer = tokio::time::timeout(NO_ANSWER, answers.next()).await.ok()??;
        let failed = answer.status.is_some_and(|status| status.as_u16() >= 400);
        (!failed).then(|| String::from_utf8_lossy(&answer.payload).into_owned())
    }

    /// Everything that came to any of these subjects while something happened.
    async fn hears(&self, subjects: &[String], while_happens: impl Future<Output = ()>) -> Vec<String> {
        let listening = subjects.iter().map(|subject| self.client.subscribe(subject.clone()));
        let mut listening = futures::stream::select_all(join_all(listening).await.into_iter().map(Result::unwrap));
        self.client.flush().await.unwrap();
        while_happens.await;
        let mut heard = Vec::new();
        while let Ok(Some(message)) = tokio::time::timeout(NO_ANSWER, listening.next()).await {
            heard.push(format!("{} {}", message.subject, String::from_utf8_lossy(&message.payload)));
        }
        heard
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_subjects_an_attacker_listens_to_nothing_of_another_client_comes() {
    let scene = Scene::new().await;
    let (me, other) = (&scene.edge.acme, &scene.edge.borealis);
    let (mine, theirs) = (me.client.0.simple().to_string(), other.client.0.simple().to_string());
    let mut subjects = vec![format!("pipelabs.{theirs}.>"), format!("pipelabs.{theirs}.events.bot.*")];
    subjects.extend([
        format!("pipelabs_heads.{theirs}"),
        format!("_INBOX_{}.>", scene.borealis["consumer"].as_str().unwrap()),
    ]);
    for wild in [
        ">",
        "*.>",
        "*.*.>",
        "pipelabs.>",
        "pipelabs.*.>",
        "pipelabs.*.alerts.>",
        "pipelabs_heads.*",
        "$JS.>",
        "$JS.ACK.>",
        "$JS.EVENT.>",
        "$SYS.>",
        "_INBOX.>",
        "_INBOX_relay.>",
        "_R_.>",
        "PLJS.>",
    ] {
        subjects.push(wild.to_owned());
    }
    for (attacker, from) in scene.attackers().await.into_iter().zip([100, 200]) {
        let own = attacker.client.subscribe(format!("pipelabs.{mine}.>")).await.unwrap();
        attacker.client.flush().await.unwrap();
        let happens = async {
            fills(&scene.edge.streams, other, from..from + 20).await;
            fills(&scene.edge.streams, me, from..from + 20).await;
            for of in [other, me] {
                arrived(&scene.edge.database, of.client, None).await;
            }
            Follower::come_in(&scene.nats.at, &scene.borealis).await.fetch(20, true).await;
        };
        let heard = attacker.hears(&subjects, happens).await;
        let foreign: Vec<&String> = heard.iter().filter(|one| one.contains(&theirs) || !one.contains(&mine)).collect();
        assert!(foreign.is_empty(), "{} hears {foreign:?}", attacker.name);
        assert!(attacker.within || heard.is_empty(), "{} hears {heard:?}", attacker.name);
        // What is his own does come, or the silence would prove nothing.
        let came = tokio::time::timeout(COMES, own.take(20).count()).await;
        assert_eq!(came.ok(), Some(20), "{} misses what is his own: {:?}", attacker.name, attacker.noticed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_attacker_publishes_or_asks_nothing_answers_and_nothing_changes() {
    let scene = Scene::new().await;
    let (me, other) = (scene.edge.acme.client, scene.edge.borealis.client);
    let consumer = |told: &Value| told["consumer"].as_str().unwrap().to_owned();
    let before = scene.held().await;
    for attacker in scene.attackers().await {
        let mut tries = Vec::new();
        for (client, consumer) in [(other, consumer(&scene.borealis)), (me, consumer(&scene.acme))] {
            let hex = client.0.simple();
            for subject in ["events.bot.BotStopped", "events.ledger.FillRecorded", "alerts.critical.self_match"] {
                tries.push((format!("pipelabs.{hex}.{subject}"), json!({"forged": true})));
            }
            tries.push((format!("pipelabs_heads.{hex}"), json!({"forged": true})));
            for (call, body) in api_calls(client, &consumer) {
                // That is what his own consumer is for.
                let allowed =
                    client == me && (call.starts_with("CONSUMER.MSG.NEXT") || call.starts_with("CONSUMER.INFO"));
                tries.extend((!allowed).then(|| (format!("PLJS.{call}"), body.clone())));
                tries.push((format!("$JS.API.{call}"), body));
            }
        }
        let stream = stream_name(other);
        for kind in ["+ACK", "+TERM", "-NAK", "+NXT"] {
            let theirs = consumer(&scene.borealis);
            tries.push((format!("$JS.ACK.{stream}.{theirs}.1.4.4.1700000000000000000.0"), json!(kind)));
        }
        let account = account_of(&scene.nats.at, me);
        let forged = mint(&account, &account.public_key(), json!({"type": "account", "version": 2}), None);
        for subject in
            ["$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.DELETE", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.SERVER.PING"]
        {
            tries.push((subject.to_owned(), json!(forged)));
        }
        tries.push((format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.UPDATE", account.public_key()), json!(forged)));
        assert!(tries.len() > 80, "{}", tries.len());
        let asked = join_all(tries.iter().map(|(subject, payload)| attacker.ask(subject, payload))).await;
        for ((subject, _), answer) in tries.iter().zip(asked) {
            let Some(answer) = answer else { continue };
            // Within the account there is a JetStream API that says that it is not enabled, and one's own echo.
            let refused = answer.contains("\"error\"") || answer.contains("forged");
            assert!(attacker.within && refused, "{} got {answer} from {subject}", attacker.name);
        }
        assert_eq!(scene.held().await, before, "{}", attacker.name);
    }
}

/// Within one account, JetStream delivers to whatever a pull request names as its reply subject.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_that_names_anothers_subject_as_its_reply_stores_and_delivers_nothing_there() {
    let scene = Scene::new().await;
    let other = scene.edge.borealis.client;
    let theirs = |held: &Value| held.as_array().unwrap().iter().map(|one| one[2].clone()).collect::<Vec<_>>();
    let before = scene.held().await;
    let listening = scene.nats.at.admin().await;
    let mut heard = listening.subscribe("pipelabs.>").await.unwrap();
    listening.flush().await.unwrap();
    let api = format!(
        "PLJS.CONSUMER.MSG.NEXT.{}.{}",
        stream_name(scene.edge.acme.client),
        scene.acme["consumer"].as_str().unwrap()
    );
    for attacker in scene.attackers().await {
        for reply in [
            format!("pipelabs.{}.events.bot.BotStopped", other.0.simple()),
            format!("pipelabs.{}.alerts.critical.self_match", scene.edge.acme.client.0.simple()),
            format!("$JS.API.STREAM.PURGE.{}", stream_name(other)),
            format!(
                "$JS.ACK.{}.{}.1.4.4.1700000000000000000.0",
                stream_name(other),
                scene.borealis["consumer"].as_str().unwrap()
            ),
            "$SYS.REQ.CLAIMS.UPDATE".to_owned(),
        ] {
            let pull = json!({"batch": 1, "no_wait": true}).to_string();
            attacker.client.publish_with_reply(api.clone(), reply, pull.into()).await.unwrap();
        }
        attacker.client.flush().await.unwrap();
        let came = tokio::time::timeout(NO_ANSWER, heard.next()).await;
        assert!(came.is_err(), "{} had {came:?} delivered", attacker.name);
    }
    let after = scene.held().await;
    assert_eq!(theirs(&after), theirs(&before), "a message was stored");
    let of = |held: &Value| held.as_array().unwrap().iter().find(|one| one[0] == stream_name(other)).cloned();
    assert_eq!(of(&after), of(&before), "another's consumer moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_that_was_not_issued_or_counts_no_more_lets_anybody_in() {
    let scene = Scene::new().await;
    let (url, client) = (&scene.nats.at.url, scene.edge.acme.client);
    let (jwt, key) = (scene.acme["jwt"].as_str().unwrap().to_owned(), seed(&scene.acme));
    let refused = async |what: &str, jwt: &str, key: &KeyPair| {
        let came = options(jwt, key, &Noticed::default()).connect(url).await;
        assert!(came.is_err(), "{what} is let in");
    };
    assert!(options(&jwt, &key, &Noticed::default()).connect(url).await.is_ok());
    assert!(async_nats::connect(url).await.is_err(), "whoever says nothing is let in");
    let all = || json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
    let user = KeyPair::new_user();
    let (unknown, account) = (KeyPair::new_account(), account_of(&scene.nats.at, client));
    refused("a user of an account that nobody knows", &mint(&unknown, &user.public_key(), all(), None), &user).await;
    let claimed = |extra: Value| {
        let mut nats = all();
        nats.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        nats
    };
    let as_signer = claimed(json!({"issuer_account": account.public_key()}));
    refused("one whom a stranger signed for", &mint(&unknown, &user.public_key(), as_signer, None), &user).await;
    refused("whoever has another seed", &jwt, &user).await;
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let mut claims: Value = serde_json::from_slice(&BASE64.decode(claims).unwrap()).unwrap();
    claims["nats"]["sub"] = json!({"allow": [">"]});
    let tampered = format!("{header}.{}.{signature}", BASE64.encode(claims.to_string()));
    refused("a tampered one", &tampered, &key).await;
    for alg in ["none", "None", "HS256", "ed25519"] {
        let header = json!({"typ": "JWT", "alg": alg});
        refused(alg, &mint(&account, &user.public_key(), all(), Some(&header)), &user).await;
    }
    refused("one without a signature", signed, &key).await;
    let bearer = claimed(json!({"bearer_token": true}));
    refused("a bearer", &mint(&account, &user.public_key(), bearer, None), &KeyPair::new_user()).await;
    let issuer = issuer(&scene.nats.at);
    let subscription: SubscriptionId = scene.acme["subscription_id"].as_str().unwrap().parse().unwrap();
    let now = Time::now();
    let (nkey, hour) = (key.public_key().parse().unwrap(), 3_600_000_000);
    let expired = issuer.jwt(client, subscription, &nkey, now.plus_micros(-25 * hour), now.plus_micros(-hour));
    refused("an expired one", &expired, &key).await;
    // One that runs out is cut off while it is connected.
    let short = issuer.jwt(client, subscription, &nkey, now, now.plus_micros(3_000_000));
    let told = json!({"jwt": short, "inbox_prefix": scene.acme["inbox_prefix"], "api_prefix": "PLJS",
        "consumer": scene.acme["consumer"], "stream": scene.acme["stream"]});
    let follower = Follower::with_key(&scene.nats.at, &told, &key).await.unwrap();
    follower.cut_off().await;
    // NATS counts whole seconds: within the last one it may still be let in, and is cut off again.
    let comes_in = async || options(&short, &key, &Noticed::default()).connect(url).await.is_ok();
    until("one that has run out is let in no more", async || !comes_in().await).await;
}

fn issuer(nats: &Nats) -> Issuer {
    let text = std::fs::read_to_string(nats.keys.as_ref().unwrap().api()).unwrap();
    Issuer::new(AccountKeys::read(&text.into()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_relay_has_removes_no_copy_and_lets_nobody_into_our_account() {
    let scene = Scene::new().await;
    let before = scene.held().await;
    let keys = std::fs::read_to_string(scene.nats.at.keys_file().unwrap()).unwrap();
    let of = |name: &str| keys.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap();
    let key = KeyPair::from_seed(of("relay_seed")).unwrap();
    let options = options(of("relay_jwt"), &key, &Noticed::default()).custom_inbox_prefix("_INBOX_relay");
    let client = options.request_timeout(Some(NO_ANSWER)).connect(&scene.nats.at.url).await.unwrap();
    let js: Context = async_nats::jetstream::new(client.clone());
    let stream = js.get_stream(stream_name(scene.edge.borealis.client)).await.unwrap();
    assert!(stream.get_consumer::<pull::Config>(scene.borealis["consumer"].as_str().unwrap()).await.is_ok());
    for call in ["DELETE", "PURGE", "MSG.DELETE", "SNAPSHOT"] {
        let subject = format!("$JS.API.STREAM.{call}.{}", stream_name(scene.edge.borealis.client));
        assert!(client.request(subject, "{\"seq\":1}".into()).await.is_err(), "{call}");
    }
    // What lets others import lets no user do anything.
    let (exports, user) = (KeyPair::from_seed(of("exports")).unwrap(), KeyPair::new_user());
    let scoped = json!({"type": "user", "version": 2, "issuer_account": of("pipelabs")});
    let wide = json!({"type": "user", "version": 2, "issuer_account": of("pipelabs"), "subs": -1, "data": -1, "payload": -1,
        "pub": {"allow": [">"]}, "sub": {"allow": [">"]}});
    for nats in [scoped, wide] {
        let jwt = mint(&exports, &user.public_key(), nats, None);
        let came = self::options(&jwt, &user, &Noticed::default())
            .request_timeout(Some(NO_ANSWER))
            .connect(&scene.nats.at.url)
            .await;
        let Ok(client) = came else { continue };
        assert!(client.request("$JS.API.INFO", "".into()).await.is_err(), "it asks");
        let mut heard = client.subscribe("pipelabs.>").await.unwrap();
        fills(&scene.edge.streams, &scene.edge.acme, 300..301).await;
        arrived(&scene.edge.database, scene.edge.acme.client, None).await;
        assert!(tokio::time::timeout(NO_ANSWER, heard.next()).await.is_err(), "it hears");
    }
    let other = |held: &Value| {
        held.as_array().unwrap().iter().find(|one| one[0] == stream_name(scene.edge.borealis.client)).cloned()
    };
    assert_eq!(other(&scene.held().await), other(&before));
}
