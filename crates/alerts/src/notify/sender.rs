//! Sending: takes what is due, opens where it leads, tries once, and records what came of it.
//!
//! What came of a try is kept at once, and recorded when it can be. A message that was sent by somebody who died before he could
//! keep that is sent again, with the same id: the other side knows it by that.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::channel::{Channel, ChannelCommand, Leads};
use events::{
    AggregateRef, ClientId, Event, RuleName, Time,
    alert::{AlertEvent, Delivery},
};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use secrecy::SecretString;
use sqlx::PgPool;
use store::{Append, AppendError, Cause, Draft, ExecuteError, Expected, ReadError, Streams};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    circuit::Circuits,
    means::{Means, NotOpened, Opened},
    outbox::{self, Came, Taken},
    plan::{Item, Said, TRIED_US},
    post::{Letter, Outcome},
    sending::{OnItsWay, Sending},
    target::Target,
};

/// Messages that are on their way at once. Most of them wait for an answer: when one of the great services stands still, so
/// many of everybody's wait for it.
const AT_ONCE: usize = 512;
const LOOK_EVERY: Duration = Duration::from_secs(1);
const FAULT_PAUSE: Duration = Duration::from_secs(1);
/// How often a message of a channel that rests is looked at.
const RESTING: Duration = Duration::from_secs(30);
/// After each try that failed, until the next; after the last one nothing more is tried.
const RETRIES_S: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// E-mails of one client within an hour, by one process, and how many of them at once: they go out under the desk's own name.
const MAILS_AN_HOUR: NonZeroU32 = NonZeroU32::new(200).unwrap();
const MAILS_AT_ONCE: NonZeroU32 = NonZeroU32::new(50).unwrap();
/// Clocks of several machines differ by less.
const CLOCKS_DIFFER_US: i64 = 60_000_000;

/// Whoever sends, in one process.
pub(crate) struct Sender {
    pub db: PgPool,
    pub streams: Streams,
    pub means: Means,
    /// Rung when there is a message more.
    pub rung: Arc<Notify>,
    pub circuits: Circuits,
    pub sending: Arc<Sending>,
    pub mails: Mails,
}

/// How many e-mails each client has sent lately.
pub(crate) type Mails = DefaultKeyedRateLimiter<ClientId>;

/// Nobody has sent any yet.
pub(crate) fn mails() -> Mails {
    RateLimiter::keyed(Quota::per_hour(MAILS_AN_HOUR).allow_burst(MAILS_AT_ONCE))
}

/// What becomes of a message.
enum Next {
    /// It is posted there, signed by these.
    Post(Leads, Target, Vec<SecretString>),
    /// It cannot arrive, which counts as a try.
    Failed(String),
    /// Nobody waits for it any more.
    Close,
    /// It has to wait, which is no try.
    Later(Duration),
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
                        let way = OnItsWay::new(&this.sending, taken.client, place);
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
        let came = match &taken.came {
            // It was made before, and nobody could record it.
            Some(came) => Ok(Some(came.clone())),
            None => self.try_to_send(&taken).await,
        };
        let recorded = match came {
            Ok(Some(came)) => self.ended(&taken, came).await,
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
    async fn try_to_send(&self, taken: &Taken) -> Result<Option<Came>, SendError> {
        match self.next(taken).await? {
            Next::Close => outbox::close(&self.db, taken).await?,
            Next::Later(wait) => outbox::put_off(&self.db, taken, wait, false).await?,
            Next::Failed(reason) => return Ok(Some(Came { outcome: Outcome::failed(reason), sealed: None })),
            Next::Post(leads, target, signing) => {
                let outcome = self.post(taken, &target, &signing).await;
                self.circuits.tried(&endpoint(taken, &leads), outcome == Outcome::Delivered, Instant::now());
                let came = Came { outcome, sealed: Some(leads.sealed) };
                if let Err(cause) = outbox::came(&self.db, taken, &came).await {
                    warn!(client.id = %taken.client, error = %cause, "what came of message {} is not kept", taken.message);
                }
                return Ok(Some(came));
            }
        }
        Ok(None)
    }

    /// What becomes of a message now.
    async fn next(&self, taken: &Taken) -> Result<Next, SendError> {
        let (channel, _) = self.streams.load::<Channel>(taken.client, &taken.channel.to_string()).await?;
        if channel.kind().is_none() {
            // Nobody waits for what a removed one was to tell.
            return Ok(Next::Close);
        }
        // It rests; when it goes on, so does this, unless that is long ago.
        let Some(leads) = channel.leads() else {
            return Ok(if is_old(taken) { Next::Close } else { Next::Later(RESTING) });
        };
        if taken.made_at.plus_micros(CLOCKS_DIFFER_US) < leads.since {
            return Ok(Next::Close);
        }
        if is_old(taken) {
            return Ok(Next::Failed("it could not be told for four days".to_owned()));
        }
        let (target, signing) = match self.open(taken, &leads).await {
            Ok(opened) => opened,
            Err(NotOpened::Never(reason)) => return Ok(Next::Failed(reason)),
            Err(NotOpened::NotNow(reason)) => {
                warn!(client.id = %taken.client, "message {} has to wait: {reason}", taken.message);
                return Ok(Next::Later(FAULT_PAUSE * 5));
            }
        };
        if let Err(wait) = self.circuits.may_try(&endpoint(taken, &leads), Instant::now()) {
            debug!(client.id = %taken.client, "channel {} is left in peace for {} s", taken.channel, wait.as_secs());
            return Ok(Next::Later(wait));
        }
        if let Some(wait) = too_many(&self.mails, taken.client, &target) {
            warn!(client.id = %taken.client, "client {} has sent {MAILS_AN_HOUR} e-mails within an hour", taken.client);
            return Ok(Next::Later(wait));
        }
        Ok(Next::Post(leads, target, signing))
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
    async fn ended(&self, taken: &Taken, Came { outcome, sealed }: Came) -> Result<(), SendError> {
        let gone = sealed.filter(|_| outcome == Outcome::Gone);
        let (result, wait) = match outcome {
            Outcome::Delivered => (Delivery::Delivered, None),
            Outcome::Gone => (Delivery::GivenUp { reason: "it answered 410: it is gone for good".to_owned() }, None),
            Outcome::Failed { reason, not_before } => {
                let next = RETRIES_S.get(taken.attempt.saturating_sub(1) as usize).filter(|_| !is_old(taken));
                match next {
                    Some(wait) => {
                        (Delivery::Failed { reason }, Some(jittered(*wait).max(not_before.unwrap_or_default())))
                    }
                    None => (Delivery::GivenUp { reason }, None),
                }
            }
        };
        self.record(taken, result).await?;
        if let Some(sealed) = gone {
            self.tell_channel(taken, ChannelCommand::Gone { sealed, at: Time::now() }, None).await?;
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
                let appends = items.iter().map(|item| notified(taken, rule, item, &result, &key)).collect();
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

/// That a try told one thing, or did not.
fn notified(taken: &Taken, rule: &RuleName, item: &Item, result: &Delivery, key: &str) -> Append {
    let event = AlertEvent::AlertNotified {
        rule: rule.clone(),
        severity: item.severity,
        episode: item.episode,
        channel: taken.channel,
        notice: item.notice,
        attempt: taken.attempt,
        result: result.clone(),
        message: Some(taken.message),
        at: Time::now(),
    };
    let key = format!("{key}:{}:{}:{}", item.alert_id, item.episode, item.key);
    Append {
        client: taken.client,
        aggregate: AggregateRef::new("alert", item.alert_id),
        expected: Expected::Any,
        events: vec![Draft { event: Event::from(event), key: Some(key) }],
        cause: Cause::system("alerts"),
    }
}

/// By channel, and by where it leads: what one client's leads to is no reason to be silent to another's, and one that was
/// mended begins anew.
fn endpoint(taken: &Taken, leads: &Leads) -> String {
    format!("{}/{}/{}", taken.client, taken.channel, leads.sealed)
}

/// Nobody waits for it any longer.
fn is_old(taken: &Taken) -> bool {
    Time::now() > taken.made_at.plus_micros(TRIED_US)
}

/// How long a client's e-mail has to wait, because there were too many; what is no e-mail is not counted.
fn too_many(mails: &Mails, client: ClientId, target: &Target) -> Option<Duration> {
    let Target::Email(_) = target else { return None };
    mails.check_key(&client).err().map(|not_until| not_until.wait_time_from(DefaultClock::default().now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_mails_have_a_limit_and_nothing_else_counts_for_it() {
        let (mails, client) = (mails(), ClientId::new());
        let mail = Target::Email("ops@acme.example".parse().unwrap());
        let post = Target::Webhook("https://hooks.acme.example/x".parse().unwrap());
        assert!((0..1_000).all(|_| too_many(&mails, client, &post).is_none()));
        assert!((0..MAILS_AT_ONCE.get()).all(|_| too_many(&mails, client, &mail).is_none()));
        let wait = too_many(&mails, client, &mail).expect("it waits");
        assert!(wait <= Duration::from_secs(18), "{wait:?}");
        assert!(too_many(&mails, ClientId::new(), &mail).is_none(), "another client's");
    }
}
