//! A client that leaves: its bots are asked to stop, its credentials and subscriptions to be revoked, its schedules, channels and
//! agreements end, its users are let in no more, and at the end its data key is destroyed if that was asked for. The events say how far it has come, so that whoever is killed
//! on the way, or meets a database that is away, goes on later.

use std::time::Duration;

use access::Register;
use cqrs_es::Aggregate;
use domain::{
    agreement::{Agreement, AgreementCommand, AgreementRefusal},
    bot::{Bot, BotCommand, BotRefusal},
    channel::{Channel, ChannelCommand, ChannelRefusal},
    client::{Client, ClientCommand, ClientRefusal},
    credential::{Credential, CredentialCommand, CredentialRefusal},
    schedule::{Schedule, ScheduleCommand, ScheduleRefusal},
    subscription::{Subscription, SubscriptionCommand, SubscriptionRefusal},
};
use events::{ChannelId, ClientId, Event, Time};
use projections::{
    agreements,
    bots::{self, Desired},
    channels, checkpoints, clients,
    credentials::{self, Credentials, State},
    projection::{ProjectError, Projection},
    schedules, subscriptions, versions,
};
use sqlx::PgPool;
use store::{Cause, ExecuteError, ReadError, Streams, read};
use tokio_util::sync::CancellationToken;
use vault::{Vault, VaultError};

/// How often it is looked for what is still to be done.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// In one of so many looks, sealed values are swept that nobody needs.
const SWEEP_EVERY: u32 = 720;
/// Why what a client had is taken out of use.
const LEFT: &str = "the client left";

/// All that a leaving client has to be taken out of.
#[derive(Debug, Clone)]
pub struct Leaving {
    pub streams: Streams,
    pub vault: Vault,
    /// Connections of login `admin_query`.
    pub desk: PgPool,
    pub register: Register,
}

/// Why it could not go on for now.
#[derive(Debug, thiserror::Error)]
pub enum LeavingError {
    #[error("what the client has could not be read")]
    Known(#[from] ProjectError),
    #[error("its stream could not be read")]
    Read(#[from] ReadError),
    #[error("its bot could not be asked to stop")]
    Bot(#[source] ExecuteError<BotRefusal>),
    #[error("its credential could not be asked to be revoked")]
    Credential(#[source] ExecuteError<CredentialRefusal>),
    #[error("its subscription could not be asked to be revoked")]
    Subscription(#[source] ExecuteError<SubscriptionRefusal>),
    #[error("the end of its data key could not be recorded")]
    Client(#[source] ExecuteError<ClientRefusal>),
    #[error("a schedule could not be ended")]
    Schedule(#[source] ExecuteError<ScheduleRefusal>),
    #[error("a channel could not be removed")]
    Channel(#[source] ExecuteError<ChannelRefusal>),
    #[error("an agreement could not be ended")]
    Agreement(#[source] ExecuteError<AgreementRefusal>),
    #[error("its data key could not be destroyed")]
    Vault(#[from] VaultError),
    #[error("its users could not be barred")]
    Users(#[source] sqlx::Error),
}

impl LeavingError {
    /// Into the log, once, where it is handled.
    pub fn tell(self, client: ClientId) {
        tracing::warn!(error = &self as &dyn std::error::Error, client.id = %client, "client {client} leaves later");
    }
}

impl Leaving {
    /// Looks for what is still to be done, until told to stop.
    pub async fn keep_on(self, stop: CancellationToken) {
        for look in 0_u32.. {
            if look.is_multiple_of(SWEEP_EVERY)
                && let Err(error) = sweep(&self.vault, &self.streams).await
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "the vault is swept later");
            }
            match self.left().await {
                Ok(clients) => {
                    for client in clients {
                        let gone = self.go_on(client, &Cause::system("offboarding")).await;
                        gone.unwrap_or_else(|error| error.tell(client));
                    }
                }
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "clients leave later"),
            }
            tokio::select! { () = tokio::time::sleep(LOOK_EVERY) => {}, () = stop.cancelled() => return }
        }
    }

    /// Does for a client that has left what can be done now; does nothing where nothing is to be done.
    pub async fn go_on(&self, client: ClientId, cause: &Cause) -> Result<(), LeavingError> {
        access::bar(&self.register, client, LEFT, Time::now(), cause).await.map_err(LeavingError::Users)?;
        let mut tx = self.desk.begin().await.map_err(ProjectError::from)?;
        versions::use_live(&mut tx).await.map_err(ProjectError::from)?;
        let bots = bots::of_client(&mut tx, client).await.map_err(ProjectError::from)?;
        let credentials = credentials::of_client(&mut tx, client).await.map_err(ProjectError::from)?;
        let subscriptions = subscriptions::of_client(&mut tx, client).await.map_err(ProjectError::from)?;
        let reach = checkpoints::reach(&mut *tx, Credentials::NAME, client).await.map_err(ProjectError::from)?;
        let head = read::head(&mut *tx, client).await.map_err(ProjectError::from)?;
        let schedules = schedules::of_client(&mut tx, client).await.map_err(ProjectError::from)?;
        let channels = channels::of_client(&mut tx, client).await.map_err(ProjectError::from)?;
        let agreements = agreements::of_client(&mut tx, client).await.map_err(ProjectError::from)?;
        tx.commit().await.map_err(ProjectError::from)?;
        // First, and whatever comes of the rest: nobody follows a client that has left.
        for one in subscriptions.iter().filter(|one| one.is_wanted()) {
            let revoke = SubscriptionCommand::Revoke { reason: "the client left".to_owned(), at: Time::now() };
            let asked = self.ask::<Subscription>(client, &one.subscription_id.to_string(), revoke, cause).await;
            unless(asked, |refusal| *refusal == SubscriptionRefusal::Revoked).map_err(LeavingError::Subscription)?;
        }
        // Before its bots stop: none of them is started again.
        for one in schedules.iter().filter(|one| one.state != schedules::State::Ended) {
            let end = ScheduleCommand::End { reason: LEFT.to_owned(), at: Time::now() };
            let asked = self.ask::<Schedule>(client, &one.schedule_id.to_string(), end, cause).await;
            unless(asked, |refusal| *refusal == ScheduleRefusal::NotThere).map_err(LeavingError::Schedule)?;
        }
        for one in channels.iter().filter(|one| one.state != channels::State::Removed) {
            self.silence(client, one.channel_id, cause).await?;
        }
        for one in agreements.iter().filter(|one| one.ended.is_none()) {
            let end = AgreementCommand::End { reason: LEFT.to_owned(), at: Time::now() };
            let asked = self.ask::<Agreement>(client, &one.agreement_id.to_string(), end, cause).await;
            unless(asked, |refusal| *refusal == AgreementRefusal::NotThere).map_err(LeavingError::Agreement)?;
        }
        for bot in bots.iter().filter(|bot| bot.desired == Desired::Running) {
            let stop = BotCommand::Stop { reason: LEFT.to_owned(), at: Time::now() };
            let asked = self.ask::<Bot>(client, &bot.bot_id.to_string(), stop, cause).await;
            // The read model may be behind.
            unless(asked, |refusal| *refusal == BotRefusal::NotWanted).map_err(LeavingError::Bot)?;
        }
        for one in credentials.iter().filter(|one| !matches!(one.state, State::Revoking | State::Revoked)) {
            let revoke = CredentialCommand::Revoke { reason: LEFT.to_owned(), at: Time::now() };
            let asked = self.ask::<Credential>(client, &one.credential_id.to_string(), revoke, cause).await;
            unless(asked, |refusal| *refusal == CredentialRefusal::Revoked).map_err(LeavingError::Credential)?;
        }
        let all_revoked = credentials.iter().all(|one| one.state == State::Revoked);
        if all_revoked && reach.reached == head { self.destroy(client, cause).await } else { Ok(()) }
    }

    /// Nobody is told anything by a channel any more, and where it led is forgotten.
    async fn silence(&self, client: ClientId, channel: ChannelId, cause: &Cause) -> Result<(), LeavingError> {
        let id = channel.to_string();
        let remove = ChannelCommand::Remove { reason: LEFT.to_owned(), at: Time::now() };
        let asked = self.ask::<Channel>(client, &id, remove, cause).await;
        unless(asked, |refusal| *refusal == ChannelRefusal::NotThere).map_err(LeavingError::Channel)?;
        let (state, _) = self.streams.load::<Channel>(client, &id).await?;
        self.vault.forget_target(client, channel, &state.useless()).await?;
        Ok(())
    }

    /// The last step: nothing of the client is in use any more.
    async fn destroy(&self, client: ClientId, cause: &Cause) -> Result<(), LeavingError> {
        let id = client.to_string();
        let (state, _) = self.streams.load::<Client>(client, &id).await?;
        if !state.awaits_destruction() {
            return Ok(());
        }
        self.vault.destroy(client).await?;
        let confirm = ClientCommand::ConfirmDataKeyDestroyed { at: Time::now() };
        self.ask::<Client>(client, &id, confirm, cause).await.map_err(LeavingError::Client)
    }

    async fn ask<A>(
        &self,
        client: ClientId,
        id: &str,
        command: A::Command,
        cause: &Cause,
    ) -> Result<(), ExecuteError<A::Error>>
    where
        A: Aggregate<Services = ()>,
        A::Command: Clone + Send,
        A::Event: Into<Event>,
    {
        self.streams.execute::<A>(client, id, command, None, cause).await.map(drop)
    }

    /// Clients that have left.
    async fn left(&self) -> Result<Vec<ClientId>, ProjectError> {
        let mut tx = self.desk.begin().await?;
        versions::use_live(&mut tx).await?;
        let clients = clients::every(&mut *tx).await?;
        tx.commit().await?;
        let left = clients.into_iter().filter(|client| client.offboarded_at.is_some());
        Ok(left.map(|client| ClientId(client.client_id)).collect())
    }
}

/// A refusal that means that it is done already.
fn unless<R: std::error::Error>(
    outcome: Result<(), ExecuteError<R>>,
    done: impl FnOnce(&R) -> bool,
) -> Result<(), ExecuteError<R>> {
    match outcome {
        Err(ExecuteError::Refused(refusal)) if done(&refusal) => Ok(()),
        other => other,
    }
}

/// Takes sealed values away that nobody needs: those of which no event tells, and those that were superseded. How many.
pub async fn sweep(vault: &Vault, streams: &Streams) -> Result<u64, LeavingError> {
    let mut swept = 0;
    for doubtful in vault.doubtful().await? {
        let place = doubtful.0;
        let (credential, _) = streams.load::<Credential>(place.client, &place.credential.to_string()).await?;
        if credential.holds(place.sealed) {
            vault.claim(place).await?;
        } else if vault.sweep(doubtful).await? {
            swept += 1;
        }
    }
    Ok(swept)
}
