//! One call: sent, timed, repeated where that is safe, and its answer made a value or a fault. Nothing else sends.

use std::{
    fmt,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use tracing::debug;
use url::Url;

use crate::{
    Fault, FieldFault, Hummingbot, Why,
    fault::chain,
    inside::{self, Content},
    numbers::tolerant,
    scrub::scrub,
};

/// No answer of the API is larger; more is an attack or an error.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How often a read is attempted.
const ATTEMPTS: u32 = 3;
/// Before the second attempt; doubled before the third, each up to half as long again.
const PAUSE: Duration = Duration::from_millis(200);

/// A call that is being put together. It has no `Debug`: its body may hold credentials.
pub(crate) struct Call {
    hummingbot: Hummingbot,
    doing: String,
    method: Method,
    url: Result<Url, Why>,
    body: Option<Vec<u8>>,
    patience: Duration,
    repeatable: bool,
    content: Content,
    secrets: Vec<SecretString>,
}

impl Hummingbot {
    /// A read: repeated when it fails on the way.
    pub(crate) fn get(&self, path: &[&str], doing: impl fmt::Display) -> Call {
        self.call(Method::GET, path, doing, true)
    }

    /// A read whose question is in its body: repeated as well.
    pub(crate) fn ask(&self, path: &[&str], doing: impl fmt::Display) -> Call {
        self.call(Method::POST, path, doing, true)
    }

    /// A deed: sent once, whatever becomes of it.
    pub(crate) fn post(&self, path: &[&str], doing: impl fmt::Display) -> Call {
        self.call(Method::POST, path, doing, false)
    }

    /// A removal: sent once.
    pub(crate) fn delete(&self, path: &[&str], doing: impl fmt::Display) -> Call {
        self.call(Method::DELETE, path, doing, false)
    }

    fn call(&self, method: Method, path: &[&str], doing: impl fmt::Display, repeatable: bool) -> Call {
        Call {
            url: at(&self.base, path),
            doing: doing.to_string(),
            method,
            body: None,
            patience: self.patience.answer,
            repeatable,
            content: Content::Told,
            secrets: Vec::new(),
            hummingbot: self.clone(),
        }
    }
}

/// The address of a path's segments; an empty last one makes the trailing slash, which the server insists on in places.
fn at(base: &Url, path: &[&str]) -> Result<Url, Why> {
    // A URL leaves such a segment out, and the call would reach something else.
    if let Some(bad) = path.iter().find(|part| matches!(**part, "." | "..")) {
        return Err(Why::NotSent(format!("{bad:?} cannot stand in a path")));
    }
    let mut url = base.clone();
    url.path_segments_mut().expect("an http URL has a path").pop_if_empty().extend(path);
    Ok(url)
}

impl Call {
    pub(crate) fn query(mut self, name: &str, value: impl fmt::Display) -> Self {
        if let Ok(url) = &mut self.url {
            url.query_pairs_mut().append_pair(name, &value.to_string());
        }
        self
    }

    pub(crate) fn body(mut self, body: &impl Serialize) -> Self {
        self.body = Some(serde_json::to_vec(body).expect("a request has only texts as keys"));
        self
    }

    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The answer is what people wrote: nothing in it is the server's own word on how the call went.
    pub(crate) fn unjudged(mut self) -> Self {
        self.content = Content::AsWritten;
        self
    }

    /// Values that must not come back to us in a fault.
    pub(crate) fn hiding(mut self, secrets: impl IntoIterator<Item = SecretString>) -> Self {
        self.secrets.extend(secrets);
        self
    }

    /// Refuses without sending.
    pub(crate) fn refuse(mut self, why: Option<String>) -> Self {
        if let Some(why) = why {
            self.url = Err(Why::NotSent(why));
        }
        self
    }

    /// Sends the call for its effect.
    pub(crate) async fn done(self) -> Result<(), Fault> {
        self.answer::<serde::de::IgnoredAny>().await.map(drop)
    }

    /// Sends the call and reads its answer.
    pub(crate) async fn answer<T: DeserializeOwned>(self) -> Result<T, Fault> {
        let sent = self.until_told().await;
        sent.and_then(|body| self.read(&body)).map_err(|why| Fault { why, doing: self.doing })
    }

    /// What went wrong when rows of an answer were looked at, in this call's own words.
    pub(crate) fn doing(&self) -> String {
        self.doing.clone()
    }

    async fn until_told(&self) -> Result<Vec<u8>, Why> {
        let attempts = if self.repeatable { ATTEMPTS } else { 1 };
        for attempt in 1.. {
            let began = Instant::now();
            let why = match self.attempt().await {
                Ok(body) => return Ok(body),
                Err(why) => why,
            };
            debug!(method = %self.method, attempt, ms = began.elapsed().as_millis() as u64, "could not {}: {why}", self.doing);
            let passing = Fault::new("", why.clone()).is_passing();
            if attempt >= attempts || !passing {
                return Err(why);
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        unreachable!("attempts end in a return")
    }

    async fn attempt(&self) -> Result<Vec<u8>, Why> {
        let url = self.url.clone()?;
        let user = &self.hummingbot.user;
        let mut request = self
            .hummingbot
            .http
            .request(self.method.clone(), url)
            .timeout(self.patience)
            .basic_auth(&user.name, Some(user.password.expose_secret()));
        if let Some(body) = &self.body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        let answer = request.send().await.map_err(|cause| self.on_the_way(cause))?;
        let status = answer.status();
        let body = self.bounded(answer).await?;
        self.judged(status, &body)?;
        Ok(body)
    }

    async fn bounded(&self, mut answer: reqwest::Response) -> Result<Vec<u8>, Why> {
        let told = answer.content_length().unwrap_or(0);
        let mut body = Vec::new();
        if told > ANSWER_BYTES_MAX as u64 {
            return Err(Why::TooLarge(ANSWER_BYTES_MAX));
        }
        while let Some(part) = answer.chunk().await.map_err(|cause| self.on_the_way(cause))? {
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(Why::TooLarge(ANSWER_BYTES_MAX));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    fn on_the_way(&self, cause: reqwest::Error) -> Why {
        if cause.is_connect() {
            return Why::Unreachable(self.clean(&chain(&cause.without_url())));
        }
        if cause.is_timeout() {
            return Why::TimedOut(self.patience);
        }
        Why::Broken(self.clean(&chain(&cause.without_url())))
    }

    /// What the status says; a good one may still hold an error inside.
    fn judged(&self, status: StatusCode, body: &[u8]) -> Result<(), Why> {
        let text = || self.clean(&detail(body));
        match status.as_u16() {
            200..=299 => {
                inside::refusal(body, self.content).map_or(Ok(()), |refusal| Err(self.refused(status, refusal)))
            }
            300..=399 => Err(Why::Redirected(status.as_u16())),
            401 => Err(Why::Unauthorised),
            404 => Err(Why::NotFound(text())),
            422 => Err(self.invalid(body).unwrap_or_else(|| Why::Refused { status: 422, reason: text() })),
            500.. => Err(Why::Failed { status: status.as_u16(), text: text() }),
            _ => Err(Why::Refused { status: status.as_u16(), reason: text() }),
        }
    }

    fn refused(&self, status: StatusCode, refusal: inside::Refusal) -> Why {
        match refusal {
            inside::Refusal::NotFound(text) => Why::NotFound(self.clean(&text)),
            inside::Refusal::Failed(text) => Why::Refused { status: status.as_u16(), reason: self.clean(&text) },
        }
    }

    fn invalid(&self, body: &[u8]) -> Option<Why> {
        let fields = inside::fields(body)?;
        let clean = |(field, message): (String, String)| FieldFault {
            field: self.clean(&field),
            message: self.clean(&message),
        };
        Some(Why::Invalid(fields.into_iter().map(clean).collect()))
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Why> {
        let body = tolerant(body);
        let mut json = serde_json::Deserializer::from_slice(&body);
        let read = serde_path_to_error::deserialize(&mut json);
        read.map_err(|cause| Why::Unreadable(self.clean(&cause.to_string())))
    }

    fn clean(&self, text: &str) -> String {
        scrub(text, self.secrets.iter().chain([&self.hummingbot.user.password]))
    }
}

/// What an error's body says: its `detail`, or the text as it is.
fn detail(body: &[u8]) -> String {
    inside::detail(body).unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned())
}

fn pause(attempt: u32) -> Duration {
    let pause = PAUSE * 2_u32.pow(attempt - 1);
    pause + pause * rand::random_range(0..=50) / 100
}
