//! The arrows: which member may use which.

use std::collections::{BTreeMap, BTreeSet};

/// What each member may use of ours.
const MAY_USE: &[(&str, &[&str])] = &[
    ("events", &[]),
    ("domain", &["events"]),
    ("store", &["events"]),
    ("projections", &["events", "store"]),
    ("access", &["events", "store"]),
    ("relay", &["events", "store"]),
    ("vault", &["events", "store"]),
    ("hummingbot", &["events"]),
    ("paper", &["events"]),
    ("operator", &["events", "domain", "store", "projections", "vault", "hummingbot"]),
    ("alerts", &["events", "domain", "store", "projections"]),
    // The relay for subscribers' credentials alone.
    ("api", &["events", "domain", "store", "projections", "access", "vault", "operator", "alerts", "relay"]),
    ("pipelabs", EVERY),
    ("tests", EVERY),
    ("benches", EVERY),
];

/// The binary and what tries it out may use all of ours.
const EVERY: &[&str] = &[
    "events",
    "domain",
    "store",
    "projections",
    "access",
    "relay",
    "vault",
    "hummingbot",
    "paper",
    "operator",
    "alerts",
    "api",
    "pipelabs",
    "tests",
];

#[test]
fn every_member_uses_only_what_stands_before_it() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo answers");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let named = |value: &serde_json::Value| value["name"].as_str().expect("a package has a name").to_owned();
    let ours: BTreeSet<String> = packages.iter().map(named).collect();
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    assert_eq!(ours, allowed.keys().map(ToString::to_string).collect(), "the table lists every member");
    for package in packages {
        let member = named(package);
        for dependency in package["dependencies"].as_array().expect("it has dependencies").iter().map(named) {
            let fine = !ours.contains(&dependency) || allowed[member.as_str()].contains(&dependency.as_str());
            assert!(fine, "{member} must not know {dependency}");
        }
    }
}

#[test]
fn sql_stands_only_where_tables_are_owned() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    for member in ["events/src", "crates/domain/src", "crates/hummingbot/src", "crates/paper/src"] {
        for entry in std::fs::read_dir(root.join(member)).expect("it has sources") {
            let path = entry.expect("it can be listed").path();
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(!text.contains("sqlx::"), "{} speaks SQL", path.display());
        }
    }
}

/// The description has one shelf for all of them: of two that are called the same, one would stand there for both.
#[test]
fn no_two_things_that_the_api_describes_have_one_name() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let pattern = |text| regex::Regex::new(text).expect("it is a pattern");
    let described = pattern(r"ToSchema\)\]\s*((?:#\[[^\n]*\]\s*)*)(?:pub(?:\(crate\))? )?(?:struct|enum) (\w+)");
    let named = pattern(r"schema\(as = (\w+)");
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for member in
        ["events", "projections", "crates/access", "crates/api", "crates/relay", "crates/operator", "crates/vault"]
    {
        for path in sources(&root.join(member).join("src")) {
            let text = std::fs::read_to_string(&path).expect("a source can be read");
            for thing in described.captures_iter(&text) {
                let name = named.captures(&thing[1]).map_or(thing[2].to_owned(), |named| named[1].to_owned());
                found.entry(name).or_default().push(path.display().to_string());
            }
        }
    }
    assert!(found.len() > 60, "only {} things are described", found.len());
    let twice: Vec<_> = found.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(twice.is_empty(), "give one of each `#[schema(as = …)]`: {twice:#?}");
}

/// Every source below a folder.
fn sources(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries =
        std::fs::read_dir(folder).expect("it has sources").map(|entry| entry.expect("it can be listed").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| sources(folder))).collect()
}
