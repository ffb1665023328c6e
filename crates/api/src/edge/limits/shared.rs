//! Buckets in Redis, for all processes together.
//!
//! A Redis that does not answer at once is away: the process counts by itself then, and a task looks when it is back. No
//! request waits for it longer than [`ANSWER_MAX`], and none but the first ones wait at all.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use events::Time;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, Script, aio::MultiplexedConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Bucket, Level, Verdict,
    quota::{APART, Quota},
};

/// How long an answer is waited for.
const ANSWER_MAX: Duration = Duration::from_millis(100);
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Where Redis is; it may hold a password.
#[derive(Clone)]
pub struct RedisUrl(Client);

/// The buckets there.
pub struct Shared {
    script: Script,
    percent: u32,
    line: Arc<Line>,
}

/// The way there.
struct Line {
    redis: RedisUrl,
    now: Mutex<State>,
    broke: Notify,
}

#[derive(Clone)]
enum State {
    Here(MultiplexedConnection),
    Away { since: Time, why: String },
}

impl FromStr for RedisUrl {
    type Err = String;

    /// Nothing of the text is repeated in what is wrong with it.
    fn from_str(text: &str) -> Result<Self, String> {
        let client =
            Client::open(text).map_err(|_| "it cannot be read: write redis://user:password@host:port".to_owned());
        client.map(Self)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl")
    }
}

impl Shared {
    /// Reached from now on, until `stop`.
    pub fn reach(redis: RedisUrl, percent: u32, stop: CancellationToken) -> Self {
        let now = Mutex::new(State::Away { since: Time::now(), why: "it was not reached yet".to_owned() });
        let line = Arc::new(Line { redis, now, broke: Notify::new() });
        tokio::spawn(Arc::clone(&line).keep(stop));
        Self { script: Script::new(include_str!("gcra.lua")), percent, line }
    }

    /// None while it is away.
    pub async fn take(&self, buckets: &[Bucket]) -> Option<Verdict> {
        let State::Here(mut connection) = self.line.now() else { return None };
        let quotas = buckets.iter().map(|bucket| Quota::of(bucket.class, bucket.party, self.percent));
        let quotas = quotas.collect::<Vec<_>>();
        let mut call = self.script.prepare_invoke();
        for (bucket, quota) in buckets.iter().zip(&quotas) {
            let every_ns = quota.every.as_nanos();
            call.key(format!("pipelabs:limit:{}:{:032x}", quota.name(), bucket.key));
            call.arg(format!("{}.{:03}", every_ns / 1_000, every_ns % 1_000)).arg(quota.burst.get());
        }
        match within(ANSWER_MAX, call.invoke_async::<Vec<u64>>(&mut connection)).await {
            Ok(answer) => verdict(&quotas, &answer),
            Err(why) => {
                self.line.broke(why);
                None
            }
        }
    }

    pub fn state(&self) -> String {
        match self.line.now() {
            State::Here(_) => "limits: counted in Redis, for all processes together".to_owned(),
            State::Away { since, why } => format!(
                "limits: Redis is away since {since} ({why}): this process counts by itself, reads as ever, logins and \
                 commands at one part in {APART}"
            ),
        }
    }
}

/// As [`gcra.lua`] answers. None if it does not.
fn verdict(quotas: &[Quota], answer: &[u64]) -> Option<Verdict> {
    let (wait_us, left) = answer.split_first().filter(|(_, left)| left.len() == quotas.len())?;
    let level = |(quota, left): (&Quota, &u64)| {
        let left = u32::try_from(*left).unwrap_or(u32::MAX);
        // The one that is empty is the one that has to be waited for.
        let wait = if left == 0 { Duration::from_micros(*wait_us) } else { Duration::ZERO };
        Level { quota: *quota, left, wait }
    };
    Some(Verdict::new(quotas.iter().zip(left).map(level).collect()))
}

impl Line {
    fn now(&self) -> State {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It was there and does not answer any more; said once.
    fn broke(&self, why: String) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Here(_) = *now {
            tracing::warn!(why, "Redis does not answer: this process counts requests by itself");
            *now = State::Away { since: Time::now(), why };
            self.broke.notify_one();
        }
    }

    fn found(&self, connection: MultiplexedConnection) {
        tracing::info!("Redis answers: requests are counted there");
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = State::Here(connection);
    }

    async fn keep(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.look().await;
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.broke.notified() => tokio::time::sleep(LOOK_EVERY).await,
                () = stop.cancelled() => {}
            }
        }
    }

    /// Whether it is there; says so where that changed.
    async fn look(&self) {
        match self.now() {
            State::Here(mut connection) => {
                if let Err(why) = within(CONNECT_MAX, redis::cmd("PING").query_async::<()>(&mut connection)).await {
                    self.broke(why);
                }
            }
            State::Away { since, .. } => match self.connect().await {
                Ok(connection) => self.found(connection),
                Err(why) => *self.now.lock().unwrap_or_else(PoisonError::into_inner) = State::Away { since, why },
            },
        }
    }

    /// A connection over which it has answered.
    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_MAX))
            .set_response_timeout(Some(CONNECT_MAX));
        let connecting = self.redis.0.get_multiplexed_async_connection_with_config(&config);
        let mut connection = within(CONNECT_MAX, connecting).await?;
        within(ANSWER_MAX, redis::cmd("PING").query_async::<()>(&mut connection)).await?;
        Ok(connection)
    }
}

/// What it answers in that time, or why it does not, for people.
async fn within<T>(time: Duration, asked: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match tokio::time::timeout(time, asked).await {
        Ok(answer) => answer.map_err(|error: RedisError| error.category().to_owned()),
        Err(_) => Err(format!("no answer within {} ms", time.as_millis())),
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
