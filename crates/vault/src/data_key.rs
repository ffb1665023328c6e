//! A client's data key: 32 random bytes that its secrets are sealed under, and that all that is told of them comes from.

use std::fmt;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use events::{
    ClientId, SealedId, Uuid,
    credential::{Fingerprint, Misfit},
};
use fernet::Fernet;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::token::{self, Unopened};

/// A shorter API key would be half told by its last four characters.
const LAST_FOUR_FROM: usize = 12;

/// A client's data key, bare. Lives as long as one call.
pub(crate) struct DataKey {
    bytes: Zeroizing<[u8; 32]>,
    fernet: Fernet,
}

/// What is wrapped: the key, and whose it is, because a wrapped key can be moved to any row.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound<'a> {
    client_id: ClientId,
    key: &'a str,
}

/// Why a wrapped key is not the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadWrap {
    Unopened(Unopened),
    Misfit(Misfit),
}

impl DataKey {
    pub fn new() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes);
        Self::of(bytes)
    }

    fn of(bytes: Zeroizing<[u8; 32]>) -> Self {
        let text = Zeroizing::new(URL_SAFE.encode(bytes.as_slice()));
        Self { fernet: Fernet::new(&text).expect("32 bytes make a key"), bytes }
    }

    /// Under a key of the ring.
    pub fn wrap(&self, client: ClientId, kek: &Fernet) -> String {
        let key = Zeroizing::new(URL_SAFE.encode(self.bytes.as_slice()));
        let bound = Bound { client_id: client, key: &key };
        let mut text = Zeroizing::new(Vec::with_capacity(256));
        serde_json::to_writer(&mut *text, &bound).expect("texts have a JSON form");
        kek.encrypt(&text)
    }

    pub fn unwrap(client: ClientId, wrapped: &str, kek: &Fernet) -> Result<Self, BadWrap> {
        let unreadable = BadWrap::Misfit(Misfit::Unreadable);
        let text = token::open(kek, wrapped).map_err(BadWrap::Unopened)?;
        let bound: Bound<'_> = serde_json::from_slice(&text).map_err(|_| unreadable)?;
        if bound.client_id != client {
            return Err(BadWrap::Misfit(Misfit::Client));
        }
        let bytes = Zeroizing::new(URL_SAFE.decode(bound.key).map_err(|_| unreadable)?);
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| unreadable)?;
        Ok(Self::of(Zeroizing::new(bytes)))
    }

    pub fn seal(&self, plain: &[u8]) -> String {
        self.fernet.encrypt(plain)
    }

    pub fn open(&self, sealed: &str) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        token::open(&self.fernet, sealed)
    }

    /// The data key and not `SECRET_KEY` or the ring makes it: it survives a rotation of both, so a key that is given again
    /// is known again; two clients with one API key do not learn of each other; and it can be tried out no more once the
    /// data key is destroyed.
    pub fn fingerprint(&self, api_key: &SecretString) -> Fingerprint {
        let hash = self.keyed(b"fingerprint", &[api_key.expose_secret().as_bytes()]);
        Fingerprint::of(hash[..8].try_into().expect("a hash has 32 bytes"))
    }

    /// An id that follows from these parts, and tells nothing of them to who has not the key.
    pub fn id(&self, of: &[u8], parts: &[&[u8]]) -> Uuid {
        let hash = self.keyed(of, parts);
        Uuid::new_v8(hash[..16].try_into().expect("a hash has 32 bytes"))
    }

    /// What messages to a target are signed by, as Standard Webhooks writes it: it follows from the target, so that it lies
    /// nowhere.
    pub fn signing(&self, sealed: SealedId) -> SecretString {
        let key = Zeroizing::new(self.keyed(b"signing", &[sealed.0.as_bytes()]));
        format!("whsec_{}", Zeroizing::new(STANDARD.encode(*key)).as_str()).into()
    }

    fn keyed(&self, of: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"pipelabs vault"), &*self.bytes)
            .expand(of, &mut *key)
            .expect("32 bytes are within what HKDF gives");
        let mut mac = Hmac::<Sha256>::new_from_slice(&*key).expect("any length will do");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// The last four characters of an API key that is long enough.
pub(crate) fn last_four(api_key: &SecretString) -> Option<String> {
    let characters: Zeroizing<Vec<char>> = Zeroizing::new(api_key.expose_secret().chars().collect());
    (characters.len() >= LAST_FOUR_FROM).then(|| characters[characters.len() - 4..].iter().collect())
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kek() -> Fernet {
        Fernet::new(&Fernet::generate_key()).unwrap()
    }

    #[test]
    fn a_wrapped_key_is_of_use_to_its_client_and_under_its_kek_alone() {
        let (client, other, kek, key) = (ClientId::new(), ClientId::new(), kek(), DataKey::new());
        let wrapped = key.wrap(client, &kek);
        assert_eq!(DataKey::unwrap(client, &wrapped, &kek).unwrap().bytes, key.bytes);
        assert_eq!(DataKey::unwrap(other, &wrapped, &kek).unwrap_err(), BadWrap::Misfit(Misfit::Client));
        let stranger = DataKey::unwrap(client, &wrapped, &self::kek());
        assert_eq!(stranger.unwrap_err(), BadWrap::Unopened(Unopened::Wrong));
    }

    #[test]
    fn a_fingerprint_survives_another_ring_and_differs_between_clients() {
        let (client, key) = (ClientId::new(), DataKey::new());
        let (old, new) = (kek(), kek());
        let rewrapped = DataKey::unwrap(client, &key.wrap(client, &old), &old).unwrap().wrap(client, &new);
        let after = DataKey::unwrap(client, &rewrapped, &new).unwrap();
        let api_key = "an-api-key-that-is-none".into();
        assert_eq!(key.fingerprint(&api_key), after.fingerprint(&api_key));
        assert_ne!(key.fingerprint(&api_key), key.fingerprint(&"another".into()));
        assert_ne!(key.fingerprint(&api_key), DataKey::new().fingerprint(&api_key));
    }

    #[test]
    fn the_last_four_of_a_short_key_are_not_told() {
        assert_eq!(last_four(&"12345678abc".into()), None);
        assert_eq!(last_four(&"12345678abcd".into()).as_deref(), Some("abcd"));
        assert_eq!(last_four(&"12345678äöüß".into()).as_deref(), Some("äöüß"));
        assert!(!format!("{:?}", DataKey::new()).contains("bytes"));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_under_its_key_alone(plain in prop::collection::vec(any::<u8>(), 0..300)) {
            let (key, other) = (DataKey::new(), DataKey::new());
            let sealed = key.seal(&plain);
            prop_assert_eq!(&**key.open(&sealed).unwrap(), &*plain);
            prop_assert_eq!(other.open(&sealed), Err(Unopened::Wrong));
        }
    }
}
