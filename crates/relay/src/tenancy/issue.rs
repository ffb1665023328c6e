//! Credentials of subscribers: told once, kept nowhere.

use std::fmt;

use events::{
    ClientId, SubscriptionId, Time,
    subscription::{BadNkey, UserNkey},
};
use nkeys::KeyPair;
use secrecy::{ExposeSecret, SecretString};

use super::{claims, keys::AccountKeys};
use crate::address::Address;

/// Lets users into clients' accounts.
#[derive(Debug, Clone)]
pub struct Issuer(AccountKeys);

/// A subscriber's own nkey, made here because it brought none. Its secret half is told once.
pub struct OwnKey(KeyPair);

impl Issuer {
    pub fn new(keys: AccountKeys) -> Self {
        Self(keys)
    }

    /// What lets this user follow by this subscription until then. It is no secret: without the user's seed it opens
    /// nothing.
    pub fn jwt(
        &self,
        client: ClientId,
        subscription: SubscriptionId,
        user: &UserNkey,
        from: Time,
        until: Time,
    ) -> String {
        claims::subscriber(&self.0.of(client), &Address::of(client, subscription), user, from, until)
    }
}

impl OwnKey {
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        Self(KeyPair::new_user())
    }

    /// Its public half.
    pub fn public(&self) -> UserNkey {
        self.0.public_key().parse().expect("the public half of a user's nkey has its form")
    }

    /// Both halves as one text, as programs that speak NATS take it.
    pub fn creds(&self, jwt: &str) -> SecretString {
        creds(jwt, &self.0)
    }
}

/// Whether NATS would know this key: its form alone tells little.
pub fn check_nkey(user: &UserNkey) -> Result<(), BadNkey> {
    KeyPair::from_public_key(user.as_str()).map(drop).map_err(|_| BadNkey::Shape)
}

pub(crate) fn creds(jwt: &str, user: &KeyPair) -> SecretString {
    let seed = SecretString::from(user.seed().expect("a key that was just made has a seed"));
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        seed.expose_secret()
    )
    .into()
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnKey({})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use async_nats::ConnectOptions;

    use super::*;

    #[test]
    fn credentials_are_read_by_whoever_speaks_nats_and_show_no_seed() {
        let key = OwnKey::new();
        let creds = key.creds("a.b.c");
        assert!(ConnectOptions::with_credentials(creds.expose_secret()).is_ok());
        let seed = key.0.seed().unwrap();
        assert!(creds.expose_secret().contains(&seed));
        assert!(!format!("{creds:?} {key:?}").contains(&seed[2..]));
    }

    #[test]
    fn a_key_whose_check_digits_are_wrong_is_none() {
        let key = OwnKey::new().public();
        assert_eq!(check_nkey(&key), Ok(()));
        let end = if key.as_str().ends_with('A') { "B" } else { "A" };
        let other: UserNkey = format!("{}{end}", &key.as_str()[..55]).parse().unwrap();
        assert_eq!(check_nkey(&other), Err(BadNkey::Shape));
    }
}
