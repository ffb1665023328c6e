//! The second factor: a code that changes every half minute (TOTP, RFC 6238), and recovery codes for whoever has lost what
//! shows it. A code is good once, a recovery code too.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use data_encoding::BASE32_NOPAD;
use events::{
    SessionId, Time, UserId,
    desk::{DeskEvent, Factor, WhyEnded},
};
use fernet::Fernet;
use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use store::Cause;
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::{
    login::LoginRefusal,
    programs,
    register::{Change, Register, stamp},
    sessions::{self, Which},
    users,
};

/// What an authenticator shows above the codes.
const ISSUER: &str = "Pipe Labs";
const RECOVERY_CODES: usize = 10;
/// 80 bits: nobody tries them all, so that a fast hash keeps them.
const RECOVERY_BYTES: usize = 10;

/// People mistype: so many failures cost no wait.
const FREE: i32 = 3;
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// Checks codes and decides who shows them. Cloned freely; failures are counted in the database.
#[derive(Clone)]
pub struct SecondFactors {
    pub(crate) register: Register,
    seal: Arc<Fernet>,
}

/// What an authenticator is told once.
#[derive(Debug)]
pub struct Seed {
    /// Base32, to be typed.
    pub secret: SecretString,
    /// `otpauth://`, to be shown as a QR code.
    pub url: SecretString,
}

/// Why a code does not count, or nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FactorError {
    #[error(transparent)]
    Refused(#[from] LoginRefusal),
    #[error("this code does not count: take the one that is shown now, each is good once")]
    WrongCode,
    #[error("this ticket does not count: it is over, or was tried too often; log in again")]
    NoTicket,
    #[error("there is a second factor already: remove it first")]
    AlreadyThere,
    #[error("there is no second factor: set one up with POST /api/auth/second-factor")]
    NotThere,
    #[error("could not look the second factor up")]
    Database(#[from] sqlx::Error),
}

/// As it is sealed. Whose it is stands inside: put into another's row it opens for nobody.
#[derive(Serialize, Deserialize)]
struct Sealed {
    user: UserId,
    seed: String,
}

impl SecondFactors {
    /// Over connections of login `auth`. Seeds are sealed by a key that follows from the deployment's secret.
    pub fn new(register: Register, secret: &SecretString) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"pipelabs second factors"), secret.expose_secret().as_bytes())
            .expand(b"seeds", &mut *key)
            .expect("32 bytes are within what HKDF gives");
        let key = Zeroizing::new(URL_SAFE.encode(*key));
        let seal = Fernet::new(&key).expect("32 bytes in base64 are a key");
        Self { register, seal: Arc::new(seal) }
    }

    /// A seed for somebody who has none that counts. It counts from when a code of it was shown.
    pub async fn begin(&self, user: UserId, account: &str, now: Time) -> Result<Seed, FactorError> {
        let bytes = Zeroizing::new(rand::random::<[u8; 20]>());
        let totp = totp(&*bytes, account);
        let secret = SecretString::from(totp.secret().to_base32());
        let sealed = Sealed { user, seed: secret.expose_secret().to_owned() };
        let sealed = Zeroizing::new(serde_json::to_vec(&sealed).expect("it has a JSON form"));
        let kept = sqlx::query!(
            r#"
            insert into auth.second_factors as f (user_id, seed, made_at)
            values ($1, $2, $3)
            on conflict (user_id) do update set seed = $2, made_at = $3, last_step = 0, failures = 0
             where f.confirmed_at is null
            "#,
            user.0,
            self.seal.encrypt(&sealed),
            stamp(now)
        )
        .execute(self.register.auth())
        .await?;
        if kept.rows_affected() == 0 {
            return Err(FactorError::AlreadyThere);
        }
        let url = totp.to_url().expect("the account's name has no colon").into();
        Ok(Seed { secret, url })
    }

    /// Lets a seed count, for whoever shows its code; the recovery codes. Sessions that had only the password end, but for
    /// this one, which has shown both.
    pub async fn confirm(
        &self,
        user: UserId,
        session: SessionId,
        code: &SecretString,
        now: Time,
    ) -> Result<Vec<SecretString>, FactorError> {
        let cause = Cause::user(user);
        let mut change = self.register.change(&cause).await?;
        change.lock(user).await?;
        if let Err(refusal) = self.take(&mut change.db, user, false, code, now).await {
            // A failure is kept.
            change.commit().await?;
            return Err(refusal);
        }
        sqlx::query!("update auth.second_factors set confirmed_at = $2 where user_id = $1", user.0, stamp(now))
            .execute(&mut *change.db)
            .await?;
        users::proves_otherwise(&mut change.db, user).await?;
        let codes = renew(&mut change, user).await?;
        change.note(user, &DeskEvent::SecondFactorAdded { user, at: now }).await?;
        sessions::proved(&mut change.db, session, Factor::Otp, now).await?;
        let others = Which::AllBut(user, Some(session));
        sessions::end(&mut change, others, Some(user), WhyEnded::SecondFactorAdded, now).await?;
        change.commit().await?;
        Ok(codes)
    }

    /// Whether a user shows codes.
    pub async fn has(&self, user: UserId) -> sqlx::Result<bool> {
        let there = sqlx::query_scalar!(
            r#"
            select exists (select from auth.second_factors where user_id = $1 and confirmed_at is not null) as "there!"
            "#,
            user.0
        );
        there.fetch_one(self.register.auth()).await
    }

    /// Takes a code of a user's, once.
    pub async fn check(&self, user: UserId, code: &SecretString, now: Time) -> Result<Factor, FactorError> {
        let mut tx = self.register.auth().begin().await?;
        let taken = self.take(&mut tx, user, true, code, now).await;
        // A failure is kept, too.
        tx.commit().await?;
        taken
    }

    /// Whoever tries codes knows the password, so nobody else can make their owner wait; and a recovery code, which is not
    /// guessed, never waits.
    async fn take(
        &self,
        db: &mut PgConnection,
        user: UserId,
        confirmed: bool,
        code: &SecretString,
        now: Time,
    ) -> Result<Factor, FactorError> {
        let known = known(db, user, confirmed).await?.ok_or(FactorError::NotThere)?;
        if confirmed && take_recovery(db, user, code, now).await? {
            return Ok(Factor::RecoveryCode);
        }
        if let Some(retry_after) = known.wait(now) {
            return Err(LoginRefusal::Throttled { retry_after }.into());
        }
        match self.step(user, &known.seed, code, now) {
            Some(step) if take_step(db, user, step).await? => Ok(Factor::Otp),
            Some(_) | None => {
                failed(db, user, now).await?;
                Err(FactorError::WrongCode)
            }
        }
    }

    /// Which half minute a code is of, a little slack of the clocks allowed.
    fn step(&self, user: UserId, sealed: &str, code: &SecretString, now: Time) -> Option<i64> {
        let opened = self.seal.decrypt(sealed).map(Zeroizing::new).ok().or_else(|| {
            tracing::error!(user.id = %user, "a second factor cannot be opened: was it made under another SECRET_KEY?");
            None
        })?;
        let Sealed { user: of, seed } = serde_json::from_slice(&opened).ok()?;
        let secret = Secret::try_from_base32(&*Zeroizing::new(seed)).ok().filter(|_| of == user)?;
        let seconds = u64::try_from(now.millis() / 1_000).ok()?;
        let step = totp(secret.as_bytes(), "").check(code.expose_secret(), seconds)?;
        i64::try_from(step).ok()
    }

    /// Takes the second factor away; `by` its user, or somebody who decides about users. What was proved by it counts no
    /// more, and somebody else's doing ends sessions and tokens, too.
    pub async fn remove(&self, user: UserId, by: Option<UserId>, now: Time) -> Result<(), FactorError> {
        let cause = by.map_or_else(|| Cause::system("cli"), Cause::user);
        let mut change = self.register.change(&cause).await?;
        change.lock(user).await?;
        let removed =
            sqlx::query!("delete from auth.second_factors where user_id = $1 and confirmed_at is not null", user.0);
        if removed.execute(&mut *change.db).await?.rows_affected() == 0 {
            return Err(FactorError::NotThere);
        }
        sqlx::query!("delete from auth.recovery_codes where user_id = $1", user.0).execute(&mut *change.db).await?;
        users::proves_otherwise(&mut change.db, user).await?;
        sessions::forget_factors(&mut change.db, user).await?;
        change.note(user, &DeskEvent::SecondFactorRemoved { user, by, at: now }).await?;
        if by != Some(user) {
            sessions::end(&mut change, Which::AllBut(user, None), by, WhyEnded::Ended, now).await?;
            programs::revoke_all(&mut change, user, by.unwrap_or(user), now).await?;
        }
        Ok(change.commit().await?)
    }

    /// Other recovery codes; the earlier ones count no more.
    pub async fn renew_codes(&self, user: UserId, now: Time) -> Result<Vec<SecretString>, FactorError> {
        let cause = Cause::user(user);
        let mut change = self.register.change(&cause).await?;
        known(&mut change.db, user, true).await?.ok_or(FactorError::NotThere)?;
        let codes = renew(&mut change, user).await?;
        change.note(user, &DeskEvent::RecoveryCodesRenewed { user, at: now }).await?;
        change.commit().await?;
        Ok(codes)
    }
}

/// Six digits every thirty seconds, the one before and the one after allowed: what every authenticator shows.
fn totp(seed: &[u8], account: &str) -> Totp {
    let account: String = account.chars().filter(|c| *c != ':').collect();
    let builder = Builder::new().with_secret(Secret::new(seed.into())).with_skew(1).with_step_duration(30);
    let builder = builder.with_digits(6).with_issuer(Some(ISSUER)).with_account_name(account);
    builder.build().expect("20 bytes are long enough, and no name has a colon")
}

/// What is kept of a user's second factor.
struct Known {
    seed: String,
    failures: i32,
    failed_at: Option<Time>,
}

impl Known {
    /// How long its next code has to wait: after three failures a second, twice as long after each further one, up to a
    /// quarter of an hour. So a hundred are tried in a day, of a million.
    fn wait(&self, now: Time) -> Option<Duration> {
        let doubled = u32::try_from(self.failures - FREE).ok()?;
        let wait = WAIT_FIRST.saturating_mul(1_u32.checked_shl(doubled).unwrap_or(u32::MAX)).min(WAIT_MAX);
        let passed = now.micros() - self.failed_at?.micros();
        wait.checked_sub(Duration::from_micros(passed.max(0).unsigned_abs())).filter(|left| !left.is_zero())
    }
}

/// Its row stays as it is to the end of the transaction.
async fn known(db: &mut PgConnection, user: UserId, confirmed: bool) -> sqlx::Result<Option<Known>> {
    let row = sqlx::query!(
        r#"
        select seed, failures, failed_at
          from auth.second_factors
         where user_id = $1 and (confirmed_at is not null) = $2
           for update
        "#,
        user.0,
        confirmed
    );
    let row = row.fetch_optional(db).await?;
    Ok(row.map(|row| Known { seed: row.seed, failures: row.failures, failed_at: row.failed_at.map(Time::from) }))
}

async fn failed(db: &mut PgConnection, user: UserId, now: Time) -> sqlx::Result<()> {
    let failed = sqlx::query!(
        "update auth.second_factors set failures = failures + 1, failed_at = $2 where user_id = $1",
        user.0,
        stamp(now)
    );
    failed.execute(db).await.map(drop)
}

/// Whether no code of that half minute, or a later one, was taken before.
async fn take_step(db: &mut PgConnection, user: UserId, step: i64) -> sqlx::Result<bool> {
    let taken = sqlx::query!(
        "update auth.second_factors set last_step = $2, failures = 0 where user_id = $1 and last_step < $2",
        user.0,
        step
    );
    Ok(taken.execute(db).await?.rows_affected() > 0)
}

async fn take_recovery(db: &mut PgConnection, user: UserId, code: &SecretString, now: Time) -> sqlx::Result<bool> {
    let taken = sqlx::query!(
        "update auth.recovery_codes set used_at = $3 where user_id = $1 and hash = $2 and used_at is null",
        user.0,
        recovery_hash(code),
        stamp(now)
    );
    Ok(taken.execute(db).await?.rows_affected() > 0)
}

/// Puts other recovery codes in the place of those that there are.
async fn renew(change: &mut Change<'_>, user: UserId) -> sqlx::Result<Vec<SecretString>> {
    let codes: Vec<SecretString> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
    let hashes: Vec<Vec<u8>> = codes.iter().map(recovery_hash).collect();
    sqlx::query!("delete from auth.recovery_codes where user_id = $1", user.0).execute(&mut *change.db).await?;
    sqlx::query!(
        "insert into auth.recovery_codes (user_id, hash) select $1, hash from unnest($2::bytea[]) hash",
        user.0,
        &hashes
    )
    .execute(&mut *change.db)
    .await?;
    Ok(codes)
}

/// Four groups of four letters and digits.
fn recovery_code() -> SecretString {
    let text = Zeroizing::new(BASE32_NOPAD.encode(&*Zeroizing::new(rand::random::<[u8; RECOVERY_BYTES]>())));
    let groups: Vec<&str> = (0..text.len()).step_by(4).map(|at| &text[at..at + 4]).collect();
    groups.join("-").into()
}

/// The same however the code is typed.
fn recovery_hash(code: &SecretString) -> Vec<u8> {
    let plain = code.expose_secret().chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase());
    Sha256::digest(Zeroizing::new(plain.collect::<String>()).as_bytes()).to_vec()
}

/// Neither the key nor connections are shown.
impl fmt::Debug for SecondFactors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondFactors").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standards_own_examples() {
        // RFC 6238, appendix B, SHA-1: eight digits there, of which an authenticator shows the last six.
        let totp = totp(b"12345678901234567890", "");
        for (seconds, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            assert_eq!(totp.check(code, seconds), Some(seconds / 30), "{seconds}");
            assert_eq!(totp.check(code, seconds + 30), Some(seconds / 30), "a step late");
            assert_eq!(totp.check(code, seconds + 60), None, "two steps late");
        }
        for no_code in ["", "28708", "2870820", "28708x", " 287082", "２８７０８２"] {
            assert_eq!(totp.check(no_code, 59), None, "{no_code}");
        }
    }

    #[test]
    fn wrong_codes_make_the_next_one_wait_ever_longer_up_to_a_quarter_of_an_hour() {
        let at = |seconds: i64| Time::EPOCH.plus_micros(seconds * 1_000_000);
        let wait = |failures, now| Known { seed: String::new(), failures, failed_at: Some(at(100)) }.wait(at(now));
        for (failures, seconds) in [(3, 1), (4, 2), (8, 32), (12, 512), (13, 900), (40, 900), (i32::MAX, 900)] {
            assert_eq!(wait(failures, 100), Some(Duration::from_secs(seconds)), "{failures}");
            assert_eq!(wait(failures, 100 + seconds.cast_signed()), None, "{failures}");
        }
        assert_eq!((wait(0, 100), wait(2, 100)), (None, None));
        assert_eq!(Known { seed: String::new(), failures: 9, failed_at: None }.wait(at(0)), None);
    }

    #[test]
    fn a_recovery_code_is_the_same_however_it_is_typed_and_no_two_are_alike() {
        let (one, other) = (recovery_code(), recovery_code());
        assert_ne!(recovery_hash(&one), recovery_hash(&other));
        let text = one.expose_secret();
        assert_eq!((text.len(), text.matches('-').count()), (19, 3), "{text}");
        for typed in [text.to_lowercase(), text.replace('-', ""), text.replace('-', " ")] {
            assert_eq!(recovery_hash(&typed.into()), recovery_hash(&one));
        }
    }

    #[test]
    fn what_an_authenticator_is_shown_says_whose_it_is_and_can_be_read() {
        let url = totp(&[7; 20], "someone:x@example.com").to_url().unwrap();
        assert!(url.starts_with("otpauth://totp/Pipe%20Labs:someonex%40example.com?secret="), "{url}");
    }
}
