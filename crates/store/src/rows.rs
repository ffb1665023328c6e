//! Numbering a group: every event gets its place, its time and its chain hash, as the arrays that `es.append` takes.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use events::{
    ClientId, Time,
    chain::{self, Hash},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    append::Receipt,
    pending::Pending,
    tips::{Tip, Tips},
};

/// A numbered group, as the arrays that `es.append` takes.
#[derive(Default)]
pub(crate) struct Rows<'a> {
    heads: Heads,
    client: Vec<Uuid>,
    seq: Vec<i64>,
    aggregate_type: Vec<&'a str>,
    aggregate_id: Vec<&'a str>,
    aggregate_seq: Vec<i64>,
    id: Vec<Uuid>,
    event_type: Vec<&'a str>,
    version: Vec<&'a str>,
    payload: Vec<&'a str>,
    metadata: Vec<&'a str>,
    occurred: Vec<DateTime<Utc>>,
    recorded: Vec<DateTime<Utc>>,
    content: Vec<Hash>,
    chain: Vec<Hash>,
    dedupe: Vec<Option<Uuid>>,
}

#[derive(Default)]
struct Heads {
    client: Vec<Uuid>,
    head: Vec<i64>,
    hash: Vec<Hash>,
    new_head: Vec<i64>,
    new_hash: Vec<Hash>,
    at: Vec<DateTime<Utc>>,
    ledger: Vec<i64>,
}

/// Gives every event its number, time and chain hash. Commands of one client follow each other as they came; the second of
/// two that expect the same version is found by the unique index of its aggregate only if a bug lets it come this far.
pub(crate) fn number<'a>(waiting: &'a [Pending], tips: &mut Tips) -> (Rows<'a>, Vec<Receipt>) {
    // Sorted by client, because es.append locks in this order.
    let before: BTreeMap<ClientId, (u64, Hash)> = waiting
        .iter()
        .map(|pending| (pending.append.client, &tips[&pending.append.client]))
        .map(|(client, tip)| (client, (tip.head, tip.hash)))
        .collect();
    let now = Time::now();
    let mut rows = Rows::default();
    let receipts = waiting
        .iter()
        .map(|pending| {
            let tip = tips.get_mut(&pending.append.client).expect("tips of all clients were read");
            let receipt = rows.number(pending, tip, now);
            pending.try_at(receipt.first);
            receipt
        })
        .collect();
    for (client, (head, hash)) in before {
        rows.heads.push(client, head, hash, &tips[&client]);
    }
    (rows, receipts)
}

impl Heads {
    fn push(&mut self, client: ClientId, head: u64, hash: Hash, after: &Tip) {
        self.client.push(client.0);
        self.head.push(head as i64);
        self.hash.push(hash);
        self.new_head.push(after.head as i64);
        self.new_hash.push(after.hash);
        self.at.push(after.recorded_at.into());
        self.ledger.push(after.ledger as i64);
    }
}

impl<'a> Rows<'a> {
    fn number(&mut self, pending: &'a Pending, tip: &mut Tip, now: Time) -> Receipt {
        let first = tip.head + 1;
        tip.recorded_at = tip.recorded_at.max(now);
        for at in 0..pending.append.events.len() {
            self.push(pending, at, tip);
        }
        Receipt { first, last: tip.head, repeated: false }
    }

    fn push(&mut self, pending: &'a Pending, at: usize, tip: &mut Tip) {
        let append = &pending.append;
        let draft = &append.events[at];
        let aggregate_seq = tip.next_version(&append.aggregate);
        tip.head += 1;
        let written = &pending.written[at];
        tip.hash = chain::link(&tip.hash, tip.head, aggregate_seq, tip.recorded_at, &written.content);
        self.client.push(append.client.0);
        self.seq.push(tip.head as i64);
        self.aggregate_type.push(&append.aggregate.kind);
        self.aggregate_id.push(&append.aggregate.id);
        self.aggregate_seq.push(aggregate_seq as i64);
        self.id.push(written.id.0);
        self.event_type.push(draft.event.event_type());
        self.version.push(draft.event.version());
        self.payload.push(&written.payload);
        self.metadata.push(&written.metadata);
        self.occurred.push(draft.event.at().into());
        self.recorded.push(tip.recorded_at.into());
        self.content.push(written.content);
        self.chain.push(tip.hash);
        self.dedupe.push(pending.keys[at]);
    }

    /// The one call. Returns the clients that were not where we thought.
    pub async fn append(&self, db: &mut PgConnection) -> sqlx::Result<HashSet<ClientId>> {
        let unmoved = sqlx::query_scalar!(
            r#"select es.append($1, $2, $3, $4, $5, $6, $7,
                                $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) as "unmoved!""#,
            &self.heads.client,
            &self.heads.head,
            &self.heads.hash as &[Hash],
            &self.heads.new_head,
            &self.heads.new_hash as &[Hash],
            &self.heads.at,
            &self.heads.ledger,
            &self.client,
            &self.seq,
            &self.aggregate_type as &[&str],
            &self.aggregate_id as &[&str],
            &self.aggregate_seq,
            &self.id,
            &self.event_type as &[&str],
            &self.version as &[&str],
            &self.payload as &[&str],
            &self.metadata as &[&str],
            &self.occurred,
            &self.recorded,
            &self.content as &[Hash],
            &self.chain as &[Hash],
            &self.dedupe as &[Option<Uuid>],
        )
        .fetch_one(db)
        .await?;
        Ok(unmoved.into_iter().map(ClientId).collect())
    }
}
