//! Files from outside: every bad line is named, nothing else is lost, nothing panics.

use serde_json::{Value, json};
use tests::Database;

fn good(n: u32) -> Value {
    json!({"client": "acme", "bot": "maker", "exchange": "binance", "market": "spot", "pair": "SOL-USDT", "side": "buy",
           "price": "170", "amount": "1", "fee": "0.1", "fee_asset": "USDT", "liquidity": "maker", "order_id": format!("o{n}"),
           "trade_id": format!("t{n}"), "ts": 1_739_923_141_000_u64 + u64::from(n)})
}

fn with(field: &str, value: Value) -> String {
    let mut row = good(1);
    row[field] = value;
    row.to_string()
}

fn without(field: &str) -> String {
    let mut row = good(1);
    row.as_object_mut().unwrap().remove(field);
    row.to_string()
}

/// A line that must be refused, and a word that its reason must have.
fn hostile() -> Vec<(String, &'static str)> {
    let mut lines = vec![
        ("not json".to_owned(), "no JSON object"),
        ("{".to_owned(), "EOF"),
        ("[]".to_owned(), "no JSON object"),
        ("null".to_owned(), "no JSON object"),
        ("42".to_owned(), "no JSON object"),
        (format!("{}{}", good(1), good(2)), "trailing"),
        (good(1).to_string().replacen('{', "{\"price\":\"1\",", 1), "duplicate field `price`"),
        ("[".repeat(100_000), "no JSON object"),
        (format!("{{\"fees\":{}", "[".repeat(100_000)), "invalid type"),
        (format!("{{\"more\":{}", "[".repeat(100_000)), "EOF"),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20)), "longer than"),
        (with("client", json!("no spaces please")), "slug"),
        (with("client", json!("x".repeat(65))), "slug"),
        (with("client", json!(7)), "invalid type"),
        (with("bot", json!("")), "slug"),
        (with("exchange", json!("mtgox")), "mtgox"),
        (with("exchange", json!("Binance")), "Binance"),
        (with("market", json!("futures")), "futures"),
        (with("pair", json!("SOLUSDT")), "BASE-QUOTE"),
        (with("pair", json!("SOL-SOL")), "BASE-QUOTE"),
        (with("side", json!("hold")), "hold"),
        (with("price", json!("0")), "price must be above zero, got 0"),
        (with("price", json!("-1")), "price must be above zero, got -1"),
        (with("price", json!("NaN")), "NaN"),
        (with("price", json!("1e400")), "1e400"),
        (with("price", json!("1,000")), "1,000"),
        (with("price", json!(null)), "price"),
        (with("amount", json!("0.0")), "amount must be above zero"),
        (with("amount", json!("0.1234567890123456789012345")), "too precise"),
        (with("amount", json!("9".repeat(39))), "too precise"),
        (with("fee", json!("x")), "not a decimal"),
        (without("fee_asset"), "fee 0.1 has no fee_asset"),
        (without("fee"), "fee_asset USDT has no fee"),
        (with("fees", json!([{"asset": "USDT", "amount": "1"}])), "both fees and fee"),
        (with("liquidity", json!("both")), "both"),
        (with("order_id", json!("")), "order id"),
        (with("order_id", json!("a b")), "order id"),
        (with("trade_id", json!("\u{0}")), "trade id"),
        (with("trade_id", json!("x".repeat(129))), "trade id"),
        (with("ts", json!(1_739_923_141)), "is it in milliseconds?"),
        (with("ts", json!(1_739_923_141_000_000_u64)), "1739923141000000 ms"),
        (with("ts", json!("1739923141000")), "invalid type"),
        (with("ts", json!(1.5)), "invalid"),
        (with("ts", json!(-1)), "2009"),
        (with("ts", json!(i64::MAX)), "years"),
        (with("mid_at_fill", json!("0")), "mid must be above zero"),
    ];
    for field in
        ["client", "bot", "exchange", "market", "pair", "side", "price", "amount", "order_id", "trade_id", "ts"]
    {
        lines.push((without(field), "missing field"));
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_line_is_named_with_its_reason_and_the_rest_goes_on() {
    let (database, dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let hostile = hostile();
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for (n, (line, _)) in hostile.iter().enumerate() {
        lines.push(good(1_000 + n as u32).to_string().into_bytes());
        lines.push(line.clone().into_bytes());
    }
    lines.push(b"\xff\xfe not UTF-8".to_vec());
    lines.push(b"  \r".to_vec());
    lines.push(good(5_000).to_string().into_bytes());
    std::fs::write(dir.path().join("fills.jsonl"), lines.join(&b'\n')).unwrap();
    let output = database.run(&["import", "--dir", &dir.path().to_string_lossy()]);
    let said = String::from_utf8(output.stderr).unwrap();
    for (n, (line, word)) in hostile.iter().enumerate() {
        let named = format!("fills.jsonl line {} refused: ", 2 * n + 2);
        let told = said.lines().find(|told| told.starts_with(&named));
        let told = told.unwrap_or_else(|| panic!("{named}is missing, of {line:.80}\n{said}"));
        assert!(told.contains(word), "{told} does not speak of {word}, of {line:.80}");
        assert!(told.len() < 600, "{told}");
    }
    let good = hostile.len() + 1;
    let last = format!("imported: {good} new, 0 duplicates, {} refused\n", hostile.len() + 1);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), last);
    assert_eq!(output.status.code(), Some(1));
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(
        database.import(dir.path()),
        format!("imported: 0 new, {good} duplicates, {} refused", hostile.len() + 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rates_funding_and_transfers_are_named_too() {
    let (database, dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let write = |name: &str, lines: &[Value]| {
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        std::fs::write(dir.path().join(name), text.join("\n")).unwrap();
    };
    let ts = 1_739_923_141_000_u64;
    write("fills.jsonl", &[good(1)]);
    write(
        "rates.jsonl",
        &[
            json!({"ts": ts, "pair": "SOL-USDT", "price": "170"}),
            json!({"ts": ts, "pair": "SOL-USDT", "price": "-170"}),
            json!({"ts": 5, "pair": "SOL-USDT", "price": "170"}),
        ],
    );
    let funding = json!({"client": "acme", "bot": "maker", "exchange": "binance", "market": "perp", "pair": "SOL-USDT",
                         "amount": "0.5", "asset": "USDT", "funding_id": "u1", "ts": ts});
    let mut other = funding.clone();
    other["amount"] = json!("0.6");
    write("funding.jsonl", &[funding, other]);
    let transfer =
        json!({"client": "acme", "exchange": "kucoin", "asset": "USDT", "amount": "0", "transfer_id": "x", "ts": ts});
    write("transfers.jsonl", &[transfer]);
    let output = database.run(&["import", "--dir", &dir.path().to_string_lossy()]);
    let said = String::from_utf8(output.stderr).unwrap();
    for told in [
        "rates.jsonl line 2 refused: price must be above zero, got -170",
        "rates.jsonl line 3 refused: time 1970-01-01T00:00:00.005000Z lies before 2009",
        "funding.jsonl line 2 refused: FundingPaid was recorded at ",
        "transfers.jsonl line 1 refused: amount must not be zero",
    ] {
        assert!(said.contains(told), "{told} is missing in\n{said}");
    }
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "imported: 3 new, 0 duplicates, 4 refused\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_told_again_with_another_content_is_refused_and_kept_aside_once() {
    let (database, dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let other = with("price", json!("171"));
    std::fs::write(dir.path().join("fills.jsonl"), format!("{}\n{other}\n", good(1))).unwrap();
    for expected in ["imported: 1 new, 0 duplicates, 1 refused", "imported: 0 new, 1 duplicates, 1 refused"] {
        assert_eq!(database.import(dir.path()), expected);
    }
    let file = dir.path().join("export").to_string_lossy().into_owned();
    database.succeed(&["audit", "export", "--client", "acme", "--output", &file]);
    let export = std::fs::read_to_string(&file).unwrap();
    assert_eq!(export.matches("\"event_type\":\"FillDisputed\"").count(), 1);
    let report = database.succeed(&["report", "pnl", "--format", "json", "--catch-up"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["groups"][0]["avg_cost"], "170", "the first stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_any_file_of_ours_is_an_error_that_says_which() {
    let (database, dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let output = database.run(&["import", "--dir", &dir.path().to_string_lossy()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("holds none of rates.jsonl, opening.jsonl, fills.jsonl"), "{said}");
    assert_eq!(output.status.code(), Some(2));
}
