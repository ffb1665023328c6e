//! Rows that are kept beside the text that they were read from: what cannot be attributed is put aside as it came.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use serde_json::value::RawValue;

/// The text of one row. Python's bare `NaN` is `null` in it, which is how it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct AsWritten(Box<str>);

impl AsWritten {
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for AsWritten {
    /// It would say everything twice.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A value, and its own text.
pub(crate) fn read<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<(T, AsWritten), D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let mut json = serde_json::Deserializer::from_str(raw.get());
    let told = serde_path_to_error::deserialize(&mut json).map_err(D::Error::custom)?;
    Ok((told, AsWritten(raw.get().into())))
}
