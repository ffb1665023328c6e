//! Tokens that an attacker would bring, over the socket: each is refused, in the same words, so that none tells which part
//! was wrong. The same list is tried on the reader alone in `crates/access/src/tokens/tests.rs`, with every reason.

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use events::{Time, UserId, desk::Role};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::Sha256;
use tests::{Database, token_made_at};

use crate::{edge::Edge, invited::post};

fn encode(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

fn decode(part: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The platform's own key, as only whoever has `SECRET_KEY` can make it: what is signed by it and still refused is refused
/// for what it says.
struct Forger {
    key: ed25519_dalek::SigningKey,
    header: Value,
    claims: Value,
}

impl Forger {
    fn new(database: &Database, good: &str) -> Self {
        let mut seed = [0; 32];
        Hkdf::<Sha256>::new(Some(b"pipelabs access tokens"), database.secret.expose_secret().as_bytes())
            .expand(b"ed25519-1", &mut seed)
            .unwrap();
        let parts: Vec<&str> = good.split('.').collect();
        let key = ed25519_dalek::SigningKey::from_bytes(&seed);
        Self { key, header: decode(parts[0]), claims: decode(parts[1]) }
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        use ed25519_dalek::Signer;
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    fn with_header(&self, name: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[name] = value;
        self.signed(&header, &self.claims)
    }

    fn with_claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.signed(&self.header, &claims)
    }

    fn without(&self, name: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(name).unwrap();
        self.signed(&self.header, &claims)
    }

    /// The public half as the secret of another algorithm: what a reader that lets a token choose would take.
    fn confused(&self) -> String {
        let mut header = self.header.clone();
        header["alg"] = json!("HS256");
        let signed = format!("{}.{}", encode(&header), encode(&self.claims));
        let mac = Hmac::<Sha256>::new_from_slice(self.key.verifying_key().as_bytes()).unwrap();
        let mac = mac.chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac))
    }
}

async fn hostile(edge: &Edge, good: &str) -> Vec<(&'static str, String)> {
    let (database, now) = (&edge.database, Time::now().millis() / 1_000);
    let forger = Forger::new(database, good);
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    let alg = |alg: &str| encode(&json!({"alg": alg, "typ": "at+jwt", "kid": "ed25519-1"}));
    let mut foreign = Forger::new(database, good);
    foreign.key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let another = edge.database.signed_in(Role::ClientOwner, Some(edge.acme.client)).await;
    let own_key = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64_URL_SAFE_NO_PAD.encode(foreign.key.verifying_key().as_bytes())});
    let mut of_another = forger.claims.clone();
    of_another["client_id"] = json!(edge.borealis.client);
    vec![
        ("alg none", format!("{}.{claims}.", alg("none"))),
        ("alg None", format!("{}.{claims}.{signature}", alg("None"))),
        ("HS256 by the public key", forger.confused()),
        ("another algorithm", forger.with_header("alg", json!("RS256"))),
        ("another type", forger.with_header("typ", json!("JWT"))),
        ("kid that climbs", forger.with_header("kid", json!("../../dev/null"))),
        ("kid that asks a database", forger.with_header("kid", json!("x' or '1'='1"))),
        ("kid of nobody", forger.with_header("kid", json!("ed25519-2"))),
        ("kid missing", forger.signed(&json!({"alg": "EdDSA", "typ": "at+jwt"}), &forger.claims)),
        ("a key of its own", foreign.with_header("jwk", own_key)),
        ("an address of its key", foreign.with_header("jku", json!("http://127.0.0.1:1/keys"))),
        ("a certificate's address", forger.with_header("x5u", json!("http://127.0.0.1:1/cert"))),
        ("a critical extension", forger.with_header("crit", json!(["exp"]))),
        ("signed by another", foreign.signed(&foreign.header, &foreign.claims)),
        ("expired", token_made_at(database, Some(edge.acme.client), Time::now().plus_micros(-3_600_000_000))),
        ("no exp", forger.without("exp")),
        ("exp as a text", forger.with_claim("exp", json!((now + 300).to_string()))),
        ("exp far away", forger.with_claim("exp", json!(now + 86_400))),
        ("not before later", forger.with_claim("nbf", json!(now + 300))),
        ("made later", forger.with_claim("iat", json!(now + 300))),
        ("another audience", forger.with_claim("aud", json!("pipelabs:mcp"))),
        ("audiences", forger.with_claim("aud", json!(["pipelabs:api"]))),
        ("no audience", forger.without("aud")),
        ("another issuer", forger.with_claim("iss", json!("https://evil.example"))),
        ("no issuer", forger.without("iss")),
        ("no subject", forger.without("sub")),
        ("no session", forger.without("sid")),
        ("no version", forger.without("perm_ver")),
        ("a role that needs no client", forger.with_claim("role", json!("admin"))),
        ("a claim that nobody knows", forger.with_claim("scope", json!("read"))),
        ("another's client, unsigned", format!("{header}.{}.{signature}", encode(&of_another))),
        ("no signature", format!("{header}.{claims}.")),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{good}.{signature}")),
        ("a refresh token", another.refresh),
        ("garbage", "garbage".to_owned()),
        ("4 KB of letters", "a".repeat(4_097)),
        ("a token of a program that was never made", format!("plp_{}_{}", "0".repeat(32), "0".repeat(64))),
        ("no token of a program", "plp_x_y".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_token_is_refused_in_the_same_words() {
    let edge = Edge::new("api").await;
    let good = edge.database.signed_in(Role::ClientOwner, Some(edge.acme.client)).await;
    let forger = Forger::new(&edge.database, &good.token);
    let same = forger.signed(&forger.header, &forger.claims);
    assert_eq!(edge.served.ask(&same, "/api/bots").await.status, 200, "the forger's hand is as good as ours");
    let (mut tokens, mut bodies) = (hostile(&edge, &good.token).await, BTreeSet::new());
    // Those that were good once.
    let ended = edge.database.signed_in(Role::ClientOwner, Some(edge.acme.client)).await;
    let out = edge.served.request(reqwest::Method::POST, "/api/auth/logout").bearer_auth(&ended.token);
    assert_eq!(out.send().await.unwrap().status(), 204);
    let barred = edge.database.signed_in(Role::Operator, None).await;
    let path = format!("/api/admin/users/{}/bar", barred.session.user.id);
    assert_eq!(post(&edge.served, &edge.admin, &path, &json!({"reason": "left"})).await.status, 204);
    let moved = edge.database.signed_in(Role::Operator, None).await;
    let path = format!("/api/admin/users/{}/role", moved.session.user.id);
    let role = json!({"role": "auditor", "reason": "moved on"});
    assert_eq!(post(&edge.served, &edge.admin, &path, &role).await.status, 204);
    let gone = edge.database.signed_in(Role::ClientOwner, Some(edge.acme.client)).await;
    remove(&edge, gone.session.user.id).await;
    for (what, token) in [
        ("of a session that ended", ended.token),
        ("of a barred user", barred.token),
        ("of a removed user", gone.token),
        ("of an older version", moved.token),
    ] {
        edge.served.until(&token, "/api/bots", 401).await;
        tokens.push((what, token));
    }
    assert!(tokens.len() >= 40, "{}", tokens.len());
    let before = edge.heads().await;
    for (what, token) in &tokens {
        for path in ["/api/bots", "/api/stream", "/api/auth/me"] {
            let answer = edge.served.ask(token, path).await;
            assert_eq!(answer.problem(), (401, "unauthenticated".into()), "{what}: {}", answer.text());
            bodies.insert(answer.text());
        }
        let stop = edge.served.post(token, &edge.acme.path("/stop"), "k", &json!({})).await;
        assert_eq!(stop.problem(), (401, "unauthenticated".into()), "{what}");
        bodies.insert(stop.text());
    }
    assert_eq!(bodies.len(), 1, "an answer tells what is wrong: {bodies:#?}");
    assert_eq!(edge.heads().await, before);
    // A megabyte does not even get in.
    let huge = edge.served.ask(&"a".repeat(1 << 20), "/api/bots").await.status;
    assert!([413, 431].contains(&huge), "{huge}");
}

async fn remove(edge: &Edge, user: UserId) {
    let remove = sqlx::query("delete from auth.users where user_id = $1").bind(user.0);
    remove.execute(&edge.database.superuser()).await.unwrap();
}
