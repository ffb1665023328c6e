//! Rows that are kept beside the text that they were read from: what cannot be attributed is put aside as it came. (Bare
//! `NaN`s have become `null` by then, or it could not be read at all.)

use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error};
use serde_json::value::RawValue;

/// A value, and its own text.
pub(crate) fn read<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<(T, Box<str>), D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let mut json = serde_json::Deserializer::from_str(raw.get());
    let told = serde_path_to_error::deserialize(&mut json).map_err(D::Error::custom)?;
    Ok((told, raw.get().into()))
}
