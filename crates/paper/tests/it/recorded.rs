//! The session that was recorded on the real server, played again on paper: every answer must look the same.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    harness::{Bench, stepped},
    shapes::{differences, violations},
};

/// Recorded requests that this server does not play, each with its reason.
const LEFT_OUT: [(&str, &str); 19] = [
    ("074", "that Docker was broken"),
    ("108", "that Docker was broken"),
    ("090", "executors are no fills"),
    ("124", "executors are no fills"),
    ("091", "positions of executors are no fills"),
    ("125", "positions of executors are no fills"),
    ("092", "its configurations hold the defaults that Hummingbot adds"),
    ("126", "its configurations hold the defaults that Hummingbot adds"),
    ("132", "its rows were made by hand"),
    ("133", "no executors here"),
    ("134", "no executors here"),
    ("135", "no executors here"),
    ("136", "no executors here"),
    ("137", "that feed never became ready"),
    ("138", "no feeds here"),
    ("086", "it counts executors"),
    ("120", "it counts executors"),
    ("093", "not recorded"),
    ("127", "not recorded"),
];

/// The recordings, where this repository stands beside them; they are no part of it.
pub fn shared() -> Option<PathBuf> {
    let shared = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/hummingbot");
    if shared.exists() {
        return Some(shared);
    }
    eprintln!("the recordings are not here: nothing is compared");
    None
}

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Recorded names of bots, and ours.
type Names = BTreeMap<&'static str, String>;

fn renamed(text: &str, names: &Names) -> String {
    names.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

/// What happened between two recorded calls without being recorded.
async fn meanwhile(bench: &Bench, number: &str, names: &mut Names) {
    match number {
        "060" => {
            bench.post("/controllers/configs/pmm_a1", crate::harness::maker("pmm_a1", "ETH-USDT")).await;
            let tried = bench.deploy("client_a", "try", "pmm_a1", true).await;
            names.insert("try-20261123-140933", tried.body["unique_instance_name"].as_str().unwrap().to_owned());
        }
        "068" | "102" => bench.step(120_000).await,
        "077" => {
            for side in ["BUY", "SELL"].repeat(10) {
                bench.order("client_a", json!({"trade_type": side, "amount": "0.001", "order_type": "MARKET"})).await;
                bench.step(100).await;
            }
        }
        "083" | "117" => {
            let bot = names["try-20261123-140933"].clone();
            bench.post(&format!("/bot-orchestration/stop-and-archive-bot/{bot}"), json!({})).await;
            bench.step(30_000).await;
        }
        "129" => {
            bench.post("/accounts/add-account?account_name=client_c", json!({})).await;
        }
        "131" => bench.step(900_000).await,
        _ => bench.step(1_200).await,
    }
}

fn learn(number: &str, body: &Value, names: &mut Names) {
    let theirs = match number {
        "066" => "mm-a-20261123-141051",
        "100" => "mm-a-20261123-141706",
        _ => return,
    };
    names.insert(theirs, body["unique_instance_name"].as_str().unwrap().to_owned());
}

#[tokio::test]
async fn every_recorded_call_is_answered_with_the_same_status_kind_and_shape() {
    let Some(shared) = shared() else { return };
    let api = read(shared.join("openapi.json"));
    let bench = Bench::start(paper::Settings { markets: vec![], ..stepped() }).await;
    let mut files: Vec<PathBuf> =
        fs::read_dir(shared.join("recorded")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let (mut names, mut wrong, mut compared) = (Names::new(), Vec::new(), 0);
    let mut orders: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let number = &name[..3];
        if !number.bytes().all(|digit| digit.is_ascii_digit()) || LEFT_OUT.iter().any(|(out, _)| *out == number) {
            continue;
        }
        meanwhile(&bench, number, &mut names).await;
        let recorded: Value = serde_json::from_str(&renamed(&read(file).to_string(), &names)).unwrap();
        let mut path = recorded["request"]["path"].as_str().unwrap().to_owned();
        for (theirs, ours) in &orders {
            path = path.replace(theirs.as_str(), ours);
        }
        let method = recorded["request"]["method"].as_str().unwrap();
        let auth = match number {
            "002" => Some(("admin", "wrong")),
            _ => recorded["request"]["auth"].as_bool().unwrap().then_some(("admin", "admin")),
        };
        let body = Some(&recorded["request"]["body"]).filter(|body| !body.is_null());
        let ours = bench.call(method, &path, body, auth).await.unwrap();
        learn(number, &ours.body, &mut names);
        let theirs = &recorded["response"];
        if let (Some(id), Some(own)) = (theirs["body"]["order_id"].as_str(), ours.body["order_id"].as_str()) {
            orders.insert(id.to_owned(), own.to_owned());
        }
        let mut found = differences("", &theirs["body"], &ours.body);
        if theirs["status"] != ours.status {
            found.push(format!("status {} instead of {}", ours.status, theirs["status"]));
        }
        if theirs["headers"]["content-type"] != ours.kind {
            found.push(format!("{} instead of {}", ours.kind, theirs["headers"]["content-type"]));
        }
        if ours.status >= 400 && number != "030" && theirs["body"]["detail"].is_string() {
            let same = number == "087" || ours.body["detail"] == theirs["body"]["detail"];
            found.extend((!same).then(|| format!("{} instead of {}", ours.body["detail"], theirs["body"]["detail"])));
        }
        found.extend(against(&api, method, &path, ours.status, &ours.body));
        compared += 1;
        wrong.extend(found.into_iter().map(|difference| format!("{name}: {difference}")));
    }
    assert!(wrong.is_empty(), "{} of {compared} calls:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 100, "only {compared} calls were compared");
}

/// What the server's own description says of an answer, where it says something.
fn against(api: &Value, method: &str, path: &str, status: u16, body: &Value) -> Vec<String> {
    let path = path.split('?').next().unwrap();
    let fits = |template: &str| {
        let (given, wanted): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
        given.len() == wanted.len() && given.iter().zip(&wanted).all(|(own, part)| own == part || part.starts_with('{'))
    };
    let paths = api["paths"].as_object().unwrap();
    let described = paths.get(path).or_else(|| paths.iter().find(|(template, _)| fits(template)).map(|(_, all)| all));
    let pointer = format!("/{}/responses/{status}/content/application~1json/schema", method.to_lowercase());
    let schema = described.and_then(|operation| operation.pointer(&pointer));
    schema.map(|schema| violations("", api, schema, body)).unwrap_or_default()
}
