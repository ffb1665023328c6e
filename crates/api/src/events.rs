//! A client's own stream, as it is: the lines that an export consists of, hashes included.

use ::events::export::EventLine;
use axum::{extract::State, response::Response};
use futures::FutureExt;
use projections::projection::ProjectError;
use serde::Deserialize;
use store::read;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Parts,
    cursor::Cursors,
    input::Query,
    own::OwnClient,
    page::{Limit, Page},
    problem::Problem,
    views::{Asked, STREAM, Views},
};

pub fn routes() -> OpenApiRouter<Parts> {
    OpenApiRouter::new().routes(routes!(page))
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Newest first, unless it is told from where on: then as the stream goes on from there.
    order: Option<Order>,
    /// Only what follows this number: the `client_seq` of the last event that is known, or the sequence of its message on
    /// NATS, which is the same. `after` means the same.
    #[serde(alias = "after")]
    after_seq: Option<u64>,
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    cursor: Option<String>,
}

/// In which order a stream is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OrderOfEvents)]
pub enum Order {
    Newest,
    Oldest,
}

/// The stream's events
#[utoipa::path(get, path = "/api/events", tag = "events", params(Which), responses((status = 200, body = Page<EventLine>)))]
async fn page(
    OwnClient(client): OwnClient,
    asked: Asked,
    Query(which): Query<Which>,
    State(views): State<Views>,
    State(cursors): State<Cursors>,
) -> Result<Response, Problem> {
    let question = asked.without_cursor();
    let passed: Option<u64> = which.cursor.map(|cursor| cursors.open(client, &question, &cursor)).transpose()?;
    let order = which.order.unwrap_or(if which.after_seq.is_some() { Order::Oldest } else { Order::Newest });
    let (after, limit) = (which.after_seq.unwrap_or_default(), which.limit);
    views
        .answer(asked, client, STREAM, |db| {
            async move {
                let head = read::head(&mut *db, client).await?;
                let (first, last) = stretch(order, after, passed, limit, head);
                let mut lines = read::lines(db, client, first, last).await.map_err(ProjectError::from)?;
                if order == Order::Newest {
                    lines.reverse();
                }
                let next = match order {
                    Order::Newest => (first > after.saturating_add(1)).then_some(first),
                    Order::Oldest => (last < head).then_some(last),
                };
                let next = next.map(|passed| cursors.sign(client, &question, &passed));
                Ok(Some(Page { items: lines, next }))
            }
            .boxed()
        })
        .await
}

/// The first and the last number of a page; numbers have no gaps.
fn stretch(order: Order, after: u64, passed: Option<u64>, limit: Limit, head: u64) -> (u64, u64) {
    let items = u64::from(limit.items());
    match order {
        Order::Newest => {
            let last = passed.map_or(head, |passed| passed - 1);
            (last.saturating_sub(items).max(after.min(head)) + 1, last)
        }
        Order::Oldest => {
            let first = passed.unwrap_or(after).min(head) + 1;
            (first, (first + items - 1).min(head))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(items: u32) -> Limit {
        serde_json::from_value(items.into()).unwrap()
    }

    #[test]
    fn pages_join_without_a_gap_in_both_orders() {
        assert_eq!(stretch(Order::Newest, 0, None, limit(10), 25), (16, 25));
        assert_eq!(stretch(Order::Newest, 0, Some(16), limit(10), 25), (6, 15));
        assert_eq!(stretch(Order::Newest, 0, Some(6), limit(10), 25), (1, 5));
        assert_eq!(stretch(Order::Newest, 20, None, limit(10), 25), (21, 25));
        assert_eq!(stretch(Order::Oldest, 0, None, limit(10), 25), (1, 10));
        assert_eq!(stretch(Order::Oldest, 0, Some(10), limit(10), 25), (11, 20));
        assert_eq!(stretch(Order::Oldest, 0, Some(20), limit(10), 25), (21, 25));
    }

    #[test]
    fn beyond_the_head_there_is_nothing() {
        assert_eq!(stretch(Order::Oldest, 99, None, limit(10), 25), (26, 25));
        assert_eq!(stretch(Order::Newest, 99, None, limit(10), 25), (26, 25));
        assert_eq!(stretch(Order::Newest, 0, None, limit(10), 0), (1, 0));
    }
}
