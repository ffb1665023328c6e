//! What each exchange asks for to let a client's bots in: one table, and whether given fields agree with it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{Exchange, Market};

/// The longest value, in characters.
pub const VALUE_MAX: usize = 1_024;

/// A field of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Field {
    /// In the connector's own spelling.
    pub name: &'static str,
    /// Whether it has to be given; one that has not is sent with its default.
    pub required: bool,
    /// What is sent where nothing is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<&'static str>,
    /// All that it may be; empty: anything.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub allowed: &'static [&'static str],
}

/// What an exchange takes of a trade unless it tells another rate, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DefaultFees {
    /// For an order that waited in the order book.
    pub maker_percent: &'static str,
    /// For one that met a waiting order.
    pub taker_percent: &'static str,
}

/// Why fields do not make a credential. Tells names, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsRefusal {
    #[error("{exchange} {market} has no field {field:?}: it takes {}", known(*exchange, *market))]
    Unknown { exchange: Exchange, market: Market, field: String },
    #[error("field {0} is missing")]
    Missing(&'static str),
    #[error("field {0} is empty")]
    Empty(&'static str),
    #[error("field {0} is longer than {VALUE_MAX} characters")]
    TooLong(&'static str),
    #[error("field {0} begins or ends with a blank, or holds a character that cannot be typed: copy it anew")]
    Unclean(&'static str),
    #[error("field {field} is none of {}", allowed.join(", "))]
    NotAllowed { field: &'static str, allowed: &'static [&'static str] },
    #[error(
        "the Hummingbot API asks for a field {0:?} that is not in our table: it would keep an older account's value"
    )]
    NotInTable(String),
    #[error("the Hummingbot API does not ask for field {0}, which our table has")]
    NotAskedFor(&'static str),
}

const fn required(name: &'static str) -> Field {
    Field { name, required: true, default: None, allowed: &[] }
}

macro_rules! required {
    ($($name:literal),+) => {
        const { &[$(required($name)),+] }
    };
}

/// Accounts of different regions are reached under different names.
const OKX_SPOT: &[Field] = &[
    required("okx_api_key"),
    required("okx_secret_key"),
    required("okx_passphrase"),
    Field {
        name: "okx_registration_sub_domain",
        required: false,
        default: Some("www"),
        allowed: &["www", "app", "my"],
    },
];

impl Exchange {
    /// The fields that the connector asks for, the API key first. Every one is sent, every time, because the Hummingbot
    /// API keeps a field that is not sent from the account before.
    pub const fn fields(self, market: Market) -> &'static [Field] {
        match (self, market) {
            (Self::Binance, Market::Spot) => required!["binance_api_key", "binance_api_secret"],
            (Self::Binance, Market::Perp) => required!["binance_perpetual_api_key", "binance_perpetual_api_secret"],
            (Self::Bitmart, Market::Spot) => required!["bitmart_api_key", "bitmart_secret_key", "bitmart_memo"],
            (Self::Bitmart, Market::Perp) => {
                required!["bitmart_perpetual_api_key", "bitmart_perpetual_api_secret", "bitmart_perpetual_memo"]
            }
            (Self::Bybit, Market::Spot) => required!["bybit_api_key", "bybit_api_secret"],
            (Self::Bybit, Market::Perp) => required!["bybit_perpetual_api_key", "bybit_perpetual_secret_key"],
            (Self::GateIo, Market::Spot) => required!["gate_io_api_key", "gate_io_secret_key"],
            (Self::GateIo, Market::Perp) => {
                required!["gate_io_perpetual_api_key", "gate_io_perpetual_secret_key", "gate_io_perpetual_user_id"]
            }
            (Self::Kucoin, Market::Spot) => required!["kucoin_api_key", "kucoin_secret_key", "kucoin_passphrase"],
            (Self::Kucoin, Market::Perp) => {
                required!["kucoin_perpetual_api_key", "kucoin_perpetual_secret_key", "kucoin_perpetual_passphrase"]
            }
            (Self::Okx, Market::Spot) => OKX_SPOT,
            (Self::Okx, Market::Perp) => {
                required!["okx_perpetual_api_key", "okx_perpetual_secret_key", "okx_perpetual_passphrase"]
            }
        }
    }

    /// Absent where the connector always learns its rates from the exchange.
    pub const fn default_fees(self, market: Market) -> Option<DefaultFees> {
        let (maker_percent, taker_percent) = match (self, market) {
            (_, Market::Perp) => return None,
            (Self::Binance | Self::Bybit | Self::Kucoin, Market::Spot) => ("0.1", "0.1"),
            (Self::Bitmart, Market::Spot) => ("0.25", "0.25"),
            (Self::GateIo, Market::Spot) => ("0.2", "0.2"),
            (Self::Okx, Market::Spot) => ("0.08", "0.1"),
        };
        Some(DefaultFees { maker_percent, taker_percent })
    }
}

fn known(exchange: Exchange, market: Market) -> String {
    exchange.fields(market).iter().map(|field| field.name).collect::<Vec<_>>().join(", ")
}

/// Fills in what was not given, and refuses what cannot be meant. `T` is how a caller keeps a secret, `bare` how it is read.
pub fn complete<T: From<&'static str>>(
    exchange: Exchange,
    market: Market,
    mut given: BTreeMap<String, T>,
    bare: impl Fn(&T) -> &str,
) -> Result<BTreeMap<&'static str, T>, FieldsRefusal> {
    let mut complete = BTreeMap::new();
    for field in exchange.fields(market) {
        let value = match (given.remove(field.name), field.default) {
            (Some(value), _) => value,
            (None, Some(default)) => default.into(),
            (None, None) => return Err(FieldsRefusal::Missing(field.name)),
        };
        field.takes(bare(&value))?;
        complete.insert(field.name, value);
    }
    match given.into_keys().next() {
        // A name is repeated in part at most: somebody may have put a secret in its place.
        Some(name) => Err(FieldsRefusal::Unknown { exchange, market, field: start_of(&name, 12) }),
        None => Ok(complete),
    }
}

/// Whether what is about to be sent is exactly what the Hummingbot API asks for now, by its config map.
pub fn check_fields(exchange: Exchange, market: Market, live: &[&str], given: &[&str]) -> Result<(), FieldsRefusal> {
    let (live, given): (BTreeSet<_>, BTreeSet<_>) = (live.iter().copied().collect(), given.iter().copied().collect());
    let table = exchange.fields(market);
    let in_table = |name: &&&str| table.iter().any(|field| field.name == **name);
    if let Some(name) = live.iter().find(|name| !in_table(name)) {
        return Err(FieldsRefusal::NotInTable(start_of(name, 80)));
    }
    if let Some(name) = given.iter().find(|name| !in_table(name)) {
        return Err(FieldsRefusal::Unknown { exchange, market, field: start_of(name, 12) });
    }
    for field in table {
        match (live.contains(field.name), given.contains(field.name)) {
            (true, true) => {}
            (false, _) => return Err(FieldsRefusal::NotAskedFor(field.name)),
            (true, false) => return Err(FieldsRefusal::Missing(field.name)),
        }
    }
    Ok(())
}

impl Field {
    fn takes(&self, value: &str) -> Result<(), FieldsRefusal> {
        if value.is_empty() {
            Err(FieldsRefusal::Empty(self.name))
        } else if value.chars().count() > VALUE_MAX {
            Err(FieldsRefusal::TooLong(self.name))
        } else if value.trim() != value || value.contains(char::is_control) {
            Err(FieldsRefusal::Unclean(self.name))
        } else if !self.allowed.is_empty() && !self.allowed.contains(&value) {
            Err(FieldsRefusal::NotAllowed { field: self.name, allowed: self.allowed })
        } else {
            Ok(())
        }
    }
}

fn start_of(name: &str, most: usize) -> String {
    name.chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(fields: &[(&str, &str)]) -> BTreeMap<String, String> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn okx(more: &[(&str, &str)]) -> Result<BTreeMap<&'static str, String>, FieldsRefusal> {
        let three = [("okx_api_key", "k"), ("okx_secret_key", "s"), ("okx_passphrase", "p p")];
        complete(Exchange::Okx, Market::Spot, given(&[&three, more].concat()), |value| value)
    }

    #[test]
    fn every_field_is_in_its_connectors_spelling_and_the_api_key_comes_first() {
        for (exchange, market) in Exchange::ALL.into_iter().flat_map(|e| Market::ALL.map(|m| (e, m))) {
            let fields = exchange.fields(market);
            assert!(fields.iter().all(|field| field.name.starts_with(&exchange.connector(market))));
            assert!(fields[0].name.ends_with("_api_key"));
            assert!(fields.iter().all(|field| field.required != field.default.is_some()));
        }
    }

    #[test]
    fn what_is_not_given_is_sent_with_its_default() {
        assert_eq!(okx(&[]).unwrap()["okx_registration_sub_domain"], "www");
        assert_eq!(okx(&[("okx_registration_sub_domain", "my")]).unwrap()["okx_registration_sub_domain"], "my");
    }

    #[test]
    fn a_refusal_names_the_field_and_never_its_value() {
        let long = "z".repeat(VALUE_MAX + 1);
        for value in ["", " zzzz", "zzzz\n", "zz\u{7}zz", "zzzz\u{a0}", &long] {
            let refused = complete(
                Exchange::Bybit,
                Market::Spot,
                given(&[("bybit_api_key", "k"), ("bybit_api_secret", value)]),
                |value| value,
            );
            let told = refused.unwrap_err().to_string();
            assert!(told.contains("bybit_api_secret") && !told.contains("zz"), "{told}");
        }
        let told = okx(&[("okx_registration_sub_domain", "zzzz")]).unwrap_err().to_string();
        assert!(told.contains("www, app, my") && !told.contains("zz"), "{told}");
        let told = okx(&[("a-secret-in-the-wrong-place", "zzzz")]).unwrap_err().to_string();
        assert!(!told.contains("wrong-place") && !told.contains("zz"), "{told}");
        assert_eq!(
            complete(Exchange::Okx, Market::Perp, given(&[]), |value| value),
            Err(FieldsRefusal::Missing("okx_perpetual_api_key"))
        );
    }

    #[test]
    fn what_hummingbot_asks_for_has_to_be_what_our_table_says() {
        let check = |live: &[&str], given: &[&str]| check_fields(Exchange::Bybit, Market::Spot, live, given);
        let both = ["bybit_api_secret", "bybit_api_key"];
        assert_eq!(check(&both, &both), Ok(()));
        assert_eq!(check(&both, &both[..1]), Err(FieldsRefusal::Missing("bybit_api_key")));
        assert_eq!(check(&both[..1], &both), Err(FieldsRefusal::NotAskedFor("bybit_api_key")));
        let more = [both[0], both[1], "bybit_memo"];
        assert_eq!(check(&more, &both), Err(FieldsRefusal::NotInTable("bybit_memo".into())));
        assert!(matches!(check(&both, &more), Err(FieldsRefusal::Unknown { .. })));
    }
}
