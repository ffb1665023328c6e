//! The keys of one stack: random, made once, kept where only their owner reads them.

use std::path::Path;

use super::{StackError, kept};

const FILE: &str = "secrets.env";
/// Each is 32 random bytes, in the spelling which its user expects.
const SECRETS: [(&str, Make); 3] =
    [("SECRET_KEY", hex_key), ("AUDIT_SIGNING_KEY", hex_key), ("ENCRYPTION_KEY", fernet_key)];
/// The alphabet of url-safe base64, in its order.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

type Make = fn() -> String;

/// Makes those that are missing; a key that exists is never changed, since what it signed or sealed needs it.
pub fn make(dir: &Path) -> Result<(), StackError> {
    let mut secrets = kept_secrets(dir)?;
    let before = secrets.len();
    for (name, make) in SECRETS {
        if !secrets.iter().any(|(kept, _)| kept == name) {
            secrets.push((name.to_owned(), make()));
        }
    }
    if secrets.len() == before {
        return Ok(());
    }
    let lines: Vec<String> = secrets.iter().map(|(name, secret)| format!("{name}={secret}")).collect();
    kept::write(dir, FILE, &lines.join("\n"))
}

/// All of them, by name.
pub fn read(dir: &Path) -> Result<Vec<(String, String)>, StackError> {
    let secrets = kept_secrets(dir)?;
    if secrets.is_empty() { Err(StackError::NeverUp(dir.to_owned())) } else { Ok(secrets) }
}

/// A new password, or a key, as lower-case hex.
pub fn hex_key() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

/// 32 random bytes as url-safe base64. 42 characters tell 252 bits and the next one the last 4, so that one must be one
/// of the 16 whose other bits are zero, or a strict reader refuses it.
fn fernet_key() -> String {
    let full = (0..42).map(|_| BASE64[rand::random_range(0..64)]);
    let last = BASE64[rand::random_range(0..16) * 4];
    full.chain([last, b'=']).map(char::from).collect()
}

fn kept_secrets(dir: &Path) -> Result<Vec<(String, String)>, StackError> {
    let text = kept::read(dir, FILE)?.unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, secret)| (name.to_owned(), secret.to_owned())).collect())
}
