//! An e-mail address: what a person logs in with, and personal data.

use std::{fmt, str::FromStr};

/// An e-mail address, as far as a login needs it: where it really leads only a message can show.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// As it was written. `lower(email)` finds its user.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The same for every way of writing one account's address.
    pub(crate) fn account(&self) -> String {
        self.0.to_lowercase()
    }
}

impl FromStr for Email {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.len() <= 254 && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        match text.split_once('@') {
            Some((name, host)) if plain && !name.is_empty() && host.contains('.') && !host.contains('@') => {
                Ok(Self(text.to_owned()))
            }
            _ => Err("an e-mail address is written name@host.domain".to_owned()),
        }
    }
}

/// Personal data: never in a log.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_for_its_form_and_never_shown() {
        for bad in ["", "a", "a@b", "@b.c", "a@b@c.d", "a b@c.d", "a@b.c\n"] {
            assert!(bad.parse::<Email>().is_err(), "{bad:?} passed as an address");
        }
        let email: Email = "someone@example.com".parse().unwrap();
        assert_eq!(format!("{email:?}"), "Email(..)");
    }
}
