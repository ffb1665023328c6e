//! One client's messages: what its stream tells goes on the board, and what is due goes into the outbox.

use std::{sync::Arc, time::Duration};

use events::{ClientId, Recorded, Time};
use projections::projection::ProjectError;
use sqlx::PgPool;
use store::{ReadError, Streams};
use tokio::{sync::Notify, time::Instant};

use super::{
    board::{Asked, Board, Question},
    outbox,
    plan::{self, Message, Said, Told},
    report,
};

/// How often what waits for a time is looked at, while nothing is new.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The aggregates that tell of what people are told.
const KINDS: [&str; 3] = ["channel", "silence", "alert"];

/// Why nobody is told at the moment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TellError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("another process tells people of this client's alerts by now")]
    Overtaken,
    #[error("could not keep what is to be told")]
    Keep(#[from] sqlx::Error),
}

/// Whoever tells of one client's alerts.
#[derive(Debug)]
pub(crate) struct Teller {
    client: ClientId,
    db: PgPool,
    desk: PgPool,
    rung: Arc<Notify>,
    board: Board,
    told: Told,
    /// The last event that is on the board.
    reached: u64,
    news: bool,
    looked: Instant,
}

impl Teller {
    /// With all on its board that a client's stream tells up to there.
    pub async fn open(
        client: ClientId,
        streams: &Streams,
        (db, desk): (&PgPool, &PgPool),
        rung: Arc<Notify>,
        reached: u64,
    ) -> Result<Self, TellError> {
        let mut known = Vec::new();
        for kind in KINDS {
            known.extend(streams.all_of_kind(client, kind, reached).await?);
        }
        known.sort_by_key(|event| event.seq);
        let mut board = Board::default();
        known.iter().for_each(|event| board.hear(event));
        let told = outbox::told(db, client).await?;
        let (db, desk, looked) = (db.clone(), desk.clone(), Instant::now());
        Ok(Self { client, db, desk, rung, board, told, reached, news: true, looked })
    }

    /// Takes an event in that follows.
    pub fn hear(&mut self, event: &Recorded) {
        if event.seq > self.reached {
            self.reached = event.seq;
            self.news |= KINDS.contains(&event.event.aggregate_type());
            self.board.hear(event);
        }
    }

    /// Puts into the outbox what is due.
    pub async fn tell(&mut self) -> Result<(), TellError> {
        if !self.news && self.looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        (self.news, self.looked) = (false, Instant::now());
        let now = Time::now();
        for message in plan::due(&mut self.board, &self.told, now) {
            let Some(message) = self.whole(message).await else { continue };
            let is_new = outbox::put(&self.db, self.client, &message).await?;
            // What somebody asked for may have been put there before this process took over.
            if !is_new && matches!(message.said, Said::Alerts { .. }) {
                return Err(TellError::Overtaken);
            }
            self.told.note_all(&message, now);
            self.rung.notify_one();
        }
        Ok(())
    }

    /// A report with what it says. One whose read model is behind is asked for again.
    async fn whole(&mut self, message: Message) -> Option<Message> {
        let Said::Report { of, from, to, .. } = message.said else { return Some(message) };
        let lines = match report::lines(&self.desk, self.client, of, from, to).await {
            Ok(Some(lines)) => lines,
            Ok(None) => return self.again(message.channel, of, from, to),
            Err(fault) => {
                let fault: &ProjectError = &fault;
                tracing::warn!(client.id = %self.client, error = %fault, "a report has to wait");
                return self.again(message.channel, of, from, to);
            }
        };
        Some(Message { said: Said::Report { of, from, to, lines }, ..message })
    }

    fn again(&mut self, channel: events::ChannelId, seq: u64, from: Time, to: Time) -> Option<Message> {
        self.board.asked.push(Asked { channel, seq, what: Question::Report { from, to } });
        None
    }
}
