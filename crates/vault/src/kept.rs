//! The table of sealed values.

use events::{ClientId, CredentialId, SealedId};
use sqlx::{PgConnection, PgExecutor};

use crate::{place::Place, ring::KekId, wrapped::Wrapped};

/// Sealed values, and the key that they are sealed under.
pub(crate) struct Row {
    pub place: Place,
    pub ciphertext: String,
    pub key: Wrapped,
}

/// Values that may be of no use to anybody: no event is known to tell of them, because somebody died between the row and
/// the event or was refused; or others of the same credential have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubtful(pub Place);

/// No wish is under way for so long: what is not claimed by then is an orphan.
pub(crate) const UNDER_WAY_MAX_S: i32 = 3_600;

/// Keeps values. The same ones again only become young again, so that no sweep takes them away from who is at it.
pub(crate) async fn keep(tx: &mut PgConnection, place: Place, ciphertext: &str) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into vault.credentials (client_id, credential_id, sealed_id, ciphertext)
        values ($1, $2, $3, $4)
        on conflict (client_id, credential_id, sealed_id) do update
        set sealed_at = now()
        "#,
        place.client.0,
        place.credential.0,
        place.sealed.0,
        ciphertext
    )
    .execute(tx)
    .await
    .map(drop)
}

pub(crate) async fn find(db: impl PgExecutor<'_>, place: Place) -> sqlx::Result<Option<Row>> {
    let row = sqlx::query!(
        r#"
        select c.ciphertext, k.kek_id, k.wrapped
          from vault.credentials c
          join vault.data_keys k on k.client_id = c.client_id
         where c.client_id = $1 and c.credential_id = $2 and c.sealed_id = $3
        "#,
        place.client.0,
        place.credential.0,
        place.sealed.0
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        let key = Wrapped { client: place.client, kek: KekId::stored(&row.kek_id), token: row.wrapped };
        Row { place, ciphertext: row.ciphertext, key }
    }))
}

/// All of them, in order, after a place.
pub(crate) async fn after(db: impl PgExecutor<'_>, place: Option<Place>, most: i64) -> sqlx::Result<Vec<Row>> {
    let rows = sqlx::query!(
        r#"
        select c.client_id, c.credential_id, c.sealed_id, c.ciphertext, k.kek_id as "kek_id?", k.wrapped as "wrapped?"
          from vault.credentials c
          left join vault.data_keys k on k.client_id = c.client_id
         where $1::uuid is null or (c.client_id, c.credential_id, c.sealed_id) > ($1, $2, $3)
         order by c.client_id, c.credential_id, c.sealed_id
         limit $4
        "#,
        place.map(|place| place.client.0),
        place.map(|place| place.credential.0),
        place.map(|place| place.sealed.0),
        most
    )
    .fetch_all(db)
    .await?;
    let row = rows.into_iter().map(|row| {
        let client = ClientId(row.client_id);
        let place = Place { client, credential: CredentialId(row.credential_id), sealed: SealedId(row.sealed_id) };
        let kek = KekId::stored(&row.kek_id.unwrap_or_default());
        Row { place, ciphertext: row.ciphertext, key: Wrapped { client, kek, token: row.wrapped.unwrap_or_default() } }
    });
    Ok(row.collect())
}

pub(crate) async fn count(db: impl PgExecutor<'_>) -> sqlx::Result<u64> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from vault.credentials"#).fetch_one(db).await?;
    Ok(count.unsigned_abs())
}

/// Notes that an event tells of these values.
pub(crate) async fn claim(db: impl PgExecutor<'_>, place: Place) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update vault.credentials
           set claimed = true
         where client_id = $1 and credential_id = $2 and sealed_id = $3
        "#,
        place.client.0,
        place.credential.0,
        place.sealed.0
    )
    .execute(db)
    .await
    .map(drop)
}

pub(crate) async fn doubtful(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Doubtful>> {
    let rows = sqlx::query!(
        r#"
        select c.client_id, c.credential_id, c.sealed_id
          from vault.credentials c
         where c.sealed_at < now() - $1::int * interval '1 second'
           and (not c.claimed
                or exists (select from vault.credentials o
                            where o.client_id = c.client_id and o.credential_id = c.credential_id
                              and o.sealed_id <> c.sealed_id))
        "#,
        UNDER_WAY_MAX_S
    )
    .fetch_all(db)
    .await?;
    let place = rows.into_iter().map(|row| Place {
        client: ClientId(row.client_id),
        credential: CredentialId(row.credential_id),
        sealed: SealedId(row.sealed_id),
    });
    Ok(place.map(Doubtful).collect())
}

/// Takes one set of values away, unless it became young again.
pub(crate) async fn sweep(db: impl PgExecutor<'_>, place: Place) -> sqlx::Result<bool> {
    let swept = sqlx::query!(
        r#"
        delete from vault.credentials
         where client_id = $1 and credential_id = $2 and sealed_id = $3
           and sealed_at < now() - $4::int * interval '1 second'
        "#,
        place.client.0,
        place.credential.0,
        place.sealed.0,
        UNDER_WAY_MAX_S
    )
    .execute(db)
    .await?;
    Ok(swept.rows_affected() > 0)
}

/// Overwrites and deletes the values of a credential. One whose event may still be under way is left to the sweep: an
/// event without its row cannot be.
pub(crate) async fn forget(tx: &mut PgConnection, client: ClientId, credential: CredentialId) -> sqlx::Result<u64> {
    sqlx::query!(
        r#"
        update vault.credentials
           set ciphertext = ''
         where client_id = $1 and credential_id = $2
           and (claimed or sealed_at < now() - $3::int * interval '1 second')
        "#,
        client.0,
        credential.0,
        UNDER_WAY_MAX_S
    )
    .execute(&mut *tx)
    .await?;
    let gone = sqlx::query!(
        "delete from vault.credentials where client_id = $1 and credential_id = $2 and ciphertext = ''",
        client.0,
        credential.0
    )
    .execute(tx)
    .await?;
    Ok(gone.rows_affected())
}

/// Overwrites and deletes all values of a client.
pub(crate) async fn forget_all(tx: &mut PgConnection, client: ClientId) -> sqlx::Result<u64> {
    sqlx::query!("update vault.credentials set ciphertext = '' where client_id = $1", client.0)
        .execute(&mut *tx)
        .await?;
    let gone = sqlx::query!("delete from vault.credentials where client_id = $1", client.0).execute(tx).await?;
    Ok(gone.rows_affected())
}
