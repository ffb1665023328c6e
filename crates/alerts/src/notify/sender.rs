//! Sending: takes what is due, opens where it leads, tries once, and records what came of it.
//!
//! What came of a try is kept at once, and recorded when it can be. A message that was sent by somebody who died before he could
//! keep that is sent again, with the same id: the other side knows it by that.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use domain::channel::{Channel, ChannelCommand, Leads};
use events::{
    AggregateRef, ChannelId, ClientId, Event, SealedId, Time,
    alert::{AlertEvent, Delivery},
};
use futures::future::BoxFuture;
use secrecy::SecretString;
use sqlx::PgPool;
use store::{Append, AppendError, Cause, Draft, ExecuteError, Expected, ReadError, Streams};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    circuit::Circuits,
    mail::Mailer,
    outbox::{self, Taken},
    plan::{Said, TRIED_US},
    post::{Letter, Outcome, Post},
    target::Target,
};

/// Messages that are on their way at once.
const AT_ONCE: usize = 32;
const LOOK_EVERY: Duration = Duration::from_secs(1);
const FAULT_PAUSE: Duration = Duration::from_secs(1);
/// How often a message of a channel that rests is looked at.
const RESTING: Duration = Duration::from_secs(30);
/// After each try that failed, until the next; after the last one nothing more is tried.
const RETRIES_S: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// A target as the vault opens it: where it leads, and what is signed by.
#[derive(Debug, Clone)]
pub struct Opened {
    pub target: SecretString,
    pub signing: SecretString,
}

/// Why a target was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOpened {
    /// It may be the next time: that is no fault of the channel's.
    NotNow(String),
    Never(String),
}

/// Whoever opens targets.
pub trait Keys: Send + Sync {
    fn open(&self, client: ClientId, channel: ChannelId, sealed: SealedId) -> BoxFuture<'_, Result<Opened, NotOpened>>;
}

/// By what means people are told.
#[derive(Clone)]
pub struct Means {
    pub keys: Arc<dyn Keys>,
    pub post: Post,
    /// Absent where this desk sends no e-mail.
    pub mailer: Option<Mailer>,
}

/// Whoever sends, in one process.
pub(crate) struct Sender {
    pub db: PgPool,
    pub streams: Streams,
    pub means: Means,
    /// Rung when there is a message more.
    pub rung: Arc<Notify>,
    pub circuits: Circuits,
    pub sending: Sending,
}

/// How many messages of each client are on their way.
#[derive(Debug, Default)]
pub(crate) struct Sending(Mutex<HashMap<ClientId, i64>>);

impl Sending {
    fn now(&self) -> HashMap<ClientId, i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, client: ClientId, by: i64) {
        let mut sending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sending.entry(client).or_default() += by;
        sending.retain(|_, count| *count > 0);
    }
}

/// A message that is on its way, until this is dropped, however that comes.
struct OnItsWay {
    sender: Arc<Sender>,
    client: ClientId,
    _place: OwnedSemaphorePermit,
}

impl OnItsWay {
    fn new(sender: &Arc<Sender>, client: ClientId, place: OwnedSemaphorePermit) -> Self {
        sender.sending.count(client, 1);
        Self { sender: Arc::clone(sender), client, _place: place }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.sender.sending.count(self.client, -1);
    }
}

/// Why nothing was recorded of a try: it is made again.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("could not read what is known of the channel")]
    Read(#[from] ReadError),
    #[error("could not record what came of it")]
    Append(#[from] AppendError),
    #[error("could not record what came of it")]
    Execute(#[from] ExecuteError<domain::channel::ChannelRefusal>),
    #[error("could not keep where it stands")]
    Keep(#[from] sqlx::Error),
}

impl Sender {
    /// Sends until told to stop, and finishes what is on its way.
    pub async fn run(self, stop: CancellationToken) {
        let (this, places, mut sending) = (Arc::new(self), Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        while !stop.is_cancelled() {
            let free = places.available_permits();
            match outbox::take(&this.db, free as i64, &this.sending.now()).await {
                Ok(taken) => {
                    let all = taken.len();
                    for taken in taken {
                        let place = Arc::clone(&places).acquire_owned().await.expect("nobody closes it");
                        let way = OnItsWay::new(&this, taken.client, place);
                        sending.spawn(Arc::clone(&this).send(taken, way));
                    }
                    if all == free && free > 0 {
                        continue;
                    }
                }
                Err(cause) => {
                    warn!(error = %cause, "could not look for messages to people, looking again");
                    tokio::time::sleep(FAULT_PAUSE).await;
                }
            }
            while sending.try_join_next().is_some() {}
            tokio::select! {
                () = this.rung.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                Some(_) = sending.join_next() => {}
                () = stop.cancelled() => {}
            }
        }
        while sending.join_next().await.is_some() {}
    }

    async fn send(self: Arc<Self>, taken: Taken, _way: OnItsWay) {
        let (client, message) = (taken.client, taken.message);
        let outcome = match &taken.came {
            // It was made before, and nobody could record it.
            Some(came) => Ok(Some(came.clone())),
            None => self.try_to_send(&taken).await,
        };
        let recorded = match outcome {
            Ok(Some(outcome)) => self.ended(&taken, outcome).await,
            Ok(None) => Ok(()),
            Err(fault) => {
                // Nothing was sent: it is no try.
                let _ = outbox::put_off(&self.db, &taken, FAULT_PAUSE * 5, false).await;
                Err(fault)
            }
        };
        if let Err(fault) = recorded {
            warn!(client.id = %client, error = &fault as &dyn std::error::Error, "message {message} has to wait");
        }
    }

    /// What came of a try; absent: none was made, and it is settled what becomes of the message.
    async fn try_to_send(&self, taken: &Taken) -> Result<Option<Outcome>, SendError> {
        let (channel, _) = self.streams.load::<Channel>(taken.client, &taken.channel.to_string()).await?;
        if channel.kind().is_none() {
            // Nobody waits for what a removed one was to tell.
            return Ok(outbox::close(&self.db, taken).await.map(|()| None)?);
        }
        let Some(leads) = channel.leads() else {
            // It rests; when it goes on, so does this, unless that is long ago.
            let is_old = Time::now() > taken.made_at.plus_micros(TRIED_US);
            return match is_old {
                true => Ok(outbox::close(&self.db, taken).await.map(|()| None)?),
                false => Ok(outbox::put_off(&self.db, taken, RESTING, false).await.map(|()| None)?),
            };
        };
        let (target, signing) = match self.open(taken, &leads).await {
            Ok(opened) => opened,
            Err(NotOpened::Never(reason)) => return Ok(Some(Outcome::failed(reason))),
            Err(NotOpened::NotNow(reason)) => {
                warn!(client.id = %taken.client, "message {} has to wait: {reason}", taken.message);
                return Ok(outbox::put_off(&self.db, taken, FAULT_PAUSE * 5, false).await.map(|()| None)?);
            }
        };
        // By channel: what one client's leads to is no reason to be silent to another's.
        let endpoint = format!("{}/{}", taken.client, taken.channel);
        if let Err(wait) = self.circuits.may_try(&endpoint, Instant::now()) {
            debug!(client.id = %taken.client, "channel {} is left in peace for {} s", taken.channel, wait.as_secs());
            return Ok(outbox::put_off(&self.db, taken, wait, false).await.map(|()| None)?);
        }
        let outcome = self.post(taken, &target, &signing).await;
        self.circuits.tried(&endpoint, outcome == Outcome::Delivered, Instant::now());
        if let Err(cause) = outbox::came(&self.db, taken, &outcome).await {
            warn!(client.id = %taken.client, error = %cause, "what came of message {} is not kept", taken.message);
        }
        Ok(Some(outcome))
    }

    /// Where it leads, and by what it is signed: by the secret before, too, while that counts.
    async fn open(&self, taken: &Taken, leads: &Leads) -> Result<(Target, Vec<SecretString>), NotOpened> {
        let open = |sealed| self.means.keys.open(taken.client, taken.channel, sealed);
        let Opened { target, signing } = open(leads.sealed).await?;
        let mut keys = vec![signing];
        if let Some((before, _)) = leads.before.filter(|(_, until)| *until > Time::now()) {
            match open(before).await {
                Ok(opened) => keys.push(opened.signing),
                // Whoever has not changed over sees a signature that he does not know.
                Err(NotOpened::Never(_)) => {}
                Err(not_now) => return Err(not_now),
            }
        }
        let nowhere = || NotOpened::Never("what the vault holds leads nowhere".to_owned());
        let target = Target::kept(&target).ok_or_else(nowhere)?;
        Ok((target, keys))
    }

    async fn post(&self, taken: &Taken, target: &Target, signing: &[SecretString]) -> Outcome {
        let Taken { client, message, said, made_at, .. } = taken;
        let letter = Letter { client: *client, message: *message, made_at: *made_at, said };
        match (target, &self.means.mailer) {
            (Target::Email(to), Some(mailer)) => mailer.send(&letter, to).await,
            (Target::Email(_), None) => Outcome::failed("this desk sends no e-mail: SMTP_URL is not set"),
            (_, _) => self.means.post.send(&letter, target, signing).await,
        }
    }

    /// Records what came of a try, and says when the next one is.
    async fn ended(&self, taken: &Taken, outcome: Outcome) -> Result<(), SendError> {
        let gone = outcome == Outcome::Gone;
        let (result, wait) = match outcome {
            Outcome::Delivered => (Delivery::Delivered, None),
            Outcome::Gone => (Delivery::GivenUp { reason: "it answered 410: it is gone for good".to_owned() }, None),
            Outcome::Failed { reason, not_before } => match RETRIES_S.get(taken.attempt.saturating_sub(1) as usize) {
                Some(wait) => (Delivery::Failed { reason }, Some(jittered(*wait).max(not_before.unwrap_or_default()))),
                None => (Delivery::GivenUp { reason }, None),
            },
        };
        self.record(taken, result).await?;
        if gone {
            self.tell_channel(taken, ChannelCommand::Gone { at: Time::now() }, None).await?;
        }
        match wait {
            Some(wait) => outbox::put_off(&self.db, taken, wait, true).await?,
            None => outbox::close(&self.db, taken).await?,
        }
        Ok(())
    }

    async fn record(&self, taken: &Taken, result: Delivery) -> Result<(), SendError> {
        let (attempt, at) = (taken.attempt, Time::now());
        let key = format!("told:{}:{attempt}", taken.message);
        match &taken.said {
            Said::Test { of } => {
                self.tell_channel(taken, ChannelCommand::Tested { of: *of, attempt, result, at }, Some(key)).await
            }
            Said::Report { of, .. } => {
                self.tell_channel(taken, ChannelCommand::Reported { of: *of, attempt, result, at }, Some(key)).await
            }
            Said::Alerts { rule, items } => {
                let event = |item: &super::plan::Item| AlertEvent::AlertNotified {
                    rule: rule.clone(),
                    severity: item.severity,
                    episode: item.episode,
                    channel: taken.channel,
                    notice: item.notice,
                    attempt,
                    result: result.clone(),
                    message: Some(taken.message),
                    at,
                };
                let append = |item: &super::plan::Item| Append {
                    client: taken.client,
                    aggregate: AggregateRef::new("alert", item.alert_id),
                    expected: Expected::Any,
                    events: vec![Draft {
                        event: Event::from(event(item)),
                        key: Some(format!("{key}:{}:{}:{}", item.alert_id, item.episode, item.key)),
                    }],
                    cause: Cause::system("alerts"),
                };
                let appends = items.iter().map(append).collect();
                for outcome in self.streams.committer().append_all(appends).await {
                    outcome?;
                }
                Ok(())
            }
        }
    }

    /// What a removed channel came to is nobody's affair any more.
    async fn tell_channel(&self, taken: &Taken, command: ChannelCommand, key: Option<String>) -> Result<(), SendError> {
        let (id, cause) = (taken.channel.to_string(), Cause::system("alerts"));
        match self.streams.execute::<Channel>(taken.client, &id, command, key, &cause).await {
            Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }
}

/// A fifth more or less: those that failed together do not come again together.
fn jittered(seconds: u64) -> Duration {
    Duration::from_millis(seconds * rand::random_range(800..1_200))
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").field("mailer", &self.mailer.is_some()).finish_non_exhaustive()
    }
}
