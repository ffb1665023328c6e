//! Numbers as the server writes them: as JSON numbers or texts, with exponents, with a bare point at the end, and with
//! `NaN` or `Infinity` where there is none. Each is read from its text; nothing goes through a float.

use std::{borrow::Cow, fmt};

use events::Decimal;
use serde::{Deserialize, Deserializer, de};

/// What Python writes for numbers that are none, none of it JSON.
const BARE: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// JSON with each bare `NaN`, `Infinity` and `-Infinity` outside of strings made `null`. Valid JSON comes back as it is,
/// and nothing is copied when there is nothing to replace.
pub fn tolerant(json: &[u8]) -> Cow<'_, [u8]> {
    let mut clean: Option<Vec<u8>> = None;
    let (mut at, mut kept) = (0, 0);
    while let Some(length) = next_bare(json, &mut at) {
        let clean = clean.get_or_insert_default();
        clean.extend_from_slice(&json[kept..at]);
        clean.extend_from_slice(b"null");
        at += length;
        kept = at;
    }
    match clean {
        Some(mut clean) => {
            clean.extend_from_slice(&json[kept..]);
            Cow::Owned(clean)
        }
        None => Cow::Borrowed(json),
    }
}

/// Moves on to the next bare word outside of strings and says how long it is.
fn next_bare(json: &[u8], at: &mut usize) -> Option<usize> {
    while let Some(byte) = json.get(*at) {
        match byte {
            b'"' => *at = after_string(json, *at),
            b'N' | b'I' | b'-' => match BARE.iter().find(|word| json[*at..].starts_with(word)) {
                Some(word) => return Some(word.len()),
                None => *at += 1,
            },
            _ => *at += 1,
        }
    }
    None
}

/// The place behind the string that opens here.
fn after_string(json: &[u8], opening: usize) -> usize {
    let mut at = opening + 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

/// A decimal from its text; `None` for what is no number.
fn number(text: &str) -> Result<Option<Decimal>, events::decimal::DecimalError> {
    let text = text.trim();
    let bare = text.trim_start_matches(['-', '+']);
    if bare.is_empty() || ["nan", "inf", "infinity", "none"].iter().any(|word| bare.eq_ignore_ascii_case(word)) {
        return Ok(None);
    }
    text.strip_suffix('.').unwrap_or(text).parse().map(Some)
}

/// A number that may be absent. For fields: `#[serde(deserialize_with = "numbers::maybe", default)]`.
pub(crate) fn maybe<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    deserializer.deserialize_any(Text)
}

/// A number that must be there.
pub(crate) fn exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    maybe(deserializer)?.ok_or_else(|| de::Error::custom("there is no number"))
}

/// The same, for values inside of lists and maps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number(pub Option<Decimal>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        maybe(deserializer).map(Number)
    }
}

/// A decimal as a JSON number with the very same digits.
pub(crate) fn json(value: Decimal) -> serde_json::Number {
    value.to_string().parse().expect("a decimal is written as JSON writes numbers")
}

struct Text;

impl<'de> de::Visitor<'de> for Text {
    type Value = Option<Decimal>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a text that is one")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        number(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, whole: u64) -> Result<Self::Value, E> {
        Ok(Some(Decimal::new(i128::from(whole), 0)))
    }

    fn visit_i64<E: de::Error>(self, whole: i64) -> Result<Self::Value, E> {
        Ok(Some(Decimal::from_int(whole)))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    // With `arbitrary_precision`, serde_json hands a number over as a map that holds its text.
    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let written = serde_json::Number::deserialize(de::value::MapAccessDeserializer::new(map))?;
        number(written.as_str()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Option<Decimal> {
        serde_json::from_slice::<Number>(&tolerant(json.as_bytes())).unwrap().0
    }

    #[test]
    fn a_number_is_read_from_its_text_however_it_is_written() {
        assert_eq!(read("1.2146556728483764e-5").unwrap().to_string(), "0.000012146556728483764");
        assert_eq!(read("\"41366500.\"").unwrap().to_string(), "41366500");
        assert_eq!(read("1e+56").unwrap().to_string().len(), 57);
        assert_eq!(read("\"-0.50\"").unwrap().to_string(), "-0.5");
        for absent in ["NaN", "Infinity", "-Infinity", "null", "\"NaN\"", "\"-inf\"", "\"None\"", "\"\""] {
            assert_eq!(read(absent), None, "{absent}");
        }
        assert!(serde_json::from_str::<Number>("\"abc\"").is_err());
        assert!(serde_json::from_str::<Number>("true").is_err());
    }

    #[test]
    fn a_bare_word_inside_of_a_text_stays() {
        let said = br#"{"msg":"NaN \" -Infinity","price":NaN,"low":-Infinity,"all":[Infinity,1]}"#;
        let clean = tolerant(said);
        assert_eq!(&*clean, br#"{"msg":"NaN \" -Infinity","price":null,"low":null,"all":[null,1]}"#);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            prop_oneof![Just("NaN".to_owned()), Just("\\\"Infinity".to_owned()), ".{0,12}"].prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::vec((".{0,6}", inner), 0..6)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn valid_json_comes_back_as_it_is(value in any_json()) {
            let text = value.to_string();
            prop_assert!(matches!(tolerant(text.as_bytes()), Cow::Borrowed(same) if same == text.as_bytes()));
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200), word in 0_usize..3) {
            let _ = tolerant(&bytes);
            let mixed = [&bytes[..], BARE[word], b"\\\"", &bytes[..]].concat();
            let _ = tolerant(&mixed);
        }

        #[test]
        fn a_decimal_written_as_json_is_read_back_the_same(mantissa in any::<i64>(), scale in 0_u32..30) {
            let value = Decimal::new(i128::from(mantissa), scale);
            prop_assert_eq!(read(&json(value).to_string()), Some(value));
            prop_assert_eq!(read(&format!("\"{value}\"")), Some(value));
            prop_assert_eq!(read(&format!("{mantissa}e-{scale}")), Some(value));
        }
    }
}
