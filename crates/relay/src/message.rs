//! One event as a message: its subject, its headers, its bytes. Every name on NATS is made here.

use std::fmt::Write;

use async_nats::{
    HeaderMap,
    header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_EXPECTED_LAST_SEQUENCE, NATS_MESSAGE_ID},
};
use bytes::Bytes;
use events::{ClientId, EventId, chain, export::EventLine};

/// The kind of events that have subjects of their own: by how bad they are, and by rule.
const ALERT: &str = "alert";

/// The JetStream stream of a client.
pub fn stream_name(client: ClientId) -> String {
    format!("pipelabs_{}", client.0.simple())
}

/// The subjects of a client's stream.
pub fn subjects(client: ClientId) -> String {
    format!("pipelabs.{}.>", client.0.simple())
}

/// Where signed heads of a client are told: in no stream.
pub fn heads_subject(client: ClientId) -> String {
    format!("pipelabs_heads.{}", client.0.simple())
}

/// Under which subject an event is published; the one place that tells kinds of events apart.
pub(crate) fn subject(line: &EventLine) -> String {
    let (client, told) = (line.client_id.0.simple(), &line.payload[&line.event_type]);
    let word = |name: &str| told[name].as_str().map(token).unwrap_or_default();
    if line.aggregate_type == ALERT {
        return format!("pipelabs.{client}.alerts.{}.{}", word("severity"), word("rule"));
    }
    format!("pipelabs.{client}.events.{}.{}", token(&line.aggregate_type), token(&line.event_type))
}

/// Our words are letters; whatever else stands in a row splits no subject and is no wildcard.
fn token(word: &str) -> String {
    word.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

/// The event's JSON as it was recorded and hashed.
pub(crate) fn payload(line: &EventLine) -> Result<Bytes, serde_json::Error> {
    chain::try_canonical(&line.payload).map(Bytes::from)
}

/// The attributes of a CloudEvent, and where in the stream the message may be stored: as the next, and behind this event
/// if it is told which.
pub(crate) fn headers(line: &EventLine, behind: Option<EventId>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let id = line.event_id.to_string();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-source", format!("/pipelabs/clients/{}", line.client_id.0.simple()));
    headers.insert("ce-type", encoded(&line.event_type));
    headers.insert("ce-typeversion", encoded(&line.event_version));
    headers.insert("ce-aggregate", encoded(&line.aggregate_type));
    headers.insert("ce-subject", encoded(&line.aggregate_id));
    headers.insert("ce-time", line.occurred_at.to_string());
    headers.insert("ce-recordedtime", line.recorded_at.to_string());
    headers.insert("ce-clientseq", line.client_seq.to_string());
    headers.insert("ce-chainhash", line.chain_hash.as_str());
    headers.insert("ce-datacontenttype", "application/json");
    headers.insert("ce-id", id.as_str());
    headers.insert(NATS_MESSAGE_ID, id);
    headers.insert(NATS_EXPECTED_LAST_SEQUENCE, (line.client_seq - 1).to_string());
    if let Some(behind) = behind {
        headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, behind.to_string());
    }
    headers
}

/// Whether a stored message is this event.
pub(crate) fn is(headers: &HeaderMap, event: EventId) -> bool {
    headers.get(NATS_MESSAGE_ID).is_some_and(|id| id.as_str() == event.to_string())
}

/// As CloudEvents ask of header values: printable ASCII as it is, all else and `"` and `%` percent-encoded.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'!'..=b'~' if byte != b'%' && byte != b'"' => encoded.push(byte.into()),
            _ => write!(encoded, "%{byte:02X}").expect("a String can always be written to"),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_from_outside_splits_a_subject_or_ends_a_header() {
        assert_eq!(token("FillRecorded"), "FillRecorded");
        assert_eq!(token("a.b *>\r\nü"), "a_b______");
        assert_eq!(encoded("SOL-USDT"), "SOL-USDT");
        assert_eq!(encoded("50% \"ü\"\r\n"), "50%25%20%22%C3%BC%22%0D%0A");
    }
}
