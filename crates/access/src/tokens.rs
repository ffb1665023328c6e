//! Access tokens: short-lived proofs of who is asking, as EdDSA JWTs whose keys follow from the deployment's secret.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
};

use events::Time;
use jsonwebtoken::{Algorithm, Header, Validation, errors::ErrorKind};
use secrecy::SecretString;

use crate::{
    caller::Caller,
    claims::Claims,
    keys::{Key, PublicKey},
    sessions::Session,
};

/// Makes access tokens and reads them.
#[derive(Clone)]
pub struct Tokens {
    keys: Arc<BTreeMap<&'static str, Key>>,
}

/// A token that was just made.
#[derive(Debug)]
pub struct AccessToken {
    pub text: SecretString,
    pub expires_at: Time,
}

/// What a token proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    pub caller: Caller,
    /// From then on it proves nothing; what goes on for longer has to end by then.
    pub expires_at: Time,
}

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    #[error("token cannot be read")]
    Malformed,
    #[error("token has expired")]
    Expired,
    #[error("token is not valid yet")]
    NotYetValid,
    #[error("token was not made here, or not for this use")]
    Foreign,
    #[error("token was revoked")]
    Revoked,
}

/// The key that signs. To change keys, add one, sign with it, and take the old one away when its last token is over.
const NEWEST: &str = "ed25519-1";
const KIDS: [&str; 1] = [NEWEST];
/// Ours have 0.7 KB; what is longer is not even looked at.
const LENGTH_MAX: usize = 4_096;

impl Tokens {
    pub fn new(secret: &SecretString) -> Self {
        let keys = KIDS.map(|kid| (kid, Key::derived(secret, kid)));
        Self { keys: Arc::new(keys.into()) }
    }

    /// A token for a session.
    pub fn issue(&self, session: &Session, now: Time) -> AccessToken {
        let claims = Claims::of(session, now);
        let text = jsonwebtoken::encode(&header(NEWEST), &claims, &self.keys[NEWEST].signs)
            .expect("plain claims can be written and signed");
        AccessToken { text: text.into(), expires_at: claims.expires_at() }
    }

    /// Who the caller is, at `now`, unless it was revoked.
    pub fn verify(&self, token: &str, now: Time) -> Result<Proof, TokenRefusal> {
        self.read(token)?.proof(now)
    }

    /// What a token says, if we signed it.
    pub(crate) fn read(&self, token: &str) -> Result<Claims, TokenRefusal> {
        if token.len() > LENGTH_MAX {
            return Err(TokenRefusal::Malformed);
        }
        let key = self.key(&jsonwebtoken::decode_header(token)?)?;
        Ok(jsonwebtoken::decode::<Claims>(token, &key.verifies, &SIGNATURE_ONLY)?.claims)
    }

    /// What others check our tokens with.
    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.keys.iter().map(|(kid, key)| key.public(kid)).collect()
    }

    /// The key that a header names, if there is nothing else in it than in ours: no key of its own, no address of one.
    fn key(&self, given: &Header) -> Result<&Key, TokenRefusal> {
        let kid = given.kid.as_deref().ok_or(TokenRefusal::Foreign)?;
        let key = self.keys.get(kid).ok_or(TokenRefusal::Foreign)?;
        if *given == header(kid) { Ok(key) } else { Err(TokenRefusal::Foreign) }
    }
}

impl Claims {
    pub(crate) fn proof(&self, now: Time) -> Result<Proof, TokenRefusal> {
        Ok(Proof { caller: self.caller(now)?, expires_at: self.expires_at() })
    }
}

/// Keys are never shown.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("kids", &KIDS).finish_non_exhaustive()
    }
}

impl From<jsonwebtoken::errors::Error> for TokenRefusal {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        if matches!(error.kind(), ErrorKind::InvalidSignature) { Self::Foreign } else { Self::Malformed }
    }
}

/// The whole header of a token of ours.
fn header(kid: &str) -> Header {
    Header { typ: Some("at+jwt".to_owned()), kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) }
}

/// [`Claims`] judges all claims itself: the library reads the clock, takes lists and fractions, and lets missing ones
/// pass.
static SIGNATURE_ONLY: LazyLock<Validation> = LazyLock::new(|| {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
});

#[cfg(test)]
mod tests;
