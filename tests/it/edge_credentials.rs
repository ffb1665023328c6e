//! Keys at the edge: they go in, what became of them is told, and no byte of one is ever seen again anywhere.

use std::{process::Stdio, time::Duration};

use domain::credential::{Credential, CredentialCommand};
use events::{ClientId, CredentialId, Event, Exchange, Market, SealedId, Time, client::ClientEvent, desk::Role};
use futures::StreamExt;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use store::{Cause, Login, read};
use tests::{
    Answer, Database, ENCRYPTION_KEY, PASSWORD, Served, arrived,
    canaries::{in_database, none_in},
};
use vault::{OpenError, Place, Vault};

use crate::edge::{Edge, seq};

const PATH: &str = "/api/clients/credentials";
/// Obviously no real ones; each is looked for everywhere.
const API_KEY: &str = "fake-api-key-canary-0001";
const SECRET: &str = "fake-secret-canary-0002";
const PASSPHRASE: &str = "fake passphrase canary 0003";
const ROTATED: &str = "fake-rotated-secret-canary-0004";

fn okx(secret: &str) -> Value {
    let fields = json!({"okx_api_key": API_KEY, "okx_secret_key": secret, "okx_passphrase": PASSPHRASE});
    json!({"exchange": "okx", "market": "spot", "fields": fields})
}

fn fields(secret: &str) -> Value {
    json!({"fields": okx(secret)["fields"]})
}

async fn vault(edge: &Edge) -> Vault {
    let ring = ENCRYPTION_KEY.parse().unwrap();
    Vault::boot(edge.database.pool(Login::Vault), ring, edge.streams.clone()).await.unwrap()
}

/// What the operator tells.
async fn tell(edge: &Edge, client: ClientId, credential: CredentialId, command: CredentialCommand) -> u64 {
    let cause = Cause::system("operator");
    let told = edge.streams.execute::<Credential>(client, &credential.to_string(), command, None, &cause).await;
    told.unwrap().expect("it is news").last
}

async fn list(edge: &Edge, token: &str, min_seq: u64) -> Value {
    edge.served.ask(token, &format!("{PATH}?min_seq={min_seq}")).await.json()
}

async fn events_of(database: &Database, client: ClientId) -> Vec<Event> {
    let events = read::after(&database.pool(Login::Projector), client, 0, 10_000).await.unwrap();
    events.into_iter().map(|event| event.event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_in_once_and_what_became_of_it_is_told_in_words() {
    let edge = Edge::new("api,projector").await;
    let (me, client) = (&edge.acme, edge.acme.client);
    let first = edge.served.post(&me.token, PATH, "k1", &okx(SECRET)).await;
    assert_eq!(first.status, 201, "{}", first.text());
    let credential: CredentialId = first.json()["credential_id"].as_str().unwrap().parse().unwrap();
    let again = edge.served.post(&me.token, PATH, "k1", &okx(SECRET)).await.json();
    assert_eq!((seq(&again), &again["repeated"]), (seq(&first.json()), &json!(true)));
    let other = edge.served.post(&me.token, PATH, "k1", &okx(ROTATED)).await;
    assert_eq!(other.problem(), (422, "idempotency_key_reused".into()));
    let twice = edge.served.post(&me.token, PATH, "k2", &okx(SECRET)).await;
    assert_eq!(twice.problem(), (409, "conflict".into()));

    let told = list(&edge, &me.token, seq(&again)).await;
    let one = told[0].clone();
    assert_eq!(
        (told.as_array().unwrap().len(), &one["state"], &one["last_four"]),
        (1, &json!("stored"), &json!("0001"))
    );
    let sealed: SealedId = one["sealed_id"].as_str().unwrap().parse().unwrap();
    let at = Time::now();
    tell(&edge, client, credential, CredentialCommand::ConfirmVerified { sealed, at }).await;
    let active = tell(&edge, client, credential, CredentialCommand::ConfirmActive { sealed, at }).await;
    assert_eq!(list(&edge, &me.token, active).await[0]["state"], "active");
    let reason = "the exchange says: key expired".to_owned();
    let failing = tell(&edge, client, credential, CredentialCommand::ReportFailing { sealed, reason, at }).await;
    let one = list(&edge, &me.token, failing).await[0].clone();
    assert_eq!((&one["state"], &one["reason"]), (&json!("failing"), &json!("the exchange says: key expired")));

    let rotate = format!("{PATH}/{credential}/rotate");
    let rotated = edge.served.post(&me.token, &rotate, "k3", &fields(ROTATED)).await;
    assert_eq!(rotated.status, 202, "{}", rotated.text());
    let now = list(&edge, &me.token, seq(&rotated.json())).await[0].clone();
    assert_eq!((&now["state"], &now["active_id"]), (&json!("stored"), &one["sealed_id"]), "the old ones stay in use");
    assert_eq!(now["fingerprint"], one["fingerprint"], "one API key has one fingerprint");
    assert_ne!(now["sealed_id"], one["sealed_id"]);
    let both = vault(&edge).await;
    for values in [&one["sealed_id"], &now["sealed_id"]] {
        let place = Place { client, credential, sealed: values.as_str().unwrap().parse().unwrap() };
        let opened = both.open(place, events::credential::Purpose::Verify, &Cause::system("test")).await.unwrap();
        let opened: Vec<_> = opened.fields().map(|(name, secret)| (name, secret.expose_secret())).collect();
        assert!(opened.contains(&("okx_api_key", API_KEY)) && opened.contains(&("okx_registration_sub_domain", "www")));
    }

    let revoke = format!("{PATH}/{credential}/revoke");
    let revoked = edge.served.post(&me.token, &revoke, "k4", &json!({"reason": "done"})).await;
    assert_eq!(list(&edge, &me.token, seq(&revoked.json())).await[0]["state"], "revoking");
    let late = edge.served.post(&me.token, &rotate, "k5", &fields(SECRET)).await;
    assert_eq!(late.problem(), (409, "conflict".into()));
    assert_eq!(both.forget(client, credential).await.unwrap(), 2, "what refused wishes left is swept");
    let gone = tell(&edge, client, credential, CredentialCommand::ConfirmRevoked { at }).await;
    assert_eq!(list(&edge, &me.token, gone).await[0]["state"], "revoked");
    let anew = edge.served.post(&me.token, PATH, "k6", &okx(SECRET)).await;
    assert_eq!((anew.status, &anew.json()["credential_id"]), (201, &json!(credential)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_its_clients_alone_and_an_admin_names_whose() {
    let edge = Edge::new("api,projector").await;
    let named = edge.served.post(&edge.admin, &format!("{PATH}?client=acme"), "k", &okx(SECRET)).await.json();
    let (credential, seq) = (named["credential_id"].as_str().unwrap().to_owned(), seq(&named));
    assert_eq!(list(&edge, &edge.acme.token, seq).await[0]["credential_id"], credential.as_str());
    assert_eq!(edge.served.ask(&edge.borealis.token, PATH).await.json(), json!([]));
    let before = edge.heads().await;
    let never_was = CredentialId::of(edge.acme.client, Exchange::Bybit, Market::Perp);
    for (of, body) in [("rotate", fields(ROTATED)), ("revoke", json!({})), ("rotate", json!({"nonsense": 1}))] {
        let path = |id: &str| format!("{PATH}/{id}/{of}");
        let foreign = edge.served.post(&edge.borealis.token, &path(&credential), "k", &body).await;
        let nobodys = edge.served.post(&edge.borealis.token, &path(&never_was.to_string()), "k", &body).await;
        assert_eq!((foreign.status, &foreign.body), (404, &nobodys.body), "{of}");
        let unnamed = edge.served.post(&edge.admin, &path(&credential), "k", &body).await;
        assert_eq!(unnamed.problem(), (422, "invalid".into()));
    }
    let leave = json!({"reason": "mine"});
    let offboard = edge.served.post(&edge.borealis.token, "/api/admin/clients/acme/offboard", "k", &leave).await;
    assert_eq!(offboard.problem(), (403, "forbidden".into()));
    assert_eq!(edge.heads().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_make_no_key_are_refused_by_name_and_never_by_value() {
    let edge = Edge::new("api").await;
    let before = edge.heads().await;
    let with = |name: &str, value: Value| {
        let mut body = okx(SECRET);
        body["fields"][name] = value;
        body
    };
    let mut missing = okx(SECRET);
    missing["fields"].as_object_mut().unwrap().remove("okx_passphrase");
    let cases = [
        (missing, "okx_passphrase"),
        (with("okx_secret_key", json!("")), "okx_secret_key"),
        (with("okx_secret_key", json!(format!(" {SECRET}"))), "okx_secret_key"),
        (with("okx_secret_key", json!(format!("{SECRET}\n"))), "okx_secret_key"),
        (with("okx_secret_key", json!(SECRET.repeat(50))), "okx_secret_key"),
        (with("okx_registration_sub_domain", json!(SECRET)), "okx_registration_sub_domain"),
        (with("okx_memo", json!(SECRET)), "okx_memo"),
        (with("okx_secret_key", json!(7)), "okx_secret_key"),
        (with("okx_secret_key", json!([SECRET])), "okx_secret_key"),
    ];
    for (body, field) in cases {
        let refused = edge.served.post(&edge.acme.token, PATH, "k", &body).await;
        assert_eq!(refused.problem(), (422, "invalid".into()), "{field}");
        assert!(refused.text().contains(field) && !refused.text().contains("canary"), "{}", refused.text());
    }
    assert_eq!(edge.heads().await, before);
    let kept: i64 = sqlx::query_scalar("select count(*) from vault.credentials")
        .fetch_one(&edge.database.superuser())
        .await
        .unwrap();
    assert_eq!(kept, 0);

    let all = edge.served.ask(&edge.acme.token, "/api/exchanges").await.json();
    assert_eq!(all.as_array().unwrap().len(), 6);
    let okx = edge.served.ask(&edge.acme.token, "/api/exchanges/okx/fields?market=spot").await.json();
    assert_eq!(okx["fields"][3]["allowed"], json!(["www", "app", "my"]));
    assert_eq!(okx["default_fees"], json!({"maker_percent": "0.08", "taker_percent": "0.1"}));
    let perp = edge.served.ask(&edge.acme.token, "/api/exchanges/gate_io/fields?market=perp").await.json();
    assert_eq!((&perp["connector"], &perp["default_fees"]), (&json!("gate_io_perpetual"), &Value::Null));
    assert_eq!(edge.served.ask(&edge.acme.token, "/api/exchanges/nowhere/fields").await.problem().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_went_in_is_nowhere_to_be_found() {
    let mut edge = Edge::new("projector").await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = edge.database.command(&["serve", "--roles", "api,projector,relay", "--port", "0"]);
    command.env("RUST_LOG", "debug").stderr(Stdio::from(log.reopen().unwrap()));
    let relaying = Served::heard_elsewhere(command);
    drop(std::mem::replace(&mut edge.served, relaying));
    let (client, token) = (edge.acme.client, edge.acme.token.clone());

    let mut answers = vec![edge.served.post(&token, PATH, "k1", &okx(SECRET)).await];
    let credential = answers[0].json()["credential_id"].as_str().unwrap().to_owned();
    let rotate = format!("{PATH}/{credential}/rotate");
    answers.push(edge.served.post(&token, PATH, "k1", &okx(SECRET)).await);
    answers.push(edge.served.post(&token, PATH, "k1", &okx(ROTATED)).await);
    answers.push(edge.served.post(&token, &rotate, "k2", &fields(ROTATED)).await);
    // As people get it wrong.
    answers.push(edge.served.post(&token, &rotate, "k3", &okx(SECRET)).await);
    let one_field = json!({"fields": {"okx_api_key": SECRET}});
    answers.push(edge.served.post(&token, &rotate, "k4", &one_field).await);
    let revoke = format!("{PATH}/{credential}/revoke");
    answers.push(edge.served.post(&token, &revoke, "k5", &json!({})).await);
    let broken = edge.served.request(Method::POST, PATH).bearer_auth(&token).header("idempotency-key", "k6");
    let half = format!("{{\"exchange\": \"okx\", \"fields\": {{\"okx_secret_key\": \"{SECRET}");
    answers.push(Answer::to(broken.header("content-type", "application/json").body(half)).await);
    let last = seq(&answers[6].json());
    // No answer holds one: each is looked through as it comes.

    let values: SealedId = list(&edge, &token, last).await[0]["sealed_id"].as_str().unwrap().parse().unwrap();
    let place = Place { client, credential: credential.parse().unwrap(), sealed: values };
    let opened = vault(&edge).await.open(place, events::credential::Purpose::Connect, &Cause::system("test")).await;
    none_in("what shows of opened values", format!("{:?}", opened.unwrap()).as_bytes(), &[]);

    let api = edge.served.ask("", "/openapi.json").await.json();
    for (path, item) in api["paths"].as_object().unwrap() {
        if item.get("get").is_none() || path == "/api/stream" {
            continue;
        }
        let path = path.replace("{id}", &edge.acme.bot.to_string()).replace("{exchange}", "okx");
        edge.served.ask(&token, &path).await;
        edge.served.ask(&edge.admin, &path).await;
        edge.served.ask(&edge.admin, &format!("{path}?client=acme")).await;
    }
    arrived(&edge.database, client, None).await;
    let subject = edge.database.nats().jetstream().await;
    let stream = subject.get_stream(relay::stream_name(client)).await.unwrap();
    let count = stream.cached_info().state.last_sequence;
    let messages = futures::stream::iter(1..=count).then(|seq| stream.get_raw_message(seq)).collect::<Vec<_>>().await;
    for message in messages {
        let message = message.unwrap();
        none_in("a message", &message.payload, &[]);
        none_in("the head of a message", format!("{:?}", message.headers).as_bytes(), &[]);
    }
    assert!(count > 5);
    assert_eq!(in_database(&edge.database.owner).await.unwrap(), []);
    edge.served.signal("TERM");
    edge.served.wait();
    let log = std::fs::read_to_string(log.path()).unwrap();
    assert!(log.contains("vault.credentials"), "the log is not talkative enough to prove anything");
    none_in("the log", log.as_bytes(), &[]);
}

async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), asking).await.unwrap_or_else(|_| panic!("it never is so: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_taken_out_of_everything_and_its_history_still_verifies() {
    let edge = Edge::new("api,projector").await;
    let (me, client) = (&edge.acme, edge.acme.client);
    let person = edge.database.person("someone@example.com", Role::ClientOwner, Some(client)).await;
    let log_in = async || {
        let who = json!({"email": person.email, "password": PASSWORD});
        Answer::to(edge.served.request(Method::POST, "/api/auth/login").json(&who)).await.status
    };
    assert_eq!(log_in().await, 200);
    let stored = edge.served.post(&me.token, PATH, "k1", &okx(SECRET)).await.json();
    let credential: CredentialId = stored["credential_id"].as_str().unwrap().parse().unwrap();
    let deployed = edge.served.post(&me.token, &me.path("/deploy"), "k2", &json!({})).await.json();
    let told = list(&edge, &me.token, seq(&deployed)).await;
    let place = Place { client, credential, sealed: told[0]["sealed_id"].as_str().unwrap().parse().unwrap() };

    let path = "/api/admin/clients/acme/offboard";
    let goodbye = json!({"reason": "contract ended", "destroy_data_key": true});
    let done = edge.served.post(&edge.admin, path, "bye", &goodbye).await;
    assert_eq!(done.status, 202, "{}", done.text());
    let again = edge.served.post(&edge.admin, path, "bye", &goodbye).await.json();
    assert_eq!((seq(&again), &again["repeated"]), (seq(&done.json()), &json!(true)));
    let by_id = format!("/api/admin/clients/{client}/offboard");
    assert_eq!(edge.served.post(&edge.admin, &by_id, "bye2", &goodbye).await.problem(), (409, "conflict".into()));
    assert_eq!(log_in().await, 401);
    until("its users are let in no more", async || edge.served.ask(&me.token, PATH).await.status == 401).await;
    let refused = edge.served.post(&edge.admin, &format!("{PATH}?client=acme"), "k3", &okx(SECRET)).await;
    assert_eq!(refused.problem(), (409, "conflict".into()));

    let named = async |name: &str| {
        events_of(&edge.database, client).await.iter().filter(|event| event.event_type() == name).count()
    };
    until("its bot is asked to stop", async || named("BotStopRequested").await == 1).await;
    until("its credential is asked to be revoked", async || named("CredentialRevokeRequested").await == 1).await;
    assert_eq!(named("DataKeyDestroyed").await, 0, "its key is still in use");
    // The operator takes it out.
    let vault = vault(&edge).await;
    vault.forget(client, credential).await.unwrap();
    tell(&edge, client, credential, CredentialCommand::ConfirmRevoked { at: Time::now() }).await;
    until("its data key is destroyed", async || named("DataKeyDestroyed").await == 1).await;
    let last = events_of(&edge.database, client).await.pop().unwrap();
    assert!(matches!(last, Event::Client(ClientEvent::DataKeyDestroyed { .. })), "{last:?}");
    let left = "select (select count(*) from vault.data_keys) + (select count(*) from vault.credentials)";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&edge.database.superuser()).await.unwrap(), 0);
    let opened = vault.open(place, events::credential::Purpose::Connect, &Cause::system("test")).await;
    assert!(matches!(opened, Err(OpenError::NotThere(_))), "{opened:?}");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("export.jsonl").to_string_lossy().into_owned();
    edge.database.succeed(&["audit", "export", "--client", "acme", "--output", &file]);
    assert!(edge.database.succeed(&["audit", "verify", &file]).starts_with("ok: "));
}
