//! What must be true in the end: the same totals whoever is asked, the ledgers what really happened, and every event
//! everywhere once.

use std::time::Duration;

use anyhow::{Context, ensure};
use async_nats::jetstream::{self, stream::Stream};
use events::{ClientId, Decimal, Time, export};
use futures::{StreamExt, TryStreamExt, stream};
use projections::{
    checkpoints,
    pnl::{Recomputed, Report},
};
use sqlx::PgPool;
use store::{Login, read};
use tokio::time::{Instant, sleep};

use super::{desk::Desk, history, ledger, outside::TrueFill, step, visitor::Visitor};
use crate::{audit, report, report::print, settings::Platform};

/// How long the parts may take to come to where the streams are.
const ARRIVES: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Messages that are compared at a time.
const PAGE: u64 = 1_000;

/// The clients whose fills, P&L and deposits an independent program has counted are told the same by the API.
pub async fn history(desk: &mut Desk) -> anyhow::Result<()> {
    read_models_are_at_the_heads(&desk.platform.pool(Login::AdminQuery)).await?;
    let as_of = Time::from_millis(history::AS_OF_MS)?;
    for visitor in desk.visitors.iter_mut().filter(|visitor| history::CLIENTS.contains(&visitor.slug.as_str())) {
        the_api_tells_the_totals(visitor, as_of).await?;
    }
    Ok(())
}

/// Every check, once nothing happens any more; says what was found, or which one failed.
pub async fn all(desk: &mut Desk) -> anyhow::Result<()> {
    let as_of = Time::now();
    let db = desk.platform.pool(Login::AdminQuery);
    let events = read_models_are_at_the_heads(&db).await?;
    step(&format!("every read model has reached the head of every stream, {events} events"));
    history(desk).await?;
    let (truth, since) = (desk.outside.fills().await?, Time::from_millis(history::AS_OF_MS)?.plus_micros(1));
    for visitor in &mut desk.visitors {
        the_ledger_is_the_truth(&db, visitor, since, &truth).await?;
    }
    let (figures, missing) = report::pnl(&db, as_of).await?;
    ensure!(missing.is_empty(), "figures are missing: {missing:?}");
    print(&report::table(&figures).to_string())?;
    for visitor in &desk.visitors {
        let events = nats_holds_every_event_once(&desk.platform, &desk.nats, visitor.client).await?;
        step(&format!("NATS holds the {events} events of {}, each once and in order", visitor.slug));
    }
    for slug in history::CLIENTS {
        let (told, offline) =
            (serde_json::to_value(&figures)?, serde_json::to_value(prove(&desk.platform, slug, as_of).await?)?);
        ensure!(told["clients"][slug] == offline["clients"][slug], "the export of {slug} tells other totals");
    }
    print("all totals agree: the API, the recomputed exports, an independent program, and what happened on paper")
}

/// Fill for fill in the stream, and as many as the API tells.
async fn the_ledger_is_the_truth(
    db: &PgPool,
    visitor: &mut Visitor,
    since: Time,
    truth: &[TrueFill],
) -> anyhow::Result<()> {
    let slug = visitor.slug.clone();
    let fills = ledger::agrees(db, visitor.client, since, truth).await;
    let fills = fills.with_context(|| format!("the ledger of {slug} is not what happened"))?;
    let told = visitor.pnl(&format!("?from={since}")).await?.fills();
    ensure!(
        told == i64::try_from(fills)?,
        "the API tells {told} fills of {slug} since it trades on paper, not {fills}"
    );
    step(&format!("{slug}: {fills} fills on paper, each in the ledger as it happened, once"));
    Ok(())
}

/// How many events there are.
async fn read_models_are_at_the_heads(db: &PgPool) -> anyhow::Result<u64> {
    let late = Instant::now() + ARRIVES;
    loop {
        let reaches = checkpoints::reaches(db).await?;
        let behind: Vec<_> = reaches.iter().filter(|(_, _, reach)| reach.reached != reach.head).collect();
        if behind.is_empty() {
            let heads = read::heads_of_all(db).await?;
            return Ok(heads.iter().filter(|(client, _)| *client != ClientId::DESK).map(|(_, head)| head).sum());
        }
        ensure!(Instant::now() < late, "read models have not reached the heads: {behind:?}");
        sleep(LOOK_AGAIN).await;
    }
}

/// Over HTTP, to the client itself: the fills, the P&L and the deposits that an independent program has counted.
async fn the_api_tells_the_totals(visitor: &mut Visitor, as_of: Time) -> anyhow::Result<()> {
    let (expected, flows) = (history::expected(&visitor.slug)?, history::expected_net_flows(&visitor.slug)?);
    let pnl = visitor.pnl(&format!("?to={as_of}")).await?;
    let total = pnl.total_usdt.as_ref().context("the API does not know the total")?.amount;
    let slug = &visitor.slug;
    ensure!(is_close(total, expected.total_usdt)?, "{slug} came to {total}, expected {}", expected.total_usdt);
    ensure!(pnl.fills() == expected.fills, "{slug} has {} fills, expected {}", pnl.fills(), expected.fills);
    step(&format!("{slug}: {} fills before today, P&L {total} USDT, as an independent program says", pnl.fills()));
    let portfolio = visitor.portfolio("").await?;
    let told = portfolio.net_flows.context("the API does not know what was put in")?.amount;
    ensure!(is_close(told, flows)?, "{} put in {told}, expected {flows}", visitor.slug);
    Ok(())
}

fn is_close(told: Decimal, expected: Decimal) -> anyhow::Result<bool> {
    Ok(told.minus(expected)?.abs() <= Decimal::new(1, 12))
}

/// The copy on NATS, message by message; how many there are.
async fn nats_holds_every_event_once(
    platform: &Platform,
    nats: &async_nats::Client,
    client: ClientId,
) -> anyhow::Result<u64> {
    let db = platform.pool(Login::Projector);
    let jetstream = jetstream::new(nats.clone());
    let (copy, head) = copy_of_all(&db, &jetstream, client).await?;
    for first in (1..=head).step_by(PAGE as usize) {
        let last = head.min(first + PAGE - 1);
        let lines = read::lines(&db, client, first, last).await?;
        let messages = stream::iter(first..=last).map(|seq| copy.get_raw_message(seq)).buffered(64);
        let messages: Vec<_> = messages.try_collect().await?;
        for (line, message) in lines.iter().zip(messages) {
            let id = message.headers.get("Nats-Msg-Id").map(ToString::to_string);
            let seq = line.client_seq;
            ensure!(id == Some(line.event_id.to_string()), "message {seq} of client {client} is {id:?}");
        }
    }
    Ok(head)
}

/// The stream on NATS, once it begins with the first event and ends with the last one of Postgres.
async fn copy_of_all(db: &PgPool, jetstream: &jetstream::Context, client: ClientId) -> anyhow::Result<(Stream, u64)> {
    let late = Instant::now() + ARRIVES;
    loop {
        let head = read::head(db, client).await?;
        let found = jetstream.get_stream(relay::stream_name(client)).await;
        let state = found.as_ref().ok().map(|copy| &copy.cached_info().state);
        let stands = state.map(|state| (state.first_sequence, state.last_sequence, state.messages));
        if let Ok(copy) = found
            && stands == Some((1, head, head))
        {
            return Ok((copy, head));
        }
        ensure!(Instant::now() < late, "NATS has {stands:?} of client {client}, whose stream ends with event {head}");
        sleep(LOOK_AGAIN).await;
    }
}

/// Exports one client's history, verifies it with the desk's public key, and recomputes its figures from it.
async fn prove(platform: &Platform, slug: &str, as_of: Time) -> anyhow::Result<Report> {
    let (slug, file) = (slug.parse()?, tempfile::NamedTempFile::new()?);
    let head = audit::export(platform, &slug, std::io::BufWriter::new(file.reopen()?)).await?;
    let key = platform.signing_key.as_ref().context("the stack has a signing key")?.verifying_key();
    let expected = export::Expected { key: Some(key), head: None };
    let mut recomputed = Recomputed::default();
    let reader = std::io::BufReader::new(file.reopen()?);
    let verified = export::verify(reader, &expected, |event| recomputed.read(&event))?;
    ensure!(verified.events == head.head.seq, "the export has {} of {} events", verified.events, head.head.seq);
    step(&format!(
        "the export of {slug} is verified and recomputed offline: {} events, head {:.16}…, signed",
        verified.events, head.head.chain_hash
    ));
    Ok(recomputed.report(as_of)?)
}
