//! A claim in NATS' own form of a JWT, signed by a nkey. The same claim always has the same text.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use data_encoding::BASE32_NOPAD;
use events::Time;
use nkeys::KeyPair;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// What is claimed of whom.
#[derive(Debug, Clone)]
pub(crate) struct Claim<'a> {
    /// The public half of the nkey that it is about.
    pub subject: &'a str,
    pub name: &'a str,
    pub issued_at_s: i64,
    /// Absent: it counts until its issuer counts no more.
    pub expires_at_s: Option<i64>,
    /// In NATS' words; its type is part of them.
    pub nats: Value,
}

/// The claim as a text, in the name of whoever signs it.
pub(crate) fn mint(signer: &KeyPair, claim: Claim<'_>) -> String {
    let mut claims = Map::from_iter([
        ("iss".to_owned(), Value::from(signer.public_key())),
        ("sub".to_owned(), claim.subject.into()),
        ("name".to_owned(), claim.name.into()),
        ("iat".to_owned(), claim.issued_at_s.into()),
        ("nats".to_owned(), claim.nats),
    ]);
    claims.extend(claim.expires_at_s.map(|at| ("exp".to_owned(), at.into())));
    // Servers tell two claims about one subject apart by this.
    let id = BASE32_NOPAD.encode(&Sha256::digest(text(&claims)));
    claims.insert("jti".to_owned(), id.into());
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"}).to_string();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(text(&claims)));
    let signature = signer.sign(signed.as_bytes()).expect("whoever signs has the secret half");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// When a claim says that it was issued, whoever signed it; absent: it is none.
pub(crate) fn issued_at_s(jwt: &[u8]) -> Option<i64> {
    let claims = std::str::from_utf8(jwt).ok()?.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims["iat"].as_i64()
}

fn text(claims: &Map<String, Value>) -> String {
    serde_json::to_string(claims).expect("a JSON value always has a text")
}

/// NATS counts whole seconds. Rounded down: nothing counts longer than it was said.
pub(crate) fn seconds(at: Time) -> i64 {
    at.micros().div_euclid(1_000_000)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a text claims, if whoever it names signed it.
    pub(crate) fn read(jwt: &str) -> Value {
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let header: Value = serde_json::from_slice(&bytes(header)).unwrap();
        assert_eq!(header, json!({"typ": "JWT", "alg": "ed25519-nkey"}));
        let claims: Value = serde_json::from_slice(&bytes(claims)).unwrap();
        let issuer = KeyPair::from_public_key(claims["iss"].as_str().unwrap()).unwrap();
        issuer.verify(signed.as_bytes(), &bytes(signature)).unwrap();
        claims
    }

    fn claim(subject: &str, issued_at_s: i64) -> Claim<'_> {
        let nats = json!({"type": "user", "version": 2, "b": 1, "a": 2});
        Claim { subject, name: "x", issued_at_s, expires_at_s: Some(issued_at_s + 60), nats }
    }

    #[test]
    fn a_claim_is_signed_by_whom_it_names_and_has_one_text() {
        let (account, user) = (KeyPair::new_account(), KeyPair::new_user());
        let text = mint(&account, claim(&user.public_key(), 7));
        let read = read(&text);
        assert_eq!(read["iss"], account.public_key());
        assert_eq!((&read["sub"], &read["iat"], &read["exp"]), (&user.public_key().into(), &7.into(), &67.into()));
        assert_eq!(mint(&account, claim(&user.public_key(), 7)), text);
        assert_eq!((issued_at_s(text.as_bytes()), issued_at_s(b""), issued_at_s(b"a.b.c")), (Some(7), None, None));
    }

    #[test]
    fn its_id_is_the_hash_of_all_else_that_it_claims() {
        let account = KeyPair::new_account();
        let mut read = read(&mint(&account, claim("U", 7)));
        let id = read.as_object_mut().unwrap().remove("jti").unwrap();
        let hash = Sha256::digest(read.to_string());
        assert_eq!(id, BASE32_NOPAD.encode(&hash));
        assert_ne!(id, tests::read(&mint(&account, claim("U", 8)))["jti"]);
    }

    #[test]
    fn seconds_are_rounded_down() {
        assert_eq!(seconds(Time::EPOCH.plus_micros(1_999_999)), 1);
        assert_eq!(seconds(Time::EPOCH.plus_micros(-1)), -1);
    }
}
