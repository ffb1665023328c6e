//! What an answer's body says about the call itself: the server hides errors in answers with status 200.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::numbers::tolerant;

/// Whose words an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// The server's: a `status` in it tells how the call went.
    Told,
    /// People's, such as a saved config: a `status` in it is theirs.
    AsWritten,
}

/// An error inside of an answer with a good status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound(String),
    Failed(String),
}

/// The places where the server puts such errors; everything else is passed over.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    status: Option<Value>,
    #[serde(default)]
    success: Option<Value>,
    #[serde(default)]
    message: Option<Value>,
    #[serde(default)]
    msg: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    detail: Option<Value>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, borrow)]
    response: Option<&'a RawValue>,
}

/// The same, one level down.
#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    status: Option<Value>,
    #[serde(default)]
    success: Option<Value>,
    #[serde(default)]
    message: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

/// The error that an answer holds, if it holds one.
pub(crate) fn refusal(body: &[u8], content: Content) -> Option<Refusal> {
    if content == Content::AsWritten || !body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let body = tolerant(body);
    let answer: Answer<'_> = serde_json::from_slice(&body).ok()?;
    let nested = [answer.data, answer.response].into_iter().flatten().filter_map(inner);
    let mut of_nested =
        nested.filter_map(|inner| verdict(&inner.status, &inner.success, [&inner.error, &inner.message]));
    verdict(&answer.status, &answer.success, [&answer.error, &answer.message])
        .or_else(|| of_nested.next())
        .or_else(|| bare_error(&answer))
}

fn inner(raw: &RawValue) -> Option<Inner> {
    raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

fn verdict(status: &Option<Value>, success: &Option<Value>, words: [&Option<Value>; 2]) -> Option<Refusal> {
    let said = || words.into_iter().flatten().find_map(text).unwrap_or_else(|| "without a reason".to_owned());
    match status.as_ref().and_then(Value::as_str) {
        Some("not_found") => return Some(Refusal::NotFound(said())),
        Some("error" | "failed" | "failure") => return Some(Refusal::Failed(said())),
        Some(_) | None => {}
    }
    (success == &Some(Value::Bool(false))).then(|| Refusal::Failed(said()))
}

/// `{"error": "…"}` and nothing that says how it went.
fn bare_error(answer: &Answer<'_>) -> Option<Refusal> {
    let silent = answer.status.is_none() && answer.success.is_none() && answer.data.is_none();
    answer.error.as_ref().filter(|_| silent).and_then(text).map(Refusal::Failed)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The reason in an error's body.
pub(crate) fn detail(body: &[u8]) -> Option<String> {
    let body = tolerant(body);
    let answer: Answer<'_> = serde_json::from_slice(&body).ok()?;
    [&answer.detail, &answer.message, &answer.error, &answer.msg].into_iter().flatten().find_map(text)
}

/// The fields that a 422 names, each with what is wrong. What was sent in them is left out.
pub(crate) fn fields(body: &[u8]) -> Option<Vec<(String, String)>> {
    #[derive(Deserialize)]
    struct Told {
        detail: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        loc: Vec<Value>,
        msg: String,
    }
    let told: Told = serde_json::from_slice(&tolerant(body)).ok()?;
    let part = |part: &Value| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
    let place = |loc: &[Value]| loc.iter().map(part).collect::<Vec<_>>().join(".");
    Some(told.detail.into_iter().map(|one| (place(&one.loc), one.msg)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(json: &str) -> Option<Refusal> {
        refusal(json.as_bytes(), Content::Told)
    }

    #[test]
    fn every_shape_of_an_error_with_status_200_is_known() {
        let failed = |text: &str| Some(Refusal::Failed(text.to_owned()));
        assert_eq!(
            inside(r#"{"status":"success","data":{"status":"not_found","error":"no bot"}}"#),
            Some(Refusal::NotFound("no bot".into()))
        );
        assert_eq!(
            inside(r#"{"status":"success","response":{"success":false,"message":"timeout"}}"#),
            failed("timeout")
        );
        assert_eq!(inside(r#"{"success":false,"message":"no image"}"#), failed("no image"));
        assert_eq!(inside(r#"{"status":"error","message":"no"}"#), failed("no"));
        assert_eq!(inside(r#"{"status":"error"}"#), failed("without a reason"));
        assert_eq!(inside(r#"{"error":"no feed"}"#), failed("no feed"));
        assert_eq!(
            inside(r#"{"status":"success","response":{"success":false,"price":NaN}}"#),
            failed("without a reason")
        );
    }

    #[test]
    fn a_good_answer_is_no_refusal() {
        for good in [
            r#"{"status":"success","response":{"success":true}}"#,
            r#"{"status":"success","data":{"a-bot":{"status":"error"}}}"#,
            r#"{"status":"success","data":[{"status":"error"}]}"#,
            r#"{"order_id":"x","status":"submitted"}"#,
            r#"["error"]"#,
            "\"404 Client Error\"",
            "<html>",
        ] {
            assert_eq!(inside(good), None, "{good}");
        }
        assert_eq!(refusal(br#"{"status":"error"}"#, Content::AsWritten), None);
    }
}
