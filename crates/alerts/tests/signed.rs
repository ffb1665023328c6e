//! What a webhook gets, and whether the reference library of Standard Webhooks takes it for ours.

use std::sync::{Arc, Mutex};

use alerts::notify::{
    guard::{Guard, System},
    plan::{Item, Said},
    post::{Letter, Outcome, Post},
    target::Given,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use events::{
    AlertId, ClientId, MessageId, Time, Uuid,
    alert::{Labels, Notice, Severity},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use standardwebhooks::Webhook;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// The head and the body of what came last.
type Came = Arc<Mutex<Option<(HeaderMap, Vec<u8>)>>>;

async fn receiver() -> (String, Came) {
    let (listener, came) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Came::default());
    let (url, kept) = (format!("http://{}/hook", listener.local_addr().unwrap()), Arc::clone(&came));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let taken = loop {
                let mut more = [0; 4_096];
                let n = socket.read(&mut more).await.unwrap();
                bytes.extend_from_slice(&more[..n]);
                if let Some(taken) = whole(&bytes) {
                    break taken;
                }
            };
            *kept.lock().unwrap() = Some(taken);
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    (url, came)
}

fn whole(bytes: &[u8]) -> Option<(HeaderMap, Vec<u8>)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let headers: HeaderMap = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    let body = &bytes[end + 4..];
    (body.len() == length).then(|| (headers, body.to_vec()))
}

fn secret(byte: u8) -> String {
    format!("whsec_{}", STANDARD.encode([byte; 32]))
}

fn said() -> Said {
    let item = Item {
        alert_id: AlertId(Uuid::from_u128(3)),
        episode: 1,
        notice: Notice::Fired,
        severity: Severity::Critical,
        summary: "ü \"spread\" </script> \u{1f600}".into(),
        labels: Labels::about("x"),
        features: Vec::new(),
        at: Time::EPOCH,
        seq: 4,
        key: "fired".into(),
    };
    Said::Alerts { rule: "spread_wide".parse().unwrap(), items: vec![item] }
}

#[tokio::test]
async fn the_reference_library_takes_what_is_signed_by_either_secret_and_nothing_that_was_touched() {
    let (url, came) = receiver().await;
    let guard = Guard::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let post = Post::new(guard.clone(), System, "https://telegram.invalid".parse().unwrap());
    let target = Given::Webhook { url: url.into() }.read(&guard).unwrap();
    let (new, old, said) = (secret(1), secret(2), said());
    let keys: Vec<SecretString> = [&new, &old].map(|key| key.clone().into()).into();
    let message = MessageId(Uuid::from_u128(2));
    let letter = Letter { client: ClientId(Uuid::from_u128(1)), message, made_at: Time::now(), said: &said };
    for _ in 0..2 {
        assert_eq!(post.send(&letter, &target, &keys).await, Outcome::Delivered);
        let (headers, body) = came.lock().unwrap().take().expect("it came");
        assert_eq!(headers["webhook-id"], message.to_string(), "the same each time");
        for key in [&new, &old] {
            Webhook::new(key).unwrap().verify(&body, &headers).expect("it is ours");
        }
        assert!(Webhook::new(&secret(3)).unwrap().verify(&body, &headers).is_err());
        let mut touched = body.clone();
        let byte = touched.len() / 2;
        touched[byte] ^= 1;
        assert!(Webhook::new(&new).unwrap().verify(&touched, &headers).is_err());
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&told["type"], &told["data"]["items"][0]["severity"]), (&"alerts".into(), &"critical".into()));
        assert_eq!(told["data"]["items"][0]["summary"], "ü \"spread\" </script> \u{1f600}");
    }
}
