//! Orders by hand in a bot's book: asked for, seen, taken back, and decided about where nobody knows what became of one. A wish
//! is answered once it stands in the stream; the operator sends the order at its own pace, once or not at all, and tells in the
//! stream what came of it.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use domain::{
    bot::Bot,
    manual::{AskedType, ManualCommand, ManualOrder},
};
use events::{Amount, BotId, ManualId, OrderId, Price, Time, ledger::Side, manual::Verdict};
use futures::FutureExt;
use projections::{
    by_hand::{self, ByHand, OrdersByHand},
    projection::Projection,
};
use serde::{Deserialize, Serialize};
use store::Streams;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    cursor::Cursors,
    input::{Nothing, Query},
    own::{OwnBot, OwnManual},
    page::{Limit, Page},
    problem::Problem,
    views::{Asked, Views},
    who::{May, Trade},
    wish::{Done, Wish},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(all, place)).routes(routes!(cancel)).routes(routes!(resolve))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// Orders by hand in a bot's book and what became of each, the one asked for last first
#[utoipa::path(get, path = "/api/bots/{id}/orders", tag = "orders", params(("id" = BotId, Path), Which),
    responses((status = 200, body = Page<ByHand>)))]
async fn all(
    OwnBot { client, bot }: OwnBot,
    asked: Asked,
    Query(Which { limit, cursor }): Query<Which>,
    State(views): State<Views>,
    State(cursors): State<Cursors>,
) -> Result<Response, Problem> {
    let question = asked.without_cursor();
    let before = cursor.map(|cursor| cursors.open(client, &question, &cursor)).transpose()?;
    views
        .answer(asked, client, OrdersByHand::NAME, |db| {
            async move {
                let found = by_hand::page(db, client, bot, before, limit.and_one()).await?;
                Ok(Some(Page::new(found, limit, &cursors, client, &question, |order| order.seq)))
            }
            .boxed()
        })
        .await
}

/// An order to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    side: Side,
    /// `limit_maker`, or `limit` where it does not cross the book. A market order is refused: its fills would get lost.
    order_type: AskedType,
    #[serde(default)]
    price: Option<Price>,
    amount: Amount,
}

/// An order that is wished for.
#[derive(Debug, Serialize, ToSchema)]
struct Wished {
    manual_id: ManualId,
    #[serde(flatten)]
    done: Done,
}

/// Ask for an order in a bot's book, on the bot's venue
#[utoipa::path(post, path = "/api/bots/{id}/orders", tag = "orders", request_body = NewOrder,
    params(("id" = BotId, Path), ("Idempotency-Key" = String, Header)), responses((status = 202, body = Wished)))]
async fn place(
    own: May<Trade, OwnBot>,
    State(streams): State<Streams>,
    wish: Wish<NewOrder>,
) -> Result<Response, Problem> {
    let OwnBot { client, bot } = *own;
    let manual_id = ManualId::of(client, bot, &wish.key);
    let (of, _) = streams.load::<Bot>(client, &bot.to_string()).await?;
    let venue = of.config().and_then(|config| config.venue.clone());
    let NewOrder { side, order_type, price, amount } = wish.what.clone();
    let command = ManualCommand::Request { bot, venue, side, order_type, price, amount, at: Time::now() };
    let done = wish.carry_out::<ManualOrder>(&streams, &own, &manual_id.to_string(), command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(Wished { manual_id, done })).into_response())
}

/// Ask for an order by hand to be cancelled; it may still fill before it is
#[utoipa::path(post, path = "/api/bots/{id}/orders/{order}/cancel", tag = "orders",
    params(("id" = BotId, Path), ("order" = String, Path, description = "What the wish was answered with, or the order's own id"),
        ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn cancel(
    own: May<Trade, OwnManual>,
    State(streams): State<Streams>,
    wish: Wish<Nothing>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let command = ManualCommand::RequestCancel { at: Time::now() };
    let done = wish.carry_out::<ManualOrder>(&streams, &own, &own.manual.to_string(), command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}

/// What somebody found out at the exchange.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Found {
    verdict: Verdict,
    /// Under which id the exchange had it; needed where it was filled.
    #[serde(default)]
    order_id: Option<OrderId>,
    /// What the exchange shows; 500 characters at most.
    reason: String,
}

/// Decide what became of an order by hand that is unknown, after a look at the exchange
#[utoipa::path(post, path = "/api/bots/{id}/orders/{order}/resolve", tag = "orders", request_body = Found,
    params(("id" = BotId, Path), ("order" = String, Path, description = "What the wish was answered with, or the order's own id"),
        ("Idempotency-Key" = String, Header)), responses((status = 202, body = Done)))]
async fn resolve(
    own: May<Trade, OwnManual>,
    State(streams): State<Streams>,
    wish: Wish<Found>,
) -> Result<(StatusCode, axum::Json<Done>), Problem> {
    let Found { verdict, order_id: order, reason } = wish.what.clone();
    let command = ManualCommand::Resolve { verdict, order, reason, at: Time::now() };
    let done = wish.carry_out::<ManualOrder>(&streams, &own, &own.manual.to_string(), command).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(done)))
}
