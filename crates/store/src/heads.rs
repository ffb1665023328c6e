//! Heads, signed outside the database: a superuser can recompute a chain, but not this signature.

use ed25519_dalek::SigningKey;
use events::{
    ClientId, Time,
    export::{Head, SignedHead},
};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

/// Where a client's stream stands now; `None` for a stream without events.
pub async fn head(db: impl PgExecutor<'_>, client: ClientId, at: Time) -> sqlx::Result<Option<Head>> {
    let row =
        sqlx::query!("select head, head_hash, updated_at from es.streams where client_id = $1 and head > 0", client.0)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|row| Head {
        client_id: client,
        seq: row.head as u64,
        chain_hash: hex::encode(row.head_hash),
        at: at.max(row.updated_at.into()),
    }))
}

/// Signs every head that moved since its last signature, and keeps the signatures. Returns the new ones.
pub async fn sign_heads(projector: &PgPool, key: &SigningKey, at: Time) -> sqlx::Result<Vec<SignedHead>> {
    let public_key = key.verifying_key();
    let moved = sqlx::query!(
        r#"
        select s.client_id, s.head, s.head_hash, s.updated_at
          from es.streams s
         where s.head > 0
           and not exists (select from es.signed_heads h
                            where h.client_id = s.client_id and h.seq = s.head and h.public_key = $1)
        "#,
        public_key.as_bytes()
    )
    .fetch_all(projector)
    .await?;
    let signed = moved.into_iter().map(|row| {
        let (client_id, chain_hash) = (ClientId(row.client_id), hex::encode(row.head_hash));
        let head = Head { client_id, seq: row.head as u64, chain_hash, at: at.max(row.updated_at.into()) };
        SignedHead::sign(head, key)
    });
    let signed: Vec<SignedHead> = signed.collect();
    keep(projector, &signed).await?;
    Ok(signed)
}

/// Signs the present head of one client's stream and keeps the signature; absent for a stream without events.
pub async fn sign_head(
    projector: &PgPool,
    client: ClientId,
    key: &SigningKey,
    at: Time,
) -> sqlx::Result<Option<SignedHead>> {
    let Some(head) = head(projector, client, at).await? else { return Ok(None) };
    let signed = SignedHead::sign(head, key);
    keep(projector, std::slice::from_ref(&signed)).await?;
    Ok(Some(signed))
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

/// The newest signed head of a client's stream.
pub async fn latest_signed(db: impl PgExecutor<'_>, client: ClientId) -> sqlx::Result<Option<SignedHead>> {
    let row = sqlx::query!(
        r#"
        select seq, chain_hash, at, signature, public_key
          from es.signed_heads
         where client_id = $1
         order by seq desc, at desc
         limit 1
        "#,
        client.0
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| SignedHead {
        head: Head {
            client_id: client,
            seq: row.seq as u64,
            chain_hash: hex::encode(row.chain_hash),
            at: row.at.into(),
        },
        signature: Some(hex::encode(row.signature)),
        public_key: Some(hex::encode(row.public_key)),
    }))
}
