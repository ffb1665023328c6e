//! Names of Hummingbot's own things, checked once at the door: bots, connectors, configs.

use std::{fmt, str::FromStr, sync::Arc};

use events::{Exchange, Market};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {rule}")]
pub struct BadName {
    what: &'static str,
    text: String,
    rule: &'static str,
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
                let valid: fn(char) -> bool = $valid;
                if !text.is_empty() && text.len() <= 128 && text.chars().all(valid) {
                    return Ok(Self(text.into()));
                }
                Err(BadName { what: $what, text: text.chars().take(80).collect(), rule: $rule })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// A bot's own name, which the API makes of the instance's name and the second of its deployment. It stands between
    /// slashes in MQTT topics as it is; a dot is refused, because the bots' MQTT library writes a dot as a slash.
    BotName,
    "bot name",
    "use 1 to 128 visible ASCII characters, none of them . / + # ? % \\ or a quote",
    |c| c.is_ascii_graphic() && !matches!(c, '.' | '/' | '+' | '#' | '?' | '%' | '\\' | '"' | '\'')
);
name!(
    /// What Hummingbot calls one market of one exchange: `gate_io`, `gate_io_perpetual`.
    ConnectorName,
    "connector",
    "use 1 to 128 of a-z A-Z 0-9 _ -",
    |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
);
name!(
    /// A controller's or script's saved config. Such names are shared by all accounts: begin them with the client's id.
    ConfigName,
    "config name",
    "use 1 to 128 of a-z A-Z 0-9 _ -",
    |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
);

impl ConnectorName {
    /// The connector for a market of an exchange.
    pub fn of(exchange: Exchange, market: Market) -> Self {
        Self(exchange.connector(market).into())
    }

    /// Which exchange and market it is, if it is one that the desk trades on.
    pub fn venue(&self) -> Option<(Exchange, Market)> {
        let (exchange, market) = match self.0.strip_suffix("_perpetual") {
            Some(exchange) => (exchange, Market::Perp),
            None => (&*self.0, Market::Spot),
        };
        exchange.parse().ok().map(|exchange| (exchange, market))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connector_names_the_venue_it_was_made_of() {
        for exchange in Exchange::ALL {
            for market in Market::ALL {
                assert_eq!(ConnectorName::of(exchange, market).venue(), Some((exchange, market)));
            }
        }
        assert_eq!("hyperliquid_perpetual".parse::<ConnectorName>().unwrap().venue(), None);
    }

    #[test]
    fn a_bot_name_that_would_change_a_topic_or_a_path_is_refused() {
        assert!("mm-a-20240101-101010".parse::<BotName>().is_ok());
        for bad in ["", "a.b", "a/b", "+", "#", "..", "a b", "a?b", "a%2fb", "ä"] {
            assert!(bad.parse::<BotName>().is_err(), "{bad:?} passed");
        }
    }
}
