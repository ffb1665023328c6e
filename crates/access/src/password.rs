//! Passwords: long enough, and kept as argon2id hashes only.

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher};
use secrecy::{ExposeSecret, SecretString};

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
    let params = Params::new(MEMORY_KIB, 1, 1, None).expect("these parameters are in range");
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    Ok(hasher.hash_password(text.as_bytes()).expect("a password of this length can be hashed").to_string())
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
}
