//! Opening: recorded first, then readable; what contradicts its place is refused, and that is recorded, too.

use std::{collections::BTreeMap, fmt};

use events::{
    AggregateRef, ClientId, Exchange, Market, Time,
    credential::{CredentialEvent, Misfit, Purpose},
};
use secrecy::{ExposeSecret, SecretString};
use store::{Append, AppendError, Cause, Draft, Expected, ReadError};

use crate::{
    data_key::{BadWrap, DataKey},
    kept::{self, Row},
    place::{Place, Plain},
    ring::{KekId, KeyRing},
    token::Unopened,
    vault::Vault,
    wrapped::NoDataKey,
};

/// Values, bare. Wiped when it is dropped.
pub struct Opened {
    pub exchange: Exchange,
    pub market: Market,
    fields: BTreeMap<String, SecretString>,
}

/// Why values were not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the vault holds nothing for {0}")]
    NotThere(Place),
    #[error("what the vault holds for {place} is refused: {misfit}")]
    Refused { place: Place, misfit: Misfit },
    #[error("what the vault holds for {place} does not open: {why}")]
    Clock { place: Place, why: Unopened },
    #[error("ENCRYPTION_KEY lacks key {0}, which the data key of this client is wrapped by")]
    Missing(KekId),
    #[error("the opening could not be recorded, so nothing was opened")]
    Record(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the vault's tables could not be reached")]
    Database(#[from] sqlx::Error),
}

/// Why a row does not give its values.
pub(crate) enum Locked {
    Misfit(Misfit),
    Clock(Unopened),
    Missing(KekId),
}

impl Vault {
    /// Opens values for a purpose. Who does it, `cause` says; the client sees it in its stream.
    pub async fn open(&self, place: Place, purpose: Purpose, cause: &Cause) -> Result<Opened, OpenError> {
        let row = kept::find(&self.db, place).await?.ok_or(OpenError::NotThere(place))?;
        // One of which nothing is told is nobody's yet.
        if !self.streams.knows(place.client, &aggregate(place)).await? {
            return Err(OpenError::NotThere(place));
        }
        let (sealed, at) = (place.sealed, Time::now());
        self.record(place, CredentialEvent::CredentialOpened { sealed, purpose, at }, cause).await?;
        match row.unlock(&self.ring) {
            Ok(Plain { exchange, market, fields, .. }) => Ok(Opened { exchange, market, fields }),
            Err(Locked::Clock(why)) => Err(OpenError::Clock { place, why }),
            Err(Locked::Missing(kek)) => Err(OpenError::Missing(kek)),
            Err(Locked::Misfit(misfit)) => {
                tracing::error!(client.id = %place.client, "what the vault holds for {place} is refused: {misfit}");
                self.record(place, CredentialEvent::CredentialRefused { sealed, misfit, at }, cause).await?;
                Err(OpenError::Refused { place, misfit })
            }
        }
    }

    async fn record(&self, place: Place, event: CredentialEvent, cause: &Cause) -> Result<(), AppendError> {
        let (client, aggregate, expected): (ClientId, _, _) = (place.client, aggregate(place), Expected::Any);
        let events = vec![Draft { event: event.into(), key: None }];
        let append = Append { client, aggregate, expected, events, cause: cause.clone() };
        self.streams.committer().append(append).await.map(drop)
    }
}

fn aggregate(place: Place) -> AggregateRef {
    AggregateRef::new("credential", place.credential)
}

impl Row {
    /// The values, if they say that they belong where they were found.
    pub(crate) fn unlock(&self, ring: &KeyRing) -> Result<Plain, Locked> {
        let locked = |why| match why {
            Unopened::Clock { .. } => Locked::Clock(why),
            Unopened::Wrong => Locked::Misfit(Misfit::Unreadable),
        };
        let data_key: DataKey = self.key.unwrap(ring).map_err(|why| match why {
            NoDataKey::Missing(kek) => Locked::Missing(kek),
            NoDataKey::Bad(BadWrap::Unopened(why)) => locked(why),
            NoDataKey::Bad(BadWrap::Misfit(misfit)) => Locked::Misfit(misfit),
        })?;
        let plain = data_key.open(&self.ciphertext).map_err(locked)?;
        self.place.read(&plain).map_err(Locked::Misfit)
    }
}

impl Opened {
    /// Every field by its name in the connector's spelling, to be sent all together.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.fields.iter().map(|(name, secret)| (name.as_str(), secret))
    }

    /// A text from outside without these secrets: whom they were sent to may repeat them in an error.
    pub fn scrub(&self, text: &str) -> String {
        let long_enough = |secret: &&SecretString| secret.expose_secret().len() >= 4;
        let secrets = self.fields.values().filter(long_enough);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret.expose_secret(), "***"))
    }
}

/// The names alone.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("fields", &self.fields.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_opened_shows_nothing_and_cleans_what_others_say() {
        let secret = |text: &str| SecretString::from(text);
        let fields = [("okx_secret_key".to_owned(), secret("not-a-real-secret")), ("short".to_owned(), secret("my"))];
        let opened = Opened { exchange: Exchange::Okx, market: Market::Spot, fields: fields.into() };
        assert!(!format!("{opened:?}").contains("not-a-real"));
        assert_eq!(opened.scrub("invalid key not-a-real-secret of my"), "invalid key *** of my");
    }
}
