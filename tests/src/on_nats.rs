//! What stands on NATS, held against what stands in Postgres; written from what subscribers are told, not from the relay.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, message::StreamMessage, stream::Stream};
use events::{ClientId, chain::canonical, export::EventLine};
use futures::{StreamExt, TryStreamExt, stream};
use store::{Login, read};

use crate::Database;

/// How long NATS may take to hold what it should.
const ARRIVES: Duration = Duration::from_secs(120);

/// Waits until NATS holds a client's stream: of its events the last `kept`, or all.
///
/// # Panics
/// If that does not come to be; tells what differs.
pub async fn arrived(database: &Database, client: ClientId, kept: Option<u64>) {
    let late = Instant::now() + ARRIVES;
    loop {
        let found = differences_on_nats(database, client, kept).await;
        if found.is_empty() {
            return;
        }
        let few: Vec<&String> = found.iter().take(10).collect();
        assert!(Instant::now() < late, "NATS does not hold the stream of client {client}: {few:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every way in which NATS holds something else than a client's stream in Postgres.
pub async fn differences_on_nats(database: &Database, client: ClientId, kept: Option<u64>) -> Vec<String> {
    match compare(database, client, kept).await {
        Ok(found) => found,
        Err(error) => vec![format!("NATS cannot be read: {error}")],
    }
}

async fn compare(database: &Database, client: ClientId, kept: Option<u64>) -> Result<Vec<String>, async_nats::Error> {
    let db = database.pool(Login::Projector);
    let recorded = read::lines(&db, client, 1, i64::MAX as u64).await?;
    db.close().await;
    let js = jetstream::new(database.nats().try_admin().await?);
    let stream = js.get_stream(format!("pipelabs_{}", client.0.simple())).await?;
    let head = recorded.len() as u64;
    let first = kept.map_or(1, |kept| (head + 1).saturating_sub(kept).max(1));
    let state = &stream.cached_info().state;
    let stands = (state.first_sequence, state.last_sequence, state.messages);
    if stands != (first, head, head + 1 - first) {
        return Ok(vec![format!("first, last and number are {stands:?}, and {first} to {head} should be there")]);
    }
    let found = messages(&stream, first, head).await?;
    let pairs = found.iter().zip(&recorded[first as usize - 1..]);
    Ok(pairs.flat_map(|(message, line)| differs(message, line)).collect())
}

async fn messages(stream: &Stream, first: u64, last: u64) -> Result<Vec<StreamMessage>, async_nats::Error> {
    let messages = stream::iter(first..=last).map(|seq| stream.get_raw_message(seq)).buffered(64);
    Ok(messages.try_collect().await?)
}

/// Where a message is not what subscribers are told that this event is.
fn differs(message: &StreamMessage, line: &EventLine) -> Vec<String> {
    let hex = line.client_id.0.simple().to_string();
    let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
    let expected = [
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", line.event_id.to_string()),
        ("ce-source", format!("/pipelabs/clients/{hex}")),
        ("ce-type", line.event_type.clone()),
        ("ce-typeversion", line.event_version.clone()),
        ("ce-aggregate", line.aggregate_type.clone()),
        ("ce-subject", line.aggregate_id.clone()),
        ("ce-time", line.occurred_at.to_string()),
        ("ce-recordedtime", line.recorded_at.to_string()),
        ("ce-clientseq", line.client_seq.to_string()),
        ("ce-chainhash", line.chain_hash.clone()),
        ("ce-datacontenttype", "application/json".to_owned()),
        ("Nats-Msg-Id", line.event_id.to_string()),
    ];
    let told = &line.payload[&line.event_type];
    let subject = match line.aggregate_type.as_str() {
        "alert" => format!("alerts.{}.{}", told["severity"].as_str().unwrap(), told["rule"].as_str().unwrap()),
        kind => format!("events.{kind}.{}", line.event_type),
    };
    let subject = format!("pipelabs.{hex}.{subject}");
    let headers = expected.into_iter().map(|(name, value)| (name, header(name), value));
    let others = [
        ("subject", message.subject.to_string(), subject),
        ("sequence", message.sequence.to_string(), line.client_seq.to_string()),
        ("payload", String::from_utf8_lossy(&message.payload).into_owned(), canonical(&line.payload)),
    ];
    let wrong = headers.chain(others).filter(|(_, found, expected)| found != expected);
    wrong.map(|(what, found, expected)| format!("{what} of {}: {found:?}, not {expected:?}", line.client_seq)).collect()
}
