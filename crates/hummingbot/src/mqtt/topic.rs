//! Where a message was published: `hbot/{bot}/{channel}`.
//!
//! The bots' library writes every dot of a topic as a slash. A bot's name therefore never holds a dot, nor does a topic of
//! ours that a bot is to answer on.

use crate::BotName;

/// The first level of every bot's topics.
const NAMESPACE: &str = "hbot";

/// What a bot publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Heartbeat,
    Performance,
    Log,
    Notify,
    Status,
    Events,
}

impl Channel {
    pub(super) const ALL: [Self; 6] =
        [Self::Heartbeat, Self::Performance, Self::Log, Self::Notify, Self::Status, Self::Events];

    /// The last level of its topic.
    const fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "hb",
            Self::Performance => "performance",
            Self::Log => "log",
            Self::Notify => "notify",
            Self::Status => "status_updates",
            Self::Events => "events",
        }
    }

    /// The filter that matches this channel of every bot.
    pub(super) fn of_all_bots(self) -> String {
        format!("{NAMESPACE}/+/{}", self.name())
    }
}

/// The bot and channel of a topic.
pub(super) fn parts(topic: &str) -> Option<(BotName, Channel)> {
    let (bot, channel) = topic.strip_prefix(NAMESPACE)?.strip_prefix('/')?.split_once('/')?;
    let channel = Channel::ALL.into_iter().find(|known| known.name() == channel)?;
    Some((bot.parse().ok()?, channel))
}

/// Where a bot takes a command.
pub(super) fn command(bot: &BotName, command: &str) -> String {
    format!("{NAMESPACE}/{bot}/{command}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_names_its_bot_and_channel() {
        let bot: BotName = "mm-a-20240101-101010".parse().unwrap();
        for channel in Channel::ALL {
            let topic = channel.of_all_bots().replace('+', bot.as_str());
            assert_eq!(parts(&topic), Some((bot.clone(), channel)));
        }
        let names = ["hb", "performance", "log", "notify", "status_updates", "events"];
        assert_eq!(Channel::ALL.map(Channel::of_all_bots), names.map(|name| format!("hbot/+/{name}")));
        for other in ["hbot/a/b/events", "hbot//events", "hbot/a/history", "other/a/hb", "hbot"] {
            assert_eq!(parts(other), None, "{other}");
        }
    }
}
