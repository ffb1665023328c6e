//! Links by which somebody chooses a password: the first one, when invited, or another, when it was lost. Each is good
//! once, for some days, and told to whoever asked for it, who hands it over.

use events::{
    ClientId, Time, UserId,
    desk::{DeskEvent, WhyEnded},
};
use secrecy::SecretString;
use sqlx::PgConnection;
use store::Cause;

use crate::{
    opaque::{Opaque, Presented},
    password::PasswordRefusal,
    programs,
    register::{Change, Register, stamp},
    sessions::{self, Which},
    users::role_of,
};

/// What a link begins with.
const LINK: &str = "pll";
/// A weekend and a day.
const GOOD_FOR_US: i64 = 72 * 3_600 * 1_000_000;

/// A link that was just made.
#[derive(Debug)]
pub struct Link {
    pub text: SecretString,
    pub expires_at: Time,
}

/// Why nobody got a password by it.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("this link does not count: it was used, is over, or was never one; ask for another")]
    Unknown,
    #[error(transparent)]
    Password(#[from] PasswordRefusal),
    #[error("could not look the link up")]
    Database(#[from] sqlx::Error),
}

/// One more for a user.
pub(crate) async fn issue(db: &mut PgConnection, user: UserId, now: Time) -> sqlx::Result<Link> {
    let (link, expires_at) = (Opaque::new(LINK, user.0), now.plus_micros(GOOD_FOR_US));
    sqlx::query!(
        "insert into auth.links (hash, user_id, made_at, expires_at) values ($1, $2, $3, $4)",
        link.hash,
        user.0,
        stamp(now),
        stamp(expires_at)
    )
    .execute(db)
    .await?;
    Ok(Link { text: link.text, expires_at })
}

/// None that a user has counts any more.
pub(crate) async fn spoil(db: &mut PgConnection, user: UserId, now: Time) -> sqlx::Result<()> {
    sqlx::query!("update auth.links set used_at = $2 where user_id = $1 and used_at is null", user.0, stamp(now))
        .execute(db)
        .await
        .map(drop)
}

/// A link as it came in, known to be good a moment ago: now it is worth hashing a password.
#[derive(Debug)]
pub(crate) struct Good(Presented);

/// Whether it is one that counts. 256 random bits are not guessed, so nobody who tries is made to wait.
pub(crate) async fn look(register: &Register, text: &str, now: Time) -> Result<Good, LinkError> {
    let presented = Presented::read(LINK, text).ok_or(LinkError::Unknown)?;
    let good = sqlx::query_scalar!(
        r#"
        select exists (
               select from auth.links l join auth.users u using (user_id)
                where l.hash = $1 and l.user_id = $2 and l.used_at is null and l.expires_at > $3
                  and u.barred_at is null) as "good!"
        "#,
        presented.hash,
        presented.of,
        stamp(now)
    )
    .fetch_one(register.auth())
    .await?;
    if good { Ok(Good(presented)) } else { Err(LinkError::Unknown) }
}

/// Puts a password in place, once. Whoever had the old one is thrown out, and so are programs that it may have made.
pub(crate) async fn spend(register: &Register, link: Good, hash: &str, now: Time) -> Result<(), LinkError> {
    let Good(presented) = link;
    let (user, cause) = (UserId(presented.of), Cause::user(UserId(presented.of)));
    let mut change = register.change(&cause).await?;
    change.lock(user).await?;
    if !take(&mut change.db, &presented, now).await? {
        return Err(LinkError::Unknown);
    }
    spoil(&mut change.db, user, now).await?;
    let event = set(&mut change, user, hash, now).await?;
    change.note(user, &event).await?;
    Ok(change.commit().await?)
}

/// Of many at once one gets it: the others wait for its row, and find it used.
async fn take(db: &mut PgConnection, presented: &Presented, now: Time) -> sqlx::Result<bool> {
    let taken = sqlx::query!(
        r#"
        update auth.links l
           set used_at = $3
          from auth.users u
         where l.hash = $1 and l.user_id = $2 and l.used_at is null and l.expires_at > $3
           and u.user_id = l.user_id and u.barred_at is null
        "#,
        presented.hash,
        presented.of,
        stamp(now)
    )
    .execute(db)
    .await?;
    Ok(taken.rows_affected() > 0)
}

/// What tells of it: with a first password somebody is added, with another one it is a change.
async fn set(change: &mut Change<'_>, user: UserId, hash: &str, at: Time) -> sqlx::Result<DeskEvent> {
    let row = sqlx::query!(
        r#"
        update auth.users u
           set password_hash = $2, perm_ver = u.perm_ver + 1
          from auth.users old
         where u.user_id = $1 and old.user_id = u.user_id
        returning u.role, u.client_id, old.password_hash is null as "is_new!"
        "#,
        user.0,
        hash
    )
    .fetch_one(&mut *change.db)
    .await?;
    if row.is_new {
        return Ok(DeskEvent::UserAdded { user, role: role_of(&row.role)?, client: row.client_id.map(ClientId), at });
    }
    sessions::end(change, Which::AllBut(user, None), Some(user), WhyEnded::PasswordChanged, at).await?;
    programs::revoke_all(change, user, user, at).await?;
    Ok(DeskEvent::PasswordChanged { user, at })
}
