//! Orders by hand in a bot's book: asked for and taken back. A wish is answered once it stands in the stream; the operator
//! sends the order at its own pace, once or not at all, and tells in the stream what came of it.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use domain::{
    bot::Bot,
    manual::{AskedType, ManualCommand, ManualOrder},
};
use events::{Amount, BotId, ManualId, Price, Time, ledger::Side};
use serde::{Deserialize, Serialize};
use store::Streams;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    input::Nothing,
    problem::Problem,
    who::{May, OwnBot, OwnManual, Trade},
    wish::{Done, Wish},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(place)).routes(routes!(cancel))
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
