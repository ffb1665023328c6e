//! Fernet tokens, opened so that the plaintext is wiped and a wrong clock is not taken for a wrong key.

use base64::{Engine, engine::general_purpose::URL_SAFE};
use events::Time;
use fernet::Fernet;
use zeroize::Zeroizing;

/// The fernet crate refuses tokens that are stamped later than this after our clock.
const CLOCK_SKEW_MAX_S: u64 = 60;

/// Why a token does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    #[error("it was sealed {ahead_s} s after the time that this machine's clock shows: set the clock right")]
    Clock { ahead_s: u64 },
    #[error("it is damaged, or sealed under another key")]
    Wrong,
}

/// Opens a token. Never with a time to live: the crate adds that to a stamp which nobody has authenticated yet.
pub(crate) fn open(key: &Fernet, token: &str) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    key.decrypt(token).map(Zeroizing::new).map_err(|_| match ahead_s(token) {
        Some(ahead_s) => Unopened::Clock { ahead_s },
        None => Unopened::Wrong,
    })
}

/// By how much a token is stamped later than our clock, if that is too much.
fn ahead_s(token: &str) -> Option<u64> {
    let bytes = URL_SAFE.decode(token).ok()?;
    let stamp = u64::from_be_bytes(bytes.get(1..9)?.try_into().ok()?);
    let now = u64::try_from(Time::now().millis() / 1_000).ok()?;
    stamp.checked_sub(now).filter(|ahead_s| *ahead_s > CLOCK_SKEW_MAX_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_done_to_a_token_it_does_not_open_and_nothing_panics() {
        let key = Fernet::new(&Fernet::generate_key()).unwrap();
        let token = key.encrypt(b"obviously no secret");
        assert_eq!(&**open(&key, &token).unwrap(), b"obviously no secret");
        let bytes = URL_SAFE.decode(&token).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x80;
            assert!(open(&key, &URL_SAFE.encode(&changed)).is_err(), "byte {at}");
            assert!(open(&key, &URL_SAFE.encode(&bytes[..at])).is_err(), "cut before {at}");
        }
        let mut future = bytes;
        future[1..9].copy_from_slice(&u64::MAX.to_be_bytes());
        assert!(matches!(open(&key, &URL_SAFE.encode(&future)), Err(Unopened::Clock { .. })));
        assert_eq!(open(&key, "no token"), Err(Unopened::Wrong));
    }
}
