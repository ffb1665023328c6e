//! Names that come from outside, checked once at the door: assets, pairs, slugs, accounts, orders and trades.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {rule}")]
pub struct BadName {
    what: &'static str,
    text: String,
    rule: &'static str,
}

impl BadName {
    fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), rule }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(BadName::new($what, text, $rule)) }
            }
        }

        written_as_text!($name);
    };
}

macro_rules! written_as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a text")
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

name!(
    /// What is bought, sold or paid with: `BTC`, `USDT`, `1000SATS`. Kept as the exchange spells it.
    Asset,
    "asset",
    "use 1 to 32 letters or digits, as the exchange spells it",
    is_asset
);
name!(
    /// The name that people give a client or a bot; never reused for another.
    Slug,
    "slug",
    "use 1 to 64 of a-z A-Z 0-9 . _ - beginning with a letter or digit",
    |text| {
        within(text, 64)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    }
);
name!(
    /// A rule of alerts, or one that there was: `spread_wide`.
    RuleName,
    "rule",
    "use 1 to 40 of a-z 0-9 _",
    |text| within(text, 40) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
);
name!(
    /// A client's account on the Hummingbot API and the exchanges: the client's id, never its display name.
    AccountName,
    "account",
    "use 1 to 64 of a-z A-Z 0-9 _ -",
    |text| within(text, 64) && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
);
name!(
    /// The exchange's own id of an order.
    OrderId,
    "order id",
    "use 1 to 128 characters, none of them a space or control character",
    visible
);
name!(
    /// The exchange's own trade id: the same fill seen twice carries the same one.
    TradeId,
    "trade id",
    "use 1 to 128 characters, none of them a space or control character",
    visible
);

fn is_asset(text: &str) -> bool {
    within(text, 32) && text.chars().all(|c| c.is_ascii_alphanumeric() || c.is_alphanumeric() || matches!(c, '.' | '_'))
}

fn within(text: &str, most: usize) -> bool {
    // There are never more characters than bytes, which need not be counted.
    !text.is_empty() && (text.len() <= most || text.chars().count() <= most)
}

fn visible(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    within(text, 128) && (plain || !text.chars().any(|c| c.is_control() || c.is_whitespace()))
}

impl From<super::ClientId> for AccountName {
    fn from(client: super::ClientId) -> Self {
        Self(client.to_string().into())
    }
}

impl Asset {
    /// The reporting currency unless a client says otherwise. USDC is not USDT.
    pub fn usdt() -> Self {
        static USDT: LazyLock<Asset> = LazyLock::new(|| Asset("USDT".into()));
        USDT.clone()
    }
}

/// What is traded against what: `BTC-USDT` buys and sells BTC, and pays in USDT.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    text: Arc<str>,
    dash: usize,
}

impl Pair {
    /// The pair of two assets.
    pub fn of(base: &Asset, quote: &Asset) -> Self {
        Self { text: [base.as_str(), "-", quote.as_str()].concat().into(), dash: base.as_str().len() }
    }

    /// The asset that is bought and sold.
    pub fn base(&self) -> &str {
        &self.text[..self.dash]
    }

    /// The asset that it is paid with.
    pub fn quote(&self) -> &str {
        &self.text[self.dash + 1..]
    }

    /// The asset that is bought and sold, as one of its own.
    pub fn base_asset(&self) -> Asset {
        Asset(self.base().into())
    }

    /// The asset that it is paid with, as one of its own.
    pub fn quote_asset(&self) -> Asset {
        Asset(self.quote().into())
    }

    /// The pair as it is written, `BASE-QUOTE`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Pair {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName::new("pair", text, "write BASE-QUOTE, two different assets");
        let (base, quote) = text.split_once('-').ok_or_else(bad)?;
        let valid = is_asset(base) && is_asset(quote) && base != quote;
        if valid { Ok(Self { text: text.into(), dash: base.len() }) } else { Err(bad()) }
    }
}

written_as_text!(Pair);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_two_different_assets_around_one_dash() {
        let pair: Pair = "1000SATS-USDT".parse().unwrap();
        assert_eq!((pair.base(), pair.quote()), ("1000SATS", "USDT"));
        for bad in ["", "-", "BTC", "BTC-", "-USDT", "BTC-BTC", "A-B-C", "BT C-USDT", "BTC/USDT", "BTC-US\u{200b}DT"] {
            assert!(bad.parse::<Pair>().is_err(), "{bad:?} passed as a pair");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_and_not_repeated_whole() {
        let refused = "x".repeat(5_000).parse::<TradeId>().unwrap_err().to_string();
        assert!(refused.len() < 250, "{refused}");
    }
}
