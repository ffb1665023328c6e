//! Whoever is let in no more takes along no key to NATS: it is off within a moment, whatever ended it and whichever process
//! was down meanwhile. The subscription stays, and goes on under another key without a gap.

use std::time::{Duration, Instant};

use events::desk::Role;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Database, Line, OwnNats, PASSWORD, Served, SignedIn};

use super::{Edge, Follower, Party, becomes, desk, fills, listed, seed, subscribe, until};
use crate::{edge::seq, invited};

/// Somebody of acme with a subscription, and what follows by it.
struct Somebody {
    who: SignedIn,
    name: &'static str,
    told: Value,
    follower: Follower,
}

async fn owner(edge: &Edge) -> SignedIn {
    edge.database.signed_in(Role::ClientOwner, Some(edge.acme.client)).await
}

/// The same party, asking by this token.
fn by(party: &Party, token: &str) -> Party {
    Party { token: token.to_owned(), ..party.clone() }
}

async fn follows(edge: &Edge, nats: &tests::Nats, who: SignedIn, name: &'static str) -> Somebody {
    let told = subscribe(edge, &by(&edge.acme, &who.token), name, json!({})).await;
    let follower = Follower::come_in(nats, &told).await;
    follower.take(2).await;
    Somebody { who, name, told, follower }
}

async fn post(served: &Served, token: &str, path: &str, body: &Value) {
    let answer = invited::post(served, token, path, body).await;
    assert!(answer.status < 300, "{path}: {}", answer.text());
}

async fn delete(served: &Served, token: &str, path: &str) {
    let answer = Answer::to(served.request(Method::DELETE, path).bearer_auth(token)).await;
    assert_eq!(answer.status, 204, "{path}: {}", answer.text());
}

/// A token of another session.
async fn log_in(edge: &Edge, who: &SignedIn) -> String {
    let email = format!("{}@example.com", who.session.user.id);
    let told = invited::post(&edge.served, "", "/api/auth/login", &json!({"email": email, "password": PASSWORD})).await;
    told.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", told.text())).to_owned()
}

/// What ends somebody's being let in, and what is said of its subscription then.
async fn let_go(edge: &Edge, how: &str, who: &SignedIn) -> &'static str {
    let (served, user) = (&edge.served, who.session.user.id);
    let decide = async |what: &str, body: Value| {
        post(served, &edge.admin, &format!("/api/admin/users/{user}/{what}"), &body).await;
    };
    match how {
        "ended" => {
            let other = log_in(edge, who).await;
            delete(served, &other, &format!("/api/auth/sessions/{}", who.session.id)).await;
            "the login in which its key was brought was ended"
        }
        "reused" => {
            for expected in [200, 401] {
                let token = json!({"refresh_token": who.refresh});
                let answer = Answer::to(served.request(Method::POST, "/api/auth/refresh").json(&token)).await;
                assert_eq!(answer.status, expected);
            }
            "the login in which its key was brought was ended"
        }
        "barred" => {
            decide("bar", json!({"reason": "left"})).await;
            "barred"
        }
        "moved" => {
            decide("role", json!({"role": "client_viewer", "reason": "less to do"})).await;
            "another role"
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_let_in_no_more_is_off_nats_too_and_another_key_goes_on_without_a_gap() {
    let (edge, nats) = desk().await;
    let stays = follows(&edge, &nats.at, owner(&edge).await, "stays").await;
    for how in ["ended", "reused", "barred", "moved"] {
        let gone = follows(&edge, &nats.at, owner(&edge).await, how).await;
        let asked = Instant::now();
        let reason = let_go(&edge, how, &gone.who).await;
        let off = gone.follower.cut_off().await;
        println!("{how}, and off NATS {} ms after that was asked for", off.duration_since(asked).as_millis());
        goes_on_under_another_key(&edge, &nats.at, &gone, reason).await;
    }
    assert!(stays.follower.stayed(), "who was not meant is cut off");
}

async fn goes_on_under_another_key(edge: &Edge, nats: &tests::Nats, gone: &Somebody, reason: &str) {
    let barred = becomes(edge, &edge.acme, gone.name, "barred").await;
    assert!(barred["reason"].as_str().unwrap().contains(reason), "{barred}");
    assert!(Follower::with_key(nats, &gone.told, &seed(&gone.told)).await.is_err(), "it is let in again");
    fills(&edge.streams, &edge.acme, unused_fills(edge).await).await;
    let renewed = super::post(edge, &edge.acme, &gone.told, "renew", &json!({})).await;
    assert_eq!(renewed.problem(), (409, "conflict".into()));
    assert!(renewed.text().contains("rotate"), "{}", renewed.text());
    let rotated = super::post(edge, &edge.acme, &gone.told, "rotate", &json!({})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let on = becomes(edge, &edge.acme, gone.name, "active").await;
    assert_eq!(on["reason"], Value::Null);
    let first = seq(&gone.told);
    let taken = Follower::come_in(nats, &rotated.json()).await.take(4).await;
    let expected: Vec<u64> = (first + 2..first + 6).collect();
    assert_eq!(taken.iter().map(|one| one.sequence).collect::<Vec<_>>(), expected, "something was lost, or came twice");
}

/// Numbers of three fills that are not there yet.
async fn unused_fills(edge: &Edge) -> std::ops::Range<u64> {
    let (_, head) = edge.heads().await.into_iter().find(|(client, _)| *client == edge.acme.client).unwrap();
    head * 10..head * 10 + 3
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_goes_with_its_token_and_a_logout_or_a_renewal_takes_nothing_along() {
    let (edge, nats) = desk().await;
    let service = json!({"name": "a pager", "scopes": ["keys"]});
    let service = invited::post(&edge.served, &edge.acme.token, "/api/clients/services", &service).await.json();
    let program = by(&edge.acme, service["token"].as_str().unwrap());
    let told = subscribe(&edge, &program, "by-program", json!({})).await;
    let follower = Follower::come_in(&nats.at, &told).await;

    let leaves = follows(&edge, &nats.at, owner(&edge).await, "leaves").await;
    post(&edge.served, &leaves.who.token, "/api/auth/logout", &json!({})).await;
    // Somebody else gives it another day, and is let go then: the key is not that one's.
    let renews = owner(&edge).await;
    let renewed = super::post(&edge, &by(&edge.acme, &renews.token), &leaves.told, "renew", &json!({})).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let_go(&edge, "barred", &renews).await;

    let [id, token] = ["service_id", "token_id"].map(|name| service[name].as_str().unwrap());
    delete(&edge.served, &edge.acme.token, &format!("/api/clients/services/{id}/tokens/{token}")).await;
    follower.cut_off().await;
    let barred = becomes(&edge, &edge.acme, "by-program", "barred").await;
    assert!(barred["reason"].as_str().unwrap().contains("token"), "{barred}");
    assert!(leaves.follower.stayed(), "a logout silenced a program");
    assert_eq!(listed(&edge, &edge.acme, "leaves").await["state"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_out_before_the_password_is_changed_gets_away_with_no_key() {
    let (edge, nats) = desk().await;
    let stranger = follows(&edge, &nats.at, owner(&edge).await, "strangers").await;
    post(&edge.served, &stranger.who.token, "/api/auth/logout", &json!({})).await;
    let token = log_in(&edge, &stranger.who).await;
    let change = json!({"current": PASSWORD, "new": "another-made-up-password"});
    post(&edge.served, &token, "/api/auth/password", &change).await;
    stranger.follower.cut_off().await;
    becomes(&edge, &edge.acme, "strangers", "barred").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_cannot_read_on_lets_nobody_in_again_whom_another_let_go() {
    let (mut database, nats) = (Database::new().await, OwnNats::start());
    database.use_nats(&nats.at);
    let line = Line::to(database.port()).await;
    let blind = Served::of(database.command_by(&line, &["serve", "--roles", "relay"]));
    let edge = Edge::on(database, "api,projector").await;
    let gone = follows(&edge, &nats.at, owner(&edge).await, "gone").await;
    line.cut();
    let _sees = Served::start(&edge.database, "relay");
    let_go(&edge, "barred", &gone.who).await;
    gone.follower.cut_off().await;
    becomes(&edge, &edge.acme, "gone", "barred").await;
    // It looks each ten seconds whether NATS is as it thinks.
    for _ in 0..24 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(Follower::with_key(&nats.at, &gone.told, &seed(&gone.told)).await.is_err(), "it is let in again");
    }
    line.mend();
    drop(blind);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_no_relay_ran_is_made_up_for_once_by_however_many_begin() {
    let (mut edge, nats) = desk().await;
    let gone = follows(&edge, &nats.at, owner(&edge).await, "gone").await;
    let back = follows(&edge, &nats.at, owner(&edge).await, "back").await;
    edge.served.kill();
    edge.served = Served::start(&edge.database, "api,projector");
    let_go(&edge, "ended", &gone.who).await;
    let_go(&edge, "barred", &back.who).await;
    let unbar = format!("/api/admin/users/{}/unbar", back.who.session.user.id);
    post(&edge.served, &edge.admin, &unbar, &json!({"reason": "is back"})).await;
    assert!(gone.follower.stayed() && back.follower.stayed(), "nobody was there to cut them off");
    let _relays = [(); 2].map(|()| Served::start(&edge.database, "relay"));
    for one in [&gone, &back] {
        one.follower.cut_off().await;
        becomes(&edge, &edge.acme, one.name, "barred").await;
    }
    // Whoever is let in again brings what counts.
    let again = log_in(&edge, &back.who).await;
    let rotated = super::post(&edge, &by(&edge.acme, &again), &back.told, "rotate", &json!({})).await.json();
    becomes(&edge, &edge.acme, "back", "active").await;
    let follower = Follower::come_in(&nats.at, &rotated).await;
    until("its events come", async || !follower.fetch(1, true).await.is_empty()).await;
    let names: Vec<&str> = super::told_of(&edge, &edge.acme).await.iter().map(|told| told.name()).collect();
    assert_eq!(names.iter().filter(|name| **name == "SubscriptionBarred").count(), 2, "{names:?}");
    assert!(follower.stayed());
}
