//! Secrets on their way in: complete and well formed, or refused.

use std::{collections::BTreeMap, fmt};

use events::{
    Exchange, Market,
    fields::{self, FieldsRefusal},
};
use secrecy::{ExposeSecret, SecretString};

/// All fields of a credential, as the exchange's connector asks for them.
pub struct Secrets {
    pub exchange: Exchange,
    pub market: Market,
    fields: BTreeMap<&'static str, SecretString>,
}

impl Secrets {
    /// Reads what somebody gave.
    pub fn parse(
        exchange: Exchange,
        market: Market,
        given: BTreeMap<String, SecretString>,
    ) -> Result<Self, FieldsRefusal> {
        let fields = fields::complete(exchange, market, given, |secret| secret.expose_secret())?;
        Ok(Self { exchange, market, fields })
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.fields.iter().map(|(name, secret)| (*name, secret))
    }

    /// What the exchange knows the caller by; it stands first in the table.
    pub(crate) fn api_key(&self) -> &SecretString {
        &self.fields[self.exchange.fields(self.market)[0].name]
    }
}

/// The names alone.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("fields", &self.fields.keys()).finish_non_exhaustive()
    }
}
