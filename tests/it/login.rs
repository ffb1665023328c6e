//! Logging in: the right person gets in and becomes a caller, whoever else learns nothing.

use std::net::IpAddr;

use access::{Doorman, Email, LoginError, LoginRefusal, Tokens, User, Whence};
use argon2::{Argon2, Params, PasswordHasher};
use events::{
    ClientId, Time, UserId,
    desk::{Factor, Role},
};
use secrecy::ExposeSecret;
use tests::{Database, PASSWORD};

/// Obviously not a real one, either.
const WRONG: &str = "not-a-real-password-2";

/// A desk with one admin, one client's user, and a doorman.
struct Desk {
    database: Database,
    doorman: Doorman,
    client: ClientId,
    admin: UserId,
    of_client: UserId,
}

impl Desk {
    async fn new() -> Self {
        let database = Database::new().await;
        let client = ClientId::new();
        let admin = database.person("admin@example.com", Role::Admin, None).await.id;
        let of_client = database.person("Someone@Example.com", Role::ClientOwner, Some(client)).await.id;
        let doorman = Doorman::new(database.register());
        Self { database, doorman, client, admin, of_client }
    }

    async fn log_in(&self, email: &str, password: &str, from: &str) -> Result<User, LoginRefusal> {
        let (email, from): (Email, IpAddr) = (email.parse().unwrap(), from.parse().unwrap());
        match self.doorman.log_in(&email, password.into(), from).await {
            Ok(user) => Ok(user),
            Err(LoginError::Refused(refusal)) => Err(refusal),
            Err(LoginError::Database(error)) => panic!("{error}"),
        }
    }

    async fn keep_hash(&self, hash: &str) {
        let keep = sqlx::query("update auth.users set password_hash = $2 where user_id = $1");
        keep.bind(self.of_client.0).bind(hash).execute(&self.database.superuser()).await.unwrap();
    }

    async fn kept_hash(&self) -> String {
        let hash = "select password_hash from auth.users where user_id = $1";
        sqlx::query_scalar(hash).bind(self.of_client.0).fetch_one(&self.database.superuser()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_makes_a_caller_by_way_of_a_session() {
    let desk = Desk::new().await;
    let (tokens, sessions) = (Tokens::new(&desk.database.secret), desk.database.sessions());
    let (now, from) = (Time::now(), Whence::new("192.0.2.1".parse().unwrap(), "a test"));
    for (email, user, role, client) in [
        ("admin@example.com", desk.admin, Role::Admin, None),
        ("sOMEONE@example.COM", desk.of_client, Role::ClientOwner, Some(desk.client)),
    ] {
        let found = desk.log_in(email, PASSWORD, "192.0.2.1").await.unwrap();
        assert_eq!(found, User { id: user, role, client, perm_ver: 1 });
        let opened = sessions.open(found, vec![Factor::Password], &from, now).await.unwrap().unwrap();
        let caller = tokens.verify(opened.access.text.expose_secret(), now).unwrap().caller;
        assert_eq!((caller.user(), caller.role(), caller.client()), (user, role, client));
        assert_eq!(caller.session(), opened.session.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_an_unknown_address_and_a_removed_user_get_the_same_answer() {
    let desk = Desk::new().await;
    let refused = Err(LoginRefusal::WrongCredentials);
    assert_eq!(desk.log_in("admin@example.com", WRONG, "192.0.2.1").await, refused);
    assert_eq!(desk.log_in("nobody@example.com", PASSWORD, "192.0.2.1").await, refused);
    assert_eq!(desk.log_in("admin@example.com", "", "192.0.2.1").await, refused);
    assert_eq!(desk.log_in("nobody@example.com", &"x".repeat(60_000), "192.0.2.1").await, refused);

    assert!(desk.log_in("someone@example.com", PASSWORD, "192.0.2.1").await.is_ok());
    let remove = sqlx::query("delete from auth.users where user_id = $1").bind(desk.of_client.0);
    remove.execute(&desk.database.superuser()).await.unwrap();
    assert_eq!(desk.log_in("someone@example.com", PASSWORD, "192.0.2.1").await, refused);
    assert_eq!(desk.doorman.profile(desk.of_client).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_waits_while_the_owner_elsewhere_and_everybody_else_get_in() {
    let desk = Desk::new().await;
    let (email, unknown) = ("someone@example.com", "nobody@example.com");
    for tried in [email, unknown] {
        for _ in 0..3 {
            assert_eq!(desk.log_in(tried, WRONG, "192.0.2.1").await, Err(LoginRefusal::WrongCredentials));
        }
        let next = desk.log_in(tried, WRONG, "192.0.2.77").await;
        assert!(matches!(next, Err(LoginRefusal::Throttled { .. })), "{next:?} for {tried}");
    }
    assert_eq!(desk.log_in(email, PASSWORD, "198.51.100.1").await.unwrap().id, desk.of_client);
    assert_eq!(desk.log_in("admin@example.com", PASSWORD, "192.0.2.1").await.unwrap().id, desk.admin);

    // The guessing network is let in later too: it waits for as long as it is told.
    let mut waits = 0;
    let found = loop {
        match desk.log_in(email, PASSWORD, "192.0.2.1").await {
            Err(LoginRefusal::Throttled { retry_after }) => tokio::time::sleep(retry_after).await,
            answer => break answer.unwrap(),
        }
        waits += 1;
        assert!(waits < 100, "it is told to wait again and again");
    };
    assert_eq!(found.id, desk.of_client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weaker_hash_is_renewed_by_the_right_password_only() {
    let desk = Desk::new().await;
    let weaker = Argon2::from(Params::new(8, 1, 1, None).unwrap());
    let weak = weaker.hash_password(PASSWORD.as_bytes()).unwrap().to_string();
    desk.keep_hash(&weak).await;
    let wrong = desk.log_in("someone@example.com", WRONG, "192.0.2.1").await;
    assert_eq!(wrong, Err(LoginRefusal::WrongCredentials));
    assert_eq!(desk.kept_hash().await, weak);
    for _ in 0..2 {
        assert!(desk.log_in("someone@example.com", PASSWORD, "192.0.2.1").await.is_ok());
        assert!(desk.kept_hash().await.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_hash_is_spoiled_is_a_fault_that_counts_against_nobody() {
    let desk = Desk::new().await;
    let (email, from): (Email, IpAddr) = ("someone@example.com".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let kept = desk.kept_hash().await;
    desk.keep_hash("spoiled").await;
    for _ in 0..20 {
        let fault = desk.doorman.log_in(&email, PASSWORD.into(), from).await.unwrap_err();
        assert!(matches!(fault, LoginError::Database(_)), "{fault}");
        assert!(!format!("{fault} {fault:?}").contains("spoiled"), "{fault:?}");
    }
    desk.keep_hash(&kept).await;
    assert!(desk.doorman.log_in(&email, PASSWORD.into(), from).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_tells_its_user_everything_and_a_log_nothing() {
    let desk = Desk::new().await;
    let profile = desk.doorman.profile(desk.of_client).await.unwrap().unwrap();
    let told = serde_json::to_value(&profile).unwrap();
    assert_eq!(told["email"], "Someone@Example.com");
    assert_eq!((&told["role"], &told["client_id"]), (&"client_owner".into(), &desk.client.to_string().into()));
    assert_eq!((told.as_object().unwrap().len(), &told["second_factor"]), (6, &false.into()));
    assert_eq!(desk.doorman.profile(UserId::new()).await.unwrap(), None);
    let shown = format!("{:?} {profile:?} {profile:#?}", desk.doorman);
    for personal in ["xample.com", "omeone", "argon2", "pipelabs_auth"] {
        assert!(!shown.contains(personal), "{shown}");
    }
}
