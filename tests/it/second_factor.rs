//! Second factors: set up by showing a code, asked for at each login, good once; recovery codes; and what takes a proof that
//! is fresh, or a second factor at all.

use data_encoding::BASE32_NOPAD;
use events::{
    Time,
    desk::{DeskEvent, Factor, Role},
};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha1::Sha1;
use tests::{Answer, Database, PASSWORD, Person, Served};

use crate::{
    edge::Edge,
    invited::post,
    sessions::{names_of, told_of},
};

fn text(told: &Value, name: &str) -> String {
    told[name].as_str().unwrap_or_else(|| panic!("{name} in {told}")).to_owned()
}

/// What an authenticator shows in the half minute that is so many away: RFC 4226 and RFC 6238, by hand.
fn code(secret: &str, steps: i64) -> String {
    let seed = BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
    let step = (Time::now().millis() / 30_000 + steps).to_be_bytes();
    let hash = Hmac::<Sha1>::new_from_slice(&seed).unwrap().chain_update(step).finalize().into_bytes();
    let at = usize::from(hash[19] & 0xf);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// Somebody who shows codes, and what shows them.
struct Careful {
    person: Person,
    secret: String,
    recovery: Vec<String>,
    token: String,
}

async fn log_in(served: &Served, person: &Person) -> Answer {
    post(served, "", "/api/auth/login", &json!({"email": person.email, "password": PASSWORD})).await
}

async fn with_code(served: &Served, ticket: &str, code: &str) -> Answer {
    post(served, "", "/api/auth/login/code", &json!({"ticket": ticket, "code": code})).await
}

impl Careful {
    async fn new(edge: &Edge, email: &str, role: Role) -> Self {
        let person = edge.database.person(email, role, None).await;
        let opened = log_in(&edge.served, &person).await.json();
        let token = text(&opened, "access_token");
        let begun = post(&edge.served, &token, "/api/auth/second-factor", &json!({"password": PASSWORD})).await.json();
        let secret = text(&begun, "secret");
        assert!(text(&begun, "url").contains(&format!("secret={secret}")), "{begun}");
        let shown = json!({"code": code(&secret, -1)});
        let confirmed = post(&edge.served, &token, "/api/auth/second-factor/confirm", &shown).await;
        assert_eq!(confirmed.status, 200, "{}", confirmed.text());
        let codes = confirmed.json()["recovery_codes"].as_array().unwrap().clone();
        let recovery = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
        edge.served.until(&token, "/api/auth/me", 401).await;
        Self { person, secret, recovery, token: text(&confirmed.json(), "access_token") }
    }

    async fn ticket(&self, served: &Served) -> String {
        let asked = log_in(served, &self.person).await;
        assert_eq!(asked.status, 202, "{}", asked.text());
        assert!(asked.json().get("access_token").is_none());
        text(&asked.json(), "ticket")
    }
}

/// Moves what was taken of somebody's codes back, as if half an hour had gone by.
async fn later(database: &Database, of: &Careful) {
    let back = "update auth.second_factors set last_step = last_step - 60 where user_id = $1";
    sqlx::query(back).bind(of.person.id.0).execute(&database.superuser()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_codes_is_asked_for_one_at_each_login_and_each_is_good_once() {
    let edge = Edge::new("api").await;
    let (served, careful) = (&edge.served, Careful::new(&edge, "careful@example.com", Role::Operator).await);
    let ticket = careful.ticket(served).await;
    assert_eq!(
        with_code(served, &ticket, &code(&careful.secret, -1)).await.problem(),
        (401, "wrong_credentials".into())
    );
    let shown = code(&careful.secret, 0);
    let opened = with_code(served, &ticket, &shown).await;
    assert_eq!(opened.status, 200, "{}", opened.text());
    let me = served.ask(&text(&opened.json(), "access_token"), "/api/auth/me").await.json();
    assert_eq!((&me["second_factor"], me["user_id"].as_str()), (&json!(true), Some(&*careful.person.id.to_string())));
    // Neither the ticket nor the code is good again; nor is a ticket for anything else.
    assert_eq!(with_code(served, &ticket, &code(&careful.secret, 1)).await.status, 401);
    let other = careful.ticket(served).await;
    assert_eq!(with_code(served, &other, &shown).await.status, 401);
    for (path, body) in [
        ("/api/auth/refresh", json!({"refresh_token": other})),
        ("/api/auth/accept", json!({"link": other, "password": PASSWORD})),
    ] {
        assert_eq!(post(served, "", path, &body).await.status, 401, "{path}");
    }
    assert_eq!(served.ask(&other, "/api/auth/me").await.status, 401);
    let told = told_of(&edge.database, careful.person.id).await;
    let by_both = |event: &DeskEvent| matches!(event, DeskEvent::SessionOpened { how, .. } if *how == [Factor::Password, Factor::Otp]);
    assert_eq!(told.iter().filter(|event| by_both(event)).count(), 1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_show_one_code_at_once_one_gets_in_and_a_ticket_has_five_tries() {
    let edge = Edge::new("api").await;
    let (served, careful) = (&edge.served, Careful::new(&edge, "careful@example.com", Role::Operator).await);
    let mut tickets = Vec::new();
    for _ in 0..3 {
        tickets.push(careful.ticket(served).await);
    }
    let shown = code(&careful.secret, 0);
    let tries = tickets.iter().map(|ticket| with_code(served, ticket, &shown));
    let opened = futures::future::join_all(tries).await.into_iter().filter(|answer| answer.status == 200).count();
    assert_eq!(opened, 1);
    // By what the database holds, a ticket that was tried five times is none, though the code be right.
    later(&edge.database, &careful).await;
    let ticket = careful.ticket(served).await;
    let tried = "update auth.tickets set tries = 5";
    sqlx::query(tried).execute(&edge.database.superuser()).await.unwrap();
    let refused = with_code(served, &ticket, &code(&careful.secret, 0)).await;
    assert!(refused.status == 401 || refused.status == 429, "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_codes_is_made_to_wait_whatever_tickets_it_gets() {
    let edge = Edge::new("api").await;
    let (served, careful) = (&edge.served, Careful::new(&edge, "careful@example.com", Role::Operator).await);
    let mut statuses = Vec::new();
    for guess in 0..6 {
        let ticket = careful.ticket(served).await;
        statuses.push(with_code(served, &ticket, &format!("{guess:06}")).await.status);
    }
    assert_eq!((&statuses[..3], statuses[5]), (&[401; 3][..], 429), "{statuses:?}");
    // Another process counts the same; and its owner comes in by what nobody guesses.
    let second = Served::start(&edge.database, "api");
    let ticket = careful.ticket(&second).await;
    assert_eq!(with_code(&second, &ticket, &code(&careful.secret, 0)).await.status, 429);
    assert_eq!(with_code(&second, &ticket, &careful.recovery[3]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_code_gets_in_once_and_others_take_their_place() {
    let edge = Edge::new("api").await;
    let (served, careful) = (&edge.served, Careful::new(&edge, "careful@example.com", Role::Operator).await);
    assert_eq!(careful.recovery.len(), 10);
    let ticket = careful.ticket(served).await;
    let opened = with_code(served, &ticket, &careful.recovery[0].to_lowercase().replace('-', " ")).await.json();
    let ticket = careful.ticket(served).await;
    assert_eq!(with_code(served, &ticket, &careful.recovery[0]).await.status, 401);
    let renewed = post(served, &text(&opened, "access_token"), "/api/auth/recovery-codes", &json!({})).await.json();
    let ticket = careful.ticket(served).await;
    assert_eq!(with_code(served, &ticket, &careful.recovery[1]).await.status, 401, "others took its place");
    assert_eq!(with_code(served, &ticket, renewed["recovery_codes"][1].as_str().unwrap()).await.status, 200);
    let dump = edge.database.everything().await;
    for secret in [&careful.secret, &careful.recovery[5], &careful.recovery[5].replace('-', "")] {
        assert!(!dump.contains(secret.as_str()), "what was to be hashed or sealed stands in the database");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_ends_sessions_that_had_none_and_is_opened_for_its_own_user_alone() {
    let edge = Edge::new("api").await;
    let served = &edge.served;
    let before = edge.database.person("late@example.com", Role::Operator, None).await;
    let elsewhere = text(&log_in(served, &before).await.json(), "access_token");
    let here = text(&log_in(served, &before).await.json(), "access_token");
    for wrong in [json!({"password": "not-a-real-password-9"}), json!({})] {
        assert_ne!(post(served, &here, "/api/auth/second-factor", &wrong).await.status, 200);
    }
    let begun = post(served, &here, "/api/auth/second-factor", &json!({"password": PASSWORD})).await.json();
    assert_eq!(log_in(served, &before).await.status, 200, "until a code was shown it does not count");
    assert_eq!(post(served, &here, "/api/auth/second-factor/confirm", &json!({"code": "000000"})).await.status, 401);
    let shown = json!({"code": code(&text(&begun, "secret"), 0)});
    let confirmed = post(served, &here, "/api/auth/second-factor/confirm", &shown).await.json();
    for token in [&elsewhere, &here] {
        served.until(token, "/api/auth/me", 401).await;
    }
    let here = text(&confirmed, "access_token");
    assert_eq!(served.ask(&here, "/api/auth/me").await.status, 200);
    let again = post(served, &here, "/api/auth/second-factor", &json!({"password": PASSWORD})).await;
    assert_eq!(again.problem(), (409, "conflict".into()));
    // A seed that was put into another's row opens for nobody.
    let other = Careful::new(&edge, "other@example.com", Role::Operator).await;
    let swap = "update auth.second_factors set seed = (select seed from auth.second_factors where user_id = $1), last_step = 0 where user_id = $2";
    sqlx::query(swap).bind(before.id.0).bind(other.person.id.0).execute(&edge.database.superuser()).await.unwrap();
    let ticket = other.ticket(served).await;
    for secret in [text(&begun, "secret"), other.secret.clone()] {
        assert_eq!(with_code(served, &ticket, &code(&secret, 1)).await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dangerous_takes_a_fresh_proof_and_of_an_admin_a_second_factor() {
    let edge = Edge::new("api").await;
    let (served, new) = (&edge.served, json!({"email": "new@example.com", "role": "operator"}));
    let plain = edge.database.person("plain@example.com", Role::Admin, None).await;
    let weak = text(&log_in(served, &plain).await.json(), "access_token");
    assert_eq!(served.ask(&weak, "/api/admin/users").await.status, 200, "looking is free");
    let refused = post(served, &weak, "/api/admin/users", &new).await;
    assert_eq!(refused.problem(), (403, "second_factor_missing".into()));
    // With the factor that was set up just now it is allowed.
    let careful = Careful::new(&edge, "careful@example.com", Role::Admin).await;
    let one = json!({"email": "one@example.com", "role": "operator"});
    assert_eq!(post(served, &careful.token, "/api/admin/users", &one).await.status, 201);
    let code_of = async |steps| {
        post(served, &careful.token, "/api/auth/step-up", &json!({"code": code(&careful.secret, steps)})).await
    };
    let strong = text(&code_of(0).await.json(), "access_token");
    assert_eq!(post(served, &strong, "/api/admin/users", &new).await.status, 201);
    assert_eq!(code_of(0).await.problem(), (401, "wrong_credentials".into()), "each code is good once");
    let password = json!({"password": PASSWORD});
    assert_eq!(post(served, &strong, "/api/auth/step-up", &password).await.problem(), (422, "invalid".into()));
    let names = names_of(&edge.database, careful.person.id).await;
    assert_eq!((names["SecondFactorAdded"], names["SteppedUp"]), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_old_is_proved_anew_by_the_password_where_there_is_no_second_factor() {
    let edge = Edge::new("api").await;
    let served = &edge.served;
    let owner = edge.database.signed_in(Role::ClientOwner, Some(edge.acme.client)).await;
    let old = "update auth.sessions set auth_time = now() - interval '16 minutes' where session_id = $1";
    sqlx::query(old).bind(owner.session.id.0).execute(&edge.database.superuser()).await.unwrap();
    let next = post(served, "", "/api/auth/refresh", &json!({"refresh_token": owner.refresh})).await.json();
    let token = text(&next, "access_token");
    let new = json!({"email": "new@acme.example", "role": "client_viewer"});
    let refused = post(served, &token, "/api/clients/users", &new).await;
    assert_eq!(refused.problem(), (403, "step_up_needed".into()));
    assert!(refused.text().contains("/api/auth/step-up"), "{}", refused.text());
    assert_eq!(served.ask(&token, "/api/bots").await.status, 200, "what is not dangerous goes on");
    let stop = served.post(&token, &edge.acme.path("/stop"), "k", &json!({})).await;
    assert_ne!(stop.status, 403, "nor is trading: {}", stop.text());
    for bad in [json!({"password": "not-a-real-password-9"}), json!({"code": "000000"}), json!({})] {
        assert!([401, 422].contains(&post(served, &token, "/api/auth/step-up", &bad).await.status), "{bad}");
    }
    let up = post(served, &token, "/api/auth/step-up", &json!({"password": PASSWORD})).await.json();
    assert_eq!(post(served, &text(&up, "access_token"), "/api/clients/users", &new).await.status, 201);
    // It holds for what the session gets next, too.
    let next =
        post(served, "", "/api/auth/refresh", &json!({"refresh_token": text(&next, "refresh_token")})).await.json();
    let more = json!({"email": "more@acme.example", "role": "client_viewer"});
    assert_eq!(post(served, &text(&next, "access_token"), "/api/clients/users", &more).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_it_is_helped_by_an_admin_or_at_the_machine_itself() {
    let edge = Edge::new("api").await;
    let served = &edge.served;
    let lost = Careful::new(&edge, "lost@example.com", Role::Operator).await;
    let path = format!("/api/admin/users/{}/second-factor", lost.person.id);
    let remove = async || Answer::to(served.request(Method::DELETE, &path).bearer_auth(&edge.admin)).await;
    assert_eq!(remove().await.status, 204);
    served.until(&lost.token, "/api/auth/me", 401).await;
    assert_eq!(log_in(served, &lost.person).await.status, 200);
    assert_eq!(remove().await.problem(), (409, "conflict".into()));
    let alone = Careful::new(&edge, "alone@example.com", Role::Admin).await;
    edge.database.succeed(&["user", "drop-second-factor", "--email", "Alone@example.com"]);
    assert_eq!(log_in(served, &alone.person).await.status, 200);
    let missing = edge.database.run(&["user", "drop-second-factor", "--email", "nobody@example.com"]);
    assert!(!missing.status.success());
    // Whoever has proved it may do without by itself.
    let tired = Careful::new(&edge, "tired@example.com", Role::Operator).await;
    let remove =
        async |code: &str| post(served, &tired.token, "/api/auth/second-factor/remove", &json!({"code": code})).await;
    assert_eq!(remove("000000").await.problem(), (401, "wrong_credentials".into()));
    let removed = remove(&code(&tired.secret, 0)).await.json();
    assert_eq!(log_in(served, &tired.person).await.status, 200);
    // What was proved by it counts no more.
    let sessions = served.ask(&text(&removed, "access_token"), "/api/auth/sessions").await.json();
    assert_eq!(sessions[1]["how"], json!(["pwd"]), "{sessions}");
}
