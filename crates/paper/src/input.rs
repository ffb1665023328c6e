//! What a request brought, and FastAPI's words for what it should have brought instead.

use axum::{
    body::Bytes,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// An answer that is not the one that was hoped for.
#[derive(Debug)]
pub(crate) enum Refused {
    /// `{"detail": ...}` with this status.
    Detail(StatusCode, Value),
    /// What Python answers when nobody caught it.
    Plain500,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::Detail(status, Value::String(detail.into()))
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Detail(status, detail) => answer(status, &json!({"detail": detail})),
            Self::Plain500 => {
                let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
                (StatusCode::INTERNAL_SERVER_ERROR, kind, "Internal Server Error").into_response()
            }
        }
    }
}

pub(crate) type Answer = Result<Response, Refused>;

pub(crate) fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

pub(crate) fn ok(body: &Value) -> Answer {
    Ok(answer(StatusCode::OK, body))
}

/// A body's or a query's fields, read one by one; what is wrong is collected and told at once.
#[derive(Debug)]
pub(crate) struct Form {
    place: &'static str,
    fields: Map<String, Value>,
    wrong: Vec<Value>,
}

const PAGE_MAX: i64 = 1_000;

impl Form {
    pub(crate) fn body(body: &Bytes) -> Result<Self, Refused> {
        let unprocessable = |wrong: Value| Refused::Detail(StatusCode::UNPROCESSABLE_ENTITY, json!([wrong]));
        if body.is_empty() {
            return Err(unprocessable(
                json!({"type": "missing", "loc": ["body"], "msg": "Field required", "input": null}),
            ));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self { place: "body", fields, wrong: Vec::new() }),
            Ok(other) => Err(unprocessable(json!({
                "type": "model_attributes_type",
                "loc": ["body"],
                "msg": "Input should be a valid dictionary or object to extract fields from",
                "input": other,
            }))),
            Err(cause) => Err(unprocessable(json!({
                "type": "json_invalid",
                "loc": ["body", cause.column()],
                "msg": "JSON decode error",
                "input": {},
                "ctx": {"error": cause.to_string()},
            }))),
        }
    }

    pub(crate) fn query(pairs: Vec<(String, String)>) -> Self {
        let fields = pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        Self { place: "query", fields, wrong: Vec::new() }
    }

    pub(crate) fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    fn get(&self, name: &str) -> &Value {
        self.fields.get(name).unwrap_or(&Value::Null)
    }

    fn required(&mut self, name: &str) -> bool {
        let there = self.fields.contains_key(name);
        if !there {
            let input = if self.place == "query" { Value::Null } else { Value::Object(self.fields.clone()) };
            self.complain("missing", name, "Field required", &input, None);
        }
        there
    }

    fn complain(&mut self, kind: &str, name: &str, message: &str, input: &Value, context: Option<Value>) {
        let mut wrong = json!({"type": kind, "loc": [self.place, name], "msg": message, "input": input});
        if let Some(context) = context {
            wrong["ctx"] = context;
        }
        self.wrong.push(wrong);
    }

    pub(crate) fn text(&mut self, name: &str) -> String {
        if self.required(name) { self.text_or(name, "") } else { String::new() }
    }

    pub(crate) fn text_or(&mut self, name: &str, default: &str) -> String {
        match self.get(name).clone() {
            Value::String(text) => text,
            Value::Null if !self.fields.contains_key(name) => default.to_owned(),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                self.complain("string_type", name, "Input should be a valid string", &other, None);
                String::new()
            }
        }
    }

    pub(crate) fn text_if(&mut self, name: &str) -> Option<String> {
        if self.get(name).is_null() { None } else { Some(self.text_or(name, "")) }
    }

    pub(crate) fn one_of(&mut self, name: &str, allowed: &[&str], default: Option<&str>) -> String {
        if default.is_none() && !self.required(name) {
            return String::new();
        }
        let given = self.get(name).clone();
        let text =
            given.as_str().or(default.filter(|_| !self.fields.contains_key(name))).unwrap_or_default().to_owned();
        if !allowed.contains(&text.as_str()) {
            let quoted: Vec<String> = allowed.iter().map(|word| format!("'{word}'")).collect();
            let (last, first) = quoted.split_last().expect("something is allowed");
            let expected = if first.is_empty() { last.clone() } else { format!("{} or {last}", first.join(", ")) };
            let message = format!("Input should be {expected}");
            self.complain("literal_error", name, &message, &given, Some(json!({"expected": expected})));
        }
        text
    }

    pub(crate) fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.get(name).clone() {
            Value::Bool(flag) => flag,
            Value::String(text) if ["true", "1", "True"].contains(&text.as_str()) => true,
            Value::String(text) if ["false", "0", "False"].contains(&text.as_str()) => false,
            Value::Null if !self.fields.contains_key(name) => default,
            other @ (Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
                let message = "Input should be a valid boolean, unable to interpret input";
                self.complain("bool_parsing", name, message, &other, None);
                default
            }
        }
    }

    pub(crate) fn whole(&mut self, name: &str) -> Option<i64> {
        match self.get(name).clone() {
            Value::Null => None,
            Value::Number(number) if number.as_i64().is_some() => number.as_i64(),
            Value::String(text) if text.parse::<i64>().is_ok() => text.parse().ok(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
                let message = "Input should be a valid integer, unable to parse string as an integer";
                self.complain("int_parsing", name, message, &other, None);
                None
            }
        }
    }

    /// How many rows a page has: 1 to 1000, 100 unless it is said.
    pub(crate) fn limit(&mut self) -> usize {
        let limit = self.whole("limit").unwrap_or(100);
        let input = self.get("limit").clone();
        if limit > PAGE_MAX {
            let message = format!("Input should be less than or equal to {PAGE_MAX}");
            self.complain("less_than_equal", "limit", &message, &input, Some(json!({"le": PAGE_MAX})));
        } else if limit < 1 {
            let message = "Input should be greater than or equal to 1";
            self.complain("greater_than_equal", "limit", message, &input, Some(json!({"ge": 1})));
        }
        usize::try_from(limit).unwrap_or_default()
    }

    /// A list of texts; absent where there is none or it is empty, which filters nothing.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.get(name).clone();
        let texts = match &value {
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
            }
            Value::Null => return None,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
        };
        if texts.is_none() {
            self.complain("list_type", name, "Input should be a valid list", &value, None);
        }
        texts.filter(|texts| !texts.is_empty())
    }

    pub(crate) fn texts_required(&mut self, name: &str) -> Vec<String> {
        if self.required(name) { self.texts(name).unwrap_or_default() } else { Vec::new() }
    }

    /// A number, or a text of one.
    pub(crate) fn exact(&mut self, name: &str) -> Option<events::Decimal> {
        let value = self.get(name).clone();
        let exact = crate::bot::maker::exact(&value);
        if exact.is_none() && !value.is_null() {
            self.complain("decimal_parsing", name, "Input should be a valid decimal", &value, None);
        }
        exact
    }

    pub(crate) fn exact_required(&mut self, name: &str) -> events::Decimal {
        let there = self.required(name);
        let exact = self.exact(name).filter(events::Decimal::is_positive);
        if there && exact.is_none() {
            let value = self.get(name).clone();
            self.complain("greater_than", name, "Input should be greater than 0", &value, Some(json!({"gt": 0})));
        }
        exact.unwrap_or_default()
    }

    pub(crate) fn done(self) -> Result<(), Refused> {
        if self.wrong.is_empty() {
            return Ok(());
        }
        Err(Refused::Detail(StatusCode::UNPROCESSABLE_ENTITY, Value::Array(self.wrong)))
    }
}
