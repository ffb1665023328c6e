//! Credentials: sent whole or not at all, once, and never to be read in a fault.

#[path = "stand_in/server.rs"]
mod server;

use std::collections::BTreeMap;

use events::AccountName;
use hummingbot::{BadAddress, BotName, ConfigMap, ConnectorName, Field, Hummingbot, Patience, Why};
use secrecy::SecretString;
use serde_json::json;
use server::{Answer, Asked, PASSWORD, Server};

fn account() -> AccountName {
    "c1".parse().unwrap()
}

fn binance() -> ConnectorName {
    "binance".parse().unwrap()
}

fn bot() -> BotName {
    "mm-a".parse().unwrap()
}

fn two_fields() -> ConfigMap {
    let field = |name: &str| Field { name: name.to_owned(), required: true, secret: true, allowed_values: Vec::new() };
    ConfigMap { connector: binance(), fields: vec![field("binance_api_key"), field("binance_api_secret")] }
}

fn fields<const N: usize>(values: [(&str, &str); N]) -> BTreeMap<String, SecretString> {
    values.into_iter().map(|(name, value)| (name.to_owned(), SecretString::from(value))).collect()
}

#[tokio::test]
async fn a_credential_that_lacks_a_field_is_not_sent() {
    let server = Server::start(|_| Answer::json(201, r#"{"message":"added"}"#)).await;
    let hummingbot = server.client();
    let mut with_choice = two_fields();
    let allowed_values = vec!["www".to_owned(), "my".to_owned()];
    with_choice.fields.push(Field { name: "domain".to_owned(), required: false, secret: false, allowed_values });
    let good = [("binance_api_key", "fake-key-1"), ("binance_api_secret", "fake-secret-1")];
    for (map, fields) in [
        (two_fields(), fields([good[0]])),
        (two_fields(), fields([good[0], ("binance_api_secret", "  ")])),
        (two_fields(), fields([good[0], good[1], ("other", "x")])),
        (with_choice.clone(), fields(good)),
        (with_choice.clone(), fields([good[0], good[1], ("domain", "elsewhere")])),
        (ConfigMap { connector: binance(), fields: Vec::new() }, fields([])),
    ] {
        let fault = hummingbot.add_credential(&account(), &map, &fields).await.unwrap_err();
        assert!(matches!(fault.why, Why::NotSent(_)) && !fault.may_have_happened(), "{fault}");
    }
    assert!(server.asked().is_empty());
    hummingbot.add_credential(&account(), &two_fields(), &fields(good)).await.unwrap();
    let whole = fields([good[0], good[1], ("domain", "my")]);
    hummingbot.add_credential(&account(), &with_choice, &whole).await.unwrap();
    for asked in server.asked() {
        let Asked { method, path, query, body } = asked;
        assert_eq!((&*method, &*path, &*query), ("POST", "/accounts/add-credential/c1/binance", ""));
        assert!(String::from_utf8_lossy(&body).contains("fake-secret-1"));
    }
}

#[tokio::test]
async fn no_fault_tells_a_secret_that_the_server_repeats() {
    const KEY: &str = "fake/key+0123456789abcdef";
    let echoes = |asked: &Asked| {
        let sent = String::from_utf8(asked.body.to_vec()).unwrap();
        let half = &KEY[..14];
        Answer::json(
            400,
            json!({"detail": format!("bad {sent} {KEY} fake%2Fkey%2B0123456789abcdef {half}... {PASSWORD}")}),
        )
    };
    let statuses = [400, 401, 404, 422, 500];
    for status in statuses {
        let server = Server::start(move |asked| Answer { status, ..echoes(asked) }).await;
        let secrets = fields([("binance_api_key", KEY), ("binance_api_secret", "pw")]);
        let fault = server.client().add_credential(&account(), &two_fields(), &secrets).await.unwrap_err();
        let all = format!("{fault} {fault:?} {:?}", server.client());
        for secret in ["fake/key", "fake%2F", "0123456789", "\"pw\"", PASSWORD] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
        assert_eq!(server.asked().len(), 1, "a credential is sent once");
    }
}

#[tokio::test]
async fn a_422_tells_its_fields_in_words_and_not_what_was_sent() {
    let body = r#"{"detail":[{"type":"missing","loc":["body","items",0,"price"],"msg":"Field required","input":"fake-input"}]}"#;
    let server = Server::start(move |_| Answer::json(422, body)).await;
    let fault = server.client().stop_bot(&bot()).await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "could not stop bot mm-a: the request was not accepted: body.items.0.price: Field required"
    );
}

#[test]
fn an_address_that_is_not_plain_http_is_refused_in_words() {
    let new = |url: &str| Hummingbot::new(url, "desk", PASSWORD.into(), Patience::default()).map(|_| ());
    assert_eq!(new("https://api.example"), Err(BadAddress::NotHttp("https".to_owned())));
    assert_eq!(new("http://user:fake@api.example"), Err(BadAddress::HoldsCredentials));
    assert!(matches!(new("api"), Err(BadAddress::NotAUrl(_))));
    assert_eq!(new("http://api.example:8000/behind/a/proxy"), Ok(()));
}
