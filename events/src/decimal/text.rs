//! Decimals as people and JSON write them: `12.5`, `7.2e-06`, as a text or as a number by its text, never through a float.

use std::{fmt, str::FromStr};

use ruint::aliases::U256;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{DIGITS_MAX, Decimal, DecimalError, TENS, digit_count, narrow::narrow};

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        if let Some(plain) = plain(text) {
            return Ok(plain);
        }
        let shown = || text.chars().take(60).collect::<String>();
        let (number, exponent) = parts(text).ok_or_else(|| DecimalError::NotANumber(shown()))?;
        scaled(number, exponent).ok_or_else(|| DecimalError::TooPrecise(shown()))
    }
}

/// `[-] digits [. digits]` of at most 19 digits, as nearly all numbers are written: read in one pass.
fn plain(text: &str) -> Option<Decimal> {
    let unsigned = text.strip_prefix('-').unwrap_or(text).as_bytes();
    if unsigned.len() > 20 {
        return None;
    }
    let (mut digits, mut point) = (0_u64, None);
    for (at, byte) in unsigned.iter().enumerate() {
        match byte {
            b'0'..=b'9' if at < 19 || point.is_some() => digits = digits * 10 + u64::from(byte - b'0'),
            b'.' if at > 0 && point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let mut scale = point.map_or(0, |point| unsigned.len() - point - 1);
    if unsigned.is_empty() || (scale == 0 && point.is_some()) {
        return None;
    }
    while scale > 0 && digits.is_multiple_of(10) {
        (digits, scale) = (digits / 10, scale - 1);
    }
    Some(Decimal { negative: digits != 0 && text.starts_with('-'), digits: U256::from(digits), scale: scale as u32 })
}

struct Number<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

/// `[+-] digits [. digits] [e [+-] digits]`; an exponent beyond any sense counts as very large.
fn parts(text: &str) -> Option<(Number<'_>, i64)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, power(exponent)?),
        None => (text, 0),
    };
    let negative = mantissa.starts_with('-');
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((_, "")) => return None,
        Some(split) => split,
        None => (unsigned, ""),
    };
    let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    (!whole.is_empty() && plain(whole) && plain(fraction)).then_some((Number { negative, whole, fraction }, exponent))
}

fn power(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits
        .trim_start_matches('0')
        .get(..6)
        .map_or_else(|| digits.parse().unwrap_or(i64::from(u32::MAX)), |_| i64::from(u32::MAX));
    Some(if text.starts_with('-') { -size } else { size })
}

fn scaled(number: Number<'_>, exponent: i64) -> Option<Decimal> {
    let all: String = [number.whole, number.fraction].concat();
    let significant = all.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(Decimal::ZERO);
    }
    let trailing = (all.len() - all.trim_end_matches('0').len()) as i64;
    let scale = number.fraction.len() as i64 - trailing - exponent;
    if significant.len() > DIGITS_MAX as usize || scale > i64::from(DIGITS_MAX) || scale < -i64::from(DIGITS_MAX) {
        return None;
    }
    let digits = U256::from_str_radix(significant, 10).ok()?;
    let (digits, scale) =
        if scale < 0 { (digits.checked_mul(TENS[-scale as usize])?, 0) } else { (digits, scale as u32) };
    (digit_count(digits) <= DIGITS_MAX).then_some(Decimal { negative: number.negative, digits, scale })
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.normalised();
        let digits = narrow(value.digits).map_or_else(|| value.digits.to_string(), |digits| digits.to_string());
        let places = value.scale as usize;
        let text = if places == 0 {
            digits
        } else if digits.len() > places {
            let (whole, fraction) = digits.split_at(digits.len() - places);
            format!("{whole}.{fraction}")
        } else {
            format!("0.{digits:0>places$}")
        };
        f.pad_integral(!value.is_negative(), "", &text)
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From a JSON string, or from a JSON number by its text: never through a float.
impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> de::Visitor<'de> for Text {
            type Value = Decimal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number, as a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Decimal, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, whole: u64) -> Result<Decimal, E> {
                Ok(Decimal::new(i128::from(whole), 0))
            }

            fn visit_i64<E: de::Error>(self, whole: i64) -> Result<Decimal, E> {
                Ok(Decimal::from_int(whole))
            }

            // With `arbitrary_precision`, serde_json hands a number over as a map that holds its text.
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Decimal, A::Error> {
                let number = serde_json::Number::deserialize(de::value::MapAccessDeserializer::new(map))?;
                number.as_str().parse().map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_number_is_read_in_one_pass_as_it_is_by_its_parts(text in r"-?[0-9]{0,12}(\.[0-9]{0,12})?[ +e-]?") {
            let by_parts = parts(&text).and_then(|(number, exponent)| scaled(number, exponent));
            if let Some(read) = plain(&text) {
                let by_parts = by_parts.unwrap();
                prop_assert_eq!((read.digits, read.scale), (by_parts.digits, by_parts.scale));
                prop_assert_eq!(read, by_parts);
            } else {
                prop_assert!(by_parts.is_none() || text.len() > 19, "{} was left out", text);
            }
        }
    }
}
