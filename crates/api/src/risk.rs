//! How near a bot is to what it may not pass.

use axum::{extract::State, response::Response};
use domain::risk::{Measure, measured};
use events::{BotId, Decimal, Time, bot::Limit};
use futures::FutureExt;
use projections::{
    projection::Projection,
    risk::{self, Book, Risk},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::{Nothing, Query},
    own::OwnBot,
    problem::Problem,
    views::{Asked, Views},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(of_bot))
}

/// One market that a bot trades on: what was counted there, and how far each of its limits is used up.
#[derive(Debug, Serialize, ToSchema)]
struct Held {
    #[serde(flatten)]
    counted: Book,
    /// Every limit that is set and that anything is known of, on the day that was counted.
    used: Vec<Used>,
}

/// How far one limit is used up.
#[derive(Debug, Serialize, ToSchema)]
struct Used {
    limit: Limit,
    /// What is held against the limit.
    measured: Decimal,
    allowed: Decimal,
    /// How much of it is used up; 1 is all. Null: that is no number.
    share: Option<Decimal>,
    /// Eight tenths or more are.
    near: bool,
    /// More than all of it is.
    passed: bool,
}

/// How near a bot is to its limits, by market
#[utoipa::path(get, path = "/api/bots/{id}/risk", tag = "bots", params(("id" = BotId, Path)),
    responses((status = 200, body = Vec<Held>)))]
async fn of_bot(own: OwnBot, asked: Asked, _: Query<Nothing>, State(views): State<Views>) -> Result<Response, Problem> {
    views
        .answer(asked, own.client, Risk::NAME, |db| {
            async move {
                let books = risk::of_bot(db, own.client, own.bot).await?;
                Ok(Some(books.into_iter().map(Held::of).collect::<Vec<_>>()))
            }
            .boxed()
        })
        .await
}

impl Held {
    fn of(counted: Book) -> Self {
        let day = counted.day.unwrap_or(Time::EPOCH);
        let used = measured(&counted.limits, &operator::risk::facts(&counted, day)).iter().map(Used::of).collect();
        Self { counted, used }
    }
}

impl Used {
    fn of(measure: &Measure) -> Self {
        let Measure { limit, measured, allowed } = *measure;
        let (near, passed) = (measure.is_near(), measure.is_passed());
        Self { limit, measured, allowed, share: measure.share(), near, passed }
    }
}
