//! Tokens as an attacker would make them: most are signed with the right key, so that it is the checks that refuse them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use events::{
    ClientId, SessionId, UserId,
    desk::{Factor, Role},
};
use jsonwebtoken::{DecodingKey, EncodingKey, crypto};
use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{TokenRefusal::*, *};
use crate::{keys::Key, users::User};

const NOW_S: i64 = 1_790_000_000;
const USER: UserId = UserId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
const CLIENT: ClientId = ClientId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00c1));
const SESSION: SessionId = SessionId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00d1));
const OTHER: ClientId = ClientId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00c2));

fn at(seconds: i64) -> Time {
    Time::from_millis(seconds * 1_000).unwrap()
}

fn tokens() -> Tokens {
    Tokens::new(&"0123456789-for-tests-only-abcdefgh".into())
}

fn session(role: Role, client: Option<ClientId>) -> Session {
    let user = User { id: USER, role, client, perm_ver: 7 };
    Session { id: SESSION, user, auth_time: at(NOW_S - 60), how: vec![Factor::Password] }
}

fn of_client() -> Session {
    session(Role::ClientOwner, Some(CLIENT))
}

fn of_admin() -> Session {
    session(Role::Admin, None)
}

fn issued(session: &Session) -> String {
    tokens().issue(session, at(NOW_S)).text.expose_secret().to_owned()
}

fn good_header() -> Value {
    json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "ed25519-1"})
}

fn good_claims() -> Value {
    json!({
        "iss": "pipelabs", "aud": "pipelabs:api", "sub": USER, "client_id": CLIENT, "role": "client_owner",
        "perm_ver": 7, "sid": SESSION, "auth_time": NOW_S - 60, "amr": ["pwd"],
        "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 600, "jti": Uuid::from_u128(7),
    })
}

/// With one member set to another value, or left out.
fn with(mut object: Value, name: &str, value: Option<Value>) -> String {
    let members = object.as_object_mut().unwrap();
    match value {
        Some(value) => drop(members.insert(name.to_owned(), value)),
        None => drop(members.remove(name)),
    }
    object.to_string()
}

fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// Any header and claims, signed as if we had made them.
fn signed(header: &str, claims: &str) -> String {
    let message = message(header, claims);
    let signature = crypto::sign(message.as_bytes(), &tokens().keys[NEWEST].signs, Algorithm::EdDSA).unwrap();
    format!("{message}.{signature}")
}

fn check(name: &str, token: &str, expected: TokenRefusal) {
    assert_eq!(tokens().verify(token, at(NOW_S)), Err(expected), "{name}");
}

#[test]
fn a_token_proves_whom_it_was_made_for() {
    for session in [of_client(), of_admin()] {
        let token = tokens().issue(&session, at(NOW_S));
        assert_eq!(token.expires_at, at(NOW_S + 600));
        let caller = tokens().verify(token.text.expose_secret(), at(NOW_S)).unwrap().caller;
        let User { id, role, client, perm_ver } = session.user;
        assert_eq!((caller.user, caller.role, caller.client, caller.perm_ver), (id, role, client, perm_ver));
        assert_eq!((caller.session, caller.auth_time, caller.scopes), (SESSION, at(NOW_S - 60), None));
    }
    let by_hand = signed(&good_header().to_string(), &good_claims().to_string());
    let caller = tokens().verify(&by_hand, at(NOW_S)).expect("what the tables below spoil is good before").caller;
    assert_eq!((caller.user, caller.client), (USER, Some(CLIENT)));
}

#[test]
fn a_token_is_good_for_ten_minutes_and_five_seconds_either_side() {
    let token = issued(&of_client());
    for (after, expected) in [
        (-6, Some(NotYetValid)),
        (-5, None),
        (0, None),
        (604, None),
        (605, Some(Expired)),
        (i64::from(i32::MAX), Some(Expired)),
    ] {
        assert_eq!(tokens().verify(&token, at(NOW_S + after)).err(), expected, "{after} s after it was made");
    }
    for edge in [Time::BEGINNING, Time::END] {
        assert!(tokens().verify(&token, edge).is_err());
        let token = tokens().issue(&Session { auth_time: edge, ..of_client() }, edge);
        assert!(tokens().verify(token.text.expose_secret(), edge).is_ok());
    }
}

#[test]
fn a_header_that_is_not_exactly_ours_is_refused() {
    let jwk = json!({"kty": "oct", "k": "c2VjcmV0"});
    let table = [
        ("alg none", "alg", Some(json!("none")), Malformed),
        ("alg None", "alg", Some(json!("None")), Malformed),
        ("alg empty", "alg", Some(json!("")), Malformed),
        ("no alg", "alg", None, Malformed),
        ("alg of a shared secret", "alg", Some(json!("HS256")), Foreign),
        ("alg of another kind of key", "alg", Some(json!("RS256")), Foreign),
        ("kid traversal", "kid", Some(json!("../../../../dev/null")), Foreign),
        ("kid of SQL", "kid", Some(json!("1' union select 'key' --")), Foreign),
        ("kid unknown", "kid", Some(json!("ed25519-2")), Foreign),
        ("kid empty", "kid", Some(json!("")), Foreign),
        ("kid a number", "kid", Some(json!(1)), Malformed),
        ("kid missing", "kid", None, Foreign),
        ("typ JWT", "typ", Some(json!("JWT")), Foreign),
        ("typ of a refresh token", "typ", Some(json!("rt+jwt")), Foreign),
        ("typ missing", "typ", None, Foreign),
        ("embedded jwk", "jwk", Some(jwk), Foreign),
        ("jku", "jku", Some(json!("https://evil.example/keys")), Foreign),
        ("x5u", "x5u", Some(json!("https://evil.example/cert")), Foreign),
        ("x5c", "x5c", Some(json!(["MIIB"])), Foreign),
        ("crit", "crit", Some(json!(["exp"])), Foreign),
        ("b64", "b64", Some(json!(false)), Foreign),
        ("zip", "zip", Some(json!("DEF")), Foreign),
        ("cty", "cty", Some(json!("JWT")), Foreign),
        ("something unknown", "hello", Some(json!({"a": [1]})), Foreign),
    ];
    for (name, member, value, expected) in table {
        check(name, &signed(&with(good_header(), member, value), &good_claims().to_string()), expected);
    }
    for (name, header) in [
        ("alg twice", r#"{"typ":"at+jwt","alg":"none","alg":"EdDSA","kid":"ed25519-1"}"#),
        ("kid twice", r#"{"typ":"at+jwt","alg":"EdDSA","kid":"2","kid":"ed25519-1"}"#),
        ("not JSON", "typ=at+jwt"),
        ("a list", "[]"),
        ("nothing", ""),
    ] {
        check(name, &signed(header, &good_claims().to_string()), Malformed);
    }
}

#[test]
fn claims_that_are_not_exactly_ours_are_refused() {
    let table = [
        ("expired", "exp", Some(json!(NOW_S - 5)), Expired),
        ("expired before 1970", "exp", Some(json!(i64::MIN)), Expired),
        ("exp missing", "exp", None, Malformed),
        ("exp null", "exp", Some(Value::Null), Malformed),
        ("exp a string", "exp", Some(json!((NOW_S + 600).to_string())), Malformed),
        ("exp a fraction", "exp", Some(serde_json::from_str("1790000600.5").unwrap()), Malformed),
        ("exp beyond our lifetime", "exp", Some(json!(NOW_S + 601)), Malformed),
        ("exp huge", "exp", Some(json!(i64::MAX)), Malformed),
        ("exp huger", "exp", Some(json!(u64::MAX)), Malformed),
        ("exp without end", "exp", Some(serde_json::from_str("1e400").unwrap()), Malformed),
        ("nbf in the future", "nbf", Some(json!(NOW_S + 6)), NotYetValid),
        ("nbf huge", "nbf", Some(json!(i64::MAX)), NotYetValid),
        ("nbf missing", "nbf", None, Malformed),
        ("nbf a string", "nbf", Some(json!("0")), Malformed),
        ("iat in the future", "iat", Some(json!(NOW_S + 6)), NotYetValid),
        ("iat long ago", "iat", Some(json!(i64::MIN)), Malformed),
        ("iat missing", "iat", None, Malformed),
        ("aud foreign", "aud", Some(json!("pipelabs:stream")), Foreign),
        ("aud a list", "aud", Some(json!(["pipelabs:api"])), Malformed),
        ("aud empty", "aud", Some(json!("")), Foreign),
        ("aud missing", "aud", None, Malformed),
        ("iss foreign", "iss", Some(json!("https://evil.example")), Foreign),
        ("iss a list", "iss", Some(json!(["pipelabs"])), Malformed),
        ("iss missing", "iss", None, Malformed),
        ("sub missing", "sub", None, Malformed),
        ("sub no uuid", "sub", Some(json!("admin")), Malformed),
        ("sub a number", "sub", Some(json!(1)), Malformed),
        ("jti missing", "jti", None, Malformed),
        ("role unknown", "role", Some(json!("superuser")), Malformed),
        ("role in capitals", "role", Some(json!("Admin")), Malformed),
        ("role a list", "role", Some(json!(["admin", "client"])), Malformed),
        ("role missing", "role", None, Malformed),
        ("admin of a client", "role", Some(json!("admin")), Malformed),
        ("client of none", "client_id", None, Malformed),
        ("client null", "client_id", Some(Value::Null), Malformed),
        ("client of the desk", "client_id", Some(json!(ClientId::DESK)), Malformed),
        ("client no uuid", "client_id", Some(json!("*")), Malformed),
        ("clients in a list", "client_id", Some(json!([CLIENT, OTHER])), Malformed),
        ("an auditor of a client", "role", Some(json!("auditor")), Malformed),
        ("perm_ver missing", "perm_ver", None, Malformed),
        ("perm_ver negative", "perm_ver", Some(json!(-1)), Malformed),
        ("perm_ver a string", "perm_ver", Some(json!("7")), Malformed),
        ("sid missing", "sid", None, Malformed),
        ("sid no uuid", "sid", Some(json!("*")), Malformed),
        ("auth_time missing", "auth_time", None, Malformed),
        ("auth_time in the future", "auth_time", Some(json!(NOW_S + 6)), Malformed),
        ("amr missing", "amr", None, Malformed),
        ("amr of nothing", "amr", Some(json!([])), Malformed),
        ("amr unknown", "amr", Some(json!(["trust"])), Malformed),
        ("amr a text", "amr", Some(json!("pwd")), Malformed),
        ("something unknown", "scope", Some(json!("everything")), Malformed),
    ];
    for (name, claim, value, expected) in table {
        check(name, &signed(&good_header().to_string(), &with(good_claims(), claim, value)), expected);
    }
    let good = good_claims().to_string();
    for claim in ["sub", "client_id", "role", "exp", "aud", "sid", "perm_ver"] {
        let again = format!(r#"{{"{claim}":{},{}"#, good_claims()[claim], &good[1..]);
        check(&format!("{claim} twice"), &signed(&good_header().to_string(), &again), Malformed);
    }
    let deep = "[".repeat(1_000);
    for (name, claims) in [("not JSON", "sub=1"), ("a list", "[]"), ("nothing", ""), ("deep", &deep), ("null", "null")]
    {
        check(name, &signed(&good_header().to_string(), claims), Malformed);
    }
}

#[test]
fn what_another_key_signed_or_none_is_refused() {
    let (header, claims) = (good_header().to_string(), good_claims().to_string());
    let message = message(&header, &claims);
    for secret in ["", "secret", "0123456789-for-tests-only-abcdefgh-", "pipelabs access tokens"] {
        let key = Key::derived(&secret.into(), NEWEST);
        let signature = crypto::sign(message.as_bytes(), &key.signs, Algorithm::EdDSA).unwrap();
        check("signed with another key", &format!("{message}.{signature}"), Foreign);
    }
    let another = Key::derived(&"0123456789-for-tests-only-abcdefgh".into(), "ed25519-2");
    let signature = crypto::sign(message.as_bytes(), &another.signs, Algorithm::EdDSA).unwrap();
    check("signed with the key of another kid", &format!("{message}.{signature}"), Foreign);
    // What everybody has must not be taken for a shared secret.
    let public = &tokens().public_keys()[0];
    for secret in [public.x.as_bytes(), &URL_SAFE_NO_PAD.decode(&public.x).unwrap()] {
        for header in [good_header(), json!({"typ": "at+jwt", "alg": "HS256", "kid": "ed25519-1"})] {
            let message = self::message(&header.to_string(), &claims);
            let key = EncodingKey::from_secret(secret);
            let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
            check("signed with the public key", &format!("{message}.{signature}"), Foreign);
        }
    }
    let elsewhere = Tokens::new(&"another-0123456789-for-tests-only".into());
    check("of another desk", elsewhere.issue(&of_admin(), at(NOW_S)).text.expose_secret(), Foreign);
    check("signature taken away", &format!("{message}."), Foreign);
    check("signature and its dot taken away", &message, Malformed);

    let token = signed(&header, &claims);
    let signature = token.rsplit('.').next().unwrap();
    let others = with(good_claims(), "client_id", Some(json!(OTHER)));
    check("client_id changed", &format!("{}.{signature}", self::message(&header, &others)), Foreign);
    let unsigned = self::message(r#"{"typ":"at+jwt","alg":"none","kid":"ed25519-1"}"#, &claims);
    check("alg none, unsigned", &format!("{unsigned}."), Malformed);
}

#[test]
fn what_is_no_token_is_refused_before_it_costs_anything() {
    let token = issued(&of_client());
    let parts: Vec<&str> = token.split('.').collect();
    let long = format!("{}.{}.{}", parts[0], "A".repeat(1_000_000), parts[2]);
    for (name, text) in [
        ("nothing", ""),
        ("dots", ".."),
        ("many dots", "....."),
        ("one part", parts[0]),
        ("two parts", &format!("{}.{}", parts[0], parts[1])),
        ("four parts", &format!("{token}.{}", parts[2])),
        ("five parts, as if encrypted", &format!("{token}.{}.{}", parts[1], parts[2])),
        ("a scheme before it", &format!("Bearer {token}")),
        ("a space behind it", &format!("{token} ")),
        ("a line's end behind it", &format!("{token}\n")),
        ("padding", &format!("{token}=")),
        ("garbage", "\u{0}\u{1f600}.\u{202e}.%00"),
        ("1 MB of garbage", &"x".repeat(1_000_000)),
        ("1 MB of dots", &".".repeat(1_000_000)),
        ("1 MB of claims", &long),
    ] {
        check(name, text, Malformed);
    }
    let claims = good_claims().to_string();
    let spaced = |spaces| signed(&good_header().to_string(), &format!("{claims}{}", " ".repeat(spaces)));
    assert!(spaced(2_400).len() < LENGTH_MAX && spaced(2_700).len() > LENGTH_MAX);
    for token in (2_400..2_700).map(spaced) {
        assert_eq!(tokens().verify(&token, at(NOW_S)).is_ok(), token.len() <= LENGTH_MAX, "{} bytes", token.len());
    }
}

#[test]
fn others_check_our_tokens_with_what_is_published() {
    let public = tokens().public_keys();
    assert_eq!(public.len(), KIDS.len());
    let key = DecodingKey::from_ed_components(&public[0].x).unwrap();
    let token = issued(&of_client());
    let claims = jsonwebtoken::decode::<Value>(&token, &key, &SIGNATURE_ONLY).unwrap().claims;
    assert_eq!(claims["sub"], json!(USER));
    assert_eq!(jsonwebtoken::decode_header(&token).unwrap().kid.as_deref(), Some(public[0].kid));
    let told = serde_json::to_value(&public[0]).unwrap();
    assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), ["alg", "crv", "kid", "kty", "use", "x"]);
}

#[test]
fn nothing_shows_a_key_or_a_token() {
    let tokens = tokens();
    let token = tokens.issue(&of_client(), at(NOW_S));
    let shown = format!("{tokens:?} {:#?} {token:?} {token:#?}", tokens.clone());
    let body = token.text.expose_secret().split('.').nth(1).unwrap();
    for secret in ["for-tests-only", "eyJ", body] {
        assert!(!shown.contains(secret), "{shown}");
    }
    for refusal in [Malformed, Expired, NotYetValid, Foreign, Revoked] {
        let words = refusal.to_string();
        assert!(words.starts_with("token ") && !words.ends_with('.'), "{words}");
    }
}

/// One change of a text: what stands at a place becomes another, goes, comes twice, or changes places.
fn change(text: &mut Vec<u8>, kind: u8, place: prop::sample::Index, byte: u8) {
    if text.is_empty() {
        return;
    }
    let place = place.index(text.len());
    match kind {
        0 => text[place] = byte,
        1 => drop(text.remove(place)),
        2 => text.insert(place, byte),
        3 => text.truncate(place),
        4 => text[place] ^= 0x20,
        5 => text.rotate_left(place),
        _ => text.swap(place, 0),
    }
}

proptest! {
    #[test]
    fn a_token_that_was_changed_anywhere_proves_nothing(
        changes in prop::collection::vec((0..7_u8, any::<prop::sample::Index>(), "[ -~]"), 1..4),
    ) {
        let token = signed(&good_header().to_string(), &good_claims().to_string());
        let mut text = token.clone().into_bytes();
        for (kind, place, byte) in changes {
            change(&mut text, kind, place, byte.as_bytes()[0]);
        }
        let changed = String::from_utf8(text).unwrap();
        prop_assume!(changed != token);
        prop_assert!(tokens().verify(&changed, at(NOW_S)).is_err(), "{changed}");
    }

    #[test]
    fn parts_of_two_callers_tokens_make_no_third(choice in prop::collection::vec(any::<bool>(), 3)) {
        let (of_client, of_admin) = (issued(&of_client()), issued(&of_admin()));
        let pick = |n: usize| if choice[n] { &of_client } else { &of_admin }.split('.').nth(n).unwrap();
        let mixed = [pick(0), pick(1), pick(2)].join(".");
        // Both have the same header.
        let whole = choice[1] == choice[2];
        prop_assert_eq!(tokens().verify(&mixed, at(NOW_S)).is_ok(), whole);
    }

    #[test]
    fn no_text_at_all_makes_it_panic(text in "\\PC{0,200}", header in "\\PC{0,80}", claims in "\\PC{0,80}") {
        prop_assert!(tokens().verify(&text, at(NOW_S)).is_err());
        prop_assert!(tokens().verify(&signed(&header, &claims), at(NOW_S)).is_err());
        prop_assert!(tokens().verify(&signed(&good_header().to_string(), &claims), at(NOW_S)).is_err());
    }
}
