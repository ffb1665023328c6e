//! What the surroundings may say of how people are told of alerts. All of it may be left out: then there is no e-mail, and
//! messages go to the internet alone.

use std::{net::IpAddr, sync::Arc};

use alerts::notify::{
    Keys, Means, NotOpened, Opened,
    guard::{Guard, System},
    mail::Mailer,
    post::Post,
};
use clap::Args;
use events::{ChannelId, ClientId, SealedId};
use futures::{FutureExt, future::BoxFuture};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use vault::{TargetError, Vault};

/// Settings of roles api and alerts.
#[derive(Debug, Clone, Args)]
pub struct NotifySettings {
    /// The mail server that e-mail goes out by: smtps://user:password@host, or smtp://host:port; none, if left out
    #[arg(long, env = "SMTP_URL", hide_env_values = true, global = true)]
    smtp_url: Option<SecretString>,
    /// From whom e-mail comes: `Pipe Labs <alerts@desk.example>`
    #[arg(long, env = "SMTP_FROM", global = true)]
    smtp_from: Option<String>,
    /// Where Telegram's API for bots answers
    #[arg(long, env = "TELEGRAM_API_URL", default_value = TELEGRAM, global = true)]
    telegram_api_url: String,
    /// Networks of the desk's own that clients' channels may lead into, comma separated; by default none may
    #[arg(long, env = "NOTIFY_TRUSTED_NETWORKS", default_value = "", global = true)]
    notify_trusted_networks: String,
}

/// How people are told.
#[derive(Debug, Clone)]
pub struct Notify {
    pub guard: Guard,
    telegram: Url,
    mailer: Option<Mailer>,
}

/// Where Telegram answers, if nothing else is said.
const TELEGRAM: &str = "https://api.telegram.org";

impl Default for NotifySettings {
    fn default() -> Self {
        let telegram_api_url = TELEGRAM.to_owned();
        Self { smtp_url: None, smtp_from: None, telegram_api_url, notify_trusted_networks: String::new() }
    }
}

impl Default for Notify {
    fn default() -> Self {
        NotifySettings::default().read().expect("nothing is wrong with what nobody said")
    }
}

impl NotifySettings {
    /// What they describe, or all that is wrong with them. Nothing secret of them is repeated.
    pub fn read(&self) -> Result<Notify, Vec<String>> {
        let mut problems = Vec::new();
        let mut networks = Vec::new();
        for text in self.notify_trusted_networks.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let alone = |_| text.parse::<IpAddr>().map(IpNet::from);
            match text.parse::<IpNet>().or_else(alone) {
                Ok(network) => networks.push(network),
                Err(_) => problems.push(format!("NOTIFY_TRUSTED_NETWORKS: {text} is no network: write 10.0.0.0/8")),
            }
        }
        let telegram = self.telegram_api_url.parse::<Url>().ok().filter(Url::has_host);
        if telegram.is_none() {
            problems.push("TELEGRAM_API_URL cannot be read: write https://host".to_owned());
        }
        let mailer = self.mailer().map_err(|problem| problems.push(problem)).ok();
        match (telegram, mailer) {
            (Some(telegram), Some(mailer)) if problems.is_empty() => {
                Ok(Notify { guard: Guard::new(networks), telegram, mailer })
            }
            _ => Err(problems),
        }
    }

    fn mailer(&self) -> Result<Option<Mailer>, String> {
        let url = self.smtp_url.as_ref().map(ExposeSecret::expose_secret).filter(|url| !url.is_empty());
        match (url, self.smtp_from.as_deref()) {
            (None, _) => Ok(None),
            (Some(_), None) => Err("SMTP_FROM is missing: say from whom e-mail comes".to_owned()),
            // What lettre says of a URL may repeat some of it.
            (Some(url), Some(from)) => Mailer::new(url, from).map(Some).map_err(|_| {
                "SMTP_URL or SMTP_FROM cannot be read: write smtps://user:password@host and name@host".to_owned()
            }),
        }
    }
}

impl Notify {
    /// By what means role alerts tells people.
    pub fn means(&self, vault: Vault) -> Means {
        let post = Post::new(self.guard.clone(), System, self.telegram.clone());
        Means { keys: Arc::new(Vaulted(vault)), post, mailer: self.mailer.clone() }
    }
}

/// Targets as the vault keeps them.
struct Vaulted(Vault);

impl Keys for Vaulted {
    fn open(&self, client: ClientId, channel: ChannelId, sealed: SealedId) -> BoxFuture<'_, Result<Opened, NotOpened>> {
        async move {
            let opened = self.0.open_target(client, channel, sealed).await.map_err(|why| match why {
                // Another process may have the key, and the database comes back.
                TargetError::Database(_) | TargetError::Missing(_) => NotOpened::NotNow(why.to_string()),
                TargetError::NotThere | TargetError::Refused(_) => NotOpened::Never(why.to_string()),
            })?;
            Ok(Opened { target: opened.text, signing: opened.signing })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_may_be_left_out_and_every_problem_is_told_without_a_secret() {
        assert!(NotifySettings::default().read().is_ok());
        let bad = NotifySettings {
            smtp_url: Some("gopher://u:hunter22@[bad".into()),
            smtp_from: Some("nobody".into()),
            telegram_api_url: "telegram".into(),
            notify_trusted_networks: "10.0.0.0/40, 127.0.0.1".into(),
        };
        let told = bad.read().unwrap_err();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(!told.join("\n").contains("hunter22"));
    }
}
