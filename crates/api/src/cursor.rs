//! Page tokens that only we can make: where the next page begins, bound to the question that it continues.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use events::ClientId;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

use crate::problem::Problem;

const MAC_BYTES: usize = 16;
/// Longer than the vector of every client that a desk may have.
const CURSOR_MAX: usize = 64 * 1_024;

/// Signs cursors and opens them again.
#[derive(Clone)]
pub struct Cursors {
    key: [u8; 32],
}

impl std::fmt::Debug for Cursors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cursors(..)")
    }
}

impl Cursors {
    /// Keyed by the deployment's secret, so that every process understands the others' cursors.
    pub fn new(secret: &SecretString) -> Self {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(b"pipelabs api"), secret.expose_secret().as_bytes())
            .expand(b"cursors", &mut key)
            .expect("32 bytes are within what HKDF gives");
        Self { key }
    }

    /// A place in the answer to a question of a client.
    pub fn sign<T: Serialize>(&self, client: ClientId, question: &str, place: &T) -> String {
        self.sign_bytes(client, question, &serde_json::to_vec(place).expect("a place has a JSON form"))
    }

    /// The same of a place that has a shorter form of its own.
    pub fn sign_bytes(&self, client: ClientId, question: &str, place: &[u8]) -> String {
        let mac = self.mac(client, question, place).finalize().into_bytes();
        BASE64_URL_SAFE_NO_PAD.encode([&mac[..MAC_BYTES], place].concat())
    }

    /// The place that a cursor names.
    pub fn open<T: DeserializeOwned>(&self, client: ClientId, question: &str, cursor: &str) -> Result<T, Problem> {
        serde_json::from_slice(&self.open_bytes(client, question, cursor)?).map_err(|_| bad())
    }

    /// The same of a place that has a shorter form of its own.
    pub fn open_bytes(&self, client: ClientId, question: &str, cursor: &str) -> Result<Vec<u8>, Problem> {
        let bytes = Some(cursor).filter(|cursor| cursor.len() <= CURSOR_MAX);
        let bytes = bytes.and_then(|cursor| BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()).ok_or_else(bad)?;
        let (mac, place) = bytes.split_at_checked(MAC_BYTES).ok_or_else(bad)?;
        self.mac(client, question, place).verify_truncated_left(mac).map_err(|_| bad())?;
        Ok(place.to_vec())
    }

    fn mac(&self, client: ClientId, question: &str, place: &[u8]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length will do");
        mac.chain_update(client.0.as_bytes())
            .chain_update((question.len() as u64).to_be_bytes())
            .chain_update(question)
            .chain_update(place)
    }
}

fn bad() -> Problem {
    Problem::invalid("this cursor belongs to another question: take the one of the page before, unchanged")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors() -> Cursors {
        Cursors::new(&"0123456789-for-tests-only-abcdefgh".into())
    }

    #[test]
    fn a_cursor_opens_for_its_client_and_its_question_alone() {
        let (client, other) = (ClientId::new(), ClientId::new());
        let cursor = cursors().sign(client, "fills?pair=BTC-USDT", &(7_u64, "x"));
        assert_eq!(cursors().open::<(u64, String)>(client, "fills?pair=BTC-USDT", &cursor).unwrap(), (7, "x".into()));
        assert!(cursors().open::<(u64, String)>(other, "fills?pair=BTC-USDT", &cursor).is_err());
        assert!(cursors().open::<(u64, String)>(client, "fills?pair=ETH-USDT", &cursor).is_err());
    }

    #[test]
    fn a_cursor_that_was_touched_opens_nothing() {
        let client = ClientId::new();
        let cursor = cursors().sign(client, "events", &41_u64);
        for at in 0..cursor.len() {
            let mut touched = cursor.clone().into_bytes();
            touched[at] = if touched[at] == b'A' { b'B' } else { b'A' };
            let touched = String::from_utf8(touched).unwrap();
            assert!(cursors().open::<u64>(client, "events", &touched).is_err() || touched == cursor);
        }
        for bad in ["", "x", "AAAA", &"A".repeat(CURSOR_MAX + 1), "ü"] {
            assert!(cursors().open::<u64>(client, "events", bad).is_err(), "{bad:.20}");
        }
    }
}
