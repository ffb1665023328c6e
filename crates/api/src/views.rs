//! Answers from read models: as ready bytes while nothing moved, always with how far and how old they are.
//!
//! An answer that was given once outlives an outage: it is told again, with its age, and never as zero or nothing.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use events::{ClientId, Time};
use futures::{FutureExt, TryFutureExt, future::BoxFuture};
use moka::{
    future::Cache,
    ops::compute::{CompResult, Op},
};
use projections::{
    checkpoints::{self, Reach},
    projection::ProjectError,
    versions,
};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use store::read;

use crate::{
    input,
    problem::{Code, Problem},
    standing::{Standing, Standings},
};

/// How long a question waits for the read model to have read what it has to know.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// An answer that lags by more is stale.
const STALE_AFTER_US: i64 = 5_000_000;
/// In a read model's place: the stream itself.
pub const STREAM: &str = "stream";
/// Rows and checkpoint belong together.
const SNAPSHOT: &str = "begin isolation level repeatable read, read only";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Bytes of answers that are kept ready.
const KEPT_MAX: u64 = 32 * 1_024 * 1_024;

/// The read models, from a question's side.
#[derive(Clone)]
pub struct Views(Arc<Sources>);

/// Where answers come from.
struct Sources {
    query: PgPool,
    desk: PgPool,
    standings: Standings,
    kept: Cache<(ClientId, String), Kept>,
}

/// What a question says beside what it asks.
#[derive(Debug)]
pub struct Asked {
    /// Path and query, without what does not change the answer.
    question: String,
    /// The answer has to know this event.
    min_seq: Option<u64>,
    /// The caller has the answer with this tag.
    has: Option<HeaderValue>,
}

/// An answer as it is kept.
#[derive(Debug, Clone)]
struct Kept {
    mark: Mark,
    body: Bytes,
    made_at: Time,
}

/// What an answer was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mark {
    /// One client's read model.
    Client { version: i32, reached: u64 },
    /// All clients' read models: a hash of where they stood.
    Desk(u64),
}

/// A question that is being asked.
pub type Answering<'a, T> = BoxFuture<'a, Result<T, ProjectError>>;

/// How old an answer is.
#[derive(Debug, Clone, Copy)]
struct Freshness {
    age_s: u64,
    stale: bool,
    seqs: Option<(u64, u64)>,
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Views").finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize)]
struct MinSeq {
    min_seq: Option<u64>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let has = parts.headers.get(header::IF_NONE_MATCH).cloned();
        let Some(query) = parts.uri.query() else {
            return Ok(Self { question: parts.uri.path().to_owned(), min_seq: None, has });
        };
        let MinSeq { min_seq } = input::read_query(query)?;
        let asked = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "min_seq");
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).finish();
        let question = match query.as_str() {
            "" => parts.uri.path().to_owned(),
            query => format!("{}?{query}", parts.uri.path()),
        };
        Ok(Self { question, min_seq, has })
    }
}

impl Asked {
    /// A question about all clients cannot wait for a number of one.
    fn is_of_desk(&self) -> Result<(), Problem> {
        match self.min_seq {
            Some(_) => Err(Problem::invalid("min_seq is a number of one client's stream: ask about that client")),
            None => Ok(()),
        }
    }

    /// The question that all pages of a list are answers to.
    pub fn without_cursor(&self) -> String {
        let (path, query) = self.question.split_once('?').unwrap_or((&self.question, ""));
        let asked = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "cursor");
        format!("{path}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).finish())
    }
}

impl Views {
    /// Over connections of logins `query` and `admin_query`.
    pub fn new(query: PgPool, desk: PgPool, standings: Standings) -> Self {
        let weight = |(_, question): &(ClientId, String), kept: &Kept| {
            u32::try_from(question.len() + kept.body.len() + 200).unwrap_or(u32::MAX)
        };
        let kept = Cache::builder().max_capacity(KEPT_MAX).weigher(weight).build();
        Self(Arc::new(Sources { query, desk, standings, kept }))
    }

    /// What a client's read model says to a question. `None` from `ask`: there is nothing like that.
    pub async fn answer<T: Serialize + Send>(
        &self,
        asked: Asked,
        client: ClientId,
        model: &'static str,
        ask: impl for<'a> FnOnce(&'a mut PgConnection) -> Answering<'a, Option<T>> + Send,
    ) -> Result<Response, Problem> {
        let standing = self.standing(asked.min_seq, client, model).await?;
        let reach = standing.of(client, model);
        let make = self.make(client, model, ask);
        let kept = self.kept((client, asked.question), &Mark::of(reach), make).await?;
        let freshness = kept.of_client(&standing, reach);
        Ok(kept.response(client, asked.has.as_ref(), &freshness))
    }

    /// The same, where a part of the answer moves without the stream: made anew each time, and without a tag by which
    /// somebody could take it for the one before.
    pub async fn answer_anew<T: Serialize + Send>(
        &self,
        asked: Asked,
        client: ClientId,
        model: &'static str,
        ask: impl for<'a> FnOnce(&'a mut PgConnection) -> Answering<'a, Option<T>> + Send,
    ) -> Result<Response, Problem> {
        let standing = self.standing(asked.min_seq, client, model).await?;
        let (mark, answer) = self.make(client, model, ask).await?;
        let made = Kept::new(mark, &answer);
        let freshness = made.of_client(&standing, standing.of(client, model));
        let mut response = made.response(client, None, &freshness);
        response.headers_mut().remove(header::ETAG);
        Ok(response)
    }

    /// An answer, and what it is made from.
    async fn make<T>(
        &self,
        client: ClientId,
        model: &'static str,
        ask: impl for<'a> FnOnce(&'a mut PgConnection) -> Answering<'a, Option<T>> + Send,
    ) -> Result<(Mark, T), Problem> {
        let mut tx = self.0.query.begin_with(SNAPSHOT).await?;
        read::for_client(&mut tx, client).await?;
        versions::use_live(&mut tx).await?;
        let reach = reach_of(&mut tx, model, client).await?;
        Ok((Mark::of(reach), ask(&mut tx).await?.ok_or_else(Problem::not_found)?))
    }

    /// What a handler has to know of a client's read models before it decides, as they are now.
    pub async fn read<T>(
        &self,
        client: ClientId,
        ask: impl for<'a> FnOnce(&'a mut PgConnection) -> BoxFuture<'a, sqlx::Result<T>> + Send,
    ) -> Result<T, Problem> {
        let mut tx = self.0.query.begin_with(SNAPSHOT).await?;
        read::for_client(&mut tx, client).await?;
        versions::use_live(&mut tx).await?;
        Ok(ask(&mut tx).await?)
    }

    /// What the read models of all clients say to a question of the desk.
    pub async fn answer_desk<T: Serialize + Send + 'static>(
        &self,
        asked: Asked,
        models: &'static [&'static str],
        ask: impl for<'a> FnOnce(&'a mut PgConnection) -> Answering<'a, T> + Send,
    ) -> Result<Response, Problem> {
        self.find_desk(asked, models, |db| ask(db).map_ok(Some).boxed()).await
    }

    /// The same of something that may not be there: `None` from `ask`.
    pub async fn find_desk<T: Serialize + Send>(
        &self,
        asked: Asked,
        models: &'static [&'static str],
        ask: impl for<'a> FnOnce(&'a mut PgConnection) -> Answering<'a, Option<T>> + Send,
    ) -> Result<Response, Problem> {
        asked.is_of_desk()?;
        let standing = self.looked_at().await?;
        let make = async {
            let mut tx = self.0.desk.begin_with(SNAPSHOT).await?;
            versions::use_live(&mut tx).await?;
            let seen = Standing::seen(checkpoints::reaches(&mut *tx).await?);
            Ok((Mark::of_all(&seen, models), ask(&mut tx).await?.ok_or_else(Problem::not_found)?))
        };
        let kept = self.kept((ClientId::DESK, asked.question), &Mark::of_all(&standing, models), make).await?;
        let freshness = kept.of_desk(&standing, models);
        Ok(kept.response(ClientId::DESK, asked.has.as_ref(), &freshness))
    }

    /// What stands in no read model, for the desk: looked up each time, and so as old as the answer itself.
    pub async fn answer_now<T: Serialize>(
        &self,
        asked: &Asked,
        ask: impl AsyncFnOnce(&PgPool) -> sqlx::Result<T>,
    ) -> Result<Response, Problem> {
        asked.is_of_desk()?;
        let body = ask(&self.0.desk).await?;
        let mut response = axum::Json(body).into_response();
        Freshness { age_s: 0, stale: false, seqs: None }.tell(response.headers_mut());
        Ok(response)
    }

    /// Where everything stands once the read model knows event `min_seq`.
    async fn standing(&self, min_seq: Option<u64>, client: ClientId, model: &str) -> Result<Arc<Standing>, Problem> {
        let standing = self.looked_at().await?;
        let Some(min_seq) = min_seq.filter(|seq| *seq > standing.of(client, model).reached) else {
            return Ok(standing);
        };
        // What was looked at may be older than the event.
        let head = self.read(client, |db| read::head(db, client).boxed()).await?;
        if min_seq > head {
            return Err(Problem::invalid(format!("min_seq is {min_seq}, but the stream ends with event {head}")));
        }
        let mut standings = self.0.standings.clone();
        let reached = standings.when(|standing| {
            let reach = standing.of(client, model);
            reach.reached >= min_seq || reach.parked
        });
        let standing = tokio::time::timeout(WAIT_MAX, reached).await.unwrap_or(standing);
        match standing.of(client, model) {
            reach if reach.reached >= min_seq => Ok(standing),
            reach => Err(not_reached(model, reach, min_seq)),
        }
    }

    /// Where everything stood when it was looked at last.
    async fn looked_at(&self) -> Result<Arc<Standing>, Problem> {
        let mut standings = self.0.standings.clone();
        let looked = standings.when(|standing| standing.looked_at.is_some());
        tokio::time::timeout(WAIT_MAX, looked).await.map_err(|_| Problem::unavailable())
    }

    /// The answer that is kept, if nothing moved since, or a new one. Of many who ask at once one makes it.
    async fn kept<T: Serialize + Send>(
        &self,
        key: (ClientId, String),
        wanted: &Mark,
        make: impl Future<Output = Result<(Mark, T), Problem>> + Send,
    ) -> Result<Kept, Problem> {
        if let Some(kept) = self.0.kept.get(&key).await.filter(|kept| kept.mark.serves(wanted)) {
            return Ok(kept);
        }
        let outcome = self.0.kept.entry(key).and_try_compute_with(async |kept| {
            match (kept.map(|kept| kept.into_value()), make) {
                (Some(kept), _) if kept.mark.serves(wanted) => Ok(Op::Nop),
                (kept, make) => match (kept, make.await) {
                    (_, Ok((mark, answer))) => Ok(Op::Put(Kept::new(mark, &answer))),
                    // An old answer that says how old it is helps more than none.
                    (Some(_), Err(problem)) if problem.passes() => Ok(Op::Nop),
                    (_, Err(problem)) => Err(problem),
                },
            }
        });
        match outcome.await? {
            CompResult::Inserted(kept) | CompResult::ReplacedWith(kept) | CompResult::Unchanged(kept) => {
                Ok(kept.into_value())
            }
            CompResult::StillNone(_) | CompResult::Removed(_) => Err(Problem::unavailable()),
        }
    }
}

async fn reach_of(db: &mut PgConnection, model: &str, client: ClientId) -> sqlx::Result<Reach> {
    match model {
        STREAM => read::head(db, client).await.map(Reach::of_stream),
        model => checkpoints::reach(db, model, client).await,
    }
}

fn not_reached(model: &str, reach: Reach, min_seq: u64) -> Problem {
    let detail = match reach.parked {
        true => format!("{model} stopped after event {} and waits for an operator", reach.reached),
        false => format!("{model} has reached event {} and not yet {min_seq}: ask again", reach.reached),
    };
    Problem::new(Code::NotReachedYet, detail).retry_after(Duration::from_secs(1))
}

impl Mark {
    fn of(reach: Reach) -> Self {
        Self::Client { version: reach.version, reached: reach.reached }
    }

    fn of_all(standing: &Standing, models: &[&str]) -> Self {
        let mut all: Vec<_> = models
            .iter()
            .flat_map(|model| standing.of_all(model).map(move |(client, reach)| (model, client, reach)))
            .map(|(model, client, reach)| (*model, client, reach.version, reach.reached, reach.parked))
            .collect();
        all.sort_unstable();
        let mut hasher = std::hash::DefaultHasher::new();
        all.hash(&mut hasher);
        Self::Desk(hasher.finish())
    }

    /// Whether an answer with this mark is as new as the one that is wanted.
    fn serves(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Client { version, reached }, Self::Client { version: live, reached: known }) => {
                version == live && reached >= known
            }
            (Self::Desk(was), Self::Desk(is)) => was == is,
            (Self::Client { .. }, Self::Desk(_)) | (Self::Desk(_), Self::Client { .. }) => false,
        }
    }

    /// Another build may write the same facts otherwise. Two clients' streams may have come equally far: who logs in after
    /// another, in one browser, is not told that the other's answer is still good.
    fn tag(&self, client: ClientId) -> String {
        match self {
            Self::Client { version, reached } => {
                format!("\"{}-{version}-{reached}-{:x}\"", store::BUILD, client.0.as_u64_pair().1)
            }
            Self::Desk(hash) => format!("\"{}-{hash:x}\"", store::BUILD),
        }
    }
}

impl Kept {
    fn new<T: Serialize + Send>(mark: Mark, answer: &T) -> Self {
        let body = serde_json::to_vec(answer).expect("an answer of ours has a JSON form").into();
        Self { mark, body, made_at: Time::now() }
    }

    fn of_client(&self, standing: &Standing, reach: Reach) -> Freshness {
        let Mark::Client { reached, .. } = self.mark else { return self.of_desk(standing, &[]) };
        let since = match reached < reach.reached {
            true => Some(self.made_at),
            false => reach.behind_since.filter(|_| reached < reach.head),
        };
        Freshness::of(standing, since, reach.parked, Some((reached, reach.head.max(reached))))
    }

    fn of_desk(&self, standing: &Standing, models: &[&str]) -> Freshness {
        let all = || models.iter().flat_map(|model| standing.of_all(model).map(|(_, reach)| reach));
        let old = !self.mark.serves(&Mark::of_all(standing, models));
        let since = all().filter_map(|reach| reach.behind_since).chain(old.then_some(self.made_at)).min();
        Freshness::of(standing, since, all().any(|reach| reach.parked), None)
    }

    fn response(self, client: ClientId, has: Option<&HeaderValue>, freshness: &Freshness) -> Response {
        let tag = self.mark.tag(client);
        let known = has.and_then(|has| has.to_str().ok()).is_some_and(|has| {
            has.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
        });
        let mut response = match known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => ([(header::CONTENT_TYPE, JSON)], self.body).into_response(),
        };
        freshness.tell(response.headers_mut());
        response.headers_mut().insert(header::ETAG, HeaderValue::from_str(&tag).expect("a tag is ASCII"));
        response
    }
}

impl Freshness {
    /// `since`: when something was recorded that the answer does not know.
    fn of(standing: &Standing, since: Option<Time>, parked: bool, seqs: Option<(u64, u64)>) -> Self {
        let known_at = since.into_iter().chain(standing.looked_at).min().unwrap_or(Time::EPOCH);
        let age_us = Time::now().micros().saturating_sub(known_at.micros()).max(0);
        Self { age_s: age_us.unsigned_abs() / 1_000_000, stale: parked || age_us > STALE_AFTER_US, seqs }
    }

    /// In headers, so that an answer without a body tells it too.
    fn tell(&self, headers: &mut HeaderMap) {
        if let Some((reached, head)) = self.seqs {
            headers.insert("as-of-seq", reached.into());
            headers.insert("head-seq", head.into());
        }
        headers.insert(header::AGE, self.age_s.into());
        headers.insert("stale", HeaderValue::from_static(if self.stale { "true" } else { "false" }));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("authorization, cookie"));
    }
}
