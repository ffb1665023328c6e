//! What a report says: how a client's money, bots and alerts went in a time, from the read models alone.

use events::{ClientId, Time};
use projections::{
    checkpoints,
    pnl::{By, Method, Pnl, grouped},
    projection::{ProjectError, Projection},
    versions,
};
use sqlx::PgPool;
use store::read;

const SNAPSHOT: &str = "begin isolation level repeatable read, read only";

/// Its lines, by their names; absent: the read model does not know the event that wants it yet.
pub async fn lines(
    desk: &PgPool,
    client: ClientId,
    of: u64,
    from: Time,
    to: Time,
) -> Result<Option<Vec<(String, String)>>, ProjectError> {
    let mut tx = desk.begin_with(SNAPSHOT).await?;
    read::for_client(&mut tx, client).await?;
    versions::use_live(&mut tx).await?;
    if checkpoints::reach(&mut *tx, Pnl::NAME, client).await?.reached < of {
        return Ok(None);
    }
    // The last moment that counts belongs to it.
    let pnl = grouped(&mut tx, client, By::Pair, Method::Average, Some(from), Some(to.plus_micros(-1))).await?;
    let mut lines = Vec::new();
    for line in &pnl.lines {
        let (quote, of) = (&line.quote_asset, name(&line.of));
        let mut put = |what: &str, value: String| lines.push((format!("{of} {what}"), value));
        put("volume", format!("{} {quote}", line.volume.rounded(8).normalised()));
        put("fills", line.fills.map_or_else(String::new, |fills| fills.to_string()));
        put("realised, net", format!("{} {quote}", line.realized_net.rounded(8).normalised()));
        put("fees", format!("{} {quote}", line.fees.rounded(8).normalised()));
        let total = line.total_net.map(|total| format!("{} {quote}", total.rounded(8).normalised()));
        put("total, net", total.unwrap_or_else(|| "unknown: there is no price".to_owned()));
    }
    if lines.is_empty() {
        lines.push(("Trades".to_owned(), "none".to_owned()));
    }
    Ok(Some(lines))
}

fn name(of: &projections::pnl::Of) -> String {
    serde_json::to_value(of)
        .ok()
        .and_then(|of| {
            of.as_object().and_then(|of| of.values().next().and_then(|name| name.as_str().map(str::to_owned)))
        })
        .unwrap_or_default()
}
