//! Posting: one try of one message over HTTP, and what came of it.

use std::{sync::Arc, time::Duration};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use events::{ClientId, MessageId, Time, channel::Kind};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, header};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Sha256;
use url::Url;

use super::{
    guard::{Guard, Guarded, LookUp, System},
    plan::Said,
    target::Target,
    text,
};

const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// For what follows the status.
const REST_MAX: Duration = Duration::from_secs(1);
/// What is read of an answer's head, and of its body; whoever has more to say is not heard out.
const ANSWER_BYTES_MAX: usize = 8 * 1_024;
/// Whoever asks to be left alone for longer is asked again after this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Delivered,
    Failed {
        reason: String,
        not_before: Option<Duration>,
    },
    /// The other side says that it is gone for good.
    Gone,
}

/// A message on its way to one channel.
#[derive(Debug, Clone)]
pub struct Letter<'a> {
    pub client: ClientId,
    pub message: MessageId,
    pub made_at: Time,
    pub said: &'a Said,
}

/// Posts to whatever a guard lets through.
#[derive(Debug, Clone)]
pub struct Post<L = System> {
    guard: Guard,
    telegram: Url,
    http: Client<HttpsConnector<HttpConnector<Guarded<L>>>, Full<Bytes>>,
}

impl<L: LookUp> Post<L>
where
    Guarded<L>: Clone + Send + Sync,
{
    pub fn new(guard: Guard, look_up: L, telegram: Url) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Guarded { guard: guard.clone(), look_up });
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        tcp.enforce_http(false);
        let tls = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(trusting())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let mut http = Client::builder(TokioExecutor::new());
        let http = http.pool_max_idle_per_host(0).http1_max_buf_size(ANSWER_BYTES_MAX).build(tls);
        Self { guard, telegram, http }
    }

    /// One try. `signing`: the secrets that a webhook is signed by, the newest first.
    pub async fn send(&self, letter: &Letter<'_>, target: &Target, signing: &[SecretString]) -> Outcome {
        match target {
            Target::Webhook(url) => self.post(url, signed(letter, signing, Time::now())).await,
            Target::Slack(url) => self.post(url, plain(&json!({"text": text::all(letter.said, Kind::Slack)}))).await,
            Target::Telegram { token, chat } => {
                let mut url = self.telegram.clone();
                let below = url.path().trim_end_matches('/').to_owned();
                url.set_path(&format!("{below}/bot{}/sendMessage", token.expose_secret()));
                let body = json!({"chat_id": chat, "text": text::all(letter.said, Kind::Telegram)});
                self.try_to_post(&url, plain(&body)).await
            }
            Target::Email(_) => Outcome::failed("no e-mail is posted"),
        }
    }

    async fn post(&self, url: &Url, letter: Built) -> Outcome {
        // Said once more: what was let in once may be refused by now.
        match self.guard.check(url) {
            Ok(()) => self.try_to_post(url, letter).await,
            Err(why) => Outcome::failed(why.to_string()),
        }
    }

    async fn try_to_post(&self, url: &Url, (headers, body): Built) -> Outcome {
        let mut request = Request::builder().method(Method::POST).uri(url.as_str());
        request = request.header(header::CONTENT_TYPE, "application/json");
        request = request.header(header::USER_AGENT, concat!("pipelabs/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let Ok(request) = request.body(Full::from(body)) else { return Outcome::failed("its URL is none") };
        match tokio::time::timeout(ANSWER_MAX, self.answer(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::failed(format!("no answer within {} s", ANSWER_MAX.as_secs())),
        }
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Outcome {
        let answer = match self.http.request(request).await {
            Ok(answer) => answer,
            Err(cause) => return Outcome::failed(in_words(&cause)),
        };
        let (status, not_before) = (answer.status(), retry_after(answer.headers()));
        // So that it is not cut off while it speaks; what it says is nobody's to read, and it has answered already.
        let mut body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let rest = async { while let Some(Ok(_)) = body.frame().await {} };
        let _ = tokio::time::timeout(REST_MAX, rest).await;
        if status.is_success() {
            Outcome::Delivered
        } else if status == StatusCode::GONE {
            Outcome::Gone
        } else {
            Outcome::Failed { reason: refused(status), not_before }
        }
    }
}

impl Outcome {
    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), not_before: None }
    }
}

/// TLS with whom this machine trusts. Where that is nobody, nothing is sent encrypted, which each try says.
fn trusting() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let (known, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if known == 0 {
        tracing::error!("this machine trusts no certificates: install ca-certificates, or no message leaves over TLS");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    versions.expect("ring speaks TLS").with_root_certificates(roots).with_no_client_auth()
}

/// Headers and a body.
type Built = (Vec<(&'static str, String)>, String);

fn plain(body: &serde_json::Value) -> Built {
    (Vec::new(), body.to_string())
}

/// As Standard Webhooks has it: the id is the message's and stays, the time is that of this try.
fn signed(letter: &Letter<'_>, signing: &[SecretString], now: Time) -> Built {
    let body = told(letter).to_string();
    let (id, at) = (letter.message.to_string(), now.micros().div_euclid(1_000_000).to_string());
    let signatures: Vec<String> = signing.iter().filter_map(|key| signature(key, &id, &at, &body)).collect();
    let headers = vec![("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signatures.join(" "))];
    (headers, body)
}

fn signature(key: &SecretString, id: &str, at: &str, body: &str) -> Option<String> {
    let key = key.expose_secret().strip_prefix("whsec_")?;
    let key = STANDARD_NO_PAD.decode(key.trim_end_matches('=')).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// What a program is told.
fn told(letter: &Letter<'_>) -> serde_json::Value {
    let (kind, mut data) = match letter.said {
        Said::Alerts { rule, items } => ("alerts", json!({"rule": rule, "items": items})),
        Said::Test { .. } => ("test", json!({})),
        Said::Report { from, to, lines, .. } => {
            let lines: serde_json::Map<_, _> = lines.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            ("report", json!({"from": from, "to": to, "lines": lines}))
        }
    };
    data["client_id"] = json!(letter.client);
    json!({"type": kind, "timestamp": letter.made_at, "data": data})
}

fn refused(status: StatusCode) -> String {
    match status.is_redirection() {
        true => format!("it answered {}: nobody follows it elsewhere", status.as_u16()),
        false => format!("it answered {}", status.as_u16()),
    }
}

fn retry_after(headers: &hyper::HeaderMap) -> Option<Duration> {
    let told = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(told).min(RETRY_AFTER_MAX))
}

/// What went wrong, without the URL: that may be a secret.
fn in_words(cause: &(dyn std::error::Error + 'static)) -> String {
    let mut causes = std::iter::successors(Some(cause), |cause| cause.source());
    causes.next();
    let told: Vec<String> = causes.map(ToString::to_string).collect();
    let told = told.last().map_or("it could not be reached", String::as_str);
    format!("it could not be reached: {}", told.chars().take(200).collect::<String>())
}
