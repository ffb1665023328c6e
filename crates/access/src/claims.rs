//! What an access token says, and when that makes a caller.

use events::{
    ClientId, SessionId, Time, UserId,
    desk::{Factor, Role},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    caller::{Caller, belongs},
    sessions::Session,
    tokens::TokenRefusal,
};

const ISSUER: &str = "pipelabs";
/// Streams and agents get audiences of their own, so that a token of one is none for the others.
const AUDIENCE: &str = "pipelabs:api";
/// How long a token is good for. Who may do less than before, or nothing, is stopped long before: see [`crate::Gate`].
pub(crate) const LIFETIME_S: i64 = 600;
/// How far the clocks of two of our machines may be apart.
const LEEWAY_S: i64 = 5;

/// Times are whole seconds since 1970. A claim that is unknown, twice there, missing or of another type is refused:
/// one that we do not know could be meant to narrow what the token allows.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    role: Role,
    /// What the user was allowed when this was made is known by this number.
    perm_ver: u64,
    /// The session that it belongs to.
    sid: SessionId,
    /// When the user last proved who it is, and by what.
    auth_time: i64,
    amr: Vec<Factor>,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: Uuid,
}

impl Claims {
    /// Good from now on, to the second.
    pub(crate) fn of(session: &Session, now: Time) -> Self {
        let issued = seconds(now);
        Self {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: session.user.id,
            client_id: session.user.client,
            role: session.user.role,
            perm_ver: session.user.perm_ver,
            sid: session.id,
            auth_time: seconds(session.auth_time),
            amr: session.how.clone(),
            iat: issued,
            nbf: issued,
            exp: issued + LIFETIME_S,
            jti: Uuid::new_v4(),
        }
    }

    pub(crate) fn expires_at(&self) -> Time {
        Time::EPOCH.plus_micros(self.exp.saturating_mul(1_000_000))
    }

    /// Whether its user has shown a second factor.
    pub(crate) fn by_two_factors(&self) -> bool {
        self.amr.iter().any(|factor| matches!(factor, Factor::Otp | Factor::RecoveryCode))
    }

    /// The caller that these claims make at a moment, once their signature is known to be ours.
    pub(crate) fn caller(&self, now: Time) -> Result<Caller, TokenRefusal> {
        if self.iss != ISSUER || self.aud != AUDIENCE {
            return Err(TokenRefusal::Foreign);
        }
        let now = seconds(now);
        if self.iat.max(self.nbf) > now + LEEWAY_S {
            return Err(TokenRefusal::NotYetValid);
        }
        if self.exp <= now - LEEWAY_S {
            return Err(TokenRefusal::Expired);
        }
        // Of one that lives longer than any we make, or tells of a proof that is still to come, nothing can be believed.
        if self.exp > self.iat.saturating_add(LIFETIME_S) || self.auth_time > now + LEEWAY_S || self.amr.is_empty() {
            return Err(TokenRefusal::Malformed);
        }
        if !belongs(self.role, self.client_id) {
            return Err(TokenRefusal::Malformed);
        }
        Ok(Caller {
            user: self.sub,
            role: self.role,
            client: self.client_id,
            session: self.sid,
            scopes: None,
            perm_ver: self.perm_ver,
            auth_time: Time::EPOCH.plus_micros(self.auth_time.saturating_mul(1_000_000)),
            lacks_factor: false,
        })
    }
}

fn seconds(time: Time) -> i64 {
    time.millis().div_euclid(1_000)
}
