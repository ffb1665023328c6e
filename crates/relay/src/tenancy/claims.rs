//! What is claimed of whom on NATS: the operator, its system account, our own account, a client's account, users.
//!
//! Each client has an account of its own, because subjects' permissions within one account keep nobody apart: a pull
//! request that names another client's subject as its reply subject has JetStream deliver there. What a client's account
//! may see of ours is imported piece by piece, each with a token for that one subject.

use events::{ClientId, Time, subscription::UserNkey};
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::jwt::{Claim, mint, seconds};
use crate::{
    address::{API_PREFIX, Address},
    message::{heads_subject, stream_name, subjects},
};

/// Connections of one client at a time.
const CONNECTIONS_MAX: u32 = 16;
/// Subscriptions to subjects of one connection, and of all of a client's.
const SUBJECTS_MAX: u32 = 64;
/// The largest message that a subscriber sends: a pull request or an acknowledgement.
const PAYLOAD_MAX: u32 = 64 * 1_024;
/// Nothing is limited.
const UNLIMITED: i32 = -1;

/// The account of ours, and whose tokens let others import from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exporter<'a> {
    pub account: &'a str,
    pub tokens: &'a KeyPair,
}

/// What a client's account has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tenancy {
    /// Whether anybody is let in.
    pub open: bool,
    /// It rises with each change: of two claims about one account the younger counts.
    pub issued_at_s: i64,
    /// Who is let in no more, whatever was issued to them up to then.
    pub revoked: Vec<(UserNkey, i64)>,
}

/// The operator, which nothing stands above. `signing` may sign accounts in its name.
pub(crate) fn operator(operator: &KeyPair, signing: &str, system: &str, at: Time) -> String {
    let nats = json!({"type": "operator", "version": 2, "signing_keys": [signing], "system_account": system});
    let subject = &operator.public_key();
    mint(operator, Claim { subject, name: "pipelabs", issued_at_s: seconds(at), expires_at_s: None, nats })
}

/// The account through which accounts are told to servers.
pub(crate) fn system_account(operator: &KeyPair, account: &str, at: Time) -> String {
    let nats = json!({"type": "account", "version": 2, "limits": unlimited(), "default_permissions": nothing()});
    mint(operator, Claim { subject: account, name: "SYS", issued_at_s: seconds(at), expires_at_s: None, nats })
}

/// Our own account: it has the streams. What `exports` signs lets others import from it, and lets no user do anything.
pub(crate) fn pipelabs_account(operator: &KeyPair, account: &str, exports: &str, at: Time) -> String {
    let mut limits = unlimited();
    // Above what the server has, JetStream would be off for the account, with only a line in its log.
    limits["disk_storage"] = UNLIMITED.into();
    limits["streams"] = UNLIMITED.into();
    limits["consumer"] = UNLIMITED.into();
    let mut template = nothing();
    template["subs"] = 0.into();
    template["payload"] = 0.into();
    let nats = json!({
        "type": "account",
        "version": 2,
        "limits": limits,
        "default_permissions": nothing(),
        "signing_keys": [{"kind": "user_scope", "key": exports, "role": "exports", "template": template}],
        "exports": [
            {"name": "events", "subject": "pipelabs.>", "type": "stream", "token_req": true},
            {"name": "heads", "subject": "pipelabs_heads.*", "type": "stream", "token_req": true},
            {"name": "info", "subject": "$JS.API.CONSUMER.INFO.*.*", "type": "service", "token_req": true},
            {"name": "next", "subject": "$JS.API.CONSUMER.MSG.NEXT.*.*", "type": "service", "token_req": true,
             "response_type": "Stream"},
            {"name": "ack", "subject": "$JS.ACK.>", "type": "service", "token_req": true, "response_type": "Stream"},
        ],
    });
    mint(operator, Claim { subject: account, name: "PIPELABS", issued_at_s: seconds(at), expires_at_s: None, nats })
}

/// A client's account: no JetStream of its own, and of ours what concerns this client.
pub(crate) fn client_account(
    operator: &KeyPair,
    from: Exporter<'_>,
    client: ClientId,
    account: &str,
    tenancy: &Tenancy,
) -> String {
    let imports = if tenancy.open { imports(from, client, account, tenancy.issued_at_s) } else { Vec::new() };
    let revoked = tenancy.revoked.iter().map(|(user, until_s)| (user.as_str().to_owned(), Value::from(*until_s)));
    let nats = json!({
        "type": "account",
        "version": 2,
        "limits": {
            "imports": imports.len(),
            "exports": 0,
            "conn": if tenancy.open { CONNECTIONS_MAX } else { 0 },
            "leaf": 0,
            "subs": SUBJECTS_MAX * CONNECTIONS_MAX,
            "data": UNLIMITED,
            "payload": PAYLOAD_MAX,
            "disallow_bearer": true,
        },
        "default_permissions": nothing(),
        "imports": imports,
        "revocations": Value::Object(revoked.collect()),
    });
    let (name, issued_at_s) = (&client.0.simple().to_string(), tenancy.issued_at_s);
    mint(operator, Claim { subject: account, name, issued_at_s, expires_at_s: None, nats })
}

fn imports(from: Exporter<'_>, client: ClientId, account: &str, issued_at_s: i64) -> Vec<Value> {
    let stream = stream_name(client);
    let api = |call: &str| format!("{API_PREFIX}.{call}.{stream}.*");
    [
        ("events", "stream", subjects(client), None),
        ("heads", "stream", heads_subject(client), None),
        ("info", "service", format!("$JS.API.CONSUMER.INFO.{stream}.*"), Some(api("CONSUMER.INFO"))),
        ("next", "service", format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"), Some(api("CONSUMER.MSG.NEXT"))),
        ("ack", "service", format!("$JS.ACK.{stream}.>"), None),
    ]
    .map(|(name, kind, subject, here)| {
        let token = activation(from, account, (kind, &subject), issued_at_s);
        let mut import =
            json!({"name": name, "type": kind, "subject": subject, "account": from.account, "token": token});
        if let Some(here) = here {
            import["local_subject"] = here.into();
        }
        import
    })
    .into()
}

/// Lets an account import exactly this subject.
fn activation(from: Exporter<'_>, account: &str, (kind, subject): (&str, &str), issued_at_s: i64) -> String {
    let nats =
        json!({"type": "activation", "version": 2, "subject": subject, "kind": kind, "issuer_account": from.account});
    mint(from.tokens, Claim { subject: account, name: subject, issued_at_s, expires_at_s: None, nats })
}

/// A user of a client's account, who may follow by one subscription.
pub(crate) fn subscriber(account: &KeyPair, address: &Address, user: &UserNkey, from: Time, until: Time) -> String {
    let mut nats = allowed(&address.may_publish(), &address.may_hear());
    nats["subs"] = SUBJECTS_MAX.into();
    nats["payload"] = PAYLOAD_MAX.into();
    nats["allowed_connection_types"] = json!(["STANDARD"]);
    let (issued_at_s, expires_at_s) = (seconds(from), Some(seconds(until)));
    mint(account, Claim { subject: user.as_str(), name: &address.consumer, issued_at_s, expires_at_s, nats })
}

/// A user of an account of ours, with exactly these rights.
pub(crate) fn user_of_ours(
    account: &KeyPair,
    (user, name): (&str, &str),
    publish: &[&str],
    hear: &[&str],
    from: Time,
    until: Option<Time>,
) -> String {
    let owned = |subjects: &[&str]| subjects.iter().map(ToString::to_string).collect::<Vec<_>>();
    let nats = allowed(&owned(publish), &owned(hear));
    mint(account, Claim { subject: user, name, issued_at_s: seconds(from), expires_at_s: until.map(seconds), nats })
}

/// A user who may do this. An empty list would allow everything.
fn allowed(publish: &[String], hear: &[String]) -> Value {
    assert!(!publish.is_empty() && !hear.is_empty(), "an empty list of what is allowed allows everything");
    json!({
        "type": "user",
        "version": 2,
        "pub": {"allow": publish},
        "sub": {"allow": hear},
        "subs": UNLIMITED,
        "data": UNLIMITED,
        "payload": UNLIMITED,
    })
}

/// What whoever has no rights of his own may do. Absent lists would allow everything.
fn nothing() -> Value {
    json!({"pub": {"deny": [">"]}, "sub": {"deny": [">"]}})
}

/// Of an account of ours. Leaf nodes would be other people's servers.
fn unlimited() -> Value {
    json!({
        "imports": UNLIMITED,
        "exports": UNLIMITED,
        "wildcards": true,
        "disallow_bearer": true,
        "conn": UNLIMITED,
        "leaf": 0,
        "subs": UNLIMITED,
        "data": UNLIMITED,
        "payload": UNLIMITED,
    })
}

#[cfg(test)]
mod tests {
    use events::{SubscriptionId, Uuid};

    use super::{super::jwt::tests::read, *};

    fn client() -> ClientId {
        ClientId(Uuid::from_u128(7))
    }

    fn nkey(user: &KeyPair) -> UserNkey {
        user.public_key().parse().unwrap()
    }

    #[test]
    fn a_subscriber_may_look_at_fetch_from_and_acknowledge_one_consumer_and_nothing_else() {
        let (account, user) = (KeyPair::new_account(), KeyPair::new_user());
        let address = Address::of(client(), SubscriptionId(Uuid::from_u128(9)));
        let until = Time::EPOCH.plus_micros(60_000_000);
        let claims = read(&subscriber(&account, &address, &nkey(&user), Time::EPOCH, until));
        let (own, consumer) = ("00000000000000000000000000000007", "00000000000000000000000000000009");
        let stream = format!("pipelabs_{own}");
        let publish = json!([
            format!("PLJS.CONSUMER.INFO.{stream}.{consumer}"),
            format!("PLJS.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            format!("$JS.ACK.{stream}.{consumer}.>"),
        ]);
        assert_eq!(claims["nats"]["pub"], json!({"allow": publish}));
        let hear =
            json!([format!("pipelabs.{own}.>"), format!("pipelabs_heads.{own}"), format!("_INBOX_{consumer}.>")]);
        assert_eq!(claims["nats"]["sub"], json!({"allow": hear}));
        assert_eq!((&claims["iat"], &claims["exp"]), (&0.into(), &60.into()));
        assert_eq!((&claims["nats"]["subs"], &claims["nats"]["payload"]), (&64.into(), &65_536.into()));
        assert_eq!((&claims["iss"], &claims["sub"]), (&account.public_key().into(), &user.public_key().into()));
    }

    #[test]
    fn every_import_of_a_client_is_its_own_and_has_a_token_for_exactly_that() {
        let [operator, tokens] = [KeyPair::new_operator(), KeyPair::new_account()];
        let (ours, account) = (KeyPair::new_account().public_key(), KeyPair::new_account().public_key());
        let tenancy = Tenancy { open: true, issued_at_s: 5, revoked: vec![(nkey(&KeyPair::new_user()), 9)] };
        let from = Exporter { account: &ours, tokens: &tokens };
        let claims = read(&client_account(&operator, from, client(), &account, &tenancy));
        let imports = claims["nats"]["imports"].as_array().unwrap();
        assert_eq!(imports.len(), 5);
        for import in imports {
            let subject = import["subject"].as_str().unwrap();
            assert!(subject.contains("00000000000000000000000000000007"), "{subject}");
            let token = read(import["token"].as_str().unwrap());
            assert_eq!((&token["sub"], &token["iss"]), (&account.clone().into(), &tokens.public_key().into()));
            assert_eq!(token["nats"]["subject"], import["subject"]);
            assert_eq!(token["nats"]["kind"], import["type"]);
            assert_eq!(token["nats"]["issuer_account"], ours);
        }
        assert_eq!(claims["nats"]["revocations"], json!({tenancy.revoked[0].0.as_str(): 9}));
        let limits = &claims["nats"]["limits"];
        assert_eq!((&limits["leaf"], &limits["conn"], &limits["disk_storage"]), (&0.into(), &16.into(), &Value::Null));
    }

    #[test]
    fn an_account_that_nobody_shall_use_lets_nobody_in_and_imports_nothing() {
        let [operator, tokens] = [KeyPair::new_operator(), KeyPair::new_account()];
        let from = Exporter { account: "A", tokens: &tokens };
        let tenancy = Tenancy { open: false, issued_at_s: 5, revoked: Vec::new() };
        let claims = read(&client_account(&operator, from, client(), "A", &tenancy));
        assert_eq!((&claims["nats"]["imports"], &claims["nats"]["limits"]["conn"]), (&json!([]), &0.into()));
    }

    #[test]
    fn all_that_our_account_exports_needs_a_token_and_whoever_is_told_no_rights_has_none() {
        let operator = KeyPair::new_operator();
        let claims = read(&pipelabs_account(&operator, "A", "X", Time::EPOCH));
        assert!(claims["nats"]["exports"].as_array().unwrap().iter().all(|export| export["token_req"] == true));
        for account in [&claims, &read(&system_account(&operator, "A", Time::EPOCH))] {
            assert_eq!(account["nats"]["default_permissions"], json!({"pub": {"deny": [">"]}, "sub": {"deny": [">"]}}));
        }
        assert_eq!(claims["nats"]["signing_keys"][0]["template"]["pub"], json!({"deny": [">"]}));
    }
}
