//! Whether two JSON values look the same, and whether one is what a schema says.

use serde_json::Value;

/// Objects whose keys are names of things, not fields.
const NAMED: [&str; 1] = ["close_type_counts"];
/// Lists that are empty until something has happened to a bot.
const EMPTY_AT_FIRST: [&str; 2] = ["error_logs", "positions_summary"];

/// Where ours looks different from what was recorded: keys, kinds of numbers, kinds of values. What is null in one may be
/// anything in the other.
pub fn differences(path: &str, recorded: &Value, ours: &Value) -> Vec<String> {
    match (recorded, ours) {
        (Value::Null, _) | (_, Value::Null) => Vec::new(),
        (Value::Object(_), Value::Object(_)) if NAMED.iter().any(|name| path.ends_with(name)) => Vec::new(),
        (Value::Object(recorded), Value::Object(ours)) => {
            let mut found = Vec::new();
            for (key, value) in recorded {
                match ours.get(key) {
                    Some(own) => found.extend(differences(&format!("{path}.{key}"), value, own)),
                    None => found.push(format!("{path}.{key} is missing")),
                }
            }
            found.extend(
                ours.keys().filter(|key| !recorded.contains_key(*key)).map(|key| format!("{path}.{key} is too much")),
            );
            found
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            let may_be_empty = EMPTY_AT_FIRST.iter().any(|name| path.ends_with(name));
            if ours.is_empty() && !recorded.is_empty() && !may_be_empty {
                return vec![format!("{path} is empty")];
            }
            ours.iter().flat_map(|own| like_any(path, recorded, own)).collect()
        }
        (Value::Number(recorded), Value::Number(ours)) => {
            let is_float = |number: &serde_json::Number| number.to_string().contains(['.', 'e']);
            let same = is_float(recorded) == is_float(ours);
            if same { Vec::new() } else { vec![format!("{path}: {ours} is not like {recorded}")] }
        }
        (Value::Bool(_), Value::Bool(_)) | (Value::String(_), Value::String(_)) => Vec::new(),
        (
            Value::Object(_) | Value::Array(_) | Value::Number(_) | Value::Bool(_) | Value::String(_),
            Value::Object(_) | Value::Array(_) | Value::Number(_) | Value::Bool(_) | Value::String(_),
        ) => vec![format!("{path}: {ours} is not like {recorded}")],
    }
}

fn like_any(path: &str, recorded: &[Value], own: &Value) -> Vec<String> {
    let each = recorded.iter().map(|one| differences(&format!("{path}[]"), one, own));
    each.min_by_key(Vec::len).unwrap_or_default()
}

/// Where a value is not what a schema of the description says.
pub fn violations(path: &str, api: &Value, schema: &Value, value: &Value) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = api.pointer(reference.trim_start_matches('#')).unwrap();
        return violations(path, api, target, value);
    }
    if let Some(options) = schema["anyOf"].as_array() {
        let each = options.iter().map(|option| violations(path, api, option, value));
        return each.min_by_key(Vec::len).unwrap_or_default();
    }
    let is = match (schema["type"].as_str(), value) {
        (None, _)
        | (Some("object"), Value::Object(_))
        | (Some("array"), Value::Array(_))
        | (Some("string"), Value::String(_))
        | (Some("number" | "integer"), Value::Number(_))
        | (Some("boolean"), Value::Bool(_))
        | (Some("null"), Value::Null) => true,
        (Some(_), _) => false,
    };
    if !is {
        return vec![format!("{path}: {value} is not {}", schema["type"])];
    }
    inside(path, api, schema, value)
}

fn inside(path: &str, api: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{path}.{name} is missing"));
        }
    }
    for (name, own) in value.as_object().into_iter().flatten() {
        let property =
            schema["properties"].get(name).or_else(|| schema.get("additionalProperties").filter(|s| s.is_object()));
        if let Some(property) = property {
            found.extend(violations(&format!("{path}.{name}"), api, property, own));
        }
    }
    if let Some(items) = schema.get("items") {
        for own in value.as_array().into_iter().flatten() {
            found.extend(violations(&format!("{path}[]"), api, items, own));
        }
    }
    found
}
