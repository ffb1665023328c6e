//! Channels: by what means people hear of alerts beside NATS. Where one leads goes in and never comes out; what can be asked
//! is by what it is known again, how it does, and what became of each message.

use ::alerts::notify::{
    guard::Guard,
    target::{Given, Target},
};
use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts as Head},
    response::{IntoResponse, Response},
};
use domain::{
    channel::{Channel, ChannelCommand},
    client::Client,
};
use events::{ChannelId, ClientId, SealedId, Slug, Time, Uuid, channel::Settings};
use futures::FutureExt;
use projections::{
    channels::{self, Channels},
    projection::Projection,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use store::Streams;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use vault::{KeptTarget, Vault};

use crate::{
    Parts,
    input::{Nothing, Query},
    own::{OfClient, OwnClient, theirs},
    page::Limit,
    problem::{Code, Problem},
    views::{Asked, Views},
    who::{May, Subscribe},
    why::WhyOver,
    wish::{Done, Wish},
};

/// Channels of one client, those that were removed aside.
const CHANNELS_MAX: usize = 20;

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(all, add))
        .routes(routes!(change, remove))
        .routes(routes!(renew))
        .routes(routes!(test))
        .routes(routes!(tries))
}

/// A channel of the client that is asked about, whatever became of it.
#[derive(Debug, Clone, Copy)]
pub struct OwnChannel {
    client: ClientId,
    channel: ChannelId,
}

impl OfClient for OwnChannel {
    fn client(&self) -> ClientId {
        self.client
    }
}

impl FromRequestParts<Parts> for OwnChannel {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let channel = theirs::<Channel, _>(client, head, state).await?;
        Ok(Self { client, channel })
    }
}

/// Every channel, those that were removed among them: so much of where it leads as may be seen, how it does
#[utoipa::path(get, path = "/api/alerts/channels", tag = "alerts",
    responses((status = 200, body = Vec<channels::Channel>)))]
async fn all(
    OwnClient(client): OwnClient,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer(asked, client, Channels::NAME, |db| {
            async move { Ok(Some(channels::of_client(db, client).await?)) }.boxed()
        })
        .await
}

/// A channel to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// What people call it. It can be given again once the channel was removed.
    name: Slug,
    /// Where it leads. It is never shown again.
    target: Given,
    settings: Settings,
}

/// A channel that is, or leads elsewhere.
#[derive(Serialize, ToSchema)]
pub struct ChannelKept {
    channel_id: ChannelId,
    #[serde(flatten)]
    done: Done,
    /// So much of where it leads as may be seen.
    shown: String,
    /// What messages of a webhook are signed by from now on, as Standard Webhooks writes it. Told this once, and to whom
    /// sends the same again; null of other kinds.
    signing_secret: Option<String>,
}

/// Tell people of alerts by another channel
#[utoipa::path(post, path = "/api/alerts/channels", tag = "alerts", request_body = NewChannel,
    params(("Idempotency-Key" = String, Header)), responses((status = 201, body = ChannelKept)))]
async fn add(
    own: May<Subscribe, OwnClient>,
    State(guard): State<Guard>,
    State(vault): State<Vault>,
    State(streams): State<Streams>,
    State(views): State<Views>,
    wish: Wish<NewChannel>,
) -> Result<Response, Problem> {
    has_room_for(&views, own.client(), &wish.what.name).await?;
    add_to(&own, Of { guard, vault, streams }, wish).await
}

/// What a channel is added and renewed with.
#[derive(Debug)]
pub struct Of {
    pub guard: Guard,
    pub vault: Vault,
    pub streams: Streams,
}

/// Adds a channel to whoever `own` is.
pub async fn add_to(own: &May<Subscribe, impl OfClient>, of: Of, wish: Wish<NewChannel>) -> Result<Response, Problem> {
    let NewChannel { name, target: given, settings } = wish.what.clone();
    let (client, kind) = (own.client(), given.kind());
    let channel = ChannelId::named(client, &name);
    let target = given.read(&of.guard)?;
    let (shown, at) = (target.shown(), Time::now());
    let command = |sealed| ChannelCommand::Add { name, kind, shown, sealed, settings, at };
    would_be(&of.streams, client, channel, &wish.key, command.clone()(NOTHING)).await?;
    let kept = seal(&of, client, channel, &target, &wish).await?;
    let command = command(kept.sealed);
    carry_out(StatusCode::CREATED, &of.streams, own, (channel, target), wish, kept, command).await
}

/// Change what is told by a channel, and when; all of its settings
#[utoipa::path(put, path = "/api/alerts/channels/{id}", tag = "alerts", request_body = Settings,
    params(("id" = ChannelId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn change(
    own: May<Subscribe, OwnChannel>,
    State(streams): State<Streams>,
    wish: Wish<Settings>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    change_one(&own, own.channel, &streams, &wish).await
}

pub async fn change_one(
    own: &May<Subscribe, impl OfClient>,
    channel: ChannelId,
    streams: &Streams,
    wish: &Wish<Settings>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let command = ChannelCommand::Change { settings: wish.what.clone(), at: Time::now() };
    let done = wish.carry_out::<Channel>(streams, own, &channel.to_string(), command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

/// Where a channel leads from now on.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTarget {
    /// All of it, also what stays. Of the same kind.
    target: Given,
}

/// Let a channel lead elsewhere, or take another secret; for a day a webhook is signed by the one before, too
#[utoipa::path(post, path = "/api/alerts/channels/{id}/renew", tag = "alerts", request_body = NewTarget,
    params(("id" = ChannelId, Path), ("Idempotency-Key" = String, Header)), responses((status = 200, body = ChannelKept)))]
async fn renew(
    own: May<Subscribe, OwnChannel>,
    State(guard): State<Guard>,
    State(vault): State<Vault>,
    State(streams): State<Streams>,
    wish: Wish<NewTarget>,
) -> Result<Response, Problem> {
    renew_one(&own, own.channel, Of { guard, vault, streams }, wish).await
}

pub async fn renew_one(
    own: &May<Subscribe, impl OfClient>,
    channel: ChannelId,
    of: Of,
    wish: Wish<NewTarget>,
) -> Result<Response, Problem> {
    let (client, given) = (own.client(), wish.what.target.clone());
    let (state, _) = of.streams.load::<Channel>(client, &channel.to_string()).await?;
    if state.kind().is_some_and(|kind| kind != given.kind()) {
        return Err(Problem::invalid("target: a channel stays of its kind: add another one"));
    }
    let target = given.read(&of.guard)?;
    let (shown, at) = (target.shown(), Time::now());
    let command = |sealed| ChannelCommand::Renew { shown, sealed, at };
    would_be(&of.streams, client, channel, &wish.key, command.clone()(NOTHING)).await?;
    let kept = seal(&of, client, channel, &target, &wish).await?;
    let command = command(kept.sealed);
    carry_out(StatusCode::OK, &of.streams, own, (channel, target), wish, kept, command).await
}

/// Send a message that says that it is a test; what came of it stands among the tries
#[utoipa::path(post, path = "/api/alerts/channels/{id}/test", tag = "alerts",
    params(("id" = ChannelId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn test(
    own: May<Subscribe, OwnChannel>,
    State(streams): State<Streams>,
    wish: Wish<Nothing>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    test_one(&own, own.channel, &streams, &wish).await
}

pub async fn test_one(
    own: &May<Subscribe, impl OfClient>,
    channel: ChannelId,
    streams: &Streams,
    wish: &Wish<Nothing>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let command = ChannelCommand::Test { at: Time::now() };
    let done = wish.carry_out::<Channel>(streams, own, &channel.to_string(), command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

/// Tell nothing by a channel any more, and forget where it led
#[utoipa::path(delete, path = "/api/alerts/channels/{id}", tag = "alerts", request_body = WhyOver,
    params(("id" = ChannelId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn remove(
    own: May<Subscribe, OwnChannel>,
    State(vault): State<Vault>,
    State(streams): State<Streams>,
    wish: Wish<WhyOver>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    remove_one(&own, own.channel, &vault, &streams, &wish).await
}

pub async fn remove_one(
    own: &May<Subscribe, impl OfClient>,
    channel: ChannelId,
    vault: &Vault,
    streams: &Streams,
    wish: &Wish<WhyOver>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let client = own.client();
    let command = ChannelCommand::Remove { reason: wish.what.reason.clone(), at: Time::now() };
    let done = wish.carry_out::<Channel>(streams, own, &channel.to_string(), command).await?;
    // Also when it was removed before: whoever did it may have died in between.
    let (state, _) = streams.load::<Channel>(client, &channel.to_string()).await?;
    vault.forget_target(client, channel, &state.useless()).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

/// Which tries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichTries {
    /// Those that were told before this event: the `seq` of the last one that was shown.
    pub before_seq: Option<u64>,
    #[serde(default)]
    pub limit: Limit,
}

/// What became of each message of a channel, the newest first
#[utoipa::path(get, path = "/api/alerts/channels/{id}/tries", tag = "alerts",
    params(("id" = ChannelId, Path), WhichTries), responses((status = 200, body = Vec<channels::Try>)))]
async fn tries(
    own: OwnChannel,
    asked: Asked,
    Query(WhichTries { before_seq, limit }): Query<WhichTries>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    let OwnChannel { client, channel } = own;
    views
        .answer(asked, client, Channels::NAME, |db| {
            async move { Ok(Some(channels::tries(db, client, channel, before_seq, limit.items()).await?)) }.boxed()
        })
        .await
}

/// In place of what is not sealed yet.
const NOTHING: SealedId = SealedId(Uuid::nil());

/// Whether it would be carried out: what is refused is not sealed first. What was done under this key is answered as it was.
async fn would_be(
    streams: &Streams,
    client: ClientId,
    channel: ChannelId,
    key: &str,
    command: ChannelCommand,
) -> Result<(), Problem> {
    if streams.stored(client, Some(key)).await?.is_none() {
        let (state, _) = streams.load::<Channel>(client, &channel.to_string()).await?;
        state.decide(command)?;
    }
    Ok(())
}

async fn has_room_for(views: &Views, client: ClientId, name: &Slug) -> Result<(), Problem> {
    let all = views.read(client, |db| channels::of_client(db, client).boxed()).await?;
    let others = all.iter().filter(|one| one.name != *name && one.state != channels::State::Removed);
    if others.count() >= CHANNELS_MAX {
        let detail = format!("a client has at most {CHANNELS_MAX} channels: remove one first");
        return Err(Problem::new(Code::Conflict, detail));
    }
    Ok(())
}

/// Seals where a channel is to lead, if its client is with us. The row comes before the event.
async fn seal<T>(
    Of { vault, streams, .. }: &Of,
    client: ClientId,
    channel: ChannelId,
    target: &Target,
    wish: &Wish<T>,
) -> Result<KeptTarget, Problem> {
    if client != ClientId::DESK {
        let (of_the_desk, _) = streams.load::<Client>(client, &client.to_string()).await?;
        of_the_desk.is_with_us()?;
    }
    Ok(vault.put_target(client, channel, &target.written(), &wish.key, wish.cause.correlation).await?)
}

async fn carry_out<T>(
    status: StatusCode,
    streams: &Streams,
    own: &May<Subscribe, impl OfClient>,
    (channel_id, target): (ChannelId, Target),
    mut wish: Wish<T>,
    kept: KeptTarget,
    command: ChannelCommand,
) -> Result<Response, Problem> {
    wish.cause.correlation = kept.wish;
    let done = wish.carry_out::<Channel>(streams, own, &channel_id.to_string(), command).await?;
    let signs = matches!(target, Target::Webhook(_));
    let signing_secret = signs.then(|| kept.signing.expose_secret().to_owned());
    let body = ChannelKept { channel_id, done, shown: target.shown(), signing_secret };
    let listed = if own.client() == ClientId::DESK { "/api/admin/alerts/channels" } else { "/api/alerts/channels" };
    Ok((status, [(header::LOCATION, listed)], axum::Json(body)).into_response())
}
