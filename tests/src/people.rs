//! People who are logged in, with rows and sessions of their own, for tests that need a token and no login.

use std::sync::LazyLock;

use access::{AddUser, Register, Session, Sessions, Tokens, Whence};
use events::{
    ClientId, Time, UserId,
    desk::{Factor, Role},
};
use secrecy::ExposeSecret;
use store::{Cause, Login};

use crate::Database;

/// Obviously not a real one.
pub const PASSWORD: &str = "not-a-real-password-1";

/// A hash of [`PASSWORD`]: one for all, because each takes a core for a while.
static HASH: LazyLock<String> = LazyLock::new(|| access::hash(&PASSWORD.into()).expect("it is long enough"));

/// A user of the platform, who may log in.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: UserId,
    pub email: String,
}

/// A session of a new user, and its tokens.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub session: Session,
    pub token: String,
    pub refresh: String,
}

impl Database {
    /// Adds a user with [`PASSWORD`].
    pub async fn person(&self, email: &str, role: Role, client: Option<ClientId>) -> Person {
        let user = AddUser { email: email.parse().expect("an address"), password: PASSWORD.into(), role, client };
        let register = self.register();
        let id = access::add(&register, user, Time::now(), &Cause::system("test")).await.expect("the user is new");
        Person { id, email: email.to_owned() }
    }

    /// A new user who has logged in with [`PASSWORD`] and a code.
    pub async fn signed_in(&self, role: Role, client: Option<ClientId>) -> SignedIn {
        self.signed_in_by(role, client, vec![Factor::Password, Factor::Otp]).await
    }

    /// A new user who has logged in with this.
    pub async fn signed_in_by(&self, role: Role, client: Option<ClientId>, how: Vec<Factor>) -> SignedIn {
        let id = UserId::new();
        let add = "insert into auth.users (user_id, email, password_hash, role, client_id, created_at)
                   values ($1, $2, $3, $4, $5, now())";
        let name = serde_json::to_value(role).expect("a role has a name");
        sqlx::query(add)
            .bind(id.0)
            .bind(format!("{id}@example.com"))
            .bind(&*HASH)
            .bind(name.as_str())
            .bind(client.map(|client| client.0))
            .execute(&self.pool(Login::Auth))
            .await
            .expect("a user can be added");
        let user = access::User { id, role, client, perm_ver: 1 };
        let from = Whence::new([127, 0, 0, 1].into(), "a test");
        let opened = self.sessions().open(user, how, &from, Time::now()).await;
        let opened = opened.expect("a session can be opened").expect("nobody changes the user");
        SignedIn {
            token: opened.access.text.expose_secret().to_owned(),
            refresh: opened.refresh.expose_secret().to_owned(),
            session: opened.session,
        }
    }

    /// Sessions, from the side of one more process.
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.register(), Tokens::new(&self.secret))
    }

    pub fn register(&self) -> Register {
        Register::new(self.pool(Login::Auth), self.streams())
    }
}

impl SignedIn {
    /// Another token of the same session, made at a moment.
    pub fn token_made_at(&self, database: &Database, at: Time) -> String {
        let session = Session { auth_time: at.min(self.session.auth_time), ..self.session.clone() };
        Tokens::new(&database.secret).issue(&session, at).text.expose_secret().to_owned()
    }
}

/// A token of a client's owner, or of an admin, who are logged in.
pub fn token(database: &Database, client: Option<ClientId>) -> String {
    at_once(database, client).token
}

/// The same, made at a moment.
pub fn token_made_at(database: &Database, client: Option<ClientId>, at: Time) -> String {
    at_once(database, client).token_made_at(database, at)
}

/// In a runtime of its own, so that a test need not wait for it where it needs many.
fn at_once(database: &Database, client: Option<ClientId>) -> SignedIn {
    let role = if client.is_some() { Role::ClientOwner } else { Role::Admin };
    let made = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(database.signed_in(role, client))
    };
    std::thread::scope(|scope| scope.spawn(made).join().expect("somebody can be logged in"))
}
