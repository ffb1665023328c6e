//! Heads, signed outside the database: a superuser can recompute a chain, but not this signature.

use ed25519_dalek::SigningKey;
use events::{
    ClientId, Time,
    export::{Head, SignedHead},
};
use sqlx::PgPool;
use uuid::Uuid;

/// What a round of signing came to.
#[derive(Debug, Default)]
pub struct Signed {
    pub new: Vec<SignedHead>,
    /// Streams that do not hold any more what was signed before: somebody rewrote history, or an older backup was put
    /// back. They are not signed.
    pub diverged: Vec<ClientId>,
}

/// Signs every head that moved since its last signature, and keeps the signatures.
pub async fn sign_heads(projector: &PgPool, key: &SigningKey, at: Time) -> sqlx::Result<Signed> {
    sign(projector, None, key, at).await
}

/// The signed present head of one client's stream; absent for a stream without events.
pub async fn sign_head(
    projector: &PgPool,
    client: ClientId,
    key: &SigningKey,
    at: Time,
) -> Result<Option<SignedHead>, HeadError> {
    let signed = sign(projector, Some(client), key, at).await?;
    if signed.diverged.contains(&client) {
        return Err(HeadError::Diverged(client));
    }
    match signed.new.into_iter().next() {
        Some(head) => Ok(Some(head)),
        None => Ok(latest_signed(projector, client).await?),
    }
}

/// Why a head is not signed.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    #[error(
        "the stream of client {0} does not hold what was signed before: history was rewritten or a backup put back"
    )]
    Diverged(ClientId),
    #[error("could not read or keep signed heads")]
    Database(#[from] sqlx::Error),
}

async fn sign(projector: &PgPool, client: Option<ClientId>, key: &SigningKey, at: Time) -> sqlx::Result<Signed> {
    let public_key = key.verifying_key();
    let rows = sqlx::query!(
        r#"
        select s.client_id, s.head, s.head_hash, s.updated_at, before.seq as "before?",
               before.seq is null or coalesce(e.chain_hash = before.chain_hash, false) as "continues!"
          from es.streams s
          left join lateral (
               select h.seq, h.chain_hash
                 from es.signed_heads h
                where h.client_id = s.client_id and h.public_key = $1
                order by h.seq desc
                limit 1) before on true
          left join es.events e on e.client_id = s.client_id and e.client_seq = before.seq
         where s.head > 0
           and s.client_id = coalesce($2, s.client_id)
           and (before.seq is distinct from s.head or before.chain_hash <> s.head_hash)
        "#,
        public_key.as_bytes(),
        client.map(|client| client.0)
    )
    .fetch_all(projector)
    .await?;
    let mut signed = Signed::default();
    for row in rows {
        let client_id = ClientId(row.client_id);
        if !row.continues || row.before.is_some_and(|before| before >= row.head) {
            signed.diverged.push(client_id);
            continue;
        }
        let (seq, chain_hash) = (row.head as u64, hex::encode(row.head_hash));
        signed.new.push(SignedHead::sign(Head { client_id, seq, chain_hash, at: at.max(row.updated_at.into()) }, key));
    }
    keep(projector, &signed.new).await?;
    Ok(signed)
}

async fn keep(projector: &PgPool, signed: &[SignedHead]) -> sqlx::Result<()> {
    let bytes = |text: Option<&String>| {
        hex::decode(text.expect("a signed head has a signature and a key")).expect("our own hex")
    };
    let clients: Vec<Uuid> = signed.iter().map(|s| s.head.client_id.0).collect();
    let seqs: Vec<i64> = signed.iter().map(|s| s.head.seq as i64).collect();
    let hashes: Vec<Vec<u8>> = signed.iter().map(|s| bytes(Some(&s.head.chain_hash))).collect();
    let ats: Vec<chrono::DateTime<chrono::Utc>> = signed.iter().map(|s| s.head.at.into()).collect();
    let signatures: Vec<Vec<u8>> = signed.iter().map(|s| bytes(s.signature.as_ref())).collect();
    let keys: Vec<Vec<u8>> = signed.iter().map(|s| bytes(s.public_key.as_ref())).collect();
    // Two signers may meet: the first one's signature of a head is as good as the second's.
    sqlx::query!(
        r#"
        insert into es.signed_heads (client_id, seq, chain_hash, at, signature, public_key)
        select * from unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::timestamptz[], $5::bytea[], $6::bytea[])
        on conflict do nothing
        "#,
        &clients,
        &seqs,
        &hashes,
        &ats,
        &signatures,
        &keys
    )
    .execute(projector)
    .await?;
    Ok(())
}

/// The newest signed head of a client's stream whose signature holds and whose event is there. By whom it is signed, the
/// reader must judge.
pub async fn latest_signed(db: &PgPool, client: ClientId) -> sqlx::Result<Option<SignedHead>> {
    let rows = sqlx::query!(
        r#"
        select h.seq, h.chain_hash, h.at, h.signature, h.public_key
          from es.signed_heads h
          join es.events e on e.client_id = h.client_id and e.client_seq = h.seq and e.chain_hash = h.chain_hash
         where h.client_id = $1
         order by h.seq desc, h.at desc
         limit 20
        "#,
        client.0
    )
    .fetch_all(db)
    .await?;
    let heads = rows.into_iter().map(|row| SignedHead {
        head: Head {
            client_id: client,
            seq: row.seq as u64,
            chain_hash: hex::encode(row.chain_hash),
            at: row.at.into(),
        },
        signature: Some(hex::encode(row.signature)),
        public_key: Some(hex::encode(row.public_key)),
    });
    Ok(heads.into_iter().find(SignedHead::is_consistent))
}
