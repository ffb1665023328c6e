//! Where a client's channels lead: URLs, tokens, addresses. They are sealed as exchange keys are, under the client's data
//! key, and opened each time a message goes out; that it did stands in the stream.

use events::{ChannelId, ClientId, CommandId, SealedId, credential::Misfit};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor};
use zeroize::Zeroizing;

use crate::{
    data_key::DataKey,
    ring::{KekId, KeyRing},
    token::Unopened,
    vault::{Vault, VaultError},
    wrapped::{NoDataKey, Wrapped},
};

const VERSION: u8 = 1;
const ROOM_BYTES: usize = 8 * 1_024;
/// The longest text that may be sealed.
pub const TARGET_BYTES_MAX: usize = 2_048;

/// A target that was sealed.
#[derive(Debug, Clone)]
pub struct KeptTarget {
    pub sealed: SealedId,
    /// What messages that go there are signed by; the same for the same wish.
    pub signing: SecretString,
    /// The wish that it came with, as an event may tell it.
    pub wish: CommandId,
}

/// A target, bare.
#[derive(Debug, Clone)]
pub struct OpenedTarget {
    pub text: SecretString,
    pub signing: SecretString,
}

/// Why a target was not opened.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("the vault holds nothing for this channel any more")]
    NotThere,
    #[error("what the vault holds for this channel is refused: {0}")]
    Refused(Misfit),
    #[error("ENCRYPTION_KEY lacks key {0}, which the data key of this client is wrapped by")]
    Missing(KekId),
    #[error("the vault's tables could not be reached")]
    Database(#[from] sqlx::Error),
}

/// What is sealed: the text, and all that it belongs to.
#[derive(Serialize)]
struct Written<'a> {
    v: u8,
    client_id: ClientId,
    channel_id: ChannelId,
    sealed_id: SealedId,
    text: &'a str,
}

/// The same, opened.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    v: u8,
    client_id: ClientId,
    channel_id: ChannelId,
    sealed_id: SealedId,
    text: SecretString,
}

/// A row, and the key that it is sealed under.
struct Row {
    client: ClientId,
    channel: ChannelId,
    sealed: SealedId,
    ciphertext: String,
    key: Wrapped,
}

impl Vault {
    /// Seals where a channel leads, for an event that is to tell of it. The same wish under the same key finds its own row.
    pub async fn put_target(
        &self,
        client: ClientId,
        channel: ChannelId,
        text: &SecretString,
        key: &str,
        wish: CommandId,
    ) -> Result<KeptTarget, VaultError> {
        let mut tx = self.db.begin().await?;
        let wrapped = Wrapped::of_client(&mut tx, client, &self.ring).await?;
        let data_key = wrapped.unwrap(&self.ring).map_err(|why| VaultError::no_data_key(client, why))?;
        let sealed = SealedId(data_key.id(b"target", &[channel.0.as_bytes(), key.as_bytes(), wish.0.as_bytes()]));
        let plain = written(client, channel, sealed, text);
        keep(&mut tx, client, channel, sealed, &data_key.seal(&plain)).await?;
        tx.commit().await?;
        let wish = CommandId(data_key.id(b"wish", &[wish.0.as_bytes()]));
        Ok(KeptTarget { sealed, signing: data_key.signing(sealed), wish })
    }

    /// Opens where a channel leads.
    pub async fn open_target(
        &self,
        client: ClientId,
        channel: ChannelId,
        sealed: SealedId,
    ) -> Result<OpenedTarget, TargetError> {
        let row = find(&self.db, client, channel, sealed).await?.ok_or(TargetError::NotThere)?;
        row.unlock(&self.ring)
    }

    /// Shreds what was sealed for a channel under these ids; how much there was.
    pub async fn forget_target(
        &self,
        client: ClientId,
        channel: ChannelId,
        sealed: &[SealedId],
    ) -> Result<u64, VaultError> {
        let mut tx = self.db.begin().await?;
        let gone = forget(&mut tx, client, Some((channel, sealed))).await?;
        tx.commit().await?;
        Ok(gone)
    }

    /// How many targets open and fit, and of which channels they do not.
    pub(crate) async fn check_targets(&self) -> Result<(u64, Vec<(ClientId, ChannelId)>), TargetError> {
        let (mut fine, mut unfit) = (0, Vec::new());
        for row in all(&self.db).await? {
            match row.unlock(&self.ring) {
                Ok(_) => fine += 1,
                Err(TargetError::Missing(kek)) => return Err(TargetError::Missing(kek)),
                Err(_) => unfit.push((row.client, row.channel)),
            }
        }
        Ok((fine, unfit))
    }
}

impl Row {
    fn unlock(&self, ring: &KeyRing) -> Result<OpenedTarget, TargetError> {
        let unreadable = |_: Unopened| TargetError::Refused(Misfit::Unreadable);
        let data_key: DataKey = self.key.unwrap(ring).map_err(|why| match why {
            NoDataKey::Missing(kek) => TargetError::Missing(kek),
            NoDataKey::Bad(_) => TargetError::Refused(Misfit::Unreadable),
        })?;
        let plain = data_key.open(&self.ciphertext).map_err(unreadable)?;
        // What serde says of it may repeat some of it.
        let plain: Plain = serde_json::from_slice(&plain).map_err(|_| TargetError::Refused(Misfit::Unreadable))?;
        match plain.misfit(self) {
            Some(misfit) => Err(TargetError::Refused(misfit)),
            None => Ok(OpenedTarget { text: plain.text, signing: data_key.signing(self.sealed) }),
        }
    }
}

impl Plain {
    /// What it says of itself that its row does not.
    fn misfit(&self, row: &Row) -> Option<Misfit> {
        if self.v != VERSION {
            Some(Misfit::Unreadable)
        } else if self.client_id != row.client {
            Some(Misfit::Client)
        } else if (self.channel_id, self.sealed_id) != (row.channel, row.sealed) {
            Some(Misfit::Values)
        } else {
            None
        }
    }
}

fn written(client: ClientId, channel: ChannelId, sealed: SealedId, text: &SecretString) -> Zeroizing<Vec<u8>> {
    let text = text.expose_secret();
    let written = Written { v: VERSION, client_id: client, channel_id: channel, sealed_id: sealed, text };
    let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM_BYTES));
    serde_json::to_writer(&mut *bytes, &written).expect("texts have a JSON form");
    bytes
}

async fn keep(
    tx: &mut PgConnection,
    client: ClientId,
    channel: ChannelId,
    sealed: SealedId,
    ciphertext: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into vault.targets (client_id, channel_id, sealed_id, ciphertext)
        values ($1, $2, $3, $4)
        on conflict do nothing
        "#,
        client.0,
        channel.0,
        sealed.0,
        ciphertext
    )
    .execute(tx)
    .await
    .map(drop)
}

async fn find(
    db: impl PgExecutor<'_>,
    client: ClientId,
    channel: ChannelId,
    sealed: SealedId,
) -> sqlx::Result<Option<Row>> {
    let row = sqlx::query!(
        r#"
        select t.ciphertext, k.kek_id, k.wrapped
          from vault.targets t
          join vault.data_keys k on k.client_id = t.client_id
         where t.client_id = $1 and t.channel_id = $2 and t.sealed_id = $3
        "#,
        client.0,
        channel.0,
        sealed.0
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        let key = Wrapped { client, kek: KekId::stored(&row.kek_id), token: row.wrapped };
        Row { client, channel, sealed, ciphertext: row.ciphertext, key }
    }))
}

async fn all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Row>> {
    let rows = sqlx::query!(
        r#"
        select t.client_id, t.channel_id, t.sealed_id, t.ciphertext, k.kek_id as "kek_id?", k.wrapped as "wrapped?"
          from vault.targets t
          left join vault.data_keys k on k.client_id = t.client_id
         order by t.client_id, t.channel_id, t.sealed_id
        "#
    )
    .fetch_all(db)
    .await?;
    let row = rows.into_iter().map(|row| {
        let client = ClientId(row.client_id);
        let kek = KekId::stored(&row.kek_id.unwrap_or_default());
        let key = Wrapped { client, kek, token: row.wrapped.unwrap_or_default() };
        let (channel, sealed) = (ChannelId(row.channel_id), SealedId(row.sealed_id));
        Row { client, channel, sealed, ciphertext: row.ciphertext, key }
    });
    Ok(row.collect())
}

/// Overwrites and deletes what was sealed for a channel under these ids, or for all of a client's.
pub(crate) async fn forget(
    tx: &mut PgConnection,
    client: ClientId,
    only: Option<(ChannelId, &[SealedId])>,
) -> sqlx::Result<u64> {
    let channel = only.map(|(channel, _)| channel.0);
    let sealed: Option<Vec<uuid::Uuid>> = only.map(|(_, sealed)| sealed.iter().map(|sealed| sealed.0).collect());
    sqlx::query!(
        "update vault.targets set ciphertext = ''
          where client_id = $1 and channel_id = coalesce($2, channel_id)
            and ($3::uuid[] is null or sealed_id = any($3))",
        client.0,
        channel,
        sealed.as_deref()
    )
    .execute(&mut *tx)
    .await?;
    let gone = sqlx::query!(
        "delete from vault.targets where client_id = $1 and channel_id = coalesce($2, channel_id) and ciphertext = ''",
        client.0,
        channel
    )
    .execute(tx)
    .await?;
    Ok(gone.rows_affected())
}
