//! Decimals as the real server writes them: as doubles, in Python's words over HTTP and in the bots' words over MQTT.

use events::{Decimal, Time};
use serde_json::{Number, Value};

/// As Python's `repr` of a double: the shortest digits that read back as the same, `1.2e-05`, `41366500.0`.
pub(crate) fn python(value: Decimal) -> String {
    written(value, |exponent| format!("e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs()))
}

/// As the bots write one over MQTT: the same but for the exponent, `1.2e-5`.
pub(crate) fn bot(value: Decimal) -> String {
    written(value, |exponent| format!("e{exponent}"))
}

/// A JSON number as Python writes it.
pub(crate) fn number(value: Decimal) -> Value {
    let text = python(value);
    Value::Number(serde_json::from_str::<Number>(&text).expect("a double that is written is a JSON number"))
}

/// Seconds with a fraction, as `time.time()` gives them.
pub(crate) fn seconds(at: Time) -> Value {
    number(Decimal::new(at.micros().into(), 6))
}

/// `2026-11-23T13:55:49.512180+00:00`, without the fraction where there is none, as `isoformat()`.
pub(crate) fn iso(at: Time) -> String {
    at.to_string().replace(".000000", "").replace('Z', "+00:00")
}

/// JSON text as `json.dumps` spaces it.
pub(crate) fn dumps(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Array(items) => format!("[{}]", list(items.iter().map(dumps).collect())),
        Value::Object(fields) => {
            format!("{{{}}}", list(fields.iter().map(|(name, value)| format!("{name:?}: {}", dumps(value))).collect()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn written(value: Decimal, exponential: impl Fn(i32) -> String) -> String {
    let double: f64 = value.to_string().parse().expect("a decimal is read as a double");
    // The shortest digits of a double are what Rust's `{:e}` writes too.
    let text = format!("{double:e}");
    let (mantissa, exponent) = text.split_once('e').expect("an exponent is written");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    if !(-4..16).contains(&exponent) {
        return format!("{sign}{mantissa}{}", exponential(exponent));
    }
    format!("{sign}{}", plain(&mantissa.replace('.', ""), exponent))
}

/// The point put `exponent` places behind the first digit.
fn plain(digits: &str, exponent: i32) -> String {
    if exponent < 0 {
        return format!("0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1));
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        return format!("{digits}{}.0", "0".repeat(whole - digits.len()));
    }
    format!("{}.{}", &digits[..whole], &digits[whole..])
}

/// Digits cut behind six decimals, the point kept: `41366500.`, as the history call writes prices and amounts.
pub(crate) fn history(value: Decimal) -> String {
    let text = crate::exact::six_decimals(value).to_string();
    if text.contains('.') { text } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn a_number_is_written_as_python_writes_a_double() {
        for (exact, written) in [
            ("0.000012", "1.2e-05"),
            ("41366500", "41366500.0"),
            ("0.0001", "0.0001"),
            ("3066.695694486361", "3066.695694486361"),
            ("0", "0.0"),
            ("-0.5", "-0.5"),
            ("1e16", "1e+16"),
            ("1000000000000000", "1000000000000000.0"),
            ("0.1000000000000000055511151231257827", "0.1"),
        ] {
            assert_eq!(python(d(exact)), written);
        }
        assert_eq!(bot(d("0.00001214")), "1.214e-5");
        assert_eq!(history(d("0.000012146556")), "0.000012");
        assert_eq!(history(d("41366500")), "41366500.");
    }

    #[test]
    fn a_text_is_spaced_as_python_spaces_it() {
        assert_eq!(
            dumps(&serde_json::json!({"a": [1, null], "b": {"c": "d"}})),
            r#"{"a": [1, null], "b": {"c": "d"}}"#
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_double_that_is_nearest(digits in any::<i64>(), scale in 0_u32..30) {
            let exact = Decimal::new(digits.into(), scale);
            let nearest: f64 = exact.to_string().parse().unwrap();
            for written in [python(exact), bot(exact)] {
                prop_assert_eq!(written.parse::<f64>().unwrap().to_bits(), nearest.to_bits(), "{}", written);
                prop_assert!(serde_json::from_str::<Value>(&written).is_ok());
            }
        }
    }
}
