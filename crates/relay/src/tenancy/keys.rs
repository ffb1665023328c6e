//! Which keys a process has. What one process does not need, it is not given.
//!
//! | key | in | whoever has it can |
//! | --- | --- | --- |
//! | operator | `offline/operator.nk` | do everything on NATS, for ever |
//! | PIPELABS | `offline/pipelabs.nk` | let anybody into our account: read, change and remove every client's copy |
//! | SYS | `offline/system.nk` | let anybody into the system account |
//! | clients | `relay.keys` | sign accounts in the operator's name, until the operator takes it back |
//! | exports | `relay.keys` | let accounts import from PIPELABS; no user of PIPELABS |
//! | relay, system | `relay.keys` | publish, and make streams and consumers; tell servers of accounts |
//! | accounts | `relay.keys`, `api.keys` | let users into clients' accounts, each of which sees its client alone |
//!
//! A client's account has no key that is kept anywhere: it follows from `accounts` and the client's id.

use std::{collections::BTreeMap, fmt};

use async_nats::{AuthError, ConnectOptions};
use events::ClientId;
use hkdf::Hkdf;
use nkeys::{KeyPair, KeyPairType};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::claims::Exporter;

/// What the keys of clients' accounts follow from.
#[derive(Clone)]
pub struct AccountKeys(Zeroizing<[u8; 32]>);

/// All that role relay has.
pub struct RelayKeys {
    pub(crate) accounts: AccountKeys,
    /// Signs clients' accounts in the operator's name.
    pub(crate) clients: KeyPair,
    /// The public half of our own account.
    pipelabs: String,
    exports: KeyPair,
    relay: Login,
    system: Login,
}

/// A user who may connect.
struct Login {
    jwt: SecretString,
    key: KeyPair,
}

/// Keys that will not do. No key is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join(", "))]
pub struct BadKeys(Vec<String>);

/// Names of keys in a text of them.
pub(crate) const ACCOUNTS: &str = "accounts";
pub(crate) const CLIENTS: &str = "clients";
pub(crate) const PIPELABS: &str = "pipelabs";
pub(crate) const EXPORTS: &str = "exports";
pub(crate) const RELAY: [&str; 2] = ["relay_jwt", "relay_seed"];
pub(crate) const SYSTEM: [&str; 2] = ["system_jwt", "system_seed"];

impl AccountKeys {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// From a text of `name=value`, apart by blanks or line ends, as `pipelabs nats bootstrap` wrote it.
    pub fn read(text: &SecretString) -> Result<Self, BadKeys> {
        let mut given = Given::read(text);
        let accounts = given.accounts();
        given.complete(accounts)
    }

    /// The key of a client's account.
    pub(crate) fn of(&self, client: ClientId) -> KeyPair {
        let mut seed = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"pipelabs nats accounts"), &*self.0)
            .expand(client.0.as_bytes(), &mut *seed)
            .expect("32 bytes are within what HKDF gives");
        KeyPair::new_from_raw(KeyPairType::Account, *seed).expect("any 32 bytes are a seed")
    }
}

impl RelayKeys {
    /// From a text as [`AccountKeys::read`] takes it.
    pub fn read(text: &SecretString) -> Result<Self, BadKeys> {
        let mut given = Given::read(text);
        let (accounts, clients) = (given.accounts(), given.key(CLIENTS, KeyPairType::Operator));
        let (pipelabs, exports) = (given.public(PIPELABS), given.key(EXPORTS, KeyPairType::Account));
        let (relay, system) = (given.login(RELAY), given.login(SYSTEM));
        let all = (accounts, clients, pipelabs, exports, relay, system);
        let (Some(accounts), Some(clients), Some(pipelabs), Some(exports), Some(relay), Some(system)) = all else {
            return Err(BadKeys(given.problems));
        };
        Ok(Self { accounts, clients, pipelabs, exports, relay, system })
    }

    /// What role api has of them.
    pub fn accounts(&self) -> AccountKeys {
        self.accounts.clone()
    }

    pub(crate) fn exporter(&self) -> Exporter<'_> {
        Exporter { account: &self.pipelabs, tokens: &self.exports }
    }

    /// Into our own account, to publish.
    pub(crate) fn as_relay(&self) -> ConnectOptions {
        self.relay.options().custom_inbox_prefix(super::bootstrap::RELAY_INBOX)
    }

    /// Into the system account, to tell of accounts.
    pub(crate) fn as_system(&self) -> ConnectOptions {
        self.system.options().custom_inbox_prefix(super::bootstrap::SYSTEM_INBOX)
    }
}

impl Login {
    fn options(&self) -> ConnectOptions {
        let key = self.key.clone();
        ConnectOptions::with_jwt(self.jwt.expose_secret().to_owned(), move |nonce| {
            let signed = key.sign(&nonce).map_err(AuthError::new);
            std::future::ready(signed)
        })
    }
}

/// A text of keys, and what was found to be wrong with it.
struct Given {
    keys: BTreeMap<String, SecretString>,
    problems: Vec<String>,
}

impl Given {
    fn read(text: &SecretString) -> Self {
        let pairs = text.expose_secret().split_whitespace().filter_map(|pair| pair.split_once('='));
        let keys = pairs.map(|(name, value)| (name.to_owned(), value.into())).collect();
        Self { keys, problems: Vec::new() }
    }

    fn complete<T>(self, read: Option<T>) -> Result<T, BadKeys> {
        read.ok_or(BadKeys(self.problems))
    }

    /// One of them, read; what is missing or does not read is noted.
    fn one<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let found = match self.keys.get(name) {
            Some(value) => read(value.expose_secret()).ok_or_else(|| format!("{name} cannot be read")),
            None => Err(format!("{name} is missing")),
        };
        found.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn accounts(&mut self) -> Option<AccountKeys> {
        self.one(ACCOUNTS, |hex| Some(AccountKeys::new(hex::decode(hex).ok()?.try_into().ok()?)))
    }

    fn key(&mut self, name: &str, kind: KeyPairType) -> Option<KeyPair> {
        self.one(name, |seed| KeyPair::from_seed(seed).ok().filter(|key| key.key_pair_type() == kind))
    }

    fn public(&mut self, name: &str) -> Option<String> {
        self.one(name, |key| {
            let read = KeyPair::from_public_key(key).ok()?;
            (read.key_pair_type() == KeyPairType::Account).then(|| key.to_owned())
        })
    }

    fn login(&mut self, [jwt, seed]: [&str; 2]) -> Option<Login> {
        let jwt = self.one(jwt, |jwt| (jwt.split('.').count() == 3).then(|| jwt.into()));
        let key = self.key(seed, KeyPairType::User);
        Some(Login { jwt: jwt?, key: key? })
    }
}

impl fmt::Debug for AccountKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKeys")
    }
}

impl fmt::Debug for RelayKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayKeys")
    }
}

#[cfg(test)]
mod tests {
    use events::{Time, Uuid};

    use super::{super::bootstrap::bootstrap, *};

    #[test]
    fn a_client_has_one_account_and_no_two_have_the_same() {
        let keys = AccountKeys::new([7; 32]);
        let id = |n| keys.of(ClientId(Uuid::from_u128(n))).public_key();
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
        assert_ne!(id(1), AccountKeys::new([8; 32]).of(ClientId(Uuid::from_u128(1))).public_key());
        assert!(id(1).starts_with('A'));
    }

    #[test]
    fn what_bootstrap_writes_reads_and_each_role_gets_what_it_needs_and_no_more() {
        let made = bootstrap("/data/accounts", Time::EPOCH);
        let of_one = |keys: &AccountKeys| keys.of(ClientId(Uuid::from_u128(1))).public_key();
        let relay = RelayKeys::read(&made.relay).unwrap();
        let api = AccountKeys::read(&made.api).unwrap();
        assert_eq!(of_one(&relay.accounts), of_one(&api));
        let told = RelayKeys::read(&made.api).unwrap_err().to_string();
        for name in [CLIENTS, PIPELABS, EXPORTS, "relay_jwt", "relay_seed", "system_jwt", "system_seed"] {
            assert!(told.contains(&format!("{name} is missing")), "{told}");
        }
        assert!(!told.contains(ACCOUNTS), "{told}");
        // On one line, as an environment may hold it.
        let line = made.relay.expose_secret().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(RelayKeys::read(&line.into()).is_ok());
    }

    #[test]
    fn a_key_of_another_kind_or_a_damaged_one_is_named_and_not_repeated() {
        let made = bootstrap("/data/accounts", Time::EPOCH);
        let text = made.relay.expose_secret();
        let user = KeyPair::new_user().seed().unwrap();
        let damaged = text.lines().map(|line| match line.split_once('=') {
            Some((CLIENTS, _)) => format!("{CLIENTS}={user}"),
            Some((ACCOUNTS, _)) => format!("{ACCOUNTS}=hunter22"),
            _ => line.to_owned(),
        });
        let told = RelayKeys::read(&damaged.collect::<Vec<_>>().join("\n").into()).unwrap_err().to_string();
        assert_eq!(told, "accounts cannot be read, clients cannot be read");
        assert_eq!(format!("{:?}", AccountKeys::new([7; 32])), "AccountKeys");
    }
}
