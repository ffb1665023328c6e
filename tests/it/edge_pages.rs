//! Lists in pages: each item once and in order while new ones arrive, and a cursor that continues its own question only.

use events::{AggregateRef, BotId, Pair};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use store::Append;

use crate::{
    edge::{Edge, Party},
    facts::{append, at, bot, fill, recorded, write},
};

/// Fills of both of a client's bots in two pairs, in no order of time; some share their moment.
fn fills(of: &Party, second: BotId, from: u64, random: &mut StdRng) -> Vec<Append> {
    let fills = (from..from + 60).map(|n| {
        let mut fill = fill(of.client, of.bot, n, random.random_range(0..40) * 1_000);
        if n.is_multiple_of(2) {
            fill.bot = second;
        }
        if n.is_multiple_of(5) {
            fill.pair = "ETH-USDT".parse().unwrap();
        }
        recorded(of.client, fill)
    });
    fills.collect()
}

/// An edge where the first client has many fills and orders; its second bot, and where its stream ends.
async fn trading() -> (Edge, BotId, u64) {
    let edge = Edge::new("api,projector").await;
    let second = bot(&edge.streams, edge.acme.client, "second").await;
    let facts = fills(&edge.acme, second, 0, &mut StdRng::seed_from_u64(1));
    let head = write(&edge.streams, facts).await.last().unwrap().last;
    (edge, second, head)
}

/// All pages of a list, with a few new facts before each of the second to the sixth.
async fn walk(edge: &Edge, second: BotId, question: &str, head: u64, new: u64) -> Vec<Value> {
    let (mut items, mut random, mut next_fill) = (Vec::new(), StdRng::seed_from_u64(new), new);
    let mut page = edge.served.ask(&edge.acme.token, &format!("{question}&min_seq={head}")).await.json();
    loop {
        let found = page["items"].as_array().unwrap();
        items.extend(found.iter().cloned());
        let Some(cursor) = page["next"].as_str() else { return items };
        assert!(!found.is_empty(), "a page that another follows is not empty");
        let mut seq = head;
        if next_fill < new + 5 * 60 {
            let some = fills(&edge.acme, second, next_fill, &mut random).into_iter().take(3).collect();
            next_fill += 60;
            seq = write(&edge.streams, some).await[0].first;
        }
        page = edge.served.ask(&edge.acme.token, &format!("{question}&cursor={cursor}&min_seq={seq}")).await.json();
    }
}

fn seqs(items: &[Value], name: &str) -> Vec<u64> {
    items.iter().map(|item| item[name].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn walking_all_pages_meets_each_item_once_and_in_order_while_more_arrive() {
    let (edge, second, head) = trading().await;
    let all = |question: &'static str| edge.served.ask(&edge.acme.token, question);
    let reached = edge.served.ask(&edge.acme.token, &format!("/api/fills?limit=500&min_seq={head}")).await;
    let before = reached.json()["items"].as_array().unwrap().clone();
    assert_eq!(before.len(), 60);
    for (n, limit) in [1, 7, 59].into_iter().enumerate() {
        let items = walk(&edge, second, &format!("/api/fills?limit={limit}"), head, 10_000 * (n as u64 + 1)).await;
        let places: Vec<_> =
            items.iter().map(|item| (item["at"].as_str().unwrap(), item["seq"].as_u64().unwrap())).collect();
        assert!(places.is_sorted_by(|one, next| one > next), "newest first, none twice: {places:?}");
        let known = seqs(&before, "seq");
        let met: Vec<u64> = seqs(&items, "seq").into_iter().filter(|seq| known.contains(seq)).collect();
        assert_eq!(met, known, "limit {limit}");
    }
    let orders = all("/api/orders?limit=500").await.json()["items"].as_array().unwrap().clone();
    let items = walk(&edge, second, "/api/orders?limit=4", head, 100_000).await;
    let (known, met) = (seqs(&orders, "seq"), seqs(&items, "seq"));
    assert!(met.is_sorted_by(|one, next| one > next) && orders.len() >= 30, "{met:?}");
    assert_eq!(met.into_iter().filter(|seq| known.contains(seq)).collect::<Vec<_>>(), known);

    let head = all("/api/events").await.number("head-seq");
    let items = walk(&edge, second, "/api/events?limit=17", head, 200_000).await;
    assert_eq!(seqs(&items, "client_seq"), (1..=head).rev().collect::<Vec<_>>());
    let head = all("/api/events").await.number("head-seq");
    let items = walk(&edge, second, "/api/events?limit=17&order=oldest&after=30", head, 300_000).await;
    let met = seqs(&items, "client_seq");
    assert!(met.len() as u64 >= head - 30, "{met:?}");
    assert_eq!(met, (31..).take(met.len()).collect::<Vec<_>>());
    let from_there = all("/api/events?after=40&limit=500").await.json();
    assert_eq!(seqs(from_there["items"].as_array().unwrap(), "client_seq").first(), Some(&41), "as the stream goes on");
    let newest_after = all("/api/events?after=40&limit=500&order=newest").await.json();
    assert_eq!(seqs(newest_after["items"].as_array().unwrap(), "client_seq").last(), Some(&41));
}

/// Whether an item is what a filter names.
type Holds<'a> = Box<dyn Fn(&Value) -> bool + 'a>;

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_leaves_what_it_names_and_no_more() {
    let (edge, second, head) = trading().await;
    let all = edge.served.ask(&edge.acme.token, &format!("/api/fills?limit=500&min_seq={head}")).await.json();
    let all = all["items"].as_array().unwrap();
    let (from, to) = (at(10_000).to_string(), at(20_000).to_string());
    let (own, eth): (String, Pair) = (second.to_string(), "ETH-USDT".parse().unwrap());
    let filters: [(String, Holds<'_>); 6] = [
        (format!("bot={own}"), Box::new(|item| item["bot_id"] == own.as_str())),
        (format!("pair={eth}"), Box::new(|item| item["pair"] == eth.as_str())),
        ("exchange=kucoin".to_owned(), Box::new(|item| item["exchange"] == "kucoin")),
        ("exchange=okx".to_owned(), Box::new(|item| item["exchange"] == "okx")),
        (
            format!("from={from}&to={to}"),
            Box::new(|item| (from.as_str()..=to.as_str()).contains(&item["at"].as_str().unwrap())),
        ),
        (
            format!("bot={own}&pair={eth}&from={from}"),
            Box::new(|item| {
                item["bot_id"] == own.as_str()
                    && item["pair"] == eth.as_str()
                    && item["at"].as_str().unwrap() >= from.as_str()
            }),
        ),
    ];
    for (filter, holds) in &filters {
        let expected: Vec<&Value> = all.iter().filter(|item| holds(item)).collect();
        let pages = walk_quietly(&edge, &format!("/api/fills?{filter}&limit=5")).await;
        assert_eq!(pages.iter().collect::<Vec<_>>(), expected, "{filter}");
        assert!(expected.len() < all.len() || filter == "exchange=kucoin");
    }
    let open = order_open(&edge).await;
    let found = edge.served.ask(&edge.acme.token, &format!("/api/orders?open=true&min_seq={open}")).await.json();
    assert_eq!(seqs(found["items"].as_array().unwrap(), "seq"), [open]);
}

/// One order in the book.
async fn order_open(edge: &Edge) -> u64 {
    let venue = events::bot::Venue {
        exchange: events::Exchange::Kucoin,
        market: events::Market::Spot,
        pair: "SOL-USDT".parse().unwrap(),
    };
    let placed = events::order::OrderEvent::OrderPlaced {
        order: "open-1".parse().unwrap(),
        venue,
        side: events::ledger::Side::Buy,
        price: Some(events::Price(crate::facts::d("170"))),
        amount: events::Amount(crate::facts::d("1")),
        precision: None,
        at: at(1),
    };
    let of = AggregateRef::new("orders", edge.acme.bot);
    write(&edge.streams, vec![append(edge.acme.client, of, placed.into(), None)]).await[0].last
}

async fn walk_quietly(edge: &Edge, question: &str) -> Vec<Value> {
    let (mut items, mut path) = (Vec::new(), question.to_owned());
    loop {
        let page = edge.served.ask(&edge.acme.token, &path).await.json();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(cursor) = page["next"].as_str() else { return items };
        path = format!("{question}&cursor={cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_continues_its_own_question_for_its_own_client_untouched() {
    let (edge, second, head) = trading().await;
    let theirs = fills(&edge.borealis, edge.borealis.bot, 0, &mut StdRng::seed_from_u64(2));
    write(&edge.streams, theirs.into_iter().take(20).collect()).await;
    let first = edge.served.ask(&edge.acme.token, &format!("/api/fills?limit=7&min_seq={head}")).await.json();
    let cursor = first["next"].as_str().unwrap();
    let refused = async |token: &str, path: String| {
        let answer = edge.served.ask(token, &path).await;
        assert_eq!(answer.problem(), (422, "invalid".into()), "{path}");
    };
    let token = &edge.acme.token;
    assert_eq!(edge.served.ask(token, &format!("/api/fills?cursor={cursor}&limit=7")).await.status, 200);
    for question in ["fills?limit=8", "fills?", "orders?limit=7", "events?limit=7", "fills?limit=7&pair=SOL-USDT"] {
        refused(token, format!("/api/{question}&cursor={cursor}")).await;
    }
    refused(token, format!("/api/fills?limit=7&bot={second}&cursor={cursor}")).await;
    refused(&edge.borealis.token, format!("/api/fills?limit=7&cursor={cursor}")).await;
    refused(&edge.admin, format!("/api/fills?limit=7&client=borealis&cursor={cursor}")).await;
    for place in 0..cursor.len() {
        let mut touched = cursor.as_bytes().to_vec();
        touched[place] = if touched[place] == b'A' { b'B' } else { b'A' };
        refused(token, format!("/api/fills?limit=7&cursor={}", String::from_utf8(touched).unwrap())).await;
    }
    for end in [1, 16, cursor.len() - 1] {
        refused(token, format!("/api/fills?limit=7&cursor={}", &cursor[..end])).await;
    }
    refused(token, format!("/api/fills?limit=7&cursor={cursor}A")).await;
}
