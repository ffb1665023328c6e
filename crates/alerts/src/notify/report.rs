//! What a report says: how a client's money, bots and alerts went in a time, from the read models alone.

use events::{ClientId, Decimal, Time, alert::Severity};
use projections::{
    alerts::{self, Alerts},
    bots::{self, Bots},
    checkpoints,
    pnl::{By, Method, Pnl, grouped},
    projection::{ProjectError, Projection},
    uptime::{self, Except, Uptime},
    versions,
};
use sqlx::{PgConnection, PgPool};
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
    for model in [Pnl::NAME, Bots::NAME, Uptime::NAME, Alerts::NAME] {
        if checkpoints::reach(&mut *tx, model, client).await?.reached < of {
            return Ok(None);
        }
    }
    let mut lines = money(&mut tx, client, from, to).await?;
    lines.extend(quoting(&mut tx, client, from, to).await?);
    let fired = alerts::fired(&mut tx, client, from, to).await?;
    lines.push(("Alerts".to_owned(), if fired.is_empty() { "none".to_owned() } else { counted(&fired) }));
    Ok(Some(lines))
}

/// What was traded, and what came of it, by pair.
async fn money(
    tx: &mut PgConnection,
    client: ClientId,
    from: Time,
    to: Time,
) -> Result<Vec<(String, String)>, ProjectError> {
    // The last moment that counts belongs to it.
    let pnl = grouped(tx, client, By::Pair, Method::Average, Some(from), Some(to.plus_micros(-1))).await?;
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
    Ok(lines)
}

/// How long each bot quoted both sides, of the time that it was measured.
async fn quoting(
    tx: &mut PgConnection,
    client: ClientId,
    from: Time,
    to: Time,
) -> Result<Vec<(String, String)>, ProjectError> {
    let mut lines = Vec::new();
    for bot in bots::of_client(&mut *tx, client).await? {
        let quoting = uptime::of_window(tx, client, bot.bot_id, &Except::nothing(from, to)).await?;
        if let Some(share) = quoting.two_sided.value {
            let percent = share.times(Decimal::from_int(100)).unwrap_or(share).rounded(2);
            lines.push((format!("{} on both sides", bot.name), format!("{} % of the time", percent.normalised())));
        }
    }
    Ok(lines)
}

fn counted(fired: &[(Severity, i64)]) -> String {
    let each: Vec<String> = fired.iter().map(|(severity, count)| format!("{count} {}", severity.as_str())).collect();
    each.join(", ")
}

fn name(of: &projections::pnl::Of) -> String {
    serde_json::to_value(of)
        .ok()
        .and_then(|of| {
            of.as_object().and_then(|of| of.values().next().and_then(|name| name.as_str().map(str::to_owned)))
        })
        .unwrap_or_default()
}
