//! People: asked to come, by a link that is good once; given another role; barred and let in again. Each by whoever decides
//! about them, with a reason, and told to the desk's stream without a word of who it is.

use std::collections::BTreeMap;

use events::{
    UserId,
    desk::{DeskEvent, Role},
};
use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, PASSWORD, Served, SignedIn};

use crate::{
    edge::Edge,
    sessions::{names_of, told_of},
};

/// Obviously not a real one, either.
const OTHER: &str = "not-a-real-password-2";

pub async fn post(served: &Served, token: &str, path: &str, body: &Value) -> Answer {
    let request = served.request(Method::POST, path).json(body);
    Answer::to(if token.is_empty() { request } else { request.bearer_auth(token) }).await
}

fn text(told: &Value, name: &str) -> String {
    told[name].as_str().unwrap_or_else(|| panic!("{name} in {told}")).to_owned()
}

async fn accept(served: &Served, link: &str, password: &str) -> Answer {
    post(served, "", "/api/auth/accept", &json!({"link": link, "password": password})).await
}

async fn log_in(served: &Served, email: &str, password: &str) -> Answer {
    post(served, "", "/api/auth/login", &json!({"email": email, "password": password})).await
}

fn id(told: &Value) -> UserId {
    text(told, "user_id").parse().unwrap()
}

/// What the list says of somebody.
async fn listed(served: &Served, token: &str, path: &str, user: UserId) -> Value {
    let everybody = served.ask(token, path).await.json();
    let found = everybody.as_array().unwrap().iter().find(|one| one["user_id"] == user.to_string());
    found.cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_asked_to_come_chooses_a_password_once_and_logs_in() {
    let edge = Edge::new("api").await;
    let (served, new) = (&edge.served, json!({"email": "new@example.com", "role": "operator"}));
    let asked = post(served, &edge.admin, "/api/admin/users", &new).await;
    assert_eq!((asked.status, asked.header("cache-control")), (201, "no-store"));
    let (link, user) = (text(&asked.json(), "link"), id(&asked.json()));
    assert_eq!(listed(served, &edge.admin, "/api/admin/users", user).await["state"], "invited");
    assert_eq!(log_in(served, "new@example.com", PASSWORD).await.status, 401, "without a password nobody logs in");
    // Whatever is wrong with it, it stays good; and whatever is no link is answered alike.
    assert_eq!(accept(served, &link, "short").await.problem(), (422, "invalid".into()));
    let forged = format!("{}0", &link[..link.len() - 1]);
    for bad in ["", "pll_", &forged, &link.to_uppercase(), &link.replacen("pll", "plr", 1)] {
        let refused = accept(served, bad, PASSWORD).await;
        assert!(bad == link || refused.problem() == (401, "wrong_credentials".into()), "{bad}: {}", refused.text());
    }
    // Of many at once one chooses.
    let tries: Vec<Answer> = stream::iter(0..20)
        .map(|n| accept(served, &link, if n == 0 { PASSWORD } else { OTHER }))
        .buffer_unordered(20)
        .map(|answer| answer)
        .collect()
        .await;
    assert_eq!(tries.iter().filter(|answer| answer.status == 204).count(), 1);
    let (one, other) = (
        log_in(served, "New@Example.com", PASSWORD).await.status,
        log_in(served, "new@example.com", OTHER).await.status,
    );
    assert!([(200, 401), (401, 200)].contains(&(one, other)), "{one} {other}");
    assert_eq!(listed(served, &edge.admin, "/api/admin/users", user).await["state"], "active");
    let names = names_of(&edge.database, user).await;
    assert_eq!(names, BTreeMap::from([("UserInvited", 1), ("UserAdded", 1), ("SessionOpened", 1)]));
    let again = post(served, &edge.admin, "/api/admin/users", &new).await;
    assert_eq!(again.problem(), (409, "conflict".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_password_is_replaced_by_a_link_and_throws_out_whoever_had_it() {
    let edge = Edge::new("api").await;
    let served = &edge.served;
    let person = edge.database.person("someone@example.com", Role::Operator, None).await;
    let session = log_in(served, &person.email, PASSWORD).await.json();
    let made = json!({"name": "a script", "scopes": ["read"]});
    let program = text(&post(served, &text(&session, "access_token"), "/api/auth/tokens", &made).await.json(), "token");
    let path = format!("/api/admin/users/{}/link", person.id);
    let first = text(&post(served, &edge.admin, &path, &json!({})).await.json(), "link");
    let second = text(&post(served, &edge.admin, &path, &json!({})).await.json(), "link");
    assert_eq!(accept(served, &first, OTHER).await.status, 401, "a newer one was made");
    assert_eq!(accept(served, &second, OTHER).await.status, 204);
    for token in [&text(&session, "access_token"), &program] {
        served.until(token, "/api/auth/me", 401).await;
    }
    let refresh = json!({"refresh_token": text(&session, "refresh_token")});
    assert_eq!(post(served, "", "/api/auth/refresh", &refresh).await.status, 401);
    assert_eq!(log_in(served, &person.email, PASSWORD).await.status, 401);
    assert_eq!(log_in(served, &person.email, OTHER).await.status, 200);
    let names = names_of(&edge.database, person.id).await;
    assert_eq!((names["PasswordLinkIssued"], names["PasswordChanged"], names["TokenRevoked"]), (2, 1, 1));
}

/// A login takes as long as a hash does: whatever is changed meanwhile, it opens no session by what was true before.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_logging_in_while_the_password_is_replaced_is_thrown_out_like_everybody_else() {
    let edge = Edge::new("api").await;
    let served = &edge.served;
    let person = edge.database.person("someone@example.com", Role::Operator, None).await;
    let path = format!("/api/admin/users/{}/link", person.id);
    let (mut now, mut next) = (PASSWORD.to_owned(), OTHER.to_owned());
    for _ in 0..5 {
        let link = text(&post(served, &edge.admin, &path, &json!({})).await.json(), "link");
        let thieves = stream::iter(0..12).map(|_| log_in(served, &person.email, &now)).buffer_unordered(4);
        let (thieves, accepted) = tokio::join!(thieves.collect::<Vec<Answer>>(), accept(served, &link, &next));
        assert_eq!(accepted.status, 204);
        for thief in thieves.into_iter().filter(|answer| answer.status == 200) {
            let told = thief.json();
            served.until(&text(&told, "access_token"), "/api/auth/me", 401).await;
            assert_eq!(refresh(served, &text(&told, "refresh_token")).await.status, 401);
        }
        std::mem::swap(&mut now, &mut next);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_by_whoever_knows_it_and_only_that_session_goes_on() {
    let edge = Edge::new("api").await;
    let served = &edge.served;
    let person = edge.database.person("someone@example.com", Role::ClientViewer, Some(edge.acme.client)).await;
    let [here, there] = [log_in(served, &person.email, PASSWORD).await, log_in(served, &person.email, PASSWORD).await];
    let [here, there] = [here, there].map(|answer| text(&answer.json(), "access_token"));
    for (current, new, status) in [(OTHER, OTHER, 401), (PASSWORD, "short", 422)] {
        let change = json!({"current": current, "new": new});
        assert_eq!(post(served, &here, "/api/auth/password", &change).await.status, status, "{current} {new}");
    }
    let changed = post(served, &here, "/api/auth/password", &json!({"current": PASSWORD, "new": OTHER})).await;
    let next = text(&changed.json(), "access_token");
    for token in [&here, &there] {
        served.until(token, "/api/auth/me", 401).await;
    }
    let listed = served.ask(&next, "/api/auth/sessions").await.json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["current"]), (1, &json!(true)));
    assert_eq!(log_in(served, &person.email, PASSWORD).await.status, 401);
    assert_eq!(log_in(served, &person.email, OTHER).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_role_counts_at_once_and_who_is_barred_is_thrown_out_until_let_in_again() {
    let edge = Edge::new("api").await;
    let (served, somebody) = (&edge.served, edge.database.signed_in(Role::Operator, None).await);
    let (user, token) = (somebody.session.user.id, &somebody.token);
    let decide = async |what: &str, body: &Value| {
        post(served, &edge.admin, &format!("/api/admin/users/{user}/{what}"), body).await
    };
    assert_eq!(served.ask(token, "/api/admin/overview").await.status, 200);
    let role = |role: &str| json!({"role": role, "reason": "moved on"});
    assert_eq!(decide("role", &role("auditor")).await.status, 204);
    // What the token said of the role counts no more; the next one says the other.
    served.until(token, "/api/auth/me", 401).await;
    let next = refreshed(served, &somebody.refresh).await;
    assert_eq!(served.ask(&next.0, "/api/admin/overview").await.problem(), (403, "forbidden".into()));
    assert_eq!(decide("role", &role("auditor")).await.problem(), (409, "conflict".into()));
    for bad in ["client_owner", "service"] {
        assert_eq!(decide("role", &role(bad)).await.problem(), (422, "invalid".into()), "{bad}");
    }
    for bad in ["", " ", "two\nlines"] {
        assert_eq!(decide("bar", &json!({"reason": bad})).await.problem(), (422, "invalid".into()), "{bad:?}");
    }
    let why = json!({"reason": "left"});
    assert_eq!(decide("bar", &why).await.status, 204);
    served.until(&next.0, "/api/auth/me", 401).await;
    assert_eq!(refresh(served, &next.1).await.status, 401);
    assert_eq!(log_in(served, &format!("{user}@example.com"), PASSWORD).await.status, 401);
    assert_eq!(decide("bar", &why).await.problem(), (409, "conflict".into()));
    assert_eq!(decide("link", &json!({})).await.problem(), (409, "conflict".into()));
    assert_eq!(decide("unbar", &json!({"reason": "came back"})).await.status, 204);
    assert_eq!(log_in(served, &format!("{user}@example.com"), PASSWORD).await.status, 200);
    let told = told_of(&edge.database, user).await;
    let moved = |event: &DeskEvent| matches!(event, DeskEvent::RoleChanged { from: Role::Operator, to: Role::Auditor, reason, .. } if reason == "moved on");
    assert!(told.iter().any(moved), "{told:?}");
    let names = names_of(&edge.database, user).await;
    assert_eq!((names["UserBarred"], names["UserUnbarred"]), (1, 1));
}

async fn refresh(served: &Served, token: &str) -> Answer {
    post(served, "", "/api/auth/refresh", &json!({"refresh_token": token})).await
}

async fn refreshed(served: &Served, token: &str) -> (String, String) {
    let next = refresh(served, token).await.json();
    (text(&next, "access_token"), text(&next, "refresh_token"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_decides_about_oneself_and_the_last_admin_stays_whoever_is_quick() {
    let edge = Edge::new("api").await;
    let served = &edge.served;
    // Those who are there from the start are sent away.
    let first = edge.database.signed_in(Role::Admin, None).await;
    let why = json!({"reason": "a clean start"});
    for one in served.ask(&first.token, "/api/admin/users").await.json().as_array().unwrap() {
        if one["role"] == "admin" && one["user_id"] != first.session.user.id.to_string() {
            let path = format!("/api/admin/users/{}/bar", text(one, "user_id"));
            assert_eq!(post(served, &first.token, &path, &why).await.status, 204);
        }
    }
    let own = format!("/api/admin/users/{}", first.session.user.id);
    assert_eq!(post(served, &first.token, &format!("{own}/bar"), &why).await.problem(), (409, "conflict".into()));
    let demote = json!({"role": "operator", "reason": "x"});
    assert_eq!(post(served, &first.token, &format!("{own}/role"), &demote).await.problem(), (409, "conflict".into()));
    for round in 0..10 {
        // Two admins who bar each other at once: one is left.
        let others: Vec<SignedIn> =
            vec![edge.database.signed_in(Role::Admin, None).await, edge.database.signed_in(Role::Admin, None).await];
        if round == 0 {
            let path = format!("/api/admin/users/{}/bar", first.session.user.id);
            assert_eq!(post(served, &others[0].token, &path, &why).await.status, 204);
        }
        let bar = |by: usize| {
            let path = format!("/api/admin/users/{}/bar", others[1 - by].session.user.id);
            let token = others[by].token.clone();
            let why = &why;
            async move { post(served, &token, &path, why).await.status }
        };
        tokio::join!(bar(0), bar(1));
        let left = "select count(*) from auth.users where role = 'admin' and barred_at is null";
        let left: i64 = sqlx::query_scalar(left).fetch_one(&edge.database.superuser()).await.unwrap();
        assert!(left >= 1, "nobody is left who decides");
        let clear = "update auth.users set barred_at = now() where role = 'admin' and barred_at is null";
        sqlx::query(clear).execute(&edge.database.superuser()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_decides_about_the_own_people_and_sees_no_other() {
    let edge = Edge::new("api").await;
    let (served, owner) = (&edge.served, &edge.acme.token);
    let new = |email: &str, role: &str| json!({"email": email, "role": role});
    let invited = post(served, owner, "/api/clients/users", &new("view@acme.example", "client_viewer")).await;
    let (viewer, link) = (id(&invited.json()), text(&invited.json(), "link"));
    for role in ["admin", "operator", "auditor", "service"] {
        let refused = post(served, owner, "/api/clients/users", &new("more@acme.example", role)).await;
        assert_eq!(refused.problem(), (422, "invalid".into()), "{role}");
    }
    let path = |what: &str| format!("/api/clients/users/{viewer}/{what}");
    // An invitation that was lost is made anew, a password that is there is not the owner's to replace.
    let again = text(&post(served, owner, &path("link"), &json!({})).await.json(), "link");
    assert_eq!(
        (accept(served, &link, PASSWORD).await.status, accept(served, &again, PASSWORD).await.status),
        (401, 204)
    );
    assert_eq!(post(served, owner, &path("link"), &json!({})).await.problem(), (409, "conflict".into()));
    let theirs = post(served, &edge.borealis.token, &path("bar"), &json!({"reason": "x"})).await;
    let nobodys = format!("/api/clients/users/{}/bar", UserId::new());
    let nobodys = post(served, &edge.borealis.token, &nobodys, &json!({"reason": "x"})).await;
    assert_eq!((theirs.status, &theirs.body), (404, &nobodys.body));
    assert!(listed(served, &edge.borealis.token, "/api/clients/users", viewer).await.is_null());
    let mine = served.ask(owner, "/api/clients/users").await.json();
    assert!(mine.as_array().unwrap().iter().all(|one| one["client_id"] == edge.acme.client.to_string()), "{mine}");
    let token = text(&log_in(served, "view@acme.example", PASSWORD).await.json(), "access_token");
    assert_eq!(served.ask(&token, "/api/clients/users").await.problem(), (403, "forbidden".into()));
    let promote = json!({"role": "client_owner", "reason": "runs the desk"});
    assert_eq!(post(served, owner, &path("role"), &promote).await.status, 204);
    assert_eq!(post(served, owner, &path("bar"), &json!({"reason": "left"})).await.status, 204);
    served.until(&token, "/api/auth/me", 401).await;
    assert_eq!(listed(served, owner, "/api/clients/users", viewer).await["state"], "barred");
    // Whom it barred itself, it lets in again; whom the desk has barred, it does not.
    assert_eq!(post(served, owner, &path("unbar"), &json!({"reason": "came back"})).await.status, 204);
    let desks = format!("/api/admin/users/{viewer}/bar");
    assert_eq!(post(served, &edge.admin, &desks, &json!({"reason": "a finding"})).await.status, 204);
    let refused = post(served, owner, &path("unbar"), &json!({"reason": "came back"})).await;
    assert_eq!(refused.problem(), (409, "conflict".into()));
    assert!(refused.text().contains("the desk"), "{}", refused.text());
}
