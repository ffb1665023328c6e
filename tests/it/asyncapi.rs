//! What is told on NATS is what its description says: every message of a client's stream, and the beat, held against
//! `/asyncapi.json` by a validator of JSON Schema that is not ours.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use events::{
    Time,
    alert::{RuleEvent, Scope},
};
use futures::StreamExt;
use serde_json::{Value, json};
use store::{Login, read};
use tests::{Served, arrived};

use crate::{
    alerts::{becomes, quotes, runs},
    edge::Edge,
    facts::{append, write},
};

/// Reads schemas and what they are to fit, and tells what does not.
const VALIDATE: &str = "
import json, sys, jsonschema_rs
told = json.load(sys.stdin)
for case in told['cases']:
    schema = {'$ref': case['schema'], 'components': told['components']}
    for error in jsonschema_rs.validator_for(schema).iter_errors(case['told']):
        print(case['schema'], error)
";

fn unfit(api: &Value, cases: &[(&str, Value)]) -> String {
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.pipelabs/tools/checks/bin/python");
    assert!(python.exists(), "{} is missing: `make checks` installs it", python.display());
    let cases: Vec<Value> = cases.iter().map(|(schema, told)| json!({"schema": schema, "told": told})).collect();
    let asked = json!({"components": api["components"], "cases": cases}).to_string();
    let mut child = Command::new(python)
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    child.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let [said, complained] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    said + &complained
}

/// Whether a subject is one of a channel's, whose address has names in braces.
fn is_of(subject: &str, channel: &Value) -> bool {
    let address = channel["address"].as_str().unwrap();
    let (words, named): (Vec<_>, Vec<_>) = (subject.split('.').collect(), address.split('.').collect());
    let fits = |(word, name): (&&str, &&str)| {
        let parameter = name.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        let allowed = parameter.map(|name| channel["parameters"][name]["enum"].as_array().cloned());
        match allowed {
            None => word == name,
            Some(allowed) => allowed.is_none_or(|allowed| allowed.contains(&json!(word))),
        }
    };
    words.len() == named.len() && words.iter().zip(&named).all(fits)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_one_that_the_description_tells_of() {
    let edge = Edge::new("api,projector,alerts").await;
    let api = edge.served.ask("", "/asyncapi.json").await.json();
    let mut beats = edge.database.nats().admin().await.subscribe("pipelabs_beats.alerts").await.unwrap();
    let _relay = Served::start(&edge.database, "relay");
    runs(&edge.streams, &edge.acme, Time::now()).await;
    let parameters = ["for_s", "keep_s"].map(|name| (name.to_owned(), "0.2".parse().unwrap())).into();
    let (rule, scope) = ("spread_wide".parse().unwrap(), Scope::default());
    let event = RuleEvent::RuleConfigured { rule, scope, on: true, parameters, at: Time::now() };
    let aggregate = events::AggregateRef::new("rule", "spread_wide");
    write(&edge.streams, vec![append(edge.acme.client, aggregate, event.into(), None)]).await;
    quotes(&edge, &edge.acme, 400).await;
    becomes(&edge, &edge.acme, "spread_wide", "firing").await;
    quotes(&edge, &edge.acme, 20).await;
    becomes(&edge, &edge.acme, "spread_wide", "resolved").await;
    arrived(&edge.database, edge.acme.client, None).await;
    let last = read::head(&edge.database.pool(Login::Projector), edge.acme.client).await.unwrap();
    let stream = edge.database.nats().jetstream().await;
    let stream = stream.get_stream(relay::stream_name(edge.acme.client)).await.unwrap();
    let (mut cases, mut alerts) = (Vec::new(), 0);
    for seq in 1..=last {
        let message = stream.get_raw_message(seq).await.unwrap();
        let payload: Value = serde_json::from_slice(&message.payload).unwrap();
        let channel = ["alerts", "events"].into_iter().find(|name| is_of(&message.subject, &api["channels"][name]));
        let headers = message.headers.iter().map(|(name, values)| (name.to_string(), json!(values[0].as_str())));
        cases.push(("#/components/schemas/Attributes", headers.collect()));
        cases.push(match channel.unwrap_or_else(|| panic!("{} is no channel's", message.subject)) {
            "alerts" => {
                alerts += 1;
                ("#/components/schemas/AlertEvent", payload)
            }
            _ => ("#/components/schemas/EventPayload", payload),
        });
    }
    assert_eq!(alerts, 2);
    let beat = tokio::time::timeout(Duration::from_secs(30), beats.next()).await.expect("it beats").unwrap();
    cases.push(("#/components/schemas/Beat", serde_json::from_slice(&beat.payload).unwrap()));
    assert_eq!(unfit(&api, &cases), "");
    // What does not fit is seen.
    let wrong = unfit(&api, &[("#/components/schemas/AlertEvent", json!({"AlertFired": {"severity": "loud"}}))]);
    assert!(wrong.contains("AlertEvent"), "{wrong}");
}
