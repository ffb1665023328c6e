//! Subscriptions of a client's events over NATS: asked for, renewed, rotated, taken back. A credential is told once, in the
//! answer; the relay lets its user in, or lets it go, at its own pace and tells that in the stream.

use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts as Head},
    response::{IntoResponse, Response},
};
use domain::{
    client::Client,
    subscription::{Bringer, Given, Subscription, SubscriptionCommand},
};
use events::{
    ClientId, Slug, SubscriptionId, Time,
    subscription::{Filter, UserNkey},
};
use futures::FutureExt;
use projections::{
    projection::Projection,
    subscriptions::{self, Subscriptions},
};
use relay::{Address, Issuer, OwnKey, Reached};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use store::{Streams, read};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Nothing, Query},
    own::{OfClient, OwnClient, theirs},
    problem::{Code, Problem},
    views::{Asked, Views},
    who::{May, SignedIn, Subscribe},
    why::WhyOver,
    wish::{Done, Wish},
};

/// Subscriptions of one client whose credentials may count, those that were revoked among them: NATS keeps a list of what
/// it shall let in no more.
const UNEXPIRED_MAX: usize = 32;

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new()
        .routes(routes!(all, subscribe))
        .routes(routes!(revoke))
        .routes(routes!(renew))
        .routes(routes!(rotate))
}

/// Who gives credentials; nobody where NATS has no accounts.
#[derive(Debug, Clone)]
pub struct Issuing(pub Option<Issuer>);

impl Issuing {
    fn issuer(&self) -> Result<&Issuer, Problem> {
        let detail = "this platform's NATS has no accounts, so that nobody can be let in for one client alone: whoever runs \
                      it makes keys with `pipelabs nats bootstrap`; until then follow GET /api/stream";
        self.0.as_ref().ok_or_else(|| Problem::new(Code::Conflict, detail))
    }
}

/// A subscription of the client that is asked about, whatever became of it.
#[derive(Debug, Clone, Copy)]
pub struct OwnSubscription {
    client: ClientId,
    subscription: SubscriptionId,
}

impl OfClient for OwnSubscription {
    fn client(&self) -> ClientId {
        self.client
    }
}

impl FromRequestParts<Parts> for OwnSubscription {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &Parts) -> Result<Self, Problem> {
        let OwnClient(client) = OwnClient::from_request_parts(head, state).await?;
        let subscription = theirs::<Subscription, _>(client, head, state).await?;
        Ok(Self { client, subscription })
    }
}

/// A subscription, where it is found on NATS, and how far its subscriber has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ListedSubscription)]
struct Listed {
    #[serde(flatten)]
    subscription: subscriptions::Subscription,
    #[serde(flatten)]
    address: Address,
    /// Which subjects it delivers.
    delivers: String,
    /// How far; null until NATS was looked at.
    reached: Option<Reached>,
}

/// Every subscription: whether NATS lets it in, where it is found there, how far its subscriber has come
#[utoipa::path(get, path = "/api/alerts/subscriptions", tag = "alerts", responses((status = 200, body = Vec<Listed>)))]
async fn all(
    OwnClient(client): OwnClient,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer_anew(asked, client, Subscriptions::NAME, |db| {
            async move {
                let all = subscriptions::of_client(db, client).await?;
                let reached = relay::reached(db, client).await?;
                let listed = all.into_iter().map(|subscription| Listed {
                    address: Address::of(client, subscription.subscription_id),
                    delivers: relay::filtered(client, subscription.filter),
                    reached: reached
                        .iter()
                        .find(|(id, _)| *id == subscription.subscription_id)
                        .map(|(_, reached)| *reached),
                    subscription,
                });
                Ok(Some(listed.collect::<Vec<_>>()))
            }
            .boxed()
        })
        .await
}

/// A subscription to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSubscription {
    /// What people call it. It can be given again once NATS has let its user go.
    name: Slug,
    /// `all`; `events`, or `events.` and a kind of aggregate; `alerts`, or `alerts.` and a severity.
    filter: Filter,
    /// Deliver what follows this event; if left out, what follows from now on.
    #[serde(default)]
    after_seq: Option<u64>,
    /// The public half of your nkey; without one, a nkey is made for you and its seed told once.
    #[serde(default)]
    user_public_nkey: Option<UserNkey>,
}

/// What lets a subscriber in.
#[derive(Serialize, ToSchema)]
#[schema(as = SubscriptionCredential)]
struct Credential {
    subscription_id: SubscriptionId,
    #[serde(flatten)]
    done: Done,
    #[serde(flatten)]
    address: Address,
    user_public_nkey: Option<UserNkey>,
    /// When it has run out. Renew it before.
    expires_at: Option<Time>,
    /// Lets in whoever has the seed of that nkey. Null: it was told before, to whom sent the same first; rotate for another.
    jwt: Option<String>,
    /// JWT and seed as one text, as programs that speak NATS take it. Told this once; null where the nkey is your own.
    creds: Option<String>,
}

/// Ask for a subscription; its credential is told once, and counts for 24 hours
#[utoipa::path(post, path = "/api/alerts/subscriptions", tag = "alerts", request_body = NewSubscription,
    params(("Idempotency-Key" = String, Header)), responses((status = 201, body = Credential)))]
async fn subscribe(
    of: May<Subscribe, OwnClient>,
    who: SignedIn,
    State(issuing): State<Issuing>,
    State(streams): State<Streams>,
    State(views): State<Views>,
    wish: Wish<NewSubscription>,
) -> Result<Response, Problem> {
    let (issuer, OwnClient(client)) = (issuing.issuer()?, *of);
    let NewSubscription { name, filter, after_seq: after, user_public_nkey } = wish.what.clone();
    let own = OwnSubscription { client, subscription: SubscriptionId::named(client, &name) };
    is_with_us(&streams, client).await?;
    let key = Key::of(user_public_nkey)?;
    let user = key.public();
    own.has_room_for(&views, &user, after).await?;
    let (by, at) = (bringer(&who), Time::now());
    let command = SubscriptionCommand::Request { name, filter, after, user, by, at };
    let done = wish.carry_out::<Subscription>(&streams, &of, &own.subscription.to_string(), command).await?;
    own.tell(StatusCode::CREATED, issuer, &streams, Some(key), done).await
}

/// Ask for another day for the same nkey; who follows stays connected
#[utoipa::path(post, path = "/api/alerts/subscriptions/{id}/renew", tag = "alerts",
    params(("id" = SubscriptionId, Path), ("Idempotency-Key" = String, Header)), responses((status = 200, body = Credential)))]
async fn renew(
    own: May<Subscribe, OwnSubscription>,
    State(issuing): State<Issuing>,
    State(streams): State<Streams>,
    wish: Wish<Nothing>,
) -> Result<Response, Problem> {
    let issuer = issuing.issuer()?;
    is_with_us(&streams, own.client).await?;
    let command = SubscriptionCommand::Renew { at: Time::now() };
    let done = wish.carry_out::<Subscription>(&streams, &own, &own.subscription.to_string(), command).await?;
    own.tell(StatusCode::OK, issuer, &streams, None, done).await
}

/// Another subscriber's key.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// The public half of your new nkey; without one, a nkey is made for you and its seed told once.
    #[serde(default)]
    user_public_nkey: Option<UserNkey>,
}

/// Ask for a credential under another nkey; the one before is let in no more, and what was delivered stays delivered
#[utoipa::path(post, path = "/api/alerts/subscriptions/{id}/rotate", tag = "alerts", request_body = NewKey,
    params(("id" = SubscriptionId, Path), ("Idempotency-Key" = String, Header)), responses((status = 200, body = Credential)))]
async fn rotate(
    own: May<Subscribe, OwnSubscription>,
    who: SignedIn,
    State(issuing): State<Issuing>,
    State(streams): State<Streams>,
    State(views): State<Views>,
    wish: Wish<NewKey>,
) -> Result<Response, Problem> {
    let issuer = issuing.issuer()?;
    let key = Key::of(wish.what.user_public_nkey.clone())?;
    let user = key.public();
    own.is_no_others(&views, &user).await?;
    is_with_us(&streams, own.client).await?;
    let command = SubscriptionCommand::Rotate { user, by: bringer(&who), at: Time::now() };
    let done = wish.carry_out::<Subscription>(&streams, &own, &own.subscription.to_string(), command).await?;
    own.tell(StatusCode::OK, issuer, &streams, Some(key), done).await
}

/// Take a subscription back: who follows by it is cut off
#[utoipa::path(delete, path = "/api/alerts/subscriptions/{id}", tag = "alerts", request_body = WhyOver,
    params(("id" = SubscriptionId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn revoke(
    own: May<Subscribe, OwnSubscription>,
    State(streams): State<Streams>,
    wish: Wish<WhyOver>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let command = SubscriptionCommand::Revoke { reason: wish.what.reason.clone(), at: Time::now() };
    let done = wish.carry_out::<Subscription>(&streams, &own, &own.subscription.to_string(), command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

fn bringer(who: &SignedIn) -> Bringer {
    Bringer { session: who.caller.session(), role: who.caller.role() }
}

/// Nobody follows a client that has left.
async fn is_with_us(streams: &Streams, client: ClientId) -> Result<(), Problem> {
    let (state, _) = streams.load::<Client>(client, &client.to_string()).await?;
    Ok(state.is_with_us()?)
}

/// Whose seed it is.
enum Key {
    Theirs(UserNkey),
    Made(Box<OwnKey>),
}

impl Key {
    fn of(given: Option<UserNkey>) -> Result<Self, Problem> {
        let Some(given) = given else { return Ok(Self::Made(Box::new(OwnKey::new()))) };
        relay::check_nkey(&given).map_err(|bad| Problem::invalid(format!("user_public_nkey: {bad}")))?;
        Ok(Self::Theirs(given))
    }

    fn public(&self) -> UserNkey {
        match self {
            Self::Theirs(key) => key.clone(),
            Self::Made(key) => key.public(),
        }
    }

    /// What is told of it; nothing of a seed that is not ours to tell.
    fn creds(&self, jwt: &str) -> Option<SecretString> {
        match self {
            Self::Theirs(_) => None,
            Self::Made(key) => Some(key.creds(jwt)),
        }
    }
}

impl OwnSubscription {
    /// Refuses what would lead nowhere, beside what the subscription itself refuses.
    async fn has_room_for(&self, views: &Views, user: &UserNkey, after: Option<u64>) -> Result<(), Problem> {
        let client = self.client;
        let head = views.read(client, |db| read::head(db, client).boxed()).await?;
        if after.is_some_and(|after| after > head) {
            return Err(Problem::invalid(format!("after_seq: the stream ends with event {head}")));
        }
        let now = Time::now();
        let unexpired = self.others(views).await?.into_iter().filter(|one| one.is_wanted() || one.expires_at > now);
        if unexpired.count() >= UNEXPIRED_MAX {
            let detail = format!(
                "a client has at most {UNEXPIRED_MAX} subscriptions, counting each for a day: revoke some, or wait"
            );
            return Err(Problem::new(Code::Conflict, detail));
        }
        self.is_no_others(views, user).await
    }

    /// To let a user go is to let its key go: a key that two shared would be cut off for both.
    async fn is_no_others(&self, views: &Views, user: &UserNkey) -> Result<(), Problem> {
        match self.others(views).await?.iter().find(|other| other.knows(user)) {
            Some(other) => {
                let detail =
                    format!("this nkey is or was subscription {}'s: make one for each subscription", other.name);
                Err(Problem::new(Code::Conflict, detail))
            }
            None => Ok(()),
        }
    }

    async fn others(&self, views: &Views) -> Result<Vec<subscriptions::Subscription>, Problem> {
        let client = self.client;
        let mut all = views.read(client, |db| subscriptions::of_client(db, client).boxed()).await?;
        all.retain(|one| one.subscription_id != self.subscription);
        Ok(all)
    }

    /// The credential as it is now, told to whom `key` is; to whom it is renewed for where there is none.
    async fn tell(
        &self,
        status: StatusCode,
        issuer: &Issuer,
        streams: &Streams,
        key: Option<Key>,
        done: Done,
    ) -> Result<Response, Problem> {
        let Self { client, subscription } = *self;
        let (state, _) = streams.load::<Subscription>(client, &subscription.to_string()).await?;
        // A wish that was sent again made another key, which was given to nobody.
        let is_whose = |given: &&Given| key.as_ref().is_none_or(|key| key.public() == given.user);
        let given = state.given().filter(is_whose);
        let jwt = given.map(|given| issuer.jwt(client, subscription, &given.user, given.at, given.expires_at));
        let creds = key.zip(jwt.as_ref()).and_then(|(key, jwt)| key.creds(jwt));
        let credential = Credential {
            subscription_id: subscription,
            done,
            address: Address::of(client, subscription),
            user_public_nkey: given.map(|given| given.user.clone()),
            expires_at: given.map(|given| given.expires_at),
            creds: creds.map(|creds| creds.expose_secret().to_owned()),
            jwt,
        };
        Ok((status, [(header::LOCATION, "/api/alerts/subscriptions")], axum::Json(credential)).into_response())
    }
}
