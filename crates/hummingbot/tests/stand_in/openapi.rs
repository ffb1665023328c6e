//! Checks a request against the server's own OpenAPI description: no path, method, query parameter or body field that it
//! does not know, and none missing that it wants.

use serde_json::{Map, Value};

use crate::server::Asked;

pub struct OpenApi(Value);

impl OpenApi {
    pub fn read(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap())
    }

    /// Everything that is wrong with a request.
    pub fn faults(&self, asked: &Asked) -> Vec<String> {
        let Some(operation) = self.operation(asked) else {
            return vec![format!("{} {} does not exist", asked.method, asked.path)];
        };
        let mut faults = self.of_query(operation, asked);
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        match (schema.is_null(), asked.body.is_empty()) {
            (true, true) => {}
            (true, false) => faults.push("it takes no body".to_owned()),
            (false, true) => faults.push("it wants a body".to_owned()),
            (false, false) => {
                faults.extend(self.of_value("body", schema, &serde_json::from_slice(&asked.body).unwrap()))
            }
        }
        faults
    }

    /// The operation of the most literal path that fits.
    fn operation(&self, asked: &Asked) -> Option<&Value> {
        let paths = self.0["paths"].as_object().unwrap();
        let fits = paths.iter().filter(|(template, _)| fits(template, &asked.path));
        let operations = fits.filter_map(|(template, path)| Some((template, path.get(asked.method.to_lowercase())?)));
        operations.min_by_key(|(template, _)| template.matches('{').count()).map(|(_, operation)| operation)
    }

    fn of_query(&self, operation: &Value, asked: &Asked) -> Vec<String> {
        let none = Vec::new();
        let known = operation["parameters"].as_array().unwrap_or(&none).iter().filter(|one| one["in"] == "query");
        let known: Vec<&Value> = known.collect();
        let url = url::Url::parse(&format!("http://x/?{}", asked.query)).unwrap();
        let sent: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let mut faults = Vec::new();
        for one in &known {
            let name = one["name"].as_str().unwrap();
            if one["required"] == true && sent.iter().all(|(sent, _)| sent != name) {
                faults.push(format!("query parameter {name} is missing"));
            }
        }
        for (name, value) in &sent {
            match known.iter().find(|one| one["name"] == **name) {
                None => faults.push(format!("query parameter {name} is not known")),
                Some(one) if !text_fits(&one["schema"], value) => {
                    faults.push(format!("{name}={value} has the wrong type"))
                }
                Some(_) => {}
            }
        }
        faults
    }

    fn of_value(&self, at: &str, schema: &Value, value: &Value) -> Vec<String> {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap();
            return self.of_value(at, &self.0["components"]["schemas"][name], value);
        }
        if let Some(any) = schema["anyOf"].as_array() {
            let fits = any.iter().any(|schema| self.of_value(at, schema, value).is_empty());
            return if fits { Vec::new() } else { vec![format!("{at} fits none of its kinds: {value}")] };
        }
        let mut faults = Vec::new();
        if !type_fits(schema, value) {
            faults.push(format!("{at} has the wrong type: {value}"));
        }
        if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
            faults.push(format!("{at} may not be {value}"));
        }
        let number = || value.to_string().parse::<events::Decimal>().unwrap();
        let bound = |name: &str| schema.get(name).map(|bound| bound.to_string().parse::<events::Decimal>().unwrap());
        if value.is_number() && bound("maximum").is_some_and(|most| number() > most) {
            faults.push(format!("{at} is too large: {value}"));
        }
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            faults.extend(values.iter().flat_map(|value| self.of_value(at, items, value)));
        }
        if let (Some(known), Some(fields)) = (schema["properties"].as_object(), value.as_object()) {
            faults.extend(self.of_fields(at, schema, known, fields));
        }
        faults
    }

    fn of_fields(
        &self,
        at: &str,
        schema: &Value,
        known: &Map<String, Value>,
        fields: &Map<String, Value>,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        for name in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(name.as_str().unwrap()) {
                faults.push(format!("{at}.{name} is missing"));
            }
        }
        for (name, value) in fields {
            match known.get(name) {
                Some(schema) => faults.extend(self.of_value(&format!("{at}.{name}"), schema, value)),
                None => faults.push(format!("{at}.{name} is not known")),
            }
        }
        faults
    }
}

fn fits(template: &str, path: &str) -> bool {
    // A database's path is a parameter with slashes in it.
    if let Some((before, after)) = template.split_once("{db_path}") {
        return path.len() > before.len() + after.len() && path.starts_with(before) && path.ends_with(after);
    }
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    let same = |(known, sent): (&&str, &&str)| known == sent || (known.starts_with('{') && !sent.is_empty());
    template.len() == path.len() && template.iter().zip(&path).all(same)
}

fn type_fits(schema: &Value, value: &Value) -> bool {
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some(other) => panic!("type {other} is not known to this check"),
        None => true,
    }
}

fn text_fits(schema: &Value, text: &str) -> bool {
    match schema["type"].as_str() {
        Some("integer") => text.parse::<i64>().is_ok(),
        Some("number") => text.parse::<events::Decimal>().is_ok(),
        Some("boolean") => matches!(text, "true" | "false"),
        _ => true,
    }
}
