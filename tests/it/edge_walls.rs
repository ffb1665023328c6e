//! Walls at the edge: whatever a client asks, with whatever it has got hold of, it meets nothing of another.

use serde_json::{Value, json};
use tests::Answer;

use crate::{
    edge::Edge,
    facts::{fill, mark, recorded, write},
};

/// Paths of all questions, by what the description says.
async fn questions(edge: &Edge) -> Vec<String> {
    let api = edge.served.ask("", "/openapi.json").await.json();
    let paths = api["paths"].as_object().unwrap().iter().filter(|(_, item)| item.get("get").is_some());
    paths.map(|(path, _)| path.replace("{exchange}", "okx")).filter(|path| path != "/api/stream").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_to_a_client_holds_a_word_of_another() {
    let edge = Edge::new("api,projector").await;
    for of in [&edge.acme, &edge.borealis] {
        let fills = (0..10).map(|n| recorded(of.client, fill(of.client, of.bot, n, n as i64)));
        write(&edge.streams, fills.chain([mark(of.client, "SOL-USDT", "170", 1)]).collect()).await;
    }
    let (me, other) = (&edge.borealis, &edge.acme);
    let own = edge.served.ask(&other.token, "/api/fills?limit=3&min_seq=13").await;
    let (cursor, tag) = (own.json()["next"].as_str().unwrap().to_owned(), own.header("etag").to_owned());
    let foreign =
        [other.client.to_string(), other.client.0.simple().to_string(), other.slug.to_owned(), other.bot.to_string()];
    let holds_nothing = |answer: &Answer, what: &str| {
        let told = format!("{} {:?}", answer.text(), answer.headers);
        assert!(answer.status < 500, "{what}: {told}");
        for word in &foreign {
            assert!(!told.contains(word), "{what} tells of {word}: {told}");
        }
    };
    let bot = other.bot;
    for path in questions(&edge).await {
        for (path, query) in [
            (path.replace("{id}", &me.bot.to_string()), String::new()),
            (path.replace("{id}", &bot.to_string()), String::new()),
            (path.clone(), "?client=acme".to_owned()),
            (path.clone(), "?client=nobody".to_owned()),
            (path.clone(), format!("?bot={bot}")),
            (path.clone(), format!("?limit=3&cursor={cursor}")),
            (path.clone(), "?min_seq=14".to_owned()),
        ] {
            let request = edge.served.get(&me.token, &format!("{path}{query}")).header("if-none-match", &tag);
            let answer = Answer::to(request).await;
            assert_ne!(answer.status, 304, "{path}{query}");
            if path != "/metrics" {
                holds_nothing(&answer, &format!("{path}{query}"));
            }
        }
    }
    for list in ["fills", "orders"] {
        let found = edge.served.ask(&me.token, &format!("/api/{list}?bot={bot}")).await.json();
        assert_eq!(found, json!({"items": [], "next": null}), "{list}");
    }
    let named = [
        edge.served.ask(&me.token, "/api/bots?client=acme").await,
        edge.served.ask(&me.token, "/api/bots?client=x").await,
    ];
    assert_eq!(named[0].body, named[1].body, "a slug is not told to be somebody's");
    let mut listener = edge.served.listen(&me.token, "/api/stream?after=0", None).await.unwrap();
    for seq in 1..=13 {
        let heard = listener.next().await.unwrap();
        assert_eq!(heard.line()["client_seq"], seq);
        assert!(foreign.iter().all(|word| !heard.data.contains(word)), "{}", heard.data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_client_can_be_changed_and_nothing_of_the_desk_seen() {
    let edge = Edge::new("api").await;
    let (me, other, before) = (&edge.borealis, &edge.acme, edge.heads().await);
    let never_was = format!("/api/bots/{}", events::BotId::new());
    for (of, body) in [("deploy", json!({})), ("stop", json!({})), ("deploy", json!({"nonsense": 1}))] {
        let foreign = edge.served.post(&me.token, &other.path(&format!("/{of}")), "k", &body).await;
        let nobodys = edge.served.post(&me.token, &format!("{never_was}/{of}"), "k", &body).await;
        assert_eq!((foreign.status, &foreign.body), (404, &nobodys.body), "{of}");
    }
    let named = edge.served.post(&me.token, "/api/bots?client=acme", "k", &json!({"name": "mine"})).await;
    assert_eq!(named.problem(), (422, "invalid".into()));
    let reconciled = format!("/api/admin/reconciliation/{}", other.bot);
    for path in [
        "/api/admin/overview",
        "/api/admin/clients",
        "/api/admin/bots",
        "/api/admin/clients?client=acme",
        "/api/admin/reconciliation",
        "/api/admin/quarantine",
        &reconciled,
    ] {
        assert_eq!(edge.served.ask(&me.token, path).await.problem(), (403, "forbidden".into()), "{path}");
    }
    let onboard = edge.served.post(&me.token, "/api/admin/clients", "k", &json!({"slug": "mine"})).await;
    assert_eq!(onboard.problem(), (403, "forbidden".into()));
    assert_eq!(edge.heads().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_of_a_client_what_the_client_sees_byte_for_byte() {
    let edge = Edge::new("api,projector").await;
    let facts = (0..10).map(|n| recorded(edge.acme.client, fill(edge.acme.client, edge.acme.bot, n, n as i64)));
    write(&edge.streams, facts.collect()).await;
    for path in questions(&edge).await.iter().filter(|path| !path.contains("admin") && path.starts_with("/api/")) {
        // These are about no client.
        if path.starts_with("/api/auth/") || path.starts_with("/api/exchanges") {
            continue;
        }
        let path = path.replace("{id}", &edge.acme.bot.to_string());
        let own = edge.served.ask(&edge.acme.token, &format!("{path}?min_seq=12")).await;
        let named = edge.served.ask(&edge.admin, &format!("{path}?client=acme&min_seq=12")).await;
        assert_eq!((own.status, own.text()), (200, named.text()), "{path}");
        assert_eq!(own.header("etag"), named.header("etag"), "{path}");
    }
    let bots: Value = edge.served.ask(&edge.admin, "/api/admin/bots").await.json();
    assert_eq!(bots.as_array().unwrap().len(), 2);
}
