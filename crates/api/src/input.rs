//! Parse at the door: what a request says becomes typed values, or a problem that names the place.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use events::Slug;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    json::Unambiguous,
    problem::{Code, Problem},
    strict::Strict,
};

/// A body is at most so large.
pub const BODY_MAX: usize = 64 * 1_024;

/// What every question may say beside its own; read where it is needed, by [`crate::who`] and [`crate::views`].
const COMMON: [&str; 2] = ["client", "min_seq"];

/// What else the query of a request says. Its types refuse unknown names: a misspelt filter would answer too much.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// For a question that has nothing of its own to say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// For a path that nothing can be said to at all.
#[derive(Debug)]
pub struct NoQuery;

/// For a path that nothing can be said to but which client it is about, which [`crate::who`] reads.
#[derive(Debug)]
pub struct OnlyClient;

/// The whole query, of a path that is about no client.
#[derive(Debug)]
pub struct WholeQuery<T>(pub T);

/// A JSON body.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON body that may be left out: then it says nothing.
#[derive(Debug)]
pub struct Said<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let own = pairs(parts.uri.query().unwrap_or_default()).filter(|(name, _)| !COMMON.contains(&&**name));
        let own = form_urlencoded::Serializer::new(String::new()).extend_pairs(own).finish();
        read_query(&own).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read_query(parts.uri.query().unwrap_or_default()).map(|Nothing {}| Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OnlyClient {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Of {
            #[serde(rename = "client")]
            _client: Option<Slug>,
        }
        read_query(parts.uri.query().unwrap_or_default()).map(|Of { .. }| Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for WholeQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        is_json(request.headers())?;
        read_json(&body(request, state).await?).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = is_json(request.headers());
        said(&body(request, state).await?, json).map(Self)
    }
}

/// What a body says that may be left out, and whether it is told to be JSON otherwise.
pub fn said<T: DeserializeOwned>(body: &[u8], json: Result<(), Problem>) -> Result<T, Problem> {
    if body.is_empty() { read_json(b"{}") } else { json.and_then(|()| read_json(body)) }
}

fn pairs(query: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}

/// A query's parameters.
pub fn read_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs(query)))
        .map_err(|error| Problem::invalid(format!("query: {}", told(&error))))
}

/// The whole body; how fast it has to come is the edge's affair.
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status().as_u16() {
        413 => too_large(),
        _ => cut_off(),
    })
}

/// What is wrong with a body that has more than [`BODY_MAX`] bytes.
pub fn too_large() -> Problem {
    Problem::new(Code::TooLarge, format!("a body has at most {BODY_MAX} bytes"))
}

/// What is wrong with a body that ended early, or came too slowly.
pub fn cut_off() -> Problem {
    Problem::new(Code::BadRequest, "the body did not come to its end in time: send the whole request again")
}

/// A JSON text.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let Unambiguous = read_value(body)?;
    read_value(body)
}

fn read_value<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(Strict(&mut json)).map_err(|error| {
        let code = if error.inner().is_data() { Code::Invalid } else { Code::BadRequest };
        Problem::new(code, format!("body: {}", told(&error)))
    })?;
    json.end().map_err(|_| Problem::new(Code::BadRequest, "body: something follows the JSON value"))?;
    Ok(value)
}

/// Whether the body says that it is JSON.
pub fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match said.split(';').next().map(str::trim) {
        Some(kind) if kind.eq_ignore_ascii_case("application/json") => Ok(()),
        Some(_) | None => {
            Err(Problem::new(Code::UnsupportedMediaType, "send JSON, and `Content-Type: application/json` with it"))
        }
    }
}

/// Where it went wrong and how; what was sent is repeated in part at most.
fn told<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> String {
    let cause: String = error.inner().to_string().chars().take(300).collect();
    match error.path().to_string() {
        path if path == "." => cause,
        path => format!("{}: {cause}", path.chars().take(100).collect::<String>()),
    }
}
