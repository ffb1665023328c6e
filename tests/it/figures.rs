//! Exact figures: against an independent implementation, against recorded answers, in any order of arrival.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use projections::{pnl, versions};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::Value;
use store::{Login, read};
use tests::{Database, differences, shared_data};

/// Data sets of the generator that `make test` goes through.
const SEEDS: std::ops::Range<u32> = 1..17;

fn oracle(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("oracle").join(name)
}

/// Runs one of our Python oracles.
pub fn python(name: &str, arguments: &[&str]) -> std::process::Output {
    Command::new("python3").arg(oracle(name)).args(arguments).output().expect("python3 can be started")
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|cause| panic!("{cause}: {}", String::from_utf8_lossy(bytes)))
}

fn report(database: &Database, as_of: &str) -> Value {
    json(database.succeed(&["report", "pnl", "--as-of", as_of, "--format", "json", "--catch-up"]).as_bytes())
}

fn assert_same(expected: &Value, actual: &Value, what: &str) {
    let found = differences(expected, actual);
    assert!(found.is_empty(), "{what}: {} differences\n{}", found.len(), found.join("\n"));
}

/// A seeded data set: its folder, the moment to ask for, and what an independent program says of it.
fn case(seed: u32, dir: &Path) -> (String, Value) {
    let made = python("make_cases.py", &[&seed.to_string(), &dir.to_string_lossy()]);
    let as_of = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let expected = python("pnl_reference.py", &[&dir.to_string_lossy(), &as_of]);
    (as_of, json(&expected.stdout))
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_data_sets_come_to_what_an_independent_program_says() {
    for seed in SEEDS {
        let (database, dir) = (Database::new().await, tempfile::tempdir().unwrap());
        let (as_of, expected) = case(seed, dir.path());
        database.import(dir.path());
        assert_same(&expected, &report(&database, &as_of), &format!("seed {seed} as of {as_of}"));
        offline(&database, &expected, &as_of);
        the_present_rows_say_what_the_report_says(&database).await;
        database.succeed(&["rebuild", "pnl", "--verify"]);
    }
}

/// `pnl_books` holds every book as it stands after the newest event.
async fn the_present_rows_say_what_the_report_says(database: &Database) {
    let report = json(database.succeed(&["report", "pnl", "--format", "json"]).as_bytes());
    let mut tx = database.pool(Login::AdminQuery).begin().await.unwrap();
    versions::use_live(&mut tx).await.unwrap();
    let mut rows = Vec::new();
    for (client, _) in read::heads_of_all(&mut *tx).await.unwrap() {
        let tallies = pnl::tallies(&mut tx, client).await.unwrap();
        rows.extend(tallies.into_values().map(|tally| {
            let texts = [tally.position, tally.realized, tally.fees_quote, tally.fifo_realized, tally.volume_quote];
            texts.map(|figure| figure.to_string())
        }));
    }
    let figures = |group: &Value| {
        let fifo = &group["alternatives"]["fifo"]["realized_gross"];
        let told = [&group["position"], &group["realized_gross"], &group["fees_quote"], fifo, &group["volume_quote"]];
        told.map(|figure| figure.as_str().unwrap().to_owned())
    };
    let mut told: Vec<_> = report["groups"].as_array().unwrap().iter().map(figures).collect();
    rows.sort();
    told.sort();
    assert_eq!(rows, told);
}

/// Every client's part of the report again, from its export alone.
fn offline(database: &Database, expected: &Value, as_of: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("export.jsonl").to_string_lossy().into_owned();
    for client in expected["clients"].as_object().unwrap().keys() {
        database.succeed(&["audit", "export", "--client", client, "--output", &file]);
        let recomputed = json(database.succeed(&["audit", "recompute", &file, "--as-of", as_of]).as_bytes());
        assert_same(&only(expected, client), &recomputed, &format!("{client} recomputed"));
    }
}

fn only(report: &Value, client: &str) -> Value {
    let mut report = report.clone();
    report["groups"].as_array_mut().unwrap().retain(|group| group["client"] == client);
    report["clients"].as_object_mut().unwrap().retain(|name, _| name == client);
    report["net_flows_usdt"].as_object_mut().unwrap().retain(|name, _| name == client);
    report
}

/// The lines of a file in another order; lines of one book and one moment keep theirs.
fn shuffle(from: &Path, to: &Path, random: &mut StdRng) {
    for name in ["fills.jsonl", "rates.jsonl", "funding.jsonl", "transfers.jsonl", "opening.jsonl"] {
        let Ok(text) = std::fs::read_to_string(from.join(name)) else { continue };
        let lines: Vec<(usize, &str)> = text.lines().enumerate().collect();
        let moment = |line: &str| {
            let row: Value = serde_json::from_str(line).unwrap_or_default();
            let parts = ["client", "bot", "exchange", "market", "pair", "ts"];
            parts.map(|part| row[part].to_string()).join("/")
        };
        let mut places: Vec<usize> = (0..lines.len()).collect();
        places.shuffle(random);
        // Lines of one moment share their places, in the order in which they came.
        let mut of_moment: std::collections::BTreeMap<String, Vec<usize>> = Default::default();
        for (line, place) in lines.iter().zip(&places) {
            of_moment.entry(moment(line.1)).or_default().push(*place);
        }
        of_moment.values_mut().for_each(|places| places.sort_unstable_by(|a, b| b.cmp(a)));
        let mut shuffled = vec![""; lines.len()];
        for (_, line) in &lines {
            let place = of_moment.get_mut(&moment(line)).and_then(Vec::pop).expect("each line has a place");
            shuffled[place] = line;
        }
        std::fs::write(to.join(name), shuffled.join("\n")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_arrival_changes_no_figure() {
    for seed in [3, 7, 11] {
        let dir = tempfile::tempdir().unwrap();
        let (as_of, expected) = case(seed, dir.path());
        // A conflict goes to whoever came first, so only sets without one have one answer in every order.
        let conflicts = Database::new().await.import(dir.path()).contains(" 0 refused") as u32;
        for round in 0..conflicts.max(1) * 2 {
            let (database, other) = (Database::new().await, tempfile::tempdir().unwrap());
            shuffle(dir.path(), other.path(), &mut StdRng::seed_from_u64(u64::from(round)));
            database.import(other.path());
            let expected = if conflicts == 1 {
                expected.clone()
            } else {
                json(&python("pnl_reference.py", &[&other.path().to_string_lossy(), &as_of]).stdout)
            };
            assert_same(&expected, &report(&database, &as_of), &format!("seed {seed}, order {round}"));
            database.succeed(&["rebuild", "pnl", "--verify"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_that_come_in_many_small_imports_and_folds_end_in_the_rows_of_a_rebuild() {
    let (database, dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let (as_of, expected) = case(5, dir.path());
    let pieces = tempfile::tempdir().unwrap();
    let lines = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    let names = ["transfers.jsonl", "fills.jsonl", "opening.jsonl", "funding.jsonl", "rates.jsonl"];
    for name in names {
        let text = lines(name);
        let all: Vec<&str> = text.lines().collect();
        for piece in all.chunks(all.len().div_ceil(6).max(1)) {
            names.iter().for_each(|name| drop(std::fs::remove_file(pieces.path().join(name))));
            std::fs::write(pieces.path().join(name), piece.join("\n")).unwrap();
            database.import(pieces.path());
            report(&database, &as_of);
        }
    }
    assert_same(&expected, &report(&database, &as_of), "in pieces");
    for model in ["pnl", "portfolio", "fills", "orders", "bots", "clients", "credentials", "overview"] {
        database.succeed(&["rebuild", model, "--verify"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_sets_come_to_their_recorded_answers_twice_and_in_another_order() {
    for (set, as_of) in [("real", "1723161905012"), ("rules", "1739923320000")] {
        let Some(dir) = shared_data(&format!("pnl/{set}")) else { return };
        let expected = json(&std::fs::read(dir.join("expected.json")).unwrap());
        let database = Database::new().await;
        database.import(&dir);
        assert_same(&expected, &report(&database, as_of), set);
        assert!(database.import(&dir).starts_with("imported: 0 new, "));
        assert_same(&expected, &report(&database, as_of), "imported twice");
        database.succeed(&["rebuild", "pnl", "--verify"]);
        offline(&database, &expected, as_of);
        let (other, shuffled) = (Database::new().await, tempfile::tempdir().unwrap());
        shuffle(&dir, shuffled.path(), &mut StdRng::seed_from_u64(1));
        other.import(shuffled.path());
        assert_same(&expected, &report(&other, as_of), "in another order");
        other.succeed(&["rebuild", "pnl", "--verify"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_nobody_needs_yet_is_kept_for_whoever_comes_to_need_it() {
    let (database, dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let (as_of, expected) = case(4, dir.path());
    let only = tempfile::tempdir().unwrap();
    let rates = "rates.jsonl";
    std::fs::copy(dir.path().join(rates), only.path().join(rates)).unwrap();
    let first = database.import(only.path());
    assert!(first.contains(" 0 duplicates"), "{first}");
    // Half of the fills, then all: each half needs rates that the other did not.
    std::fs::remove_file(only.path().join(rates)).unwrap();
    let fills = std::fs::read_to_string(dir.path().join("fills.jsonl")).unwrap();
    let half: Vec<&str> = fills.lines().take(fills.lines().count() / 2).collect();
    std::fs::write(only.path().join("fills.jsonl"), half.join("\n")).unwrap();
    database.import(only.path());
    report(&database, &as_of);
    std::fs::remove_file(dir.path().join(rates)).unwrap();
    database.import(dir.path());
    assert_same(&expected, &report(&database, &as_of), "rates first");
    assert!(database.import(dir.path()).starts_with("imported: 0 new, "));
    database.succeed(&["rebuild", "pnl", "--verify"]);
}
