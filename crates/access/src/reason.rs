//! Why somebody decides about others: for the record, so it has to say something.

use std::str::FromStr;

const LENGTH_MAX: usize = 500;

/// A reason, 1 to 500 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

impl FromStr for Reason {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let fine = !text.is_empty() && text.chars().count() <= LENGTH_MAX && !text.chars().any(char::is_control);
        if fine { Ok(Self(text.to_owned())) } else { Err("a reason is one line of 1 to 500 characters: say why") }
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}
