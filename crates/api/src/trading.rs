//! How a bot traded: volume, gross and net, orders beside trades, and where the market went afterwards.

use axum::{extract::State, response::Response};
use events::{BotId, Time};
use futures::FutureExt;
use projections::{
    projection::Projection,
    trading::{self, Figures, TRADES_MAX, Trading},
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::Query,
    own::OwnBot,
    problem::Problem,
    views::{Asked, Views},
};

const DAY_US: i64 = 86_400_000_000;
const WINDOW_MAX_US: i64 = 31 * DAY_US;

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(figures))
}

/// The window.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct When {
    /// The first moment that counts; a day before `to`, if left out.
    from: Option<Time>,
    /// The first moment that does not, 31 days after `from` at most; a day after it, or right behind the last trade, if left out.
    to: Option<Time>,
}

/// How a bot traded: volume gross and net, maker ratio, fill rate, order-to-trade, share of the market, markouts
#[utoipa::path(get, path = "/api/bots/{id}/trading", tag = "bots", params(("id" = BotId, Path), When),
    responses((status = 200, body = Figures)))]
async fn figures(
    OwnBot { client, bot }: OwnBot,
    asked: Asked,
    Query(When { from, to }): Query<When>,
    State(views): State<Views>,
) -> Result<Response, Problem> {
    let last = views.read(client, |db| trading::last(db, client, bot).boxed()).await?;
    let to = to.or(from.map(|from| from.plus_micros(DAY_US))).or(last.map(|last| last.plus_micros(1)));
    let to = to.unwrap_or(Time::EPOCH.plus_micros(DAY_US));
    let from = from.unwrap_or(to.plus_micros(-DAY_US));
    let lasts = to.micros().saturating_sub(from.micros());
    if !(0..=WINDOW_MAX_US).contains(&lasts) {
        return Err(Problem::invalid("to: not before from, and 31 days after it at most"));
    }
    if views.read(client, |db| trading::count(db, client, bot, from, to).boxed()).await? > TRADES_MAX {
        return Err(Problem::invalid(format!("the window has more than {TRADES_MAX} trades: ask for a shorter one")));
    }
    views
        .answer(asked, client, Trading::NAME, |db| {
            async move { trading::of_bot(db, client, bot, from, to).await.map(Some) }.boxed()
        })
        .await
}
