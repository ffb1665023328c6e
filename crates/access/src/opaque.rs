//! Tokens that say nothing and prove one thing: 256 random bits that only their holder has. What is kept of one is its
//! hash, which lets nobody in.

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

/// One that was just made.
pub(crate) struct Opaque {
    pub text: SecretString,
    pub hash: Vec<u8>,
}

/// One that came in: what it says it is of, and what its hash is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Presented {
    pub of: Uuid,
    pub hash: Vec<u8>,
}

const SECRET_BYTES: usize = 32;

impl Opaque {
    /// Written as `PREFIX_ID_SECRET`, so that whoever finds one lying about knows what it is, and whose to revoke.
    pub fn new(prefix: &str, of: Uuid) -> Self {
        let secret: Zeroizing<[u8; SECRET_BYTES]> = Zeroizing::new(rand::random());
        let text = format!("{prefix}_{}_{}", of.simple(), *Zeroizing::new(hex::encode(*secret)));
        let hash = Sha256::digest(&text).to_vec();
        Self { text: text.into(), hash }
    }
}

impl Presented {
    /// Reads one of this kind. Exactly as it was written: there are not two ways to write one.
    pub fn read(prefix: &str, text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(prefix)?.strip_prefix('_')?.split_once('_')?;
        let hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        if !hex(id, 32) || !hex(secret, 2 * SECRET_BYTES) {
            return None;
        }
        Some(Self { of: id.parse().ok()?, hash: Sha256::digest(text).to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn one_is_read_as_it_was_written_and_in_no_other_way() {
        let id = Uuid::now_v7();
        let (one, other) = (Opaque::new("plr", id), Opaque::new("plr", id));
        let text = one.text.expose_secret();
        assert_eq!(Presented::read("plr", text), Some(Presented { of: id, hash: one.hash.clone() }));
        assert_ne!(one.hash, other.hash);
        for spoiled in [
            text.to_uppercase(),
            format!("{text} "),
            format!("{text}0"),
            text[..text.len() - 1].to_owned(),
            text.replacen("plr_", "plr", 1),
            text.replacen("plr", "plp", 1),
            format!("plr_{id}_{}", &text[37..]),
            String::new(),
            "plr__".to_owned(),
            "plr_\u{1f600}_x".to_owned(),
        ] {
            assert_eq!(Presented::read("plr", &spoiled), None, "{spoiled}");
        }
    }
}
