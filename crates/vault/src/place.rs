//! Where sealed values belong, and whether they say the same of themselves.

use std::{collections::BTreeMap, fmt};

use events::{ClientId, CredentialId, Exchange, Market, SealedId, credential::Misfit};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The form of the plaintext.
const VERSION: u8 = 1;
/// So much that it never grows: growing would leave a copy behind.
const ROOM_BYTES: usize = 32 * 1_024;

/// Whose values, of which credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub client: ClientId,
    pub credential: CredentialId,
    pub sealed: SealedId,
}

/// What is sealed: the secrets, and all that they belong to.
#[derive(Serialize)]
struct Written<'a> {
    v: u8,
    client_id: ClientId,
    credential_id: CredentialId,
    sealed_id: SealedId,
    exchange: Exchange,
    market: Market,
    fields: BTreeMap<&'a str, &'a str>,
}

/// The same, opened.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plain {
    v: u8,
    client_id: ClientId,
    credential_id: CredentialId,
    sealed_id: SealedId,
    pub exchange: Exchange,
    pub market: Market,
    pub fields: BTreeMap<String, SecretString>,
}

impl Place {
    /// The plaintext of values that belong here.
    pub(crate) fn written<'a>(
        self,
        exchange: Exchange,
        market: Market,
        fields: impl Iterator<Item = (&'a str, &'a SecretString)>,
    ) -> Zeroizing<Vec<u8>> {
        let written = Written {
            v: VERSION,
            client_id: self.client,
            credential_id: self.credential,
            sealed_id: self.sealed,
            exchange,
            market,
            fields: fields.map(|(name, secret)| (name, secret.expose_secret())).collect(),
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM_BYTES));
        serde_json::to_writer(&mut *bytes, &written).expect("texts have a JSON form");
        bytes
    }

    /// Reads a plaintext that was found here.
    pub(crate) fn read(self, bytes: &[u8]) -> Result<Plain, Misfit> {
        // What serde says of it may repeat some of it.
        let plain: Plain = serde_json::from_slice(bytes).map_err(|_| Misfit::Unreadable)?;
        if plain.v != VERSION {
            Err(Misfit::Unreadable)
        } else if plain.client_id != self.client {
            Err(Misfit::Client)
        } else if plain.credential_id != self.credential {
            Err(Misfit::Credential)
        } else if CredentialId::of(self.client, plain.exchange, plain.market) != self.credential {
            Err(Misfit::Market)
        } else if plain.sealed_id != self.sealed {
            Err(Misfit::Values)
        } else {
            Ok(plain)
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "credential {} of client {}", self.credential, self.client)
    }
}

#[cfg(test)]
mod tests {
    use events::Uuid;
    use proptest::prelude::*;

    use super::*;

    fn place(client: u128, exchange: Exchange, market: Market, sealed: u128) -> Place {
        let client = ClientId(Uuid::from_u128(client));
        Place {
            client,
            credential: CredentialId::of(client, exchange, market),
            sealed: SealedId(Uuid::from_u128(sealed)),
        }
    }

    fn any_place() -> impl Strategy<Value = (Place, Exchange, Market)> {
        let exchange = prop::sample::select(Exchange::ALL.to_vec());
        (0..3_u128, exchange, prop::sample::select(Market::ALL.to_vec()), 0..3_u128)
            .prop_map(|(client, exchange, market, sealed)| (place(client, exchange, market, sealed), exchange, market))
    }

    proptest! {
        #[test]
        fn values_are_read_where_they_belong_and_nowhere_else(
            (here, exchange, market) in any_place(),
            (there, ..) in any_place(),
            secret in "\\PC{1,40}",
        ) {
            let secret = SecretString::from(secret);
            let written = here.written(exchange, market, [("a_field", &secret)].into_iter());
            let back = here.read(&written);
            prop_assert!(back.is_ok_and(|plain| plain.fields["a_field"].expose_secret() == secret.expose_secret()));
            prop_assert_eq!(there.read(&written).is_ok(), here == there);
        }

        #[test]
        fn no_bytes_are_read_as_values(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let here = place(1, Exchange::Okx, Market::Spot, 1);
            prop_assert!(matches!(here.read(&bytes), Err(Misfit::Unreadable)));
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let here = place(1, Exchange::Okx, Market::Spot, 1);
        let misfit = |there: Place| there.read(&here.written(Exchange::Okx, Market::Spot, [].into_iter())).err();
        assert_eq!(misfit(here), None);
        assert_eq!(misfit(place(2, Exchange::Okx, Market::Spot, 1)), Some(Misfit::Client));
        assert_eq!(misfit(place(1, Exchange::Okx, Market::Perp, 1)), Some(Misfit::Credential));
        assert_eq!(misfit(place(1, Exchange::Okx, Market::Spot, 2)), Some(Misfit::Values));
        let forged = here.written(Exchange::Bybit, Market::Spot, [].into_iter());
        assert_eq!(here.read(&forged).err(), Some(Misfit::Market));
    }
}
