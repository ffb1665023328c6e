//! Rotation: every data key is wrapped by the newest key of the ring, in batches, while the vault is in use.
//!
//! Put the new key in front of `ENCRYPTION_KEY` and start every process anew, so that all of them know both; rotate; then
//! take the old key away. A rotation that was killed is begun again, and does the rest.

use events::{AggregateRef, ClientId, Time, desk::DeskEvent};
use store::{AppendError, Cause};

use crate::{
    ring::KekId,
    vault::Vault,
    wrapped::{self, NoDataKey, Wrapped},
};

/// Data keys in one transaction.
const BATCH: i64 = 100;

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    pub from: Vec<KekId>,
    pub to: KekId,
    /// Whose data keys were wrapped anew.
    pub clients: u64,
}

/// Why a rotation did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error("ENCRYPTION_KEY lacks key {0}, which data keys are wrapped by")]
    Missing(KekId),
    #[error(
        "the data keys of {} clients do not open, that of client {} among them; all others were rotated",
        clients.len(),
        clients[0]
    )]
    Unreadable { clients: Vec<ClientId> },
    #[error("the rotation could not be recorded")]
    Record(#[from] AppendError),
    #[error("the vault's tables could not be reached: what was rotated stays so, begin again for the rest")]
    Database(#[from] sqlx::Error),
}

impl Vault {
    /// Wraps all data keys by the newest key of the ring.
    pub async fn rotate(&self, cause: &Cause) -> Result<Rotated, RotateError> {
        let to = self.ring.newest().0.clone();
        let old: Vec<_> = wrapped::in_use(&self.db).await?.into_iter().filter(|(kek, _)| *kek != to).collect();
        let from: Vec<KekId> = old.iter().map(|(kek, _)| kek.clone()).collect();
        if let Some(missing) = from.iter().find(|kek| self.ring.key(kek.as_str()).is_none()) {
            return Err(RotateError::Missing(missing.clone()));
        }
        let mut clients = 0;
        if !from.is_empty() {
            let told = from.iter().map(ToString::to_string).collect();
            let waiting = old.iter().map(|(_, clients)| clients).sum();
            let begun =
                DeskEvent::KeyRotationBegun { from: told, to: to.to_string(), clients: waiting, at: Time::now() };
            self.note(&to, begun, cause).await?;
            // A process that does not know the newest key yet may have made another one meanwhile.
            loop {
                match self.pass().await? {
                    0 => break,
                    rewrapped => clients += rewrapped,
                }
            }
            let done = DeskEvent::KeyRotationDone { to: to.to_string(), clients, at: Time::now() };
            self.note(&to, done, cause).await?;
        }
        self.retire_canaries().await?;
        Ok(Rotated { from, to, clients })
    }

    /// Goes once through all clients.
    async fn pass(&self) -> Result<u64, RotateError> {
        let (mut after, mut rewrapped, mut unreadable) = (ClientId::DESK, 0, Vec::new());
        loop {
            let mut tx = self.db.begin().await?;
            let batch = Wrapped::not_by(&mut tx, self.ring.newest().0, after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = last.client;
            let fresh = self.rewrap(&batch, &mut unreadable)?;
            wrapped::replace(&mut tx, self.ring.newest().0, &fresh).await?;
            tx.commit().await?;
            rewrapped += fresh.len() as u64;
        }
        match unreadable.is_empty() || rewrapped > 0 {
            true => Ok(rewrapped),
            false => Err(RotateError::Unreadable { clients: unreadable }),
        }
    }

    fn rewrap(&self, batch: &[Wrapped], unreadable: &mut Vec<ClientId>) -> Result<Vec<Wrapped>, RotateError> {
        let (kek, newest) = self.ring.newest();
        let mut fresh = Vec::with_capacity(batch.len());
        for old in batch {
            match old.unwrap(&self.ring) {
                Ok(key) => {
                    let token = key.wrap(old.client, newest);
                    fresh.push(Wrapped { client: old.client, kek: kek.clone(), token });
                }
                Err(NoDataKey::Missing(kek)) => return Err(RotateError::Missing(kek)),
                Err(NoDataKey::Bad(_)) => unreadable.push(old.client),
            }
        }
        Ok(fresh)
    }

    async fn note(&self, to: &KekId, event: DeskEvent, cause: &Cause) -> Result<(), AppendError> {
        self.streams.note(AggregateRef::new("desk", format!("kek {to}")), event, None, cause).await.map(drop)
    }
}
