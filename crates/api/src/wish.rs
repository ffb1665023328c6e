//! A command as it is asked for: what it says, and the key under which it is done once however often it is sent.
//!
//! The key makes the event unique in the client's stream; the wish's own id, a hash of the whole request, stands in that
//! event as its correlation. So a second request with the key is known to be the same one, or told that it is another.

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::HeaderMap,
};
use cqrs_es::Aggregate;
use domain::{
    agreement::Agreement, alert::Alert, alert_rule::AlertRule, bot::Bot, channel::Channel, client::Client,
    credential::Credential, manual::ManualOrder, schedule::Schedule, silence::Silence, subscription::Subscription,
};
use events::{ClientId, CommandId, Event, Uuid};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use store::{Cause, Receipt, Streams};
use utoipa::ToSchema;

use crate::{
    Parts,
    input::{self, OnlyClient},
    own::OfClient,
    problem::{Code, Problem},
    who::{Keys, May, Onboard, Permission, SignedIn, Subscribe, Tend, Trade},
};

const KEY_MAX: usize = 255;

/// What somebody wants done.
#[derive(Debug)]
pub struct Wish<T> {
    pub what: T,
    /// As it is stored: apart from the keys that the platform gives facts itself.
    pub key: String,
    /// Who wants it, and the hash of the request.
    pub cause: Cause,
}

/// Where the event of a command stands.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Done {
    /// The last event that it caused: ask with `?min_seq=` for an answer that knows of it. Null: nothing had to happen.
    pub client_seq: Option<u64>,
    /// It had been done before, by the same request.
    pub repeated: bool,
}

/// What can be wanted something of, and what that takes.
pub trait Commanded: Aggregate<Services = ()> {
    type Permission: Permission;
}

impl Commanded for Bot {
    type Permission = Trade;
}

impl Commanded for ManualOrder {
    type Permission = Trade;
}

impl Commanded for Agreement {
    type Permission = Onboard;
}

impl Commanded for Schedule {
    type Permission = Trade;
}

impl Commanded for Credential {
    type Permission = Keys;
}

impl Commanded for Subscription {
    type Permission = Subscribe;
}

impl Commanded for Channel {
    type Permission = Subscribe;
}

impl Commanded for Alert {
    type Permission = Tend;
}

impl Commanded for AlertRule {
    type Permission = Tend;
}

impl Commanded for Silence {
    type Permission = Tend;
}

impl Commanded for Client {
    type Permission = Onboard;
}

impl<T: DeserializeOwned> FromRequest<Parts> for Wish<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Parts) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let caller = SignedIn::from_request_parts(&mut parts, state).await?.caller;
        OnlyClient::from_request_parts(&mut parts, state).await?;
        let key = key(&parts.headers)?;
        let asked = format!("{} {}", parts.method, parts.uri);
        let json = input::is_json(&parts.headers);
        let body = input::body(Request::from_parts(parts, body), state).await?;
        let what = input::said(&body, json)?;
        let cause = Cause { correlation: id(&asked, &body), ..Cause::user(caller.user()) };
        Ok(Self { what, key: stored(&key), cause })
    }
}

/// The streams number the keys of a command's later events, `/2` and so on: none of ours may end like one of those.
fn stored(key: &str) -> String {
    format!("http:{key}:")
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let missing = "send `Idempotency-Key: SOMETHING-UNIQUE` with each command, and the same one when you send it again";
    let given = headers.get("idempotency-key").ok_or_else(|| Problem::new(Code::IdempotencyKeyMissing, missing))?;
    let key = given.to_str().unwrap_or_default();
    let fine = (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    match fine {
        true => Ok(key.to_owned()),
        false => Err(Problem::invalid(format!("an Idempotency-Key is 1 to {KEY_MAX} visible ASCII characters"))),
    }
}

/// The same for the same request only. Version 8: made of a hash of ours.
fn id(asked: &str, body: &[u8]) -> CommandId {
    let hash = Sha256::new().chain_update(asked).chain_update(b"\n").chain_update(body).finalize();
    CommandId(Uuid::new_v8(hash[..16].try_into().expect("a hash has 32 bytes")))
}

impl<T> Wish<T> {
    /// Carries out what was decided to be wanted, once, of something whose owner's things the caller may change so.
    pub async fn carry_out<A>(
        &self,
        streams: &Streams,
        own: &May<A::Permission, impl OfClient>,
        id: &str,
        command: A::Command,
    ) -> Result<Done, Problem>
    where
        A: Commanded,
        A::Command: Clone + Send,
        A::Event: Into<Event>,
        A::Error: Into<Problem> + 'static,
    {
        let client = own.client();
        let receipt = streams.execute::<A>(client, id, command, Some(self.key.clone()), &self.cause).await?;
        self.done(streams, client, receipt).await
    }

    /// What came of it, or that its key is another's.
    pub async fn done(&self, streams: &Streams, client: ClientId, receipt: Option<Receipt>) -> Result<Done, Problem> {
        let Some(receipt) = receipt else { return Ok(Done { client_seq: None, repeated: false }) };
        if receipt.repeated && streams.wish_of(client, receipt.first).await? != Some(self.cause.correlation) {
            let detail = "this Idempotency-Key belongs to another request: take a new one for a new command";
            return Err(Problem::new(Code::IdempotencyKeyReused, detail));
        }
        Ok(Done { client_seq: Some(receipt.last), repeated: receipt.repeated })
    }
}
