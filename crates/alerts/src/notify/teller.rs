//! One client's messages: what its stream tells goes on the board, and what is due goes into the outbox.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use events::{ClientId, Recorded, Time};
use projections::projection::ProjectError;
use sqlx::PgPool;
use store::{ReadError, Streams, read};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::Instant,
};

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
/// A report that nothing is known of so long after somebody asked for it says so.
const REPORT_MAX_US: i64 = 3 * 86_400_000_000;
/// The last minute of a time is told so long after it at most.
const LAST_MINUTE_US: i64 = 120_000_000;
/// Reports that are made at once, in one process: none of them holds up an alert.
static REPORTS: Semaphore = Semaphore::const_new(4);

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
    /// Reports that are being made, and what they say; absent: nobody can tell yet.
    reports: JoinSet<(Message, Option<Lines>)>,
}

type Lines = Vec<(String, String)>;

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
        board.mended();
        let told = outbox::told(db, client).await?;
        let (db, desk, looked) = (db.clone(), desk.clone(), Instant::now());
        let reports = JoinSet::new();
        Ok(Self { client, db, desk, rung, board, told, reached, news: true, looked, forgot: None, reports })
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
        for channel in self.board.mended() {
            outbox::hurry(&self.db, self.client, channel).await?;
            self.rung.notify_one();
        }
        for message in plan::due(&mut self.board, &self.told, now) {
            match message.said {
                Said::Report { .. } => self.make(message, now),
                Said::Alerts { .. } | Said::Test { .. } => self.put(message, now).await?,
            }
        }
        while let Some(made) = self.reports.try_join_next() {
            let (message, lines) = made.unwrap_or_else(|fault| std::panic::resume_unwind(fault.into_panic()));
            self.made(message, lines, now).await?;
        }
        self.forget(now).await
    }

    async fn put(&mut self, message: Message, now: Time) -> Result<(), TellError> {
        let is_new = outbox::put(&self.db, self.client, &message).await?;
        // What somebody asked for may have been put there before this process took over.
        if !is_new && matches!(message.said, Said::Alerts { .. }) {
            return Err(TellError::Overtaken);
        }
        self.told.note_all(&message, now);
        self.rung.notify_one();
        Ok(())
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

    /// Begins to make a report, once its time is wholly told.
    fn make(&mut self, message: Message, now: Time) {
        let Said::Report { of, from, to, .. } = message.said else { return };
        if now < to.plus_micros(LAST_MINUTE_US) {
            return self.again(message);
        }
        let (desk, client) = (self.desk.clone(), self.client);
        self.reports.spawn(async move {
            let _turn = REPORTS.acquire().await.expect("nobody closes it");
            let lines = report::lines(&desk, client, of, from, to).await.unwrap_or_else(|fault: ProjectError| {
                tracing::warn!(client.id = %client, error = %fault, "a report has to wait");
                None
            });
            (message, lines)
        });
    }

    /// Tells a report. One whose read model is behind is asked for again.
    async fn made(&mut self, message: Message, lines: Option<Lines>, now: Time) -> Result<(), TellError> {
        let Said::Report { of, from, to, at, .. } = message.said else { return Ok(()) };
        let stands_still =
            || vec![("Nothing can be told".to_owned(), "the read models stand still: tell the desk".to_owned())];
        match lines.or_else(|| (now > at.plus_micros(REPORT_MAX_US)).then(stands_still)) {
            Some(lines) => self.put(Message { said: Said::Report { of, from, to, at, lines }, ..message }, now).await,
            None => {
                self.again(message);
                Ok(())
            }
        }
    }

    fn again(&mut self, message: Message) {
        if let Said::Report { of: seq, from, to, at, .. } = message.said {
            self.board.asked.push(Asked { channel: message.channel, seq, what: Question::Report { from, to, at } });
        }
    }
}
