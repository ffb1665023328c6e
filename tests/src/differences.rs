//! Where two reports differ: counts, positions and dates exactly, figures that were divided within 1e-12.

use events::Decimal;
use serde_json::Value;

/// Figures that are never rounded.
const EXACT: [&str; 11] = [
    "as_of",
    "fills",
    "buys",
    "sells",
    "volume_base",
    "volume_quote",
    "position",
    "mark",
    "fees_by_asset",
    "unconverted_fees",
    "commissions",
];

/// Every place where `actual` does not say what `expected` says. What only `actual` has is no difference, but for groups,
/// clients, days and assets.
pub fn differences(expected: &Value, actual: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", expected, actual, false, &mut found);
    found
}

fn compare(at: &str, expected: &Value, actual: &Value, exact: bool, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(left), Value::Object(right)) => {
            for (key, value) in left {
                let exact = exact || EXACT.contains(&key.as_str());
                compare(&format!("{at}/{key}"), value, right.get(key).unwrap_or(&Value::Null), exact, found);
            }
            let closed = ["/clients", "/net_flows_usdt", "/by_quote", "/commissions", "_fees", "/fees_by_asset"];
            if closed.iter().any(|end| at.ends_with(end)) {
                let unknown = right.iter().filter(|(key, value)| !left.contains_key(*key) && !is_zero(value));
                found.extend(unknown.map(|(key, _)| format!("{at}/{key} is there")));
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            if left.len() != right.len() {
                found.push(format!("{at} has {} entries, not {}", right.len(), left.len()));
            }
            let (left, right) = (sorted(left), sorted(right));
            for (left, right) in left.iter().zip(&right) {
                compare(&format!("{at}[{}]", name(left)), left, right, exact, found);
            }
        }
        (Value::String(left), Value::String(right)) if close(left, right, exact) => {}
        (left, right) if left == right => {}
        (left, right) => found.push(format!("{at}: expected {left}, got {right}")),
    }
}

/// Groups by what they are of, days by their date.
fn sorted(entries: &[Value]) -> Vec<Value> {
    let mut entries = entries.to_vec();
    entries.sort_by_key(name);
    entries
}

fn name(entry: &Value) -> String {
    let parts = ["client", "bot", "exchange", "market", "pair", "date"];
    parts.iter().filter_map(|part| entry.get(part)?.as_str()).collect::<Vec<_>>().join("/")
}

fn is_zero(value: &Value) -> bool {
    value.as_str().and_then(|text| text.parse::<Decimal>().ok()).is_some_and(|value| value.is_zero())
}

fn close(left: &str, right: &str, exact: bool) -> bool {
    let (Ok(left), Ok(right)) = (left.parse::<Decimal>(), right.parse::<Decimal>()) else { return left == right };
    let distance = left.minus(right).expect("figures of one kind").abs();
    let scale = left.abs().max(Decimal::ONE).rounded(0);
    match exact {
        true => distance.is_zero(),
        false => distance <= scale.times(Decimal::new(1, 12)).expect("a small number"),
    }
}
