//! A client's life with the desk: onboarded, its accounts opened, its money currency chosen, offboarded.

use serde::{Deserialize, Serialize};

use crate::{AccountName, Asset, Exchange, Slug, Time};

/// Facts of aggregate `client`, in that client's own stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ClientEvent {
    /// The client came to the desk. The first event of its stream.
    ClientOnboarded { slug: Slug, name: String, reporting_currency: Asset, at: Time },
    /// The client's account on one exchange stands ready; every fill, order and transfer there is under this name.
    AccountOpened { exchange: Exchange, account: AccountName, at: Time },
    /// The name that people read changed; the slug never does.
    ClientRenamed { name: String, at: Time },
    /// Totals are told in another currency from here on; history is not rewritten.
    ReportingCurrencyChanged { reporting_currency: Asset, at: Time },
    /// The client left. Its stream stays and still verifies.
    ClientOffboarded { reason: String, at: Time },
    /// What was sealed under the client's data key shall become unreadable for ever, once its credentials are revoked.
    DataKeyDestructionRequested { at: Time },
    /// The client's data key is gone: no secret of the client can be read by anybody again.
    DataKeyDestroyed { at: Time },
}

impl ClientEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::ClientOnboarded { at, .. }
            | Self::AccountOpened { at, .. }
            | Self::ClientRenamed { at, .. }
            | Self::ReportingCurrencyChanged { at, .. }
            | Self::ClientOffboarded { at, .. }
            | Self::DataKeyDestructionRequested { at }
            | Self::DataKeyDestroyed { at } => *at,
        }
    }
}
