//! Tokens for programs: told once, for what their scopes say and never more than their owner may do, gone everywhere within
//! a moment when they are revoked or their owner is.

use events::desk::Role;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Served};

use crate::{edge::Edge, invited::post, sessions::names_of};

async fn delete(served: &Served, token: &str, path: &str) -> Answer {
    Answer::to(served.request(Method::DELETE, path).bearer_auth(token)).await
}

fn text(told: &Value, name: &str) -> String {
    told[name].as_str().unwrap_or_else(|| panic!("{name} in {told}")).to_owned()
}

async fn made(served: &Served, token: &str, path: &str, scopes: &[&str]) -> Value {
    let answer = post(served, token, path, &json!({"name": "a program", "scopes": scopes})).await;
    assert_eq!((answer.status, answer.header("cache-control")), (201, "no-store"), "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_what_its_scopes_say_and_never_what_only_a_person_does() {
    let edge = Edge::new("api").await;
    let (served, owner) = (&edge.served, &edge.acme.token);
    let [read, trade, keys, admin] = ["read", "trade", "keys", "admin"];
    for (scope, expected) in [
        (read, [200, 403, 403, 403]),
        (trade, [200, 202, 403, 403]),
        (keys, [200, 403, 422, 403]),
        (admin, [200, 403, 403, 200]),
    ] {
        let token = text(&made(served, owner, "/api/auth/tokens", &[scope]).await, "token");
        let set = json!({"parameters": {"n": scope}});
        let set = served.command(Method::PATCH, &token, &edge.acme.path("/config"), scope, &set);
        let met = [
            served.ask(&token, "/api/bots").await.status,
            Answer::to(set).await.status,
            served.post(&token, "/api/clients/credentials", "k", &json!({})).await.status,
            served.ask(&token, "/api/clients/users").await.status,
        ];
        assert_eq!(met, expected, "{scope}");
        for path in ["/api/auth/tokens", "/api/auth/sessions"] {
            assert_eq!(served.ask(&token, path).await.problem(), (403, "forbidden".into()), "{scope} {path}");
        }
        let more = post(served, &token, "/api/auth/tokens", &json!({"name": "x", "scopes": ["read"]})).await;
        assert_eq!(more.problem(), (403, "forbidden".into()), "no token makes tokens");
        let others = post(served, &token, "/api/clients/services", &json!({"name": "x", "scopes": ["keys"]})).await;
        assert_eq!(others.problem(), (403, "forbidden".into()), "in no way at all");
        let me = served.ask(&token, "/api/auth/me").await.json();
        assert!(me["scopes"].as_array().unwrap().contains(&json!("read")), "{me}");
    }
    let viewer = edge.database.signed_in(Role::ClientViewer, Some(edge.acme.client)).await.token;
    let token = text(&made(served, &viewer, "/api/auth/tokens", &["trade", "admin"]).await, "token");
    let stop = served.post(&token, &edge.acme.path("/stop"), "k", &json!({})).await;
    assert_eq!(stop.problem(), (403, "forbidden".into()), "nor more than whose it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_refused_by_every_process_and_what_listens_by_it_is_let_go() {
    let edge = Edge::new("api").await;
    let (second, owner) = (Served::start(&edge.database, "api"), &edge.acme.token);
    let [one, other] = [
        made(&edge.served, owner, "/api/auth/tokens", &["read"]).await,
        made(&edge.served, owner, "/api/auth/tokens", &["read"]).await,
    ];
    let [token, stays] = [text(&one, "token"), text(&other, "token")];
    for served in [&edge.served, &second] {
        assert_eq!(served.ask(&token, "/api/bots").await.status, 200);
    }
    let mut listener = second.listen(&token, "/api/stream", None).await.unwrap();
    let listed = edge.served.ask(owner, "/api/auth/tokens").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains("plp_"), "a token is told once");
    let path = format!("/api/auth/tokens/{}", text(&one, "token_id"));
    let foreign = delete(&edge.served, &edge.borealis.token, &path).await;
    assert_eq!(foreign.problem(), (404, "not_found".into()));
    assert_eq!(delete(&edge.served, owner, &path).await.status, 204);
    for served in [&edge.served, &second] {
        served.until(&token, "/api/bots", 401).await;
        assert_eq!(served.ask(&stays, "/api/bots").await.status, 200);
    }
    while listener.next().await.is_some() {}
    assert_eq!(delete(&edge.served, owner, &path).await.problem(), (404, "not_found".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_when_its_owner_may_do_something_else_or_is_barred_and_never_comes_back() {
    let edge = Edge::new("api").await;
    let served = &edge.served;
    for (what, body, back) in [
        ("role", json!({"role": "client_viewer", "reason": "less to do"}), None),
        ("bar", json!({"reason": "left"}), Some("unbar")),
    ] {
        let owner = edge.database.signed_in(Role::ClientOwner, Some(edge.acme.client)).await;
        let token = text(&made(served, &owner.token, "/api/auth/tokens", &["trade"]).await, "token");
        assert_eq!(served.ask(&token, "/api/bots").await.status, 200);
        let decide = async |what: &str, body: &Value| {
            let path = format!("/api/admin/users/{}/{what}", owner.session.user.id);
            assert_eq!(post(served, &edge.admin, &path, body).await.status, 204, "{what}");
        };
        decide(what, &body).await;
        served.until(&token, "/api/bots", 401).await;
        if let Some(back) = back {
            decide(back, &json!({"reason": "came back"})).await;
            assert_eq!(served.ask(&token, "/api/bots").await.status, 401, "a person comes back, and no program of its");
        }
        assert_eq!(names_of(&edge.database, owner.session.user.id).await["TokenRevoked"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_a_programs_own_account_and_changes_its_token_without_a_gap() {
    let edge = Edge::new("api").await;
    let (served, owner) = (&edge.served, &edge.acme.token);
    let service = made(served, owner, "/api/clients/services", &["read", "trade"]).await;
    let (id, first) = (text(&service, "service_id"), text(&service, "token"));
    assert_eq!(served.ask(&first, "/api/bots").await.status, 200);
    let me = served.ask(&first, "/api/auth/me").await.json();
    assert_eq!(
        (&me["role"], &me["email"], me["client_id"].as_str()),
        (&json!("service"), &Value::Null, Some(&*edge.acme.client.to_string()))
    );
    let path = format!("/api/clients/services/{id}");
    let second = text(&made(served, owner, &format!("{path}/tokens"), &["read"]).await, "token");
    assert_eq!(
        (served.ask(&first, "/api/bots").await.status, served.ask(&second, "/api/bots").await.status),
        (200, 200)
    );
    assert_eq!(delete(served, owner, &format!("{path}/tokens/{}", text(&service, "token_id"))).await.status, 204);
    served.until(&first, "/api/bots", 401).await;
    assert_eq!(served.ask(&second, "/api/bots").await.status, 200);
    let listed = served.ask(owner, "/api/clients/services").await.json();
    assert_eq!((listed[0]["service_id"].as_str(), listed[0]["tokens"].as_array().unwrap().len()), (Some(&*id), 1));
    assert_eq!(served.ask(&edge.borealis.token, "/api/clients/services").await.json(), json!([]));
    for (token, path) in
        [(&edge.borealis.token, format!("{path}/tokens")), (&edge.borealis.token, format!("{path}/end"))]
    {
        let new = json!({"name": "x", "scopes": ["read"], "reason": "x"});
        assert_eq!(post(served, token, &path, &new).await.status, 404, "{path}");
    }
    assert_eq!(post(served, owner, &format!("{path}/end"), &json!({"reason": "not needed"})).await.status, 204);
    served.until(&second, "/api/bots", 401).await;
    let names = names_of(&edge.database, id.parse().unwrap()).await;
    assert_eq!((names["TokenIssued"], names["TokenRevoked"], names["UserBarred"]), (2, 2, 1));
    // Of the desk: it names the client that it asks about.
    let desk = text(&made(served, &edge.admin, "/api/admin/services", &["read"]).await, "token");
    assert_eq!(served.ask(&desk, "/api/admin/overview").await.status, 200);
    assert_eq!(served.ask(&desk, "/api/bots?client=borealis").await.status, 200);
    assert_eq!(served.post(&desk, "/api/admin/clients", "k", &json!({"slug": "more"})).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_token_is_refused_in_words_and_there_are_only_so_many() {
    let edge = Edge::new("api").await;
    let (served, owner) = (&edge.served, &edge.acme.token);
    for (bad, about) in [
        (json!({"name": "", "scopes": ["read"]}), "a name"),
        (json!({"name": "x", "scopes": []}), "scope"),
        (json!({"name": "x", "scopes": ["everything"]}), "everything"),
        (json!({"name": "x", "scopes": ["read"], "days": 0}), "1 to 366"),
        (json!({"name": "x", "scopes": ["read"], "days": 367}), "1 to 366"),
    ] {
        let refused = post(served, owner, "/api/auth/tokens", &bad).await;
        assert_eq!(refused.problem(), (422, "invalid".into()), "{bad}");
        assert!(refused.text().contains(about), "{bad}: {}", refused.text());
    }
    let made = futures::future::join_all((0..60).map(|_| async {
        post(served, owner, "/api/auth/tokens", &json!({"name": "x", "scopes": ["read"]})).await.status
    }));
    let made = made.await;
    assert_eq!(made.iter().filter(|status| **status == 201).count(), 50, "{made:?}");
    assert!(made.iter().all(|status| [201, 409].contains(status)), "{made:?}");
}
