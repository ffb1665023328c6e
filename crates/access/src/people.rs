//! Who may do what: people are invited, get another role, are barred and let in again, each by somebody who may decide
//! about them, with a reason, and told to the desk's stream.
//!
//! All of it happens one at a time, so that two admins cannot take each other's last colleague away.

use events::{
    ClientId, Time, UserId,
    desk::{DeskEvent, Role, WhyEnded},
};
use serde::Serialize;
use sqlx::PgConnection;
use store::{Cause, read};

use crate::{
    caller::belongs,
    email::Email,
    grants,
    links::{self, Link},
    programs,
    reason::Reason,
    register::{Change, Register, stamp},
    sessions::{self, Which},
    users::{self, role_name, role_of},
};

/// Whose users somebody decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// All of them, and whoever belongs to no client.
    Desk,
    /// Those of this client.
    Of(ClientId),
}

/// A person to be asked to come.
#[derive(Debug)]
pub struct Invitation {
    pub email: Email,
    pub role: Role,
    /// Whose a client's user shall be.
    pub client: Option<ClientId>,
}

/// A person as whoever decides about people sees it. Personal data.
#[derive(Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Person {
    pub user_id: UserId,
    pub email: String,
    pub role: Role,
    /// Whose a client's user is; null for whoever belongs to the desk.
    pub client_id: Option<ClientId>,
    pub state: PersonState,
    /// Whether codes are shown beside the password.
    pub second_factor: bool,
    pub created_at: Time,
    /// When one of its sessions was refreshed last.
    pub last_seen_at: Option<Time>,
}

/// How far somebody has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonState {
    /// Has not chosen a password yet.
    Invited,
    Active,
    /// Is let in no more.
    Barred,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    #[error("there is no such user, or none that you decide about")]
    NotThere,
    #[error("a user with this e-mail address is there already")]
    Exists,
    #[error("this role is none for a user of a client: take client_owner or client_viewer")]
    RoleOfDesk,
    #[error("this role is one of a client's users: name the client, or take admin, operator or auditor")]
    RoleOfClient,
    #[error("programs are not invited: make a service, which gets its token told")]
    Program,
    #[error("nobody decides about oneself: ask another who may")]
    Oneself,
    #[error("this is the last admin: let another one in first")]
    LastAdmin,
    #[error("it is so already")]
    AlreadySo,
    #[error("this user is barred: let it in again first")]
    IsBarred,
    #[error("the desk has barred this user: ask it to let the user in again")]
    BarredByDesk,
    #[error("only an auditor is granted clients: everybody else has what the role says")]
    NoAuditor,
    #[error("a grant ends in the future, within 366 days")]
    Until,
    #[error("could not be kept")]
    Database(#[from] sqlx::Error),
}

/// Somebody, as far as decisions depend on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub role: Role,
    pub client: Option<ClientId>,
    pub has_password: bool,
    pub barred: bool,
}

/// A change of who may do what. No other one begins before it has ended.
pub(crate) async fn change<'a>(register: &'a Register, cause: &'a Cause) -> sqlx::Result<Change<'a>> {
    let mut change = register.change(cause).await?;
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('auth.users', 0))").fetch_one(&mut *change.db).await?;
    Ok(change)
}

/// Lets the rest of a transaction see that client's users alone.
pub(crate) async fn narrow(db: &mut PgConnection, whose: Whose) -> sqlx::Result<()> {
    match whose {
        Whose::Desk => Ok(()),
        Whose::Of(client) => read::for_client(db, client).await,
    }
}

/// A person whom this one decides about, who stays as it is to the end of the transaction.
pub(crate) async fn find(db: &mut PgConnection, whose: Whose, user: UserId) -> Result<Known, PeopleError> {
    narrow(db, whose).await?;
    let client = client_of(whose);
    let row = sqlx::query!(
        r#"
        select role, client_id, password_hash is not null as "has_password!", barred_at is not null as "barred!"
          from auth.users
         where user_id = $1 and email is not null and ($2::uuid is null or client_id = $2)
           for update
        "#,
        user.0,
        client
    )
    .fetch_optional(db)
    .await?;
    let row = row.ok_or(PeopleError::NotThere)?;
    let (role, client) = (role_of(&row.role)?, row.client_id.map(ClientId));
    Ok(Known { role, client, has_password: row.has_password, barred: row.barred })
}

/// Whether there is such a person for whoever decides.
pub async fn is_there(register: &Register, whose: Whose, user: UserId) -> sqlx::Result<bool> {
    let mut tx = register.auth().begin().await?;
    narrow(&mut tx, whose).await?;
    let there = sqlx::query_scalar!(
        r#"
        select exists (
          select
            from auth.users
           where user_id = $1 and email is not null and ($2::uuid is null or client_id = $2)) as "there!"
        "#,
        user.0,
        client_of(whose)
    );
    there.fetch_one(&mut *tx).await
}

pub(crate) fn client_of(whose: Whose) -> Option<events::Uuid> {
    match whose {
        Whose::Desk => None,
        Whose::Of(client) => Some(client.0),
    }
}

/// Everybody, the newest last.
pub async fn list(register: &Register, whose: Whose) -> sqlx::Result<Vec<Person>> {
    let mut tx = register.auth().begin().await?;
    narrow(&mut tx, whose).await?;
    let rows = sqlx::query!(
        r#"
        select u.user_id, u.email as "email!", u.role, u.client_id, u.created_at,
               u.password_hash is not null as "has_password!", u.barred_at is not null as "barred!",
               exists (select from auth.second_factors f where f.user_id = u.user_id and f.confirmed_at is not null)
                 as "second_factor!",
               (select max(s.last_seen_at) from auth.sessions s where s.user_id = u.user_id) as last_seen_at
          from auth.users u
         where u.email is not null and ($1::uuid is null or u.client_id = $1)
         order by u.created_at, u.user_id
        "#,
        client_of(whose)
    )
    .fetch_all(&mut *tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Person {
                user_id: UserId(row.user_id),
                email: row.email,
                role: role_of(&row.role)?,
                client_id: row.client_id.map(ClientId),
                state: PersonState::of(row.has_password, row.barred),
                second_factor: row.second_factor,
                created_at: row.created_at.into(),
                last_seen_at: row.last_seen_at.map(Time::from),
            })
        })
        .collect()
}

/// Asks somebody to come; the link is told once, to whoever asked.
pub async fn invite(
    register: &Register,
    invitation: Invitation,
    by: UserId,
    at: Time,
) -> Result<(UserId, Link), PeopleError> {
    let Invitation { email, role, client } = invitation;
    fits(role, client)?;
    let cause = Cause::user(by);
    let mut change = change(register, &cause).await?;
    let user = UserId::new();
    if !users::keep(&mut change.db, user, &email, None, role, client, at).await? {
        return Err(PeopleError::Exists);
    }
    let link = links::issue(&mut change.db, user, at).await?;
    let expires_at = link.expires_at;
    change.note(user, &DeskEvent::UserInvited { user, role, client, by, expires_at, at }).await?;
    change.commit().await?;
    Ok((user, link))
}

/// Whether this role is one for somebody of this client, or of none.
fn fits(role: Role, client: Option<ClientId>) -> Result<(), PeopleError> {
    match (role, client) {
        (Role::Service, _) => Err(PeopleError::Program),
        (role, client) if belongs(role, client) => Ok(()),
        (_, Some(_)) => Err(PeopleError::RoleOfDesk),
        (_, None) => Err(PeopleError::RoleOfClient),
    }
}

/// A new link for somebody who has lost a password, or an invitation. Earlier ones count no more.
pub async fn link(register: &Register, whose: Whose, user: UserId, by: UserId, at: Time) -> Result<Link, PeopleError> {
    let cause = Cause::user(by);
    let mut change = change(register, &cause).await?;
    let known = find(&mut change.db, whose, user).await?;
    if known.barred {
        return Err(PeopleError::IsBarred);
    }
    // A client's owner asks its own people to come; a password of somebody who is there is the desk's to reset.
    if known.has_password && whose != Whose::Desk {
        return Err(PeopleError::AlreadySo);
    }
    links::spoil(&mut change.db, user, at).await?;
    let link = links::issue(&mut change.db, user, at).await?;
    let (expires_at, Known { role, client, .. }) = (link.expires_at, known);
    let event = match known.has_password {
        true => DeskEvent::PasswordLinkIssued { user, by, expires_at, at },
        false => DeskEvent::UserInvited { user, role, client, by, expires_at, at },
    };
    change.note(user, &event).await?;
    change.commit().await?;
    Ok(link)
}

/// Gives somebody another role. What was proved for the old one counts no more.
pub async fn change_role(
    register: &Register,
    whose: Whose,
    user: UserId,
    to: Role,
    reason: Reason,
    by: UserId,
    at: Time,
) -> Result<(), PeopleError> {
    let cause = Cause::user(by);
    let mut change = change(register, &cause).await?;
    let Known { role: from, client, .. } = another(&mut change.db, whose, user, by).await?;
    fits(to, client)?;
    if from == to {
        return Err(PeopleError::AlreadySo);
    }
    keep_an_admin(&mut change.db, user).await?;
    sqlx::query!("update auth.users set role = $2 where user_id = $1", user.0, role_name(to))
        .execute(&mut *change.db)
        .await?;
    let reason: String = reason.into();
    grants::withdraw_all(&mut change, user, &reason, by, at).await?;
    // They were made for somebody who could do less, or more.
    programs::revoke_all(&mut change, user, by, at).await?;
    change.note(user, &DeskEvent::RoleChanged { user, from, to, by, reason, at }).await?;
    Ok(change.commit().await?)
}

/// Lets somebody in no more, and ends all sessions and tokens.
pub async fn bar(
    register: &Register,
    whose: Whose,
    user: UserId,
    reason: Reason,
    by: UserId,
    at: Time,
) -> Result<(), PeopleError> {
    let cause = Cause::user(by);
    let mut change = change(register, &cause).await?;
    if another(&mut change.db, whose, user, by).await?.barred {
        return Err(PeopleError::AlreadySo);
    }
    keep_an_admin(&mut change.db, user).await?;
    sqlx::query!("update auth.users set barred_at = $2, barred_by = $3 where user_id = $1", user.0, stamp(at), by.0)
        .execute(&mut *change.db)
        .await?;
    links::spoil(&mut change.db, user, at).await?;
    change.note(user, &DeskEvent::UserBarred { user, by: Some(by), reason: reason.into(), at }).await?;
    sessions::end(&mut change, Which::AllBut(user, None), Some(by), WhyEnded::Barred, at).await?;
    programs::revoke_all(&mut change, user, by, at).await?;
    Ok(change.commit().await?)
}

/// Lets somebody in again, by the password that it had. Whom the desk has barred, the desk alone lets in.
pub async fn unbar(
    register: &Register,
    whose: Whose,
    user: UserId,
    reason: Reason,
    by: UserId,
    at: Time,
) -> Result<(), PeopleError> {
    let cause = Cause::user(by);
    let mut change = change(register, &cause).await?;
    if !another(&mut change.db, whose, user, by).await?.barred {
        return Err(PeopleError::AlreadySo);
    }
    if whose != Whose::Desk && !was_barred_by_its_own(&mut change.db, user).await? {
        return Err(PeopleError::BarredByDesk);
    }
    sqlx::query!("update auth.users set barred_at = null, barred_by = null where user_id = $1", user.0)
        .execute(&mut *change.db)
        .await?;
    change.note(user, &DeskEvent::UserUnbarred { user, by, reason: reason.into(), at }).await?;
    Ok(change.commit().await?)
}

/// Whether whoever barred somebody is of the same client.
async fn was_barred_by_its_own(db: &mut PgConnection, user: UserId) -> sqlx::Result<bool> {
    let own = sqlx::query_scalar!(
        r#"
        select exists (
               select from auth.users u join auth.users b on b.user_id = u.barred_by and b.client_id = u.client_id
                where u.user_id = $1) as "own!"
        "#,
        user.0
    );
    own.fetch_one(db).await
}

/// Somebody else than the one who decides.
async fn another(db: &mut PgConnection, whose: Whose, user: UserId, by: UserId) -> Result<Known, PeopleError> {
    let known = find(db, whose, user).await?;
    if user == by { Err(PeopleError::Oneself) } else { Ok(known) }
}

/// Refuses what would leave nobody who decides about users.
async fn keep_an_admin(db: &mut PgConnection, without: UserId) -> Result<(), PeopleError> {
    let left = sqlx::query_scalar!(
        r#"
        select exists (select from auth.users where user_id = $1 and role <> 'admin')
            or exists (select from auth.users
                        where user_id <> $1 and role = 'admin' and barred_at is null and password_hash is not null)
            as "left!"
        "#,
        without.0
    )
    .fetch_one(db)
    .await?;
    if left { Ok(()) } else { Err(PeopleError::LastAdmin) }
}

impl PersonState {
    fn of(has_password: bool, barred: bool) -> Self {
        match (barred, has_password) {
            (true, _) => Self::Barred,
            (false, true) => Self::Active,
            (false, false) => Self::Invited,
        }
    }
}

/// The address is never shown.
impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("user_id", &self.user_id).field("role", &self.role).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_fits_whom_it_is_for_and_a_refusal_says_which_would() {
        let some = Some(ClientId::new());
        for role in [Role::Admin, Role::Operator, Role::Auditor] {
            assert!(fits(role, None).is_ok() && matches!(fits(role, some), Err(PeopleError::RoleOfDesk)), "{role:?}");
        }
        for role in [Role::ClientOwner, Role::ClientViewer] {
            assert!(fits(role, some).is_ok() && matches!(fits(role, None), Err(PeopleError::RoleOfClient)), "{role:?}");
        }
        for client in [None, some] {
            assert!(matches!(fits(Role::Service, client), Err(PeopleError::Program)));
        }
    }
}
