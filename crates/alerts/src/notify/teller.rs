//! One client's messages: what its stream tells goes on the board, and what is due goes into the outbox.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use events::{ClientId, Recorded, Time};
use projections::projection::ProjectError;
use sqlx::PgPool;
use store::{ReadError, Streams, read};
use tokio::{sync::Notify, time::Instant};

use super::{
    board::{Asked, Board, Question},
    outbox,
    plan::{self, Message, Said, Told},
    report,
};

/// How often what waits for a time is looked at, while nothing is new.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often what was told long ago is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
/// The aggregates that tell of what people are told.
const KINDS: [&str; 3] = ["channel", "silence", ALERT];
const ALERT: &str = "alert";
/// What of a client's account tells whether the Hummingbot API answers.
const HUMMINGBOT: &str = "hummingbot";
/// A report that nothing is known of after so long says so.
const REPORT_MAX_US: i64 = 3 * 86_400_000_000;

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
    forgot: Option<Instant>,
}

impl Teller {
    /// With all on its board that a client's stream tells up to the end of what is known; before the begin of that, nothing
    /// of alerts is news.
    pub async fn open(
        client: ClientId,
        streams: &Streams,
        (db, desk): (&PgPool, &PgPool),
        rung: Arc<Notify>,
        known: RangeInclusive<u64>,
    ) -> Result<Self, TellError> {
        let (mut events, reached) = (Vec::new(), *known.end());
        for kind in KINDS {
            let stretch = if kind == ALERT { known.clone() } else { 1..=reached };
            events.extend(streams.all_of_kind(client, kind, stretch).await?);
        }
        let of_hummingbot = read::told_of(db, client, "account", Some(HUMMINGBOT.to_owned())).await?;
        events.extend(of_hummingbot.into_iter().filter(|event| event.seq <= reached));
        events.sort_by_key(|event| event.seq);
        let mut board = Board::default();
        events.iter().for_each(|event| board.hear(event));
        let told = outbox::told(db, client).await?;
        let (db, desk, looked) = (db.clone(), desk.clone(), Instant::now());
        Ok(Self { client, db, desk, rung, board, told, reached, news: true, looked, forgot: None })
    }

    /// Takes an event in that follows.
    pub fn hear(&mut self, event: &Recorded) {
        if event.seq > self.reached {
            self.reached = event.seq;
            self.news |= KINDS.contains(&event.event.aggregate_type());
            self.board.hear(event);
        }
    }

    /// From which event on alerts tell what somebody may still have to hear of.
    pub fn news_from(&self) -> u64 {
        self.board.news_from().unwrap_or(self.reached + 1)
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
        self.forget(now).await
    }

    /// Forgets what was told of what is over.
    async fn forget(&mut self, now: Time) -> Result<(), TellError> {
        self.told.forget(&self.board);
        if self.forgot.is_none_or(|forgot| forgot.elapsed() >= FORGET_EVERY) {
            outbox::forget(&self.db, self.client, &self.board, now).await?;
            self.forgot = Some(Instant::now());
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
        if Time::now() > to.plus_micros(REPORT_MAX_US) {
            let lines =
                vec![("Nothing can be told".to_owned(), "the read models stand still: tell the desk".to_owned())];
            return Some(Message { channel, said: Said::Report { of: seq, from, to, lines } });
        }
        self.board.asked.push(Asked { channel, seq, what: Question::Report { from, to } });
        None
    }
}
