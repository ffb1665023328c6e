//! Both sides of a wall: what the desk sees of a client is what the client sees. What nobody sees is tried in
//! `trespass.rs`.

use serde_json::Value;

use crate::{
    edge::Edge,
    facts::{fill, recorded, write},
};

/// Paths of all questions, by what the description says.
async fn questions(edge: &Edge) -> Vec<String> {
    let api = edge.served.ask("", "/openapi.json").await.json();
    let paths = api["paths"].as_object().unwrap().iter().filter(|(_, item)| item.get("get").is_some());
    paths.map(|(path, _)| path.replace("{exchange}", "okx")).filter(|path| path != "/api/stream").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_of_a_client_what_the_client_sees_byte_for_byte() {
    let edge = Edge::new("api,projector").await;
    let facts = (0..10).map(|n| recorded(edge.acme.client, fill(edge.acme.client, edge.acme.bot, n, n as i64)));
    write(&edge.streams, facts.collect()).await;
    for path in questions(&edge).await.iter().filter(|path| !path.contains("admin") && path.starts_with("/api/")) {
        // These are about no client, or about its people, who stand in no read model.
        let apart =
            ["/api/auth/", "/api/exchanges", "/api/clients/users", "/api/clients/services", "/api/clients/access-log"];
        // What bots have in their paths is asked about by their ids.
        let by_id = ["/api/alerts/{id}", "/api/alerts/channels/{id}", "/api/schedules/{id}", "/api/agreements/{id}"];
        if apart.iter().chain(&by_id).any(|start| path.starts_with(start)) {
            continue;
        }
        let path = path.replace("{id}", &edge.acme.bot.to_string());
        let own = edge.served.ask(&edge.acme.token, &format!("{path}?min_seq=12")).await;
        let named = edge.served.ask(&edge.admin, &format!("{path}?client=acme&min_seq=12")).await;
        assert_eq!((own.status, own.text()), (200, named.text()), "{path}");
        assert_eq!(own.header("etag"), named.header("etag"), "{path}");
    }
    for path in ["/api/clients/users", "/api/clients/services"] {
        let own = edge.served.ask(&edge.acme.token, path).await;
        let named = edge.served.ask(&edge.admin, &format!("{path}?client=acme")).await;
        assert_eq!((own.status, own.text()), (200, named.text()), "{path}");
    }
    let bots: Value = edge.served.ask(&edge.admin, "/api/admin/bots").await.json();
    assert_eq!(bots.as_array().unwrap().len(), 2);
}
