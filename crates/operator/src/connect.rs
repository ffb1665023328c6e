//! A client's key into the Hummingbot API, and out of it again.
//!
//! The API tries a key at the exchange when it is added, and keeps what it has if that fails. It also keeps every field
//! that is not sent from the account before: so all of them are sent, always, and checked against what it asks for now.

use std::collections::BTreeMap;

use domain::client::{Client, ClientCommand};
use domain::credential::{Credential, CredentialCommand, CredentialRefusal, Task};
use events::{CredentialId, Exchange, Market, SealedId, Time, credential::Purpose, fields};
use hummingbot::{ConnectorName, Fault};
use secrecy::SecretString;
use store::{AppendError, ExecuteError};
use tracing::info;
use vault::{OpenError, Opened, Place};

use crate::mandate::{HandError, Mandate, Outcome};

/// Does what is to be done for a credential to be as it is wanted.
pub(crate) async fn carry_out(mandate: &Mandate, id: CredentialId) -> Result<Outcome, HandError> {
    let (credential, _) = mandate.means.streams.load::<Credential>(mandate.client, &id.to_string()).await?;
    let (Some(task), Some((exchange, market))) = (credential.task(), credential.place()) else {
        return Ok(Outcome::Done);
    };
    mandate.holds()?;
    match task {
        Task::Connect { sealed } => connect(mandate, id, sealed, exchange, market).await,
        Task::Withdraw => withdraw(mandate, id, exchange, market).await,
    }
}

async fn connect(
    mandate: &Mandate,
    id: CredentialId,
    sealed: SealedId,
    exchange: Exchange,
    market: Market,
) -> Result<Outcome, HandError> {
    let place = Place { client: mandate.client, credential: id, sealed };
    let opened = match mandate.means.vault.open(place, Purpose::Connect, &mandate.cause()).await {
        Ok(opened) => opened,
        Err(refused @ (OpenError::Refused { .. } | OpenError::NotThere(_))) => {
            let reason = refused.to_string();
            tell(mandate, id, CredentialCommand::ReportFailing { sealed, reason, at: Time::now() }).await?;
            return Ok(Outcome::Done);
        }
        Err(OpenError::Record(AppendError::Stale { .. })) => return Err(HandError::Overtaken),
        Err(other) => return Err(HandError::NotYet(other.to_string())),
    };
    match put(mandate, &opened, exchange, market).await? {
        Ok(()) => active(mandate, id, sealed, exchange).await,
        Err(fault) if fault.is_refusal() => {
            let reason = readable(&opened.scrub(&fault.to_string()));
            tell(mandate, id, CredentialCommand::ReportFailing { sealed, reason, at: Time::now() }).await?;
            Ok(Outcome::Done)
        }
        Err(fault) => Err(HandError::NotYet(opened.scrub(&fault.to_string()))),
    }
}

/// Sends every field, after a look at what the connector asks for now. Only what is said of the key itself is an answer;
/// whatever goes wrong before is tried again.
async fn put(
    mandate: &Mandate,
    opened: &Opened,
    exchange: Exchange,
    market: Market,
) -> Result<Result<(), Fault>, HandError> {
    let (hummingbot, account) = (&mandate.means.hummingbot, mandate.account());
    let connector = ConnectorName::of(exchange, market);
    let map = hummingbot.config_map(&connector).await?;
    let live: Vec<&str> = map.fields.iter().map(|field| field.name.as_str()).collect();
    let given: Vec<&str> = opened.fields().map(|(name, _)| name).collect();
    if let Err(refusal) = fields::check_fields(exchange, market, &live, &given) {
        let why = hummingbot::Why::NotSent(refusal.to_string());
        return Ok(Err(Fault { doing: format!("add the key of {connector}"), why }));
    }
    hummingbot.add_account(&account).await?;
    let values: BTreeMap<String, SecretString> =
        opened.fields().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    Ok(hummingbot.add_credential(&account, &map, &values).await)
}

/// The exchange let it in, and the API trades with it: the client has an account there.
async fn active(
    mandate: &Mandate,
    id: CredentialId,
    sealed: SealedId,
    exchange: Exchange,
) -> Result<Outcome, HandError> {
    let at = Time::now();
    tell(mandate, id, CredentialCommand::ConfirmVerified { sealed, at }).await?;
    let (client, account) = (mandate.client, mandate.account());
    let (known, _) = mandate.means.streams.load::<Client>(client, &client.to_string()).await?;
    if known.is_with_us().is_ok() && !known.has_account(exchange) {
        let open = ClientCommand::OpenAccount { exchange, account, at };
        match mandate.means.streams.execute::<Client>(client, &client.to_string(), open, None, &mandate.cause()).await {
            // Somebody was quicker, or the client leaves: the account is as open as it will be.
            Ok(_) | Err(ExecuteError::Refused(_)) => {}
            Err(ExecuteError::Append(cause)) => return Err(appended(cause)),
            Err(ExecuteError::Read(cause)) => return Err(cause.into()),
        }
    }
    tell(mandate, id, CredentialCommand::ConfirmActive { sealed, at }).await?;
    info!(client.id = %client, "the key of client {client} for {exchange} is active");
    Ok(Outcome::Done)
}

/// Out of the API first: what lies in the vault alone cannot trade.
async fn withdraw(
    mandate: &Mandate,
    id: CredentialId,
    exchange: Exchange,
    market: Market,
) -> Result<Outcome, HandError> {
    match mandate.means.hummingbot.delete_credential(&mandate.account(), &ConnectorName::of(exchange, market)).await {
        Ok(()) => {}
        // It never got there.
        Err(fault) if fault.is_not_found() => {}
        Err(fault) => return Err(fault.into()),
    }
    let forgotten = mandate.means.vault.forget(mandate.client, id).await;
    forgotten.map_err(|cause| HandError::NotYet(cause.to_string()))?;
    tell(mandate, id, CredentialCommand::ConfirmRevoked { at: Time::now() }).await?;
    Ok(Outcome::Done)
}

async fn tell(mandate: &Mandate, id: CredentialId, command: CredentialCommand) -> Result<(), HandError> {
    let streams = &mandate.means.streams;
    match streams.execute::<Credential>(mandate.client, &id.to_string(), command, None, &mandate.cause()).await {
        Ok(_) => Ok(()),
        // Other values came, or it is to be revoked: what was done is judged by what is wanted now.
        Err(ExecuteError::Refused(
            CredentialRefusal::Superseded
            | CredentialRefusal::Revoked
            | CredentialRefusal::NotAskedToRevoke
            | CredentialRefusal::NotStored
            | CredentialRefusal::NotVerified
            | CredentialRefusal::AlreadyStored,
        )) => Ok(()),
        Err(ExecuteError::Refused(refusal @ CredentialRefusal::Reason)) => Err(HandError::NotYet(refusal.to_string())),
        Err(ExecuteError::Append(cause)) => Err(appended(cause)),
        Err(ExecuteError::Read(cause)) => Err(cause.into()),
    }
}

fn appended(cause: AppendError) -> HandError {
    match cause {
        AppendError::Stale { .. } => HandError::Overtaken,
        AppendError::Conflict { .. }
        | AppendError::Fault { .. }
        | AppendError::Refused { .. }
        | AppendError::PartlyStored { .. }
        | AppendError::Unknown(_)
        | AppendError::Closed => HandError::Record(cause),
    }
}

/// One line that fits into an event, whatever the exchange wrote.
fn readable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(480).collect()
}
