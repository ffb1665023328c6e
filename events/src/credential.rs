//! A client's key to one market of one exchange: kept, tried, used, failing, taken back. Never a word of the key itself.
//!
//! A client has one credential for a market of an exchange, as the Hummingbot API keeps one. Its values change by
//! rotation: each set of values has a [`SealedId`] of its own, and what is told of a set names it, so that news of an old
//! one never passes for news of the new one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Exchange, Market, SealedId, Time};

/// A keyed hash of an API key: the same for the same key of one client, and of no use to find the key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

/// What may be told of the values of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// Which values.
    pub sealed: SealedId,
    /// Of the API key.
    pub fingerprint: Fingerprint,
    /// The last four characters of the API key; absent for one that is so short that they would tell much of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_four: Option<String>,
}

/// What values were opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To be put into the Hummingbot API.
    Connect,
    /// To be tried at the exchange.
    Verify,
}

/// What about a sealed row contradicts the place where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Misfit {
    /// It does not open under the client's key: it is damaged, or another client's.
    Unreadable,
    /// It says that it is another client's.
    Client,
    /// It says that it belongs to another credential.
    Credential,
    /// It says that it is for another exchange or market.
    Market,
    /// It says that it is another set of values.
    Values,
}

/// Facts of aggregate `credential`, keyed by the credential's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum CredentialEvent {
    /// The client gave a key; it lies sealed in the vault and is used for nothing yet.
    CredentialStored { exchange: Exchange, market: Market, values: Values, at: Time },
    /// The client gave other values. The old ones stay in use until the new ones are active.
    CredentialRotated { supersedes: SealedId, values: Values, at: Time },
    /// The exchange let these values in.
    CredentialVerified { sealed: SealedId, at: Time },
    /// The Hummingbot API trades with these values; those before them are gone.
    CredentialActive { sealed: SealedId, at: Time },
    /// These values do not do what they should.
    CredentialFailing { sealed: SealedId, reason: String, at: Time },
    /// It shall be used no more.
    CredentialRevokeRequested { reason: String, at: Time },
    /// It is out of the Hummingbot API and of the vault.
    CredentialRevoked { at: Time },
    /// Somebody opened the values; recorded before they were readable. Who it was stands in the metadata.
    CredentialOpened { sealed: SealedId, purpose: Purpose, at: Time },
    /// What lies in the vault contradicts its place, so that it was not handed out.
    CredentialRefused { sealed: SealedId, misfit: Misfit, at: Time },
}

impl Fingerprint {
    /// Of a keyed hash.
    pub fn of(hash: [u8; 8]) -> Self {
        Self(hex::encode(hash))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "it does not open under this client's key: it is damaged, or another client's",
            Self::Client => "it is another client's",
            Self::Credential => "it belongs to another credential",
            Self::Market => "it is for another exchange or market",
            Self::Values => "it is another set of values",
        })
    }
}

impl CredentialEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::CredentialStored { at, .. }
            | Self::CredentialRotated { at, .. }
            | Self::CredentialVerified { at, .. }
            | Self::CredentialActive { at, .. }
            | Self::CredentialFailing { at, .. }
            | Self::CredentialRevokeRequested { at, .. }
            | Self::CredentialRevoked { at }
            | Self::CredentialOpened { at, .. }
            | Self::CredentialRefused { at, .. } => *at,
        }
    }
}
