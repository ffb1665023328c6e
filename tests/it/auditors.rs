//! Auditors: they read the clients that they were granted, for as long as they were, and nothing else; and whoever of others
//! looks at a client is on record, for the client and for auditors to see.

use events::{
    ClientId, Event, Time,
    desk::{DeskEvent, Role},
};
use serde_json::{Value, json};
use store::{Login, read};
use tests::{Answer, Line, Served, SignedIn};

use crate::{
    edge::{Edge, Party},
    invited::post,
    sessions::names_of,
};

async fn grant(edge: &Edge, auditor: &SignedIn, client: &Party, seconds: i64) -> Answer {
    let until = Time::now().plus_micros(seconds * 1_000_000);
    let grant = json!({"client": client.slug, "until": until, "reason": "audit of 2024"});
    post(&edge.served, &edge.admin, &format!("/api/admin/users/{}/grants", auditor.session.user.id), &grant).await
}

async fn withdraw(edge: &Edge, auditor: &SignedIn, client: &Party) -> u16 {
    let path = format!("/api/admin/users/{}/grants/{}/withdraw", auditor.session.user.id, client.slug);
    post(&edge.served, &edge.admin, &path, &json!({"reason": "the audit is done"})).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_reads_what_was_granted_as_long_as_it_is_and_changes_nothing() {
    let edge = Edge::new("api").await;
    let second = Served::start(&edge.database, "api");
    let auditor = edge.database.signed_in(Role::Auditor, None).await;
    assert_eq!(second.ask(&auditor.token, "/api/events?client=acme").await.status, 404);
    assert_eq!(grant(&edge, &auditor, &edge.acme, 3_600).await.status, 204);
    for served in [&edge.served, &second] {
        let events = served.until(&auditor.token, "/api/events?client=acme", 200).await;
        let own = served.ask(&edge.acme.token, "/api/events").await;
        assert_eq!(events.json()["items"], own.json()["items"], "the same as the client sees");
        assert_eq!(served.ask(&auditor.token, "/api/events?client=borealis").await.status, 404);
        assert_eq!(served.ask(&auditor.token, "/api/admin/overview").await.problem(), (403, "forbidden".into()));
        let stop = format!("{}?client=acme", edge.acme.path("/stop"));
        assert_eq!(served.post(&auditor.token, &stop, "k", &json!({})).await.problem(), (403, "forbidden".into()));
    }
    let granted = edge.served.ask(&auditor.token, "/api/auth/grants").await.json();
    assert_eq!((granted.as_array().unwrap().len(), &granted[0]["client"]), (1, &json!("acme")));
    let mut listener = second.listen(&auditor.token, "/api/stream?client=acme", None).await.unwrap();
    assert_eq!(withdraw(&edge, &auditor, &edge.acme).await, 204);
    while listener.next().await.is_some() {}
    for served in [&edge.served, &second] {
        served.until(&auditor.token, "/api/events?client=acme", 404).await;
    }
    assert_eq!(withdraw(&edge, &auditor, &edge.acme).await, 404);
    let names = names_of(&edge.database, auditor.session.user.id).await;
    assert_eq!((names["GrantGiven"], names["GrantWithdrawn"]), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_ends_by_itself_also_for_who_listens_and_is_for_auditors_alone() {
    let edge = Edge::new("api").await;
    let auditor = edge.database.signed_in(Role::Auditor, None).await;
    assert_eq!(grant(&edge, &auditor, &edge.acme, 4).await.status, 204);
    edge.served.until(&auditor.token, "/api/bots?client=acme", 200).await;
    let mut listener = edge.served.listen(&auditor.token, "/api/stream?client=acme", None).await.unwrap();
    while listener.next().await.is_some() {}
    edge.served.until(&auditor.token, "/api/bots?client=acme", 404).await;
    for seconds in [-1, 0, 367 * 86_400] {
        assert_eq!(grant(&edge, &auditor, &edge.acme, seconds).await.problem(), (422, "invalid".into()), "{seconds}");
    }
    let operator = edge.database.signed_in(Role::Operator, None).await;
    assert_eq!(grant(&edge, &operator, &edge.acme, 60).await.problem(), (409, "conflict".into()));
    // Who is an auditor no more, and becomes one again, starts with nothing.
    assert_eq!(grant(&edge, &auditor, &edge.acme, 3_600).await.status, 204);
    for role in ["operator", "auditor"] {
        let path = format!("/api/admin/users/{}/role", auditor.session.user.id);
        let role = json!({"role": role, "reason": "there and back"});
        assert_eq!(post(&edge.served, &edge.admin, &path, &role).await.status, 204);
    }
    let granted = format!("/api/admin/users/{}/grants", auditor.session.user.id);
    assert_eq!(edge.served.ask(&edge.admin, &granted).await.json(), json!([]));
    assert_eq!(names_of(&edge.database, auditor.session.user.id).await["GrantWithdrawn"], 1);
}

/// Who looked at what, as somebody is told.
async fn looks(served: &Served, token: &str, path: &str) -> Vec<(String, String)> {
    let page = served.ask(token, path).await.json();
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}")).iter();
    let of = |look: &Value| (look["user_id"].as_str().unwrap().to_owned(), look["route"].as_str().unwrap().to_owned());
    items.map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_of_others_looks_at_a_client_is_on_record_once_an_hour_before_it_is_answered() {
    let edge = Edge::new("api").await;
    let second = Served::start(&edge.database, "api");
    let operator = edge.database.signed_in(Role::Operator, None).await;
    let me = operator.session.user.id.to_string();
    for _ in 0..5 {
        for served in [&edge.served, &second] {
            assert_eq!(served.ask(&operator.token, "/api/events?client=acme").await.status, 200);
            assert_eq!(served.ask(&operator.token, "/api/orders?client=acme").await.status, 200);
            assert_eq!(served.ask(&operator.token, "/api/admin/clients").await.status, 200);
            assert_eq!(served.ask(&operator.token, "/api/pnl?client=nobody").await.status, 404);
        }
    }
    assert_eq!(
        edge.served.ask(&edge.acme.token, "/api/pnl").await.status,
        200,
        "a client's own looks are its own affair"
    );
    let mine = |told: Vec<(String, String)>| -> Vec<String> {
        let mut routes: Vec<_> = told.into_iter().filter(|(user, _)| *user == me).map(|(_, route)| route).collect();
        routes.sort();
        routes
    };
    // Whoever looked at all clients looked at each.
    let of_acme = ["GET /api/admin/clients", "GET /api/events", "GET /api/orders"];
    assert_eq!(mine(looks(&edge.served, &edge.acme.token, "/api/clients/access-log").await), of_acme);
    assert_eq!(mine(looks(&edge.served, &edge.borealis.token, "/api/clients/access-log").await), &of_acme[..1]);
    let all = mine(looks(&edge.served, &edge.admin, "/api/admin/access-log").await);
    assert_eq!(all, ["GET /api/admin/clients", "GET /api/events", "GET /api/orders"]);
    let refused = edge.served.ask(&operator.token, "/api/clients/access-log?client=acme").await;
    assert_eq!(refused.problem(), (403, "forbidden".into()), "who is watched does not see the log");
    // The desk's stream tells each once, and a page goes on where the one before ended.
    let events = read::after(&edge.database.pool(Login::Projector), ClientId::DESK, 0, 10_000).await.unwrap();
    let told = events.iter().filter(|recorded| {
        matches!(&recorded.event, Event::Desk(DeskEvent::ClientAccessed { user, .. }) if user.to_string() == me)
    });
    assert_eq!(told.count(), 3);
    let (mut walked, mut path) = (Vec::new(), "/api/admin/access-log?limit=1".to_owned());
    loop {
        let page = edge.served.ask(&edge.admin, &path).await.json();
        walked.extend(page["items"].as_array().unwrap().iter().map(|look| look["route"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/admin/access-log?limit=1&cursor={next}");
    }
    walked.sort();
    assert_eq!(walked, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_looks_are_kept_and_told_later() {
    let edge = Edge::new("api,projector").await;
    let line = Line::to(edge.database.port()).await;
    let served = tokio::task::block_in_place(|| {
        Served::of(edge.database.command_by(&line, &["serve", "--roles", "api", "--port", "0"]))
    });
    let operator = edge.database.signed_in(Role::Operator, None).await;
    // What is known is told with its age, and who looked at it as soon as can be.
    served.until(&edge.acme.token, "/api/bots", 200).await;
    served.until(&operator.token, "/api/auth/me", 200).await;
    assert_eq!(served.ask(&edge.admin, "/api/bots?client=acme").await.status, 200);
    line.cut();
    let away = served.ask(&operator.token, "/api/bots?client=acme").await;
    assert_eq!(away.status, 200, "{}", away.text());
    line.mend();
    let me = operator.session.user.id.to_string();
    for _ in 0..600 {
        let told = looks(&edge.served, &edge.acme.token, "/api/clients/access-log").await;
        if told.iter().any(|(user, route)| *user == me && route == "GET /api/bots") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("it is never told");
}
