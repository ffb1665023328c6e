//! A NATS of our own from nothing: every key, and what a server has to be told.

use events::Time;
use nkeys::{KeyPair, KeyPairType};
use secrecy::{ExposeSecret, SecretString};

use super::{claims, keys};

/// What the relay's inboxes begin with, in each of its two accounts.
pub(crate) const RELAY_INBOX: &str = "_INBOX_relay";
pub(crate) const SYSTEM_INBOX: &str = "_INBOX_system";

/// All that the relay does in our account: publish, make streams and consumers, look at them. It removes no stream and no
/// message.
const RELAY_PUBLISHES: &[&str] = &[
    "pipelabs.>",
    "pipelabs_heads.*",
    "pipelabs_beats.alerts",
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.CREATE.*",
    "$JS.API.STREAM.UPDATE.*",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.CONSUMER.INFO.*.*",
    "$JS.API.CONSUMER.CREATE.>",
    "$JS.API.CONSUMER.DELETE.*.*",
];
/// And in the system account.
const SYSTEM_PUBLISHES: &[&str] = &["$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP"];

/// Everything that was made. Nothing of it was kept.
#[derive(Debug)]
pub struct Made {
    /// Keys that no process needs, by the name of a file.
    pub offline: [(&'static str, SecretString); 3],
    /// What a server's configuration has to include.
    pub server: String,
    /// The keys of role relay.
    pub relay: SecretString,
    /// The keys of role api.
    pub api: SecretString,
}

/// A seed that is none, or none of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no seed of an account")]
pub struct BadSeed;

/// Makes every key anew. Servers will keep clients' accounts in `accounts_dir`.
pub fn bootstrap(accounts_dir: &str, at: Time) -> Made {
    let (operator, clients) = (KeyPair::new_operator(), KeyPair::new_operator());
    let [system, pipelabs, exports] = [(); 3].map(|()| KeyPair::new_account());
    let (system_id, pipelabs_id) = (system.public_key(), pipelabs.public_key());
    let accounts: [u8; 32] = rand::random();
    let relay = login(&pipelabs, "relay", RELAY_PUBLISHES, RELAY_INBOX, at);
    let teller = login(&system, "relay", SYSTEM_PUBLISHES, SYSTEM_INBOX, at);
    let accounts = [(keys::ACCOUNTS, hex::encode(accounts))];
    let of_relay =
        [(keys::CLIENTS, seed(&clients)), (keys::PIPELABS, pipelabs_id.clone()), (keys::EXPORTS, seed(&exports))];
    let logins = [keys::RELAY.into_iter().zip(relay), keys::SYSTEM.into_iter().zip(teller)].into_iter().flatten();
    let told = [
        claims::operator(&operator, &clients.public_key(), &system_id, at),
        claims::system_account(&operator, &system_id, at),
        claims::pipelabs_account(&operator, &pipelabs_id, &exports.public_key(), at),
    ];
    Made {
        server: server(&told, &[&system_id, &pipelabs_id], accounts_dir),
        api: text(accounts.iter().cloned()),
        relay: text(accounts.into_iter().chain(of_relay).chain(logins)),
        offline: [("operator.nk", &operator), ("pipelabs.nk", &pipelabs), ("system.nk", &system)]
            .map(|(file, key)| (file, seed(key).into())),
    }
}

/// Credentials of a person who may do anything in our own account until then, by its key, which is kept offline.
pub fn admin(pipelabs_seed: &SecretString, at: Time, until: Time) -> Result<SecretString, BadSeed> {
    let account = KeyPair::from_seed(pipelabs_seed.expose_secret().trim()).map_err(|_| BadSeed)?;
    if account.key_pair_type() != KeyPairType::Account {
        return Err(BadSeed);
    }
    let user = KeyPair::new_user();
    let jwt = claims::user_of_ours(&account, (&user.public_key(), "admin"), &[">"], &[">"], at, Some(until));
    Ok(super::issue::creds(&jwt, &user))
}

/// A user of ours who counts until its account's key is another.
fn login(account: &KeyPair, name: &str, publishes: &[&str], inbox: &str, at: Time) -> [String; 2] {
    let user = KeyPair::new_user();
    let hears = format!("{inbox}.>");
    let jwt = claims::user_of_ours(account, (&user.public_key(), name), publishes, &[&hears], at, None);
    [jwt, seed(&user)]
}

fn seed(key: &KeyPair) -> String {
    key.seed().expect("a key that was just made has a seed")
}

fn text(pairs: impl Iterator<Item = (&'static str, String)>) -> SecretString {
    pairs.map(|(name, value)| format!("{name}={value}\n")).collect::<String>().into()
}

/// The part of a server's configuration that says whom it trusts.
fn server([operator, system, pipelabs]: &[String; 3], [system_id, pipelabs_id]: &[&str; 2], dir: &str) -> String {
    // JSON is valid in this format, and escapes whatever a path may hold.
    let dir = serde_json::Value::from(dir);
    format!(
        "# Whom this server trusts. Written by `pipelabs nats bootstrap`; no secret, but whoever changes it owns the server.\n\
         operator: {operator}\n\
         system_account: {system_id}\n\
         resolver {{\n  type: full\n  dir: {dir}\n  allow_delete: false\n  interval: \"2m\"\n}}\n\
         resolver_preload {{\n  {system_id}: {system}\n  {pipelabs_id}: {pipelabs}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::{super::jwt::tests::read, *};

    #[test]
    fn a_server_is_told_claims_only_and_no_key_leaves_its_place() {
        let made = bootstrap("/data/acc\"ounts", Time::EPOCH);
        assert!(made.server.contains(r#"dir: "/data/acc\"ounts""#), "{}", made.server);
        let offline: Vec<&str> = made.offline.iter().map(|(_, seed)| seed.expose_secret()).collect();
        for text in [&made.server, made.relay.expose_secret(), made.api.expose_secret()] {
            assert!(offline.iter().all(|seed| !text.contains(seed)));
        }
        assert!(!made.server.contains("\nS") && !format!("{made:?}").contains(offline[0]));
    }

    #[test]
    fn the_operator_trusts_the_key_that_signs_clients_and_is_needed_no_more() {
        let made = bootstrap("/data", Time::EPOCH);
        let line = |name: &str| made.server.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let operator = read(line("operator: "));
        assert_eq!(operator["iss"], operator["sub"]);
        let clients = made.relay.expose_secret().lines().find_map(|line| line.strip_prefix("clients=")).unwrap();
        let clients = KeyPair::from_seed(clients).unwrap().public_key();
        assert_eq!(operator["nats"]["signing_keys"], serde_json::json!([clients]));
        assert_eq!(operator["nats"]["system_account"], line("system_account: "));
    }

    #[test]
    fn only_an_accounts_seed_makes_an_admin() {
        let until = Time::EPOCH.plus_micros(1);
        assert!(admin(&seed(&KeyPair::new_account()).into(), Time::EPOCH, until).is_ok());
        for bad in ["", "hunter22", &seed(&KeyPair::new_user())] {
            assert_eq!(admin(&bad.into(), Time::EPOCH, until).unwrap_err(), BadSeed);
        }
    }
}
