//! What bots say, into the streams: fills at once and exact, orders' lives, complaints. What cannot be attributed is kept
//! aside.

use std::collections::BTreeMap;

use domain::bot::{Bot, Sight};
use events::{AccountName, AggregateRef, BotId, bot::LogLevel, ledger::Fill};
use hummingbot::{
    LogLine,
    mqtt::{Happened, Message, Said},
};
use store::{Append, Draft, Expected};

use crate::{
    facts::{Owner, order_key},
    keep,
    mandate::{HandError, Mandate},
    quarantine::{self, Stray},
};

/// The longest line of a bot's log that is kept, in characters.
const LOG_LINE_MAX: usize = 500;

/// What a batch of messages tells.
#[derive(Debug, Default)]
pub(crate) struct Told<'a> {
    /// Each with the message that told it.
    fills: Vec<(Fill, &'a Message)>,
    orders: Vec<Append>,
    sights: Vec<(BotId, Sight)>,
    strays: Vec<(&'a Message, String)>,
}

/// Whose instance says this.
pub(crate) fn speaker(bots: &BTreeMap<BotId, Bot>, account: &AccountName, message: &Message) -> Option<Owner> {
    bots.iter().find_map(|(id, bot)| Owner::of(*id, bot, message.bot.as_str(), account.clone()))
}

impl<'a> Told<'a> {
    /// Reads messages of one client's instances.
    pub fn by(mandate: &Mandate, bots: &BTreeMap<BotId, Bot>, messages: &'a [Message]) -> Self {
        let mut told = Self::default();
        for message in messages {
            match speaker(bots, &mandate.account(), message) {
                Some(owner) => told.hear(mandate, &owner, message),
                None => told.strays.push((message, "no bot was deployed under this name".to_owned())),
            }
        }
        told
    }

    fn hear(&mut self, mandate: &Mandate, owner: &Owner, message: &'a Message) {
        match &message.said {
            Said::Event(event) => {
                if let Err(reason) = self.happened(mandate, owner, message, &event.happened, event.at) {
                    self.strays.push((message, reason));
                }
            }
            Said::Log(line) => self.sights.extend(complaint(line).map(|sight| (owner.bot, sight))),
            Said::Unreadable { why } => self.strays.push((message, format!("it cannot be read: {why}"))),
            Said::Heartbeat { .. } | Said::Performance(_) | Said::Notify { .. } | Said::Status(_) => {}
        }
    }

    fn happened(
        &mut self,
        mandate: &Mandate,
        owner: &Owner,
        message: &'a Message,
        happened: &Happened,
        at: events::Time,
    ) -> Result<(), String> {
        if let Happened::OrderFilled(fill) = happened {
            self.fills.push((owner.fill(fill, at, &message.raw)?, message));
        }
        if let Some(event) = owner.order(happened, at)? {
            let key = Some(order_key(owner.bot, &event));
            self.orders.push(Append {
                client: mandate.client,
                aggregate: AggregateRef::new("orders", owner.bot),
                expected: Expected::Any,
                events: vec![Draft { event: event.into(), key }],
                cause: mandate.cause(),
            });
        }
        Ok(())
    }

    /// Writes it all down.
    pub async fn keep(self, mandate: &Mandate) -> Result<(), HandError> {
        let Self { fills, orders, sights, mut strays } = self;
        if !fills.is_empty() {
            let (fills, told): (Vec<Fill>, Vec<&Message>) = fills.into_iter().unzip();
            let kept = keep::fills(mandate, &mandate.gate.close().await, fills).await?;
            strays.extend(kept.impossible.into_iter().map(|(place, reason)| (told[place], reason)));
        }
        for outcome in mandate.means.streams.committer().append_all(orders).await {
            match outcome {
                Ok(_) => {}
                Err(store::AppendError::Stale { .. }) => return Err(HandError::Overtaken),
                Err(cause) => return Err(cause.into()),
            }
        }
        for (bot, sight) in sights {
            mandate.saw(bot, sight).await?;
        }
        for (message, reason) in strays {
            let (instance, raw) = (message.bot.as_str(), &message.raw[..]);
            let stray = Stray { client: mandate.client, instance, source: "mqtt", reason, raw };
            quarantine::keep(&mandate.means.db, &mandate.means.streams, stray).await?;
        }
        Ok(())
    }
}

/// A line of the log that somebody should read.
fn complaint(line: &LogLine) -> Option<Sight> {
    let level = match line.level.as_str() {
        "WARNING" => LogLevel::Warning,
        "ERROR" | "CRITICAL" => LogLevel::Error,
        _ => return None,
    };
    Some(Sight::Logged { level, message: line.text.chars().take(LOG_LINE_MAX).collect() })
}
