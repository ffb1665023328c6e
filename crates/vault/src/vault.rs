//! The vault, from a caller's side: values go in, are claimed by an event, and are forgotten.

use std::fmt;

use events::{ClientId, CommandId, CredentialId, SealedId, credential::Values};
use sqlx::PgPool;
use store::Streams;

use crate::{
    data_key::{BadWrap, last_four},
    kept::{self, Doubtful},
    place::Place,
    ring::{KekId, KeyRing},
    secrets::Secrets,
    target,
    wrapped::{self, NoDataKey, Wrapped},
};

/// Where secrets are. Made by [`Vault::boot`]; cloned freely.
#[derive(Clone)]
pub struct Vault {
    pub(crate) db: PgPool,
    pub(crate) ring: KeyRing,
    pub(crate) streams: Streams,
}

/// Values that were sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where they lie.
    pub place: Place,
    /// What an event may tell of them.
    pub values: Values,
    /// The wish that they came with, as an event may tell it: a plain hash of a request would let who guesses the secrets
    /// in it see that the guess was right.
    pub wish: CommandId,
}

/// Why the vault could not do it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("ENCRYPTION_KEY lacks key {0}, which the data key of this client is wrapped by")]
    Missing(KekId),
    #[error("the data key of client {client} does not open: {why}")]
    DataKey { client: ClientId, why: String },
    #[error("the vault's tables could not be reached")]
    Database(#[from] sqlx::Error),
}

impl Vault {
    /// Seals values, for an event that is to tell of them. The row comes first: a row without its event shows nowhere and
    /// is swept; an event without its row cannot be. The same wish under the same key finds its own row again.
    pub async fn put(
        &self,
        client: ClientId,
        secrets: &Secrets,
        key: &str,
        wish: CommandId,
    ) -> Result<Kept, VaultError> {
        let credential = CredentialId::of(client, secrets.exchange, secrets.market);
        let mut tx = self.db.begin().await?;
        let wrapped = Wrapped::of_client(&mut tx, client, &self.ring).await?;
        let data_key = wrapped.unwrap(&self.ring).map_err(|why| VaultError::no_data_key(client, why))?;
        let parts: [&[u8]; 3] = [credential.0.as_bytes(), key.as_bytes(), wish.0.as_bytes()];
        let place = Place { client, credential, sealed: SealedId(data_key.id(b"sealed", &parts)) };
        let plain = place.written(secrets.exchange, secrets.market, secrets.fields());
        kept::keep(&mut tx, place, &data_key.seal(&plain)).await?;
        tx.commit().await?;
        let api_key = secrets.api_key();
        let values =
            Values { sealed: place.sealed, fingerprint: data_key.fingerprint(api_key), last_four: last_four(api_key) };
        Ok(Kept { place, values, wish: CommandId(data_key.id(b"wish", &[wish.0.as_bytes()])) })
    }

    /// Notes that an event tells of these values, so that no sweep has to look for it.
    pub async fn claim(&self, place: Place) -> Result<(), VaultError> {
        Ok(kept::claim(&self.db, place).await?)
    }

    /// Values that may be of no use. Whether an event still needs them is for the caller to find out.
    pub async fn doubtful(&self) -> Result<Vec<Doubtful>, VaultError> {
        Ok(kept::doubtful(&self.db).await?)
    }

    /// Takes values away that no event needs, unless somebody is at them again; whether it did.
    pub async fn sweep(&self, doubtful: Doubtful) -> Result<bool, VaultError> {
        Ok(kept::sweep(&self.db, doubtful.0).await?)
    }

    /// Shreds the values of a credential that is being revoked; how many sets there were. Before the event that tells it,
    /// so that whoever is killed in between does it again.
    pub async fn forget(&self, client: ClientId, credential: CredentialId) -> Result<u64, VaultError> {
        let mut tx = self.db.begin().await?;
        let gone = kept::forget(&mut tx, client, credential).await?;
        tx.commit().await?;
        Ok(gone)
    }

    /// Shreds a client's data key and all that was sealed under it; how many sets of values and targets there were. Done before, it
    /// does nothing.
    pub async fn destroy(&self, client: ClientId) -> Result<u64, VaultError> {
        let mut tx = self.db.begin().await?;
        // First, so that what is being put meanwhile is in the table by then, or finds no key.
        wrapped::destroy(&mut tx, client).await?;
        let gone = kept::forget_all(&mut tx, client).await? + target::forget(&mut tx, client, None).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

impl VaultError {
    pub(crate) fn no_data_key(client: ClientId, why: NoDataKey) -> Self {
        match why {
            NoDataKey::Missing(kek) => Self::Missing(kek),
            NoDataKey::Bad(BadWrap::Unopened(why)) => Self::DataKey { client, why: why.to_string() },
            NoDataKey::Bad(BadWrap::Misfit(misfit)) => Self::DataKey { client, why: misfit.to_string() },
        }
    }
}

/// Neither keys nor connections are shown.
impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("ring", &self.ring).finish_non_exhaustive()
    }
}
