//! Rows on their way between memory and Postgres as JSON: every number as a text, so that nothing is rounded.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Rows for `jsonb_populate_recordset`; absent when there are none.
pub(crate) fn written<R: Serialize>(rows: impl Iterator<Item = R>) -> Option<Value> {
    let rows: Vec<Value> = rows.map(|row| serde_json::to_value(row).expect("a row of ours has a JSON form")).collect();
    (!rows.is_empty()).then_some(Value::Array(rows))
}

/// Our own value as a text.
pub(crate) fn text<R: Serialize>(row: &R) -> String {
    serde_json::to_string(row).expect("a row of ours has a JSON form")
}

/// Our own value, read back.
///
/// # Panics
/// If the table holds something else than we wrote: a rebuild is due.
pub(crate) fn read<R: DeserializeOwned>(text: &str) -> R {
    serde_json::from_str(text).unwrap_or_else(|cause| panic!("a row of a read model does not read back: {cause}"))
}
