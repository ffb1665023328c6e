//! The API is what its description says. Schemathesis makes requests of it, fitting ones and unfitting ones, and holds each
//! answer against what the description tells: its status, its headers, its type, its form; that what fits is taken and
//! what does not is refused; that nobody comes in without a token. It is another program, written from the standard.
//!
//! `make test` tries some thousand requests, the same each time; `make fuzz` tries more, FUZZ_EXAMPLES=120 for each
//! operation and FUZZ_SEED=0.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tests::target;

use crate::{
    edge::Party,
    neighbours::{Neighbours, id_in, order_of, rule_in},
};

/// Requests that a run makes at least, of both roles together.
const CASES_MIN: u64 = 1_000;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn from_environment(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

/// The description as one role may use it, and with ids that there are: a request about nothing shows little.
fn as_used_by(role: &str, api: &Value, of: &Party) -> Value {
    let mut api = api.clone();
    for (path, item) in api["paths"].as_object_mut().unwrap() {
        let ids = id_in(path, of);
        for operation in item.as_object_mut().unwrap().values_mut() {
            let Some(parameters) = operation["parameters"].as_array_mut() else { continue };
            // Neither a cursor nor how far a stream goes can be made up, and only an admin says which client.
            parameters.retain(|parameter| {
                let mine = parameter["in"] == "path" || parameter["name"] != "client" || role == "admin";
                mine && parameter["name"] != "cursor" && parameter["name"] != "min_seq"
            });
            for parameter in parameters {
                let there = match parameter["name"].as_str().unwrap() {
                    "id" | "bot" => json!([ids]),
                    "rule" if parameter["in"] == "path" => json!([rule_in(path)]),
                    "order" if parameter["in"] == "path" => json!([order_of(of).to_string()]),
                    "client" if parameter["in"] == "query" => json!([of.slug]),
                    _ => continue,
                };
                parameter["required"] = json!(parameter["required"] == true || parameter["name"] == "client");
                parameter["schema"] = json!({"anyOf": [{"type": "string", "enum": there}, parameter["schema"]]});
            }
        }
    }
    api
}

/// Runs it over the server as somebody; its report, or what it found.
fn try_all(neighbours: &Neighbours, role: &str, token: &str, api: &Value) -> Result<Value, String> {
    let program = root().join(".pipelabs/tools/checks/bin/schemathesis");
    assert!(program.is_file(), "{} is missing: `make checks` installs it", program.display());
    let dir = target().join("described");
    fs::create_dir_all(&dir).unwrap();
    // What a description can be got wrong in at all is tried once: with each field of each operation it takes its time.
    let brief = role == "admin" && std::env::var("FUZZ_EXAMPLES").is_err();
    let phases = if brief { "examples,fuzzing" } else { "examples,coverage,fuzzing,stateful" };
    let [description, report] = ["description", "report"].map(|what| dir.join(format!("{role}-{what}.json")));
    fs::write(&description, as_used_by(role, api, &neighbours.edge.acme).to_string()).unwrap();
    let output = Command::new(program)
        .arg("--config-file")
        .arg(root().join("tests/schemathesis.toml"))
        .arg("run")
        .arg(&description)
        .args(["--url", &neighbours.edge.served.url, "--header", &format!("Authorization: Bearer {token}")])
        .args(["--max-examples", &from_environment("FUZZ_EXAMPLES", "3")])
        .args(["--seed", &from_environment("FUZZ_SEED", "0"), "--generation-database", "none"])
        .args([
            "--phases",
            phases,
            "--checks",
            "all",
            "--continue-on-failure",
            "--no-color",
            "--report",
            "json",
            "--report-json-path",
        ])
        .arg(&report)
        .current_dir(&dir)
        // It would wait for a description there.
        .stdin(Stdio::null())
        .output()
        .expect("it can be started");
    let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    match output.status.success() {
        true => Ok(serde_json::from_slice(&fs::read(&report).unwrap()).unwrap()),
        false => Err(format!("as {role}: {said}{complained}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_the_description_tells_of() {
    let neighbours = Neighbours::new().await;
    let edge = &neighbours.edge;
    let api = edge.served.ask("", "/openapi.json").await.json();
    let (mut cases, mut wrong) = (0, Vec::new());
    for (role, token) in [("client", &edge.acme.token), ("admin", &edge.admin)] {
        let report = match tokio::task::block_in_place(|| try_all(&neighbours, role, token, &api)) {
            Ok(report) => report,
            Err(found) => {
                wrong.push(found);
                continue;
            }
        };
        let operations = &report["operations"];
        assert_eq!((&operations["tested"], &report["errors"]), (&operations["selected"], &json!([])), "{report}");
        cases += report["test_cases"]["generated"].as_u64().unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{cases} requests were answered as the description tells");
    assert!(cases >= CASES_MIN, "only {cases} requests were made");
}
