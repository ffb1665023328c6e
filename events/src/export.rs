//! A client's history as a file that an outsider can verify without us: one event a line, a signed head at the end.
//!
//! Every line is the RFC 8785 form of its object, so each fact has one spelling and any changed byte shows.

use std::{collections::HashMap, io::BufRead};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    AggregateRef, ClientId, Event, EventId, Recorded, Time,
    chain::{self, Content, Hash, canonical, try_canonical},
};

/// What a head's signature covers begins with this, so that it can never be taken for a signature of something else.
const SIGNED_AS: &[u8] = b"pipelabs-head-v1\n";

/// One event with every field that is hashed, and the two hashes.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventLine {
    /// Whose stream; the same on each line.
    pub client_id: ClientId,
    /// 1, 2, 3 from line to line.
    pub client_seq: u64,
    /// The kind of thing that it is about.
    pub aggregate_type: String,
    /// Which one of its kind.
    pub aggregate_id: String,
    /// 1, 2, 3 for each thing.
    pub aggregate_seq: u64,
    /// The event's own id.
    pub event_id: EventId,
    /// The variant's name.
    pub event_type: String,
    /// Of which version of it.
    pub event_version: String,
    /// What it says.
    pub payload: Value,
    /// Who, why and by which build.
    pub metadata: Value,
    /// When the world says it happened.
    pub occurred_at: Time,
    /// When it entered the stream; never earlier than the line before.
    pub recorded_at: Time,
    /// Lower-case hex.
    pub content_hash: String,
    /// Lower-case hex.
    pub chain_hash: String,
}

/// How far a client's stream had come, and the hash that stands for all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Whose stream.
    pub client_id: ClientId,
    /// The number of its last event then.
    pub seq: u64,
    /// Lower-case hex.
    pub chain_hash: String,
    /// When that was.
    pub at: Time,
}

/// A head and who vouches for it. Both keys are lower-case hex, and absent where no signing key was configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// What is vouched for.
    pub head: Head,
    /// Ed25519 over the head.
    pub signature: Option<String>,
    /// Of whoever signed; whose it is must be known from elsewhere.
    pub public_key: Option<String>,
}

impl SignedHead {
    /// Signs a head with Ed25519.
    pub fn sign(head: Head, key: &SigningKey) -> Self {
        let signature = hex::encode(key.sign(&head.signed_bytes()).to_bytes());
        Self { head, signature: Some(signature), public_key: Some(hex::encode(key.verifying_key().as_bytes())) }
    }

    /// A head that nobody vouches for.
    pub fn unsigned(head: Head) -> Self {
        Self { head, signature: None, public_key: None }
    }

    /// Whether the key that the head itself names signed it; whose key that is stands elsewhere.
    pub fn is_consistent(&self) -> bool {
        let named = self.public_key.as_deref().and_then(lower_hex::<32>);
        named.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok()).is_some_and(|key| self.is_signed_by(&key))
    }

    /// Whether the holder of this public key signed exactly this head.
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        let bytes = self.signature.as_deref().and_then(lower_hex::<64>);
        let named = self.public_key.as_deref() == Some(hex::encode(key.as_bytes()).as_str());
        named
            && bytes.is_some_and(|bytes| {
                key.verify_strict(&self.head.signed_bytes(), &Signature::from_bytes(&bytes)).is_ok()
            })
    }
}

impl Head {
    fn signed_bytes(&self) -> Vec<u8> {
        [SIGNED_AS, canonical(self).as_bytes()].concat()
    }
}

/// What an auditor expects of a file before he opens it.
#[derive(Debug, Default)]
pub struct Expected {
    /// The desk's public key, learnt from elsewhere than the file.
    pub key: Option<VerifyingKey>,
    /// A place and its chain hash, learnt from elsewhere than the file.
    pub head: Option<(u64, Hash)>,
}

/// What a verified file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many there are.
    pub events: u64,
    /// Where they end.
    pub head: SignedHead,
    /// Whether the signature was checked against a key that was given.
    pub signature_checked: bool,
}

/// The first line that is not as it must be.
#[derive(Debug, thiserror::Error)]
#[error("bad line {line}: {reason}")]
pub struct BadLine {
    /// Counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Verifies a file and hands every event to `each` in order. Needs no database and trusts nothing in the file.
pub fn verify(
    mut file: impl BufRead,
    expected: &Expected,
    mut each: impl FnMut(Recorded),
) -> Result<Verified, BadLine> {
    let mut chain = Chain::default();
    let mut line = 0;
    let mut bytes = Vec::new();
    loop {
        line += 1;
        let bad = |reason: String| BadLine { line, reason };
        bytes.clear();
        file.read_until(b'\n', &mut bytes).map_err(|e| bad(format!("cannot be read: {e}")))?;
        if bytes.is_empty() {
            return Err(bad("the file ends without its head".into()));
        }
        let text = one_line(&bytes).map_err(bad)?;
        if text.starts_with(r#"{"head":"#) {
            let head = chain.close(text, expected).map_err(bad)?;
            let mut rest = Vec::new();
            file.read_to_end(&mut rest).map_err(|e| bad(format!("cannot be read: {e}")))?;
            if !rest.is_empty() {
                return Err(BadLine { line: line + 1, reason: "something stands after the head".into() });
            }
            return Ok(Verified { events: chain.seq, head, signature_checked: expected.key.is_some() });
        }
        each(chain.event(text, expected).map_err(bad)?);
    }
}

fn one_line(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    text.strip_suffix('\n').ok_or_else(|| "does not end with a line feed: the file was cut".to_owned())
}

/// The chain so far.
#[derive(Default)]
struct Chain {
    client: Option<ClientId>,
    seq: u64,
    tip: Hash,
    recorded_at: Option<Time>,
    versions: HashMap<AggregateRef, u64>,
}

impl Chain {
    fn event(&mut self, text: &str, expected: &Expected) -> Result<Recorded, String> {
        let line: EventLine = exactly(text)?;
        self.stands_in_order(&line)?;
        self.is_unaltered(&line)?;
        if let Some((seq, hash)) = expected.head
            && seq == self.seq
            && hash != self.tip
        {
            return Err(format!("chain hash at {seq} is not the one you gave"));
        }
        line.read()
    }

    fn stands_in_order(&mut self, line: &EventLine) -> Result<(), String> {
        let client = *self.client.get_or_insert(line.client_id);
        if line.client_id != client {
            return Err(format!("belongs to client {}, not to {client}", line.client_id));
        }
        if line.client_seq != self.seq + 1 {
            return Err(format!("has client_seq {} where {} belongs", line.client_seq, self.seq + 1));
        }
        if self.recorded_at.is_some_and(|before| line.recorded_at < before) {
            return Err("was recorded before the event that stands before it".into());
        }
        let aggregate = AggregateRef::new(&line.aggregate_type, &line.aggregate_id);
        let version = self.versions.entry(aggregate).or_default();
        if line.aggregate_seq != *version + 1 {
            return Err(format!("has aggregate_seq {} where {} belongs", line.aggregate_seq, *version + 1));
        }
        *version += 1;
        Ok(())
    }

    fn is_unaltered(&mut self, line: &EventLine) -> Result<(), String> {
        let content = line.content_hash();
        if hex::encode(content) != line.content_hash {
            return Err("its content does not have the hash that it states".into());
        }
        let tip = chain::link(&self.tip, line.client_seq, line.aggregate_seq, line.recorded_at, &content);
        if hex::encode(tip) != line.chain_hash {
            return Err("its chain hash does not follow from the event before it".into());
        }
        (self.seq, self.tip, self.recorded_at) = (line.client_seq, tip, Some(line.recorded_at));
        Ok(())
    }

    fn close(&self, text: &str, expected: &Expected) -> Result<SignedHead, String> {
        let signed: SignedHead = exactly(text)?;
        let head = &signed.head;
        if self.client.is_some_and(|client| client != head.client_id) {
            return Err("the head is another client's".into());
        }
        if head.seq != self.seq || head.chain_hash != hex::encode(self.tip) {
            return Err(format!("the head speaks of event {}, the file ends at {}", head.seq, self.seq));
        }
        if self.recorded_at.is_some_and(|last| head.at < last) {
            return Err("the head is older than the last event".into());
        }
        if let Some((seq, _)) = expected.head.filter(|(seq, _)| *seq > self.seq) {
            return Err(format!("the file ends at {}, before the event {seq} that you gave", self.seq));
        }
        match &expected.key {
            Some(key) if !signed.is_signed_by(key) => Err("the head is not signed by the key that you gave".into()),
            _ => Ok(signed),
        }
    }
}

impl EventLine {
    fn content_hash(&self) -> Hash {
        Content {
            client: self.client_id,
            aggregate_type: &self.aggregate_type,
            aggregate_id: &self.aggregate_id,
            event: self.event_id,
            event_type: &self.event_type,
            event_version: &self.event_version,
            occurred_at: self.occurred_at,
            metadata: &canonical(&self.metadata),
            payload: &canonical(&self.payload),
        }
        .hash()
    }

    fn read(self) -> Result<Recorded, String> {
        let payload = self.payload.to_string();
        let event = Event::read(&self.aggregate_type, &self.event_type, &self.event_version, &payload)
            .map_err(|unreadable| unreadable.to_string())?;
        Ok(Recorded {
            client: self.client_id,
            seq: self.client_seq,
            aggregate: AggregateRef::new(self.aggregate_type, self.aggregate_id),
            aggregate_seq: self.aggregate_seq,
            id: self.event_id,
            event,
            occurred_at: self.occurred_at,
            recorded_at: self.recorded_at,
            actor: self.metadata.get("actor").and_then(|actor| actor.as_str()?.parse().ok()),
        })
    }
}

/// Reads a line that must be spelt exactly as we would spell it.
fn exactly<T: Serialize + for<'a> Deserialize<'a>>(text: &str) -> Result<T, String> {
    let value: T = serde_json::from_str(text).map_err(|e| format!("is not what it should be: {e}"))?;
    match try_canonical(&value) {
        Ok(canonical) if canonical == text => Ok(value),
        Ok(_) => Err("is not spelt in its one canonical form".into()),
        Err(cause) => Err(format!("holds what has no canonical form: {cause}")),
    }
}

fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes: [u8; N] = hex::decode(text).ok()?.try_into().ok()?;
    (hex::encode(bytes) == text).then_some(bytes)
}
