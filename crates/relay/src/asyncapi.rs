//! What is told on NATS, for those who build on it: AsyncAPI 3.0.

use events::{ClientId, RuleName, Time, alert::AlertEvent, export::SignedHead, subscription::Filter};
use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use crate::dead_man::Beat;

/// The description, as JSON.
pub fn asyncapi() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Pipe Labs",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every event of a client's stream, as a CloudEvent 1.0 in binary mode, stored in one JetStream \
                stream a client: the sequence of a message there is the event's number in the client's stream, so whoever has \
                seen 1, 2, 3 misses nothing. Subscribers come in by a subscription (`POST /api/alerts/subscriptions`), \
                which tells the names of the stream and of a durable consumer of their own, and see one client only. \
                Messages come at least once until they are acknowledged, each under one `ce-id`.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "alerts": channel(
                "pipelabs.{client}.alerts.{severity}.{rule}",
                "Transitions of alerts, and what people do about them, in the same stream and under the same numbers as all other events",
                &[("client", client()), ("severity", one_of("How bad it is", Filter::SEVERITIES)), ("rule", text("Which rule says so"))],
                "alert",
            ),
            "events": channel(
                "pipelabs.{client}.events.{aggregate}.{type}",
                "Every other event of a client's stream",
                &[
                    ("client", client()),
                    ("aggregate", one_of("The kind of thing that it is about", Filter::AGGREGATES)),
                    ("type", text("What happened: the payload's only field, and `ce-type`")),
                ],
                "event",
            ),
            "heads": channel(
                "pipelabs_heads.{client}",
                "How far the stream goes and the hash that stands for all of it, signed, each minute; in no stream",
                &[("client", client())],
                "head",
            ),
            "beats": channel(
                "pipelabs_beats.alerts",
                "Whether somebody evaluates alerts, every ten seconds, for those who run the platform; in no stream",
                &[],
                "beat",
            ),
        },
        "operations": {
            "tellAlert": sends("alerts", "alert"),
            "tellEvent": sends("events", "event"),
            "tellHead": sends("heads", "head"),
            "tellBeat": sends("beats", "beat"),
        },
        "components": {
            "messages": {
                "alert": message("A transition of an alert", "AlertEvent", true),
                "event": message("What happened", "EventPayload", true),
                "head": message("A signed head", "SignedHead", false),
                "beat": message("Whether alerts are evaluated", "Beat", false),
            },
            "schemas": schemas(),
        },
    })
}

fn channel(address: &str, about: &str, parameters: &[(&str, Value)], message: &str) -> Value {
    let parameters: Map<String, Value> =
        parameters.iter().map(|(name, said)| ((*name).to_owned(), said.clone())).collect();
    let told = json!({message: {"$ref": format!("#/components/messages/{message}")}});
    json!({"address": address, "description": about, "parameters": parameters, "messages": told})
}

fn client() -> Value {
    text("The client's id in 32 hex digits")
}

fn text(about: &str) -> Value {
    json!({"description": about})
}

fn one_of(about: &str, these: &[&str]) -> Value {
    json!({"description": about, "enum": these})
}

fn sends(channel: &str, message: &str) -> Value {
    let [channel, message] = [format!("#/channels/{channel}"), format!("#/channels/{channel}/messages/{message}")]
        .map(|at| json!({"$ref": at}));
    json!({"action": "send", "channel": channel, "messages": [message]})
}

fn message(title: &str, payload: &str, is_event: bool) -> Value {
    let mut told = json!({"title": title, "payload": {"$ref": format!("#/components/schemas/{payload}")}});
    if is_event {
        told["headers"] = json!({"$ref": "#/components/schemas/Attributes"});
    }
    told
}

/// Of all that is told, and of whatever that is made of.
fn schemas() -> Map<String, Value> {
    let mut parts: Vec<(String, RefOr<Schema>)> = Vec::new();
    add::<AlertEvent>(&mut parts);
    add::<SignedHead>(&mut parts);
    add::<Beat>(&mut parts);
    add::<ClientId>(&mut parts);
    add::<RuleName>(&mut parts);
    add::<Time>(&mut parts);
    let parts = parts
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).expect("a schema always has a JSON form")));
    parts.chain([("EventPayload".to_owned(), event()), ("Attributes".to_owned(), attributes())]).collect()
}

fn add<T: ToSchema>(parts: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(parts);
    parts.push((T::name().into_owned(), T::schema()));
}

/// What each kind tells stands in the crate `events`, and an example of each in `events/samples`.
fn event() -> Value {
    json!({
        "description": "One field, called what happened, with what is told of it; numbers of money are exact decimals in texts",
        "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": {"type": "object"},
    })
}

/// The headers of an event's message.
fn attributes() -> Value {
    let told = [
        ("ce-specversion", "`1.0`"),
        ("ce-id", "The event's own id, the same however often it comes"),
        ("ce-source", "`/pipelabs/clients/<client>`"),
        ("ce-type", "What happened"),
        ("ce-typeversion", "Which version of that word"),
        ("ce-aggregate", "The kind of thing that it is about"),
        ("ce-subject", "Which one of its kind, percent-encoded"),
        ("ce-time", "When the world says it happened"),
        ("ce-recordedtime", "When it entered the stream"),
        ("ce-clientseq", "Its place in the client's stream, the message's sequence too"),
        ("ce-chainhash", "The hash that stands for it and all before it, as in exports"),
        ("ce-datacontenttype", "`application/json`"),
    ];
    let properties: Map<String, Value> = told
        .iter()
        .map(|(name, about)| ((*name).to_owned(), json!({"type": "string", "description": about})))
        .collect();
    json!({"type": "object", "required": told.map(|(name, _)| name), "properties": properties})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn whatever_it_refers_to_is_described() {
        let told = asyncapi();
        let mut found = Vec::new();
        references(&told, &mut found);
        let lost: Vec<&String> = found.iter().filter(|place| told.pointer(&place[1..]).is_none()).collect();
        assert!(found.len() > 20 && lost.is_empty(), "{lost:?}");
    }
}
