//! A hand's ears: what bots say is written down, and what shows of them while they speak or the broker is away.

use domain::bot::Sight;
use events::{BotId, Time};
use hummingbot::mqtt::{Happened, Heard, Message, Said};
use tokio::{sync::mpsc, time::Instant};
use tracing::warn;

use super::{Hand, PAUSE, unless_passing};
use crate::{
    collect::{self, Told},
    facts::Owner,
    mandate::HandError,
    strays,
};

/// Messages that are written down together at most.
const MESSAGES_AT_ONCE: usize = 500;

impl Hand {
    /// Writes down what was heard. Nothing is dropped: what cannot be written now is written when it can be.
    pub(super) async fn listen(&mut self, first: Heard, heard: &mut mpsc::Receiver<Heard>) -> Result<(), HandError> {
        let (mut messages, mut next): (Vec<Message>, _) = (Vec::new(), Some(first));
        while let Some(what) = next.take() {
            match what {
                Heard::Message(message) => messages.push(*message),
                Heard::Connected { .. } | Heard::Lost { .. } => {
                    self.write_down(std::mem::take(&mut messages)).await?;
                    self.connection(what).await?;
                }
            }
            if messages.len() < MESSAGES_AT_ONCE {
                next = heard.try_recv().ok();
            }
        }
        self.write_down(messages).await
    }

    async fn write_down(&mut self, messages: Vec<Message>) -> Result<(), HandError> {
        if messages.is_empty() {
            return Ok(());
        }
        self.know_speakers(&messages).await?;
        self.note_sights(&messages).await?;
        loop {
            match Told::by(&self.mandate, &self.bots, &messages).keep(&self.mandate).await {
                Ok(()) => break,
                Err(HandError::Overtaken) => return Err(HandError::Overtaken),
                Err(fault) => {
                    warn!(error = &fault as &dyn std::error::Error, "what bots said is not written down yet");
                    tokio::time::sleep(PAUSE).await;
                    self.mandate.holds()?;
                }
            }
        }
        if messages.iter().any(tells_of_a_fill) {
            self.look_soon();
        }
        Ok(())
    }

    /// An instance may speak before the stream has told this hand of it: then the stream is asked.
    async fn know_speakers(&mut self, messages: &[Message]) -> Result<(), HandError> {
        let account = self.mandate.account();
        let strange =
            |hand: &Self| messages.iter().any(|message| collect::speaker(&hand.bots, &account, message).is_none());
        if strange(self) {
            for (id, bot) in &mut self.bots {
                *bot = self.mandate.bot(*id).await?;
            }
        }
        Ok(())
    }

    async fn note_sights(&mut self, messages: &[Message]) -> Result<(), HandError> {
        let account = self.mandate.account();
        let known = |message| Some((collect::speaker(&self.bots, &account, message)?, message));
        let mut said: Vec<(Owner, &Message)> = messages.iter().filter_map(known).collect();
        // Two instances of one bot are two: what one of them says shows nothing of the other.
        said.retain(|(owner, message)| self.bots[&owner.bot].runs_as(message.bot.as_str()));
        let seen = self.sights.hear(&said);
        if messages.iter().any(|message| strays::stray_of(&self.mandate, &self.bots, &message.bot).is_some()) {
            self.sweep_at = self.sweep_at.map(|due| due.min(Instant::now() + PAUSE));
        }
        self.tell(seen).await
    }

    pub(super) async fn tell(&self, seen: Vec<(BotId, Sight)>) -> Result<(), HandError> {
        for (id, sight) in seen {
            unless_passing(self.mandate.saw(id, sight).await)?;
        }
        Ok(())
    }

    /// The broker came or went: while it is away, what bots do is unknown, and afterwards it is asked for.
    pub(super) async fn connection(&mut self, what: Heard) -> Result<(), HandError> {
        let running: Vec<BotId> = self.listening_to().map(|(id, _)| id).collect();
        match what {
            Heard::Connected { at, .. } => {
                self.hears = true;
                self.sights.hears(at);
                self.ask_at.clear();
            }
            Heard::Lost { since, why, .. } => {
                self.hears = false;
                let since = since.unwrap_or_else(Time::now);
                self.sights.deaf(since);
                for id in running {
                    let reason = format!("the broker of the bots is away: {why}");
                    unless_passing(self.mandate.saw(id, Sight::Gap { since, reason }).await)?;
                }
            }
            Heard::Message(_) => {}
        }
        Ok(())
    }
}

fn tells_of_a_fill(message: &Message) -> bool {
    matches!(&message.said, Said::Event(event) if matches!(event.happened, Happened::OrderFilled(_)))
}
