//! An export for someone who trusts nothing: whatever is changed in it is found, by us and by a second verifier.

use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use serde_json::Value;
use tests::{Database, SIGNING_KEY};

use crate::{
    facts::{client_with_bot, fill, recorded, write},
    figures::python,
};

struct Exported {
    database: Database,
    dir: tempfile::TempDir,
    lines: Vec<String>,
    key: String,
}

async fn exported() -> Exported {
    let (database, dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let streams = database.streams();
    let (client, bot) = client_with_bot(&streams, "acme").await;
    write(&streams, (0..8).map(|n| recorded(client, fill(client, bot, n, n as i64))).collect()).await;
    let file = dir.path().join("export.jsonl");
    database.succeed(&["audit", "export", "--client", "acme", "--output", &file.to_string_lossy()]);
    let lines = std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect();
    let seed: [u8; 32] = hex::decode(SIGNING_KEY).unwrap().try_into().unwrap();
    let key = hex::encode(SigningKey::from_bytes(&seed).verifying_key().as_bytes());
    Exported { database, dir, lines, key }
}

impl Exported {
    fn file(&self, bytes: &[u8]) -> String {
        let path: PathBuf = self.dir.path().join("tried.jsonl");
        std::fs::write(&path, bytes).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// What both verifiers say: whether it is fine, and which line is bad. They must agree.
    fn verdict(&self, bytes: &[u8], arguments: &[&str], what: &str) -> Result<String, String> {
        let file = self.file(bytes);
        let ours = self.database.run(&[&["audit", "verify", &file], arguments].concat());
        let theirs = python("verify_export.py", &[&[file.as_str()], arguments].concat());
        let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
        let (left, right) = (said(&ours), said(&theirs));
        let line = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
        assert_eq!(ours.status.code(), theirs.status.code(), "{what}\nours: {left}\ntheirs: {right}");
        assert!(!left.is_empty() && !String::from_utf8_lossy(&ours.stderr).contains("panicked"), "{what}");
        if ours.status.success() {
            return Ok(left);
        }
        assert_eq!(line(&left), line(&right), "{what}\nours: {left}\ntheirs: {right}");
        Err(left)
    }

    fn joined(lines: &[String]) -> Vec<u8> {
        (lines.join("\n") + "\n").into_bytes()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untouched_export_is_fine_with_and_without_the_key() {
    let exported = exported().await;
    let whole = Exported::joined(&exported.lines);
    let said = exported.verdict(&whole, &["--pubkey", &exported.key], "untouched").unwrap();
    assert!(said.starts_with("ok: 10 events of client ") && said.contains("signed by the key"), "{said}");
    let said = exported.verdict(&whole, &[], "without a key").unwrap();
    assert!(said.contains("the chain alone was checked"), "{said}");
    let head: Value = serde_json::from_str(&exported.database.succeed(&["audit", "head", "--client", "acme"])).unwrap();
    let pinned = format!("10:{}", head["head"]["chain_hash"].as_str().unwrap());
    assert!(exported.verdict(&whole, &["--head", &pinned], "pinned").is_ok());
    assert_eq!(head["public_key"].as_str(), Some(exported.key.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_value_is_changed_the_line_is_named() {
    let exported = exported().await;
    // A line in the middle and the head.
    for line in [4, exported.lines.len() - 1] {
        let value: Value = serde_json::from_str(&exported.lines[line]).unwrap();
        let mut pointers = Vec::new();
        leaves("", &value, &mut pointers);
        assert!(pointers.len() >= 5);
        for pointer in pointers {
            let mut changed = value.clone();
            let leaf = changed.pointer_mut(&pointer).unwrap();
            *leaf = altered(leaf);
            let mut lines = exported.lines.clone();
            lines[line] = events::chain::canonical(&changed);
            let found = exported.verdict(&Exported::joined(&lines), &["--pubkey", &exported.key], &pointer);
            let found = found.expect_err(&pointer);
            assert!(found.starts_with(&format!("bad line {}: ", line + 1)), "{pointer}: {found}");
        }
    }
}

fn leaves(at: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| leaves(&format!("{at}/{key}"), value, found)),
        Value::Array(entries) => {
            entries.iter().enumerate().for_each(|(n, value)| leaves(&format!("{at}/{n}"), value, found))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => found.push(at.to_owned()),
    }
}

/// Another value of the same kind, as like the old one as can be.
fn altered(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_u64().unwrap() + 1),
        Value::String(text) => {
            let place = text.rfind(|c: char| c.is_ascii_digit()).unwrap_or(text.len() - 1);
            let other = if text.as_bytes()[place] == b'1' { "2" } else { "1" };
            Value::from(format!("{}{other}{}", &text[..place], &text[place + 1..]))
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Value::from("something"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_deleted_inserted_moved_or_cut_is_named() {
    let exported = exported().await;
    let key = ["--pubkey", exported.key.as_str()];
    let bad = |lines: Vec<String>, what: &str| exported.verdict(&Exported::joined(&lines), &key, what).expect_err(what);
    for at in 0..exported.lines.len() {
        let mut deleted = exported.lines.clone();
        deleted.remove(at);
        let found = bad(deleted, &format!("line {at} deleted"));
        assert!(found.starts_with(&format!("bad line {}: ", at + 1)), "{found}");
        let mut twice = exported.lines.clone();
        twice.insert(at, exported.lines[at].clone());
        bad(twice, &format!("line {at} twice"));
        if at > 0 {
            let mut moved = exported.lines.clone();
            moved.swap(at - 1, at);
            assert!(bad(moved, &format!("line {at} moved")).starts_with(&format!("bad line {at}: ")));
        }
        bad(exported.lines[..at].to_vec(), &format!("cut before {at}"));
    }
    let whole = Exported::joined(&exported.lines);
    for cut in [1, 2, 100, 700] {
        assert!(exported.verdict(&whole[..whole.len() - cut], &key, &format!("{cut} bytes cut")).is_err());
    }
    for (appended, what) in [("\n", "an empty line"), ("x", "a byte"), ("{}\n", "an object")] {
        assert!(exported.verdict(&[&whole[..], appended.as_bytes()].concat(), &key, what).is_err());
    }
    assert!(exported.verdict(b"", &key, "nothing").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_was_rewritten_with_all_its_hashes_does_not_carry_the_signature() {
    let exported = exported().await;
    let whole = Exported::joined(&exported.lines);
    // Another key's owner can make a chain that holds; he cannot sign for the desk.
    let stranger = hex::encode(SigningKey::from_bytes(&[7; 32]).verifying_key().as_bytes());
    let found = exported.verdict(&whole, &["--pubkey", &stranger], "a stranger's key").unwrap_err();
    assert!(found.contains("not signed by the key that you gave"), "{found}");
    let other = format!("5:{}", "00".repeat(32));
    assert!(exported.verdict(&whole, &["--head", &other], "a head from elsewhere").is_err());
    let beyond = format!("99:{}", "00".repeat(32));
    assert!(exported.verdict(&whole, &["--head", &beyond], "a head beyond the file").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn spellings_that_mean_the_same_are_refused_because_each_fact_has_one() {
    let exported = exported().await;
    let line = &exported.lines[4];
    for (other, what) in [
        (line.replacen(':', ": ", 1), "a space"),
        (line.replacen("SOL", "\\u0053OL", 1), "an escape"),
        (line.replacen('{', "{\"zzz\":1,", 1), "a field more"),
        (line.replacen("\"client_seq\":5", "\"client_seq\":5.0", 1), "a float"),
        (line.replacen("\"client_seq\":5", "\"client_seq\":1e309", 1), "a number beyond every double"),
        (format!("\u{feff}{line}"), "a byte order mark"),
        (format!("{line}\r"), "a carriage return"),
    ] {
        assert_ne!(&other, line, "{what}");
        let mut lines = exported.lines.clone();
        lines[4] = other;
        let found = exported.verdict(&Exported::joined(&lines), &[], what).expect_err(what);
        assert!(found.starts_with("bad line 5: "), "{what}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_not_signed_when_the_stream_does_not_hold_what_was_signed_before() {
    let exported = exported().await;
    let superuser = exported.database.superuser();
    let rewrite =
        "alter table es.events disable trigger user; update es.events set chain_hash = '\\x00' where client_seq = 10;
                   update es.streams set head_hash = '\\x00' where head = 10";
    sqlx::raw_sql(rewrite).execute(&superuser).await.unwrap();
    let output = exported.database.run(&["audit", "head", "--client", "acme"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("does not hold what was signed before"), "{said}");
}
