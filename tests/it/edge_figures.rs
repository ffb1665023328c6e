//! Figures at the edge are the report's figures: on a real tape, by every grouping, method and window.

use std::{collections::BTreeMap, io::Read, path::PathBuf};

use events::{ClientId, Decimal, Time};
use flate2::read::GzDecoder;
use serde_json::Value;
use store::{Login, read};
use tests::{Database, Served, token};

const CLIENTS: [&str; 2] = ["acme", "borealis"];
/// The end of the tape.
const END_MS: i64 = 1_723_161_905_012;
const FIGURES: [&str; 6] = ["volume", "realized_gross", "fees", "funding", "unrealized", "total_net"];

/// The tape, imported and served.
struct Tape {
    database: Database,
    served: Served,
    admin: String,
    tokens: BTreeMap<&'static str, (ClientId, String)>,
    end: String,
}

impl Tape {
    async fn new() -> Self {
        let database = Database::new().await;
        let files = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates/pipelabs/demo");
        let dir = tempfile::tempdir().unwrap();
        for name in ["fills.jsonl", "rates.jsonl"] {
            let mut text = Vec::new();
            let packed = std::fs::File::open(files.join(format!("{name}.gz"))).unwrap();
            GzDecoder::new(packed).read_to_end(&mut text).unwrap();
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::fs::copy(files.join("transfers.jsonl"), dir.path().join("transfers.jsonl")).unwrap();
        database.import(dir.path());
        let streams = database.streams();
        let mut tokens = BTreeMap::new();
        for slug in CLIENTS {
            let client = streams.client_of(&slug.parse().unwrap()).await.unwrap().unwrap();
            tokens.insert(slug, (client, token(&database, Some(client))));
        }
        let (admin, served) = (token(&database, None), Served::start(&database, "api,projector"));
        let tape = Self { database, served, admin, tokens, end: Time::from_millis(END_MS).unwrap().to_string() };
        tape.is_folded().await;
        tape
    }

    /// The read models have come to the end, however long that takes here.
    async fn is_folded(&self) {
        let db = self.database.pool(Login::Projector);
        for mut model in projections::all(&db) {
            projections::worker::catch_up(&mut *model, |_| {}).await.unwrap();
        }
        for (client, token) in self.tokens.values() {
            let head = read::head(&db, *client).await.unwrap();
            for path in ["/api/pnl", "/api/clients/portfolio", "/api/fills", "/api/bots"] {
                self.served.ask(token, &format!("{path}?min_seq={head}")).await.json();
            }
        }
    }

    async fn pnl(&self, slug: &str, query: &str) -> Value {
        self.served.ask(&self.tokens[slug].1, &format!("/api/pnl?{query}")).await.json()
    }
}

fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap_or_else(|| panic!("{value} is no figure")).parse().unwrap()
}

/// Lines added up, by quote asset: each figure, and the number of fills.
fn sums(pnl: &Value) -> BTreeMap<(String, &'static str), Decimal> {
    let mut sums = BTreeMap::new();
    for line in pnl["lines"].as_array().unwrap() {
        let quote = line["quote_asset"].as_str().unwrap();
        for name in FIGURES {
            let sum: &mut Decimal = sums.entry((quote.to_owned(), name)).or_insert(Decimal::ZERO);
            *sum = sum.plus(decimal(&line[name])).unwrap();
        }
        if let Some(fills) = line["fills"].as_i64() {
            let sum = sums.entry((quote.to_owned(), "fills")).or_insert(Decimal::ZERO);
            *sum = sum.plus(Decimal::new(fills.into(), 0)).unwrap();
        }
    }
    sums
}

/// Alike to the last digits, where averages were divided.
fn assert_close(one: &Decimal, other: &Decimal, what: &str) {
    let distance = one.minus(*other).unwrap().abs();
    assert!(distance <= Decimal::new(1, 9), "{what}: {one} and {other}");
}

fn assert_alike<K: Ord + std::fmt::Debug>(one: &BTreeMap<K, Decimal>, other: &BTreeMap<K, Decimal>, what: &str) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{what}");
    for (key, value) in one {
        assert_close(value, &other[key], &format!("{what}, {key:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edge_tells_the_figures_of_the_report_however_they_are_grouped() {
    let tape = Tape::new().await;
    let report = tape.database.succeed(&["report", "pnl", "--as-of", &END_MS.to_string(), "--format", "json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let expected: Value = serde_json::from_str(include_str!("../../crates/pipelabs/demo/expected.json")).unwrap();
    for slug in CLIENTS {
        let whole = tape.pnl(slug, &format!("to={}", tape.end)).await;
        assert_close(
            &decimal(&whole["total_usdt"]["amount"]),
            &decimal(&expected["clients"][slug]["total_usdt"]),
            slug,
        );
        assert_eq!(whole["complete"], true);
        let by_bot = sums(&whole);
        assert_eq!(by_bot[&("USDT".into(), "fills")].to_string(), expected["clients"][slug]["fills"].to_string());
        as_reported(slug, &by_bot, &report);
        for group in ["pair", "exchange", "bot"] {
            for method in ["average", "fifo", "lifo", "matched"] {
                let pnl = tape.pnl(slug, &format!("to={}&group={group}&method={method}", tape.end)).await;
                let mut found = sums(&pnl);
                if method == "average" {
                    assert_alike(&found, &by_bot, &format!("{slug} by {group}"));
                }
                // Methods differ in when a gain is realised, and in nothing else.
                let mut others = by_bot.clone();
                for split in ["realized_gross", "unrealized"] {
                    found.retain(|(_, name), _| *name != split);
                    others.retain(|(_, name), _| *name != split);
                }
                assert_alike(&found, &others, &format!("{slug} by {group}, {method}"));
            }
        }
        let mut days = sums(&tape.pnl(slug, &format!("to={}&group=day", tape.end)).await);
        let mut whole = by_bot.clone();
        for sums in [&mut days, &mut whole] {
            sums.retain(|(_, name), _| *name != "fills");
        }
        assert_alike(&days, &whole, &format!("{slug} by day"));
        windows_add_up(&tape, slug, &by_bot).await;
    }
    the_desk_sees_the_same(&tape).await;
}

fn as_reported(slug: &str, by_bot: &BTreeMap<(String, &'static str), Decimal>, report: &Value) {
    let mut reported = BTreeMap::new();
    for group in report["groups"].as_array().unwrap().iter().filter(|group| group["client"] == slug) {
        let quote = group["pair"].as_str().unwrap().rsplit('-').next().unwrap();
        for (name, of) in [
            ("volume", "volume_quote"),
            ("realized_gross", "realized_gross"),
            ("fees", "fees_quote"),
            ("funding", "funding"),
            ("unrealized", "unrealized"),
        ] {
            let sum = reported.entry((quote.to_owned(), name)).or_insert(Decimal::ZERO);
            *sum = sum.plus(decimal(&group[of])).unwrap();
        }
    }
    let mut told = by_bot.clone();
    told.retain(|(_, name), _| *name != "total_net" && *name != "fills");
    assert_alike(&told, &reported, &format!("{slug} as reported"));
}

async fn windows_add_up(tape: &Tape, slug: &str, whole: &BTreeMap<(String, &'static str), Decimal>) {
    for before_end_ms in [60_000, 300_000] {
        let cut = Time::from_millis(END_MS - before_end_ms).unwrap();
        for method in ["average", "fifo", "lifo", "matched"] {
            let first = sums(&tape.pnl(slug, &format!("method={method}&to={cut}")).await);
            let query = format!("method={method}&from={}&to={}", cut.plus_micros(1), tape.end);
            let mut both = sums(&tape.pnl(slug, &query).await);
            for (key, part) in first {
                let sum = both.entry(key).or_insert(Decimal::ZERO);
                *sum = sum.plus(part).unwrap();
            }
            let whole = match method {
                "average" => whole.clone(),
                method => sums(&tape.pnl(slug, &format!("method={method}&to={}", tape.end)).await),
            };
            assert_alike(&both, &whole, &format!("{slug} in two windows, {method}"));
        }
    }
}

async fn the_desk_sees_the_same(tape: &Tape) {
    for (slug, (_, token)) in &tape.tokens {
        for path in [
            "/api/pnl?group=pair&method=fifo",
            "/api/pnl?",
            "/api/clients/portfolio?",
            "/api/fills?limit=50",
            "/api/orders?limit=9",
            "/api/bots?",
        ] {
            let own = tape.served.ask(token, path.trim_end_matches('?')).await;
            let named = tape.served.ask(&tape.admin, &format!("{path}&client={slug}")).await;
            let (mut own, mut named) = (own.json(), named.json());
            // A cursor continues the question that it came with.
            for page in [&mut own, &mut named] {
                page.as_object_mut().map(|page| page.remove("next"));
            }
            assert_eq!(own, named, "{path} of {slug}");
        }
    }
    let desk = tape.served.ask(&tape.admin, "/api/admin/overview").await.json();
    let mut pnl: BTreeMap<String, Decimal> = BTreeMap::new();
    let mut fills = 0;
    for line in desk["clients"].as_array().unwrap() {
        let slug = line["slug"].as_str().unwrap();
        let own = sums(&tape.pnl(slug, "").await);
        for (quote, value) in line["pnl"].as_object().unwrap() {
            assert_close(&decimal(value), &own[&(quote.clone(), "total_net")], slug);
            let sum = pnl.entry(quote.clone()).or_insert(Decimal::ZERO);
            *sum = sum.plus(decimal(value)).unwrap();
        }
        fills += line["activity"]["fills"].as_i64().unwrap();
    }
    let told = desk["total"]["pnl"].as_object().unwrap();
    assert_alike(&told.iter().map(|(quote, value)| (quote.clone(), decimal(value))).collect(), &pnl, "the desk");
    assert_eq!(
        (desk["total"]["fills"].as_i64(), fills, desk["total"]["clients"].as_u64()),
        (Some(5_343), 5_343, Some(2))
    );
}
