//! Tokens for programs: made by a person, for a time, with scopes that never allow more than that person may do; or of a
//! service, which is a program's own account, of the desk or of a client. Told once; kept as hashes.

use events::{
    ClientId, SessionId, Time, TokenId, UserId,
    desk::{DeskEvent, Role, Scope},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use store::Cause;

use crate::{
    caller::{Caller, Scopes},
    opaque::{Opaque, Presented},
    people::{Whose, client_of, narrow},
    reason::Reason,
    register::{Change, Register, stamp},
    tokens::Proof,
    users::{User, role_name},
};

/// What the token of a program begins with.
pub(crate) const TOKEN: &str = "plp";
/// Somebody looks at it again within a year.
const DAYS_MAX: u16 = 366;
/// Of one user at once.
const TOKENS_MAX: i64 = 50;
const NAME_MAX: usize = 100;

/// What a program's token, or a service, is called by people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

impl std::str::FromStr for Label {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fine = !text.trim().is_empty() && text.chars().count() <= NAME_MAX && !text.chars().any(char::is_control);
        if fine { Ok(Self(text.trim().to_owned())) } else { Err("a name is one line of 1 to 100 characters") }
    }
}

/// What shall be made.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub name: Label,
    pub scopes: Scopes,
    pub days: u16,
}

/// A token that was just made.
#[derive(Debug)]
pub struct Issued {
    pub id: TokenId,
    pub text: SecretString,
    pub expires_at: Time,
}

/// A token that counts, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ProgramToken)]
pub struct Token {
    pub token_id: TokenId,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub made_at: Time,
    pub expires_at: Time,
    /// To ten minutes; null: never yet.
    pub seen_at: Option<Time>,
}

/// A program's own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Service {
    pub service_id: UserId,
    pub name: String,
    /// Whose it is; null for one of the desk.
    pub client_id: Option<ClientId>,
    pub created_at: Time,
    /// Those that count.
    pub tokens: Vec<Token>,
}

/// Why no token was made or taken away.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("there is no such token or service, or none of yours")]
    NotThere,
    #[error("a token is for something: name at least one scope")]
    NoScope,
    #[error("a token lasts 1 to 366 days")]
    Days,
    #[error("nobody has more than 50 tokens at once: revoke one first")]
    TooMany,
    #[error("could not be kept")]
    Database(#[from] sqlx::Error),
}

/// Makes one more for a user; `by` is who decided it.
pub async fn issue(
    register: &Register,
    user: UserId,
    wanted: Wanted,
    by: UserId,
    now: Time,
) -> Result<Issued, TokenError> {
    let cause = Cause::user(by);
    let mut change = register.change(&cause).await?;
    let issued = add(&mut change, user, wanted, by, now).await?;
    change.commit().await?;
    Ok(issued)
}

/// As part of a change.
async fn add(
    change: &mut Change<'_>,
    user: UserId,
    wanted: Wanted,
    by: UserId,
    now: Time,
) -> Result<Issued, TokenError> {
    let Wanted { name: Label(name), scopes, days } = wanted;
    let scopes: Vec<Scope> = scopes.all().collect();
    if scopes.is_empty() {
        return Err(TokenError::NoScope);
    }
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(TokenError::Days);
    }
    make_room(&mut change.db, user, now).await?;
    let (id, expires_at) = (TokenId::new(), now.plus_micros(i64::from(days) * 86_400 * 1_000_000));
    let token = Opaque::new(TOKEN, id.0);
    sqlx::query!(
        r#"
        insert into auth.access_tokens (token_id, user_id, hash, name, scopes, made_at, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7)
        "#,
        id.0,
        user.0,
        token.hash,
        name,
        &scopes.iter().map(|scope| scope_name(*scope).to_owned()).collect::<Vec<_>>(),
        stamp(now),
        stamp(expires_at)
    )
    .execute(&mut *change.db)
    .await?;
    change.note(user, &DeskEvent::TokenIssued { token: id, user, scopes, expires_at, by, at: now }).await?;
    Ok(Issued { id, text: token.text, expires_at })
}

/// Whoever makes tokens by themselves shall notice. The user's row is locked, so that none slips in between.
async fn make_room(db: &mut PgConnection, user: UserId, now: Time) -> Result<(), TokenError> {
    let there = sqlx::query!("select user_id from auth.users where user_id = $1 for update", user.0);
    there.fetch_optional(&mut *db).await?.ok_or(TokenError::NotThere)?;
    let counting = sqlx::query_scalar!(
        r#"
        select count(*) as "counting!"
          from auth.access_tokens
         where user_id = $1 and revoked_at is null and expires_at > $2
        "#,
        user.0,
        stamp(now)
    )
    .fetch_one(db)
    .await?;
    if counting < TOKENS_MAX { Ok(()) } else { Err(TokenError::TooMany) }
}

/// Those of a user that count, the newest first.
pub async fn list(register: &Register, user: UserId) -> sqlx::Result<Vec<Token>> {
    let mut connection = register.auth().acquire().await?;
    of(&mut connection, user).await
}

async fn of(db: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<Token>> {
    let rows = sqlx::query!(
        r#"
        select token_id, name, scopes, made_at, expires_at, seen_at
          from auth.access_tokens
         where user_id = $1 and revoked_at is null and expires_at > now()
         order by made_at desc, token_id desc
        "#,
        user.0
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Token {
                token_id: TokenId(row.token_id),
                name: row.name,
                scopes: scopes_of(&row.scopes)?.all().collect(),
                made_at: row.made_at.into(),
                expires_at: row.expires_at.into(),
                seen_at: row.seen_at.map(Time::from),
            })
        })
        .collect()
}

/// Takes a user's token away.
pub async fn revoke(register: &Register, user: UserId, token: TokenId, by: UserId, at: Time) -> Result<(), TokenError> {
    let cause = Cause::user(by);
    let mut change = register.change(&cause).await?;
    if end(&mut change, user, Some(token), by, at).await? == 0 {
        return Err(TokenError::NotThere);
    }
    Ok(change.commit().await?)
}

/// None of a user's tokens counts any more, as part of a change.
pub(crate) async fn revoke_all(change: &mut Change<'_>, user: UserId, by: UserId, at: Time) -> sqlx::Result<()> {
    end(change, user, None, by, at).await.map(drop)
}

async fn end(change: &mut Change<'_>, user: UserId, one: Option<TokenId>, by: UserId, at: Time) -> sqlx::Result<usize> {
    change.lock(user).await?;
    let ended = sqlx::query_scalar!(
        r#"
        update auth.access_tokens
           set revoked_at = $3
         where user_id = $1 and ($2::uuid is null or token_id = $2) and revoked_at is null and expires_at > $3
        returning token_id
        "#,
        user.0,
        one.map(|token| token.0),
        stamp(at)
    )
    .fetch_all(&mut *change.db)
    .await?;
    for token in &ended {
        change.note(user, &DeskEvent::TokenRevoked { token: TokenId(*token), user, by, at }).await?;
    }
    Ok(ended.len())
}

/// A program's own account from now on, and its first token.
pub async fn add_service(
    register: &Register,
    client: Option<ClientId>,
    wanted: Wanted,
    by: UserId,
    at: Time,
) -> Result<(UserId, Issued), TokenError> {
    let cause = Cause::user(by);
    let mut change = register.change(&cause).await?;
    let user = UserId::new();
    sqlx::query!(
        "insert into auth.users (user_id, name, role, client_id, created_at) values ($1, $2, $3, $4, $5)",
        user.0,
        wanted.name.0,
        role_name(Role::Service),
        client.map(|client| client.0),
        stamp(at)
    )
    .execute(&mut *change.db)
    .await?;
    change.note(user, &DeskEvent::UserAdded { user, role: Role::Service, client, at }).await?;
    let issued = add(&mut change, user, wanted, by, at).await?;
    change.commit().await?;
    Ok((user, issued))
}

/// One more token for a service: the earlier ones go on until they are revoked, so that a program can change over.
pub async fn issue_for_service(
    register: &Register,
    whose: Whose,
    service: UserId,
    wanted: Wanted,
    by: UserId,
    at: Time,
) -> Result<Issued, TokenError> {
    let cause = Cause::user(by);
    let mut change = register.change(&cause).await?;
    known(&mut change.db, whose, service).await?;
    let issued = add(&mut change, service, wanted, by, at).await?;
    change.commit().await?;
    Ok(issued)
}

/// Takes one token of a service away.
pub async fn revoke_of_service(
    register: &Register,
    whose: Whose,
    service: UserId,
    token: TokenId,
    by: UserId,
    at: Time,
) -> Result<(), TokenError> {
    let cause = Cause::user(by);
    let mut change = register.change(&cause).await?;
    known(&mut change.db, whose, service).await?;
    if end(&mut change, service, Some(token), by, at).await? == 0 {
        return Err(TokenError::NotThere);
    }
    Ok(change.commit().await?)
}

/// Ends a service for ever, with all its tokens.
pub async fn end_service(
    register: &Register,
    whose: Whose,
    service: UserId,
    reason: Reason,
    by: UserId,
    at: Time,
) -> Result<(), TokenError> {
    let cause = Cause::user(by);
    let mut change = register.change(&cause).await?;
    known(&mut change.db, whose, service).await?;
    sqlx::query!("update auth.users set barred_at = $2 where user_id = $1", service.0, stamp(at))
        .execute(&mut *change.db)
        .await?;
    revoke_all(&mut change, service, by, at).await?;
    let reason = reason.into();
    change.note(service, &DeskEvent::UserBarred { user: service, by: Some(by), reason, at }).await?;
    Ok(change.commit().await?)
}

/// Refuses a service that is not there for whoever decides; one that is there stays to the end of the transaction.
async fn known(db: &mut PgConnection, whose: Whose, service: UserId) -> Result<(), TokenError> {
    narrow(db, whose).await?;
    let row = sqlx::query!(
        r#"
        select user_id
          from auth.users
         where user_id = $1 and role = 'service' and barred_at is null and ($2::uuid is null or client_id = $2)
           for update
        "#,
        service.0,
        client_of(whose)
    )
    .fetch_optional(db)
    .await?;
    row.map(drop).ok_or(TokenError::NotThere)
}

/// Whether there is such a service for whoever decides.
pub async fn is_there(register: &Register, whose: Whose, service: UserId) -> sqlx::Result<bool> {
    let mut tx = register.auth().begin().await?;
    narrow(&mut tx, whose).await?;
    let there = sqlx::query_scalar!(
        r#"
        select exists (
          select
            from auth.users
           where user_id = $1 and role = 'service' and barred_at is null and ($2::uuid is null or client_id = $2))
                 as "there!"
        "#,
        service.0,
        client_of(whose)
    );
    there.fetch_one(&mut *tx).await
}

/// Services that go on, the newest last.
pub async fn services(register: &Register, whose: Whose) -> sqlx::Result<Vec<Service>> {
    let mut tx = register.auth().begin().await?;
    narrow(&mut tx, whose).await?;
    let rows = sqlx::query!(
        r#"
        select user_id, coalesce(name, '') as "name!", client_id, created_at
          from auth.users
         where role = 'service' and barred_at is null and ($1::uuid is null or client_id = $1)
         order by created_at, user_id
        "#,
        client_of(whose)
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut services = Vec::new();
    for row in rows {
        let service_id = UserId(row.user_id);
        let tokens = of(&mut tx, service_id).await?;
        let client_id = row.client_id.map(ClientId);
        services.push(Service { service_id, name: row.name, client_id, created_at: row.created_at.into(), tokens });
    }
    Ok(services)
}

/// What a token proves now, and until when. Noted as seen by that.
pub(crate) async fn find(auth: &PgPool, token: &Presented) -> sqlx::Result<Option<Proof>> {
    let row = sqlx::query!(
        r#"
        update auth.access_tokens t
           set seen_at = now()
          from auth.users u
         where t.token_id = $1 and t.hash = $2 and t.revoked_at is null
           and u.user_id = t.user_id and u.barred_at is null
        returning t.scopes, t.made_at, t.expires_at, u.user_id, u.role, u.client_id, u.perm_ver
        "#,
        token.of,
        token.hash
    )
    .fetch_optional(auth)
    .await?;
    row.map(|row| {
        let user = User::kept(row.user_id, &row.role, row.client_id, row.perm_ver)?;
        let caller = Caller {
            user: user.id,
            role: user.role,
            client: user.client,
            session: SessionId(token.of),
            scopes: Some(scopes_of(&row.scopes)?),
            perm_ver: user.perm_ver,
            auth_time: row.made_at.into(),
            lacks_factor: false,
        };
        Ok(Proof { caller, expires_at: row.expires_at.into() })
    })
    .transpose()
}

/// Throws away what is long over.
pub(crate) async fn forget(auth: &PgPool) -> sqlx::Result<()> {
    sqlx::query!("delete from auth.access_tokens where coalesce(revoked_at, expires_at) < now() - interval '90 days'")
        .execute(auth)
        .await
        .map(drop)
}

pub(crate) fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Trade => "trade",
        Scope::Keys => "keys",
        Scope::Admin => "admin",
    }
}

fn scopes_of(names: &[String]) -> sqlx::Result<Scopes> {
    let scope = |name: &String| match name.as_str() {
        "read" => Ok(Scope::Read),
        "trade" => Ok(Scope::Trade),
        "keys" => Ok(Scope::Keys),
        "admin" => Ok(Scope::Admin),
        other => Err(sqlx::Error::Decode(format!("{other} is nothing that a token is for").into())),
    };
    names.iter().map(scope).collect()
}
