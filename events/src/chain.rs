//! The exact bytes behind every event, so that anyone can recompute them: content hash and chain hash.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{ClientId, EventId, Time, canonical};

/// A SHA-256.
pub type Hash = [u8; 32];

/// What stands before the first event of a stream.
pub const BEFORE_FIRST: Hash = [0; 32];

/// What the content hash covers. Payload and metadata are RFC 8785 texts already.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// Whose stream.
    pub client: ClientId,
    /// The kind of thing that it is about.
    pub aggregate_type: &'a str,
    /// Which one of its kind.
    pub aggregate_id: &'a str,
    /// The event's own id.
    pub event: EventId,
    /// The variant's name.
    pub event_type: &'a str,
    /// Of which version of it.
    pub event_version: &'a str,
    /// When the world says it happened.
    pub occurred_at: Time,
    /// Who, why and by which build, as its RFC 8785 text.
    pub metadata: &'a str,
    /// What it says, as its RFC 8785 text.
    pub payload: &'a str,
}

/// RFC 8785 (JCS) text of a value: the one spelling that is hashed and signed.
///
/// # Panics
/// If the value has no JSON form; none of our words lacks one.
pub fn canonical<T: Serialize>(value: &T) -> String {
    try_canonical(value).expect("our words always have a JSON form")
}

/// The same of a value from outside, which can hold what has no RFC 8785 text: a number beyond every double.
pub fn try_canonical<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    match canonical::sorted(&text) {
        Some(sorted) => Ok(sorted),
        None => serde_json_canonicalizer::to_string(value),
    }
}

impl Content<'_> {
    /// SHA-256 of the RFC 8785 form of the object of these nine fields.
    pub fn hash(&self) -> Hash {
        Sha256::digest(self.canonical()).into()
    }

    /// The object's members in their canonical order; a test holds this against the library's own ordering.
    fn canonical(&self) -> String {
        let text = |value: &str| canonical(&value);
        format!(
            r#"{{"aggregate_id":{},"aggregate_type":{},"client_id":"{}","event_id":"{}","event_type":{},"event_version":{},"metadata":{},"occurred_at":"{}","payload":{}}}"#,
            text(self.aggregate_id),
            text(self.aggregate_type),
            self.client,
            self.event,
            text(self.event_type),
            text(self.event_version),
            self.metadata,
            self.occurred_at,
            self.payload,
        )
    }
}

/// One link: what came before, where it stands, when it was recorded, what it says.
pub fn link(previous: &Hash, client_seq: u64, aggregate_seq: u64, recorded_at: Time, content: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(client_seq.to_be_bytes());
    hasher.update(aggregate_seq.to_be_bytes());
    hasher.update(recorded_at.micros().to_be_bytes());
    hasher.update(content);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashed_text_is_the_canonical_form_of_the_nine_fields() {
        let content = Content {
            client: ClientId::DESK,
            aggregate_type: "bot",
            aggregate_id: "a \"quoted\" \u{1} id",
            event: EventId(uuid::Uuid::max()),
            event_type: "BotStopped",
            event_version: "1",
            occurred_at: Time::EPOCH,
            metadata: r#"{"actor":"system:import"}"#,
            payload: r#"{"BotStopped":{"at":"1970-01-01T00:00:00.000000Z"}}"#,
        };
        let object = serde_json::json!({
            "payload": serde_json::from_str::<serde_json::Value>(content.payload).unwrap(),
            "metadata": serde_json::from_str::<serde_json::Value>(content.metadata).unwrap(),
            "occurred_at": content.occurred_at, "event_id": content.event, "client_id": content.client,
            "event_type": "BotStopped", "event_version": "1", "aggregate_type": "bot",
            "aggregate_id": content.aggregate_id,
        });
        assert_eq!(content.canonical(), canonical(&object));
    }
}
