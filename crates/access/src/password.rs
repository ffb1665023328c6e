//! Passwords: long enough, and kept as argon2id hashes only.

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::{Error, phc::ParamsString},
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

/// Why a password will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefusal {
    #[error("a password has at least {LENGTH_MIN} characters, this one {0}")]
    TooShort(usize),
    #[error("a password has at most {LENGTH_MAX} characters, this one {0}")]
    TooLong(usize),
    #[error("a password is more than one character repeated")]
    OneCharacter,
}

/// What comes of holding a password against a hash.
#[derive(PartialEq, Eq)]
pub(crate) enum Verdict {
    Wrong,
    Right,
    /// Right, but hashed otherwise than we would now; this hash is to take the old one's place.
    Outdated {
        renewed: String,
    },
}

/// What is kept as a hash is none: nothing can be held against it.
#[derive(Debug, thiserror::Error)]
#[error("a user's password hash is no argon2 PHC string")]
pub(crate) struct BadHash(#[source] Error);

const LENGTH_MIN: usize = 12;
const LENGTH_MAX: usize = 256;
/// 46 MiB once through: 48 ms on the machines this was measured on.
const MEMORY_KIB: u32 = 46 * 1_024;

/// The PHC string of a password. Takes tens of milliseconds of a whole core: call it where that hurts nobody.
pub fn hash(password: &SecretString) -> Result<String, PasswordRefusal> {
    let text = password.expose_secret();
    match text.chars().count() {
        short if short < LENGTH_MIN => return Err(PasswordRefusal::TooShort(short)),
        long if long > LENGTH_MAX => return Err(PasswordRefusal::TooLong(long)),
        _ => {}
    }
    let first = text.chars().next().expect("it is long enough");
    if text.chars().all(|c| c == first) {
        return Err(PasswordRefusal::OneCharacter);
    }
    Ok(digest(text))
}

/// Holds a password against a hash. As much work for a wrong one as for a right one.
pub(crate) fn judge(password: &SecretString, hash: &str) -> Result<Verdict, BadHash> {
    let text = password.expose_secret();
    let kept = PasswordHash::new(hash).map_err(|error| BadHash(error.into()))?;
    match hasher().verify_password(text.as_bytes(), &kept) {
        Ok(()) if is_current(&kept) => Ok(Verdict::Right),
        Ok(()) => Ok(Verdict::Outdated { renewed: digest(text) }),
        Err(Error::PasswordInvalid) => Ok(Verdict::Wrong),
        Err(error) => Err(BadHash(error)),
    }
}

/// The hash of a password that nobody was ever told.
pub(crate) fn nobodys() -> String {
    digest(&Uuid::new_v4().to_string())
}

fn digest(text: &str) -> String {
    hasher().hash_password(text.as_bytes()).expect("a password of this length can be hashed").to_string()
}

fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params())
}

fn params() -> Params {
    Params::new(MEMORY_KIB, 1, 1, None).expect("these parameters are in range")
}

fn is_current(kept: &PasswordHash) -> bool {
    let ours = ParamsString::try_from(params()).expect("our parameters can be written");
    kept.algorithm == Algorithm::Argon2id.ident() && kept.version == Some(Version::V0x13.into()) && kept.params == ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_as_argon2id_with_a_salt_of_its_own() {
        let password = SecretString::from("obviously not a real one");
        let (one, other) = (hash(&password).unwrap(), hash(&password).unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{one}");
        assert_ne!(one, other);
        assert!(!one.contains("real"));
    }

    #[test]
    fn a_short_or_a_monotonous_password_is_refused() {
        assert_eq!(hash(&"eleven char".into()), Err(PasswordRefusal::TooShort(11)));
        assert_eq!(hash(&"x".repeat(20).into()), Err(PasswordRefusal::OneCharacter));
        assert_eq!(hash(&"xy".repeat(200).into()), Err(PasswordRefusal::TooLong(400)));
    }

    #[test]
    fn a_password_is_right_or_wrong_and_a_weaker_hash_of_it_is_renewed() {
        let (right, wrong) = (SecretString::from("obviously not a real one"), SecretString::from("Obviously not it"));
        let judged = |password, hash: &str| judge(password, hash).unwrap();
        let hash = hash(&right).unwrap();
        assert!(judged(&right, &hash) == Verdict::Right && judged(&wrong, &hash) == Verdict::Wrong);
        let text = right.expose_secret().as_bytes();
        for (algorithm, memory_kib, rounds) in
            [(Algorithm::Argon2id, 8, 1), (Algorithm::Argon2i, MEMORY_KIB, 1), (Algorithm::Argon2id, MEMORY_KIB, 2)]
        {
            let weaker = Argon2::new(algorithm, Version::V0x13, Params::new(memory_kib, rounds, 1, None).unwrap());
            let old = weaker.hash_password(text).unwrap().to_string();
            assert!(judged(&wrong, &old) == Verdict::Wrong);
            let Verdict::Outdated { renewed } = judged(&right, &old) else { panic!("{old} passed as current") };
            assert!(judged(&right, &renewed) == Verdict::Right);
        }
    }

    #[test]
    fn what_is_no_hash_is_told_and_nobody_knows_nobodys_password() {
        let password = SecretString::from("obviously not a real one");
        for bad in ["", "plain text", "$argon2id$v=19$m=1,t=0,p=0$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "$bcrypt$x"] {
            assert!(judge(&password, bad).is_err(), "{bad} passed as a hash");
        }
        assert!(judge(&password, &nobodys()).unwrap() == Verdict::Wrong);
    }
}
