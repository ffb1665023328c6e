//! Sessions: opened by a login, gone on with by one refresh token after the other, and ended everywhere at once.

use std::{collections::BTreeMap, time::Duration};

use events::{
    ClientId, Event, SessionId, Time, UserId,
    desk::{DeskEvent, Role, WhyEnded},
};
use futures::{StreamExt, stream};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use store::{Login, read};
use tests::{Answer, Database, Line, Listener, PASSWORD, Served, SignedIn};

use crate::edge::Edge;

/// How long what has to come may take.
const COMES: Duration = Duration::from_secs(60);

async fn log_in(served: &Served, email: &str) -> Value {
    let who = json!({"email": email, "password": PASSWORD});
    Answer::to(served.request(Method::POST, "/api/auth/login").json(&who)).await.json()
}

async fn refresh(served: &Served, token: &str) -> Answer {
    let request = served.request(Method::POST, "/api/auth/refresh").json(&json!({"refresh_token": token}));
    Answer::to(request).await
}

fn text(told: &Value, name: &str) -> String {
    told[name].as_str().unwrap_or_else(|| panic!("{name} in {told}")).to_owned()
}

/// Waits until a token counts no more.
async fn refused(served: &Served, token: &str) {
    let asking = async {
        while served.ask(token, "/api/auth/me").await.status != 401 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(COMES, asking).await.expect("it is refused in the end");
}

/// What the desk's stream tells of somebody's sessions, by name.
pub async fn told_of(database: &Database, user: UserId) -> Vec<DeskEvent> {
    let events = read::after(&database.pool(Login::Projector), ClientId::DESK, 0, 10_000).await.unwrap();
    let of_user = events.into_iter().filter(|recorded| recorded.aggregate.id == user.to_string());
    of_user
        .map(|recorded| {
            let Event::Desk(event) = recorded.event else { panic!("{:?} in the desk's stream", recorded.event) };
            event
        })
        .collect()
}

pub async fn names_of(database: &Database, user: UserId) -> BTreeMap<&'static str, usize> {
    let mut names = BTreeMap::new();
    for event in told_of(database, user).await {
        *names.entry(event.name()).or_default() += 1;
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_opens_a_session_that_goes_on_by_one_refresh_token_after_the_other() {
    let edge = Edge::new("api").await;
    let person = edge.database.person("someone@example.com", Role::ClientOwner, Some(edge.acme.client)).await;
    let first = log_in(&edge.served, &person.email).await;
    let session = text(&first, "session_id");
    let mut told = first.clone();
    for _ in 0..5 {
        let next = refresh(&edge.served, &text(&told, "refresh_token")).await.json();
        assert_eq!(text(&next, "session_id"), session);
        assert_ne!(text(&next, "refresh_token"), text(&told, "refresh_token"));
        for token in [text(&told, "access_token"), text(&next, "access_token")] {
            let me = edge.served.ask(&token, "/api/auth/me").await.json();
            assert_eq!((text(&me, "session_id"), text(&me, "user_id")), (session.clone(), person.id.to_string()));
        }
        told = next;
    }
    let other = log_in(&edge.served, &person.email).await;
    let listed = edge.served.ask(&text(&told, "access_token"), "/api/auth/sessions").await.json();
    let listed: Vec<_> =
        listed.as_array().unwrap().iter().map(|one| (text(one, "session_id"), &one["current"])).collect();
    assert_eq!(listed, [(text(&other, "session_id"), &json!(false)), (session, &json!(true))]);
    assert_eq!(names_of(&edge.database, person.id).await, BTreeMap::from([("SessionOpened", 2), ("UserAdded", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_who_use_one_refresh_token_at_once_one_succeeds_and_the_session_ends() {
    let edge = Edge::new("api").await;
    let second = Served::start(&edge.database, "api");
    let somebody = edge.database.signed_in(Role::Operator, None).await;
    let ask = |n: usize| refresh(if n.is_multiple_of(2) { &edge.served } else { &second }, &somebody.refresh);
    let answers: Vec<Answer> = stream::iter(0..100).map(ask).buffer_unordered(100).collect().await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((won.len(), lost.len()), (1, 99));
    for answer in &lost {
        assert_eq!((answer.problem(), &answer.body), ((401, "unauthenticated".into()), &lost[0].body));
    }
    // Nobody knows whether the one was the user.
    let won = won[0].json();
    for served in [&edge.served, &second] {
        refused(served, &text(&won, "access_token")).await;
        refused(served, &somebody.token).await;
        assert_eq!(refresh(served, &text(&won, "refresh_token")).await.body, lost[0].body);
    }
    let user = somebody.session.user.id;
    let told = told_of(&edge.database, user).await;
    let session = somebody.session.id;
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().any(|event| matches!(event, DeskEvent::RefreshReused { session: one, .. } if *one == session)));
    let ended = |event: &DeskEvent| matches!(event, DeskEvent::SessionRevoked { session: one, by: None, reason: WhyEnded::RefreshReused, .. } if *one == session);
    assert!(told.iter().any(ended), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_comes_again_later_ends_its_session_and_no_other() {
    let edge = Edge::new("api").await;
    let person = edge.database.person("someone@example.com", Role::Admin, None).await;
    let (stolen, other) = (log_in(&edge.served, &person.email).await, log_in(&edge.served, &person.email).await);
    let thiefs = refresh(&edge.served, &text(&stolen, "refresh_token")).await.json();
    assert_eq!(refresh(&edge.served, &text(&stolen, "refresh_token")).await.problem(), (401, "unauthenticated".into()));
    refused(&edge.served, &text(&thiefs, "access_token")).await;
    assert_eq!(refresh(&edge.served, &text(&thiefs, "refresh_token")).await.status, 401);
    assert_eq!(edge.served.ask(&text(&other, "access_token"), "/api/auth/me").await.status, 200);
    assert_eq!(refresh(&edge.served, &text(&other, "refresh_token")).await.status, 200);
    // Coming once more tells nothing new.
    assert_eq!(refresh(&edge.served, &text(&stolen, "refresh_token")).await.status, 401);
    let names = names_of(&edge.database, person.id).await;
    assert_eq!((names["RefreshReused"], names["SessionRevoked"]), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_refresh_token_gets_one_answer_whatever_it_is() {
    let edge = Edge::new("api").await;
    let somebody = edge.database.signed_in(Role::Admin, None).await;
    let over = edge.database.signed_in(Role::Admin, None).await;
    let end = "update auth.refresh_tokens set expires_at = now() where session_id = $1";
    sqlx::query(end).bind(over.session.id.0).execute(&edge.database.superuser()).await.unwrap();
    let whole = edge.database.signed_in(Role::Admin, None).await;
    let end = "update auth.sessions set ends_at = now() where session_id = $1";
    sqlx::query(end).bind(whole.session.id.0).execute(&edge.database.superuser()).await.unwrap();
    let (of, secret) = somebody.refresh.rsplit_once('_').unwrap();
    let others = over.refresh.rsplit_once('_').unwrap().1;
    let mut first = None;
    for bad in [
        "".to_owned(),
        "x".to_owned(),
        somebody.token.clone(),
        format!("{of}_{others}"),
        format!("{of}_{}", secret.to_uppercase()),
        format!("{of}_{secret}0"),
        format!("plr_{}_{secret}", SessionId::new().0.simple()),
        over.refresh.clone(),
        whole.refresh.clone(),
    ] {
        let answer = refresh(&edge.served, &bad).await;
        assert_eq!(answer.problem(), (401, "unauthenticated".into()), "{bad}");
        assert_eq!(&answer.body, first.get_or_insert(answer.body.clone()), "{bad}");
    }
    assert_eq!(refresh(&edge.served, &somebody.refresh).await.status, 200, "nothing of it harmed the right one");
    // A refresh token opens nothing by itself.
    assert_eq!(edge.served.ask(&somebody.refresh, "/api/auth/me").await.problem(), (401, "unauthenticated".into()));
}

async fn listener(served: &Served, token: &str) -> Listener {
    let mut listener = served.listen(token, "/api/stream?after=0", None).await.unwrap();
    assert!(heard(&mut listener).await, "it begins");
    listener
}

async fn heard(listener: &mut Listener) -> bool {
    tokio::time::timeout(COMES, listener.next()).await.expect("something comes, or the end").is_some()
}

/// Hears to the end.
async fn ends(mut listener: Listener) {
    while heard(&mut listener).await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_is_refused_by_every_process_and_its_listeners_are_let_go() {
    let edge = Edge::new("api").await;
    let second = Served::start(&edge.database, "api");
    let client = Some(edge.acme.client);
    let person = edge.database.person("someone@example.com", Role::ClientOwner, client).await;
    let (one, other) = (log_in(&edge.served, &person.email).await, log_in(&edge.served, &person.email).await);
    let (one, other) = (text(&one, "access_token"), text(&other, "access_token"));
    let listeners = [listener(&edge.served, &one).await, listener(&second, &one).await];
    let mut stays = listener(&second, &other).await;
    let out = edge.served.request(Method::POST, "/api/auth/logout").bearer_auth(&one);
    assert_eq!(Answer::to(out).await.status, 204);
    for listener in listeners {
        ends(listener).await;
    }
    refused(&edge.served, &one).await;
    refused(&second, &one).await;
    for served in [&edge.served, &second] {
        assert_eq!(served.ask(&other, "/api/auth/me").await.status, 200);
    }
    assert!(heard(&mut stays).await, "somebody else's listener goes on");

    // By its user from another session, and by an admin.
    let third = text(&log_in(&second, &person.email).await, "access_token");
    let sessions = edge.served.ask(&other, "/api/auth/sessions").await.json();
    let place = sessions.as_array().unwrap().iter().find(|one| one["current"] == false).unwrap();
    let place = format!("/api/auth/sessions/{}", text(place, "session_id"));
    let end = async |token: &str, path: &str| {
        Answer::to(edge.served.request(Method::DELETE, path).bearer_auth(token)).await.status
    };
    assert_eq!(end(&edge.borealis.token, &place).await, 404, "of another user");
    assert_eq!(end(&other, &place).await, 204);
    assert_eq!(end(&other, &place).await, 404);
    refused(&second, &third).await;
    let of_user = format!("/api/admin/users/{}/sessions", person.id);
    let listed = edge.served.ask(&edge.admin, &of_user).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let path = format!("{of_user}/{}", text(&listed[0], "session_id"));
    assert_eq!(end(&edge.acme.token, &path).await, 403);
    assert_eq!(end(&edge.admin, &path).await, 204);
    ends(stays).await;
    refused(&second, &other).await;
    let (fourth, fifth) = (log_in(&edge.served, &person.email).await, log_in(&second, &person.email).await);
    assert_eq!(end(&edge.admin, &of_user).await, 204);
    for gone in [fourth, fifth] {
        refused(&second, &text(&gone, "access_token")).await;
    }
    let reasons: Vec<WhyEnded> = told_of(&edge.database, person.id)
        .await
        .iter()
        .filter_map(|event| if let DeskEvent::SessionRevoked { reason, .. } = event { Some(*reason) } else { None })
        .collect();
    let (out, by_others) = (WhyEnded::LoggedOut, WhyEnded::Ended);
    assert_eq!(reasons, [out, by_others, by_others, by_others, by_others]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_may_do_changes_at_once_by_whatever_hand() {
    let edge = Edge::new("api").await;
    let second = Served::start(&edge.database, "api");
    let superuser = edge.database.superuser();
    let by_hand = async |statement: &str, of: &SignedIn| {
        sqlx::query(statement).bind(of.session.user.id.0).execute(&superuser).await.unwrap();
    };
    let demoted = edge.database.signed_in(Role::Admin, None).await;
    let (barred, gone) =
        (edge.database.signed_in(Role::Admin, None).await, edge.database.signed_in(Role::Admin, None).await);
    for token in [&demoted.token, &barred.token, &gone.token] {
        assert_eq!(second.ask(token, "/api/admin/clients?min_seq=x").await.status, 422);
    }
    by_hand("update auth.users set role = 'operator' where user_id = $1", &demoted).await;
    by_hand("update auth.users set barred_at = now() where user_id = $1", &barred).await;
    by_hand("delete from auth.users where user_id = $1", &gone).await;
    for of in [&demoted, &barred, &gone] {
        refused(&edge.served, &of.token).await;
        refused(&second, &of.token).await;
    }
    let now = refresh(&second, &demoted.refresh).await.json();
    assert_eq!(now["role"], "operator");
    assert_eq!(edge.served.ask(&text(&now, "access_token"), "/api/auth/me").await.json()["role"], "operator");
    for of in [&barred, &gone] {
        assert_eq!(refresh(&second, &of.refresh).await.problem(), (401, "unauthenticated".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_knows_what_was_revoked_before() {
    let edge = Edge::new("api").await;
    let somebody = edge.database.signed_in(Role::Admin, None).await;
    let ended = Answer::to(edge.served.request(Method::POST, "/api/auth/logout").bearer_auth(&somebody.token)).await;
    assert_eq!(ended.status, 204);
    for _ in 0..3 {
        let later = Served::start(&edge.database, "api");
        assert_eq!(later.ask(&somebody.token, "/api/auth/me").await.problem(), (401, "unauthenticated".into()));
        assert_eq!(later.ask(&edge.admin, "/api/auth/sessions").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_what_was_revoked_stays_revoked_and_the_others_go_on() {
    let edge = Edge::new("api,projector").await;
    let line = Line::to(edge.database.port()).await;
    let cut_off = Served::of(edge.database.command_by(&line, &["serve", "--roles", "api", "--port", "0"]));
    let (ended, late) =
        (edge.database.signed_in(Role::Admin, None).await, edge.database.signed_in(Role::Admin, None).await);
    let path = "/api/bots?client=acme";
    for token in [&ended.token, &late.token] {
        assert_eq!(cut_off.ask(token, path).await.status, 200);
    }
    let out = async |of: &SignedIn| {
        Answer::to(edge.served.request(Method::POST, "/api/auth/logout").bearer_auth(&of.token)).await.status
    };
    assert_eq!(out(&ended).await, 204);
    refused(&cut_off, &ended.token).await;
    line.cut();
    assert_eq!(out(&late).await, 204);
    assert_eq!(cut_off.ask(&ended.token, path).await.status, 401);
    // It cannot know, and the token's own end is near.
    assert_eq!(cut_off.ask(&late.token, path).await.status, 200);
    line.mend();
    let asking = async {
        while cut_off.ask(&late.token, path).await.status != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(COMES, asking).await.expect("it learns of it when the database is back");
}

/// What a browser keeps, from the cookies that an answer sets.
fn cookies(answer: &Answer) -> BTreeMap<String, String> {
    let set = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    set.map(|cookie| {
        let (pair, rest) = cookie.split_once("; ").unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        assert!(name.starts_with("__Host-") && rest.starts_with("Path=/; "), "{cookie}");
        assert!(rest.contains("; Secure; SameSite=Strict") && !rest.contains("Domain"), "{cookie}");
        assert_eq!(rest.ends_with("; HttpOnly"), !name.ends_with("csrf"), "{cookie}");
        (name.to_owned(), value.to_owned())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_told_no_token_and_changes_nothing_without_the_csrf_value() {
    let edge = Edge::new("api").await;
    let person = edge.database.person("someone@example.com", Role::ClientOwner, Some(edge.acme.client)).await;
    let who = json!({"email": person.email, "password": PASSWORD, "browser": true});
    let answer = Answer::to(edge.served.request(Method::POST, "/api/auth/login").json(&who)).await;
    let told = answer.json();
    assert!(told.get("access_token").is_none() && told.get("refresh_token").is_none(), "{told}");
    let kept = cookies(&answer);
    assert_eq!(
        kept.keys().map(|name| &name["__Host-pipelabs-".len()..]).collect::<Vec<_>>(),
        ["access", "csrf", "refresh"]
    );
    assert_eq!(text(&told, "csrf_token"), kept["__Host-pipelabs-csrf"]);
    let jar = |kept: &BTreeMap<String, String>| {
        kept.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    };
    let csrf = |kept: &BTreeMap<String, String>| kept["__Host-pipelabs-csrf"].clone();
    let sent = |kept: &BTreeMap<String, String>, method: Method, path: &str, csrf: &str| {
        let request = edge.served.request(method, path).header("cookie", jar(kept)).header("idempotency-key", csrf);
        if csrf.is_empty() { request } else { request.header("x-csrf-token", csrf) }
    };
    assert_eq!(Answer::to(sent(&kept, Method::GET, "/api/auth/me", "")).await.json()["email"], person.email);

    // Another session's value is none of this one.
    let theirs = cookies(&Answer::to(edge.served.request(Method::POST, "/api/auth/login").json(&who)).await);
    let create = |csrf: &str| sent(&kept, Method::POST, "/api/bots", csrf).json(&json!({"name": "by-browser"}));
    for bad in ["x", &csrf(&theirs), &text(&told, "session_id")] {
        let refused = Answer::to(create(bad)).await;
        assert_eq!(refused.problem(), (403, "csrf_token_missing".into()), "{bad}");
    }
    for (method, path) in [
        (Method::POST, "/api/auth/logout"),
        (Method::POST, "/api/auth/refresh"),
        (Method::PATCH, &edge.acme.path("/config")),
    ] {
        let refused = Answer::to(sent(&kept, method, path, "")).await;
        assert_eq!(refused.problem(), (403, "csrf_token_missing".into()), "{path}");
    }
    assert_eq!(Answer::to(create(&csrf(&kept))).await.status, 201);
    // Whoever sends the token itself is no page from elsewhere.
    let named = json!({"name": "by-header"});
    assert_eq!(edge.served.post(&kept["__Host-pipelabs-access"], "/api/bots", "k", &named).await.status, 201);

    let answer = Answer::to(sent(&kept, Method::POST, "/api/auth/refresh", &csrf(&kept))).await;
    let next = cookies(&answer);
    assert!(answer.json().get("refresh_token").is_none());
    assert_ne!(next["__Host-pipelabs-refresh"], kept["__Host-pipelabs-refresh"]);
    assert_eq!(csrf(&next), csrf(&kept));
    let out = Answer::to(sent(&next, Method::POST, "/api/auth/logout", &csrf(&next))).await;
    assert_eq!((out.status, cookies(&out).values().all(String::is_empty)), (204, true));
    refused(&edge.served, &next["__Host-pipelabs-access"]).await;
    let again = Answer::to(sent(&next, Method::POST, "/api/auth/refresh", &csrf(&next))).await;
    assert_eq!(again.problem(), (401, "unauthenticated".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_a_session_lets_nobody_in_and_no_event_tells_who_or_from_where() {
    let edge = Edge::new("api").await;
    let person = edge.database.person("Joan.Doe@example.com", Role::Auditor, None).await;
    let who = json!({"email": person.email, "password": PASSWORD});
    let request = edge.served.request(Method::POST, "/api/auth/login").json(&who);
    let told = Answer::to(request.header("user-agent", "canary-browser/1.0")).await.json();
    let going_on = json!({"refresh_token": text(&told, "refresh_token")});
    let request = edge.served.request(Method::POST, "/api/auth/refresh").json(&going_on);
    let next = Answer::to(request.header("user-agent", "canary-browser/1.0")).await.json();
    let (superuser, mut dump) = (edge.database.superuser(), String::new());
    for table in ["auth.users", "auth.sessions", "auth.refresh_tokens", "auth.untold", "auth.revocations", "es.events"]
    {
        let rows = format!("select coalesce(string_agg(t::text, ''), '') from {table} t");
        dump += &sqlx::query_scalar::<_, String>(&rows).fetch_one(&superuser).await.unwrap();
    }
    for token in [&told, &next] {
        for secret in ["access_token", "refresh_token"] {
            let text = text(token, secret);
            let secret = text.rsplit(['_', '.']).next().unwrap();
            assert!(!dump.contains(secret), "{secret} stands in the database");
        }
    }
    let events = "select coalesce(string_agg(e::text, ''), '') from es.events e";
    let events: String = sqlx::query_scalar(events).fetch_one(&superuser).await.unwrap();
    assert!(events.contains("SessionOpened") && dump.contains("canary-browser"));
    for personal in ["doe", "example.com", "canary", "127.0.0.1", "argon2"] {
        assert!(!events.to_lowercase().contains(personal), "an event tells {personal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_untold_is_told_by_another_once() {
    let edge = Edge::new("api").await;
    let somebody = edge.database.signed_in(Role::Admin, None).await;
    let (user, session) = (somebody.session.user.id, somebody.session.id);
    let event = DeskEvent::SessionRevoked { session, user, by: None, reason: WhyEnded::Ended, at: Time::EPOCH };
    let event = serde_json::to_string(&event).unwrap();
    let leave = "insert into auth.untold (event_key, about, event, actor, correlation)
                 values ('01900000-0000-7000-8000-00000000abcd', $1, $2, 'system:test', gen_random_uuid())";
    let waiting = "select count(*) from auth.untold";
    let superuser = edge.database.superuser();
    // The second time it was told already, and its process was killed before it could note that.
    for _ in 0..2 {
        sqlx::query(leave).bind(user.0).bind(&event).execute(&superuser).await.unwrap();
        let told = async {
            while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&superuser).await.unwrap() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(COMES, told).await.expect("somebody tells it");
    }
    assert_eq!(names_of(&edge.database, user).await["SessionRevoked"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_change_things_at_once_are_all_told() {
    let database = Database::new().await;
    let sessions = database.sessions();
    let somebody = database.signed_in(Role::Admin, None).await;
    let from = access::Whence::new([192, 0, 2, 1].into(), "");
    let open = |_| sessions.open(somebody.session.user, somebody.session.how.clone(), &from, Time::now());
    let opened: Vec<_> = stream::iter(0..40).map(open).buffer_unordered(40).collect().await;
    let refreshed = stream::iter(opened).map(|opened| async {
        let opened = opened.unwrap().unwrap();
        sessions.refresh(opened.refresh.expose_secret(), &from, Time::now()).await.unwrap()
    });
    let refreshed: Vec<_> = refreshed.buffer_unordered(40).collect().await;
    let user = somebody.session.user.id;
    let end = |session: SessionId| sessions.end(user, session, user, WhyEnded::LoggedOut, Time::now());
    let ended: Vec<_> = stream::iter(&refreshed).map(|one| end(one.session.id)).buffer_unordered(40).collect().await;
    assert!(ended.into_iter().all(|ended| ended.unwrap()));
    let names = names_of(&database, user).await;
    assert_eq!((names["SessionOpened"], names["SessionRevoked"]), (41, 40));
    assert_eq!(sessions.of(user).await.unwrap().len(), 1);
}
