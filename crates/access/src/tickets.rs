//! Between the password and the code: whoever showed the right password gets a ticket, which with a code opens a session.
//! It is good for minutes and for some tries, and for nothing else.

use events::{Time, UserId, desk::Factor};
use secrecy::SecretString;
use sqlx::PgPool;

use crate::{
    opaque::{Opaque, Presented},
    register::stamp,
    second_factor::{FactorError, SecondFactors},
    users::{self, User},
};

/// What a ticket begins with.
const TICKET: &str = "plt";
const GOOD_FOR_US: i64 = 5 * 60 * 1_000_000;
const TRIES_MAX: i32 = 5;

/// A ticket that was just made.
#[derive(Debug)]
pub struct Ticket {
    pub text: SecretString,
    pub expires_at: Time,
}

impl SecondFactors {
    /// For somebody who has shown the right password.
    pub async fn ticket(&self, user: &User, now: Time) -> sqlx::Result<Ticket> {
        let (ticket, expires_at) = (Opaque::new(TICKET, user.id.0), now.plus_micros(GOOD_FOR_US));
        sqlx::query!(
            "insert into auth.tickets (hash, user_id, perm_ver, expires_at) values ($1, $2, $3, $4)",
            ticket.hash,
            user.id.0,
            user.perm_ver.cast_signed(),
            stamp(expires_at)
        )
        .execute(self.register.auth())
        .await?;
        Ok(Ticket { text: ticket.text, expires_at })
    }

    /// Who has shown both, and what the second was.
    pub async fn redeem(&self, ticket: &str, code: &SecretString, now: Time) -> Result<(User, Factor), FactorError> {
        let auth = self.register.auth();
        let presented = Presented::read(TICKET, ticket).ok_or(FactorError::NoTicket)?;
        let perm_ver = try_once(auth, &presented, now).await?.ok_or(FactorError::NoTicket)?;
        let factor = self.check(UserId(presented.of), code, now).await?;
        // Of many at once one gets it; and what the user may do is as it was when the password was shown.
        let spent = sqlx::query!("delete from auth.tickets where hash = $1", presented.hash).execute(auth).await?;
        let user = users::of_id(auth, UserId(presented.of)).await?.map(|(user, _)| user);
        let same = user.filter(|user| spent.rows_affected() > 0 && user.perm_ver.cast_signed() == perm_ver);
        Ok((same.ok_or(FactorError::NoTicket)?, factor))
    }
}

/// The version that a ticket was made under, if it counts for one more try.
async fn try_once(auth: &PgPool, presented: &Presented, now: Time) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        r#"
        update auth.tickets
           set tries = tries + 1
         where hash = $1 and user_id = $2 and tries < $3 and expires_at > $4
        returning perm_ver
        "#,
        presented.hash,
        presented.of,
        TRIES_MAX,
        stamp(now)
    )
    .fetch_optional(auth)
    .await
}

/// Throws away what is over.
pub(crate) async fn forget(auth: &PgPool) -> sqlx::Result<()> {
    sqlx::query!("delete from auth.tickets where expires_at < now()").execute(auth).await?;
    sqlx::query!("delete from auth.links where expires_at < now() - interval '90 days'").execute(auth).await.map(drop)
}
