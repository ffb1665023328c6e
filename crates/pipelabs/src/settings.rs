//! What the surroundings must say before anything starts; every problem is reported at once.

use std::{fmt, fs, num::NonZeroU64, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use async_nats::ServerAddr;
use clap::Args;
use ed25519_dalek::SigningKey;
use hummingbot::{Hummingbot, Patience, mqtt};
use relay::{
    Access,
    tenancy::keys::{AccountKeys, BadKeys, RelayKeys},
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, Connection, PgPool, postgres::PgConnectOptions};
use store::{Login, Streams};
use url::Url;
use vault::{KeyRing, Vault};

use crate::{
    edge_settings::EdgeSettings,
    notify_settings::{Notify, NotifySettings},
};

/// Settings, each from the environment or a flag.
#[derive(Debug, Args)]
pub struct Settings {
    /// The database, under a user who may create roles: postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    database_url: Option<SecretString>,
    /// 32 characters or more that nobody can guess; every derived password changes with it
    #[arg(long, env = "SECRET_KEY", hide_env_values = true, global = true)]
    secret_key: Option<SecretString>,
    /// Ed25519 seed that signs heads, 64 hex digits
    #[arg(long, env = "AUDIT_SIGNING_KEY", hide_env_values = true, global = true)]
    audit_signing_key: Option<SecretString>,
    /// Fernet keys that clients' secrets are sealed under, newest first, comma separated; for role api and `vault`
    #[arg(long, env = "ENCRYPTION_KEY", hide_env_values = true, global = true)]
    encryption_key: Option<SecretString>,
    /// The message server: nats://host:port; for role relay
    #[arg(long, env = "NATS_URL", hide_env_values = true, global = true)]
    nats_url: Option<SecretString>,
    /// The keys of this process for NATS, as `pipelabs nats bootstrap` wrote them: the file's path, or its text; for roles
    /// relay and api. Left out, NATS has to let everybody in, and there are no subscriptions
    #[arg(long, env = "NATS_KEYS", hide_env_values = true, global = true)]
    nats_keys: Option<SecretString>,
    /// Messages that NATS keeps of each client at most; all, if left out
    #[arg(long, env = "NATS_KEPT_MAX", global = true)]
    nats_kept_max: Option<NonZeroU64>,
    /// The Hummingbot API: http://host:port; for role operator
    #[arg(long, env = "HUMMINGBOT_API_URL", hide_env_values = true, global = true)]
    hummingbot_api_url: Option<String>,
    /// Its one user, who is let into every account
    #[arg(long, env = "HUMMINGBOT_API_USERNAME", hide_env_values = true, global = true)]
    hummingbot_api_username: Option<String>,
    #[arg(long, env = "HUMMINGBOT_API_PASSWORD", hide_env_values = true, global = true)]
    hummingbot_api_password: Option<SecretString>,
    /// The broker that its bots speak on: mqtt://user:password@host:port; for role operator
    #[arg(long, env = "HUMMINGBOT_MQTT_URL", hide_env_values = true, global = true)]
    hummingbot_mqtt_url: Option<SecretString>,
    /// How many seconds Hummingbot may take to carry out a call; all other waiting follows from it
    #[arg(long, env = "HUMMINGBOT_PATIENCE_SECONDS", default_value_t = 90, global = true,
          value_parser = clap::value_parser!(u64).range(2..=600))]
    hummingbot_patience_seconds: u64,
    /// Connections to Postgres of one login at most
    #[arg(long, env = "DATABASE_CONNECTIONS_MAX", default_value_t = CONNECTIONS_MAX, global = true,
          value_parser = clap::value_parser!(u32).range(2..=1_000))]
    database_connections_max: u32,
    #[command(flatten)]
    notify: NotifySettings,
}

/// What not every part needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    pub nats: bool,
    /// To let subscribers into NATS.
    pub subscribers: bool,
    pub vault: bool,
    pub hummingbot: bool,
}

/// Everything that is wrong with the settings.
#[derive(Debug)]
pub struct BadSettings(Vec<String>);

impl fmt::Display for BadSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings will not do:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for BadSettings {}

/// A database and the secret that its logins are derived from.
#[derive(Debug, Clone)]
pub struct Platform {
    pub owner: PgConnectOptions,
    pub secret: SecretString,
    pub signing_key: Option<SigningKey>,
    /// What clients' secrets are sealed under; absent where no part asked for it.
    pub keys: Option<KeyRing>,
    /// Where Hummingbot answers; absent where no part asked for it.
    pub outside: Option<Outside>,
    /// Where NATS answers; absent where no part asked for it.
    pub nats: Option<ServerAddr>,
    /// How the relay comes into NATS.
    pub nats_access: Access,
    /// What clients' accounts on NATS follow from; absent where it has none, or no part asked for it.
    pub nats_accounts: Option<AccountKeys>,
    /// Messages that NATS keeps of each client at most.
    pub nats_kept_max: Option<NonZeroU64>,
    /// How people are told of alerts.
    pub notify: Notify,
    connections_max: u32,
}

/// Where Hummingbot and the broker of its bots answer, and how long they are waited for.
#[derive(Debug, Clone)]
pub struct Outside {
    pub hummingbot: Hummingbot,
    pub broker: mqtt::Settings,
    pub operator: operator::Settings,
}

/// Messages of bots that may wait in this process.
const HEARD_MAX: usize = 10_000;

impl Outside {
    /// What these settings describe. Nothing secret of them is repeated in what is wrong with them.
    pub fn new(
        url: &str,
        user: &str,
        password: &SecretString,
        mqtt_url: &SecretString,
        patience: Duration,
    ) -> Result<Self, String> {
        let waits = Patience { deploy: patience * 2 / 3, ..Patience::default() };
        let hummingbot = Hummingbot::new(url, user, password.clone(), waits)
            .map_err(|bad| format!("HUMMINGBOT_API_URL will not do: {bad}"))?;
        let mut broker: Url = mqtt_url
            .expose_secret()
            .parse()
            .map_err(|_| "HUMMINGBOT_MQTT_URL cannot be read: write mqtt://host:port".to_owned())?;
        if broker.scheme() != "mqtt" {
            return Err("HUMMINGBOT_MQTT_URL does not begin with mqtt://".to_owned());
        }
        let username = Some(broker.username().to_owned()).filter(|name| !name.is_empty());
        let password = broker.password().map(SecretString::from);
        // A URL with a host has room for both.
        let _ = (broker.set_username(""), broker.set_password(None));
        let broker = mqtt::Settings {
            url: broker.as_str().trim_end_matches('/').to_owned(),
            username,
            password,
            answer: patience / 6,
            waiting_max: HEARD_MAX,
        };
        Ok(Self { hummingbot, broker, operator: operator::Settings::for_patience(patience) })
    }
}

impl Settings {
    /// The platform that the settings describe, or all that is wrong with them.
    pub fn platform(&self) -> Result<Platform, BadSettings> {
        self.platform_with(Needs::default())
    }

    /// The same, for parts that need more.
    pub fn platform_with(&self, needs: Needs) -> Result<Platform, BadSettings> {
        let mut problems = Vec::new();
        let owner = self.owner().map_err(|problem| problems.push(problem)).ok();
        let secret = self.secret().map_err(|problem| problems.push(problem)).ok();
        let signing_key = self.signing_key().map_err(|problem| problems.push(problem)).ok();
        let keys = needs.vault.then(|| self.keys()).transpose().map_err(|problem| problems.push(problem)).ok();
        let nats = needs.nats.then(|| self.nats()).transpose().map_err(|problem| problems.push(problem)).ok();
        let nats_keys = self.nats_keys(needs).map_err(|problem| problems.push(problem)).ok();
        let outside = needs.hummingbot.then(|| self.outside()).transpose();
        let outside = outside.map_err(|told: Vec<String>| problems.extend(told)).ok();
        let notify = self.notify.read().map_err(|told| problems.extend(told)).ok();
        match (owner, secret, signing_key, keys, outside.zip(notify), nats.zip(nats_keys)) {
            (
                Some(owner),
                Some(secret),
                Some(signing_key),
                Some(keys),
                Some((outside, notify)),
                Some((nats, (nats_access, nats_accounts))),
            ) => Ok(Platform {
                owner,
                secret,
                signing_key,
                keys,
                outside,
                nats,
                nats_access,
                nats_accounts,
                nats_kept_max: self.nats_kept_max,
                notify,
                connections_max: self.database_connections_max,
            }),
            _ => Err(BadSettings(problems)),
        }
    }

    /// The same, and the edge: what is wrong with either is told at once.
    pub fn platform_and_edge(
        &self,
        needs: Needs,
        edge: &EdgeSettings,
    ) -> Result<(Platform, api::Settings), BadSettings> {
        match (self.platform_with(needs), edge.read()) {
            (Ok(platform), Ok(edge)) => Ok((platform, edge)),
            (Err(bad), Ok(_)) => Err(bad),
            (Ok(_), Err(problems)) => Err(BadSettings(problems)),
            (Err(BadSettings(bad)), Err(problems)) => Err(BadSettings([bad, problems].concat())),
        }
    }

    fn owner(&self) -> Result<PgConnectOptions, String> {
        let hint = "set it to postgres://user:password@host:port/database, or run `eval \"$(pipelabs stack env)\"`";
        let url = self.database_url.as_ref().ok_or_else(|| format!("DATABASE_URL is missing: {hint}"))?;
        // The url holds a password: nothing of it is repeated.
        PgConnectOptions::from_str(url.expose_secret()).map_err(|_| format!("DATABASE_URL cannot be read: {hint}"))
    }

    fn keys(&self) -> Result<KeyRing, String> {
        let hint = "make one with `head -c 32 /dev/urandom | base64 | tr '+/' '-_'`, and keep it: without it nobody reads \
                    what was sealed under it";
        let text = self.encryption_key.as_ref().ok_or_else(|| format!("ENCRYPTION_KEY is missing: {hint}"))?;
        KeyRing::parse(text).map_err(|bad| format!("ENCRYPTION_KEY will not do, {bad}: {hint}"))
    }

    fn nats(&self) -> Result<ServerAddr, String> {
        let hint = "set it to nats://host:port, or run `eval \"$(pipelabs stack env)\"`";
        let url = self.nats_url.as_ref().ok_or_else(|| format!("NATS_URL is missing: {hint}"))?;
        // The url may hold a password: nothing of it is repeated.
        ServerAddr::from_str(url.expose_secret()).map_err(|_| format!("NATS_URL cannot be read: {hint}"))
    }

    /// Those keys of NATS that a part needs.
    fn nats_keys(&self, needs: Needs) -> Result<(Access, Option<AccountKeys>), String> {
        let text = if needs.nats || needs.subscribers { self.nats_keys_text()? } else { None };
        let Some(text) = text else { return Ok((Access::Open, None)) };
        let hint = "take the file that `pipelabs nats bootstrap` wrote for this role";
        let bad = |bad: BadKeys| format!("NATS_KEYS will not do, {bad}: {hint}");
        match needs.nats {
            true => {
                let keys = RelayKeys::read(&text).map_err(bad)?;
                let accounts = needs.subscribers.then(|| keys.accounts());
                Ok((Access::Accounts(Arc::new(keys)), accounts))
            }
            false => Ok((Access::Open, Some(AccountKeys::read(&text).map_err(bad)?))),
        }
    }

    fn nats_keys_text(&self) -> Result<Option<SecretString>, String> {
        let Some(given) = &self.nats_keys else { return Ok(None) };
        if given.expose_secret().contains('=') {
            return Ok(Some(given.clone()));
        }
        // What was meant to be a text may hold a key: nothing of it is repeated.
        let read = fs::read_to_string(given.expose_secret());
        let read =
            read.map_err(|cause| format!("NATS_KEYS is neither a text of keys nor a file that can be read, {cause}"))?;
        Ok(Some(read.into()))
    }

    /// Hummingbot, or all that is wrong with its settings.
    fn outside(&self) -> Result<Outside, Vec<String>> {
        let mut problems = Vec::new();
        let mut given = |name: &str, there: bool| {
            if !there {
                problems.push(format!("{name} is missing: role operator speaks with the Hummingbot API"));
            }
        };
        given("HUMMINGBOT_API_URL", self.hummingbot_api_url.is_some());
        given("HUMMINGBOT_API_USERNAME", self.hummingbot_api_username.is_some());
        given("HUMMINGBOT_API_PASSWORD", self.hummingbot_api_password.is_some());
        given("HUMMINGBOT_MQTT_URL", self.hummingbot_mqtt_url.is_some());
        let (Some(url), Some(user), Some(password), Some(mqtt)) = (
            &self.hummingbot_api_url,
            &self.hummingbot_api_username,
            &self.hummingbot_api_password,
            &self.hummingbot_mqtt_url,
        ) else {
            return Err(problems);
        };
        Outside::new(url, user, password, mqtt, Duration::from_secs(self.hummingbot_patience_seconds))
            .map_err(|problem| vec![problem])
    }

    fn secret(&self) -> Result<SecretString, String> {
        let hint = "make one with `openssl rand -hex 32`";
        let secret = self.secret_key.clone().ok_or_else(|| format!("SECRET_KEY is missing: {hint}"))?;
        let text = secret.expose_secret();
        let lower = text.to_lowercase();
        let guessable =
            ["changeme", "change-me", "change_me", "default", "example", "password", "secret", "your-", "xxxx"];
        let kinds = text.chars().collect::<std::collections::BTreeSet<_>>().len();
        if text.chars().count() < 32 {
            Err(format!("SECRET_KEY is shorter than 32 characters: {hint}"))
        } else if kinds < 8 || guessable.iter().any(|word| lower.contains(word)) {
            Err(format!("SECRET_KEY can be guessed: {hint}"))
        } else {
            Ok(secret)
        }
    }

    /// The key that signs heads; absent where none is set.
    pub fn signing_key(&self) -> Result<Option<SigningKey>, String> {
        let Some(text) = &self.audit_signing_key else { return Ok(None) };
        let hint = "make one with `openssl rand -hex 32`";
        let seed = hex::decode(text.expose_secret()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        match seed {
            Some(seed) if seed.iter().any(|byte| *byte != seed[0]) => Ok(Some(SigningKey::from_bytes(&seed))),
            Some(_) => Err(format!("AUDIT_SIGNING_KEY can be guessed: {hint}")),
            None => Err(format!("AUDIT_SIGNING_KEY is not 64 hex digits: {hint}")),
        }
    }
}

/// How long a first connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Connections of one login, where nothing else is said.
const CONNECTIONS_MAX: u32 = 16;

impl Platform {
    /// A platform whose settings come from elsewhere than the environment.
    pub fn new(owner: PgConnectOptions, secret: SecretString, signing_key: Option<SigningKey>) -> Self {
        Self {
            owner,
            secret,
            signing_key,
            keys: None,
            outside: None,
            nats: None,
            nats_access: Access::Open,
            nats_accounts: None,
            nats_kept_max: None,
            notify: Notify::default(),
            connections_max: CONNECTIONS_MAX,
        }
    }

    /// Whether the database answers and is migrated: told at once and in words, not after a pool has waited.
    pub async fn check(&self) -> anyhow::Result<()> {
        let place = format!("{}:{}", self.owner.get_host(), self.owner.get_port());
        let connect = Login::Writer.options(&self.owner, &self.secret);
        let connected = tokio::time::timeout(CONNECT_MAX, connect.connect()).await;
        let mut db = connected
            .with_context(|| format!("the database at {place} does not answer"))?
            .with_context(|| format!("could not log in to the database at {place}: is it running, was `pipelabs migrate` run, and with this SECRET_KEY?"))?;
        let migrated: bool =
            sqlx::query_scalar("select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = 'es'")
                .fetch_optional(&mut db)
                .await?
                .unwrap_or(false);
        ensure!(migrated, "the database at {place} is empty: run `pipelabs migrate` first");
        Ok(db.close().await?)
    }

    /// Connections of one login.
    pub fn pool(&self, login: Login) -> PgPool {
        login.pool(&self.owner, &self.secret, self.connections_max)
    }

    /// The vault, if the ring opens it.
    pub async fn vault(&self, streams: Streams) -> anyhow::Result<Vault> {
        let keys = self.keys.clone().context("ENCRYPTION_KEY is missing")?;
        Ok(Vault::boot(self.pool(Login::Vault), keys, streams).await?)
    }

    /// The way into the streams.
    pub fn streams(&self) -> Streams {
        Streams::new(self.pool(Login::Writer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(database: &str, secret: &str, signing: &str) -> Settings {
        let some = |text: &str| (!text.is_empty()).then(|| SecretString::from(text));
        Settings {
            database_url: some(database),
            secret_key: some(secret),
            audit_signing_key: some(signing),
            encryption_key: None,
            hummingbot_api_url: None,
            hummingbot_api_username: None,
            hummingbot_api_password: None,
            hummingbot_mqtt_url: None,
            hummingbot_patience_seconds: 90,
            nats_url: None,
            nats_keys: None,
            nats_kept_max: None,
            database_connections_max: 4,
            notify: NotifySettings::default(),
        }
    }

    #[test]
    fn every_problem_is_told_at_once_and_no_value_is_repeated() {
        let bad = settings("postgres://u:hunter22@[bad", "changeme-changeme-changeme-changeme", "abc").platform();
        let told = bad.unwrap_err().to_string();
        assert!(["DATABASE_URL", "SECRET_KEY", "AUDIT_SIGNING_KEY"].iter().all(|name| told.contains(name)), "{told}");
        assert!(!told.contains("hunter22") && !told.contains("changeme-"), "{told}");
    }

    #[test]
    fn nats_is_asked_for_only_where_a_part_needs_it() {
        let good = "0123456789abcdefghijklmnopqrstuv";
        let mut settings = settings("postgres://u@127.0.0.1/d", good, "");
        let nats = Needs { nats: true, ..Needs::default() };
        assert!(settings.platform().is_ok_and(|platform| platform.nats.is_none()));
        let told = settings.platform_with(nats).unwrap_err().to_string();
        assert!(told.contains("NATS_URL is missing"), "{told}");
        settings.nats_url = Some("nats://u:hunter22@[bad".into());
        let told = settings.platform_with(nats).unwrap_err().to_string();
        assert!(told.contains("NATS_URL cannot be read") && !told.contains("hunter22"), "{told}");
        settings.nats_url = Some("nats://127.0.0.1:4222".into());
        assert!(settings.platform_with(nats).is_ok_and(|platform| platform.nats.is_some()));
    }

    #[test]
    fn keys_of_nats_are_read_where_a_part_needs_them_from_a_file_or_as_a_text_and_are_not_repeated() {
        let made = relay::tenancy::bootstrap::bootstrap("/data/accounts", events::Time::EPOCH);
        let mut settings = settings("postgres://u@127.0.0.1/d", "0123456789abcdefghijklmnopqrstuv", "");
        settings.nats_url = Some("nats://127.0.0.1:4222".into());
        let relay = Needs { nats: true, ..Needs::default() };
        let api = Needs { subscribers: true, ..Needs::default() };
        assert!(matches!(settings.platform_with(relay).unwrap().nats_access, Access::Open));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("relay.keys").display().to_string();
        fs::write(&file, made.relay.expose_secret()).unwrap();
        for given in [made.relay.clone(), file.into()] {
            settings.nats_keys = Some(given);
            let platform = settings.platform_with(Needs { subscribers: true, ..relay }).unwrap();
            assert!(matches!(platform.nats_access, Access::Accounts(_)) && platform.nats_accounts.is_some());
            assert!(!format!("{platform:?}").contains("seed"));
        }
        settings.nats_keys = Some(made.api.clone());
        assert!(settings.platform_with(api).unwrap().nats_accounts.is_some());
        let told = settings.platform_with(relay).unwrap_err().to_string();
        assert!(told.contains("NATS_KEYS will not do") && told.contains("exports is missing"), "{told}");
        for (bad, says) in [("hunter22", "nor a file"), ("accounts=hunter22", "accounts cannot be read")] {
            settings.nats_keys = Some(bad.into());
            let told = settings.platform_with(api).unwrap_err().to_string();
            assert!(told.contains(says) && !told.contains("hunter22"), "{told}");
            assert!(settings.platform().is_ok(), "no part needs them");
        }
    }

    #[test]
    fn a_key_ring_is_asked_for_only_where_a_part_opens_the_vault_and_is_not_repeated() {
        let mut settings = settings("postgres://u@127.0.0.1/d", "0123456789abcdefghijklmnopqrstuv", "");
        let vault = Needs { vault: true, ..Needs::default() };
        let told = settings.platform_with(vault).unwrap_err().to_string();
        assert!(told.contains("ENCRYPTION_KEY is missing"), "{told}");
        for bad in ["", "hunter22-hunter22-hunter22-hunter22-hunter22-", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="]
        {
            settings.encryption_key = Some(bad.into());
            let told = settings.platform_with(vault).unwrap_err().to_string();
            assert!(told.contains("ENCRYPTION_KEY will not do") && !told.contains("hunter22"), "{told}");
        }
        assert!(settings.platform().is_ok_and(|platform| platform.keys.is_none()));
        settings.encryption_key = Some("Zm9yLXRlc3RzLW9ubHktbm90LWEtcmVhbC1rZXktMDE=".into());
        assert!(settings.platform_with(vault).is_ok_and(|platform| platform.keys.is_some()));
    }

    #[test]
    fn hummingbot_is_asked_for_only_where_a_part_needs_it_and_its_passwords_are_not_repeated() {
        let good = "0123456789abcdefghijklmnopqrstuv";
        let mut settings = settings("postgres://u@127.0.0.1/d", good, "");
        let needs = Needs { hummingbot: true, ..Needs::default() };
        let told = settings.platform_with(needs).unwrap_err().to_string();
        for name in ["API_URL", "API_USERNAME", "API_PASSWORD", "MQTT_URL"] {
            assert!(told.contains(&format!("HUMMINGBOT_{name} is missing")), "{told}");
        }
        settings.hummingbot_api_url = Some("http://127.0.0.1:8000".into());
        settings.hummingbot_api_username = Some("desk".into());
        settings.hummingbot_api_password = Some("hunter22-not-a-real-one".into());
        settings.hummingbot_mqtt_url = Some("amqp://desk:hunter22@127.0.0.1:1883".into());
        let told = settings.platform_with(needs).unwrap_err().to_string();
        assert!(told.contains("HUMMINGBOT_MQTT_URL") && !told.contains("hunter22"), "{told}");
        settings.hummingbot_mqtt_url = Some("mqtt://desk:hunter22@127.0.0.1:1883".into());
        let platform = settings.platform_with(needs).unwrap();
        assert!(!format!("{platform:?}").contains("hunter22"));
        assert!(settings.platform().is_ok_and(|platform| platform.outside.is_none()));
    }

    #[test]
    fn a_signing_key_may_be_missing_and_the_others_may_not() {
        let good = "0123456789abcdefghijklmnopqrstuv";
        assert!(settings("postgres://u@127.0.0.1/d", good, "").platform().is_ok());
        assert!(settings("", good, "").platform().is_err());
        assert!(settings("postgres://u@127.0.0.1/d", "short", "").platform().is_err());
    }
}
