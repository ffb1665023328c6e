//! The key ring of `ENCRYPTION_KEY`: Fernet keys, newest first, each known by its `kek_id`.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use fernet::Fernet;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Fewer different bytes are no random key.
const KINDS_MIN: usize = 12;
/// Stands in the Fernet specification, so everybody has it.
const PUBLIC: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

/// Which key: the first 8 hex digits of the SHA-256 of its 32 bytes. Tells nothing of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KekId(Arc<str>);

/// The keys that data keys are wrapped by.
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<[(KekId, Fernet)]>,
}

/// Why a text is no key ring. Repeats nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRing {
    #[error("it is empty")]
    Empty,
    #[error("key {place} is not 32 bytes in url-safe base64, 44 characters")]
    NotFernet { place: usize },
    #[error("key {place} can be guessed")]
    Guessable { place: usize },
    #[error("keys {first} and {place} are the same")]
    Twice { first: usize, place: usize },
}

impl KeyRing {
    /// Reads a list of keys, newest first, between commas.
    pub fn parse(text: &SecretString) -> Result<Self, BadRing> {
        let text = text.expose_secret();
        if text.trim().is_empty() {
            return Err(BadRing::Empty);
        }
        let mut keys: Vec<(KekId, Fernet)> = Vec::new();
        for (key, place) in text.split(',').map(str::trim).zip(1..) {
            let (id, key) = read(key, place)?;
            if let Some(first) = keys.iter().position(|(known, _)| *known == id) {
                return Err(BadRing::Twice { first: first + 1, place });
            }
            keys.push((id, key));
        }
        Ok(Self { keys: keys.into() })
    }

    /// The one that wraps from now on.
    pub(crate) fn newest(&self) -> (&KekId, &Fernet) {
        let (id, key) = &self.keys[0];
        (id, key)
    }

    pub(crate) fn key(&self, id: &str) -> Option<&Fernet> {
        self.keys.iter().find(|(known, _)| known.as_str() == id).map(|(_, key)| key)
    }

    /// Which keys it holds, newest first.
    pub fn ids(&self) -> impl Iterator<Item = &KekId> {
        self.keys.iter().map(|(id, _)| id)
    }
}

fn read(text: &str, place: usize) -> Result<(KekId, Fernet), BadRing> {
    let not_fernet = BadRing::NotFernet { place };
    let bytes = Zeroizing::new(URL_SAFE.decode(text).map_err(|_| not_fernet.clone())?);
    let key = Fernet::new(text).filter(|_| bytes.len() == 32).ok_or(not_fernet)?;
    let kinds = bytes.iter().collect::<BTreeSet<_>>().len();
    let counts_up = bytes.windows(2).all(|two| two[1] == two[0].wrapping_add(1));
    match kinds < KINDS_MIN || counts_up || text == PUBLIC {
        true => Err(BadRing::Guessable { place }),
        false => Ok((KekId(hex::encode(&Sha256::digest(&*bytes)[..4]).into()), key)),
    }
}

impl FromStr for KeyRing {
    type Err = BadRing;

    fn from_str(text: &str) -> Result<Self, BadRing> {
        Self::parse(&text.into())
    }
}

/// Which keys it holds, and nothing of them.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl KekId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it was stored.
    pub(crate) fn stored(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> BadRing {
        text.parse::<KeyRing>().unwrap_err()
    }

    #[test]
    fn the_newest_key_comes_first_and_each_is_known_by_its_id() {
        let (newer, older) = (Fernet::generate_key(), Fernet::generate_key());
        let ring: KeyRing = format!(" {newer}, {older} ").parse().unwrap();
        let alone: KeyRing = older.parse().unwrap();
        let ids: Vec<_> = ring.ids().collect();
        assert_eq!((ids.len(), ids[1]), (2, alone.newest().0));
        assert!(ids.iter().all(|id| id.as_str().len() == 8));
        assert!(ring.key(ids[1].as_str()).is_some() && alone.key(ids[0].as_str()).is_none());
        let shown = format!("{ring:?}");
        assert!(!shown.contains(&newer[..8]) && !shown.contains(&older[..8]), "{shown}");
    }

    #[test]
    fn a_short_a_default_and_a_doubled_key_are_refused_and_not_repeated() {
        let good = Fernet::generate_key();
        let guessable = [URL_SAFE.encode([7; 32]), URL_SAFE.encode((0..32).collect::<Vec<u8>>()), PUBLIC.to_owned()];
        assert_eq!(refused(" "), BadRing::Empty);
        for bad in ["changeme", "x", &good[..43], &format!("{good}A"), "not/url+safe"] {
            assert_eq!(refused(bad), BadRing::NotFernet { place: 1 }, "{bad}");
            assert_eq!(refused(&format!("{good},{bad}")), BadRing::NotFernet { place: 2 });
        }
        for bad in guessable {
            assert_eq!(refused(&bad), BadRing::Guessable { place: 1 });
        }
        assert_eq!(refused(&format!("{good},")), BadRing::NotFernet { place: 2 });
        assert_eq!(refused(&format!("{good},{good}")), BadRing::Twice { first: 1, place: 2 });
    }
}
