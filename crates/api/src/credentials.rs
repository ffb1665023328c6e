//! A client's keys to exchanges: they go in and never come out. What can be asked is how each is known again and what
//! became of it.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{
    client::Client,
    credential::{Credential, CredentialCommand},
};
use events::{CredentialId, Exchange, Market, Time};
use futures::FutureExt;
use projections::{
    credentials::{self, Credentials},
    projection::Projection,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use store::Streams;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use vault::{Kept, Secrets, Vault};

use crate::{
    Parts,
    input::{Nothing, Query},
    own::{OfClient, OwnClient, OwnCredential},
    problem::Problem,
    views::{Asked, Views},
    who::{Keys, May},
    why::WhyOver,
    wish::{Done, Wish},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(all, store)).routes(routes!(rotate)).routes(routes!(revoke))
}

/// Every credential: where it lets in, how it is known again, what became of it
#[utoipa::path(get, path = "/api/clients/credentials", tag = "credentials",
    responses((status = 200, body = Vec<credentials::Credential>)))]
async fn all(
    OwnClient(client): OwnClient,
    asked: Asked,
    _: Query<Nothing>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    views
        .answer(asked, client, Credentials::NAME, |db| {
            async move { Ok(Some(credentials::of_client(db, client).await?)) }.boxed()
        })
        .await
}

/// Fields by their names, as `/api/exchanges` tells them.
type Fields = BTreeMap<String, SecretString>;

/// A key to one market of one exchange.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCredential {
    exchange: Exchange,
    market: Market,
    #[schema(value_type = BTreeMap<String, String>, write_only)]
    fields: Fields,
}

/// A credential that is kept.
#[derive(Debug, Serialize, ToSchema)]
struct Stored {
    credential_id: CredentialId,
    #[serde(flatten)]
    done: Done,
}

/// Give a key to an exchange; it is never shown again
#[utoipa::path(post, path = "/api/clients/credentials", tag = "credentials", request_body = NewCredential,
    params(("Idempotency-Key" = String, Header)), responses((status = 201, body = Stored)))]
async fn store(
    own: May<Keys, OwnClient>,
    State(vault): State<Vault>,
    State(streams): State<Streams>,
    wish: Wish<NewCredential>,
) -> Result<Response, Problem> {
    let NewCredential { exchange, market, fields } = &wish.what;
    let (exchange, market) = (*exchange, *market);
    let kept = seal(&vault, &streams, &own, Secrets::parse(exchange, market, fields.clone())?, &wish).await?;
    let command = CredentialCommand::Store { exchange, market, values: kept.values.clone(), at: Time::now() };
    let done = carry_out(&vault, &streams, &own, wish, kept.clone(), command).await?;
    let place = [(header::LOCATION, "/api/clients/credentials")];
    let stored = Stored { credential_id: kept.place.credential, done };
    Ok((StatusCode::CREATED, place, axum::Json(stored)).into_response())
}

/// Other values of a credential.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewValues {
    /// All of them, also those that stay.
    #[schema(value_type = BTreeMap<String, String>, write_only)]
    fields: Fields,
}

/// Give a credential other values; the old ones stay in use until the new ones are active
#[utoipa::path(post, path = "/api/clients/credentials/{id}/rotate", tag = "credentials", request_body = NewValues,
    params(("id" = CredentialId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn rotate(
    own: May<Keys, OwnCredential>,
    State(vault): State<Vault>,
    State(streams): State<Streams>,
    wish: Wish<NewValues>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let (exchange, market) = own.credential.lets_into(own.client).ok_or_else(Problem::not_found)?;
    let secrets = Secrets::parse(exchange, market, wish.what.fields.clone())?;
    let kept = seal(&vault, &streams, &own, secrets, &wish).await?;
    let command = CredentialCommand::Rotate { values: kept.values.clone(), at: Time::now() };
    let done = carry_out(&vault, &streams, &own, wish, kept, command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

/// Ask for a credential to be taken out of use and shredded
#[utoipa::path(post, path = "/api/clients/credentials/{id}/revoke", tag = "credentials", request_body = WhyOver,
    params(("id" = CredentialId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn revoke(
    own: May<Keys, OwnCredential>,
    State(streams): State<Streams>,
    wish: Wish<WhyOver>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let command = CredentialCommand::Revoke { reason: wish.what.reason.clone(), at: Time::now() };
    let done = wish.carry_out::<Credential>(&streams, &own, &own.credential.to_string(), command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

/// Seals what came with a wish, if its client is with us. The row comes before the event: without one it shows nowhere.
async fn seal<T>(
    vault: &Vault,
    streams: &Streams,
    own: &May<Keys, impl OfClient>,
    secrets: Secrets,
    wish: &Wish<T>,
) -> Result<Kept, Problem> {
    let client = own.client();
    let (of_the_desk, _) = streams.load::<Client>(client, &client.to_string()).await?;
    of_the_desk.is_with_us()?;
    Ok(vault.put(client, &secrets, &wish.key, wish.cause.correlation).await?)
}

/// Records what was sealed, and claims it. A wish that was carried out before claims nothing: its values may be gone.
async fn carry_out<T>(
    vault: &Vault,
    streams: &Streams,
    own: &May<Keys, impl OfClient>,
    mut wish: Wish<T>,
    kept: Kept,
    command: CredentialCommand,
) -> Result<Done, Problem> {
    let place = kept.place;
    wish.cause.correlation = kept.wish;
    let done = wish.carry_out::<Credential>(streams, own, &place.credential.to_string(), command).await?;
    if !done.repeated
        && let Err(error) = vault.claim(place).await
    {
        // The sweep finds the event and claims it then.
        tracing::warn!(error = &error as &dyn std::error::Error, client.id = %place.client, "{place} is unclaimed");
    }
    Ok(done)
}
