//! Moments as the server writes them: ISO 8601 with or without a zone (always UTC), and seconds with a fraction.

use events::{Decimal, Time};
use serde::{Deserialize, Deserializer, de};

use crate::numbers;

/// A moment from its text; without a zone it is UTC.
fn utc(text: &str) -> Result<Time, events::BadTime> {
    text.parse().or_else(|bad| format!("{text}Z").parse().map_err(|_| bad))
}

pub(crate) fn iso<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    utc(&std::borrow::Cow::<str>::deserialize(deserializer)?).map_err(de::Error::custom)
}

pub(crate) fn iso_maybe<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let text = Option::<std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
    text.map(|text| utc(&text)).transpose().map_err(de::Error::custom)
}

pub(crate) fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    let ms = numbers::exact(deserializer)?;
    from_micros(ms, 1_000).ok_or_else(|| de::Error::custom(format!("{ms} ms is no moment")))
}

pub(crate) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    let s = numbers::exact(deserializer)?;
    from_micros(s, 1_000_000).ok_or_else(|| de::Error::custom(format!("{s} s is no moment")))
}

pub(crate) fn micros_maybe<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let Some(us) = numbers::maybe(deserializer)? else { return Ok(None) };
    from_micros(us, 1).map(Some).ok_or_else(|| de::Error::custom(format!("{us} us is no moment")))
}

pub(crate) fn millis_maybe<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let Some(ms) = numbers::maybe(deserializer)? else { return Ok(None) };
    from_micros(ms, 1_000).map(Some).ok_or_else(|| de::Error::custom(format!("{ms} ms is no moment")))
}

/// Whole microseconds: what comes behind them is Python's clock, not information.
fn from_micros(value: Decimal, in_one: i64) -> Option<Time> {
    let us = value.times(Decimal::from_int(in_one)).ok()?.rounded(0);
    us.to_string().parse().ok().and_then(|us| Time::from_micros(us).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_however_it_is_written() {
        #[derive(Deserialize)]
        struct Moments {
            #[serde(deserialize_with = "iso")]
            zoned: Time,
            #[serde(deserialize_with = "iso")]
            bare: Time,
            #[serde(deserialize_with = "seconds")]
            seconds: Time,
        }
        let text = r#"{"zoned":"2024-01-02T03:04:05.123456+00:00","bare":"2024-01-02T03:04:05.123456","seconds":1704164645.1234563}"#;
        let read: Moments = serde_json::from_str(text).unwrap();
        assert_eq!(read.zoned.to_string(), "2024-01-02T03:04:05.123456Z");
        assert_eq!((read.bare, read.seconds), (read.zoned, read.zoned));
    }
}
