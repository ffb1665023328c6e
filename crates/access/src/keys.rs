//! The keys that access tokens are signed with: Ed25519, each following from the deployment's secret and its own name, so
//! that every process has them, and whoever only checks tokens needs nothing secret.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use jsonwebtoken::{DecodingKey, EncodingKey};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::Sha256;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// One key, both halves.
pub(crate) struct Key {
    pub signs: EncodingKey,
    pub verifies: DecodingKey,
    public: [u8; 32],
}

/// What stands before the 32 bytes of a private key in PKCS #8, RFC 8410: version 0, Ed25519, an octet string of one.
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The public half of a key, as RFC 8037 writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PublicKey {
    pub kty: &'static str,
    pub crv: &'static str,
    pub alg: &'static str,
    #[serde(rename = "use")]
    pub usage: &'static str,
    pub kid: &'static str,
    /// 32 bytes in url-safe base64.
    pub x: String,
}

impl Key {
    pub fn derived(secret: &SecretString, kid: &str) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"pipelabs access tokens"), secret.expose_secret().as_bytes())
            .expand(kid.as_bytes(), &mut *seed)
            .expect("32 bytes are within what HKDF gives");
        let key = SigningKey::from_bytes(&seed);
        let public = key.verifying_key().to_bytes();
        let private = Zeroizing::new([&PKCS8[..], &*seed].concat());
        Self { signs: EncodingKey::from_ed_der(&private), verifies: DecodingKey::from_ed_der(&public), public }
    }

    pub fn public(&self, kid: &'static str) -> PublicKey {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.public);
        PublicKey { kty: "OKP", crv: "Ed25519", alg: "EdDSA", usage: "sig", kid, x }
    }
}
