//! The access log: who of others looked at what a client has, once an hour for each person and route. A client's owner
//! sees who looked at the client, an auditor the same of a client that it was granted, an admin all of it.

use std::sync::{Arc, OnceLock};

use access::{Look, Looked, Looks};
use axum::{
    extract::{FromRef, State},
    http::StatusCode,
};
use events::{ClientId, Slug, Time};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    cursor::Cursors,
    input::WholeQuery,
    known::Known,
    own::OwnClient,
    page::{Limit, Page},
    problem::Problem,
    who::{May, SeeLooks, SeePeople, SignedIn},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(of_client)).routes(routes!(of_all))
}

/// What a request turned out to look at. It goes along with the request, and is on record before its answer goes out.
#[derive(Debug, Clone, Default)]
pub struct Looking(Arc<OnceLock<Look>>);

impl Looking {
    /// A request looks at one thing: what it was found to look at first.
    pub fn at(&self, look: Look) {
        let _ = self.0.set(look);
    }

    /// Whoever was refused has seen nothing.
    pub async fn note(&self, answer: StatusCode, parts: &Parts) {
        let seen = answer.is_success() || answer == StatusCode::NOT_MODIFIED;
        if let Some(look) = self.0.get().filter(|_| seen) {
            Looks::from_ref(parts).note(look.clone(), Time::now()).await;
        }
    }
}

/// Which of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// For somebody of the desk: of this client alone.
    client: Option<Slug>,
}

/// Who looked at what a client has, beside its own people, the newest first
#[utoipa::path(get, path = "/api/clients/access-log", tag = "people", params(Which),
    responses((status = 200, body = Page<Looked>)))]
async fn of_client(
    own: May<SeeLooks, OwnClient>,
    WholeQuery(which): WholeQuery<Which>,
    State(looks): State<Looks>,
    State(cursors): State<Cursors>,
) -> Result<axum::Json<Page<Looked>>, Problem> {
    page(Some(own.0), which, &looks, &cursors).await
}

/// Who looked at which client, the newest first
#[utoipa::path(get, path = "/api/admin/access-log", tag = "people", params(Which),
    responses((status = 200, body = Page<Looked>)))]
async fn of_all(
    _: May<SeePeople, SignedIn>,
    WholeQuery(which): WholeQuery<Which>,
    State(known): State<Known>,
    State(looks): State<Looks>,
    State(cursors): State<Cursors>,
) -> Result<axum::Json<Page<Looked>>, Problem> {
    let client = match &which.client {
        Some(slug) => Some(known.client_of(slug).await?.ok_or_else(Problem::not_found)?),
        None => None,
    };
    page(client, which, &looks, &cursors).await
}

async fn page(
    client: Option<ClientId>,
    Which { limit, cursor, .. }: Which,
    looks: &Looks,
    cursors: &Cursors,
) -> Result<axum::Json<Page<Looked>>, Problem> {
    let (whose, question) = (client.unwrap_or(ClientId::DESK), "access-log");
    let before = cursor.map(|cursor| cursors.open(whose, question, &cursor)).transpose()?;
    let found = looks.list(client, before, limit.and_one()).await?;
    Ok(axum::Json(Page::new(found, limit, cursors, whose, question, |looked| looked.place)))
}
