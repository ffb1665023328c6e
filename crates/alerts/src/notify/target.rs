//! Where a channel leads, bare: what somebody gives, what of it may be shown, and how it is written for the vault.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::guard::{self, Guard, Refused};
use events::channel::Kind;

/// What a URL, a token or an address has at most, in bytes.
const TEXT_MAX: usize = 1_024;

/// What somebody gives.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = ChannelTarget)]
pub enum Given {
    /// Where signed messages are posted: https, and a name or an address of the internet.
    Webhook {
        #[schema(value_type = String, write_only)]
        url: SecretString,
    },
    /// An incoming webhook of Slack, or of what takes the same.
    Slack {
        #[schema(value_type = String, write_only)]
        url: SecretString,
    },
    /// A bot's token, and the chat that it writes to.
    Telegram {
        #[schema(value_type = String, write_only)]
        bot_token: SecretString,
        #[schema(value_type = String, write_only)]
        chat_id: SecretString,
    },
    /// An address.
    Email {
        #[schema(value_type = String, write_only)]
        to: SecretString,
    },
}

/// Why nothing can be told there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("url: {0}")]
    Url(#[from] Refused),
    #[error("bot_token: a token of Telegram is digits, a colon and 30 or more letters, digits, - and _")]
    Token,
    #[error("chat_id: a number, or @ and the name of a channel")]
    Chat,
    #[error("to: this is no address of e-mail")]
    Address,
    #[error("it is longer than {TEXT_MAX} bytes")]
    Long,
}

/// The same, read.
#[derive(Clone)]
pub enum Target {
    Webhook(Url),
    Slack(Url),
    Telegram { token: SecretString, chat: String },
    Email(lettre::Address),
}

/// As it is sealed.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sealed {
    Webhook(String),
    Slack(String),
    Telegram(String, String),
    Email(String),
}

impl Given {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Webhook { .. } => Kind::Webhook,
            Self::Slack { .. } => Kind::Slack,
            Self::Telegram { .. } => Kind::Telegram,
            Self::Email { .. } => Kind::Email,
        }
    }

    /// Refuses what leads nowhere, or where it must not.
    pub fn read(&self, guard: &Guard) -> Result<Target, BadTarget> {
        match self {
            Self::Webhook { url } => Ok(Target::Webhook(read_url(url, guard)?)),
            Self::Slack { url } => Ok(Target::Slack(read_url(url, guard)?)),
            Self::Telegram { bot_token, chat_id } => {
                let (token, chat) = (short(bot_token)?, short(chat_id)?);
                if !is_token(token) {
                    Err(BadTarget::Token)
                } else if !is_chat(chat) {
                    Err(BadTarget::Chat)
                } else {
                    Ok(Target::Telegram { token: token.into(), chat: chat.to_owned() })
                }
            }
            Self::Email { to } => {
                let address: lettre::Address = short(to)?.parse().map_err(|_| BadTarget::Address)?;
                guard::named(address.domain()).map_err(|_| BadTarget::Address)?;
                Ok(Target::Email(address))
            }
        }
    }
}

impl Target {
    /// So much of it as may be seen.
    pub fn shown(&self) -> String {
        match self {
            Self::Webhook(url) | Self::Slack(url) => format!("{}/…", url.origin().ascii_serialization()),
            Self::Telegram { token, .. } => {
                format!("bot {}", token.expose_secret().split(':').next().unwrap_or_default())
            }
            Self::Email(address) => format!("…@{}", address.domain()),
        }
    }

    /// As the vault keeps it.
    pub fn written(&self) -> SecretString {
        let sealed = match self {
            Self::Webhook(url) => Sealed::Webhook(url.to_string()),
            Self::Slack(url) => Sealed::Slack(url.to_string()),
            Self::Telegram { token, chat } => Sealed::Telegram(token.expose_secret().to_owned(), chat.clone()),
            Self::Email(address) => Sealed::Email(address.to_string()),
        };
        serde_json::to_string(&sealed).expect("texts have a JSON form").into()
    }

    /// What the vault kept; absent: it was not written by us.
    pub fn kept(text: &SecretString) -> Option<Self> {
        let url = |text: String| Url::parse(&text).ok();
        match serde_json::from_str(text.expose_secret()).ok()? {
            Sealed::Webhook(text) => url(text).map(Self::Webhook),
            Sealed::Slack(text) => url(text).map(Self::Slack),
            Sealed::Telegram(token, chat) => Some(Self::Telegram { token: token.into(), chat }),
            Sealed::Email(address) => address.parse().ok().map(Self::Email),
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

fn short(text: &SecretString) -> Result<&str, BadTarget> {
    let text = text.expose_secret();
    if text.len() <= TEXT_MAX { Ok(text) } else { Err(BadTarget::Long) }
}

fn read_url(text: &SecretString, guard: &Guard) -> Result<Url, BadTarget> {
    let mut url = Url::parse(short(text)?).map_err(|_| Refused::Form)?;
    // It is not sent, and would only look as if it meant something.
    url.set_fragment(None);
    guard.check(&url)?;
    Ok(url)
}

fn is_token(token: &str) -> bool {
    let secret =
        |text: &str| text.len() >= 30 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    token.split_once(':').is_some_and(|(bot, rest)| is_number(bot) && secret(rest))
}

fn is_chat(chat: &str) -> bool {
    let name = |name: &str| {
        (4..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    is_number(chat.strip_prefix('-').unwrap_or(chat)) || chat.strip_prefix('@').is_some_and(name)
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
